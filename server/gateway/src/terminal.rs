//! A terminal over WebSocket: `GET /api/v1/rooms/{room}/terminals/{terminal}?token=<token>&from=<offset>`.
//!
//! Binary frames are what is printed and what is typed, texts are JSON (`schema/terminals.rs`, docs/protocols.md). The task of a
//! connection reads the terminal's display at the pace of its socket and its page, so nothing is ever queued for a viewer: who
//! falls behind gets a picture. Nothing is decided here but who it is and the close code.

use axum::extract::State;
use axum::response::Response;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::ids::{RoomId, TerminalId};
use buildspaces_plans as plans;
use buildspaces_plans::terminal::WINDOW;
use buildspaces_plans::terminal::display::Shown;
use buildspaces_plans::terminals::{Attached, Said};
use bytes::Bytes;

use crate::Gateway;
use crate::api::RoomAndId;
use crate::extract::{Path, Query};
use crate::identity::{self, Watch};
use crate::limits::UserPermit;
use crate::meters::{OpenConnection, RECEIVED_BYTES};
use crate::schema::terminals::{FromViewer, Status, ToViewer};
use crate::socket::{Close, Event, Origin, Socket, Upgrade};
use crate::yjs::refusal;

/// Most bytes of what is printed in one frame.
const PIECE: usize = 16 << 10;

#[derive(serde::Deserialize)]
pub(crate) struct Params {
    token: Option<String>,
    /// Where the viewer was before its connection broke.
    from: Option<u64>,
}

/// Upgrades first and refuses by close code, because browsers hide the status of a refused upgrade from their pages.
pub(crate) async fn connect(
    State(gateway): State<Gateway>,
    Path((room, terminal)): RoomAndId,
    Query(params): Query<Params>,
    Origin(origin): Origin,
    upgrade: Upgrade,
) -> Response {
    let own = gateway.clone();
    upgrade.respond(&gateway, async move |mut socket| {
        let _counted = OpenConnection::new("terminal");
        socket.with_texts();
        let close = match open(&own, &room, &terminal, &params, origin.as_deref()).await {
            Ok((attached, watch, _user)) => Viewing::new(attached, params.from).exchange(&mut socket, watch).await,
            Err(close) => Some(close),
        };
        if let Some(close) = close {
            own.close(socket, close).await;
        }
    })
}

async fn open(
    gateway: &Gateway,
    room: &str,
    terminal: &str,
    params: &Params,
    origin: Option<&str>,
) -> Result<(Attached, Watch, Option<UserPermit>), Close> {
    let gone = |error: plans::Error| Close::new(4404, error.to_string());
    let id = RoomId::parse(room).ok_or_else(|| Close::new(4404, "there is no such room; check the link"))?;
    let document = DocumentName::tree(id.as_str());
    let admitted = identity::admit(gateway, params.token.as_deref(), origin, &document).await;
    let grant = admitted.map_err(|refusal| Close::new(refusal.close_code(), refusal.message()))?;
    if grant.limited {
        return Err(Close::new(4403, identity::NO_TERMINALS));
    }
    gateway.rooms.room(&id).await.map_err(|error| refusal(&error))?;
    let user = grant.known.then(|| gateway.connections.identify(&grant.authority.principal.id)).transpose()?;
    let watch = gateway.identity.watch(&grant, &document);
    let terminal = TerminalId::parse(terminal).ok_or_else(|| gone(plans::Error::NoSuchTerminal))?;
    let attached = gateway.engine.terminals().attach(&id, &terminal, &grant.authority, params.from).await;
    let attached = attached.map_err(|error| match error {
        plans::Error::TooManyViewers => Close::new(4529, error.to_string()),
        error => gone(error),
    })?;
    Ok((attached, watch, user))
}

/// One connection that looks at a terminal.
struct Viewing {
    attached: Attached,
    /// What is sent next, and what the page has shown.
    next: u64,
    shown: u64,
    /// The viewer goes on where it was.
    continues: bool,
}

impl Viewing {
    fn new(attached: Attached, asked: Option<u64>) -> Self {
        let from = attached.from;
        Self { attached, next: from, shown: from, continues: asked == Some(from) }
    }

    /// Carries bytes both ways until one side ends. Returns what to close with, or `None` if the client is gone.
    async fn exchange(mut self, socket: &mut Socket, mut watch: Watch) -> Option<Close> {
        self.attached.view.mark_changed();
        if self.continues {
            say(socket, &ToViewer::Continue { offset: self.next });
        } else if self.attached.display.has(self.next) {
            say(socket, &ToViewer::Reset { offset: self.next, bytes: 0 });
        }
        loop {
            let has_room = self.show(socket);
            let Attached { view, display, .. } = &mut self.attached;
            let event = tokio::select! {
                biased;
                end = watch.ended() => return Some(Close::new(4401, end.message())),
                event = socket.next() => event,
                changed = view.changed() => {
                    self.say_state(socket);
                    if changed.is_err() {
                        return Some(Close::new(4404, "the terminal was closed"));
                    }
                    continue;
                }
                () = display.more_than(self.next), if has_room => continue,
            };
            match event {
                Event::Binary(typed) => {
                    RECEIVED_BYTES.increment(typed.len() as u64);
                    self.tell(Said::Typed(typed)).await;
                }
                Event::Text(text) => {
                    RECEIVED_BYTES.increment(text.len() as u64);
                    let said = serde_json::from_str::<FromViewer>(&text).ok().and_then(FromViewer::into_said);
                    let Some(said) = said else {
                        return Some(Close::new(1002, "a text that no terminal understands"));
                    };
                    if let Said::Shown(offset) = said {
                        self.shown = self.shown.max(offset.min(self.next));
                    }
                    self.tell(said).await;
                }
                Event::Quiet | Event::Drained | Event::Ended(_) => {}
                Event::Wrong(close) => return Some(close),
                Event::Gone => return None,
            }
        }
    }

    /// Sends what there is to show, as far as socket and page take it. False if they take no more now.
    fn show(&mut self, socket: &Socket) -> bool {
        loop {
            if socket.outbox().condition().is_blocked || self.next - self.shown >= WINDOW {
                return false;
            }
            match self.attached.display.read(self.next, PIECE) {
                Shown::Nothing => return true,
                Shown::Bytes(bytes) => {
                    self.next += bytes.len() as u64;
                    socket.outbox().message(&Bytes::new(), bytes);
                }
                Shown::Picture { bytes, offset } => {
                    // What was on the way counts as shown: the page acknowledges from here on.
                    (self.next, self.shown) = (offset, offset);
                    say(socket, &ToViewer::Reset { offset, bytes: bytes.len() });
                    if !bytes.is_empty() {
                        socket.outbox().message(&Bytes::new(), bytes);
                    }
                }
            }
        }
    }

    fn say_state(&mut self, socket: &Socket) {
        let view = self.attached.view.borrow_and_update().clone();
        say(socket, &ToViewer::State(Box::new(Status::new(self.attached.id, &view))));
    }

    /// Waits while the terminal's actor has not looked at what came before. That it is gone is seen at the view.
    async fn tell(&self, said: Said) {
        let _ = self.attached.says.send(said).await;
    }
}

fn say(socket: &Socket, message: &ToViewer<'_>) {
    socket.send_text(&serde_json::to_string(message).expect("texts have only string keys"));
}
