//! Documents over WebSocket as Hocuspocus 3 and 4 speak it: `GET /collab`, many documents on one socket, each of which is let in by
//! a token within the stream.
//!
//! One task per connection keeps where each document stands: asked for, opening, or open. What is said to a document before it is
//! open waits here, within bounds. The documents themselves write to the socket, each under its own address.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use buildspaces_crdt::names::Kind as DocumentKind;
use buildspaces_crdt::protocol::hocuspocus::{self, Kind};
use buildspaces_crdt::{DocumentName, protocol};
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{ConnectionId, PrincipalId};
use buildspaces_policy::Capability;
use buildspaces_rooms::{CloseReason, Connection, Dialect};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use crate::Gateway;
use crate::identity::{End, Grant, Watch};
use crate::limits::{Budget, Exceeded, RESET, Unauthenticated, UserPermit, Waiting};
use crate::meters::{OpenConnection, RECEIVED_BYTES};
use crate::socket::{Close, DOCUMENT_TOO_LARGE, Event, FAILED, Origin, Socket, TOO_MUCH, Upgrade, close_of};
use crate::yjs;

/// How long before a token ends the client is asked for another; halfway through one that lives for less than twice that.
const ASK_BEFORE_END: Duration = Duration::from_secs(30);

/// How long after that again, as long as none came that could be looked at.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Tokens of one socket that are looked at at the same time: each may be a question to the operator's own service, where others want their turn.
const TOKENS_AT_ONCE: usize = 16;

/// Documents that were denied and of which it is remembered, so that what is on the way for them is dropped.
const MAX_DENIED: usize = 1000;

/// `GET /collab`; what stands behind does not matter, as with Hocuspocus.
pub(crate) async fn connect(State(gateway): State<Gateway>, Origin(origin): Origin, upgrade: Upgrade) -> Response {
    let own = gateway.clone();
    upgrade.respond(&gateway, async move |socket| {
        let _counted = OpenConnection::new("collab");
        Collab::new(&own, socket, origin.as_deref()).run().await;
    })
}

/// Where a document stands on this socket.
enum Slot {
    /// It was spoken to before a token came, or the token is being looked at.
    Waiting {
        messages: VecDeque<Bytes>,
        opening: Option<Ask>,
    },
    Open(Box<Open>),
}

struct Open {
    connection: Connection,
    name: DocumentName,
    /// Ends the watch over the grant.
    watch: AbortHandle,
    /// Another token that is being looked at.
    renewal: Option<Ask>,
    /// Why the last token could not be looked at, if it is that: then the end of the one before says nothing about its user.
    unheard: Option<Close>,
    /// When the grant ends, in Unix milliseconds.
    expires: Option<i64>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// A token that is being looked at. Nothing comes of it once this is dropped: the client may have closed the document meanwhile and asked
/// for it again, and then the answer belongs to nobody.
struct Ask(AbortHandle);

impl Drop for Ask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What became of a token.
struct Verdict {
    address: Bytes,
    result: Result<Admitted, Close>,
}

enum Admitted {
    Opened {
        connection: Connection,
        name: DocumentName,
        grant: Box<Grant>,
    },
    /// The document was open already: the token replaces the one before.
    Renewed(Box<Grant>),
}

/// What the watch over a grant says.
enum Notice {
    /// It will end soon: ask for another token.
    EndsSoon(Watch),
    Ended(End),
}

type Watched = Result<(Bytes, Notice), Aborted>;

struct Collab<'a> {
    gateway: &'a Gateway,
    origin: Option<&'a str>,
    socket: Socket,
    documents: HashMap<Bytes, Slot>,
    /// Documents that were denied: a provider sends what it has right behind its token.
    denied: HashSet<Bytes>,
    tokens: Arc<Semaphore>,
    /// **Invariant:** one for each open document.
    lanes: HashMap<ConnectionId, Bytes>,
    verdicts: FuturesUnordered<Abortable<BoxFuture<'a, Verdict>>>,
    watches: FuturesUnordered<BoxFuture<'static, Watched>>,
    /// What waits for documents that are not open yet.
    waiting: Waiting,
    /// Documents on this socket.
    budget: Budget,
    /// For whom the socket counts, each once: everybody who was let in.
    users: HashMap<PrincipalId, UserPermit>,
}

