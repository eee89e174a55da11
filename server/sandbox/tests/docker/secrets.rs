//! Secrets on a real engine: a step has them, and nothing else of the container ever does.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use buildspaces_plans::ports::{Exit, StepEvent, Tunnel};
use buildspaces_plans::secret::{Header, SecretName, StepHeader, StepSecrets, Value};
use buildspaces_sandbox::Egress;
use buildspaces_sandbox::egress::{Dialler, LogAudit, Pattern, Policy};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::world::{PATIENCE, World, finish, read_until};

const VALUE: &str = "s3cr3t-t0ken-value";

fn name(text: &str) -> SecretName {
    SecretName::parse(text).expect("valid")
}

fn given() -> StepSecrets {
    StepSecrets {
        env: vec![(name("IN_ENV"), Value::new(VALUE))],
        files: vec![(name("IN_FILE"), Value::new(VALUE))],
        headers: Vec::new(),
    }
}

/// Everything the engine tells of the world's container, and its processes' arguments.
fn told(world: &World) -> String {
    let id = &world.containers()[0];
    world.docker(&["inspect", id]) + &world.docker(&["top", id, "-eo", "pid,args"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_has_its_secrets_and_the_engine_and_the_next_step_have_not() {
    let world = world!();
    let containers = world.open().await;
    let script = "echo $IN_ENV; cat /run/secrets/IN_FILE; echo; stat -c '%a %U' /run/secrets/IN_FILE; ls /run/secrets; \
                  touch /run/secrets/left; echo ready; while [ ! -e go ]; do sleep 0.05; done; tr '\\0' '\\n' </proc/1/cmdline";
    let step = world.try_start_given(&containers, &world.room, "a", script, PATIENCE, given()).await;
    let mut step = step.expect("the step starts");
    let text = read_until(&mut step, "ready").await;
    assert!(text.starts_with(&format!("{VALUE}\n{VALUE}\n400 ")), "{text}");
    assert!(text.contains("\nIN_FILE\n"), "{text}");
    let while_it_runs = told(&world);
    assert!(!while_it_runs.contains(VALUE), "{while_it_runs}");
    std::fs::write(world.workspace(&world.room).join("go"), "").expect("written");
    assert_eq!(finish(&mut step).await.1, StepEvent::Exited(Exit::Code(0)));

    let script = "echo \"<$IN_ENV>\"; ls -A /run/secrets; mount | grep -c 'on /run/secrets type tmpfs'; cat /proc/*/environ 2>/dev/null | grep -c t0ken";
    let (text, _) = world.run(&containers, "b", script).await;
    assert_eq!(text, "<>\n1\n0\n", "nothing is left for the next step");
    assert!(!told(&world).contains(VALUE));
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_gone_although_the_server_was_killed() {
    let world = world!();
    {
        // Everything of the first server ends with its runtime, as if it were killed.
        let first = tokio::runtime::Runtime::new().expect("a runtime");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                first.block_on(async {
                    let containers = world.open().await;
                    let script = "echo ready; while [ ! -e go ]; do sleep 0.05; done";
                    let step = world.try_start_given(&containers, &world.room, "a", script, PATIENCE, given()).await;
                    read_until(&mut step.expect("the step starts"), "ready").await;
                });
            });
        });
        first.shutdown_background();
    }
    let id = world.containers().remove(0);
    let there = || world.try_docker(&["exec", &id, "ls", "-A", "/run/secrets"]);
    assert_eq!(there().as_deref(), Ok("IN_FILE\n"), "the step still runs");
    std::fs::write(world.workspace(&world.room).join("go"), "").expect("written");
    world.until("the end of the file", || there().is_ok_and(|files| files.is_empty())).await;
    let containers = world.open().await;
    containers.reconcile(&[]).await;
    containers.shutdown().await;
}

/// A host behind TLS that says which header it was sent, and sends it back.
struct Host(TlsAcceptor);

#[async_trait]
impl Dialler for Host {
    async fn resolve(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![IpAddr::from([1, 1, 1, 1])])
    }

    async fn connect(&self, _address: SocketAddr) -> io::Result<Box<dyn Tunnel>> {
        let (ours, host) = tokio::io::duplex(1 << 16);
        let acceptor = self.0.clone();
        #[expect(clippy::disallowed_methods, reason = "it plays a host on the internet, which nobody supervises")]
        tokio::spawn(async move {
            let Ok(mut host) = acceptor.accept(host).await else { return };
            let mut request = vec![0; 4096];
            let read = host.read(&mut request).await.unwrap_or(0);
            let asked = String::from_utf8_lossy(&request[..read]).into_owned();
            let right = asked.contains(&format!("Authorization: Bearer {VALUE}\r\n"));
            let body = format!("right: {right}, you sent Bearer {VALUE}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = host.write_all(answer.as_bytes()).await;
            let _ = host.shutdown().await;
        });
        Ok(Box::new(ours))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_is_set_outside_and_the_program_never_has_the_value() {
    let mut world = world!();
    let made = rcgen::generate_simple_self_signed(["api.example.com".to_owned()]).expect("a certificate");
    let certificate = CertificateDer::from(made.cert);
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("fine")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("fits");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("fine")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let policy = Policy { allowed: vec![Pattern::parse("api.example.com").expect("valid")], max_bytes: 1 << 20 };
    let host = Host(TlsAcceptor::from(Arc::new(server)));
    world.egress = Some(Egress::new(policy, host, LogAudit).trusting(Arc::new(client)));
    let containers = world.open().await;

    let header = |host: &str| {
        let header = Header::new(host, "Authorization", "Bearer {}").expect("valid");
        StepHeader::new(name("TOKEN"), &header, Value::new(VALUE))
    };
    let with = |host: &str| StepSecrets { headers: vec![header(host)], ..StepSecrets::default() };
    let ask = "python3 -c \"import urllib.request as r; print(r.urlopen('http://api.example.com/v1', timeout=20).read().decode())\" 2>&1 | tail -1; \
               env | grep -c t0ken";
    let step = world.try_start_given(&containers, &world.room, "a", ask, PATIENCE, with("api.example.com")).await;
    let (text, _) = finish(&mut step.expect("the step starts")).await;
    assert_eq!(text, format!("right: true, you sent Bearer {}\n0\n", "*".repeat(VALUE.len())));

    let (text, _) = world.run(&containers, "b", ask).await;
    assert_eq!(text, "urllib.error.HTTPError: HTTP Error 405: Method Not Allowed\n0\n", "a step without it");

    let elsewhere = with("other.example.com");
    let step = world.try_start_given(&containers, &world.room, "c", "true", Duration::from_secs(5), elsewhere).await;
    let refused = step.expect_err("not listed").to_string();
    assert!(refused.contains("TOKEN") && refused.contains("sandbox.egress"), "{refused}");
    containers.shutdown().await;
}
