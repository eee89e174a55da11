//! The server's end of the lines to one container's agent: a Unix socket in a folder that the container sees read-only.
//!
//! A [`Link`] accepts connections, lets in those that know the token, and hands them to whoever runs a step, a terminal, a command or a
//! tunnel. It knows nothing of these or of containers. Connections come and go; of each kind ([`Line`]) the newest that was let in and
//! is not in use is the one that counts.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buildspaces_kernel::tasks::Tasks;
use buildspaces_sandbox_agent::protocol::{Event, Frame, Line, PROTOCOL, Request};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use connection::{Broken, Connection};

mod connection;

/// The socket's name in the folder.
pub(crate) const SOCKET: &str = "agent.sock";

/// How long a new connection may take to say a valid hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);

/// Connections that have not said hello yet. One more waits in the socket's queue: a program in the sandbox that opens
/// connections all the time can delay its own agent by [`HELLO_PATIENCE`], and hurts nobody else.
const MAX_STRANGERS: usize = 8;

/// Connections that want to leave the sandbox and nobody has looked at. One more is hung up.
const MAX_LEAVING: usize = 8;

/// Accepts the agent of one container for as long as it lives.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Shared {
    parked: Mutex<Parked>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Parked {
    steps: Option<Connection>,
    terminal: Option<Connection>,
    command: Option<Connection>,
    tunnel: Option<Connection>,
    ports: Option<Connection>,
    /// Where connections go that want to leave the sandbox. `None`: they are refused.
    egress: Option<mpsc::Sender<Connection>>,
    /// Why the last agent with the right token was not let in.
    refusal: Option<String>,
}

impl Parked {
    /// `None` for the kind that is not parked.
    fn place(&mut self, line: Line) -> Option<&mut Option<Connection>> {
        Some(match line {
            Line::Steps => &mut self.steps,
            Line::Terminal => &mut self.terminal,
            Line::Command => &mut self.command,
            Line::Tunnel => &mut self.tunnel,
            Line::Ports => &mut self.ports,
            Line::Egress => return None,
        })
    }
}

impl Link {
    /// Listens in `folder`, on a socket that `owner` may connect to (`None`: this process's own user).
    pub(crate) fn listen(folder: &Path, owner: Option<(u32, u32)>, token: String, tasks: &Tasks) -> io::Result<Self> {
        let path = folder.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // A socket's path may have 108 bytes at most, and a data folder can be deeper than that. The detour by the
        // folder's descriptor is always short.
        let folder = File::open(folder)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        if let Some((uid, gid)) = owner {
            chown(&path, Some(uid), Some(gid))?;
        }
        let shared = Arc::new(Shared::default());
        let stop = CancellationToken::new();
        tasks.spawn("sandbox link", accept(listener, Arc::clone(&shared), token, stop.clone(), tasks.clone()));
        Ok(Self { shared, _stop: stop.drop_guard() })
    }

    /// A connection to the agent, once there is one of that kind that nobody uses. Waits for ever: the caller sets the
    /// bound. Cancel-safe.
    pub(crate) async fn connection(&self, line: Line) -> Connection {
        loop {
            let mut arrived = std::pin::pin!(self.shared.arrived.notified());
            // Several may wait at the same time, and all of them look when one arrives.
            arrived.as_mut().enable();
            let parked =
                self.shared.parked.lock().expect("short sections, no panics").place(line).and_then(Option::take);
            if let Some(connection) = parked {
                return connection;
            }
            arrived.await;
        }
    }

    /// Whether there is a connection of that kind that nobody uses, with an agent at its other end.
    pub(crate) fn has(&self, line: Line) -> bool {
        let mut parked = self.shared.parked.lock().expect("short sections, no panics");
        parked.place(line).is_some_and(|place| place.as_ref().is_some_and(Connection::is_open))
    }

    /// Gives a connection back that is not in use any more. A newer one that arrived meanwhile is kept instead.
    pub(crate) fn park(&self, line: Line, connection: Connection) {
        if let Some(place) = self.shared.parked.lock().expect("short sections, no panics").place(line) {
            place.get_or_insert(connection);
        }
        self.shared.arrived.notify_waiters();
    }

    /// Connections of programs that want to leave the sandbox, from now on; until then they are refused.
    pub(crate) fn egress(&self) -> mpsc::Receiver<Connection> {
        let (sender, connections) = mpsc::channel(MAX_LEAVING);
        self.shared.parked.lock().expect("short sections, no panics").egress = Some(sender);
        connections
    }

    /// Why the last agent with the right token was not let in, as a sentence.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.shared.parked.lock().expect("short sections, no panics").refusal.clone()
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>, token: String, stop: CancellationToken, tasks: Tasks) {
    let strangers = Arc::new(Semaphore::new(MAX_STRANGERS));
    let token: Arc<str> = token.into();
    let serving = async {
        loop {
            let permit = Arc::clone(&strangers).acquire_owned().await.expect("never closed");
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely; a pause gives others time to close theirs.
                    tracing::warn!(%error, "cannot accept a sandbox agent's connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (shared, token) = (Arc::clone(&shared), Arc::clone(&token));
            tasks.spawn("sandbox hello", async move {
                let _ = tokio::time::timeout(HELLO_PATIENCE, welcome(stream, &token, &shared)).await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = serving => {}
        () = stop.cancelled() => {}
        () = tasks.cancelled() => {}
    }
}

/// Lets the agent in, and nobody else.
async fn welcome(stream: UnixStream, token: &str, shared: &Shared) {
    let mut connection = Connection::new(stream);
    let Ok(Frame::Control(Event::Hello { protocol, agent, token: theirs, line })) = connection.receive().await else {
        return;
    };
    if !same(token.as_bytes(), theirs.as_bytes()) {
        tracing::warn!("a connection to a sandbox's socket had the wrong token");
        return;
    }
    if protocol != PROTOCOL {
        let reason = format!(
            "the sandbox's agent (version {agent:.40}) speaks protocol {protocol}, this server speaks {PROTOCOL}; \
             the sandbox is made anew"
        );
        let _ = connection.send(&Request::Refused { reason: reason.clone() }).await;
        shared.parked.lock().expect("short sections, no panics").refusal = Some(reason);
        return;
    }
    let egress = shared.parked.lock().expect("short sections, no panics").egress.clone();
    if line == Line::Egress && egress.is_none() {
        let _ = connection.send(&Request::Refused { reason: "there is no way out of this sandbox".to_owned() }).await;
        return;
    }
    if connection.send(&Request::Welcome { protocol: PROTOCOL }).await.is_err() {
        return;
    }
    let mut parked = shared.parked.lock().expect("short sections, no panics");
    match (parked.place(line), egress) {
        (Some(place), _) => {
            *place = Some(connection);
            parked.refusal = None;
        }
        // Full, or the sandbox is ending: the program sees that its connection ends.
        (None, Some(egress)) => drop(egress.try_send(connection)),
        (None, None) => {}
    }
    drop(parked);
    shared.arrived.notify_waiters();
}

/// Compares in a time that does not depend on where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

#[cfg(test)]
mod tests;
