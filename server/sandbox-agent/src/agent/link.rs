//! The connection to the server for steps: dialled again for ever, one at a time.
//!
//! Steps do not depend on it. What a connection is owed (answers, output, results) is worked out from the state each
//! time its writer has nothing to do, so a stuck server holds back its own connection and nothing else.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::step::Program;
use super::{Config, Shared, State, step};
use crate::protocol::{
    Decoder, Event, Frame, Key, Line, MAX_OUTPUT, PROTOCOL, Request, StepInfo, encode_control, encode_output,
};

/// Pauses between attempts to connect: short at first, because a server that was killed is often back at once.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long the server may take to answer the hello before the agent hangs up and dials again.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);

/// Answers that wait to be written. A server that asks more than this without reading is cut off.
const MAX_OUTBOX: usize = 256;

/// Steps one connection follows at once. One more replaces the oldest.
const MAX_FOLLOWED: usize = 8;

/// What one connection is owed.
#[derive(Debug, Default)]
pub(super) struct Connection {
    outbox: VecDeque<Event>,
    /// The step it asked for last, which it follows next.
    started: Option<Key>,
    followed: VecDeque<Followed>,
}

#[derive(Debug)]
struct Followed {
    key: Key,
    next_offset: u64,
}

impl Connection {
    /// Up to where it was sent a step's output; `None` if it does not follow the step.
    pub(super) fn sent(&self, key: &Key) -> Option<u64> {
        let followed = self.followed.iter().find(|followed| followed.key == *key);
        followed.map(|followed| followed.next_offset).or_else(|| (self.started.as_ref() == Some(key)).then_some(0))
    }
}

pub(super) fn serve(shared: &Arc<Shared>, config: &Config) -> ! {
    let mut pause = FIRST_PAUSE;
    loop {
        let welcomed = talk(shared, config);
        pause = if matches!(welcomed, Ok(true)) { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        thread::sleep(pause);
    }
}

/// A connection that the server has welcomed.
pub(super) struct Welcomed {
    pub(super) stream: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

/// Starts the thread that keeps one connection of a kind waiting at the server. `wait` is given each; it says whether the
/// connection got something to do, and then the next is dialled at once.
pub(super) fn keep_waiting(
    name: &str,
    config: &Config,
    line: Line,
    wait: impl Fn(Welcomed) -> bool + Send + 'static,
) -> std::io::Result<()> {
    let config = config.clone();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut pause = FIRST_PAUSE;
        loop {
            match dial(&config, line) {
                Ok(Some(welcomed)) => {
                    pause = FIRST_PAUSE;
                    if wait(welcomed) {
                        continue;
                    }
                }
                _ => pause = (pause * 2).min(LONGEST_PAUSE),
            }
            thread::sleep(pause);
        }
    })?;
    Ok(())
}

/// Dials and says hello; `None` if the server does not want this agent.
pub(super) fn dial(config: &Config, line: Line) -> std::io::Result<Option<Welcomed>> {
    let mut stream = UnixStream::connect(&config.socket)?;
    stream.set_read_timeout(Some(HELLO_PATIENCE))?;
    let (agent, token) = (env!("CARGO_PKG_VERSION").to_owned(), config.token.clone());
    let hello = Event::Hello { protocol: PROTOCOL, agent, token, line };
    stream.write_all(&encode_control(&hello).map_err(std::io::Error::other)?)?;
    let mut welcomed = Welcomed { stream, decoder: Decoder::default(), buffer: vec![0; 16 << 10] };
    match welcomed.read()? {
        Some(Frame::Control(Request::Welcome { .. })) => {}
        Some(Frame::Control(Request::Refused { reason })) => {
            eprintln!("the server refuses this agent: {reason}");
            return Ok(None);
        }
        _ => return Ok(None),
    }
    welcomed.stream.set_read_timeout(None)?;
    Ok(Some(welcomed))
}

impl Welcomed {
    /// The next frame; `None` when the server closed the connection.
    pub(super) fn read(&mut self) -> std::io::Result<Option<Frame<Request>>> {
        loop {
            if let Some(frame) = self.decoder.decode().map_err(std::io::Error::other)? {
                return Ok(Some(frame));
            }
            match self.stream.read(&mut self.buffer)? {
                0 => return Ok(None),
                n => self.decoder.push(&self.buffer[..n]),
            }
        }
    }

    /// The connection without frames, and what came of it already.
    pub(super) fn into_parts(self) -> (UnixStream, Vec<u8>) {
        (self.stream, self.decoder.into_rest())
    }
}

