//! Our own client in this program: `buildspaces-client` over a socket of tokio-tungstenite.
//!
//! It is the one part here that shares code with the server, so nothing that is measured elsewhere and no verdict rests on it: what such
//! clients end with is compared with what a client that knows nothing but yrs fetches ([`verify`](crate::verify)).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use buildspaces_client::document::Kind;
use buildspaces_client::room::{DocumentId, Effect};
use buildspaces_client::session::{Session, Transport};
use buildspaces_client::{Config, Input, State};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::clock::{Clock, Nanos};
use crate::tally::Tally;
use crate::updates::ROOT;

/// How often it is looked whether the client wants to be woken. Its pauses are longer.
const TICK: Duration = Duration::from_millis(25);

/// One client with one document.
pub struct Native {
    inner: Rc<Inner>,
    document: DocumentId,
    ticks: JoinHandle<()>,
}

struct Inner {
    session: RefCell<Session<Socket>>,
    clock: Clock,
    tally: Rc<Tally>,
    /// When the changes were made that nobody has called durable.
    pending: RefCell<VecDeque<Nanos>>,
    connections: Cell<u64>,
}

/// Where the client's messages go.
struct Socket {
    url: String,
    me: Weak<Inner>,
    open: Option<(Rc<Outbox>, JoinHandle<()>)>,
}

/// What a socket has not taken yet. Its bound is what the client has to say.
#[derive(Default)]
struct Outbox {
    frames: RefCell<VecDeque<Bytes>>,
    filled: Notify,
}

impl Native {
    /// Connects now and whenever the connection is lost. Latency of what is saved goes to the tally.
    pub fn connect(clock: Clock, url: &str, document: &str, tally: &Rc<Tally>, seed: u64) -> Self {
        let inner = Rc::new_cyclic(|me: &Weak<Inner>| {
            let socket = Socket { url: url.to_owned(), me: me.clone(), open: None };
            Inner {
                session: RefCell::new(Session::new(Config { seed, ..Config::default() }, socket)),
                clock,
                tally: tally.clone(),
                pending: RefCell::default(),
                connections: Cell::new(0),
            }
        });
        let now = inner.now();
        let document = inner.with(|session| {
            session.with(|client| {
                let document = client.open(now, document);
                client.connect(now);
                document
            })
        });
        let ticks = tokio::task::spawn_local(tick(Rc::downgrade(&inner)));
        Self { inner, document, ticks }
    }

    /// Inserts `chunk` before the character at `index`, or at the end if there are not as many.
    pub fn insert(&self, index: u32, chunk: &str) -> anyhow::Result<()> {
        let at = self.inner.clock.now();
        let now = self.inner.now();
        self.inner.pending.borrow_mut().push_back(at);
        let edited = self.inner.with(|session| {
            session.edit(self.document, |document| {
                let text = document.root(ROOT, Kind::Text);
                let index = index.min(document.text_len(text)?);
                document.insert_text(now, text, index, chunk, None)
            })
        });
        Ok(edited.ok_or_else(|| anyhow::anyhow!("the document is closed"))??)
    }

    pub fn text(&self) -> anyhow::Result<String> {
        let mut session = self.inner.session.borrow_mut();
        let read = session.edit(self.document, |document| {
            let text = document.root(ROOT, Kind::Text);
            document.text(text)
        });
        Ok(read.ok_or_else(|| anyhow::anyhow!("the document is closed"))??)
    }

    /// The document is the server's, and all that was written here is durable.
    pub fn is_saved(&self) -> bool {
        self.inner.session.borrow().client().state(self.document) == Some(State::Saved)
    }

    /// How often a socket was opened.
    pub fn connections(&self) -> u64 {
        self.inner.connections.get()
    }

    /// The line is cut, and this end knows it.
    pub fn cut(&self) {
        let now = self.inner.now();
        self.inner.with(|session| {
            session.transport().disconnect();
            session.handle(now, Input::Closed { code: 1006, reason: "cut".to_owned() });
        });
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        self.ticks.abort();
        self.inner.session.borrow_mut().with(|client| client.disconnect());
    }
}