impl<'a> Collab<'a> {
    fn new(gateway: &'a Gateway, socket: Socket, origin: Option<&'a str>) -> Self {
        Self {
            gateway,
            origin,
            socket,
            documents: HashMap::new(),
            denied: HashSet::new(),
            tokens: Arc::new(Semaphore::new(TOKENS_AT_ONCE)),
            lanes: HashMap::new(),
            verdicts: FuturesUnordered::new(),
            watches: FuturesUnordered::new(),
            waiting: Waiting::new(&gateway.config.limits),
            budget: Budget::documents(&gateway.config.limits),
            users: HashMap::new(),
        }
    }

    async fn run(mut self) {
        let close = self.exchange().await.err();
        // Documents hear first that nobody is there any more.
        self.documents.clear();
        if let Some(Some(close)) = close {
            self.gateway.close(self.socket, close).await;
        }
    }

    /// Carries messages until one side ends: with a close code, or `None` if the client is gone.
    async fn exchange(&mut self) -> Result<(), Option<Close>> {
        let gateway = self.gateway;
        let limits = &gateway.config.limits;
        let mut before = Unauthenticated::new(limits, now());
        let mut late = std::pin::pin!(tokio::time::sleep_until(before.deadline().unwrap_or_else(now).into()));
        let mut stopping = std::pin::pin!(gateway.tasks.cancelled());
        let mut was_unknown = true;
        self.socket.limit_unknown(Some(limits.unauthenticated_bytes));
        loop {
            let is_unknown = self.lanes.is_empty();
            if is_unknown != was_unknown {
                self.socket.limit_unknown(is_unknown.then_some(limits.unauthenticated_bytes));
            }
            if is_unknown && !was_unknown {
                // Whoever closes their last document may be about to open another.
                before = Unauthenticated::new(limits, now());
                late.as_mut().reset(before.deadline().unwrap_or_else(now).into());
            }
            was_unknown = is_unknown;
            tokio::select! {
                event = self.socket.next() => match event {
                    Event::Binary(frame) => {
                        if is_unknown {
                            before.take(now(), frame.len()).map_err(|exceeded| Some(exceeded.into()))?;
                        }
                        RECEIVED_BYTES.increment(frame.len() as u64);
                        self.receive(&frame).await?;
                    }
                    Event::Ended(lanes) => self.ended(lanes)?,
                    Event::Quiet => self.keep_alive(),
                    Event::Wrong(close) => return Err(Some(close)),
                    Event::Gone => return Err(None),
                    Event::Text(_) | Event::Drained => {}
                },
                Some(verdict) = self.verdicts.next(), if !self.verdicts.is_empty() => {
                    if let Ok(verdict) = verdict {
                        self.admitted(verdict).await?;
                    }
                }
                Some(watched) = self.watches.next(), if !self.watches.is_empty() => {
                    if let Ok((address, notice)) = watched {
                        self.noticed(address, notice)?;
                    }
                }
                () = &mut late, if is_unknown && before.deadline().is_some() => {
                    return Err(Some(Exceeded::UnauthenticatedTime.into()));
                }
                // Open documents say so themselves, once what they hold is saved.
                () = &mut stopping, if is_unknown => return Err(Some(close_of(&CloseReason::Stopping))),
            }
        }
    }

