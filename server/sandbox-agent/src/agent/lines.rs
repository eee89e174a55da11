//! The connections of terminals: one waits at the server for whichever terminal it is given, and then the next is dialled.
//!
//! A terminal's connection has two threads: one reads what is typed, one sends what is printed, as far as the socket takes
//! it. A terminal does not depend on its connection; see [`super::terminal`] for what happens without one.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use super::link::{Welcomed, keep_waiting};
use super::terminal::{self, Shell};
use super::{Config, Shared, State};
use crate::protocol::{Event, Frame, Key, Line, Request, encode_control, encode_output};

/// Most bytes of output in one frame.
const PIECE: usize = 16 << 10;

/// Starts the thread that keeps one connection waiting.
pub(super) fn spawn(shared: &Arc<Shared>, config: &Config) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    keep_waiting("lines", config, Line::Terminal, move |welcomed| wait(&shared, welcomed))
}

/// Waits until the connection gets a terminal. False if it ended before.
fn wait(shared: &Arc<Shared>, mut welcomed: Welcomed) -> bool {
    loop {
        let Ok(Some(Frame::Control(request))) = welcomed.read() else { return false };
        let answer = match take(shared, request) {
            Some(Ok((key, line))) => {
                let answered = say(&mut welcomed.stream, &Event::Opened { key: key.clone() });
                let (shared, name) = (Arc::clone(shared), "terminal line".to_owned());
                let serving = move || serve(&shared, &key, line, welcomed);
                return answered.is_ok() && thread::Builder::new().name(name).spawn(serving).is_ok();
            }
            Some(Err(answer)) => answer,
            None => return false,
        };
        if say(&mut welcomed.stream, &answer).is_err() {
            return false;
        }
    }
}

fn say(stream: &mut UnixStream, event: &Event) -> std::io::Result<()> {
    stream.write_all(&encode_control(event).expect("an agent's answers are short"))
}

/// Which terminal the connection is for now, or why for none; `None` if this was no such request.
fn take(shared: &Arc<Shared>, request: Request) -> Option<Result<(Key, u64), Event>> {
    let (key, from_offset) = match request {
        Request::Open { key, argv, cwd, env, unset, size } => {
            let shell = Shell { argv, cwd, env, unset, size };
            if let Err(reason) = terminal::open(shared, &key, &shell) {
                return Some(Err(Event::Rejected { key, reason }));
            }
            (key, 0)
        }
        Request::Resume { key, from_offset } => (key, from_offset),
        _ => return None,
    };
    let mut state = shared.lock();
    let line = state.next_line();
    let Some(terminal) = state.terminal(&key) else { return Some(Err(Event::Unknown { key })) };
    terminal.attach(line, from_offset);
    drop(state);
    shared.changed.notify_all();
    Some(Ok((key, line)))
}

/// The connection from here on, until it ends or another one gets the terminal.
fn serve(shared: &Arc<Shared>, key: &Key, line: u64, mut welcomed: Welcomed) {
    if let Ok(stream) = welcomed.stream.try_clone() {
        let (printer, name) = (Arc::clone(shared), key.clone());
        let printing = move || print(&printer, &name, line, stream);
        if thread::Builder::new().name("terminal printer".to_owned()).spawn(printing).is_ok() {
            while let Ok(Some(frame)) = welcomed.read() {
                if !handle(shared, key, line, frame) {
                    break;
                }
            }
        }
    }
    let _ = welcomed.stream.shutdown(Shutdown::Both);
    let mut state = shared.lock();
    if let Some(terminal) = own(&mut state, key, line) {
        terminal.line = None;
    }
    drop(state);
    shared.changed.notify_all();
}

/// The terminal, if it is still this connection's.
fn own<'a>(state: &'a mut State, key: &Key, line: u64) -> Option<&'a mut terminal::Terminal> {
    state.terminal(key).filter(|terminal| terminal.line == Some(line))
}

/// Does what the server asks. False if the connection has to end.
fn handle(shared: &Arc<Shared>, key: &Key, line: u64, frame: Frame<Request>) -> bool {
    let mut state = shared.lock();
    let Some(terminal) = own(&mut state, key, line) else { return false };
    match frame {
        Frame::Input(bytes) => {
            let fits = terminal.type_in(&bytes);
            shared.changed.notify_all();
            fits
        }
        Frame::Control(Request::Resize { size }) => {
            terminal.resize(size);
            true
        }
        Frame::Control(Request::Close) => {
            drop(state);
            terminal::close(shared, key);
            true
        }
        Frame::Control(_) | Frame::Output(_) => false,
    }
}

/// Sends what the connection is owed until its terminal has ended.
fn print(shared: &Shared, key: &Key, line: u64, mut stream: UnixStream) {
    let mut told = 0;
    let mut state = shared.lock();
    while let Some(terminal) = own(&mut state, key, line) {
        let (offset, bytes) = terminal.output.read(terminal.next_offset, PIECE);
        let ended = terminal.ended();
        let frame = if terminal.taken != told {
            told = terminal.taken;
            encode_control(&Event::Taken { bytes: told })
        } else if !bytes.is_empty() {
            terminal.next_offset = offset + bytes.len() as u64;
            encode_output(key, offset, &bytes)
        } else if let Some(exit) = ended {
            drop(state);
            let _ = say(&mut stream, &Event::Ended { exit });
            return;
        } else {
            state = shared.wait(state);
            continue;
        };
        drop(state);
        // There is room for more now.
        shared.changed.notify_all();
        if stream.write_all(&frame.expect("short")).is_err() {
            break;
        }
        state = shared.lock();
    }
    // Wakes the reader, which ends the connection.
    let _ = stream.shutdown(Shutdown::Both);
}
