//! What a room's `devcontainer.json` asks of its sandbox, and what of it is granted. Pure.
//!
//! Anybody who may edit the room writes that file, so it is hostile input, and it can ask for less than the operator gives and never for
//! more: of an image the operator lists the name, of limits only the comparison is made, and whatever would reach out of the container
//! (mounts, capabilities, commands on the host) is refused. Nothing is refused in silence: each key that does not do what it says leaves a
//! [`Notice`] that says what happens instead. Nothing here fails either: a file that cannot be read is one notice and the sandbox of every
//! other room.
//!
//! The file's format is that of containers.dev ("Dev Container metadata reference"). Start with [`Devcontainer::read`]; [`keys`] has every
//! key, [`comments`] makes JSON of JSON with comments, [`script`] a program of the commands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod commands;
mod comments;
mod environment;
mod keys;
mod ports;
mod script;
#[cfg(test)]
mod tests;

pub use ports::Port;
pub use script::script;

/// Where the file may be, the first that is there.
pub const PATHS: [&str; 2] = [".devcontainer/devcontainer.json", ".devcontainer.json"];

/// Largest file that is read, in bytes.
pub const MAX_FILE: usize = 64 << 10;

/// More notices than these help nobody; the last one says that there are more.
const MAX_NOTICES: usize = 24;

/// Characters of what the file says that a notice repeats.
const MAX_QUOTED: usize = 80;

/// What the operator gives, to compare with.
#[derive(Clone, PartialEq, Debug)]
pub struct Terms {
    /// The image of sandboxes that ask for none.
    pub image: String,
    /// Others that may be asked for.
    pub images: Vec<String>,
    /// Of the room's sandbox.
    pub cpus: Amount<f64>,
    /// Bytes of memory of the room's sandbox.
    pub memory: Amount<u64>,
    /// Bytes that the workspace may take of the disk.
    pub disk: Amount<u64>,
    /// The number of the user as whom programs run.
    pub user: u32,
}

/// So much of something.
#[derive(Clone, PartialEq, Debug)]
pub struct Amount<T> {
    pub most: T,
    /// The key of the configuration that says so.
    pub key: String,
}

/// What is granted of a file, with what is not.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Devcontainer {
    /// Which of [`PATHS`] it was.
    pub path: String,
    /// One of [`Terms::images`]; `None`: the usual one.
    pub image: Option<String>,
    /// Given to steps and terminals, never to the engine: what runs containers on the host would be given it, too.
    pub env: BTreeMap<String, String>,
    /// What is to run once in a new sandbox, in this order.
    pub setup: Vec<Stage>,
    /// Ports that have a name or that a program is expected to listen on, in ascending order.
    pub ports: Vec<Port>,
    pub notices: Vec<Notice>,
}

/// One of the file's keys with commands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stage {
    pub key: String,
    /// They run beside each other.
    pub commands: Vec<Command>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Command {
    /// What the file calls it, where it has names for several.
    pub name: Option<String>,
    pub line: Line,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// For a shell.
    Shell(String),
    /// A program and its arguments, past any shell. Never empty.
    Argv(Vec<String>),
}

/// A key that does not do what it says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// `None`: it is about the file as a whole.
    pub key: Option<String>,
    /// A sentence: what happens instead, and whom to ask for more.
    pub message: String,
}

impl Devcontainer {
    /// What the file at `path` asks for, as far as `terms` allow it. `bytes` are at most one more than [`MAX_FILE`].
    pub fn read(path: &str, bytes: &[u8], terms: &Terms) -> Self {
        let mut reading = Reading { terms, granted: Self { path: path.to_owned(), ..Self::default() }, left_out: 0 };
        match parse(bytes) {
            Ok(file) => keys::read(&file, &mut reading),
            Err(message) => reading.notice(None, message),
        }
        reading.end()
    }

    /// The same for a file that cannot be read at all; the reason goes on with "cannot be read".
    pub fn unreadable(path: &str, reason: &str) -> Self {
        let message = format!("It cannot be read: {reason}. The sandbox is as if there were none.");
        Self { path: path.to_owned(), notices: vec![Notice { key: None, message }], ..Self::default() }
    }

    /// Something of it was granted and turned out to be impossible.
    pub fn notice(&mut self, key: &str, message: String) {
        self.notices.push(Notice { key: Some(key.to_owned()), message });
    }
}

type Object = serde_json::Map<String, serde_json::Value>;

fn parse(bytes: &[u8]) -> Result<Object, String> {
    const INSTEAD: &str = "The sandbox is as if there were none.";
    if bytes.len() > MAX_FILE {
        return Err(format!("It is larger than {} KiB, the most that is read. {INSTEAD}", MAX_FILE >> 10));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| format!("It is not UTF-8 text. {INSTEAD}"))?;
    // The parser itself ends at 128 levels.
    match serde_json::from_str(&comments::blank(text)) {
        Ok(serde_json::Value::Object(file)) => Ok(file),
        Ok(other) => Err(format!("It must hold an object in braces, not {}. {INSTEAD}", kind(&other))),
        Err(error) => Err(format!("It is not JSON with comments: {error}. {INSTEAD}")),
    }
}

/// A file being read.
struct Reading<'a> {
    terms: &'a Terms,
    granted: Devcontainer,
    /// Notices for which there was no place.
    left_out: usize,
}

impl Reading<'_> {
    fn notice(&mut self, key: Option<&str>, message: impl Into<String>) {
        // One place is for the last one.
        if self.granted.notices.len() + 1 < MAX_NOTICES {
            let key = key.map(shown);
            self.granted.notices.push(Notice { key, message: message.into() });
        } else {
            self.left_out += 1;
        }
    }

    /// The value is of no kind that this key can have.
    fn wrong(&mut self, key: &str, value: &serde_json::Value, expected: &str) {
        self.notice(Some(key), format!("It must be {expected}, not {}. It is passed over.", kind(value)));
    }

    fn end(mut self) -> Devcontainer {
        if self.left_out > 0 {
            let message = format!("There is more of it that is not done ({}).", self.left_out);
            self.granted.notices.push(Notice { key: None, message });
        }
        self.granted
    }
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "true or false",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a text",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "an object",
    }
}

/// What the file says, as a sentence may repeat it: on one line, without what a reader would not see, and short.
fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() || is_invisible(c) { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(MAX_QUOTED).map(plain).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        shown.push('…');
    }
    shown
}

/// Marks that turn the direction of what follows, and blanks of no width.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The text with the variables of the specification that have a value here. `Err` is the first that has none.
fn substituted(text: &str) -> Result<String, String> {
    const WORKSPACE: &str = "/workspace";
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        done += before;
        // Without an end it is the shell's to complain of.
        let Some((name, after)) = after.split_once('}') else {
            done += "${";
            rest = after;
            continue;
        };
        match name {
            "containerWorkspaceFolder" | "localWorkspaceFolder" => done += WORKSPACE,
            "containerWorkspaceFolderBasename" | "localWorkspaceFolderBasename" => done += &WORKSPACE[1..],
            // The server's own environment, which is nobody's in a room; and what only a started container knows.
            name if name.starts_with("localEnv:") || name.starts_with("containerEnv:") || name == "devcontainerId" => {
                return Err(shown(&format!("${{{name}}}")));
            }
            // A shell's.
            name => done += &format!("${{{name}}}"),
        }
        rest = after;
    }
    Ok(done + rest)
}
