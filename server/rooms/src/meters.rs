//! What is measured about documents. Each handle is looked up once, because the macros of `metrics` search their registry at every
//! call; first use must follow the recorder's start. What the names mean stands in `docs/operations.md`.

use std::sync::LazyLock;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

static DOCUMENTS_OPEN: LazyLock<Gauge> = LazyLock::new(|| gauge!("buildspaces_documents_open"));

/// A document that counts as open until this is dropped, however its task ends.
pub(crate) struct OpenDocument(());

impl OpenDocument {
    pub(crate) fn new() -> Self {
        DOCUMENTS_OPEN.increment(1.0);
        Self(())
    }
}

impl Drop for OpenDocument {
    fn drop(&mut self) {
        DOCUMENTS_OPEN.decrement(1.0);
    }
}

pub(crate) static DOCUMENTS_EVICTED: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_documents_evicted_total"));

pub(crate) static DOCUMENTS_BYTES: LazyLock<Gauge> = LazyLock::new(|| gauge!("buildspaces_documents_bytes"));

pub(crate) static TURN_COMMANDS: LazyLock<Histogram> = LazyLock::new(|| histogram!("buildspaces_turn_commands"));

pub(crate) static FAN_OUT_SECONDS: LazyLock<Histogram> = LazyLock::new(|| histogram!("buildspaces_fan_out_seconds"));

pub(crate) static APPEND_SECONDS: LazyLock<Histogram> = LazyLock::new(|| histogram!("buildspaces_append_seconds"));

pub(crate) static SENT_BYTES: LazyLock<Counter> = LazyLock::new(|| counter!("buildspaces_sent_bytes_total"));

pub(crate) static OUTBOX_BYTES: LazyLock<Gauge> = LazyLock::new(|| gauge!("buildspaces_outbox_bytes"));

pub(crate) static SLOW_READERS_CLOSED: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_slow_readers_closed_total"));

/// Refusals are rare, and a hostile client's cost is its own.
pub(crate) fn refused(reason: &'static str, rule: &'static str) {
    counter!("buildspaces_updates_refused_total", "reason" => reason, "rule" => rule).increment(1);
}
