//! Images that rooms may ask for and that are not on the engine yet: fetched from where their names say, each once at a time, whoever waits.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::SandboxError;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;

/// How long whoever starts a sandbox waits for its image. It is below what a run waits for its sandbox, so that the reason is this one.
const PATIENCE: Duration = Duration::from_secs(100);

/// How long the engine may take to fetch an image.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// So long nobody tries again what failed: a registry that cannot be reached must not hold up each start.
const KEPT_FAILURE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Pulls(Mutex<HashMap<String, Pull>>);

#[derive(Clone, Debug)]
struct Pull {
    began: Instant,
    /// `None` while it is under way; then when it ended, and why it failed if it did.
    end: watch::Receiver<Option<(Instant, Result<(), String>)>>,
}

/// What there is after waiting for an image.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Pulled {
    Yes,
    /// It cannot be had: a reason.
    No(String),
    /// It is still on its way, for so long.
    NotYet(Duration),
}

impl Pulls {
    /// Waits until `image` is there. `fetch` fetches it in a task of its own, which goes on when nobody waits any more.
    async fn pull<F>(&self, tasks: &Tasks, image: &str, fetch: impl FnOnce() -> F) -> Pulled
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let Pull { began, mut end } = self.join_or_begin(tasks, image, fetch);
        match tokio::time::timeout(PATIENCE, end.wait_for(Option::is_some)).await {
            Err(_) => Pulled::NotYet(began.elapsed()),
            Ok(Err(_)) => Pulled::No("the server is stopping".to_owned()),
            Ok(Ok(end)) => match &*end {
                Some((_, Err(reason))) => Pulled::No(reason.clone()),
                _ => Pulled::Yes,
            },
        }
    }

    fn join_or_begin<F>(&self, tasks: &Tasks, image: &str, fetch: impl FnOnce() -> F) -> Pull
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let mut pulls = self.0.lock().expect("short sections, no panics");
        pulls.retain(|_, pull| match &*pull.end.borrow() {
            None => pull.end.has_changed().is_ok(),
            Some((ended, outcome)) => outcome.is_err() && ended.elapsed() < KEPT_FAILURE,
        });
        if let Some(pull) = pulls.get(image) {
            return pull.clone();
        }
        let (told, end) = watch::channel(None);
        let fetching = fetch();
        let stopping = tasks.clone();
        tasks.spawn("pull an image", async move {
            let fetched = tokio::select! {
                fetched = tokio::time::timeout(LIMIT, fetching) => fetched,
                () = stopping.cancelled() => return,
            };
            let outcome = fetched.unwrap_or_else(|_| Err(format!("it took longer than {} min", LIMIT.as_secs() / 60)));
            told.send_replace(Some((Instant::now(), outcome)));
        });
        let pull = Pull { began: Instant::now(), end };
        pulls.insert(image.to_owned(), pull.clone());
        pull
    }
}

impl Shared {
    /// Has the engine fetch an image that it does not have. Returns why that cannot be, if it cannot.
    ///
    /// # Errors
    /// It is still on its way.
    pub(super) async fn pull(&self, image: &str) -> Result<Option<String>, SandboxError> {
        let fetch = || {
            let (engine, image) = (self.engine.clone(), image.to_owned());
            async move {
                tracing::info!(%image, "pulling an image");
                let pulled = engine.pull(&image, LIMIT).await.map_err(|error| error.to_string());
                match &pulled {
                    Ok(()) => tracing::info!(%image, "an image was pulled"),
                    Err(reason) => tracing::warn!(%image, %reason, "an image could not be pulled"),
                }
                pulled
            }
        };
        match self.pulls.pull(&self.tasks, image, fetch).await {
            Pulled::Yes => Ok(None),
            Pulled::No(reason) => Ok(Some(reason)),
            Pulled::NotYet(since) => Err(SandboxError::Failed(format!(
                "{image} is being pulled, for {} s so far. It goes on; start again in a while.",
                since.as_secs()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_image_is_fetched_once_for_all_who_wait_and_goes_on_when_none_does() {
        let (pulls, tasks, arrives, begun) =
            (Pulls::default(), Tasks::new(), Arc::new(Notify::new()), AtomicU32::new(0));
        let pull = || {
            pulls.pull(&tasks, "team/rust:1", || {
                begun.fetch_add(1, Ordering::Relaxed);
                let arrives = Arc::clone(&arrives);
                async move {
                    arrives.notified().await;
                    Ok(())
                }
            })
        };
        let (one, two) = tokio::join!(pull(), pull());
        assert_eq!((one, two), (Pulled::NotYet(PATIENCE), Pulled::NotYet(PATIENCE)));
        assert!(matches!(pull().await, Pulled::NotYet(since) if since >= 2 * PATIENCE));
        arrives.notify_one();
        assert_eq!(pull().await, Pulled::Yes);
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        arrives.notify_one();
        assert_eq!(pull().await, Pulled::Yes, "it was removed from the engine since");
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_not_tried_again_at_once() {
        let (pulls, tasks, begun) = (Pulls::default(), Tasks::new(), AtomicU32::new(0));
        let pull = || {
            pulls.pull(&tasks, "team/rust:1", || {
                let time = begun.fetch_add(1, Ordering::Relaxed);
                async move { Err(format!("no such host, {time}")) }
            })
        };
        for _ in 0..2 {
            assert_eq!(pull().await, Pulled::No("no such host, 0".to_owned()));
        }
        tokio::time::advance(KEPT_FAILURE).await;
        assert_eq!(pull().await, Pulled::No("no such host, 1".to_owned()));
        let endless = || pulls.pull(&tasks, "other", std::future::pending::<Result<(), String>>);
        assert!(matches!(endless().await, Pulled::NotYet(_)));
        tokio::time::advance(LIMIT).await;
        assert_eq!(endless().await, Pulled::No("it took longer than 30 min".to_owned()));
    }
}
