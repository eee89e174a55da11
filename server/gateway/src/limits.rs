//! How much one client may ask for. Plain counters that know no socket: whoever reads one calls them with the present time and
//! closes with the code that stands here. Zero in the configuration means "no limit" everywhere.
//!
//! | limit | type | close code | counted in `buildspaces_limited_total{limit=…}` |
//! | --- | --- | --- | --- |
//! | messages and bytes per second | [`RateLimit`] | [`RATE`] | `message_rate`, `byte_rate` |
//! | connections per address and user, and all | [`ConnectionLimits`] | [`CONNECTIONS`] | `connections_address`, `connections_user`, `connections_total` |
//! | time before it is known who it is | [`Unauthenticated`] | [`UNAUTHENTICATED`] | `unauthenticated_time` |
//! | bytes before it is known who it is | [`Unauthenticated`] | [`RESET`] | `unauthenticated_bytes` |
//! | what waits for documents that are not open yet | [`Waiting`] | [`RESET`] | `waiting` |
//! | documents of one socket | [`Budget`] | none: the next one is denied | `documents` |
//! | connections before they are WebSockets | [`ConnectionLimits`] | none: HTTP status 503 | `connections_address`, `connections_total` |
//! | time for a request's head and body | [`crate::accept`] | none: the connection ends; status 408 | `request_time` |
//!
//! Codes from 4400 to 4499 say that trying again the same way does not help, those from 4500 to 4599 that it does later.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::PrincipalId;

use crate::meters;

/// Sent more, or faster, than the server takes.
pub(crate) const RATE: u16 = 1008;
/// Did not say in time who it is. Hocuspocus has the same code.
pub(crate) const UNAUTHENTICATED: u16 = 4408;
/// Said too much before saying who it is: begin anew. Hocuspocus has the same code.
pub(crate) const RESET: u16 = 4205;
/// Too many connections at the moment: try again later.
pub(crate) const CONNECTIONS: u16 = 4529;

/// Clients a second that come back without anybody noticing: a fraction of what a server lets in.
const FAREWELLS_PER_SECOND: u32 = 1_000;

/// What can be set. The defaults are far above what an editor, a whiteboard or an office behind one address needs.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// Messages of one connection, sustained and at once.
    pub messages_per_second: u32,
    pub messages_burst: u32,
    /// Bytes of one connection, sustained and at once. One message that comes after a pause is taken whatever its size.
    pub bytes_per_second: u64,
    pub bytes_burst: u64,
    /// Connections of one IPv4 address or IPv6 network (/64). This machine's own addresses are not counted, because a reverse
    /// proxy has one of them.
    pub connections_per_address: u32,
    /// Connections of one user, whatever tokens they use.
    pub connections_per_user: u32,
    /// How long a connection may take to say who it is, and how much it may send before.
    pub unauthenticated: Duration,
    pub unauthenticated_bytes: u64,
    /// Documents open on one socket.
    pub documents_per_socket: u32,
    /// What may wait on one socket for documents that are not open yet.
    pub waiting_bytes: u64,
    pub waiting_messages: u32,
    pub waiting_documents: u32,
    /// Largest body of a request, archives of rooms excepted.
    pub body_bytes: u64,
    /// Connections that are no WebSockets (yet), of all. Those of one address are limited as WebSockets are.
    pub http_connections: u32,
    /// How long a request's head may take, and how long its body may stand still.
    pub request: Duration,
    /// Take the client's address from the last entry of `x-forwarded-for`, which a reverse proxy in front wrote.
    pub behind_proxy: bool,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            messages_per_second: 2_000,
            messages_burst: 60_000,
            bytes_per_second: 16 << 20,
            bytes_burst: 256 << 20,
            connections_per_address: 2_000,
            connections_per_user: 1_000,
            unauthenticated: Duration::from_secs(30),
            unauthenticated_bytes: 5 << 20,
            documents_per_socket: 1_000,
            waiting_bytes: 5 << 20,
            // All documents of a socket, each with a few first words: a client that comes back asks for them all at once.
            waiting_messages: 4_000,
            waiting_documents: 1_000,
            // A text of the largest size, escaped.
            body_bytes: 8 << 20,
            http_connections: 10_000,
            request: Duration::from_secs(30),
            behind_proxy: false,
        }
    }
}

/// What was exceeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exceeded {
    MessageRate,
    ByteRate,
    ConnectionsOfAddress,
    ConnectionsOfUser,
    Connections,
    UnauthenticatedTime,
    UnauthenticatedBytes,
    Waiting,
    Documents,
}

