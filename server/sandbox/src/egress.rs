//! The one way out of a sandbox, where the operator opened it: an HTTP proxy (CONNECT) that leads to listed hosts and nowhere else.
//!
//! A program connects to the agent inside, the agent to us, and every byte it sends is a stranger's. Who is asked for is read
//! ([`request`]), compared with the list ([`policy`]), resolved, checked to be of the public internet, and connected to at exactly the
//! address that was checked: there is no second look-up in between. Each connection leaves one [`Record`], however it ended.
//!
//! What goes through is not looked at: it is TLS, and its certificate is checked by the program. Names are resolved and connections made
//! by a [`Dialler`], so that tests need no network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use buildspaces_kernel::address::is_public;
use buildspaces_kernel::ids::RoomId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::Tunnel;
use bytes::BytesMut;
use metrics::counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

pub use policy::{Pattern, Policy};
pub(crate) use request::{Refusal, Target};

use crate::link::Connection;

mod policy;
mod request;

/// Connections of one sandbox at the same time. One more is refused.
const MAX_CONNECTIONS: usize = 32;

/// How long a program may take to say where it wants to go.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How long resolving may take, and connecting.
const DIAL_PATIENCE: Duration = Duration::from_secs(15);

/// A connection on which nothing went either way for so long is ended.
const IDLE: Duration = Duration::from_secs(300);

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

/// Bytes read at once.
const PIECE: usize = 16 << 10;

/// Where names are resolved and connections made.
#[async_trait]
pub trait Dialler: Send + Sync + 'static {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Tunnel>>;
}

/// By the system's resolver and sockets.
#[derive(Debug)]
pub struct SystemDialler;

#[async_trait]
impl Dialler for SystemDialler {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Tunnel>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// What became of one connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub room: RoomId,
    /// `host:port` as it was asked for, if that could be read.
    pub target: Option<String>,
    /// What was connected to.
    pub address: Option<SocketAddr>,
    /// Bytes from the sandbox, and to it.
    pub sent: u64,
    pub received: u64,
    pub outcome: Outcome,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Both sides, or one, had said all.
    Done,
    /// It was not made; the word of [`Refusal::word`].
    Refused(&'static str),
    /// More went through than a sandbox may exchange.
    Spent,
    /// Nothing went through for long.
    Idle,
    /// It broke, or the sandbox ended.
    Broken,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused(word) => word,
            Self::Spent => "spent",
            Self::Idle => "idle",
            Self::Broken => "broken",
        }
    }
}

/// Who keeps the records. Called once for each connection, when it is over.
pub trait Audit: Send + Sync + 'static {
    fn record(&self, record: &Record);
}

/// Into the log, one line each, under a target of its own.
#[derive(Debug)]
pub struct LogAudit;

impl Audit for LogAudit {
    fn record(&self, record: &Record) {
        let Record { room, target, address, sent, received, outcome } = record;
        let (target, address) = (target.as_deref().unwrap_or("?"), address.map(|address| address.to_string()));
        let (address, outcome) = (address.as_deref().unwrap_or("-"), outcome.word());
        tracing::info!(target: "buildspaces_egress", %room, to = target, address, sent, received, outcome, "a sandbox's connection");
        counter!("buildspaces_egress_connections_total", "outcome" => outcome).increment(1);
        counter!("buildspaces_egress_bytes_total").increment(sent + received);
    }
}

/// The way out of all sandboxes. Clones share everything.
#[derive(Clone)]
pub struct Egress(Arc<Shared>);

struct Shared {
    policy: Policy,
    dialler: Box<dyn Dialler>,
    audit: Box<dyn Audit>,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Egress").field(&self.0.policy).finish()
    }
}

impl Egress {
    pub fn new(policy: Policy, dialler: impl Dialler, audit: impl Audit) -> Self {
        Self(Arc::new(Shared { policy, dialler: Box::new(dialler), audit: Box::new(audit) }))
    }

    /// By the system's resolver and sockets, recorded in the log.
    pub fn system(policy: Policy) -> Self {
        Self::new(policy, SystemDialler, LogAudit)
    }

    /// Serves one sandbox's connections for as long as there may be some.
    pub(crate) async fn serve(self, room: RoomId, mut connections: mpsc::Receiver<Connection>, tasks: Tasks) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let left = Arc::new(AtomicU64::new(self.0.policy.max_bytes));
        loop {
            let connection = tokio::select! {
                connection = connections.recv() => connection,
                () = tasks.cancelled() => return,
            };
            let Some(connection) = connection else { return };
            let (stream, rest) = connection.into_parts();
            let place = Arc::clone(&places).try_acquire_owned();
            let (egress, room, left, stop) = (self.clone(), room.clone(), Arc::clone(&left), tasks.clone());
            tasks.spawn("egress", async move {
                let mut passing = Passing::new(room, place.is_err());
                let outcome = tokio::select! {
                    outcome = passing.go(&egress.0, stream, rest, &left) => outcome,
                    () = stop.cancelled() => Outcome::Broken,
                };
                drop(place);
                egress.0.audit.record(&passing.into_record(outcome));
            });
        }
    }
}

