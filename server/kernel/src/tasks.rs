//! Supervised background tasks: each has a name, ends with the process in an orderly way, and
//! never dies in silence.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts tasks and waits for them at shutdown. Clones share one set.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `task`. A panic inside ends this task only and is logged with `name`.
    ///
    /// The task is not cancelled by force: it watches [`Tasks::cancelled`] and drains.
    #[track_caller]
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        // Boxed before it moves into the task, which would keep room for it beside the box.
        let task = CatchUnwind(Box::pin(task));
        self.tracker.spawn(async move {
            if let Err(message) = task.await {
                tracing::error!(task = name, panic = message, "background task panicked");
            }
        });
    }

    /// Does what must not end half-way: to its end, in a task of its own, also when whoever asked has gone. `None` if it panicked.
    pub async fn to_the_end<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (reply, result) = oneshot::channel();
        self.spawn(name, async move {
            // An error means that nobody waits any more.
            let _ = reply.send(work.await);
        });
        result.await.ok()
    }

    /// Completes when the process begins to stop. Cancel-safe.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Tells every task to end and waits for them, at most `grace`. Returns how many were left.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        self.cancel.cancel();
        self.tracker.close();
        let _ = tokio::time::timeout(grace, self.tracker.wait()).await;
        self.tracker.len()
    }
}

/// Does what may keep the processor for milliseconds. If it `is_long`, the tasks that wait for this thread go on meanwhile on another; that
/// costs a wake-up, so short work is done in place.
pub fn lengthy<T>(is_long: bool, work: impl FnOnce() -> T) -> T {
    if is_long && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// Turns a panic of the inner future into `Err(message)`.
struct CatchUnwind(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Future for CatchUnwind {
    type Output = Result<(), String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = self.0.as_mut();
        match std::panic::catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => {
                let message = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                    .unwrap_or_else(|| "panic without a message".to_owned());
                Poll::Ready(Err(message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_task_leaves_the_others_running() {
        let tasks = Tasks::new();
        let (sender, receiver) = oneshot::channel();
        tasks.spawn("bad", async { panic!("on purpose") });
        tasks.spawn("good", async move {
            let _ = sender.send(1);
        });
        assert_eq!(receiver.await, Ok(1));
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
    }
}
