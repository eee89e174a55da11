//! Watches whether steps can run, so that starting or stopping Docker needs no restart of the server.

use std::sync::Arc;
use std::time::Duration;

use buildspaces_plans::ports::Availability;

use super::{Shared, leftovers};

/// How often to look while runs are on: a failed step makes it look at once anyway.
const EVERY_WHILE_READY: Duration = Duration::from_secs(5);

/// How often to look while runs are off: somebody may have just started Docker and be waiting.
const EVERY_WHILE_OFF: Duration = Duration::from_secs(2);

pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let ready = *shared.availability.borrow() == Availability::Ready;
        let every = if ready { EVERY_WHILE_READY } else { EVERY_WHILE_OFF };
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shared.recheck.notified() => {}
            () = shared.tasks.cancelled() => return,
        }
        let now = shared.engine.availability(&shared.config.image, &shared.config.agent_binary).await;
        if now == Availability::Ready && !ready {
            // Before anybody can start a new one: containers that died with the engine still have their names.
            leftovers::sweep(&shared).await;
        }
        shared.availability.send_if_modified(|before| {
            if *before == now {
                return false;
            }
            match &now {
                Availability::Ready => tracing::info!("runs are on"),
                Availability::Off { message, hint } => tracing::warn!(%message, %hint, "runs are off"),
            }
            *before = now;
            true
        });
    }
}
