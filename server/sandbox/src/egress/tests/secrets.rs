//! Secrets on their way into requests, to a host that the test plays behind a certificate of its own.

use buildspaces_plans::secret::{Header, Value};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Where the secret goes, and what it is.
const SECRET: &str = "s3cr3t-t0ken-value";

fn given(host: &str) -> StepHeader {
    let header = Header::new(host, "Authorization", "Bearer {}").expect("valid");
    let secret = SecretName::parse("TOKEN").expect("valid");
    StepHeader::new(secret, &header, Value::new(SECRET))
}

/// A certificate for `name`, as the host has it and as the proxy trusts it.
fn certificate(name: &str) -> (TlsAcceptor, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let certificate = CertificateDer::from(made.cert);
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("fine");
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).expect("fits");
    (TlsAcceptor::from(Arc::new(config)), tls::trusting(certificate))
}

#[tokio::test]
async fn a_request_gets_its_secret_outside_of_the_sandbox() {
    let (acceptor, trusted) = certificate("good.example");
    let mut world = trusting_world(1 << 20, Some(trusted));
    world.headers.send_replace(Arc::from([given("good.example"), given("other.good.example")]));
    let request = "POST http://Good.example/v1/x?y HTTP/1.1\r\nHost: good.example\r\nauthorization: mine\r\n\
                   Content-Length: 4\r\nConnection: keep-alive\r\n\r\nbody";
    let mut program = world.ask(request).await;
    let host = world.hosts.recv().await.expect("connected");
    let mut host = acceptor.accept(host).await.expect("TLS");
    let expected = format!(
        "POST /v1/x?y HTTP/1.1\r\nHost: good.example\r\nContent-Length: 4\r\nAuthorization: Bearer {SECRET}\r\n\
         Accept-Encoding: identity\r\nConnection: close\r\n\r\nbody"
    );
    let mut read = vec![0; expected.len()];
    host.read_exact(&mut read).await.expect("the request");
    assert_eq!(String::from_utf8_lossy(&read), expected);
    // A host that sends back what it was sent, piece by piece, and hangs up without a word.
    for piece in ["HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n", "Bearer s3cr3t-", "t0ken-value"] {
        host.write_all(piece.as_bytes()).await.expect("sent");
        host.flush().await.expect("sent");
    }
    drop(host);
    let mut answer = String::new();
    program.read_to_string(&mut answer).await.expect("an answer");
    assert_eq!(answer, "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\nBearer ******************");
    drop(program);
    let record = world.records.recv().await.expect("a record");
    assert_eq!(record.target.as_deref(), Some("good.example:443"));
    assert_eq!(record.address, "1.1.1.1:443".parse().ok());
    assert_eq!(record.secrets, [SecretName::parse("TOKEN").expect("valid")]);
    assert!(!format!("{record:?}").contains(SECRET));
}

#[tokio::test]
async fn a_host_without_the_right_certificate_gets_nothing() {
    let (acceptor, trusted) = certificate("someone-else.example");
    let mut world = trusting_world(1 << 20, Some(trusted));
    world.headers.send_replace(Arc::from([given("good.example")]));
    let mut program = world.ask("GET http://good.example/ HTTP/1.1\r\n\r\n").await;
    let host = world.hosts.recv().await.expect("connected");
    assert!(acceptor.accept(host).await.is_err());
    let mut answer = String::new();
    program.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 502 No Trusted Connection"), "{answer}");
    let record = world.records.recv().await.expect("a record");
    assert_eq!((record.outcome, record.secrets), (Outcome::Refused("not_trusted"), Vec::new()));
}

#[tokio::test]
async fn only_hosts_that_are_named_and_listed_and_only_while_the_step_runs() {
    let mut world = world(1 << 20);
    world.headers.send_replace(Arc::from([given("good.example:8443"), given("other.example")]));
    for (request, word) in [
        ("GET http://good.example/ HTTP/1.1\r\n\r\n", "not_connect"),
        ("GET http://deep.good.example/ HTTP/1.1\r\n\r\n", "not_connect"),
        ("GET http://other.example/ HTTP/1.1\r\n\r\n", "not_listed"),
        ("GET http://good.example:8443/ HTTP/1.1\r\n\r\n", "not_listed"),
    ] {
        assert_eq!(world.refused(request).await.1, Outcome::Refused(word), "{request}");
    }
    world.headers.send_replace(Arc::from([given("inside.good.example")]));
    let inside = "GET http://inside.good.example/ HTTP/1.1\r\n\r\n";
    assert_eq!(world.refused(inside).await.1, Outcome::Refused("not_public"));
    world.headers.send_replace(Arc::default());
    assert_eq!(world.refused(inside).await.1, Outcome::Refused("not_connect"), "the step has ended");
}
