//! The one way out of a sandbox, where the operator opened it: an HTTP proxy (CONNECT) that leads to listed hosts and nowhere else.
//!
//! A program connects to the agent inside, the agent to us, and every byte it sends is a stranger's. Who is asked for is read
//! ([`request`]), compared with the list ([`policy`]), resolved, checked to be of the public internet, and connected to at exactly the
//! address that was checked: there is no second look-up in between. Each connection leaves one [`Record`], however it ended.
//!
//! What goes through is not looked at: it is TLS, and its certificate is checked by the program. With one exception: what a program asks of a host in
//! plain HTTP, while a step runs that has a secret for that host, goes on over TLS of ours with the secret in its head ([`plain`], [`tls`]); so the
//! secret is never in the sandbox. Names are resolved and connections made by a [`Dialler`], so that tests need no network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use buildspaces_kernel::address::is_public;
use buildspaces_kernel::ids::RoomId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::Tunnel;
use buildspaces_plans::redact::{Known, Redactor};
use buildspaces_plans::secret::{SecretName, StepHeader};
use bytes::BytesMut;
use metrics::counter;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};

pub use policy::{Pattern, Policy};
pub(crate) use request::{Refusal, Target};

use crate::link::Connection;
use request::Asked;

mod plain;
mod policy;
mod request;
mod tls;

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
    /// The secrets that were put into the request.
    pub secrets: Vec<SecretName>,
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
        let Record { room, target, address, sent, received, secrets, outcome } = record;
        let secrets = secrets.iter().map(SecretName::as_str).collect::<Vec<_>>().join(",");
        let (target, address) = (target.as_deref().unwrap_or("?"), address.map(|address| address.to_string()));
        let (address, outcome) = (address.as_deref().unwrap_or("-"), outcome.word());
        tracing::info!(target: "buildspaces_egress", %room, to = target, address, sent, received, secrets, outcome, "a sandbox's connection");
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
    /// How hosts that get secrets are told from others. By the system's certificates unless somebody chose.
    tls: OnceLock<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Egress").field(&self.0.policy).finish()
    }
}

impl Egress {
    pub fn new(policy: Policy, dialler: impl Dialler, audit: impl Audit) -> Self {
        let (dialler, audit, tls) = (Box::new(dialler), Box::new(audit), OnceLock::new());
        Self(Arc::new(Shared { policy, dialler, audit, tls }))
    }

    /// By the system's resolver and sockets, recorded in the log.
    pub fn system(policy: Policy) -> Self {
        Self::new(policy, SystemDialler, LogAudit)
    }

    /// The same, with other certificates than the system's. To be called before anything is served.
    pub fn trusting(self, tls: Arc<ClientConfig>) -> Self {
        let _ = self.0.tls.set(tls);
        self
    }

    pub(crate) fn allows(&self, host: &str, port: u16) -> bool {
        self.0.policy.allows(host, port)
    }