impl Exceeded {
    /// Counts it; returns what to close with.
    pub(crate) fn close(self) -> (u16, &'static str) {
        let (code, limit, message) = match self {
            Self::MessageRate => (RATE, "message_rate", "more messages a second than this server takes"),
            Self::ByteRate => (RATE, "byte_rate", "more bytes a second than this server takes"),
            Self::ConnectionsOfAddress => {
                (CONNECTIONS, "connections_address", "too many connections from your address; try again later")
            }
            Self::ConnectionsOfUser => (CONNECTIONS, "connections_user", "you have too many connections; close some"),
            Self::Connections => (CONNECTIONS, "connections_total", "too many connections; try again in a moment"),
            Self::UnauthenticatedTime => {
                (UNAUTHENTICATED, "unauthenticated_time", "the connection did not say in time who it is")
            }
            Self::UnauthenticatedBytes => (RESET, "unauthenticated_bytes", "too much was sent before saying who it is"),
            Self::Waiting => (RESET, "waiting", "too much was sent before a token was accepted"),
            // Nothing is closed for it.
            Self::Documents => (UNAUTHENTICATED, "documents", "too many documents on one connection; close some"),
        };
        meters::limited(limit);
        (code, message)
    }
}

/// Messages and bytes per second of one connection.
#[derive(Clone, Debug)]
pub(crate) struct RateLimit {
    messages: Bucket,
    bytes: Bucket,
}

impl RateLimit {
    pub(crate) fn new(config: &LimitsConfig, now: Instant) -> Self {
        Self {
            messages: Bucket::new(u64::from(config.messages_per_second), u64::from(config.messages_burst), now),
            bytes: Bucket::new(config.bytes_per_second, config.bytes_burst, now),
        }
    }

    /// One message of `bytes`. A refused one is not counted.
    pub(crate) fn take(&mut self, now: Instant, bytes: usize) -> Result<(), Exceeded> {
        let (messages, bytes) = (self.messages.after(now, 1), self.bytes.after(now, bytes as u64));
        self.messages.empty_at = messages.ok_or(Exceeded::MessageRate)?;
        self.bytes.empty_at = bytes.ok_or(Exceeded::ByteRate)?;
        Ok(())
    }

    /// So many messages more that came in one with another.
    pub(crate) fn take_more(&mut self, now: Instant, messages: usize) -> Result<(), Exceeded> {
        let messages = self.messages.after(now, messages as u64);
        self.messages.empty_at = messages.ok_or(Exceeded::MessageRate)?;
        Ok(())
    }
}

/// A leaky bucket as one instant: when it will have run empty (the "theoretical arrival time" of ATM's generic cell rate algorithm).
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Units per second; 0 for no limit.
    rate: u64,
    /// How far ahead the bucket may be filled.
    ahead: Duration,
    empty_at: Instant,
}

impl Bucket {
    fn new(rate: u64, burst: u64, now: Instant) -> Self {
        Self { rate, ahead: spread(burst.max(rate), rate), empty_at: now }
    }

    /// When it would run empty with `units` more; `None` if that is too far ahead. An empty bucket takes anything.
    fn after(&self, now: Instant, units: u64) -> Option<Instant> {
        if self.rate == 0 {
            return Some(self.empty_at);
        }
        let was_empty = self.empty_at <= now;
        let filled = self.empty_at.max(now).checked_add(spread(units, self.rate))?;
        (was_empty || filled - now <= self.ahead).then_some(filled)
    }
}

/// How long `units` take at `rate`.
fn spread(units: u64, rate: u64) -> Duration {
    let nanos = u128::from(units) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What a connection may use up before it is known who it is.
#[derive(Clone, Debug)]
pub(crate) struct Unauthenticated {
    until: Option<Instant>,
    bytes: Budget,
}

impl Unauthenticated {
    pub(crate) fn new(config: &LimitsConfig, now: Instant) -> Self {
        let until = (!config.unauthenticated.is_zero()).then(|| now + config.unauthenticated);
        Self { until, bytes: Budget::new(config.unauthenticated_bytes, Exceeded::UnauthenticatedBytes) }
    }

    /// When to give up waiting; never if `None`.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// Something came.
    pub(crate) fn take(&mut self, now: Instant, bytes: usize) -> Result<(), Exceeded> {
        if self.until.is_some_and(|until| until <= now) {
            return Err(Exceeded::UnauthenticatedTime);
        }
        self.bytes.take(bytes as u64)
    }
}

/// So much of something at the same time: documents of a socket, bytes before it is known who sends them.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    used: u64,
    most: u64,
    exceeded: Exceeded,
}

impl Budget {
    fn new(most: u64, exceeded: Exceeded) -> Self {
        Self { used: 0, most: if most == 0 { u64::MAX } else { most }, exceeded }
    }

    /// Documents open on one socket; each takes one.
    pub(crate) fn documents(config: &LimitsConfig) -> Self {
        Self::new(u64::from(config.documents_per_socket), Exceeded::Documents)
    }

    /// Uses up `units`, or none of them.
    pub(crate) fn take(&mut self, units: u64) -> Result<(), Exceeded> {
        match self.used.checked_add(units).filter(|used| *used <= self.most) {
            Some(used) => {
                self.used = used;
                Ok(())
            }
            None => Err(self.exceeded),
        }
    }

