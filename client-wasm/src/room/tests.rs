use std::collections::{HashSet, VecDeque};

use buildspaces_crdt::protocol::hocuspocus::{self, Kind as Asked};
use buildspaces_crdt::protocol::{self, Message};
use buildspaces_crdt::{Replica, awareness};

use super::*;
use crate::document::Kind;

/// A server with one document of each name, which frames as ours does. What it takes is durable when [`Server::flush`] says so.
#[derive(Default)]
struct Server {
    documents: HashMap<Bytes, Replica>,
    refused_tokens: HashSet<String>,
    is_read_only: bool,
}

/// One connection's view of it.
#[derive(Default)]
struct Link {
    open: HashSet<Bytes>,
    waiting: Vec<Bytes>,
    /// Statuses that are owed after the next flush.
    owed: Vec<Bytes>,
    /// On their way to the client.
    down: VecDeque<Bytes>,
}

impl Link {
    fn say(&mut self, address: &Bytes, body: &[u8]) {
        self.down.push_back([address, body].concat().into());
    }
}

impl Server {
    /// Takes one frame of a client. Returns what all others are to be told.
    fn take(&mut self, link: &mut Link, frame: Bytes) -> Vec<(Bytes, Bytes)> {
        let message = hocuspocus::decode(&frame).expect("clients say what is a message");
        let address = message.address;
        let mut told = Vec::new();
        match message.kind {
            Asked::Token(token) if self.refused_tokens.contains(&token) => {
                link.open.remove(&address);
                link.say(&address, &hocuspocus::permission_denied("no such token"));
                link.waiting.retain(|waiting| !waiting.starts_with(&address));
            }
            Asked::Token(_) => {
                link.open.insert(address.clone());
                link.say(&address, &hocuspocus::authenticated(!self.is_read_only));
                let (ready, rest) =
                    std::mem::take(&mut link.waiting).into_iter().partition(|w| w.starts_with(&address));
                link.waiting = rest;
                let ready: Vec<Bytes> = ready;
                for frame in ready {
                    told.extend(self.take(link, frame));
                }
            }
            _ if !link.open.contains(&address) => link.waiting.push(frame),
            Asked::Close => {
                link.open.remove(&address);
            }
            Asked::Document(message) => {
                let replica = self.documents.entry(address.clone()).or_default();
                match message {
                    Message::SyncStep1(vector) => {
                        link.say(&address, &protocol::sync_step_1(&replica.state_vector()));
                        link.say(&address, &protocol::sync_step_2(&replica.diff(&vector).expect("valid")));
                    }
                    Message::SyncStep2(update) | Message::Update(update) if self.is_read_only => {
                        link.say(&address, &hocuspocus::sync_status(replica.knows(&update)));
                    }
                    Message::SyncStep2(update) | Message::Update(update) => {
                        let applied = replica.apply_foreign(&update).expect("clients send what is valid");
                        assert_ne!(
                            applied,
                            buildspaces_crdt::replica::Applied::Missing,
                            "nothing comes before what it builds on"
                        );
                        link.owed.push(address.clone());
                        told.push((address, protocol::update(&update)));
                    }
                    Message::Awareness(bytes) => told.push((address, protocol::awareness(&bytes))),
                    Message::QueryAwareness | Message::SaveStatus(_) => {}
                }
            }
            Asked::Stateless(payload) => told.push((address, hocuspocus::stateless(&payload))),
            Asked::Forbidden | Asked::Ignored => panic!("clients do not say that"),
        }
        told
    }

    /// The disk has everything.
    fn flush(link: &mut Link) {
        for address in std::mem::take(&mut link.owed) {
            link.say(&address, &hocuspocus::sync_status(true));
        }
    }
}

/// A client on a line that can be cut.
struct Peer {
    client: RoomClient,
    link: Option<Link>,
    token: String,
    up: VecDeque<Bytes>,
    events: Vec<Effect>,
}

impl Peer {
    fn new(seed: u64) -> Self {
        let client = RoomClient::new(Config { seed, ..Config::default() });
        Self { client, link: None, token: "t".to_owned(), up: VecDeque::new(), events: Vec::new() }
    }

    fn perform(&mut self, now: u64) {
        loop {
            let effects = self.client.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Connect => {
                        self.link = Some(Link::default());
                        self.client.handle(now, Input::Opened);
                    }
                    Effect::Disconnect => self.link = None,
                    Effect::Send(frame) => {
                        if self.link.is_some() {
                            self.up.push_back(frame);
                        }
                    }
                    Effect::WantToken { document, because } => {
                        if because.is_some() {
                            self.token = format!("{}'", self.token);
                        }
                        self.client.handle(now, Input::Token { document, token: self.token.clone() });
                    }
                    other => self.events.push(other),
                }
            }
        }
    }

    fn cut(&mut self, now: u64) {
        self.link = None;
        self.up.clear();
        self.client.handle(now, Input::Closed { code: 1006, reason: String::new() });
        self.perform(now);
    }

    fn states(&self) -> Vec<State> {
        let state = |event: &Effect| if let Effect::State { state, .. } = event { Some(*state) } else { None };
        self.events.iter().filter_map(state).collect()
    }
}