    /// Serves one sandbox's connections for as long as there may be some. `headers` are what the step that runs has for requests.
    pub(crate) async fn serve(
        self,
        room: RoomId,
        mut connections: mpsc::Receiver<Connection>,
        headers: watch::Receiver<Arc<[StepHeader]>>,
        tasks: Tasks,
    ) {
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
            let headers = Arc::clone(&headers.borrow());
            tasks.spawn("egress", async move {
                let mut passing = Passing::new(room, headers, place.is_err());
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
    /// What the step that ran when it began has for requests.
    headers: Arc<[StepHeader]>,
    /// Those of them that were used.
    used: Vec<StepHeader>,
    is_one_too_many: bool,
    target: Option<Target>,
    address: Option<SocketAddr>,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Passing {
    fn new(room: RoomId, headers: Arc<[StepHeader]>, is_one_too_many: bool) -> Self {
        let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { room, headers, used: Vec::new(), is_one_too_many, target: None, address: None, sent, received }
    }

    async fn go(
        &mut self,
        egress: &Shared,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        rest: Vec<u8>,
        left: &AtomicU64,
    ) -> Outcome {
        let mut first = BytesMut::from(&rest[..]);
        let (remote, head) = match self.reach(egress, &mut stream, &mut first, left).await {
            Ok(reached) => reached,
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
        let Some(head) = head else {
            if stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_err() {
                return Outcome::Broken;
            }
            return self.carry(stream, remote, &first, left, None).await;
        };
        // A host may send back what it was sent, to a program that is not to have it.
        let known = Known::new(self.used.iter().map(|given| given.value.reveal()));
        let first = [&head, &first[..]].concat();
        self.carry(stream, remote, &first, left, Some(Redactor::in_place(&known))).await
    }

    /// The connection to where the program wants to go, and the head of its request if that has secrets now. What the program sends after it is left
    /// in `first`.
    async fn reach(
        &mut self,
        egress: &Shared,
        stream: &mut (impl AsyncRead + Unpin),
        first: &mut BytesMut,
        left: &AtomicU64,
    ) -> Result<(Box<dyn Tunnel>, Option<Vec<u8>>), Refusal> {
        let head = timeout(HEAD_PATIENCE, read_head(stream, first)).await;
        let (target, asked) = head.unwrap_or(Err(Refusal::NoRequest))?;
        let target = self.target.insert(target).clone();
        if self.is_one_too_many {
            return Err(Refusal::TooMany);
        }
        let given: Vec<StepHeader> = match &asked {
            Asked::Tunnel => Vec::new(),
            Asked::Plain(plain) => {
                let is_for = |given: &&StepHeader| given.is_for(&target.host, target.port, plain.path());
                one_of_each_name(self.headers.iter().filter(is_for))
            }
        };
        if !egress.policy.allows(&target.host, target.port) {
            // A host alone is listed for https.
            let Target { host, port } = target;
            return Err(Refusal::NotListed(if port == 443 { host } else { format!("{host}:{port}") }));
        }
        if matches!(asked, Asked::Plain(_)) && given.is_empty() {
            return Err(Refusal::NotConnect);
        }
        if left.load(Ordering::Relaxed) == 0 {
            return Err(Refusal::Spent);
        }
        let remote = self.dial(egress, &target).await?;
        let Asked::Plain(plain) = asked else { return Ok((remote, None)) };
        let config = Arc::clone(egress.tls.get_or_init(tls::system));
        let secured = timeout(DIAL_PATIENCE, tls::connect(config, &target.host, remote)).await;
        let remote = secured.ok().and_then(Result::ok).ok_or_else(|| Refusal::NotTrusted(target.host.clone()))?;
        let head = plain.into_head(&target, &given);
        self.used = given;
        Ok((remote, Some(head)))
    }

    /// A connection to an address of the host that is of the public internet.
    async fn dial(&mut self, egress: &Shared, target: &Target) -> Result<Box<dyn Tunnel>, Refusal> {
        let Target { host, port } = target;
        let resolved = timeout(DIAL_PATIENCE, egress.dialler.resolve(host)).await;
        let found = resolved.ok().and_then(Result::ok).filter(|found| !found.is_empty());
        let found = found.ok_or_else(|| Refusal::Unknown(host.clone()))?;
        let public: Vec<IpAddr> = found.into_iter().filter(|address| is_public(*address)).collect();
        if public.is_empty() {
            return Err(Refusal::NotPublic(host.clone()));
        }
        for address in public.into_iter().take(MAX_ADDRESSES) {
            let address = SocketAddr::new(address, *port);
            if let Ok(Ok(remote)) = timeout(DIAL_PATIENCE, egress.dialler.connect(address)).await {
                self.address = Some(address);
                return Ok(remote);
            }
        }
        Err(Refusal::Unreachable(host.clone()))
    }

    /// Carries bytes both ways until the end, counting them.
    async fn carry(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        remote: Box<dyn Tunnel>,
        first: &[u8],
        left: &AtomicU64,
        back: Option<Redactor>,
    ) -> Outcome {
        let (from_program, to_program) = tokio::io::split(stream);
        let (from_remote, to_remote) = tokio::io::split(remote);
        let both = async {
            tokio::try_join!(
                one_way(first.chain(from_program), to_remote, &self.sent, left, None),
                one_way(from_remote, to_program, &self.received, left, back),
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
        let Self { room, target, address, sent, received, used, .. } = self;
        let secrets = used.into_iter().map(|given| given.secret).collect();
        let target = target.map(|Target { host, port }| format!("{host}:{port}"));
        Record { room, target, address, sent: sent.into_inner(), received: received.into_inner(), secrets, outcome }
    }
}

/// Of several headers of one name the last: what a command was lent comes behind what the step has.
fn one_of_each_name<'a>(headers: impl Iterator<Item = &'a StepHeader>) -> Vec<StepHeader> {
    let mut kept: Vec<StepHeader> = Vec::new();
    for header in headers {
        kept.retain(|other| !other.name().eq_ignore_ascii_case(header.name()));
        kept.push(header.clone());
    }
    kept
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Result<(Target, Asked), Refusal> {
    loop {
        if let Some((target, asked, length)) = request::parse(buffer)? {
            let _ = buffer.split_to(length);
            return Ok((target, asked));
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
    mut redactor: Option<Redactor>,
) -> Result<(), Outcome> {
    let mut piece = vec![0; PIECE];
    let mut shown = Vec::new();
    loop {
        let read = match from.read(&mut piece).await {
            Ok(read) => read,
            // Many hosts end TLS by hanging up. Whether all was said, HTTP itself tells.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(_) => return Err(Outcome::Broken),
        };
        if read == 0 {
            if let Some(redactor) = &mut redactor {
                shown.clear();
                redactor.finish(&mut shown);
                to.write_all(&shown).await.map_err(|_| Outcome::Broken)?;
            }
            return to.shutdown().await.map_err(|_| Outcome::Broken);
        }
        let spend = |left: u64| Some(left.saturating_sub(read as u64));
        let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).unwrap_or_default();
        if before < read as u64 {
            return Err(Outcome::Spent);
        }
        count.fetch_add(read as u64, Ordering::Relaxed);
        let through = match &mut redactor {
            Some(redactor) => {
                shown.clear();
                redactor.push(&piece[..read], &mut shown);
                &shown[..]
            }
            None => &piece[..read],
        };
        to.write_all(through).await.map_err(|_| Outcome::Broken)?;
    }
}

#[cfg(test)]
mod tests;
