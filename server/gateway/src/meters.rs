//! What is measured about connections; see `docs/operations.md` for the names, and `rooms::meters` for why handles are kept.

use std::sync::LazyLock;

use metrics::{Counter, Gauge, counter, gauge};

pub(crate) static RECEIVED_BYTES: LazyLock<Counter> = LazyLock::new(|| counter!("buildspaces_received_bytes_total"));

pub(crate) static PREVIEW_REQUESTS: LazyLock<Counter> =
    LazyLock::new(|| counter!("buildspaces_preview_requests_total"));

/// A connection counts for as long as this exists.
pub(crate) struct OpenConnection(Gauge);

impl OpenConnection {
    /// `protocol`: `yjs`, `collab`, `ysweet`, `terminal`, `media`, `whip` or `whep`.
    pub(crate) fn new(protocol: &'static str) -> Self {
        let gauge = gauge!("buildspaces_connections_open", "protocol" => protocol);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A limit refused something; [`crate::limits`] has the others.
pub(crate) fn limited(limit: &'static str) {
    counter!("buildspaces_limited_total", "limit" => limit).increment(1);
}

/// The server ended a connection.
pub(crate) fn closed(code: u16) {
    counter!("buildspaces_connections_closed_total", "code" => code.to_string()).increment(1);
}