/// Carries everything until nothing moves.
fn settle(server: &mut Server, peers: &mut [Peer], now: u64) {
    for peer in peers.iter_mut() {
        peer.perform(now);
    }
    while exchange(server, peers, now, true) {}
}

/// Carries one frame each way for each peer. True if anything moved.
fn exchange(server: &mut Server, peers: &mut [Peer], now: u64, is_durable: bool) -> bool {
    let mut moved = false;
    for index in 0..peers.len() {
        let peer = &mut peers[index];
        let told = match (&mut peer.link, peer.up.pop_front()) {
            (Some(link), Some(frame)) => {
                moved = true;
                server.take(link, frame)
            }
            _ => Vec::new(),
        };
        for (other, peer) in peers.iter_mut().enumerate() {
            if let Some(link) = &mut peer.link
                && other != index
            {
                for (address, body) in &told {
                    if link.open.contains(address) {
                        link.say(address, body);
                    }
                }
            }
        }
        let peer = &mut peers[index];
        if let Some(link) = &mut peer.link {
            if is_durable {
                Server::flush(link);
            }
            if let Some(frame) = link.down.pop_front() {
                moved = true;
                peer.client.handle(now, Input::Frame(frame));
                peer.perform(now);
            }
        }
    }
    moved
}

fn type_text(peer: &mut Peer, id: DocumentId, at: u32, text: &str, now: u64) {
    let document = peer.client.document_mut(id).expect("open");
    let of = document.root("text", Kind::Text);
    document.insert_text(now, of, at, text, None).expect("fits");
    peer.client.edited(id);
    peer.perform(now);
}

fn read(peer: &mut Peer, id: DocumentId) -> String {
    let document = peer.client.document_mut(id).expect("open");
    let of = document.root("text", Kind::Text);
    document.text(of).expect("there")
}

#[test]
fn a_change_is_saved_when_the_server_says_so_and_not_before() {
    let mut server = Server::default();
    let mut peers = [Peer::new(1)];
    let id = peers[0].client.open(0, "notes");
    peers[0].client.connect(0);
    settle(&mut server, &mut peers, 0);
    assert_eq!(peers[0].states(), [State::Connecting, State::Saved]);
    type_text(&mut peers[0], id, 0, "hello", 1);
    while exchange(&mut server, &mut peers, 1, false) {}
    assert_eq!((peers[0].client.state(id), peers[0].client.unsaved(id)), (Some(State::Synced), 1));
    // The connection is lost before the disk has answered.
    peers[0].cut(2);
    assert_eq!((peers[0].client.state(id), peers[0].client.unsaved(id)), (Some(State::Offline), 1));
    type_text(&mut peers[0], id, 5, "!", 2);
    assert_eq!(peers[0].client.unsaved(id), 2);
    let wake = peers[0].client.next_wake().expect("an attempt is planned");
    peers[0].client.handle(wake, Input::Tick);
    peers[0].perform(wake);
    while exchange(&mut server, &mut peers, wake, false) {}
    assert_eq!((peers[0].client.state(id), peers[0].client.unsaved(id)), (Some(State::Synced), 2));
    settle(&mut server, &mut peers, wake);
    assert_eq!((peers[0].client.state(id), peers[0].client.unsaved(id)), (Some(State::Saved), 0));
    assert_eq!(server.documents[&hocuspocus::address("notes")].text("text"), "hello!");
}

