//! Logs on standard error and metrics for Prometheus.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Starts logging as the settings say.
pub(crate) fn start_logs(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|error| anyhow::anyhow!("log = {:?} is not a filter such as info or debug: {error}", config.log))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}

/// Starts collecting metrics; the handle renders them.
pub(crate) fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
    const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_group_size".to_owned()), COUNTS)?
        .install_recorder()?;
    describe_gauge!("buildspaces_documents_open", "Documents in memory");
    describe_gauge!("buildspaces_connections_open", "WebSocket connections");
    describe_counter!("buildspaces_received_bytes_total", Unit::Bytes, "Bytes received over WebSocket");
    describe_counter!("buildspaces_sent_bytes_total", Unit::Bytes, "Bytes sent over WebSocket");
    describe_counter!("buildspaces_slow_readers_closed_total", "Connections closed because they read too slowly");
    describe_histogram!(
        "buildspaces_append_seconds",
        Unit::Seconds,
        "From handing updates to the log until they are flushed"
    );
    describe_counter!(
        "buildspaces_documents_evicted_total",
        "Unused documents that left early because memory was short"
    );
    describe_gauge!("buildspaces_documents_bytes", Unit::Bytes, "Memory of open documents, about");
    describe_gauge!("buildspaces_store_full", "1 while the log cannot be written for want of space");
    describe_histogram!("buildspaces_append_group_size", "Documents that shared one flush");
    Ok(handle)
}