impl Inner {
    /// Milliseconds, never zero.
    fn now(&self) -> u64 {
        self.clock.now() / 1_000_000 + 1
    }

    fn handle(&self, input: Input) {
        let now = self.now();
        self.with(|session| session.handle(now, input));
    }

    fn with<R>(&self, call: impl FnOnce(&mut Session<Socket>) -> R) -> R {
        let mut session = self.session.borrow_mut();
        let result = call(&mut session);
        for event in session.take_events() {
            match event {
                Effect::Unsaved { count, .. } => self.saved(count as usize),
                Effect::State { state: State::Denied, reason, .. } => self.tally.trouble(format!("denied: {reason}")),
                Effect::Refused { .. } => self.tally.trouble("a change was refused"),
                _ => {}
            }
        }
        result
    }

    /// So many changes are left that are not durable.
    fn saved(&self, left: usize) {
        let mut pending = self.pending.borrow_mut();
        let now = self.clock.now();
        while pending.len() > left {
            let Some(at) = pending.pop_front() else { return };
            Tally::add(&self.tally.acks, 1);
            self.tally.ack_latency.borrow_mut().record(now.saturating_sub(at));
        }
    }
}

impl Transport for Socket {
    fn connect(&mut self) {
        self.disconnect();
        let outbox = Rc::<Outbox>::default();
        let talk = talk(self.me.clone(), self.url.clone(), outbox.clone());
        let me = self.me.clone();
        let task = tokio::task::spawn_local(async move {
            let (code, reason) = talk.await.unwrap_or_else(|error| (1006, error.to_string()));
            tell(&me, Input::Closed { code, reason });
        });
        self.open = Some((outbox, task));
    }

    fn send(&mut self, frame: Bytes) {
        if let Some((outbox, _)) = &self.open {
            outbox.frames.borrow_mut().push_back(frame);
            outbox.filled.notify_one();
        }
    }

    fn disconnect(&mut self) {
        if let Some((_, task)) = self.open.take() {
            task.abort();
        }
    }

    /// The server that is measured asks for none, and takes an empty one.
    fn token(&mut self, document: DocumentId, _name: &str, because: Option<&str>) {
        let me = self.me.clone();
        let input = match because {
            None => Input::Token { document, token: String::new() },
            Some(because) => Input::NoToken { document, reason: because.to_owned() },
        };
        tokio::task::spawn_local(async move { tell(&me, input) });
    }
}

fn tell(me: &Weak<Inner>, input: Input) {
    if let Some(inner) = me.upgrade() {
        inner.handle(input);
    }
}

async fn tick(me: Weak<Inner>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let Some(inner) = me.upgrade() else { return };
        let wake = inner.session.borrow().client().next_wake();
        if wake.is_some_and(|wake| wake <= inner.now()) {
            inner.handle(Input::Tick);
        }
    }
}

/// Carries messages until the socket ends. Returns how it was closed.
async fn talk(me: Weak<Inner>, url: String, outbox: Rc<Outbox>) -> anyhow::Result<(u16, String)> {
    let (socket, _) = tokio_tungstenite::connect_async(url).await?;
    let (mut sink, mut stream) = socket.split();
    if let Some(inner) = me.upgrade() {
        inner.connections.set(inner.connections.get() + 1);
    }
    tell(&me, Input::Opened);
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(Ok(Message::Binary(frame))) => tell(&me, Input::Frame(frame)),
                Some(Ok(Message::Close(close))) => {
                    let close = close.map(|close| (close.code.into(), close.reason.to_string()));
                    return Ok(close.unwrap_or((1005, String::new())));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok((1006, String::new())),
            },
            () = outbox.filled.notified() => {
                let frames = std::mem::take(&mut *outbox.frames.borrow_mut());
                for frame in frames {
                    sink.feed(Message::Binary(frame)).await?;
                }
                sink.flush().await?;
            }
        }
    }
}
