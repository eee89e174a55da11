use super::*;
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::{PrincipalKind, Role};
use serde_json::json;
use yrs::Text;

struct Fixture {
    document: Document,
    now: Instant,
}

impl Fixture {
    fn new(access: Access) -> Self {
        let document = Document::load(access, &StoredDocument::default()).expect("empty");
        Self { document, now: Instant::now() }
    }

    fn run(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.document.handle(self.now, input, &mut effects);
        effects
    }

    fn join(&mut self, name: &str, role: Role) -> ConnectionId {
        let peer = ConnectionId::new();
        let principal =
            Principal { id: PrincipalId::parse(name).expect("valid"), kind: PrincipalKind::Person, name: name.into() };
        self.run(Input::Connected { peer, authority: Authority { principal, role }, stamp: true });
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
            Effect::Send { .. } => "send",
            Effect::Broadcast { except: Some(_), .. } => "broadcast to others",
            Effect::Broadcast { except: None, .. } => "broadcast",
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
    assert_eq!(names(&effects), ["broadcast to others", "append", "edited"]);
    assert_eq!(names(&f.receive(ada, Message::SaveStatus(Bytes::from_static(&[7])))), [""; 0]);
    let effects = f.run(Input::Durable { seq: 1 });
    assert_eq!(
        effects,
        vec![
            Effect::Send { to: ada, frame: protocol::update(&update) },
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
    assert_eq!(names(&effects), ["broadcast to others", "append", "edited"]);
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
    assert_eq!(names(&f.receive(ada, Message::Update(update))), ["send"]);
}

#[test]
fn nobody_writes_a_projected_document_and_a_viewer_writes_nothing() {
    for (access, role) in [(Access::Projected, Role::Editor), (Access::Shared, Role::Viewer)] {
        let mut f = Fixture::new(access);
        let peer = f.join("ada", role);
        let update = typed(&mut Replica::new(), "forged");
        assert_eq!(names(&f.receive(peer, Message::SyncStep2(update.clone()))), [""; 0]);
        let effects = f.receive(peer, Message::Update(update));
        assert!(matches!(&effects[..], [Effect::Send { frame, .. }] if frame[..2] == [2, 0]), "{effects:?}");
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
        let [Effect::Send { frame, .. }] = &effects[..] else { panic!("{effects:?}") };
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
    assert_eq!(names(&effects), ["broadcast to others", "append", "edited"]);
}

#[test]
fn what_is_loaded_is_what_was_logged() {
    let mut replica = Replica::new();
    let updates: Vec<Vec<u8>> = ["a", "b", "c"].iter().map(|text| typed(&mut replica, text).to_vec()).collect();
    let mut stored = StoredDocument { snapshot: None, seq: 3, updates };
    let document = Document::load(Access::Shared, &stored).expect("complete");
    assert_eq!(document.replica().text("text"), "abc");
    assert!(document.is_idle());
    stored.updates.remove(0);
    assert!(Document::load(Access::Shared, &stored).is_err(), "a hole in the log must not go unnoticed");
}
