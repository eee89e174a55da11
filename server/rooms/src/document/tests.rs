use super::joins::STATE_PART_BYTES;
use super::*;
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::{PrincipalKind, Role};
use serde_json::json;
use yrs::Text;

struct Fixture {
    document: Document,
    now: Instant,
    /// Why updates did not take effect, so far.
    refused: Vec<&'static str>,
}

impl Fixture {
    fn new(access: Access) -> Self {
        let document = Document::load(access, &StoredDocument::default()).expect("empty");
        Self { document, now: Instant::now(), refused: Vec::new() }
    }

    fn run(&mut self, input: Input) -> Vec<Effect> {
        self.turn([input])
    }

    fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for input in inputs {
            self.document.handle(self.now, input, &mut effects);
        }
        self.document.end_turn(self.now, &mut effects);
        self.refused.extend(effects.iter().filter_map(|effect| match effect {
            Effect::Refused(reason) | Effect::BrokeRule(reason) => Some(*reason),
            _ => None,
        }));
        effects.retain(|effect| !matches!(effect, Effect::Refused(_) | Effect::BrokeRule(_)));
        effects
    }

    fn join(&mut self, name: &str, role: Role) -> ConnectionId {
        self.join_as(name, role, Dialect::YWebsocket)
    }

    fn join_as(&mut self, name: &str, role: Role, dialect: Dialect) -> ConnectionId {
        let peer = ConnectionId::new();
        let principal =
            Principal { id: PrincipalId::parse(name).expect("valid"), kind: PrincipalKind::Person, name: name.into() };
        self.run(Input::Connected { peer, authority: Authority { principal, role }, stamp: true, dialect });
        peer
    }

    fn receive(&mut self, peer: ConnectionId, message: Message) -> Vec<Effect> {
        self.run(Input::Received { peer, message })
    }
}

fn typed(replica: &mut Replica, text: &str) -> Bytes {
    let root = replica.doc().get_or_insert_text("text");
    replica.edit(|txn| root.push(txn, text)).expect("changed").into()
}

fn names(effects: &[Effect]) -> Vec<&'static str> {
    effects
        .iter()
        .map(|effect| match effect {
            Effect::Refused(_) | Effect::BrokeRule(_) => "refused",
            Effect::Send { .. } => "send",
            Effect::SendState { .. } => "send state",
            Effect::SendUpdate { .. } => "send update",
            Effect::Broadcast { to: Recipients::All, .. } => "broadcast",
            Effect::Broadcast { .. } => "broadcast to others",
            Effect::Announce { .. } => "announce",
            Effect::Presence { .. } => "presence",
            Effect::Append { .. } => "append",
            Effect::Close { .. } => "close",
            Effect::Edited { .. } => "edited",
            Effect::Done { .. } => "done",
            Effect::Broken { .. } => "broken",
        })
        .collect()
}

#[test]
fn others_see_an_edit_at_once_and_its_author_learns_when_it_is_saved() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let update = typed(&mut Replica::new(), "hi");
    let effects = f.receive(ada, Message::Update(update.clone()));
    assert_eq!(names(&effects), ["edited", "broadcast to others", "append"]);
    assert_eq!(names(&f.receive(ada, Message::SaveStatus(Bytes::from_static(&[7])))), [""; 0]);
    let effects = f.run(Input::Durable { seq: 1 });
    assert_eq!(
        effects,
        vec![
            Effect::SendUpdate { to: ada, frame: protocol::update(&update) },
            Effect::Send { to: ada, frame: protocol::save_status(&[7]) },
        ]
    );
    // With nothing outstanding the answer comes at once.
    assert_eq!(names(&f.receive(ada, Message::SaveStatus(Bytes::from_static(&[7])))), ["send"]);
}

#[test]
fn an_update_that_came_too_early_is_asked_for_once_and_not_acknowledged() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    typed(&mut replica, "a");
    let second = typed(&mut replica, "b");
    let third = typed(&mut replica, "c");
    let step_1 = protocol::sync_step_1(&Replica::new().state_vector());
    assert_eq!(f.receive(ada, Message::Update(second)), vec![Effect::Send { to: ada, frame: step_1 }]);
    assert_eq!(f.receive(ada, Message::SaveStatus(Bytes::from_static(&[1]))), vec![]);
    assert_eq!(f.receive(ada, Message::Update(third)), vec![]);
    assert_eq!(f.receive(ada, Message::SaveStatus(Bytes::from_static(&[2]))), vec![]);
    let effects = f.receive(ada, Message::SyncStep2(replica.state().into()));
    assert_eq!(names(&effects), ["edited", "broadcast to others", "append"]);
    let effects = f.run(Input::Durable { seq: 1 });
    assert_eq!(effects.last(), Some(&Effect::Send { to: ada, frame: protocol::save_status(&[2]) }));
    assert_eq!(f.document.replica().text("text"), "abc");
}

