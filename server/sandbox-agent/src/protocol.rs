//! What the server and the agent say to each other: frames over stream sockets.
//!
//! A frame is a little-endian `u32` that counts the bytes after it, one kind byte, and the payload: JSON for control,
//! raw bytes for a step's output and for what a terminal shows and is told. The agent speaks first ([`Event::Hello`]), the
//! server answers [`Request::Welcome`] or [`Request::Refused`]; after that both send when they have something to say.
//!
//! The agent keeps one connection for steps, one that tells of ports, and one each that waits for a terminal, for a command and
//! for a tunnel ([`Line`]); as soon as one of the latter three has what it waits for, the agent dials the next. So each of these
//! has a socket of its own, and what one of them carries delays neither the others nor a step. After
//! [`Event::Connected`] a tunnel's connection has no frames any more: what follows, both ways, is the program's.
//!
//! Nothing here does input or output: [`Decoder`] takes bytes as they come. Both ends treat the other's bytes as
//! hostile, the server with more reason: a program under test may have taken the agent's place.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Rises whenever an older agent and a newer server would misunderstand each other.
pub const PROTOCOL: u32 = 4;

/// Where the agent dials unless its first argument says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/buildspaces/agent.sock";

/// The agent's environment variable with the token that its hello must carry.
pub const TOKEN_VARIABLE: &str = "BUILDSPACES_AGENT_TOKEN";

/// The agent's environment variable with the port on which it listens for programs that want to leave the sandbox. Without it
/// there is no way out.
pub const EGRESS_VARIABLE: &str = "BUILDSPACES_EGRESS_PORT";

/// Where files of secrets are: a folder in the sandbox's memory.
pub const SECRETS_FOLDER: &str = "/run/secrets";

/// Most bytes a frame may have after its length. A longer one ends the connection: no honest peer sends it.
pub const MAX_FRAME: usize = 1 << 20;

/// Most bytes of output in one frame, so that a control message never waits behind much output.
pub const MAX_OUTPUT: usize = 64 << 10;

/// Longest key, in bytes. A longer one is an error of the sender.
pub const MAX_KEY: usize = 128;

/// What is typed that the server may send before the agent has said that it passed it on ([`Event::Taken`]). More ends the
/// connection.
pub const INPUT_WINDOW: usize = 64 << 10;

/// Most ports in one [`Event::Ports`]. Of more that listen, the highest are not told.
pub const MAX_PORTS: usize = 64;

const KIND_CONTROL: u8 = 1;
const KIND_OUTPUT: u8 = 2;
const KIND_INPUT: u8 = 3;

/// The name of a step, a terminal or a command, chosen by the server, stable over attempts: 1 to [`MAX_KEY`] printable ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// The key in `text`, or `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        valid.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(&text).ok_or("not a step key")
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}

/// What the server asks of the agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// The hello is accepted.
    Welcome { protocol: u32 },
    /// The hello is not accepted, for this reason; the server closes the connection.
    Refused { reason: String },
    /// Start a program, unless this key was started before: then nothing happens. Answered by
    /// [`Event::Started`] in both cases, or by [`Event::Rejected`].
    Start {
        key: Key,
        /// The program and its arguments. Never empty.
        argv: Vec<String>,
        /// An absolute path.
        cwd: String,
        /// Added to the agent's own environment.
        env: BTreeMap<String, String>,
        timeout_ms: u64,
        /// What only this step gets, and only while it runs.
        #[serde(default, skip_serializing_if = "Secrets::is_empty")]
        secrets: Secrets,
    },
    /// SIGTERM to the step's process group, SIGKILL to everything 5 s later. No effect on a step that has ended.
    Cancel { key: Key },
    /// Send the step's output from this offset on, as far as it is kept, then its result. Answered by
    /// [`Event::Unknown`] if the agent has no such step.
    Attach { key: Key, from_offset: u64 },
    /// Answered by [`Event::Steps`].
    List,
    /// On a connection that waits for a terminal: opens one, unless this key was opened before, and gives it this
    /// connection, in place of the one it may have had. Answered by [`Event::Opened`] or [`Event::Rejected`].
    Open {
        key: Key,
        /// The program and its arguments. Never empty.
        argv: Vec<String>,
        /// An absolute path.
        cwd: String,
        /// Added to the agent's own environment.
        env: BTreeMap<String, String>,
        /// Taken away from it.
        unset: Vec<String>,
        size: Size,
    },
    /// The same for a terminal that is there: [`Event::Opened`], then its output from this offset on, as far as it is kept.
    /// Otherwise [`Event::Unknown`].
    Resume { key: Key, from_offset: u64 },
    /// The connection's terminal has another size from now on.
    Resize { size: Size },
    /// Kills everything that runs in the connection's terminal.
    Close,
    /// On a connection that waits for a tunnel: joins it with a TCP connection to this port of the sandbox's own loopback
    /// address. Answered by [`Event::Connected`] or [`Event::Unreachable`]; after the latter it goes on waiting.
    Connect { port: u16 },
    /// On a connection that waits for a command: runs one, which ends with this connection at the latest. Answered by
    /// [`Event::Started`] or [`Event::Rejected`]; after the latter it goes on waiting. What the command prints follows, then
    /// [`Event::Finished`].
    Run {
        key: Key,
        /// The program and its arguments. Never empty.
        argv: Vec<String>,
        /// An absolute path.
        cwd: String,
        /// Added to the agent's own environment.
        env: BTreeMap<String, String>,
    },
}

