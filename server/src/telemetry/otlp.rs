//! Spans to an OpenTelemetry collector, over OTLP/HTTP with Protobuf.
//!
//! A collector runs beside the server or in its network, so plain HTTP is enough; it is the collector that goes on to others over TLS.
//! Spans are exported by a thread of their own. When it falls behind, spans are dropped and counted by the SDK; nothing waits for it.

use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::STEPS;

/// How long a collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Sends what is left when it is told to end.
pub(crate) struct Exporter(SdkTracerProvider);

impl Exporter {
    pub(crate) fn end(&self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last spans did not reach the collector");
        }
    }
}

/// Starts exporting to `endpoint`, such as `http://127.0.0.1:4318`, the given share of all traces.
pub(crate) fn start<S>(
    endpoint: &str,
    share: f64,
    runtime: &tokio::runtime::Handle,
) -> Result<(impl Layer<S> + Send + Sync + use<S>, Exporter)>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let inner = Hyper::builder(TokioExecutor::new()).build(HttpConnector::new());
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client { inner, runtime: runtime.clone() })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(TIMEOUT)
        .build()
        .with_context(|| format!("otlp_endpoint = {endpoint:?} cannot be used"))?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
        .with_resource(Resource::builder().with_service_name("buildspaces").build())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("buildspaces"))
        // Where in the source a step is stands in docs/keystroke.md.
        .with_location(false)
        .with_threads(false)
        .with_filter(Targets::new().with_target(STEPS, tracing::Level::TRACE));
    Ok((layer, Exporter(provider)))
}

/// The exporter's thread has no runtime, so requests are made by the server's.
#[derive(Debug)]
struct Client {
    inner: Hyper<HttpConnector, Full<Bytes>>,
    runtime: tokio::runtime::Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.inner.clone();
        let exchange = async move {
            let (head, body) = client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        // A timer begins where it is made, and that has to be on the runtime.
        self.runtime.spawn(async move { tokio::time::timeout(TIMEOUT, exchange).await }).await??
    }
}