#[test]
fn known_updates_are_neither_logged_nor_sent_again() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let update = typed(&mut Replica::new(), "hi");
    f.receive(ada, Message::Update(update.clone()));
    f.run(Input::Durable { seq: 1 });
    assert_eq!(names(&f.receive(ada, Message::SyncStep2(update.clone()))), [""; 0]);
    assert_eq!(names(&f.receive(ada, Message::Update(update))), ["send update"]);
}

#[test]
fn of_an_update_that_is_known_in_part_the_rest_is_logged_and_its_author_hears_of_all() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    f.receive(ada, Message::Update(typed(&mut replica, "ab")));
    f.run(Input::Durable { seq: 1 });
    let rest = typed(&mut replica, "c");
    let whole = Bytes::from(replica.state());
    let effects = f.receive(ada, Message::Update(whole.clone()));
    assert_eq!(names(&effects), ["edited", "broadcast to others", "append"]);
    assert!(matches!(&effects[1], Effect::Broadcast { frame, .. } if *frame == protocol::update(&rest)));
    assert!(matches!(&effects[2], Effect::Append { seq: 2, update, .. } if *update == rest));
    let echoes = f.run(Input::Durable { seq: 2 });
    assert!(echoes.contains(&Effect::SendUpdate { to: ada, frame: protocol::update(&whole) }), "{echoes:?}");
}

#[test]
fn nobody_writes_a_projected_document_and_a_viewer_writes_nothing() {
    for (access, role) in [(Access::Projected, Role::Editor), (Access::Shared, Role::Viewer)] {
        let mut f = Fixture::new(access);
        let peer = f.join("ada", role);
        let update = typed(&mut Replica::new(), "forged");
        // What it has is asked for at once, and may be from when it was allowed to write.
        for message in [Message::SyncStep2(update.clone()), Message::Update(update)] {
            let effects = f.receive(peer, message);
            assert!(matches!(&effects[..], [Effect::Send { frame, .. }] if frame[..2] == [2, 0]), "{effects:?}");
        }
        assert_eq!(names(&f.receive(peer, Message::SyncStep2(Bytes::from_static(&[0, 0])))), [""; 0], "it is nothing");
        assert_eq!(f.document.replica().text("text"), "");
        // Nothing was written, so nothing is acknowledged.
        assert_eq!(f.receive(peer, Message::SaveStatus(Bytes::new())), vec![]);
    }
}

#[test]
fn a_projection_is_seen_only_once_it_is_durable() {
    let mut f = Fixture::new(Access::Projected);
    let entries = vec![("k".to_owned(), Some(json!({"a": 1})))];
    let effects = f.run(Input::Projected { map: "nodes", entries: entries.clone(), ticket: 1 });
    assert_eq!(names(&effects), ["append"]);
    assert_eq!(names(&f.run(Input::Durable { seq: 1 })), ["broadcast", "done"]);
    // The same again changes nothing and is done at once.
    assert_eq!(names(&f.run(Input::Projected { map: "nodes", entries, ticket: 2 })), ["done"]);
}

#[test]
fn a_newcomer_does_not_see_a_projection_before_it_is_durable() {
    let mut f = Fixture::new(Access::Projected);
    let reader = f.join("ada", Role::Viewer);
    let asks = || Message::SyncStep1(Bytes::from_static(&[0]));
    assert_eq!(names(&f.receive(reader, asks())), ["send state"]);
    let entries = vec![("k".to_owned(), Some(json!({"a": 1})))];
    f.run(Input::Projected { map: "nodes", entries, ticket: 1 });
    assert_eq!(names(&f.receive(reader, asks())), [""; 0]);
    // If the server is killed now, nobody has what it never stored.
    assert_eq!(names(&f.run(Input::Durable { seq: 1 })), ["broadcast", "done", "send state"]);
}

#[test]
fn a_newcomer_gets_everything_and_a_returning_one_the_rest() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    f.receive(ada, Message::Update(typed(&mut replica, "hello ")));
    let mut old = Replica::new();
    old.apply(&replica.state()).expect("valid");
    f.receive(ada, Message::Update(typed(&mut replica, "world")));
    for mut reader in [Replica::new(), old] {
        let effects = f.receive(ada, Message::SyncStep1(reader.state_vector().into()));
        let [Effect::SendState { frames, .. }] = &effects[..] else { panic!("{effects:?}") };
        let frame = &frames[0];
        let Message::SyncStep2(update) = &protocol::decode(frame).expect("valid")[0] else { panic!() };
        reader.apply(update).expect("valid");
        assert_eq!(reader.text("text"), "hello world");
    }
}

