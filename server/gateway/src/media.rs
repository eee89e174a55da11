//! A room's call over WebSocket: `GET /api/v1/rooms/{room}/media?token=<token>`.
//!
//! Every page of a room has it open, so that everybody sees who is in the call; taking part is a message. Texts are JSON
//! (`schema/media.rs`, docs/protocols.md); media goes by UDP and is not seen here. Nothing is decided but who it is and the close code.

pub(crate) mod ice;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::ids::RoomId;
use buildspaces_media as media;
use buildspaces_media::call::KEPT_FOR;
use buildspaces_media::calls::{Attached, Said, View};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Gateway;
use crate::api::RoomPath;
use crate::extract::{Path, Query};
use crate::identity::{self, Watch};
use crate::limits::UserPermit;
use crate::meters::{OpenConnection, RECEIVED_BYTES};
use crate::schema::media::{FromPage, ToPage};
use crate::socket::{Close, Event, Origin, Socket, Upgrade};
use crate::yjs::refusal;

/// Largest text. The longest is an offer, of some 20 KiB.
const MAX_TEXT: usize = 256 << 10;

/// How often a page is shown the call, at most: everybody in it can change it as fast as they can write, and each time all of it goes to
/// everybody.
const SHOW_EVERY: Duration = Duration::from_millis(50);

#[derive(serde::Deserialize)]
pub(crate) struct Params {
    token: Option<String>,
}