    /// Gives back what was taken.
    pub(crate) fn give(&mut self, units: u64) {
        self.used = self.used.saturating_sub(units);
    }
}

/// What was said on one socket to documents that are not open yet.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    bytes: Budget,
    messages: Budget,
    most_documents: usize,
}

impl Waiting {
    pub(crate) fn new(config: &LimitsConfig) -> Self {
        Self {
            bytes: Budget::new(config.waiting_bytes, Exceeded::Waiting),
            messages: Budget::new(u64::from(config.waiting_messages), Exceeded::Waiting),
            most_documents: config.waiting_documents as usize,
        }
    }

    /// May one more document wait beside `documents`?
    pub(crate) fn document(&self, documents: usize) -> Result<(), Exceeded> {
        if self.most_documents == 0 || documents < self.most_documents { Ok(()) } else { Err(Exceeded::Waiting) }
    }

    /// A message of `bytes` waits.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Exceeded> {
        self.messages.take(1)?;
        self.bytes.take(bytes as u64)
    }

    /// It waits no more.
    pub(crate) fn give(&mut self, bytes: usize) {
        self.messages.give(1);
        self.bytes.give(bytes as u64);
    }
}

/// How many connections there are, of whom and from where. Clones count together.
#[derive(Clone)]
pub(crate) struct ConnectionLimits(Arc<Counted>);

struct Counted {
    most: u32,
    per_address: u32,
    per_user: u32,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: u32,
    addresses: HashMap<IpAddr, u32>,
    users: HashMap<PrincipalId, u32>,
}

/// One connection is counted for as long as this exists.
pub(crate) struct ConnectionPermit {
    limits: ConnectionLimits,
    address: Option<IpAddr>,
}

/// One connection of a user is counted for as long as this exists.
pub(crate) struct UserPermit {
    limits: ConnectionLimits,
    user: PrincipalId,
}

impl ConnectionLimits {
    /// `most`: connections altogether.
    pub(crate) fn new(config: &LimitsConfig, most: usize) -> Self {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let (per_address, per_user) = (config.connections_per_address, config.connections_per_user);
        Self(Arc::new(Counted { most, per_address, per_user, counts: Mutex::default() }))
    }

    /// Counts a connection from `address`, if it is known. Called when a socket is accepted, before anything is read from it.
    pub(crate) fn connect(&self, address: Option<IpAddr>) -> Result<ConnectionPermit, Exceeded> {
        let address = address.and_then(counted_as);
        let mut counts = self.lock();
        if self.0.most != 0 && counts.all >= self.0.most {
            return Err(Exceeded::Connections);
        }
        if let Some(address) = address
            && !count(&mut counts.addresses, address, self.0.per_address)
        {
            return Err(Exceeded::ConnectionsOfAddress);
        }
        counts.all += 1;
        Ok(ConnectionPermit { limits: self.clone(), address })
    }

    /// Counts a connection of `user`. Called once a connection has said who it is.
    pub(crate) fn identify(&self, user: &PrincipalId) -> Result<UserPermit, Exceeded> {
        if !count(&mut self.lock().users, user.clone(), self.0.per_user) {
            return Err(Exceeded::ConnectionsOfUser);
        }
        Ok(UserPermit { limits: self.clone(), user: user.clone() })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().expect("no code panics while it holds the lock")
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.limits.lock();
        counts.all -= 1;
        if let Some(address) = self.address {
            uncount(&mut counts.addresses, &address);
        }
    }
}

impl Drop for UserPermit {
    fn drop(&mut self) {
        uncount(&mut self.limits.lock().users, &self.user);
    }
}

fn count<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: K, most: u32) -> bool {
    let count = counts.entry(key).or_default();
    // An entry at its limit is not new, so a refusal leaves no entry behind.
    let allowed = most == 0 || *count < most;
    *count += u32::from(allowed);
    allowed
}

fn uncount<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Over how long a time so many connections are told that the server stops: as fast as their clients can come back, and no longer than
/// `most`.
pub(crate) fn spread_of(connections: u32, most: Duration) -> Duration {
    (Duration::from_secs(1) / FAREWELLS_PER_SECOND).saturating_mul(connections).min(most)
}

/// What an address is counted under; `None` for this machine itself.
fn counted_as(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(address) => Some(address.into()),
        // One customer of a provider has a whole /64.
        IpAddr::V6(address) => Some(Ipv6Addr::from(u128::from(address) >> 64 << 64).into()),
    }
}

/// The client's address: the socket's other end, or what the reverse proxy there wrote last into `x-forwarded-for`.
pub(crate) fn client_address(config: &LimitsConfig, peer: IpAddr, forwarded_for: Option<&str>) -> IpAddr {
    let last = forwarded_for.filter(|_| config.behind_proxy).and_then(|list| list.rsplit(',').next());
    last.and_then(|address| address.trim().parse().ok()).unwrap_or(peer)
}

#[cfg(test)]
mod tests;