#[test]
fn malformed_messages_end_only_their_own_connection() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    for message in [
        Message::Update(Bytes::from_static(&[9, 9, 9])),
        Message::SyncStep1(Bytes::from_static(&[0xff, 0xff, 0xff, 0x7f])),
        Message::Awareness(Bytes::from_static(&[1, 1, 1, 1, b'{'])),
    ] {
        assert_eq!(names(&f.receive(ada, message)), ["close"]);
    }
    let bo = f.join("bo", Role::Editor);
    let effects = f.receive(bo, Message::Update(typed(&mut Replica::new(), "fine")));
    assert_eq!(names(&effects), ["edited", "broadcast to others", "append"]);
}

#[test]
fn what_is_loaded_is_what_was_logged() {
    let mut replica = Replica::new();
    let updates = ["a", "b", "c"].iter().map(|text| typed(&mut replica, text)).collect();
    let mut stored = StoredDocument { seq: 3, updates, ..StoredDocument::default() };
    let document = Document::load(Access::Shared, &stored).expect("complete");
    assert_eq!(document.replica().text("text"), "abc");
    assert!(document.is_idle());
    stored.updates.remove(0);
    assert!(Document::load(Access::Shared, &stored).is_err(), "a hole in the log must not go unnoticed");
}

fn received(peer: ConnectionId, update: &Bytes) -> Input {
    Input::Received { peer, message: Message::Update(update.clone()) }
}

/// What a reader has who got these frames of updates.
fn read<'a>(frames: impl IntoIterator<Item = &'a Bytes>) -> String {
    let mut reader = Replica::new();
    for frame in frames {
        let [Message::Update(update)] = &protocol::decode(frame).expect("valid")[..] else { panic!("an update") };
        reader.apply(update).expect("valid");
    }
    reader.text("text")
}

#[test]
fn values_of_a_key_that_replace_each_other_in_one_turn_are_deleted_for_all() {
    let mut f = Fixture::new(Access::Shared);
    let (ada, _) = (f.join("ada", Role::Editor), f.join("bo", Role::Editor));
    // A text as the value of a key, and another in its place; nobody says that the first is deleted.
    let updates: [&[u8]; 2] =
        [&[1, 1, 4, 0, 0x24, 1, 1, b'm', 1, b'k', 2, b'a', b'b', 0], &[1, 1, 4, 2, 0x84, 4, 1, 2, b'c', b'd', 0]];
    let effects = f.turn(updates.map(|update| received(ada, &Bytes::from_static(update))));
    let value = |update: &[u8]| {
        let mut reader = Replica::new();
        reader.apply(update).expect("valid");
        reader.map("m")
    };
    for effect in &effects {
        match effect {
            Effect::Append { update, .. } => assert_eq!(value(update), [("k".to_owned(), json!("cd"))]),
            Effect::Broadcast { frame, .. } => {
                let [Message::Update(update)] = &protocol::decode(frame).expect("valid")[..] else {
                    panic!("{frame:?}")
                };
                assert_eq!(value(update), [("k".to_owned(), json!("cd"))]);
            }
            _ => {}
        }
    }
    assert!(names(&effects).contains(&"append") && names(&effects).contains(&"broadcast to others"));
}

#[test]
fn a_turn_is_one_broadcast_and_one_record_for_each_run_of_an_author() {
    let mut f = Fixture::new(Access::Shared);
    let (ada, bo) = (f.join("ada", Role::Editor), f.join("bo", Role::Editor));
    let reader = f.join("cy", Role::Viewer);
    let mut typist = Replica::new();
    let first: Vec<Bytes> = ["a", "b", "c"].iter().map(|text| typed(&mut typist, text)).collect();
    let mut other = Replica::new();
    other.apply(&typist.state()).expect("valid");
    let second = typed(&mut other, "d");
    let inputs = first.iter().map(|update| received(ada, update)).chain([received(bo, &second)]);
    let effects = f.turn(inputs);
    assert_eq!(
        names(&effects),
        [
            "edited",
            "edited",
            "broadcast to others",
            "send update",
            "send update",
            "send update",
            "send update",
            "append",
            "append"
        ]
    );
    let Effect::Broadcast { to: Recipients::AllBut(others), frame } = &effects[2] else { panic!("{effects:?}") };
    assert!(others.contains(&ada) && others.contains(&bo) && !others.contains(&reader));
    assert_eq!(read([frame]), "abcd");
    // Nobody hears their own words before they are saved.
    let sent_to = |whom| {
        let frames = effects.iter().filter_map(move |effect| match effect {
            Effect::SendUpdate { to, frame } if *to == whom => Some(frame.clone()),
            _ => None,
        });
        frames.collect::<Vec<_>>()
    };
    assert_eq!(sent_to(ada), [protocol::update(&second)]);
    assert_eq!(sent_to(bo).len(), 3);
    let Effect::Append { seq: 1, update, .. } = &effects[7] else { panic!("{effects:?}") };
    assert_eq!(read([&protocol::update(update)]), "abc");
    let echoes = f.run(Input::Durable { seq: 1 });
    assert!(matches!(&echoes[..], [Effect::SendUpdate { to, frame }] if *to == ada && read([frame]) == "abc"));
    let echoes = f.run(Input::Durable { seq: 2 });
    assert!(matches!(&echoes[..], [Effect::SendUpdate { to, .. }] if *to == bo), "{echoes:?}");
}

