//! What is measured about the log. Each handle is looked up once; first use must follow the recorder's start.

use std::sync::LazyLock;

use metrics::{Gauge, Histogram, gauge, histogram};

pub(crate) static GROUP_SIZE: LazyLock<Histogram> = LazyLock::new(|| histogram!("buildspaces_append_group_size"));

pub(crate) static STORE_FULL: LazyLock<Gauge> = LazyLock::new(|| gauge!("buildspaces_store_full"));

pub(crate) static QUEUE: LazyLock<Gauge> = LazyLock::new(|| gauge!("buildspaces_log_queue"));

pub(crate) static JOURNAL_BYTES: LazyLock<Gauge> = LazyLock::new(|| gauge!("buildspaces_journal_bytes"));
