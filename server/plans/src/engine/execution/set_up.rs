//! The execution of a set-up, and the look of every other run at whether one comes first.

use tokio::time::timeout;

use super::{Beginning, Execution, Report, TOO_SLOW, in_words, stopped};
use crate::devcontainer::{Devcontainer, script};
use crate::ports::Frozen;
use crate::run::{Run, Transition};
use crate::secrets::Granted;
use crate::skill::Command;
use crate::trigger::{TriggerKey, content_hash};

impl Execution {
    /// Whether the run cannot begin now: its sandbox is to be set up first, or there is none to be had. All that is left to do was done.
    pub(super) async fn waits(&mut self, run: &Run) -> bool {
        let prepared = {
            let preparing = self.shared.sandboxes.prepare(&self.room, self.progress.clone());
            tokio::select! {
                prepared = timeout(self.shared.config.sandbox_patience, preparing) => prepared,
                // It has not started, so it stays queued for the next start of the server.
                () = stopped(&mut self.control) => return true,
            }
        };
        let sentence = match prepared {
            Ok(Ok(Some(made))) if self.set_up.as_ref() != Some(&made.sandbox) => {
                self.report(Report::SetUpFirst(made)).await;
                return true;
            }
            Ok(Ok(_)) => return false,
            Ok(Err(error)) => in_words(&error),
            Err(_) => TOO_SLOW.to_owned(),
        };
        self.end(run, Transition::Fail(sentence)).await;
        true
    }

    /// Executes a queued set-up.
    pub(super) async fn start_set_up(mut self, run: Run) {
        let made = self.shared.sandboxes.made(&self.room).borrow().clone();
        let Some(made) = made.filter(|made| run.trigger_key == TriggerKey::Sandbox(made.sandbox.clone())) else {
            let reason = "Its sandbox is gone; the next one is set up anew.".to_owned();
            return self.end(&run, Transition::Supersede(reason)).await;
        };
        // It begins with the files as they are. Nothing is held still: a set-up may take long, and nobody asks what text it was of.
        let files = match self.shared.sandboxes.freeze(&self.room).await {
            Ok(Frozen { files, guard: _ }) => files,
            Err(error) => return self.end(&run, Transition::Fail(in_words(&error))).await,
        };
        if self.is_called_off(&run).await {
            return;
        }
        // No secret is given to what anybody may write into a file; those that are known are masked nevertheless.
        let granted = self.shared.secrets.for_step(&self.room, &[], &run.skill).await;
        let Granted { secrets, known } = match granted {
            Ok(granted) => granted,
            Err(sentence) => return self.end(&run, Transition::Fail(sentence)).await,
        };
        self.known = known;
        let content_hash = content_hash(files.iter().map(|(path, hash)| (path.as_str(), *hash)));
        let beginning = Beginning {
            trigger_key: run.trigger_key.clone(),
            content_hash,
            command: command(&made.devcontainer),
            secrets,
            guard: None,
        };
        self.begin(run, beginning).await;
    }
}

/// What is run, and what people read of it: the keys.
fn command(devcontainer: &Devcontainer) -> Command {
    let keys: Vec<&str> = devcontainer.setup.iter().map(|stage| stage.key.as_str()).collect();
    Command {
        argv: ["sh".to_owned(), "-c".to_owned(), script(&devcontainer.setup)].to_vec(),
        label: format!("{} of {}", keys.join(", "), devcontainer.path),
    }
}