#[test]
fn a_hocuspocus_client_is_owed_one_status_for_each_update() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join_as("ada", Role::Editor, Dialect::Hocuspocus);
    assert_eq!(
        names(&f.receive(ada, Message::SyncStep1(Bytes::from_static(&[0])))),
        ["send", "send state"],
        "the server speaks after its client"
    );
    let mut replica = Replica::new();
    let updates: Vec<Bytes> = (0..4).map(|_| typed(&mut replica, "x")).collect();
    let taken = || Effect::Send { to: ada, frame: hocuspocus::sync_status(true) };
    assert_eq!(
        names(&f.turn([received(ada, &updates[0]), received(ada, &updates[0])])),
        ["edited", "broadcast to others", "append"]
    );
    assert_eq!(f.run(Input::Durable { seq: 1 }), [taken(), taken()]);
    // Two that came too early are answered when what was missing came.
    assert_eq!(names(&f.turn([received(ada, &updates[2]), received(ada, &updates[3])])), ["send"]);
    f.receive(ada, Message::SyncStep2(replica.state().into()));
    assert_eq!(f.run(Input::Durable { seq: 2 }).len(), 3);
}

#[test]
fn nothing_but_the_answer_to_our_question_acknowledges_what_could_not_be_taken() {
    for dialect in [Dialect::Hocuspocus, Dialect::YSweet] {
        let mut f = Fixture::new(Access::Shared);
        let ada = f.join_as("ada", Role::Editor, dialect);
        let mut replica = Replica::new();
        let first = typed(&mut replica, "abc");
        typed(&mut replica, "d");
        let builds_on_it = typed(&mut replica, "e");
        f.receive(ada, Message::Update(first.clone()));
        f.run(Input::Durable { seq: 1 });
        assert_eq!(names(&f.receive(ada, Message::Update(builds_on_it))), ["send"], "what do you have?");
        assert_eq!(f.receive(ada, Message::SaveStatus(Bytes::from_static(&[1]))), []);
        // A deletion takes effect although something before it is missing, and so does what is known.
        let root = replica.doc().get_or_insert_text("text");
        let deletion = replica.edit(|txn| root.remove_range(txn, 0, 1)).expect("changed");
        let own = usize::from(dialect == Dialect::Hocuspocus);
        f.receive(ada, Message::Update(deletion.into()));
        assert_eq!(f.run(Input::Durable { seq: 2 }).len(), own, "{dialect:?}: its own status");
        assert_eq!(f.receive(ada, Message::Update(first)).len(), own);
        f.receive(ada, Message::SyncStep2(replica.state().into()));
        let statuses = f.run(Input::Durable { seq: 3 });
        assert_eq!(statuses.len(), if own == 1 { 3 } else { 1 }, "{statuses:?}");
        assert_eq!(f.document.replica().text("text"), "bcde");
    }
}

#[test]
fn an_answer_with_a_gap_is_asked_for_again_once_somebody_else_brought_something() {
    let mut f = Fixture::new(Access::Shared);
    let (ada, bob) = (f.join_as("ada", Role::Editor, Dialect::Hocuspocus), f.join("bob", Role::Editor));
    let mut replica = Replica::new();
    let first = typed(&mut replica, "a");
    let builds_on_it = typed(&mut replica, "b");
    // What ada has builds on what only bob has.
    assert_eq!(names(&f.receive(ada, Message::SyncStep2(builds_on_it.clone()))), ["send"], "what do you have?");
    assert_eq!(f.receive(ada, Message::SyncStep2(builds_on_it.clone())), []);
    assert_eq!(f.run(Input::Tick), [], "nothing has changed");
    f.receive(bob, Message::Update(first));
    f.run(Input::Durable { seq: 1 });
    let asked = f.run(Input::Tick);
    assert!(matches!(&asked[..], [Effect::Send { to, .. }] if *to == ada), "{asked:?}");
    assert_eq!(f.run(Input::Tick), [], "once");
    f.receive(ada, Message::SyncStep2(builds_on_it));
    assert_eq!(f.run(Input::Durable { seq: 2 }).len(), 3, "a status for each");
    assert_eq!(f.document.replica().text("text"), "ab");
}