    async fn receive(&mut self, frame: &Bytes) -> Result<(), Option<Close>> {
        let step = tracing::trace_span!(target: "keystroke", "decode", bytes = frame.len());
        let message =
            step.in_scope(|| hocuspocus::decode(frame)).map_err(|error| Some(Close::new(1002, error.to_string())))?;
        let address = message.address;
        match message.kind {
            Kind::Token(token) => return self.token(&address, token),
            Kind::Forbidden => {
                return Err(Some(Close::new(RESET, "only servers may send this kind of message")));
            }
            Kind::Ignored => return Ok(()),
            Kind::Close => {
                self.forget(&address);
                self.socket.outbox().message(&address, hocuspocus::close("provider_initiated"));
                return Ok(());
            }
            Kind::Document(_) | Kind::Stateless(_) => {}
        }
        match self.documents.get(&address) {
            Some(Slot::Open(open)) => {
                let handed = match message.kind {
                    Kind::Document(message) => open.connection.receive(message).await,
                    Kind::Stateless(payload) => open.connection.stateless(payload).await,
                    _ => Ok(()),
                };
                // A document that has ended says why in a moment.
                drop(handed);
                Ok(())
            }
            None if self.denied.contains(&address) => Ok(()),
            // A copy of its own: what is kept must not keep the whole frame.
            _ => self.wait(Bytes::copy_from_slice(&address), frame.clone()),
        }
    }

    fn deny(&mut self, address: &Bytes, reason: &str) {
        if self.denied.len() >= MAX_DENIED {
            self.denied.clear();
        }
        self.denied.insert(address.clone());
        self.socket.outbox().message(address, hocuspocus::permission_denied(reason));
    }

    /// Keeps a message for a document that is not open yet.
    fn wait(&mut self, address: Bytes, frame: Bytes) -> Result<(), Option<Close>> {
        let is_new = !self.documents.contains_key(&address);
        if is_new {
            if self.budget.take(1).is_err() {
                return Err(Some(Close::new(RESET, Exceeded::Documents.close().1)));
            }
            self.waiting.document(self.waiting_documents()).map_err(|exceeded| Some(exceeded.into()))?;
        }
        self.waiting.take(frame.len()).map_err(|exceeded| Some(exceeded.into()))?;
        let new = || Slot::Waiting { messages: VecDeque::new(), opening: None };
        if let Slot::Waiting { messages, .. } = self.documents.entry(address).or_insert_with(new) {
            messages.push_back(frame);
        }
        Ok(())
    }

    fn token(&mut self, address: &Bytes, token: String) -> Result<(), Option<Close>> {
        let (gateway, origin, tokens) = (self.gateway, self.origin, self.tokens.clone());
        let address = Bytes::copy_from_slice(address);
        self.denied.remove(&address);
        if let Some(Slot::Open(open)) = self.documents.get_mut(&address) {
            let renewal = async move {
                let _place = tokens.acquire_owned().await;
                let admitted = admit(gateway, &address, &token, origin).await;
                let result = admitted.map(|(_, grant)| Admitted::Renewed(Box::new(grant)));
                Verdict { address, result }
            };
            // The last token counts.
            open.renewal = Some(ask(&self.verdicts, Box::pin(renewal)));
            return Ok(());
        }
        let is_new = !self.documents.contains_key(&address);
        if is_new && let Err(exceeded) = self.budget.take(1) {
            let (_, reason) = exceeded.close();
            self.deny(&address, reason);
            return Ok(());
        }
        if is_new {
            self.waiting.document(self.waiting_documents()).map_err(|exceeded| Some(exceeded.into()))?;
        }
        let new = || Slot::Waiting { messages: VecDeque::new(), opening: None };
        let Slot::Waiting { opening, .. } = self.documents.entry(address.clone()).or_insert_with(new) else {
            return Ok(());
        };
        // A second token meanwhile is the same client's impatience.
        if opening.is_none() {
            let outbox = self.socket.outbox().clone();
            let opened = async move {
                let opened = async {
                    let _place = tokens.acquire_owned().await;
                    let (name, grant) = admit(gateway, &address, &token, origin).await?;
                    let _exists = yjs::document_of(gateway, &name).await?;
                    // The provider takes nothing before this word.
                    outbox.message(&address, hocuspocus::authenticated(may_write(&name, &grant)));
                    let connection =
                        yjs::attach(gateway, &name, &grant, Dialect::Hocuspocus, &outbox, &address).await?;
                    Ok(Admitted::Opened { connection, name, grant: Box::new(grant) })
                };
                let result = opened.await;
                Verdict { address, result }
            };
            *opening = Some(ask(&self.verdicts, Box::pin(opened)));
        }
        Ok(())
    }