/// One connection from hello to end. True if the server welcomed it.
fn talk(shared: &Arc<Shared>, config: &Config) -> std::io::Result<bool> {
    let Some(mut welcomed) = dial(config, Line::Steps)? else { return Ok(false) };
    shared.lock().connection = Some(Connection::default());
    let writer = {
        let (shared, stream) = (Arc::clone(shared), welcomed.stream.try_clone()?);
        thread::Builder::new().name("writer".to_owned()).spawn(move || write_all_owed(&shared, stream))?
    };
    // Output and input mean nothing here.
    while let Ok(Some(frame)) = welcomed.read() {
        if let Frame::Control(request) = frame
            && !handle(shared, request)
        {
            break;
        }
    }
    // Both ends, so that the writer wakes even if it is in the middle of a write.
    let _ = welcomed.stream.shutdown(Shutdown::Both);
    shared.lock().connection = None;
    shared.changed.notify_all();
    let _ = writer.join();
    Ok(true)
}

/// Does what the server asks. False if the connection has to end.
fn handle(shared: &Arc<Shared>, request: Request) -> bool {
    let answer = match request {
        Request::Start { key, argv, cwd, env, timeout_ms, secrets } => {
            let program = Program { argv, cwd, env, timeout: Duration::from_millis(timeout_ms), secrets };
            if let Some(connection) = &mut shared.lock().connection {
                connection.started = Some(key.clone());
            }
            Some(match step::start(shared, &key, program) {
                Ok(()) => Event::Started { key },
                Err(reason) => Event::Rejected { key, reason },
            })
        }
        Request::Cancel { key } => {
            if let Some(step) = shared.lock().step(&key) {
                step.cancel();
            }
            None
        }
        Request::Attach { key, from_offset } => attach(&mut shared.lock(), key, from_offset),
        Request::List => {
            let state = shared.lock();
            let steps =
                state.steps.iter().map(|step| StepInfo { key: step.key().clone(), running: step.ended().is_none() });
            Some(Event::Steps { steps: steps.collect() })
        }
        Request::Welcome { .. }
        | Request::Refused { .. }
        | Request::Open { .. }
        | Request::Resume { .. }
        | Request::Resize { .. }
        | Request::Close
        | Request::Connect { .. }
        | Request::Run { .. } => return false,
    };
    let mut state = shared.lock();
    let Some(connection) = &mut state.connection else { return false };
    connection.outbox.extend(answer);
    let room = connection.outbox.len() <= MAX_OUTBOX;
    shared.changed.notify_all();
    room
}

fn attach(state: &mut State, key: Key, from_offset: u64) -> Option<Event> {
    if state.step(&key).is_none() {
        return Some(Event::Unknown { key });
    }
    let Connection { started, followed, .. } = state.connection.as_mut()?;
    started.take_if(|started| *started == key);
    followed.retain(|other| other.key != key);
    if followed.len() == MAX_FOLLOWED {
        followed.pop_front();
    }
    followed.push_back(Followed { key, next_offset: from_offset });
    None
}

/// The writer: sends what is owed until the connection is gone.
fn write_all_owed(shared: &Shared, mut stream: UnixStream) {
    let mut state = shared.lock();
    while state.connection.is_some() {
        let Some(frame) = next_owed(&mut state) else {
            state = shared.wait(state);
            continue;
        };
        drop(state);
        // There may be room for more output now.
        shared.changed.notify_all();
        if stream.write_all(&frame).is_err() {
            // Wakes the reader, which ends the connection.
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        state = shared.lock();
    }
}

/// The next frame that the connection is owed, if any: answers first, then output, then results.
fn next_owed(state: &mut State) -> Option<Vec<u8>> {
    let State { steps, connection, .. } = state;
    let connection = connection.as_mut()?;
    if let Some(answer) = connection.outbox.pop_front() {
        return Some(encode_control(&answer).expect("an agent's answers are short"));
    }
    for at in 0..connection.followed.len() {
        let followed = &mut connection.followed[at];
        let Some(step) = steps.iter().find(|step| *step.key() == followed.key) else {
            let key = connection.followed.remove(at)?.key;
            return Some(encode_control(&Event::Unknown { key }).expect("an agent's answers are short"));
        };
        let (offset, bytes) = step.output.read(followed.next_offset, MAX_OUTPUT);
        if !bytes.is_empty() {
            followed.next_offset = offset + bytes.len() as u64;
            return Some(encode_output(&followed.key, offset, &bytes).expect("MAX_OUTPUT fits in a frame"));
        }
        if let Some(ended) = step.ended() {
            let exited = Event::Exited {
                key: connection.followed.remove(at)?.key,
                exit: ended.exit.clone(),
                duration_ms: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
                oom: ended.oom,
                pids: ended.pids,
                full: ended.full.clone(),
            };
            return Some(encode_control(&exited).expect("an agent's answers are short"));
        }
    }
    None
}
