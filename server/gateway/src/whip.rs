//! Streams into and out of a room's call by one exchange over HTTP: WHIP (RFC 9725) at `/media/{room}/whip`, WHEP
//! (draft-ietf-wish-whep-03) at `/media/{room}/whep`. For encoders, players, and whatever else has no page.
//!
//! A `POST` with an offer makes a session, which has a task of its own that ends it with its connection or with the access of who began it.
//! `DELETE` ends it, `PATCH` restarts ICE. What an offer must have decides [`buildspaces_media::offer`], what becomes of it the call.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{PrincipalId, RoomId, random_id};
use buildspaces_media as media;
use buildspaces_media::call::{Refused, Source};
use buildspaces_media::calls::stream::{Error, Stream};
use buildspaces_media::offer::{MAX_BYTES, Unusable};
use buildspaces_media::sdp;
use buildspaces_media::viewer::Choice;
use buildspaces_policy::Capability;
use tokio::sync::{mpsc, oneshot};

use crate::Gateway;
use crate::api::{RoomAndId, RoomPath};
use crate::error::ApiError;
use crate::extract::{Path, Query, text_of_kind};
use crate::identity::{Caller, Grant, NO_CALLS, Watch};
use crate::limits::{Exceeded, UserPermit};
use crate::media::ice::IceServer;
use crate::meters::OpenConnection;
use crate::schema::media::Source as SourceName;

const DESCRIPTION: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Characters of a session's name: 120 random bits.
const SESSION: usize = 24;

/// Characters of the tag that tells one ICE session from the next.
const TAG: usize = 8;

/// Restarts that wait for one session. The next is refused.
const RESTARTS: usize = 1;

/// The sessions there are.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

struct Session {
    protocol: Protocol,
    room: RoomId,
    owner: PrincipalId,
    /// Of the ICE session that holds now, and the other side's name and password there.
    tag: String,
    credentials: Option<Credentials>,
    /// Dropping it ends the session.
    restarts: mpsc::Sender<Restart>,
}

#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    fragment: String,
    password: String,
}

struct Restart {
    with: Credentials,
    answer: oneshot::Sender<Result<String, Error>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Whip,
    Whep,
}

impl Protocol {
    fn as_str(self) -> &'static str {
        match self {
            Self::Whip => "whip",
            Self::Whep => "whep",
        }
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().expect("the map of sessions is only read and written")
    }
}

pub(crate) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/media/{room}/whip", endpoint(post(publish)))
        .route("/media/{room}/whep", endpoint(post(watch)))
        .route("/media/{room}/whip/{session}", session(Protocol::Whip))
        .route("/media/{room}/whep/{session}", session(Protocol::Whep))
}

/// There is nothing to be got of either, but players ask to learn what it is (WHEP, section 4.2), and pages of allowed origins are answered
/// before ([`crate::access`]).
fn endpoint(post: MethodRouter<Gateway>) -> MethodRouter<Gateway> {
    post.get(async || [(header::CONTENT_TYPE, DESCRIPTION)]).options(async || [("accept-post", DESCRIPTION)])
}

fn session(protocol: Protocol) -> MethodRouter<Gateway> {
    let end = move |State(gateway): State<Gateway>, caller: Caller, Path((room, session)): RoomAndId| async move {
        own(&gateway, &caller, protocol, &room, &session).await?;
        gateway.streams.lock().remove(&session);
        Ok::<_, ApiError>(StatusCode::OK)
    };
    let look = move |State(gateway): State<Gateway>, Path((room, session)): RoomAndId| async move {
        let is_there = gateway.streams.lock().get(&session).is_some_and(|found| found.is(protocol, &room));
        if is_there { Ok(StatusCode::NO_CONTENT) } else { Err(no_such_session()) }
    };
    let change = move |State(gateway): State<Gateway>, caller: Caller, path: RoomAndId, request: Request| async move {
        change(&gateway, &caller, protocol, path, request).await
    };
    get(look).delete(end).patch(change).options(async || [("accept-patch", FRAGMENT)])
}

#[derive(serde::Deserialize)]
struct Publishing {
    /// What the video is: a camera unless it says so.
    video: Option<SourceName>,
}

async fn publish(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Query(params): Query<Publishing>,
    request: Request,
) -> Result<Response, ApiError> {
    let picture = picture(params.video, "video")?.unwrap_or(Source::Camera);
    let (room, grant) = admit(&gateway, &caller, &room).await?;
    let offer = text_of_kind(request, &gateway, DESCRIPTION, MAX_BYTES).await?;
    let admission = Admission::new(&gateway, &grant, &room)?;
    let (stream, answer) = gateway.calls.publish(&room, &grant.authority, &offer, picture).await?;
    Ok(begin(&gateway, Protocol::Whip, room, admission, stream, &offer, answer))
}

#[derive(serde::Deserialize)]
struct Watching {
    /// A participant, or a person; whoever matters most unless it is said.
    participant: Option<String>,
    /// Which pictures; any unless it is said.
    track: Option<SourceName>,
}