#[test]
fn a_large_document_is_read_for_one_client_only_so_often() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    f.receive(ada, Message::Update(typed(&mut replica, &"x".repeat(1 << 20))));
    f.run(Input::Durable { seq: 1 });
    let asks = |state_vector: &[u8]| Message::SyncStep1(Bytes::copy_from_slice(state_vector));
    let (old, viewer) = (replica.state_vector(), f.join_as("cy", Role::Viewer, Dialect::Hocuspocus));
    let from_scratch = asks(&[0]);
    assert_eq!(names(&f.receive(viewer, asks(&old))), ["send", "send state"]);
    assert_eq!(names(&f.receive(viewer, asks(&old))), ["send"], "put off");
    assert_eq!(names(&f.receive(viewer, from_scratch)), ["send", "send state"], "which is at hand");
    assert_eq!(names(&f.receive(ada, asks(&old))), ["send state"], "others are not put off");
    f.receive(ada, Message::Update(typed(&mut replica, "y")));
    f.run(Input::Durable { seq: 2 });
    f.now = f.document.wake_at().expect("a question waits");
    let late = f.turn([]);
    assert!(matches!(&late[..], [Effect::SendState { to, .. }] if *to == viewer), "{late:?}");
    assert_eq!(f.document.wake_at(), None);
    // Answering our SyncStep1 reads the document too, but everybody does so once.
    let refused =
        |effects: Vec<Effect>| effects == [Effect::Send { to: viewer, frame: hocuspocus::sync_status(false) }];
    let has = Bytes::from(replica.state());
    assert!(!refused(f.receive(viewer, Message::SyncStep2(has.clone()))));
    assert!(refused(f.receive(viewer, Message::SyncStep2(has.clone()))));
    f.now += Duration::from_secs(1);
    assert!(!refused(f.receive(viewer, Message::SyncStep2(has))));
}

#[test]
fn a_full_document_does_not_grow_by_deleting_what_is_gone_already() {
    let mut f = Fixture::new(Access::Shared);
    f.document = f.document.with_limit(100_000);
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    f.receive(ada, Message::Update(typed(&mut replica, &"x".repeat(60_000))));
    let root = replica.doc().get_or_insert_text("text");
    let deletion = replica.edit(|txn| root.remove_range(txn, 0, 60_000)).expect("changed");
    f.receive(ada, Message::Update(deletion.into()));
    let mut taken = 0;
    for _ in 0..20 {
        let text = "y".repeat(15_000);
        // Each names all that was deleted before as deleted.
        let state = {
            typed(&mut replica, &text);
            Bytes::from(replica.state())
        };
        let effects = f.receive(ada, Message::Update(state));
        if names(&effects).contains(&"close") {
            break;
        }
        taken += 15_000;
    }
    assert!(taken <= 125_000, "{taken}");
}

#[test]
fn of_questions_whether_all_is_saved_one_waits_at_a_time() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join_as("ada", Role::Editor, Dialect::YSweet);
    let mut replica = Replica::new();
    f.receive(ada, Message::Update(typed(&mut replica, "a")));
    for at in 0..100u8 {
        assert_eq!(f.receive(ada, Message::SaveStatus(Bytes::copy_from_slice(&[at]))), []);
    }
    assert_eq!(f.document.waiting.len(), 1);
    let told = f.run(Input::Durable { seq: 1 });
    assert_eq!(told, [Effect::Send { to: ada, frame: protocol::save_status(&[99]) }]);
    f.receive(ada, Message::Update(typed(&mut replica, "b")));
    f.receive(ada, Message::SaveStatus(Bytes::from_static(&[1])));
    f.run(Input::Disconnected { peer: ada });
    assert_eq!(f.document.waiting.len(), 0);
}

#[test]
fn what_comes_while_the_log_takes_no_more_is_asked_for_when_it_does() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join_as("ada", Role::Editor, Dialect::Hocuspocus);
    let reader = f.join("cy", Role::Viewer);
    let mut replica = Replica::new();
    f.run(Input::LogStuck(true));
    let updates = [typed(&mut replica, "a"), typed(&mut replica, "b")];
    for update in updates {
        assert_eq!(f.receive(ada, Message::Update(update)), [], "neither told nor acknowledged");
    }
    assert_eq!(f.receive(ada, Message::SaveStatus(Bytes::from_static(&[1]))), []);
    assert_eq!(f.refused, ["unsaved", "unsaved"]);
    let by = Principal::system();
    let proposed = f.run(Input::Proposed { by, update: typed(&mut Replica::new(), "c"), ticket: 1 });
    assert_eq!(proposed, [Effect::Done { ticket: 1, result: Err(Refused::Unsaved) }]);
    assert_eq!(names(&f.receive(reader, Message::SyncStep1(Bytes::from_static(&[0])))), ["send state"]);
    let asked = f.run(Input::LogStuck(false));
    assert!(matches!(&asked[..], [Effect::Send { to, .. }] if *to == ada), "{asked:?}");
    f.receive(ada, Message::SyncStep2(replica.state().into()));
    assert_eq!(f.run(Input::Durable { seq: 1 }).len(), 4, "a status for each of three, and that all is saved");
    assert_eq!(f.document.replica().text("text"), "ab");
}