/// One connection on its way.
struct Passing {
    room: RoomId,
    is_one_too_many: bool,
    target: Option<Target>,
    address: Option<SocketAddr>,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Passing {
    fn new(room: RoomId, is_one_too_many: bool) -> Self {
        let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { room, is_one_too_many, target: None, address: None, sent, received }
    }

    async fn go(
        &mut self,
        egress: &Shared,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        rest: Vec<u8>,
        left: &AtomicU64,
    ) -> Outcome {
        let mut first = BytesMut::from(&rest[..]);
        let remote = match self.reach(egress, &mut stream, &mut first, left).await {
            Ok(remote) => remote,
            Err(refusal) => {
                let answer = refusal.answer();
                let _ = timeout(HEAD_PATIENCE, async {
                    stream.write_all(answer.as_bytes()).await?;
                    stream.shutdown().await
                })
                .await;
                return Outcome::Refused(refusal.word());
            }
        };
        if stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_err() {
            return Outcome::Broken;
        }
        self.carry(stream, remote, &first, left).await
    }

    /// The connection to where the program wants to go. What it sends after its request is left in `first`.
    async fn reach(
        &mut self,
        egress: &Shared,
        stream: &mut (impl AsyncRead + Unpin),
        first: &mut BytesMut,
        left: &AtomicU64,
    ) -> Result<Box<dyn Tunnel>, Refusal> {
        let target = timeout(HEAD_PATIENCE, read_head(stream, first)).await.unwrap_or(Err(Refusal::NoRequest))?;
        let Target { host, port } = self.target.insert(target).clone();
        if self.is_one_too_many {
            return Err(Refusal::TooMany);
        }
        if !egress.policy.allows(&host, port) {
            return Err(Refusal::NotListed(host));
        }
        if left.load(Ordering::Relaxed) == 0 {
            return Err(Refusal::Spent);
        }
        let resolved = timeout(DIAL_PATIENCE, egress.dialler.resolve(&host)).await;
        let found = resolved.ok().and_then(Result::ok).filter(|found| !found.is_empty());
        let found = found.ok_or_else(|| Refusal::Unknown(host.clone()))?;
        let public: Vec<IpAddr> = found.into_iter().filter(|address| is_public(*address)).collect();
        if public.is_empty() {
            return Err(Refusal::NotPublic(host));
        }
        for address in public.into_iter().take(MAX_ADDRESSES) {
            let address = SocketAddr::new(address, port);
            if let Ok(Ok(remote)) = timeout(DIAL_PATIENCE, egress.dialler.connect(address)).await {
                self.address = Some(address);
                return Ok(remote);
            }
        }
        Err(Refusal::Unreachable(host))
    }

    /// Carries bytes both ways until the end, counting them.
    async fn carry(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        remote: Box<dyn Tunnel>,
        first: &[u8],
        left: &AtomicU64,
    ) -> Outcome {
        let (from_program, to_program) = tokio::io::split(stream);
        let (from_remote, to_remote) = tokio::io::split(remote);
        let both = async {
            tokio::try_join!(
                one_way(first.chain(from_program), to_remote, &self.sent, left),
                one_way(from_remote, to_program, &self.received, left),
            )
        };
        let idle = async {
            let mut seen = (0, Instant::now());
            loop {
                tokio::time::sleep(IDLE / 10).await;
                let now = self.sent.load(Ordering::Relaxed) + self.received.load(Ordering::Relaxed);
                if now != seen.0 {
                    seen = (now, Instant::now());
                } else if seen.1.elapsed() >= IDLE {
                    return;
                }
            }
        };
        tokio::select! {
            ended = both => ended.map_or_else(|outcome| outcome, |_| Outcome::Done),
            () = idle => Outcome::Idle,
        }
    }

    fn into_record(self, outcome: Outcome) -> Record {
        let Self { room, target, address, sent, received, .. } = self;
        let target = target.map(|Target { host, port }| format!("{host}:{port}"));
        Record { room, target, address, sent: sent.into_inner(), received: received.into_inner(), outcome }
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Result<Target, Refusal> {
    loop {
        if let Some((target, length)) = request::parse(buffer)? {
            let _ = buffer.split_to(length);
            return Ok(target);
        }
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return Err(Refusal::NoRequest),
            Ok(_) => {}
        }
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicU64,
    left: &AtomicU64,
) -> Result<(), Outcome> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).await.map_err(|_| Outcome::Broken)?;
        if read == 0 {
            return to.shutdown().await.map_err(|_| Outcome::Broken);
        }
        let spend = |left: u64| Some(left.saturating_sub(read as u64));
        let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).unwrap_or_default();
        if before < read as u64 {
            return Err(Outcome::Spent);
        }
        count.fetch_add(read as u64, Ordering::Relaxed);
        to.write_all(&piece[..read]).await.map_err(|_| Outcome::Broken)?;
    }
}

#[cfg(test)]
mod tests;
