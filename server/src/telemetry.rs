//! Logs on standard error, metrics for Prometheus, and spans for whoever collects them.
//!
//! Each step of `docs/keystroke.md` is a span of that name, at level TRACE under the target [`STEPS`]. Nobody sees them unless
//! `otlp_endpoint` is set or `log` asks for them; then a step costs one comparison with a static.

#[cfg(feature = "otlp")]
mod otlp;

use std::time::Duration;

use buildspaces_kernel::tasks::Tasks;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};

/// The target of spans that are the steps of a keystroke.
pub(crate) const STEPS: &str = "keystroke";

/// The libraries of calls write lines for each handshake and each dropped packet, which metrics count.
const TOO_LOUD: &str = "rtc=off,webrtc=off";

/// What has to end when the server does.
#[derive(Default)]
pub(crate) struct Traces {
    #[cfg(feature = "otlp")]
    exporter: Option<otlp::Exporter>,
}

impl Traces {
    /// Sends the last spans. Takes up to a few seconds.
    pub(crate) fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter {
            exporter.end();
        }
    }
}

/// Starts logging and tracing as the settings say.
pub(crate) fn start_logs(config: &Config, runtime: &tokio::runtime::Handle) -> anyhow::Result<Traces> {
    // What a setting says of these comes later and so prevails.
    let filter = EnvFilter::try_new(format!("{TOO_LOUD},{}", config.log))
        .map_err(|error| anyhow::anyhow!("log = {:?} is not a filter such as info or debug: {error}", config.log))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    #[cfg(feature = "tokio-console")]
    let subscriber = subscriber.with(console_subscriber::spawn());
    let Some(endpoint) = &config.otlp_endpoint else {
        subscriber.init();
        return Ok(Traces::default());
    };
    #[cfg(feature = "otlp")]
    {
        let (spans, exporter) = otlp::start(endpoint, config.otlp_share, runtime)?;
        subscriber.with(spans).init();
        Ok(Traces { exporter: Some(exporter) })
    }
    #[cfg(not(feature = "otlp"))]
    {
        let _ = runtime;
        anyhow::bail!("otlp_endpoint = {endpoint:?}: this server was built without the feature otlp")
    }
}

/// How often what histograms were told is counted. Until then each value is kept by itself, whether or not anybody ever reads metrics.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts collecting metrics; the handle renders them.
pub(crate) fn start_metrics(tasks: &Tasks) -> anyhow::Result<PrometheusHandle> {
    const SECONDS: &[f64] =
        &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
    /// Of what people wait for: sandboxes and runs.
    const LONG: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
    const LONG_ONES: [&str; 4] = [
        "buildspaces_sandbox_phase_seconds",
        "buildspaces_sandbox_start_seconds",
        "buildspaces_run_queue_seconds",
        "buildspaces_run_seconds",
    ];
    const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
    const RATIOS: &[f64] = &[0.0, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5];
    let mut builder = PrometheusBuilder::new();
    for name in LONG_ONES {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), LONG)?;
    }
    let handle = builder
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_ratio".to_owned()), RATIOS)?
        .set_buckets_for_metric(Matcher::Suffix("_group_size".to_owned()), COUNTS)?
        .set_buckets_for_metric(Matcher::Full("buildspaces_turn_commands".to_owned()), COUNTS)?
        .install_recorder()?;
    describe();
    let (upkept, stop) = (handle.clone(), tasks.clone());
    tasks.spawn("upkeep of metrics", async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(UPKEEP) => upkept.run_upkeep(),
            }
        }
    });
    Ok(handle)
}