#[test]
fn a_document_grows_only_so_far_and_deleting_makes_room() {
    let mut f = Fixture::new(Access::Shared);
    f.document = f.document.with_limit(1000);
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    // Together they are shorter than their sum.
    for _ in 0..60 {
        assert_eq!(names(&f.receive(ada, Message::Update(typed(&mut replica, "0123456789"))))[0], "edited");
    }
    let mut copy = Replica::new();
    copy.apply(&replica.state()).expect("valid");
    let much = typed(&mut copy, &"x".repeat(600));
    assert_eq!(
        f.receive(ada, Message::Update(much.clone())),
        [Effect::Close { peer: ada, reason: CloseReason::TooLarge }]
    );
    assert_eq!(f.refused, ["too_large"]);
    let bo = f.join("bo", Role::Editor);
    let proposed = f.run(Input::Proposed { by: Principal::system(), update: much.clone(), ticket: 1 });
    assert_eq!(proposed, [Effect::Done { ticket: 1, result: Err(Refused::TooLarge) }]);
    let root = replica.doc().get_or_insert_text("text");
    let deletion = replica.edit(|txn| root.remove_range(txn, 0, 590)).expect("changed");
    f.receive(bo, Message::Update(deletion.into()));
    assert_eq!(names(&f.receive(bo, Message::Update(much)))[0], "edited");
    assert_eq!(f.document.replica().text("text").len(), 610);
}

#[test]
fn what_is_here_already_needs_no_room_in_a_full_document() {
    let mut f = Fixture::new(Access::Shared);
    f.document = f.document.with_limit(1000);
    let (ada, bo) = (f.join("ada", Role::Editor), f.join("bo", Role::Editor));
    let mut replica = Replica::new();
    let most = typed(&mut replica, &"x".repeat(700));
    assert_eq!(names(&f.receive(ada, Message::Update(most.clone())))[0], "edited");
    // Somebody else who has it all brings it too, and then with one word more.
    assert!(!names(&f.receive(bo, Message::SyncStep2(most))).contains(&"close"));
    typed(&mut replica, "more");
    let all = Bytes::from(replica.state());
    assert_eq!(names(&f.receive(bo, Message::SyncStep2(all)))[0], "edited");
    assert_eq!((f.refused.len(), f.document.replica().text("text").len()), (0, 704));
}

#[test]
fn a_document_that_is_full_can_be_written_again_after_one_large_value_went() {
    let mut f = Fixture::new(Access::Shared);
    f.document = f.document.with_limit(4000);
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    let images = replica.doc().get_or_insert_map("images");
    for key in ["a", "b", "c"] {
        let image = "x".repeat(1200);
        let update = replica
            .edit(|txn| {
                yrs::Map::insert(&images, txn, key, image);
            })
            .expect("changed");
        assert_eq!(names(&f.receive(ada, Message::Update(update.into())))[0], "edited");
    }
    let mut copy = Replica::new();
    copy.apply(&replica.state()).expect("valid");
    let line = typed(&mut copy, &"y".repeat(500));
    assert_eq!(names(&f.receive(ada, Message::Update(line.clone()))), ["close"]);
    let bo = f.join("bo", Role::Editor);
    let deletion = replica
        .edit(|txn| {
            yrs::Map::remove(&images, txn, "a");
        })
        .expect("changed");
    f.receive(bo, Message::Update(deletion.into()));
    assert_eq!(names(&f.receive(bo, Message::Update(line)))[0], "edited");
    // Everything is replaced by a little.
    let root = copy.doc().get_or_insert_text("text");
    let replaced = copy.edit(|txn| {
        root.remove_range(txn, 0, 500);
        root.insert(txn, 0, "z");
    });
    assert_eq!(names(&f.receive(bo, Message::Update(replaced.expect("changed").into())))[0], "edited");
}

#[test]
fn a_y_sweet_reader_hears_that_all_is_saved_only_while_nothing_was_refused() {
    let mut f = Fixture::new(Access::Shared);
    let ask = || Message::SaveStatus(Bytes::from_static(&[1]));
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    f.receive(ada, Message::Update(typed(&mut replica, "x")));
    let reader = f.join_as("cy", Role::Viewer, Dialect::YSweet);
    let saved = || vec![Effect::Send { to: reader, frame: protocol::save_status(&[1]) }];
    assert_eq!(f.receive(reader, ask()), [], "it may bring something");
    f.receive(reader, Message::SyncStep2(replica.state().into()));
    f.run(Input::Durable { seq: 1 });
    assert_eq!(f.receive(reader, ask()), saved(), "it brought nothing");
    f.receive(reader, Message::Update(typed(&mut replica, "y")));
    assert_eq!(f.receive(reader, ask()), []);
    assert_eq!(f.refused, ["read_only"]);
}

#[test]
fn whoever_lacks_much_is_sent_it_as_a_newcomer_is() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    f.receive(ada, Message::Update(typed(&mut replica, "x")));
    let old = replica.state_vector();
    f.receive(ada, Message::Update(typed(&mut replica, "y")));
    assert_eq!(names(&f.receive(ada, Message::SyncStep1(old.into()))), ["send state"]);
}

