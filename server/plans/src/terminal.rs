//! Who may do what in one terminal, as a pure state machine: inputs and `now` in, what follows out.
//!
//! It knows who looks on, who holds the keyboard and who asks for it, whose size counts, and how far each viewer's page has
//! shown what was printed. It does not see a single byte of that: [`filter`] and [`display`] do, and `terminals` brings them
//! together.

pub mod display;
pub mod filter;

use std::fmt;
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::{Authority, Capability, Principal};

use crate::ports::{Size, Start};

/// How long the keyboard is kept for somebody whose connection is gone: a reload, a short break of the network.
pub const KEPT_FOR: Duration = Duration::from_secs(15);

/// Bytes that may be on the way to the viewer who sets the pace.
pub const WINDOW: u64 = 256 << 10;

/// A page that shows nothing for so long although there is something does not set the pace any more.
const STALLED: Duration = Duration::from_secs(2);

/// Bytes a second while nobody sets the pace.
const FREE_RATE: u64 = 2_500_000;

/// How far ahead of [`FREE_RATE`] the programs may be.
const FREE_AHEAD: Duration = Duration::from_millis(100);

/// Bounds of a size: below, programs misbehave; above, a picture of the screen would be large.
const ROWS: (u16, u16) = (2, 300);
const COLS: (u16, u16) = (10, 600);

/// One connection that looks on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ViewerId(pub u64);

impl fmt::Display for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl ViewerId {
    /// The id that was written like this.
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix('v')?.parse().ok().map(Self)
    }
}

/// How a terminal is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    Starting(Start),
    Running,
    /// Why, as a sentence.
    Ended(String),
}

/// What happens in a terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// `shown`: the offset from which on the viewer is sent what is printed.
    Joined {
        viewer: ViewerId,
        who: Authority,
        shown: u64,
    },
    Left(ViewerId),
    /// The viewer's page has so much room.
    Room {
        viewer: ViewerId,
        size: Size,
    },
    /// The viewer's page has shown what was printed up to here.
    Shown {
        viewer: ViewerId,
        offset: u64,
    },
    /// Wants the keyboard: gets it if it is free, else stands in line.
    Ask(ViewerId),
    /// Does not want it any more.
    Withdraw(ViewerId),
    /// Who holds the keyboard gives it away.
    Give {
        from: ViewerId,
        to: ViewerId,
    },
    /// Who holds the keyboard refuses it to one who asked.
    Decline {
        from: ViewerId,
        to: ViewerId,
    },
    /// A host takes it, whoever holds it.
    Take(ViewerId),
    /// So many bytes were printed.
    Printed(u64),
    Became(State),
    /// What was typed was too much: so many bytes of this viewer's are lost.
    Cut {
        viewer: ViewerId,
        bytes: u64,
    },
    /// [`Terminal::deadline`] has come.
    Elapsed,
}

/// What follows from an input.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Effects {
    /// The terminal has another size.
    pub resize: Option<Size>,
    /// What people see of it is different.
    pub changed: bool,
}

/// Who may type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keyboard {
    Free,
    Held(ViewerId),
    /// For whoever it is to come back.
    Kept {
        for_whom: Principal,
        until: Instant,
    },
}

/// One who looks on.
#[derive(Clone, Debug)]
pub struct Viewer {
    pub id: ViewerId,
    pub who: Authority,
    /// Bytes that were typed and could not be taken.
    pub cut: u64,
    size: Option<Size>,
    shown: u64,
    /// When it last showed more, or there was nothing more.
    progress: Instant,
}

impl Viewer {
    pub fn may_type(&self) -> bool {
        self.who.role.permits(Capability::Terminal)
    }