    /// Documents that were spoken to and are not open.
    fn waiting_documents(&self) -> usize {
        self.documents.len() - self.lanes.len()
    }

    /// A token was looked at.
    async fn admitted(&mut self, verdict: Verdict) -> Result<(), Option<Close>> {
        let Verdict { address, result } = verdict;
        match result {
            Ok(Admitted::Opened { connection, name, grant }) => {
                if !self.is_counted(&address, &grant)? {
                    return Ok(());
                }
                let watch = self.watch(&address, self.gateway.identity.watch(&grant, &name), soon(&grant));
                let slot = self.documents.get_mut(&address).expect("who forgets a document forgets its tokens");
                self.lanes.insert(connection.id(), address);
                let open = Open { connection, name, watch, renewal: None, unheard: None, expires: grant.expires };
                let open = Slot::Open(Box::new(open));
                if let Slot::Waiting { messages, .. } = std::mem::replace(slot, open) {
                    for frame in messages {
                        self.waiting.give(frame.len());
                        // What waits is neither a token nor a close, so this does not come back here.
                        Box::pin(self.receive(&frame)).await?;
                    }
                }
            }
            Ok(Admitted::Renewed(grant)) => {
                if !self.is_counted(&address, &grant)? {
                    return Ok(());
                }
                let Some(Slot::Open(open)) = self.documents.get(&address) else { return Ok(()) };
                if open.connection.authorize(grant.authority.clone()).await.is_ok() {
                    let answer = hocuspocus::authenticated(may_write(&open.name, &grant));
                    self.socket.outbox().message(&address, answer);
                }
                // A client that has no later token would send the same one again and again.
                let is_later = grant.expires.is_none_or(|at| open.expires.is_some_and(|before| at > before));
                let ask_in = soon(&grant).filter(|_| is_later);
                let watch = self.watch(&address, self.gateway.identity.watch(&grant, &open.name), ask_in);
                if let Some(Slot::Open(open)) = self.documents.get_mut(&address) {
                    open.expires = grant.expires;
                    open.unheard = None;
                    std::mem::replace(&mut open.watch, watch).abort();
                }
            }
            Err(close) => match self.documents.get_mut(&address) {
                // What the client may do holds until its end, and it is asked again before.
                Some(Slot::Open(open)) if close.is_passing() => open.unheard = Some(close),
                // The provider asks again by itself with a new socket only; once denied it never does. But a document that cannot be loaded
                // must not take the others along again and again.
                _ if close.is_passing() && (close.code != FAILED || self.lanes.is_empty()) => return Err(Some(close)),
                _ => {
                    self.forget(&address);
                    self.deny(&address, &close.reason);
                }
            },
        }
        Ok(())
    }

    /// Counts the socket as one of the grant's user too. False if the user has too many: then the document is closed, and the socket if it
    /// is of nobody else.
    fn is_counted(&mut self, address: &Bytes, grant: &Grant) -> Result<bool, Option<Close>> {
        let counted = if grant.known { self.count(&grant.authority.principal.id) } else { Ok(()) };
        match counted {
            Ok(()) => Ok(true),
            Err(exceeded) if self.users.is_empty() => Err(Some(exceeded.into())),
            Err(exceeded) => {
                self.forget(address);
                self.deny(address, &Close::from(exceeded).reason);
                Ok(false)
            }
        }
    }

    /// Counts the socket as one of `user`.
    fn count(&mut self, user: &PrincipalId) -> Result<(), Exceeded> {
        if self.users.contains_key(user) {
            return Ok(());
        }
        // Whoever lets one after the other in on one socket is not remembered without end.
        let most = self.gateway.config.limits.documents_per_socket as usize;
        if most > 0 && self.users.len() >= most {
            return Err(Exceeded::ConnectionsOfUser);
        }
        self.users.insert(user.clone(), self.gateway.connections.identify(user)?);
        Ok(())
    }