#[test]
fn a_large_document_is_not_written_anew_for_each_newcomer_while_it_is_edited() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    for _ in 0..4 {
        let mut author = Replica::new();
        author.apply(&replica.state()).expect("valid");
        let update = typed(&mut author, &"x".repeat(STATE_PART_BYTES));
        replica.apply(&update).expect("valid");
        f.receive(ada, Message::Update(update));
    }
    let joined = |f: &mut Fixture, text: &str| {
        let effects = f.receive(ada, Message::SyncStep1(Bytes::from_static(&[0])));
        let [Effect::SendState { frames, .. }] = &effects[..] else { panic!("{effects:?}") };
        let mut reader = Replica::new();
        for (index, frame) in frames.iter().enumerate() {
            let update = match &protocol::decode(frame).expect("valid")[..] {
                [Message::SyncStep2(update)] if index + 1 == frames.len() => update.clone(),
                [Message::Update(update)] if index + 1 < frames.len() => update.clone(),
                other => panic!("{other:?}"),
            };
            reader.apply(&update).expect("valid");
        }
        assert!(reader.text("text") == text, "{} characters", reader.text("text").len());
        frames[0].as_ptr()
    };
    let first = joined(&mut f, &replica.text("text"));
    for _ in 0..3 {
        f.receive(ada, Message::Update(typed(&mut replica, "y")));
        f.receive(ada, Message::Update(typed(&mut replica, "z")));
        assert_eq!(joined(&mut f, &replica.text("text")), first, "the same bytes");
    }
    f.receive(ada, Message::Update(typed(&mut replica, &"w".repeat(STATE_PART_BYTES))));
    assert_ne!(joined(&mut f, &replica.text("text")), first, "too much was changed");
}

#[test]
fn a_hocuspocus_reader_is_told_of_each_update_that_it_is_refused() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let reader = f.join_as("cy", Role::Viewer, Dialect::Hocuspocus);
    let mut replica = Replica::new();
    f.receive(ada, Message::Update(typed(&mut replica, "x")));
    let status = |taken| vec![Effect::Send { to: reader, frame: hocuspocus::sync_status(taken) }];
    assert_eq!(f.receive(reader, Message::SyncStep2(replica.state().into())), status(true), "nothing new");
    let more = typed(&mut replica, "y");
    assert_eq!(f.receive(reader, Message::SyncStep2(replica.state().into())), status(false));
    assert_eq!(f.receive(reader, Message::Update(more)), status(false));
    assert_eq!(f.document.replica().text("text"), "x");
}

#[test]
fn presence_of_many_is_gathered_and_of_few_is_not() {
    let mut f = Fixture::new(Access::Shared);
    let says = |client: u64, clock| {
        let entry = awareness::Entry { client, clock, state: Some("{}".to_owned()) };
        Message::Awareness(awareness::encode([&entry].into_iter()).into())
    };
    let first = f.join("p0", Role::Editor);
    assert_eq!(names(&f.receive(first, says(0, 1))), ["presence"]);
    assert_eq!(names(&f.receive(first, says(0, 2))), ["presence"], "at once");
    let crowd: Vec<ConnectionId> = (1..100).map(|n| f.join(&format!("p{n}"), Role::Editor)).collect();
    assert_eq!(f.document.wake_at(), None);
    for (client, peer) in (1..).zip(&crowd) {
        assert_eq!(names(&f.receive(*peer, says(client, 1))), [""; 0]);
        assert_eq!(names(&f.receive(*peer, says(client, 2))), [""; 0]);
    }
    f.now = f.document.wake_at().expect("somebody has to be told");
    let effects = f.turn([]);
    let [Effect::Presence { frame }] = &effects[..] else { panic!("{effects:?}") };
    let payload = protocol::awareness_payload(frame).expect("awareness");
    let told = awareness::split(&payload).expect("valid");
    assert_eq!(told.len(), crowd.len());
    assert!(told.iter().all(|(client, entry)| entry[..2] == [*client as u8, 2]));
}

#[test]
fn clients_that_come_and_go_between_two_messages_do_not_fill_the_next() {
    let mut f = Fixture::new(Access::Shared);
    let crowd: Vec<ConnectionId> = (0..50).map(|n| f.join(&format!("p{n}"), Role::Editor)).collect();
    let says = |client, clock, state: Option<&str>| {
        let entry = awareness::Entry { client, clock, state: state.map(str::to_owned) };
        Message::Awareness(awareness::encode([&entry].into_iter()).into())
    };
    f.receive(crowd[1], says(1, 1, Some("{}")));
    f.receive(crowd[1], says(1, 2, Some("{}")));
    for client in 2..20_000 {
        f.receive(crowd[0], says(client, 1, Some("{}")));
        f.receive(crowd[0], says(client, 2, None));
    }
    assert!(f.document.untold.len() <= MOST_UNTOLD, "{}", f.document.untold.len());
    assert!(f.document.untold.contains_key(&1), "who is here is told of");
}

