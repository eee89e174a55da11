//! The way out on a real engine: a program in a container without network reaches the listed host, by the server, and no other.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use buildspaces_plans::ports::{Exit, StepEvent, Tunnel};
use buildspaces_sandbox::Egress;
use buildspaces_sandbox::egress::{Dialler, LogAudit, Pattern, Policy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Every name leads to one public address, and what is connected to there is played here. Nothing leaves the process.
struct Internet;

#[async_trait]
impl Dialler for Internet {
    async fn resolve(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![IpAddr::from([1, 1, 1, 1])])
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Tunnel>> {
        let (ours, mut host) = tokio::io::duplex(1 << 16);
        #[expect(clippy::disallowed_methods, reason = "it plays a host on the internet, which nobody supervises")]
        tokio::spawn(async move {
            let mut request = [0; 4096];
            let read = host.read(&mut request).await.unwrap_or(0);
            let asked = String::from_utf8_lossy(&request[..read]).lines().next().unwrap_or_default().to_owned();
            let body = format!("{address} was asked: {asked}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = host.write_all(answer.as_bytes()).await;
        });
        Ok(Box::new(ours))
    }
}

/// Asks for a page over the proxy of the environment, without TLS, which the played host does not speak.
const ASK: &str = r#"
import http.client, os, sys, urllib.parse
proxy = urllib.parse.urlparse(os.environ['https_proxy'])
connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=20)
connection.set_tunnel(sys.argv[1], 443)
try:
    connection.request('GET', '/page')
    print(connection.getresponse().read().decode())
except OSError as error:
    print(error)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_is_reached_and_nothing_else() {
    let mut world = world!();
    let policy = Policy { allowed: vec![Pattern::parse("allowed.example").expect("valid")], max_bytes: 1 << 20 };
    world.egress = Some(Egress::new(policy, Internet, LogAudit));
    std::fs::write(world.workspace(&world.room).join("ask.py"), ASK).expect("written");
    let containers = world.open().await;
    let script = "python3 ask.py allowed.example; python3 ask.py other.example; ls /sys/class/net";
    let (text, end) = world.run(&containers, "a", script).await;
    assert_eq!(end, StepEvent::Exited(Exit::Code(0)), "{text}");
    assert_eq!(
        text,
        "1.1.1.1:443 was asked: GET /page HTTP/1.1\n\
         Tunnel connection failed: 403 Not Listed In sandbox.egress\n\
         lo\n"
    );
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_there_is_no_way_out() {
    let world = world!();
    let containers = world.open().await;
    let script = "env | grep -ci proxy; python3 -c \"import socket; socket.create_connection(('127.0.0.1', 3128))\" 2>&1 | tail -1";
    let (text, _) = world.run(&containers, "a", script).await;
    assert_eq!(text, "0\nConnectionRefusedError: [Errno 111] Connection refused\n");
    containers.shutdown().await;
}