/// Secrets of one step, by name.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Variables of the program.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Files in [`SECRETS_FOLDER`], readable by the program, from before it starts until nothing of the step is left. A name that is not one
    /// plain part of a path is an error, and the step is not started.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

impl Secrets {
    pub fn is_empty(&self) -> bool {
        self.env.is_empty() && self.files.is_empty()
    }
}

impl fmt::Debug for Secrets {
    /// The names alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets(env {:?}, files {:?})", self.env.keys(), self.files.keys())
    }
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Steps,
    Terminal,
    Command,
    Tunnel,
    /// The server asks nothing on it.
    Ports,
    /// A program wants to leave the sandbox: after the welcome there are no frames, what follows is between it and the
    /// server's proxy.
    Egress,
}

/// What a terminal has room for, in characters. Zero means that nobody knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Size {
    pub rows: u16,
    pub cols: u16,
}

/// What the agent tells the server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    Hello {
        protocol: u32,
        /// The agent's version, for the log.
        agent: String,
        token: String,
        line: Line,
    },
    Started {
        key: Key,
    },
    /// The step was not accepted, and the same key may be tried again: another step is running, or the request is
    /// not one. A program that cannot be started is not rejected: it ends with [`Exit::NotStarted`].
    Rejected {
        key: Key,
        reason: String,
    },
    Unknown {
        key: Key,
    },
    /// The last word on an attached step; all its output has been sent before.
    Exited {
        key: Key,
        exit: Exit,
        duration_ms: u64,
        /// The kernel killed at least one of the sandbox's processes for memory while the step ran.
        oom: bool,
        /// It refused at least one process or thread, because there were as many as there may be.
        #[serde(default)]
        pids: bool,
        /// Folders in memory that had no room left when the step ended.
        #[serde(default)]
        full: Vec<String>,
    },
    Steps {
        steps: Vec<StepInfo>,
    },
    /// The connection is this terminal's.
    Opened {
        key: Key,
    },
    /// So many bytes of what was typed have been passed on to the programs in the terminal, of all that ever was on this
    /// connection.
    Taken {
        bytes: u64,
    },
    /// The last word on a terminal; all its output has been sent before, and nothing of it runs any more.
    Ended {
        exit: Exit,
    },
    /// TCP ports on which programs in the sandbox accept connections to its loopback address, in ascending order; at most
    /// [`MAX_PORTS`]. The first such message says what there is, each further one what there is now.
    Ports {
        ports: Vec<u16>,
    },
    /// The last word on a command; all its output has been sent before, and nothing of it runs any more.
    Finished {
        exit: Exit,
        /// The end of what it wrote to its standard error.
        errors: String,
    },
    /// The last frame of this connection.
    Connected,
    /// Nobody listens there, or there are too many tunnels; the reason.
    Unreachable {
        reason: String,
    },
}

/// How a step, or the shell of a terminal, ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    TimedOut,
    Cancelled,
    /// The program could not be started; the operating system's reason.
    NotStarted(String),
}

/// One line of [`Event::Steps`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StepInfo {
    pub key: Key,
    pub running: bool,
}

/// What came in one frame; `M` is [`Request`] at the agent's end and [`Event`] at the server's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame<M> {
    Control(M),
    Output(Output),
    /// Typed, for the connection's terminal.
    Input(Vec<u8>),
}