#[test]
fn whatever_is_refused_is_counted_with_its_reason() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let mut too_many = vec![0xff, 0xff, 0x7f];
    too_many.resize(5_000_000, 0);
    for message in [
        Message::Update(Bytes::from_static(b"nonsense")),
        Message::SyncStep1(Bytes::from_static(&[1])),
        Message::SyncStep1(too_many.into()),
        Message::Awareness(Bytes::from_static(&[9])),
    ] {
        assert_eq!(names(&f.receive(ada, message)), ["close"]);
    }
    let ticket = 1;
    let by = Principal { id: PrincipalId::parse("bo").expect("valid"), kind: PrincipalKind::Person, name: "Bo".into() };
    let missing = Bytes::from_static(&[1, 1, 1, 1, 196, 2, 0, 1, 0, 1, 110, 0]);
    for update in [Bytes::from_static(b"nonsense"), missing] {
        assert_eq!(names(&f.run(Input::Proposed { by: by.clone(), update, ticket })), ["done"]);
    }
    let reasons: Vec<_> = f.refused.iter().map(|reason| reason.split(' ').next_back().expect("a word")).collect();
    assert_eq!(reasons.len(), 6, "{:?}", f.refused);
    assert_eq!((reasons[2], reasons[5]), ("clients", "missing"), "{:?}", f.refused);
}

#[test]
fn an_applications_own_message_reaches_those_who_know_such_messages() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join_as("ada", Role::Editor, Dialect::Hocuspocus);
    let reader = f.join_as("cy", Role::Viewer, Dialect::Hocuspocus);
    let payload = Bytes::from_static(b"hello");
    let to = Recipients::Others { dialect: Dialect::Hocuspocus, than: ada };
    let frame = hocuspocus::stateless(&payload);
    assert_eq!(f.run(Input::Stateless { peer: ada, payload: payload.clone() }), vec![Effect::Announce { to, frame }]);
    assert_eq!(f.run(Input::Stateless { peer: reader, payload }), vec![]);
}

#[test]
fn a_large_state_comes_in_parts_and_the_last_of_them_completes_it() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    for n in 0..20 {
        // Each before the last, because what is typed in one go is one struct, which is not cut.
        let root = replica.doc().get_or_insert_text("text");
        let update = replica.edit(|txn| root.insert(txn, 0, &n.to_string().repeat(60_000))).expect("changed");
        f.receive(ada, Message::Update(update.into()));
    }
    let effects = f.receive(ada, Message::SyncStep1(Bytes::from_static(&[0])));
    let [Effect::SendState { frames, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert!(frames.len() > 4, "{} parts", frames.len());
    let mut reader = Replica::new();
    for (index, frame) in frames.iter().enumerate() {
        match &protocol::decode(frame).expect("valid")[..] {
            [Message::Update(update)] if index + 1 < frames.len() => reader.apply(update).expect("in order"),
            [Message::SyncStep2(update)] if index + 1 == frames.len() => reader.apply(update).expect("in order"),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(reader.text("text"), replica.text("text"));
}

#[test]
fn what_waits_for_the_log_is_counted_and_what_takes_too_long_is_refused() {
    let mut f = Fixture::new(Access::Shared);
    let ada = f.join("ada", Role::Editor);
    let mut replica = Replica::new();
    let update = typed(&mut replica, &"x".repeat(1000));
    f.receive(ada, Message::Update(update.clone()));
    let echo = f.document.waiting_bytes();
    assert!(echo > 1000);
    for again in 1..=3 {
        f.receive(ada, Message::Update(update.clone()));
        assert_eq!(f.document.waiting_bytes(), (again + 1) * echo);
    }
    f.receive(ada, Message::SaveStatus(Bytes::from_static(&[1])));
    f.receive(ada, Message::SaveStatus(Bytes::from_static(&[2])));
    assert!(f.document.waiting_bytes() > 4 * echo);
    f.run(Input::Durable { seq: 1 });
    assert_eq!(f.document.waiting_bytes(), 0);
    f.receive(ada, Message::Update(typed(&mut replica, "y")));
    f.run(Input::Disconnected { peer: ada });
    assert_eq!(f.document.waiting_bytes(), 0);

    // A key that is set ten thousand times, each time as if nobody had before.
    let bob = f.join("bob", Role::Editor);
    let mut update = vec![1, 0x90, 0x4e, 7, 0];
    update.extend([0x28, 1, 1, b'm', 1, b'k', 1, 126].repeat(10_000));
    update.push(0);
    let effects = f.receive(bob, Message::Update(update.into()));
    assert!(matches!(&effects[..], [Effect::Close { peer, .. }] if *peer == bob), "{effects:?}");
    assert_eq!(f.refused, ["too_much"]);
}
