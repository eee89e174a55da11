//! What people see of a room's runs: the wanted contents of the projected `runs` document.
//!
//! Level-triggered: values are set here as they come, the newest wins, and [`Projection::write`] writes what has not
//! been written. What failed to be written stays wanted.

use std::collections::{BTreeMap, VecDeque};

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::RunId;
use buildspaces_rooms::RunsMap;
use serde::Serialize;
use serde_json::Value;
use tracing::Instrument as _;

use crate::ports::{Availability, Done, Made, RoomView, Start};
use crate::run::Run;
use crate::terminals::Summary;

/// Runs that the document holds. Older ones are removed from it; REST still lists them.
pub(super) const SHOWN_RUNS: usize = 50;

/// How runs stand in this room, in the document's `sandbox` map.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct SandboxState {
    state: &'static str,
    message: Option<String>,
    hint: Option<String>,
    /// While somebody waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<ShownStart>,
}

/// How far it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct ShownStart {
    since: UnixMillis,
    /// Texts of the workspace.
    files: usize,
    done: Vec<Done>,
}

impl SandboxState {
    /// Of a room with so many text files.
    pub(super) fn new(availability: &Availability, start: Start, files: usize) -> Self {
        match availability {
            Availability::Ready => {
                let Start { phase, since, done } = start;
                let start = phase.is_waited_for().then_some(ShownStart { since, files, done });
                Self { state: phase.as_str(), message: None, hint: None, start }
            }
            Availability::Off { message, hint } => {
                Self { state: "off", message: Some(message.clone()), hint: Some(hint.clone()), start: None }
            }
        }
    }
}

/// Keys to set or to remove.
type Entries = BTreeMap<String, Option<Value>>;

/// What the document should hold and does not hold yet.
#[derive(Default, Debug)]
pub(super) struct Projection {
    /// Newest first; true when the run has ended.
    shown: VecDeque<(RunId, bool)>,
    runs: Entries,
    logs: Entries,
    sandbox: Entries,
}

impl Projection {
    /// From the room's newest stored runs, newest first. Give some more than [`SHOWN_RUNS`]: the rest is removed, in
    /// case a crash came between the insertion of a run and the removal of the oldest.
    pub(super) fn of(stored: &[Run]) -> Self {
        let mut projection = Self::default();
        for run in stored.iter().rev() {
            projection.run(run);
        }
        projection
    }

    pub(super) fn run(&mut self, run: &Run) {
        let ended = run.state.is_final();
        match self.shown.iter_mut().find(|(id, _)| *id == run.id) {
            Some(shown) => shown.1 = ended,
            None => self.shown.push_front((run.id.clone(), ended)),
        }
        let summary = serde_json::to_value(run.summary()).expect("a summary has only string keys");
        self.runs.insert(run.id.to_string(), Some(summary));
        while self.shown.len() > SHOWN_RUNS {
            let Some(oldest) = self.shown.iter().rposition(|(_, ended)| *ended) else { break };
            if let Some((id, _)) = self.shown.remove(oldest) {
                self.runs.insert(id.to_string(), None);
                self.logs.insert(id.to_string(), None);
            }
        }
    }

    /// The last lines of a run's output.
    pub(super) fn tail(&mut self, run: &RunId, text: String) {
        if self.shown.iter().any(|(id, _)| id == run) {
            self.logs.insert(run.to_string(), Some(Value::String(text)));
        }
    }

    pub(super) fn sandbox(&mut self, state: &SandboxState) {
        let state = serde_json::to_value(state).expect("a struct of strings is a JSON value");
        self.sandbox.insert("state".to_owned(), Some(state));
    }

    /// The room's terminals, in the same map as the sandbox's state.
    pub(super) fn terminals(&mut self, list: &[Summary]) {
        let list = serde_json::to_value(list).expect("a list of summaries is a JSON value");
        self.sandbox.insert("terminals".to_owned(), Some(list));
    }

    /// The ports on which programs in the sandbox listen, there too. Objects, because there will be more to say of one.
    pub(super) fn ports(&mut self, ports: &[u16]) {
        let list = ports.iter().map(|port| serde_json::json!({ "port": port })).collect();
        self.sandbox.insert("ports".to_owned(), Some(Value::Array(list)));
    }

    /// By what the sandbox was made, there too: what people see of a `devcontainer.json`.
    pub(super) fn devcontainer(&mut self, made: Option<&Made>) {
        let shown = made.map_or(Value::Null, |Made { devcontainer, .. }| {
            serde_json::json!({
                "path": devcontainer.path,
                "image": devcontainer.image,
                "setup": devcontainer.setup.iter().map(|stage| stage.key.as_str()).collect::<Vec<_>>(),
                "ports": devcontainer.ports,
                "notices": devcontainer.notices,
            })
        });
        self.sandbox.insert("devcontainer".to_owned(), Some(shown));
    }

    pub(super) fn is_written(&self) -> bool {
        self.runs.is_empty() && self.logs.is_empty() && self.sandbox.is_empty()
    }

    /// Writes what is wanted. After an error everything that may not be there is still wanted.
    pub(super) async fn write(&mut self, room: &dyn RoomView) -> Result<(), buildspaces_rooms::Error> {
        // Output first, so that whoever sees a run end sees how.
        let maps =
            [(RunsMap::Logs, &mut self.logs), (RunsMap::Runs, &mut self.runs), (RunsMap::Sandbox, &mut self.sandbox)];
        for (map, entries) in maps {
            if !entries.is_empty() {
                let step = tracing::trace_span!(target: "keystroke", "RunsMap");
                let wanted = entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                room.project_runs(map, wanted).instrument(step).await?;
                entries.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::ports::Phase;

    #[test]
    fn the_shown_form_of_a_sandbox() {
        let off = Availability::Off { message: "No Docker engine.".to_owned(), hint: "Type make engine.".to_owned() };
        expect![[r#"{"state":"off","message":"No Docker engine.","hint":"Type make engine."}"#]]
            .assert_eq(&serde_json::to_string(&SandboxState::new(&off, Start::default(), 1)).expect("serializable"));
        let ready = Start { phase: Phase::Ready, ..Start::default() };
        expect![[r#"{"state":"ready","message":null,"hint":null}"#]].assert_eq(
            &serde_json::to_string(&SandboxState::new(&Availability::Ready, ready, 1)).expect("serializable"),
        );
        let done = vec![Done { phase: Phase::Files, took: 40 }];
        let start = Start { phase: Phase::CreatingContainer, since: 1000, done };
        expect![[r#"{"state":"creating_container","message":null,"hint":null,"start":{"since":1000,"files":812,"done":[{"phase":"files","took":40}]}}"#]]
            .assert_eq(&serde_json::to_string(&SandboxState::new(&Availability::Ready, start, 812)).expect("serializable"));
    }
}
