//! One step's output on its way to the store and to people's eyes. What of it is a secret goes no further than here.
//!
//! It gathers; when to store and to show is the execution's matter.

use std::time::Duration;

use buildspaces_kernel::ids::RunId;

use super::Shared;
use crate::log::Tail;
use crate::redact::Redactor;
use crate::run::Run;

/// Output is stored and shown at most this often.
pub(super) const OUTPUT_EVERY: Duration = Duration::from_millis(250);
/// Output that is gathered before it is stored early, in bytes.
const OUTPUT_BATCH: usize = 64 << 10;
/// Output that waits for a store that fails, in bytes. What is over is lost from the log, and only from there.
const OUTPUT_WAITING: usize = 1 << 20;

/// A step's output on its way to the store and to people.
pub(super) struct Output {
    run: RunId,
    redactor: Redactor,
    waiting: Vec<u8>,
    tail: Tail,
    /// There is something that people have not been shown.
    pub(super) is_new: bool,
}

impl Output {
    /// Output that follows a stored `log`.
    pub(super) fn continued(run: &Run, log: &[u8], redactor: Redactor) -> Self {
        let mut tail = Tail::default();
        tail.push(log);
        Self { run: run.id.clone(), redactor, waiting: Vec::new(), tail, is_new: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let mut shown = Vec::with_capacity(bytes.len());
        self.redactor.push(bytes, &mut shown);
        self.add(&shown);
    }

    /// So many bytes were dropped on the way.
    pub(super) fn gap(&mut self, bytes: u64) {
        let mut shown = Vec::new();
        let missing = self.redactor.gap(bytes, &mut shown);
        if missing > 0 {
            shown.extend_from_slice(format!("\n[{missing} bytes of output were too many to keep]\n").as_bytes());
        }
        self.add(&shown);
    }

    /// Nothing more comes. Unless it ended by itself, what was held back may be the first half of a secret.
    pub(super) fn end(&mut self, by_itself: bool) {
        let mut shown = Vec::new();
        if by_itself {
            self.redactor.finish(&mut shown);
        } else {
            self.redactor.cut(&mut shown);
        }
        self.add(&shown);
    }

    fn add(&mut self, shown: &[u8]) {
        if shown.is_empty() {
            return;
        }
        let room = OUTPUT_WAITING.saturating_sub(self.waiting.len());
        self.waiting.extend_from_slice(&shown[..shown.len().min(room)]);
        self.tail.push(shown);
        self.is_new = true;
    }

    /// Enough has gathered that it should be stored now.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= OUTPUT_BATCH
    }

    pub(super) async fn store(&mut self, shared: &Shared) {
        if self.waiting.is_empty() {
            return;
        }
        match shared.store.append_log(&self.run, &self.waiting, self.redactor.settled()).await {
            Ok(()) => self.waiting.clear(),
            Err(error) => tracing::error!(run = %self.run, %error, "output is not stored yet"),
        }
    }

    pub(super) fn show(&mut self) -> String {
        self.is_new = false;
        self.tail.text()
    }
}