async fn watch(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Query(params): Query<Watching>,
    request: Request,
) -> Result<Response, ApiError> {
    let choice = Choice { of: params.participant, picture: picture(params.track, "track")? };
    let (room, grant) = admit(&gateway, &caller, &room).await?;
    let offer = text_of_kind(request, &gateway, DESCRIPTION, MAX_BYTES).await?;
    let admission = Admission::new(&gateway, &grant, &room)?;
    let (stream, answer) = gateway.calls.watch(&room, &grant.authority, &offer, choice).await?;
    Ok(begin(&gateway, Protocol::Whep, room, admission, stream, &offer, answer))
}

fn picture(named: Option<SourceName>, parameter: &str) -> Result<Option<Source>, ApiError> {
    match named.map(Source::from) {
        Some(Source::Microphone) => {
            Err(ApiError::bad_request("bad_query", format!("{parameter} is camera or screen, or left out")))
        }
        picture => Ok(picture),
    }
}

async fn admit(gateway: &Gateway, caller: &Caller, room: &str) -> Result<(RoomId, Grant), ApiError> {
    let id = RoomId::parse(room).ok_or_else(ApiError::no_such_room)?;
    let grant = caller.admit(gateway, &DocumentName::tree(id.as_str())).await?;
    if grant.limited {
        return Err(ApiError::forbidden("denied", NO_CALLS));
    }
    grant.authority.check(Capability::Read)?;
    gateway.rooms.room(&id).await?;
    Ok((id, grant))
}

/// What is held as long as a session lives.
struct Admission {
    owner: PrincipalId,
    watch: Watch,
    user: Option<UserPermit>,
}

impl Admission {
    fn new(gateway: &Gateway, grant: &Grant, room: &RoomId) -> Result<Self, ApiError> {
        let owner = grant.authority.principal.id.clone();
        let user = grant.known.then(|| gateway.connections.identify(&owner)).transpose()?;
        Ok(Self { owner, watch: gateway.identity.watch(grant, &DocumentName::tree(room.as_str())), user })
    }
}

/// The session of a stream, and its answer.
fn begin(
    gateway: &Gateway,
    protocol: Protocol,
    room: RoomId,
    admission: Admission,
    stream: Stream,
    offer: &str,
    answer: String,
) -> Response {
    let (name, tag) = (random_id(SESSION), tag());
    let (restarts, mailbox) = mpsc::channel(RESTARTS);
    let location = format!("/media/{room}/{}/{name}", protocol.as_str());
    let (owner, credentials) = (admission.owner.clone(), Credentials::of(offer));
    let session = Session { protocol, room, owner, tag: tag.clone(), credentials, restarts };
    gateway.streams.lock().insert(name.clone(), session);
    let own = gateway.clone();
    gateway.tasks.spawn("stream", async move {
        let _counted = OpenConnection::new(protocol.as_str());
        look_after(stream, admission, mailbox).await;
        own.streams.lock().remove(&name);
    });
    let headers = [(header::CONTENT_TYPE, DESCRIPTION), (header::LOCATION, &location), (header::ETAG, &tag)];
    // Not the session's name: a TURN server writes names into its log.
    let servers = gateway.config.ice_servers.for_user(&random_id(TAG), unix_millis());
    let links = servers.iter().flat_map(IceServer::links).map(|link| (header::LINK, link));
    (StatusCode::CREATED, headers, AppendHeaders(links), answer).into_response()
}

/// Until the stream is over, or its access, or its session.
async fn look_after(mut stream: Stream, admission: Admission, mut restarts: mpsc::Receiver<Restart>) {
    let Admission { mut watch, user: _user, .. } = admission;
    loop {
        let restart = tokio::select! {
            _ = watch.ended() => return,
            () = stream.ended() => return,
            restart = restarts.recv() => restart,
        };
        let Some(Restart { with, answer }) = restart else { return };
        let _ = answer.send(stream.restart(&with.fragment, &with.password).await);
    }
}

/// Who began a session, and nobody else, may change it.
async fn own(
    gateway: &Gateway,
    caller: &Caller,
    protocol: Protocol,
    room: &str,
    session: &str,
) -> Result<(), ApiError> {
    let (_, grant) = admit(gateway, caller, room).await?;
    match gateway.streams.lock().get(session) {
        Some(found) if !found.is(protocol, room) => Err(no_such_session()),
        Some(found) if found.owner != grant.authority.principal.id => {
            Err(ApiError::forbidden("denied", "somebody else began this stream; use the token it was begun with"))
        }
        Some(_) => Ok(()),
        None => Err(no_such_session()),
    }
}