    pub fn may_take(&self) -> bool {
        self.who.role.permits(Capability::Manage)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Terminal {
    state: State,
    keyboard: Keyboard,
    /// Who asked for the keyboard, first come first.
    asking: Vec<ViewerId>,
    viewers: Vec<Viewer>,
    size: Size,
    /// Bytes printed so far.
    end: u64,
    /// Up to when what was printed while nobody set the pace is paid for.
    paid_until: Instant,
}

impl Terminal {
    /// A terminal that `opener` has asked for just now. The keyboard waits for them.
    pub fn new(now: Instant, opener: Principal, size: Size) -> Self {
        Self {
            state: State::Starting(Start::default()),
            keyboard: Keyboard::Kept { for_whom: opener, until: now + KEPT_FOR },
            asking: Vec::new(),
            viewers: Vec::new(),
            size: bounded(size),
            end: 0,
            paid_until: now,
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn keyboard(&self) -> &Keyboard {
        &self.keyboard
    }

    pub fn asking(&self) -> &[ViewerId] {
        &self.asking
    }

    pub fn viewers(&self) -> &[Viewer] {
        &self.viewers
    }

    pub fn size(&self) -> Size {
        self.size
    }

    /// Who holds the keyboard, or who it is kept for.
    pub fn holder(&self) -> Option<&Principal> {
        match &self.keyboard {
            Keyboard::Free => None,
            Keyboard::Held(viewer) => self.viewer(*viewer).map(|viewer| &viewer.who.principal),
            Keyboard::Kept { for_whom, .. } => Some(for_whom),
        }
    }

    /// May what this viewer types reach the programs?
    ///
    /// **Invariant:** for at most one viewer at a time.
    pub fn may_type(&self, viewer: ViewerId) -> bool {
        self.state == State::Running && self.keyboard == Keyboard::Held(viewer)
    }

    pub fn handle(&mut self, now: Instant, input: Input) -> Effects {
        let mut effects = Effects { changed: true, resize: None };
        match input {
            Input::Joined { viewer, who, shown } => self.join(now, viewer, who, shown),
            Input::Left(viewer) => self.leave(now, viewer),
            Input::Room { viewer, size } => {
                effects.changed = false;
                if let Some(viewer) = self.viewer_mut(viewer) {
                    viewer.size = Some(bounded(size));
                }
            }
            Input::Shown { viewer, offset } => {
                effects.changed = false;
                let end = self.end;
                if let Some(viewer) = self.viewer_mut(viewer)
                    && offset > viewer.shown
                {
                    viewer.shown = offset.min(end);
                    viewer.progress = now;
                }
            }
            Input::Printed(bytes) => {
                effects.changed = false;
                self.print(now, bytes);
            }
            Input::Ask(viewer) => self.ask(viewer),
            Input::Withdraw(viewer) => self.asking.retain(|asking| *asking != viewer),
            Input::Give { from, to } if self.keyboard == Keyboard::Held(from) => self.hand_to(to),
            Input::Decline { from, to } if self.keyboard == Keyboard::Held(from) => {
                self.asking.retain(|asking| *asking != to);
            }
            // Somebody who holds it no longer.
            Input::Give { .. } | Input::Decline { .. } => effects.changed = false,
            Input::Take(viewer) => {
                if self.viewer(viewer).is_some_and(Viewer::may_take) {
                    self.hand_to(viewer);
                }
            }
            Input::Became(state) => self.state = state,
            Input::Cut { viewer, bytes } => {
                if let Some(viewer) = self.viewer_mut(viewer) {
                    viewer.cut += bytes;
                }
            }
            Input::Elapsed => effects.changed = self.expire(now),
        }
        if let Keyboard::Held(holder) = self.keyboard
            && let Some(size) = self.viewer(holder).and_then(|holder| holder.size)
            && size != self.size
        {
            self.size = size;
            effects = Effects { resize: Some(size), changed: true };
        }
        effects
    }

    /// When [`Input::Elapsed`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.keyboard {
            Keyboard::Kept { until, .. } => Some(*until),
            Keyboard::Free | Keyboard::Held(_) => None,
        }
    }

    /// May more of what is printed be read now? `Err`: not before then, unless a viewer shows more.
    pub fn may_read(&self, now: Instant) -> Result<(), Instant> {
        let moving = |viewer: &&Viewer| viewer.shown >= self.end || now < viewer.progress + STALLED;
        let held = match self.keyboard {
            Keyboard::Held(holder) => self.viewer(holder).filter(moving),
            Keyboard::Free | Keyboard::Kept { .. } => None,
        };
        let leader = held.or_else(|| self.viewers.iter().filter(moving).max_by_key(|viewer| viewer.shown));
        match leader {
            Some(leader) if self.end - leader.shown < WINDOW => Ok(()),
            Some(leader) => Err(leader.progress + STALLED),
            None if self.paid_until <= now + FREE_AHEAD => Ok(()),
            None => Err(self.paid_until - FREE_AHEAD),
        }
    }

    fn viewer(&self, id: ViewerId) -> Option<&Viewer> {
        self.viewers.iter().find(|viewer| viewer.id == id)
    }

    fn viewer_mut(&mut self, id: ViewerId) -> Option<&mut Viewer> {
        self.viewers.iter_mut().find(|viewer| viewer.id == id)
    }

    fn join(&mut self, now: Instant, id: ViewerId, who: Authority, shown: u64) {
        let person = who.principal.id.clone();
        let shown = shown.min(self.end);
        let viewer = Viewer { id, who, cut: 0, size: None, shown, progress: now };
        let may_type = viewer.may_type();
        self.viewers.push(viewer);
        if may_type && self.is_kept_for(&person) {
            self.hand_to(id);
        }
    }

    fn leave(&mut self, now: Instant, id: ViewerId) {
        self.asking.retain(|asking| *asking != id);
        let Some(at) = self.viewers.iter().position(|viewer| viewer.id == id) else { return };
        let gone = self.viewers.remove(at);
        if self.keyboard == Keyboard::Held(id) {
            self.keyboard = Keyboard::Kept { for_whom: gone.who.principal, until: now + KEPT_FOR };
        }
    }

    fn print(&mut self, now: Instant, bytes: u64) {
        for viewer in &mut self.viewers {
            if viewer.shown >= self.end {
                viewer.progress = now;
            }
        }
        self.end += bytes;
        let cost = Duration::from_nanos(bytes.saturating_mul(1_000_000_000 / FREE_RATE));
        self.paid_until = self.paid_until.max(now) + cost;
    }

    fn is_kept_for(&self, person: &PrincipalId) -> bool {
        matches!(&self.keyboard, Keyboard::Kept { for_whom, .. } if for_whom.id == *person)
    }

    fn ask(&mut self, id: ViewerId) {
        let Some(viewer) = self.viewer(id).filter(|viewer| viewer.may_type()) else { return };
        let own = self.keyboard == Keyboard::Free || self.is_kept_for(&viewer.who.principal.id);
        if own {
            self.hand_to(id);
        } else if self.keyboard != Keyboard::Held(id) && !self.asking.contains(&id) {
            self.asking.push(id);
        }
    }

    fn hand_to(&mut self, id: ViewerId) {
        if self.viewer(id).is_some_and(Viewer::may_type) {
            self.keyboard = Keyboard::Held(id);
            self.asking.retain(|asking| *asking != id);
        }
    }

    /// Whoever the keyboard was kept for did not come back. True if that is so.
    fn expire(&mut self, now: Instant) -> bool {
        let due = matches!(self.keyboard, Keyboard::Kept { until, .. } if until <= now);
        if due {
            self.keyboard = Keyboard::Free;
            if let Some(first) = self.asking.first().copied() {
                self.hand_to(first);
            }
        }
        due
    }
}

fn bounded(size: Size) -> Size {
    Size { rows: size.rows.clamp(ROWS.0, ROWS.1), cols: size.cols.clamp(COLS.0, COLS.1) }
}

#[cfg(test)]
mod tests;