/// A piece of a step's, a terminal's or a command's output.
#[derive(Clone, PartialEq, Eq)]
pub struct Output {
    pub key: Key,
    /// Bytes of output before this piece. More than was received so far means that the agent had to drop some.
    pub offset: u64,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({:?} at {}: {:?})", self.key, self.offset, String::from_utf8_lossy(&self.bytes))
    }
}

/// The peer sent something that is not this protocol. The connection is of no further use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    #[error("a frame of {0} bytes is over the limit of {MAX_FRAME}")]
    TooLong(u64),
    #[error("an empty frame")]
    Empty,
    #[error("an unknown kind of frame: {0}")]
    UnknownKind(u8),
    #[error("a control message that cannot be read: {0}")]
    Control(String),
    #[error("an output frame that is cut short or has a bad key")]
    Output,
}

/// Cuts a stream of bytes into frames. After an error it stays in error.
#[derive(Debug, Default)]
pub struct Decoder {
    /// **Invariant:** at most one frame that is not complete, plus what one [`Decoder::push`] brought.
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were returned as frames already.
    taken: usize,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame, or `None` until more bytes are pushed.
    pub fn decode<M: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<Frame<M>>, Error> {
        let rest = &self.buffer[self.taken..];
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_FRAME {
            return Err(Error::TooLong(length as u64));
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let decoded = decode_frame(frame)?;
        self.taken += 4 + length;
        Ok(Some(decoded))
    }

    /// What came after the last frame, for whoever goes on without frames.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.split_off(self.taken)
    }
}

fn decode_frame<M: for<'de> Deserialize<'de>>(frame: &[u8]) -> Result<Frame<M>, Error> {
    let (kind, payload) = frame.split_first().ok_or(Error::Empty)?;
    match *kind {
        KIND_CONTROL => match serde_json::from_slice(payload) {
            Ok(message) => Ok(Frame::Control(message)),
            Err(error) => Err(Error::Control(error.to_string())),
        },
        KIND_OUTPUT => decode_output(payload).map(Frame::Output).ok_or(Error::Output),
        KIND_INPUT => Ok(Frame::Input(payload.to_vec())),
        other => Err(Error::UnknownKind(other)),
    }
}

/// `u8` length of the key, the key, `u64` offset, the bytes.
fn decode_output(payload: &[u8]) -> Option<Output> {
    let (key_length, rest) = payload.split_first()?;
    let (key, rest) = rest.split_at_checked(usize::from(*key_length))?;
    let (offset, bytes) = rest.split_first_chunk::<8>()?;
    Some(Output {
        key: Key::parse(std::str::from_utf8(key).ok()?)?,
        offset: u64::from_le_bytes(*offset),
        bytes: bytes.to_vec(),
    })
}

/// The frame of a control message, length included; [`Error::TooLong`] if it would not be accepted.
pub fn encode_control<M: Serialize>(message: &M) -> Result<Vec<u8>, Error> {
    let mut frame = vec![0, 0, 0, 0, KIND_CONTROL];
    serde_json::to_writer(&mut frame, message).map_err(|error| Error::Control(error.to_string()))?;
    finish(frame)
}

/// The frame of a piece of output, length included. `bytes` are at most [`MAX_OUTPUT`].
pub fn encode_output(key: &Key, offset: u64, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let key = key.as_str().as_bytes();
    let mut frame = Vec::with_capacity(4 + 1 + 1 + key.len() + 8 + bytes.len());
    frame.extend([0, 0, 0, 0, KIND_OUTPUT]);
    frame.push(u8::try_from(key.len()).expect("a key has at most MAX_KEY bytes"));
    frame.extend(key);
    frame.extend(offset.to_le_bytes());
    frame.extend(bytes);
    finish(frame)
}

/// The frame of something typed, length included.
pub fn encode_input(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut frame = Vec::with_capacity(4 + 1 + bytes.len());
    frame.extend([0, 0, 0, 0, KIND_INPUT]);
    frame.extend(bytes);
    finish(frame)
}

fn finish(mut frame: Vec<u8>) -> Result<Vec<u8>, Error> {
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(Error::TooLong(length as u64));
    }
    let length = u32::try_from(length).expect("MAX_FRAME fits in a u32");
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

#[cfg(test)]
mod tests;