#[test]
fn whatever_is_cut_off_everyone_ends_with_the_same_and_everything_is_saved() {
    for seed in 1..=300u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let mut server = Server::default();
        let mut peers: Vec<Peer> = (0..3).map(|peer| Peer::new(seed * 8 + peer)).collect();
        let mut now = 0;
        let ids: Vec<[DocumentId; 2]> = peers
            .iter_mut()
            .map(|peer| {
                peer.client.connect(0);
                [peer.client.open(0, "a"), peer.client.open(0, "b")]
            })
            .collect();
        for _ in 0..120 {
            now += below(400);
            let who = below(3) as usize;
            let id = ids[who][below(2) as usize];
            match below(10) {
                0 => peers[who].cut(now),
                1..=4 => {
                    let len = read(&mut peers[who], id).encode_utf16().count() as u64;
                    let at = below(len + 1) as u32;
                    type_text(&mut peers[who], id, at, &format!("{who}"), now);
                }
                5 => {
                    peers[who].client.handle(now, Input::Tick);
                    peers[who].perform(now);
                }
                rest => {
                    exchange(&mut server, &mut peers, now, rest == 6);
                }
            }
        }
        for _ in 0..4 {
            now += 60_000;
            for peer in &mut peers {
                // Whoever was silent for so long is let go, and comes back.
                peer.client.handle(now, Input::Tick);
                peer.perform(now);
            }
            now += 60_000;
            for peer in &mut peers {
                peer.client.handle(now, Input::Online);
            }
            settle(&mut server, &mut peers, now);
        }
        for (which, name) in ["a", "b"].into_iter().enumerate() {
            let wanted = server.documents.get(&hocuspocus::address(name)).map(|replica| replica.text("text"));
            for (who, peer) in peers.iter_mut().enumerate() {
                let id = ids[who][which];
                assert_eq!(Some(read(peer, id)), wanted, "seed {seed}, {name} of {who}");
                assert_eq!((peer.client.state(id), peer.client.unsaved(id)), (Some(State::Saved), 0), "seed {seed}");
            }
        }
    }
}

#[test]
fn many_documents_are_let_in_a_few_at_a_time() {
    let mut server = Server::default();
    let mut peers = [Peer::new(1)];
    peers[0].client.connect(0);
    let ids: Vec<_> = (0..150).map(|n| peers[0].client.open(0, &format!("volume {n}"))).collect();
    peers[0].perform(0);
    assert_eq!(peers[0].up.len(), 2 * MAX_OPENING, "a token and what is here already, for each of the first");
    settle(&mut server, &mut peers, 0);
    assert!(ids.iter().all(|id| peers[0].client.state(*id) == Some(State::Saved)));
    assert_eq!(peers[0].client.open(0, "volume 7"), ids[7], "once open, it is that one");
}

