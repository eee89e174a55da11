//! TCP connections to programs in the sandbox, each on a connection of its own to the server: one waits there for the port that
//! it is to lead to, and then the next is dialled.
//!
//! A tunnel is one thread that carries bytes both ways. It reads from one side only while what it read before has gone to the
//! other, so whoever does not read holds up whoever writes, and nothing is kept but one piece each way.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::Config;
use super::link::{Welcomed, keep_waiting};
use crate::protocol::{Event, Frame, Line, Request, encode_control};

/// Tunnels at the same time, so that they leave processes and memory to the programs they lead to. One more is refused.
const MAX_TUNNELS: usize = 64;

/// Bytes on their way, in each direction.
const PIECE: usize = 16 << 10;

/// A tunnel's thread calls little.
pub(super) const STACK: usize = 64 << 10;

/// How long a program may take to accept a connection. On loopback only one whose queue is full takes any time at all.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Starts the thread that keeps one connection waiting.
pub(super) fn spawn(config: &Config) -> std::io::Result<()> {
    let open = Arc::new(AtomicUsize::new(0));
    keep_waiting("tunnels", config, Line::Tunnel, move |welcomed| wait(&open, welcomed))
}

/// Waits until the connection gets a port that answers. False if it ended before.
fn wait(open: &Arc<AtomicUsize>, mut welcomed: Welcomed) -> bool {
    loop {
        let Ok(Some(Frame::Control(Request::Connect { port }))) = welcomed.read() else { return false };
        let open = Open::one_more(open, MAX_TUNNELS);
        let program = if open.is_none() {
            Err(format!("there are {MAX_TUNNELS} connections to this sandbox already"))
        } else {
            connect(port).map_err(|error| format!("nothing answers on port {port}: {error}"))
        };
        let (answer, program) = match program {
            Ok(program) => (Event::Connected, Some(program)),
            Err(reason) => (Event::Unreachable { reason }, None),
        };
        if welcomed.stream.write_all(&encode_control(&answer).expect("an agent's answers are short")).is_err() {
            return false;
        }
        let Some(program) = program else { continue };
        let (server, rest) = welcomed.into_parts();
        let carrying = move || {
            let _open = open;
            // Either side may break off at any time.
            let _ = carry(&server, &program, rest);
        };
        // Without a thread the connection ends, and whoever asked sees that.
        return thread::Builder::new().name("tunnel".to_owned()).stack_size(STACK).spawn(carrying).is_ok();
    }
}

/// Counts a tunnel for as long as it is there.
pub(super) struct Open(Arc<AtomicUsize>);

impl Open {
    /// `None` if there are `most` already.
    pub(super) fn one_more(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let open = Self(Arc::clone(count));
        (count.fetch_add(1, Ordering::AcqRel) < most).then_some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Programs that listen on "localhost" may mean either version's loopback address.
fn connect(port: u16) -> std::io::Result<TcpStream> {
    let at = |address: IpAddr| TcpStream::connect_timeout(&SocketAddr::new(address, port), CONNECT_PATIENCE);
    let stream = at(Ipv4Addr::LOCALHOST.into()).or_else(|error| at(Ipv6Addr::LOCALHOST.into()).map_err(|_| error))?;
    // What passes here was written in pieces by somebody else already.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One direction.
struct Half {
    piece: Vec<u8>,
    /// How much of the piece has been passed on.
    passed: usize,
    /// Nothing more will come.
    ended: bool,
    /// The other side has been told so, or is gone.
    over: bool,
}

impl Half {
    fn new(piece: Vec<u8>) -> Self {
        Self { piece, passed: 0, ended: false, over: false }
    }

    fn is_empty(&self) -> bool {
        self.passed == self.piece.len()
    }

    fn wants_to_read(&self) -> bool {
        self.is_empty() && !self.ended && !self.over
    }

    /// Nobody is there to be told anything.
    fn give_up(&mut self) {
        self.over = true;
        self.passed = self.piece.len();
    }

    /// Moves what can be moved without waiting. `close` tells the other side that nothing more comes.
    fn go(
        &mut self,
        mut from: impl Read,
        mut to: impl Write,
        close: impl FnOnce() -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        if self.over {
            return Ok(());
        }
        if self.wants_to_read() {
            self.piece.resize(PIECE, 0);
            let read = now(from.read(&mut self.piece))?;
            self.ended = read == Some(0);
            self.piece.truncate(read.unwrap_or(0));
            self.passed = 0;
        }
        if !self.is_empty() {
            self.passed += now(to.write(&self.piece[self.passed..]))?.unwrap_or(0);
        }
        if self.ended && self.is_empty() {
            self.over = true;
            close()?;
        }
        Ok(())
    }
}

/// `None` if there is nothing to do right now.
fn now(result: std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Carries bytes both ways until both ends have said all they have to say, or one is gone and what it said last has arrived. `rest` came
/// from the server already.
pub(super) fn carry(server: &UnixStream, program: &TcpStream, rest: Vec<u8>) -> std::io::Result<()> {
    server.set_nonblocking(true)?;
    program.set_nonblocking(true)?;
    let (mut inward, mut outward) = (Half::new(rest), Half::new(Vec::new()));
    let (mut server_is_gone, mut program_is_gone) = (false, false);
    loop {
        inward.go(server, program, || program.shutdown(Shutdown::Write))?;
        outward.go(program, server, || server.shutdown(Shutdown::Write))?;
        if inward.over && outward.over {
            return Ok(());
        }
        // There is nothing to wait for: who is gone can be read to the end.
        if (server_is_gone && inward.wants_to_read()) || (program_is_gone && outward.wants_to_read()) {
            continue;
        }
        let wanted = |reads: &Half, writes: &Half| {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, reads.wants_to_read());
            wanted.set(PollFlags::OUT, !writes.is_empty());
            wanted
        };
        let mut waiting = [
            PollFd::from_borrowed_fd(server.as_fd(), wanted(&inward, &outward)),
            PollFd::from_borrowed_fd(program.as_fd(), wanted(&outward, &inward)),
        ];
        // Who is gone would be told of again and again while what it said last waits for the other.
        let watched = match (server_is_gone, program_is_gone) {
            (false, false) => &mut waiting[..],
            (false, true) => &mut waiting[..1],
            (true, _) => &mut waiting[1..],
        };
        match poll(watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Hung up, and not only done with talking.
        let hung_up = |waiting: &PollFd<'_>| waiting.revents().intersects(PollFlags::HUP | PollFlags::ERR);
        server_is_gone |= hung_up(&waiting[0]);
        program_is_gone |= hung_up(&waiting[1]);
        if server_is_gone {
            outward.give_up();
        }
        if program_is_gone {
            inward.give_up();
        }
    }
}