/// Upgrades first and refuses by close code, because browsers hide the status of a refused upgrade from their pages.
pub(crate) async fn connect(
    State(gateway): State<Gateway>,
    Path(room): RoomPath,
    Query(params): Query<Params>,
    Origin(origin): Origin,
    upgrade: Upgrade,
) -> Response {
    let own = gateway.clone();
    upgrade.respond(&gateway, async move |mut socket| {
        let _counted = OpenConnection::new("media");
        socket.with_texts();
        let close = match open(&own, &room, &params, origin.as_deref()).await {
            Ok((mut attached, mut watch, _user)) => {
                let close = exchange(&own, &mut socket, &mut attached, &mut watch).await;
                own.tasks.spawn("call without its page", outlive(attached, watch));
                close
            }
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
    params: &Params,
    origin: Option<&str>,
) -> Result<(Attached, Watch, Option<UserPermit>), Close> {
    let id = RoomId::parse(room).ok_or_else(|| Close::new(4404, "there is no such room; check the link"))?;
    let document = DocumentName::tree(id.as_str());
    let admitted = identity::admit(gateway, params.token.as_deref(), origin, &document).await;
    let grant = admitted.map_err(|refusal| Close::new(refusal.close_code(), refusal.message()))?;
    if grant.limited {
        return Err(Close::new(4403, identity::NO_CALLS));
    }
    gateway.rooms.room(&id).await.map_err(|error| refusal(&error))?;
    let user = grant.known.then(|| gateway.connections.identify(&grant.authority.principal.id)).transpose()?;
    let watch = gateway.identity.watch(&grant, &document);
    let attached = gateway.calls.attach(&id, &grant.authority).await.map_err(|error| match error {
        media::Error::Off(_) => Close::new(4404, error.to_string()),
        media::Error::TooManyPages | media::Error::TooManyOfOne(_) => Close::new(4529, error.to_string()),
        media::Error::Stopping => Close::new(1012, error.to_string()),
        // Nobody attaches to change encryption.
        media::Error::Store(_) | media::Error::InUse => {
            tracing::error!(%error, %id, "a call cannot be looked at");
            Close::new(1011, "the server could not read what holds for this call; try again in a moment")
        }
    })?;
    Ok((attached, watch, user))
}

/// Carries texts both ways until one side ends. Returns what to close with, or `None` if the client is gone.
async fn exchange(gateway: &Gateway, socket: &mut Socket, attached: &mut Attached, watch: &mut Watch) -> Option<Close> {
    let mut shown = Shown { last: None, next: Instant::now() };
    attached.view.mark_changed();
    loop {
        // A page that takes nothing is told how things are when it does, not how they were meanwhile.
        let is_blocked = socket.outbox().condition().is_blocked;
        let event = tokio::select! {
            biased;
            end = watch.ended() => {
                attached.say(Said::Leave).await;
                return Some(Close::new(4401, end.message()));
            }
            event = socket.next() => event,
            // Before what is said to this page alone, which may be about it. Its end is seen at `heard`.
            Ok(()) = changed(&mut attached.view, shown.next), if !is_blocked => {
                shown.show(socket, &mut attached.view);
                continue;
            }
            heard = attached.heard.recv() => match heard {
                Some(heard) => {
                    if !is_blocked && attached.view.has_changed().is_ok_and(|changed| changed) {
                        shown.show(socket, &mut attached.view);
                    }
                    say(socket, &ToPage::of(heard, &gateway.config.ice_servers));
                    continue;
                }
                None if gateway.tasks.is_cancelled() => return Some(Close::new(1012, "the server is stopping")),
                None => return Some(Close::new(1013, "reads more slowly than the call changes")),
            },
        };
        match event {
            Event::Text(text) if text.len() > MAX_TEXT => {
                return Some(Close::new(1009, "a text of a call has at most 256 KiB"));
            }
            Event::Text(text) => {
                RECEIVED_BYTES.increment(text.len() as u64);
                let said = serde_json::from_str::<FromPage>(&text).ok().and_then(FromPage::into_said);
                let Some(said) = said else {
                    return Some(Close::new(1002, "a text that no call understands"));
                };
                attached.say(said).await;
            }
            Event::Binary(_) => return Some(Close::new(1002, "a call speaks in texts")),
            Event::Quiet | Event::Drained | Event::Ended(_) => {}
            Event::Wrong(close) => return Some(close),
            Event::Gone => return None,
        }
    }
}

/// The media of a page whose socket is gone goes on for a while, but no longer than its access. Ends with the call.
async fn outlive(mut attached: Attached, mut watch: Watch) {
    attached.lost().await;
    tokio::select! {
        _ = watch.ended() => attached.say(Said::Leave).await,
        () = async { while attached.heard.recv().await.is_some() {} } => {}
        () = sleep(KEPT_FOR) => {}
    }
}

/// Waits for a change, and until it may be shown. Cancel-safe.
async fn changed(view: &mut watch::Receiver<Arc<View>>, not_before: Instant) -> Result<(), watch::error::RecvError> {
    sleep_until(not_before).await;
    view.changed().await
}

/// What the page was shown last, so that it gets what is new only, and from when on it may be shown more.
struct Shown {
    last: Option<Arc<View>>,
    next: Instant,
}

impl Shown {
    fn show(&mut self, socket: &Socket, view: &mut watch::Receiver<Arc<View>>) {
        let view = view.borrow_and_update().clone();
        let before = self.last.as_deref();
        let what = |view: &View| (view.encrypted, view.participants.clone());
        if before.is_none_or(|before| what(before) != what(&view)) {
            let participants = view.participants.iter().map(Into::into).collect();
            say(socket, &ToPage::Call { encrypted: view.encrypted, participants });
        }
        if before.map_or(!view.speakers.is_empty(), |before| before.speakers != view.speakers) {
            say(socket, &ToPage::speakers(&view.speakers));
        }
        let is_same =
            |before: &View| before.recording == view.recording && before.recording_failed == view.recording_failed;
        // The first time also that it is not: a page that comes back may not know that it ended.
        if !before.is_some_and(is_same) {
            say(socket, &ToPage::recording(&view));
        }
        if before.map_or(!view.viewers.is_empty(), |before| before.viewers != view.viewers) {
            say(socket, &ToPage::Viewers { people: view.viewers.iter().map(Into::into).collect() });
        }
        self.last = Some(view);
        self.next = Instant::now() + SHOW_EVERY;
    }
}

fn say(socket: &Socket, message: &ToPage) {
    socket.send_text(&serde_json::to_string(message).expect("texts have only string keys"));
}
