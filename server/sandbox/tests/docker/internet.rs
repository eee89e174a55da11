//! A host on the internet that a test plays, in this process.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use buildspaces_plans::ports::Tunnel;
use buildspaces_sandbox::egress::Dialler;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::DuplexStream;
use tokio_rustls::TlsAcceptor;

/// What answers those who connect.
pub(crate) trait Plays: Clone + Send + Sync + 'static {
    /// One connection.
    fn serve(self, stream: DuplexStream) -> impl Future<Output = io::Result<()>> + Send;
}

/// Every name leads to one public address, where this is. Nothing leaves the process.
pub(crate) struct Internet<H>(pub(crate) H);

#[async_trait]
impl<H: Plays> Dialler for Internet<H> {
    async fn resolve(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![IpAddr::from([1, 1, 1, 1])])
    }

    async fn connect(&self, _address: SocketAddr) -> io::Result<Box<dyn Tunnel>> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let host = self.0.clone();
        #[expect(clippy::disallowed_methods, reason = "it plays a host on the internet, which nobody supervises")]
        tokio::spawn(async move { host.serve(theirs).await });
        Ok(Box::new(ours))
    }
}

/// A certificate that only those trust who are told to, and what serves with it.
pub(crate) fn certified() -> (Vec<u8>, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(vec!["git.example.org".to_owned()]).expect("made");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).expect("they belong together");
    (made.cert.der().to_vec(), TlsAcceptor::from(Arc::new(config)))
}