    /// Watches over a grant. `ask_in`: when to ask for another token.
    fn watch(&self, address: &Bytes, mut watch: Watch, ask_in: Option<Duration>) -> AbortHandle {
        let (handle, registration) = AbortHandle::new_pair();
        let address = address.clone();
        let watching = async move {
            let asking = async {
                match ask_in {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            let end = tokio::select! {
                end = watch.ended() => Some(end),
                () = asking => None,
            };
            (address, end.map_or_else(|| Notice::EndsSoon(watch), Notice::Ended))
        };
        self.watches.push(Box::pin(Abortable::new(watching, registration)));
        handle
    }

    /// A grant ends or will end soon.
    fn noticed(&mut self, address: Bytes, notice: Notice) -> Result<(), Option<Close>> {
        match notice {
            Notice::EndsSoon(watch) => {
                self.socket.outbox().message(&address, hocuspocus::token_wanted());
                let handle = self.watch(&address, watch, Some(ASK_AGAIN));
                if let Some(Slot::Open(open)) = self.documents.get_mut(&address) {
                    open.watch = handle;
                }
            }
            Notice::Ended(end) => {
                if let Some(Slot::Open(open)) = self.documents.get_mut(&address)
                    && let Some(close) = open.unheard.take()
                    && end == End::Expired
                {
                    return Err(Some(close));
                }
                self.forget(&address);
                self.deny(&address, &end.message());
            }
        }
        Ok(())
    }

    /// Documents ended their connections.
    fn ended(&mut self, lanes: Vec<(ConnectionId, CloseReason)>) -> Result<(), Option<Close>> {
        for (lane, reason) in lanes {
            let Some(address) = self.lanes.remove(&lane) else { continue };
            self.forget(&address);
            match &reason {
                CloseReason::Gone => {
                    self.socket.outbox().message(&address, hocuspocus::close("the document was deleted"));
                }
                CloseReason::TooLarge => self.deny(&address, DOCUMENT_TOO_LARGE),
                CloseReason::TooMuch => self.deny(&address, TOO_MUCH),
                // The provider begins anew with a new socket only.
                _ => return Err(Some(close_of(&reason))),
            }
        }
        Ok(())
    }

    /// Everything about a document goes; it may be asked for again.
    fn forget(&mut self, address: &Bytes) {
        let removed = self.documents.remove(address);
        self.budget.give(u64::from(removed.is_some()));
        match removed {
            Some(Slot::Waiting { messages, .. }) => {
                messages.iter().for_each(|frame| self.waiting.give(frame.len()));
            }
            Some(Slot::Open(open)) => {
                self.lanes.remove(&open.connection.id());
            }
            None => {}
        }
    }

    fn keep_alive(&self) {
        if let Some(address) = self.lanes.values().next() {
            self.socket.outbox().message(address, Bytes::from_static(protocol::KEEP_ALIVE));
        }
    }
}

/// Has a token looked at.
fn ask<'a>(verdicts: &FuturesUnordered<Abortable<BoxFuture<'a, Verdict>>>, asking: BoxFuture<'a, Verdict>) -> Ask {
    let (handle, registration) = AbortHandle::new_pair();
    verdicts.push(Abortable::new(asking, registration));
    Ask(handle)
}

/// The runtime's clock, as its timers have it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Who is behind a token, and may they see the document of this address?
async fn admit(
    gateway: &Gateway,
    address: &[u8],
    token: &str,
    origin: Option<&str>,
) -> Result<(DocumentName, Grant), Close> {
    let name = hocuspocus::document_of(address);
    let token = Some(token).filter(|token| !token.is_empty());
    yjs::admit(gateway, name, token, origin).await
}

fn may_write(name: &DocumentName, grant: &Grant) -> bool {
    let is_projected = matches!(name.kind(), DocumentKind::Tree { .. } | DocumentKind::Runs { .. });
    !is_projected && grant.authority.check(Capability::EditDocuments).is_ok()
}

/// When to ask for another token, from now on.
fn soon(grant: &Grant) -> Option<Duration> {
    let left = grant.expires? - unix_millis();
    let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
    Some(left - ASK_BEFORE_END.min(left / 2))
}

#[cfg(test)]
mod tests;