/// What each metric is, for whoever reads `/metrics`; docs/operations.md has the same list.
fn describe() {
    describe_gauge!("buildspaces_documents_open", "Documents in memory");
    describe_gauge!("buildspaces_connections_open", "WebSocket connections, by protocol");
    describe_counter!("buildspaces_connections_closed_total", "Connections the server ended, by close code");
    describe_counter!("buildspaces_limited_total", "Connections and requests refused by a limit");
    describe_counter!("buildspaces_received_bytes_total", Unit::Bytes, "Bytes of messages received over WebSocket");
    describe_counter!("buildspaces_sent_bytes_total", Unit::Bytes, "Bytes written to WebSockets");
    describe_counter!("buildspaces_preview_requests_total", "Requests passed on to programs in sandboxes");
    describe_counter!("buildspaces_sandbox_starts_total", "Sandboxes that rooms got, by where from");
    describe_histogram!("buildspaces_sandbox_phase_seconds", Unit::Seconds, "Phases of sandboxes' starts");
    describe_histogram!("buildspaces_sandbox_start_seconds", Unit::Seconds, "From needing a sandbox until it is there");
    describe_gauge!("buildspaces_sandboxes_warm", "Sandboxes that wait for a room");
    describe_gauge!("buildspaces_organisation_sandboxes", "Sandboxes of an organisation's rooms");
    describe_gauge!("buildspaces_organisation_memory_bytes", Unit::Bytes, "Memory that these may use together");
    describe_gauge!("buildspaces_organisation_disk_bytes", Unit::Bytes, "Disk that the workspaces of its rooms take");
    describe_counter!("buildspaces_organisation_refused_total", "Sandboxes that were refused at its ceilings");
    describe_counter!("buildspaces_egress_connections_total", "Connections out of sandboxes that are over, by outcome");
    describe_counter!("buildspaces_egress_bytes_total", Unit::Bytes, "Bytes out of sandboxes and into them");
    describe_counter!("buildspaces_slow_readers_closed_total", "Connections closed because they read too slowly");
    describe_counter!("buildspaces_updates_refused_total", "Updates that did not take effect, by reason");
    describe_histogram!("buildspaces_turn_commands", "Messages a document found waiting and handled together");
    describe_histogram!(
        "buildspaces_fan_out_seconds",
        Unit::Seconds,
        "From taking messages until what follows from them is written to every socket"
    );
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
    describe_gauge!("buildspaces_outbox_bytes", Unit::Bytes, "What sockets did not take yet");
    describe_gauge!("buildspaces_log_queue", "Requests that wait for the log");
    describe_gauge!("buildspaces_journal_bytes", Unit::Bytes, "Updates in the journal that are not settled yet");
    describe_histogram!("buildspaces_append_group_size", "Documents that shared one flush");
    describe_counter!("buildspaces_webhook_attempts_total", "Attempts to deliver to a webhook, by result");
    describe_counter!("buildspaces_webhook_dropped_total", "Deliveries dropped because too many waited for a webhook");
    describe_counter!("buildspaces_webhook_switched_off_total", "Webhooks switched off because nothing arrives");
    describe_gauge!("buildspaces_webhook_waiting", "Deliveries that wait for an attempt");
    describe_gauge!("buildspaces_media_participants", "People and agents in calls");
    describe_gauge!("buildspaces_media_connections_open", "Media connections, two for each participant at most");
    describe_gauge!("buildspaces_media_recordings_open", "Calls that are recorded");
    describe_counter!("buildspaces_media_datagrams_received_total", "Datagrams that came to the port of calls");
    describe_counter!("buildspaces_media_datagrams_strange_total", "Datagrams that belong to no connection");
    describe_gauge!("buildspaces_media_tcp_connections_open", "TCP connections of media, those in reserve included");
    describe_counter!("buildspaces_media_tcp_strange_total", "TCP connections of media that proved nothing");
    describe_counter!("buildspaces_media_packets_received_total", "Media packets received");
    describe_counter!("buildspaces_media_packets_forwarded_total", "Media packets sent on, one for each receiver");
    describe_counter!("buildspaces_media_packets_dropped_total", "Media packets dropped, by reason");
    describe_counter!("buildspaces_media_keyframes_asked_total", "Keyframes asked of publishers");
    describe_gauge!("buildspaces_media_quality", "Participants of calls, by how well they are connected");
    describe_histogram!("buildspaces_media_lost_ratio", "Shares of packets that pages report as lost, by direction");
    describe_histogram!("buildspaces_media_round_trip_seconds", Unit::Seconds, "Round trips that pages report");
    describe_counter!("buildspaces_runs_finished_total", "Runs that ended, by state");
    describe_histogram!("buildspaces_run_queue_seconds", Unit::Seconds, "From asking for a run until it starts");
    describe_histogram!("buildspaces_run_seconds", Unit::Seconds, "From a run's start to its end");
}