/// Trickled candidates and ICE restarts (RFC 9725, section 4.3).
async fn change(
    gateway: &Gateway,
    caller: &Caller,
    protocol: Protocol,
    Path((room, session)): RoomAndId,
    request: Request,
) -> Result<Response, ApiError> {
    own(gateway, caller, protocol, &room, &session).await?;
    let headers = request.headers().clone();
    let fragment = text_of_kind(request, gateway, FRAGMENT, MAX_BYTES).await?;
    let Some(with) = Credentials::of(&fragment) else {
        let message = "the fragment must have the a=ice-ufrag and a=ice-pwd of the ICE session it is about";
        return Err(ApiError::bad_request("bad_fragment", message));
    };
    let waiting = {
        let mut sessions = gateway.streams.lock();
        let found = sessions.get_mut(&session).ok_or_else(no_such_session)?;
        matches(&headers, &found.tag)?;
        if found.credentials.as_ref() == Some(&with) {
            // Candidates. We are called (ICE-lite) and learn from checks where the other side is.
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let (answer, waiting) = oneshot::channel();
        let restart = Restart { with: with.clone(), answer };
        found.restarts.try_send(restart).map_err(|_| {
            let message = "this session is restarting ICE already; send it again when that is answered";
            ApiError::new(StatusCode::CONFLICT, "restarting", message)
        })?;
        waiting
    };
    let answer = waiting.await.map_err(|_| no_such_session())??;
    let tag = tag();
    if let Some(found) = gateway.streams.lock().get_mut(&session) {
        (found.tag, found.credentials) = (tag.clone(), Some(with));
    }
    let headers = [(header::CONTENT_TYPE, FRAGMENT), (header::ETAG, &tag)];
    Ok((headers, sdp::fragment(&answer)).into_response())
}

/// A restart is for whatever holds now, candidates are for one ICE session.
fn matches(headers: &HeaderMap, tag: &str) -> Result<(), ApiError> {
    let Some(wanted) = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok()) else {
        let message = "say which ICE session this is about: If-Match with its ETag, or * for a restart";
        return Err(ApiError::new(StatusCode::PRECONDITION_REQUIRED, "if_match_required", message));
    };
    // RFC 9725 has the star in quotes in its example; a tag is weak where the answer was compressed.
    if wanted == "*" || wanted == "\"*\"" || wanted.trim_start_matches("W/") == tag {
        return Ok(());
    }
    let message = "ICE was restarted meanwhile; use the ETag of the last answer";
    Err(ApiError::new(StatusCode::PRECONDITION_FAILED, "changed", message))
}

fn tag() -> String {
    format!("\"{}\"", random_id(TAG))
}

fn no_such_session() -> ApiError {
    ApiError::not_found("no_such_stream", "there is no such stream; it has ended, or never was")
}

impl Session {
    fn is(&self, protocol: Protocol, room: &str) -> bool {
        self.protocol == protocol && self.room.as_str() == room
    }
}

impl Credentials {
    fn of(sdp: &str) -> Option<Self> {
        // They become part of a description again, so nothing may be in them that ends a line there.
        let is_one = |text: &&str| (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let [fragment, password] = ["ice-ufrag", "ice-pwd"].map(|name| sdp::attribute(sdp, name).filter(is_one));
        Some(Self { fragment: fragment?.to_owned(), password: password?.to_owned() })
    }
}

impl From<Exceeded> for ApiError {
    fn from(exceeded: Exceeded) -> Self {
        let (_, message) = exceeded.close();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", message).later()
    }
}

impl From<media::Error> for ApiError {
    fn from(error: media::Error) -> Self {
        use media::Error as E;
        use media::ports::StoreError;
        let message = error.to_string();
        let unavailable = |code| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message.clone());
        match error {
            E::Off(_) => unavailable("calls_off"),
            E::TooManyPages => unavailable("call_full").later(),
            E::TooManyOfOne(_) => unavailable("too_many_connections").later(),
            E::Stopping => unavailable("stopping").later(),
            E::InUse => Self::new(StatusCode::CONFLICT, "call_running", message),
            E::Store(StoreError::Full(_)) => buildspaces_rooms::Error::Full.into(),
            E::Store(StoreError::Failed(_)) => Self::internal(error),
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let unavailable = |code| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message.clone());
        match error {
            Error::Call(error) => error.into(),
            Error::Offer(Unusable::NoDescription | Unusable::NoIce) | Error::Description(_) => {
                Self::bad_request("bad_offer", message)
            }
            Error::Offer(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unusable_offer", message),
            Error::Refused(Refused::Denied(denied)) => denied.into(),
            Error::Refused(Refused::Full(_)) => unavailable("call_full").later(),
            // Who sends a stream is not heard all the same.
            Error::Refused(Refused::TooManyCameras(most)) => {
                let message = format!("at most {most} cameras are on in one call; try again when one is off");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "call_full", message).later()
            }
            Error::Refused(Refused::TooManyScreens(_) | Refused::TooMuch(_)) => unavailable("call_full").later(),
            Error::Refused(Refused::Sealed | Refused::Encrypted | Refused::NotEncrypted) => {
                Self::new(StatusCode::CONFLICT, "encrypted_call", message)
            }
            Error::Refused(Refused::Gone | Refused::NobodyThere | Refused::NotRecorded) => no_such_session(),
            Error::Broken => unavailable("busy").later(),
        }
    }
}
