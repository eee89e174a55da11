//! Terminals in JSON: what REST answers, and the texts of a terminal's WebSocket. See docs/protocols.md for the latter.

use buildspaces_plans::ports::{Done, Phase, Size as PlanSize};
use buildspaces_plans::terminal::{Keyboard, State, ViewerId};
use buildspaces_plans::terminals::{Said, Seen, Summary, View};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to open.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTerminal {
    /// Lines; 24 if left out.
    pub rows: Option<u16>,
    /// Characters in a line; 80 if left out.
    pub cols: Option<u16>,
}

impl From<NewTerminal> for PlanSize {
    fn from(new: NewTerminal) -> Self {
        Self { rows: new.rows.unwrap_or(24), cols: new.cols.unwrap_or(80) }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TerminalState {
    Starting,
    Running,
    Ended,
}

/// A shell in the room's sandbox.
#[derive(Serialize, ToSchema)]
pub(crate) struct Terminal {
    pub id: String,
    /// Counts the terminals that the room had since the server was started, from one.
    pub number: u32,
    pub state: TerminalState,
    /// A sentence: why it ended.
    pub message: Option<String>,
    pub opened_by: String,
    pub opened_by_name: String,
    pub opened_at: i64,
    /// The name of who holds the keyboard.
    pub keyboard: Option<String>,
    /// What it shows is kept, for everybody who may look at terminals.
    pub recorded: bool,
}

impl From<Summary> for Terminal {
    fn from(terminal: Summary) -> Self {
        Self {
            id: terminal.id.to_string(),
            number: terminal.number,
            state: match terminal.state {
                "starting" => TerminalState::Starting,
                "running" => TerminalState::Running,
                _ => TerminalState::Ended,
            },
            message: terminal.message,
            opened_by: terminal.opened_by.to_string(),
            opened_by_name: terminal.opened_by_name.to_string(),
            opened_at: terminal.opened_at,
            keyboard: terminal.keyboard.map(|name| name.to_string()),
            recorded: terminal.recorded,
        }
    }
}

/// A text from a viewer.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromViewer {
    /// The page has room for so much.
    Size {
        rows: u16,
        cols: u16,
    },
    /// What was printed is on screen up to there.
    Shown {
        offset: u64,
    },
    Ask {},
    Withdraw {},
    Give {
        to: String,
    },
    Decline {
        to: String,
    },
    Take {},
}

impl FromViewer {
    /// `None` if it names a viewer that cannot be.
    pub(crate) fn into_said(self) -> Option<Said> {
        Some(match self {
            Self::Size { rows, cols } => Said::Room(PlanSize { rows, cols }),
            Self::Shown { offset } => Said::Shown(offset),
            Self::Ask {} => Said::Ask,
            Self::Withdraw {} => Said::Withdraw,
            Self::Give { to } => Said::Give(ViewerId::parse(&to)?),
            Self::Decline { to } => Said::Decline(ViewerId::parse(&to)?),
            Self::Take {} => Said::Take,
        })
    }
}

/// A text to a viewer.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToViewer<'a> {
    /// What follows continues at this offset, which the viewer asked for.
    Continue {
        offset: u64,
    },
    /// Forget what was shown. The next `bytes` bytes are a picture of the terminal; what follows them begins at `offset`.
    Reset {
        offset: u64,
        bytes: usize,
    },
    State(Box<Status<'a>>),
}

/// Everything about a terminal but what it shows.
#[derive(Serialize)]
pub(crate) struct Status<'a> {
    /// The viewer this is sent to.
    you: String,
    state: &'static str,
    /// While it starts: what the sandbox is doing.
    phase: Option<Phase>,
    /// Since when, in Unix milliseconds.
    since: Option<i64>,
    /// Phases before it, and how long they took.
    done: &'a [Done],
    /// Why it ended.
    message: Option<&'a str>,
    rows: u16,
    cols: u16,
    keyboard: Option<Holder<'a>>,
    asking: Vec<Looking<'a>>,
    viewers: Vec<Looking<'a>>,
    /// What it shows is kept.
    recorded: bool,
    /// You may hold the keyboard.
    may_type: bool,
    /// You may take it from whoever holds it.
    may_take: bool,
    /// Bytes of what you typed that were lost, because the program reads nothing.
    cut: u64,
}

#[derive(Serialize)]
struct Holder<'a> {
    /// `None`: it is kept for them for a moment.
    viewer: Option<String>,
    person: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct Looking<'a> {
    viewer: String,
    person: &'a str,
    name: &'a str,
}

impl<'a> Looking<'a> {
    fn new(seen: &'a Seen) -> Self {
        Self { viewer: seen.id.to_string(), person: seen.principal.id.as_str(), name: &seen.principal.name }
    }
}

impl<'a> Status<'a> {
    pub(crate) fn new(you: ViewerId, view: &'a View) -> Self {
        let seen = |id: ViewerId| view.viewers.iter().find(|seen| seen.id == id);
        let own = seen(you);
        let (state, start, message) = match &view.state {
            State::Starting(start) => ("starting", Some(start), None),
            State::Running => ("running", None, None),
            State::Ended(message) => ("ended", None, Some(message.as_str())),
        };
        let keyboard = match &view.keyboard {
            Keyboard::Free => None,
            Keyboard::Held(holder) => seen(*holder).map(|seen| Holder {
                viewer: Some(seen.id.to_string()),
                person: seen.principal.id.as_str(),
                name: &seen.principal.name,
            }),
            Keyboard::Kept { for_whom, .. } => {
                Some(Holder { viewer: None, person: for_whom.id.as_str(), name: &for_whom.name })
            }
        };
        Self {
            you: you.to_string(),
            state,
            phase: start.map(|start| start.phase),
            since: start.map(|start| start.since),
            done: start.map_or(&[], |start| &start.done),
            message,
            rows: view.size.rows,
            cols: view.size.cols,
            keyboard,
            asking: view.asking.iter().filter_map(|id| seen(*id)).map(Looking::new).collect(),
            viewers: view.viewers.iter().map(Looking::new).collect(),
            recorded: view.recorded,
            may_type: own.is_some_and(|seen| seen.may_type),
            may_take: own.is_some_and(|seen| seen.may_take),
            cut: own.map_or(0, |seen| seen.cut),
        }
    }
}
