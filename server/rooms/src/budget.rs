//! Memory of open documents, and who leaves when it becomes too much.
//!
//! A document stays loaded for a while after its last use. When all open documents together exceed the budget, those that nobody uses
//! are asked to leave at once, the longest unused first. A used one is never asked: what the budget cannot do is to send
//! people away. [`crate::Rooms`] keeps the list; the document's actor counts ([`Share`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Notify, Semaphore};

use crate::copies::Copies;
use crate::meters;

/// What a document takes besides its contents: its task, queues and maps.
const BASE: usize = 8 << 10;

/// What a byte of updates takes in memory, about: a CRDT keeps every item with its neighbours. Ten is a text typed here and there;
/// one that was written in one go takes four.
const FACTOR: usize = 10;

/// Memory from which on a document counts as large: some 400 KB of updates, which take about 4 ms to encode.
const LARGE: usize = 4 << 20;

/// Messages of at least so many bytes count among those that wait for one document, of which there may be [`UNREAD`] bytes.
const MUCH: usize = 64 << 10;
const UNREAD: usize = 32 << 20;

/// Bytes of all open documents.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    used: AtomicUsize,
    /// Counts uses; the order is all that matters.
    uses: AtomicU64,
    exceeded: Notify,
    copies: Copies,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let (used, uses) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { max, used, uses, exceeded: Notify::new(), copies: Copies::default() })
    }

    /// Copies of whole documents that somebody reads.
    pub(crate) fn copies(&self) -> &Copies {
        &self.copies
    }

    /// A new document's share.
    pub(crate) fn share(self: &Arc<Self>) -> Arc<Share> {
        let share = Share {
            budget: self.clone(),
            bytes: AtomicUsize::new(0),
            used: AtomicU64::new(0),
            leave: Notify::new(),
            unread: Semaphore::new(UNREAD),
        };
        share.touch();
        share.add(BASE);
        Arc::new(share)
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How much must leave.
    pub(crate) fn excess(&self) -> usize {
        self.used().saturating_sub(self.max)
    }

    /// Completes when the budget is exceeded. Cancel-safe.
    pub(crate) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }
}

/// One open document's part of the budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
    /// Which use was the last, by [`Budget::uses`].
    used: AtomicU64,
    leave: Notify,
    unread: Semaphore,
}

/// The place of a message that waits for a document, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    share: Arc<Share>,
    bytes: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.share.unread.add_permits(self.bytes);
    }
}

impl Share {
    /// Waits until there is a place for a message; a small one needs none.
    pub(crate) async fn place(self: &Arc<Self>, bytes: usize) -> Option<Place> {
        if bytes < MUCH {
            return None;
        }
        let bytes = bytes.min(UNREAD);
        self.unread.acquire_many(bytes as u32).await.expect("it is never closed").forget();
        Some(Place { share: self.clone(), bytes })
    }

    /// The document has grown by so many bytes of updates.
    pub(crate) fn grown(&self, updates: usize) {
        self.add(updates * FACTOR);
    }

    /// All that the document has is this many bytes of updates: some that it grew by were deleted, or are shorter together.
    pub(crate) fn counted(&self, updates: usize) {
        let (before, now) = (self.bytes(), BASE + updates * FACTOR);
        if now < before {
            let less = before - now;
            self.bytes.fetch_sub(less, Ordering::Relaxed);
            self.budget.used.fetch_sub(less, Ordering::Relaxed);
            meters::DOCUMENTS_BYTES.decrement(less as f64);
        }
    }

    /// Somebody used the document.
    pub(crate) fn touch(&self) {
        self.used.store(self.budget.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Completes when the document should leave if it can. Cancel-safe.
    pub(crate) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }

    pub(crate) fn ask_to_leave(&self) {
        self.leave.notify_one();
    }

    pub(crate) fn last_used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of updates that bring all of the document, about.
    pub(crate) fn updates(&self) -> usize {
        self.bytes().saturating_sub(BASE) / FACTOR
    }

    /// See [`Budget::copies`].
    pub(crate) fn copies(&self) -> &Copies {
        self.budget.copies()
    }

    /// True if reading all of the document keeps the processor for milliseconds.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes() >= LARGE
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        meters::DOCUMENTS_BYTES.increment(bytes as f64);
        let used = self.budget.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.budget.max {
            self.budget.exceeded.notify_one();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        meters::DOCUMENTS_BYTES.decrement(self.bytes() as f64);
        self.budget.used.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_uses_are_ordered() {
        let budget = Budget::new(3 * BASE);
        let (a, b) = (budget.share(), budget.share());
        assert!(a.last_used() < b.last_used());
        a.touch();
        assert!(a.last_used() > b.last_used());
        assert_eq!(budget.excess(), 0);
        b.grown(BASE);
        assert_eq!(budget.excess(), (FACTOR - 1) * BASE);
        b.counted(0);
        assert_eq!((budget.used(), budget.excess()), (2 * BASE, 0));
        drop(b);
        assert_eq!((budget.used(), budget.excess()), (BASE, 0));
        drop(a);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn large_messages_wait_for_each_other_and_small_ones_do_not() {
        let share = Budget::new(1).share();
        let first = share.place(2 * UNREAD).await;
        assert!(first.is_some() && share.place(MUCH - 1).await.is_none());
        let mut second = Box::pin(share.place(MUCH));
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut second).await.is_err());
        drop(first);
        assert!(second.await.is_some());
        assert_eq!(share.unread.available_permits(), UNREAD);
    }
}
