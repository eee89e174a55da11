//! TLS towards hosts that get a secret. What a certificate must be signed by, the system says.

use std::io;
use std::sync::Arc;

use buildspaces_plans::ports::Tunnel;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// With the system's certificates. Without any, no host is trusted.
pub(super) fn system() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        tracing::warn!(errors = ?found.errors, "this system has no certificates to trust, so no host gets a secret");
    }
    config(roots)
}

fn config(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("the provider has what these need");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// The connection behind which `host` has shown that it is `host`.
pub(super) async fn connect(
    config: Arc<ClientConfig>,
    host: &str,
    remote: Box<dyn Tunnel>,
) -> io::Result<Box<dyn Tunnel>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(config).connect(name, remote).await?))
}

#[cfg(test)]
pub(super) fn trusting(certificate: rustls::pki_types::CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    config(roots)
}