#[test]
fn a_refused_token_is_tried_again_once_and_a_denied_document_leaves_the_others_alone() {
    let mut server = Server::default();
    server.refused_tokens.insert("t".to_owned());
    let mut peers = [Peer::new(1)];
    let id = peers[0].client.open(0, "door");
    peers[0].client.connect(0);
    settle(&mut server, &mut peers, 0);
    assert_eq!(peers[0].client.state(id), Some(State::Saved), "the second token was taken");
    server.refused_tokens.extend(["x".to_owned(), "x'".to_owned()]);
    peers[0].token = "x".to_owned();
    let other = peers[0].client.open(0, "other door");
    settle(&mut server, &mut peers, 0);
    assert_eq!(peers[0].client.state(other), Some(State::Denied));
    assert_eq!(peers[0].client.state(id), Some(State::Saved));
    let reason = peers[0].events.iter().rev().find_map(|event| match event {
        Effect::State { state: State::Denied, reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.as_deref(), Some("no such token"));
    // Neither a lost connection nor time changes that; asking again does.
    peers[0].cut(1);
    peers[0].client.handle(2, Input::Online);
    settle(&mut server, &mut peers, 2);
    assert_eq!(peers[0].client.state(other), Some(State::Denied));
    peers[0].token = "good".to_owned();
    peers[0].client.retry(other);
    settle(&mut server, &mut peers, 3);
    assert_eq!(peers[0].client.state(other), Some(State::Saved));
}

#[test]
fn what_a_reader_changes_is_refused_and_stays_unsaved() {
    let mut server = Server { is_read_only: true, ..Server::default() };
    let mut peers = [Peer::new(1)];
    let id = peers[0].client.open(0, "plaque");
    // Before anybody said that it may only be read.
    type_text(&mut peers[0], id, 0, "graffiti", 0);
    peers[0].client.connect(0);
    settle(&mut server, &mut peers, 0);
    assert!(peers[0].events.contains(&Effect::Refused { document: id }));
    assert_eq!((peers[0].client.state(id), peers[0].client.unsaved(id)), (Some(State::Synced), 1));
    assert!(peers[0].client.document(id).expect("open").is_read_only());
    assert_eq!(server.documents[&hocuspocus::address("plaque")].text("text"), "");
}

#[test]
fn people_see_each_other_until_the_connection_is_gone() {
    let mut server = Server::default();
    let mut peers = [Peer::new(1), Peer::new(2)];
    let ids: Vec<_> = peers.iter_mut().map(|peer| peer.client.open(0, "square")).collect();
    for peer in &mut peers {
        peer.client.connect(0);
    }
    settle(&mut server, &mut peers, 0);
    peers[0].client.set_presence(1, ids[0], Some(r#"{"cursor":3}"#.to_owned()));
    settle(&mut server, &mut peers, 1);
    let seen = |peer: &Peer, id| {
        let (_, others) = peer.client.presence(id).expect("open");
        others.map(|(_, state)| state.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen(&peers[1], ids[1]), [r#"{"cursor":3}"#]);
    // It is said again before it would expire.
    assert_eq!(peers[0].client.next_wake(), Some(1 + crate::presence::RENEWS_MS));
    peers[1].cut(2);
    assert!(seen(&peers[1], ids[1]).is_empty());
    // An update that cannot be read changes nothing.
    let link = peers[0].link.as_mut().expect("connected");
    link.say(&hocuspocus::address("square"), &protocol::awareness(&[1, 1, 1, 1, b'{']));
    let gone = awareness::Entry { client: 77, clock: 1, state: Some("{}".to_owned()) };
    link.say(&hocuspocus::address("square"), &protocol::awareness(&awareness::encode([gone].iter())));
    settle(&mut server, &mut peers, 2);
    assert_eq!(seen(&peers[0], ids[0]), ["{}"]);
}

#[test]
fn a_hostile_update_ends_the_document_and_nothing_else() {
    let mut server = Server::default();
    let mut peers = [Peer::new(1)];
    let (id, other) = (peers[0].client.open(0, "trap"), peers[0].client.open(0, "calm"));
    peers[0].client.connect(0);
    settle(&mut server, &mut peers, 0);
    type_text(&mut peers[0], id, 0, "mine", 0);
    settle(&mut server, &mut peers, 0);
    let link = peers[0].link.as_mut().expect("connected");
    link.say(&hocuspocus::address("trap"), &protocol::update(&[0xff, 0xff, 0xff, 0x7f]));
    settle(&mut server, &mut peers, 1);
    assert_eq!(peers[0].client.state(id), Some(State::Denied));
    assert_eq!(read(&mut peers[0], id), "mine", "what was here is here");
    assert_eq!(peers[0].client.state(other), Some(State::Saved));
}

#[test]
fn a_silent_server_is_left_and_attempts_are_made_ever_more_rarely() {
    let mut client = RoomClient::new(Config::default());
    client.open(0, "void");
    client.connect(0);
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        assert!(client.take_effects().contains(&Effect::Connect));
        let late = client.next_wake().expect("the attempt has an end");
        client.handle(late, Input::Tick);
        assert!(client.take_effects().contains(&Effect::Disconnect));
        let next = client.next_wake().expect("another attempt");
        pauses.push(next - late);
        now = next;
        client.handle(now, Input::Tick);
    }
    assert!(pauses[0] <= 500 && *pauses.last().expect("some") >= 15_000, "{pauses:?}");
    client.handle(now, Input::Opened);
    let heard = client.next_wake().expect("silence has an end");
    client.handle(heard, Input::Tick);
    assert!(client.take_effects().contains(&Effect::Disconnect));
    client.disconnect();
    assert_eq!(client.next_wake(), None, "whoever wants no connection is not woken");
}

#[test]
fn clients_on_one_socket_are_told_apart_and_an_earlier_session_is_not_heard() {
    let mut client = RoomClient::new(Config::default());
    client.set_session(Some("tab-1".to_owned()));
    client.connect(0);
    let ids: Vec<_> = (0..20).map(|number| client.open(0, &format!("doc {number}"))).collect();
    assert_eq!(client.open(0, "doc 3"), ids[3], "a document is the same in each session");
    client.handle(0, Input::Opened);
    let wanted = client.take_effects().into_iter().filter(|effect| matches!(effect, Effect::WantToken { .. })).count();
    assert_eq!(wanted, MAX_OPENING_SHARED, "others on the socket want to be let in too");
    client.handle(0, Input::Token { document: ids[0], token: String::new() });
    let address = hocuspocus::address("doc 0\0tab-1");
    let sent =
        |effects: Vec<Effect>| effects.into_iter().any(|e| matches!(e, Effect::Send(f) if f.starts_with(&address)));
    assert!(sent(client.take_effects()));
    client.handle(0, Input::Closed { code: 1006, reason: String::new() });
    client.set_session(Some("tab-2".to_owned()));
    client.handle(1, Input::Online);
    client.handle(1, Input::Opened);
    client.handle(1, Input::Token { document: ids[0], token: String::new() });
    let late: Bytes = [&address[..], &hocuspocus::authenticated(true)].concat().into();
    client.handle(2, Input::Frame(late));
    assert_eq!(client.state(ids[0]), Some(State::Connecting), "that was said to the session before");
    let granted = [&hocuspocus::address("doc 0\0tab-2")[..], &hocuspocus::authenticated(true)].concat();
    client.handle(2, Input::Frame(granted.into()));
    client.take_effects();
    assert!(client.send_stateless(ids[0], "it is open"));
}
