//! A sandbox's start, as people see it who wait for it: which phase it is in, and how long those before it took.

use std::sync::{Arc, Mutex};

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::clock::unix_millis;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

/// Phases of a sandbox's start, in their order; not every start has all of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No container; the next run starts one.
    #[default]
    Idle,
    /// The workspace is made to hold what the documents hold.
    Files,
    /// The engine fetches the image that the room asks for.
    PullingImage,
    /// The engine makes a container, or one that waited is given the files.
    CreatingContainer,
    /// The container runs; its agent has not dialled yet.
    Connecting,
    Ready,
    /// What the room's `devcontainer.json` wants done first is being done.
    SettingUp,
}

impl Phase {
    /// The same as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Files => "files",
            Self::PullingImage => "pulling_image",
            Self::CreatingContainer => "creating_container",
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::SettingUp => "setting_up",
        }
    }

    /// Whether somebody waits for its end.
    pub fn is_waited_for(self) -> bool {
        !matches!(self, Self::Idle | Self::Ready)
    }

    /// A start begins with one of these.
    fn begins(self) -> bool {
        matches!(self, Self::Files | Self::CreatingContainer)
    }
}

/// Where a start is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Start {
    pub phase: Phase,
    /// When the phase began.
    pub since: UnixMillis,
    /// Phases behind it, each once.
    pub done: Vec<Done>,
}

/// A phase that is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Done {
    pub phase: Phase,
    /// Milliseconds.
    pub took: u64,
}

/// Where whoever starts a sandbox tells how far it is. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    start: watch::Sender<Start>,
    /// When the present phase began, by a clock that only goes on.
    entered: Mutex<Option<Instant>>,
}

impl Progress {
    /// From now on.
    pub fn watch(&self) -> watch::Receiver<Start> {
        self.0.start.subscribe()
    }

    /// As it is now.
    pub fn now(&self) -> Start {
        self.0.start.borrow().clone()
    }

    /// It is in `phase` now. To enter the phase it is in changes nothing.
    pub fn enter(&self, phase: Phase) {
        self.0.start.send_if_modified(|start| {
            if start.phase == phase {
                return false;
            }
            let entered = self.0.entered.lock().expect("it is only read and written").replace(Instant::now());
            if start.phase.is_waited_for() {
                let took = entered.map(|entered| entered.elapsed()).unwrap_or_default();
                let name = start.phase.as_str();
                metrics::histogram!("buildspaces_sandbox_phase_seconds", "phase" => name).record(took);
                let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                match start.done.iter_mut().find(|done| done.phase == start.phase) {
                    Some(done) => done.took = done.took.saturating_add(took),
                    None => start.done.push(Done { phase: start.phase, took }),
                }
            } else if phase.begins() {
                start.done.clear();
            }
            (start.phase, start.since) = (phase, unix_millis());
            true
        });
    }

    /// Whatever was waited for does not come.
    pub fn give_up(&self) {
        if self.now().phase.is_waited_for() {
            self.enter(Phase::Idle);
        }
    }

    /// It is in `to` if it was in `phase`. What entered another one meanwhile knows better.
    pub fn leave(&self, phase: Phase, to: Phase) {
        if self.0.start.borrow().phase == phase {
            self.enter(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_phase_is_timed_and_a_new_start_begins_anew() {
        let progress = Progress::default();
        let seen = progress.watch();
        let shown = || {
            let Start { phase, done, .. } = seen.borrow().clone();
            let done: Vec<_> = done.iter().map(|done| format!("{} {}", done.phase.as_str(), done.took)).collect();
            (phase.as_str(), done.join(", "))
        };
        assert_eq!(shown(), ("idle", String::new()));
        let later = |ms| tokio::time::advance(Duration::from_millis(ms));
        for (phase, ms, expected) in [
            (Phase::Files, 40, ""),
            (Phase::Files, 2, ""),
            (Phase::CreatingContainer, 500, "files 42"),
            (Phase::Connecting, 60, "files 42, creating_container 500"),
            // It died, and is made anew.
            (Phase::CreatingContainer, 300, "files 42, creating_container 500, connecting 60"),
            (Phase::Connecting, 50, "files 42, creating_container 800, connecting 60"),
            (Phase::Ready, 5000, "files 42, creating_container 800, connecting 110"),
            (Phase::SettingUp, 3000, "files 42, creating_container 800, connecting 110"),
            (Phase::Ready, 1, "files 42, creating_container 800, connecting 110, setting_up 3000"),
            (Phase::Idle, 9, "files 42, creating_container 800, connecting 110, setting_up 3000"),
            (Phase::CreatingContainer, 7, ""),
        ] {
            progress.enter(phase);
            assert_eq!(shown(), (phase.as_str(), expected.to_owned()));
            later(ms).await;
        }
        progress.leave(Phase::Files, Phase::Idle);
        assert_eq!(shown().0, "creating_container");
        progress.leave(Phase::CreatingContainer, Phase::Idle);
        assert_eq!(shown(), ("idle", "creating_container 7".to_owned()));
        progress.enter(Phase::Files);
        progress.give_up();
        progress.enter(Phase::Ready);
        progress.give_up();
        assert_eq!(shown(), ("ready", "files 0".to_owned()));
        assert_eq!(serde_json::to_value(Phase::SettingUp).expect("JSON"), Phase::SettingUp.as_str());
    }
}
