//! The proxy against programs and hosts that the test plays. Nothing here leaves the process.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::io::DuplexStream;
use tokio::net::UnixStream;

use super::*;

mod secrets;

/// Names, connections made, and the other ends of those.
#[derive(Default)]
struct Net {
    names: HashMap<&'static str, Vec<IpAddr>>,
    asked: Mutex<Vec<String>>,
    connected: Mutex<Vec<SocketAddr>>,
    dead: Vec<IpAddr>,
}

struct FakeDialler(Arc<Net>, mpsc::Sender<DuplexStream>);

#[async_trait]
impl Dialler for FakeDialler {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.0.asked.lock().expect("fine").push(host.to_owned());
        self.0.names.get(host).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Tunnel>> {
        self.0.connected.lock().expect("fine").push(address);
        if self.0.dead.contains(&address.ip()) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        self.1.send(theirs).await.expect("the test is there");
        Ok(Box::new(ours))
    }
}

struct Records(mpsc::UnboundedSender<Record>);

impl Audit for Records {
    fn record(&self, record: &Record) {
        let _ = self.0.send(record.clone());
    }
}

struct World {
    net: Arc<Net>,
    hosts: mpsc::Receiver<DuplexStream>,
    records: mpsc::UnboundedReceiver<Record>,
    connections: mpsc::Sender<Connection>,
    headers: watch::Sender<Arc<[StepHeader]>>,
}

fn world(max_bytes: u64) -> World {
    trusting_world(max_bytes, None)
}

fn trusting_world(max_bytes: u64, tls: Option<Arc<ClientConfig>>) -> World {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let names = HashMap::from([
        // The first is what somebody put there who owns the name.
        ("good.example", vec![address("10.0.0.1"), address("1.1.1.1")]),
        ("deep.good.example", vec![address("9.9.9.9"), address("8.8.8.8")]),
        ("inside.good.example", vec![address("127.0.0.1"), address("169.254.169.254"), address("::1")]),
        ("down.good.example", vec![address("9.9.9.9")]),
        ("other.example", vec![address("1.1.1.1")]),
    ]);
    let net = Arc::new(Net { names, dead: vec![address("9.9.9.9")], ..Net::default() });
    let allowed = ["good.example", "*.good.example"].map(|text| Pattern::parse(text).expect("valid")).to_vec();
    #[expect(clippy::disallowed_methods, reason = "records must not wait, and a test makes few")]
    let (kept, records) = mpsc::unbounded_channel();
    let (dialled, hosts) = mpsc::channel(64);
    let egress = Egress::new(Policy { allowed, max_bytes }, FakeDialler(Arc::clone(&net), dialled), Records(kept));
    let egress = match tls {
        Some(tls) => egress.trusting(tls),
        None => egress,
    };
    let (connections, receiver) = mpsc::channel(64);
    let (tasks, headers) = (Tasks::new(), watch::Sender::default());
    tasks.spawn("egress", egress.serve(RoomId::random(), receiver, headers.subscribe(), tasks.clone()));
    World { net, hosts, records, connections, headers }
}

impl World {
    /// A program's connection that has asked for something.
    async fn ask(&self, request: &str) -> UnixStream {
        let (mut program, ours) = UnixStream::pair().expect("a pair");
        program.write_all(request.as_bytes()).await.expect("sent");
        self.connections.send(Connection::new(ours)).await.expect("somebody serves");
        program
    }

    async fn connect(&mut self, target: &str) -> (UnixStream, DuplexStream) {
        let mut program = self.ask(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")).await;
        let host = self.hosts.recv().await.expect("connected");
        let mut answer = [0; 39];
        program.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200 Connection established\r\n\r\n");
        (program, host)
    }

    /// The status and the outcome of a request that leads nowhere.
    async fn refused(&mut self, request: &str) -> (String, Outcome) {
        let mut program = self.ask(request).await;
        let mut answer = String::new();
        program.read_to_string(&mut answer).await.expect("an answer");
        let record = self.records.recv().await.expect("a record");
        assert_eq!((record.sent, record.received, record.address), (0, 0, None));
        (answer.lines().next().unwrap_or_default().to_owned(), record.outcome)
    }
}

#[tokio::test]
async fn a_listed_host_is_reached_at_an_address_that_was_checked() {
    let mut world = world(1 << 20);
    let request = "CONNECT Good.Example:443 HTTP/1.1\r\nHost: good.example\r\n\r\nalready there";
    let mut program = world.ask(request).await;
    let mut host = world.hosts.recv().await.expect("connected");
    let mut first = [0; 13];
    host.read_exact(&mut first).await.expect("read");
    assert_eq!(&first, b"already there");
    host.write_all(b"answer").await.expect("sent");
    host.shutdown().await.expect("said");
    let mut text = String::new();
    program.read_to_string(&mut text).await.expect("read");
    assert_eq!(text, "HTTP/1.1 200 Connection established\r\n\r\nanswer");
    program.write_all(b"more").await.expect("sent");
    program.shutdown().await.expect("said");
    let mut rest = String::new();
    host.read_to_string(&mut rest).await.expect("read");
    assert_eq!(rest, "more");
    let record = world.records.recv().await.expect("a record");
    let address = "1.1.1.1:443".parse().expect("an address");
    assert_eq!(*world.net.connected.lock().expect("fine"), [address], "never the private one");
    assert_eq!((record.target.as_deref(), record.address), (Some("good.example:443"), Some(address)));
    assert_eq!((record.sent, record.received, record.outcome), (17, 6, Outcome::Done));
    // The next address is tried when one does not answer.
    world.connect("deep.good.example:443").await;
    assert_eq!(world.net.connected.lock().expect("fine").last().map(SocketAddr::ip), "8.8.8.8".parse().ok());
}

#[tokio::test]
async fn everything_else_is_refused_and_recorded() {
    let mut world = world(1 << 20);
    for (request, status, word) in [
        ("CONNECT other.example:443 HTTP/1.1\r\n\r\n", "403 Not Listed", "not_listed"),
        ("CONNECT good.example:22 HTTP/1.1\r\n\r\n", "403 Not Listed", "not_listed"),
        ("CONNECT 1.1.1.1:443 HTTP/1.1\r\n\r\n", "403 Not Listed", "not_listed"),
        ("CONNECT [::1]:443 HTTP/1.1\r\n\r\n", "403 Not Listed", "not_listed"),
        ("CONNECT inside.good.example:443 HTTP/1.1\r\n\r\n", "403 Not A Public", "not_public"),
        ("CONNECT nobody.good.example:443 HTTP/1.1\r\n\r\n", "502 Unknown", "unknown_host"),
        ("CONNECT down.good.example:443 HTTP/1.1\r\n\r\n", "502 Unreachable", "unreachable"),
        ("GET http://good.example/ HTTP/1.1\r\n\r\n", "405 Method", "not_connect"),
        ("\u{16}\u{3}\u{1}\r\n\r\n", "400 Bad", "no_request"),
    ] {
        let (answer, outcome) = world.refused(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer}");
        assert_eq!(outcome, Outcome::Refused(word), "{request:?}");
    }
    let asked = world.net.asked.lock().expect("fine").clone();
    assert_eq!(
        asked,
        ["inside.good.example", "nobody.good.example", "down.good.example"],
        "names that are not listed are not even resolved"
    );
    assert_eq!(world.net.connected.lock().expect("fine").len(), 1);
}

#[tokio::test]
async fn a_sandbox_that_exchanged_as_much_as_it_may_gets_no_further() {
    let mut world = world(10);
    let (mut program, mut host) = world.connect("good.example:443").await;
    program.write_all(b"1234567").await.expect("sent");
    host.read_exact(&mut [0; 7]).await.expect("read");
    host.write_all(b"12345678").await.expect("sent");
    assert_eq!(program.read(&mut [0; 8]).await.expect("read"), 0, "cut off before the excess");
    let record = world.records.recv().await.expect("a record");
    assert_eq!((record.sent, record.received, record.outcome), (7, 0, Outcome::Spent));
    let (answer, outcome) = world.refused("CONNECT good.example:443 HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 Limit Reached"), "{answer}");
    assert_eq!(outcome, Outcome::Refused("over_the_limit"));
}

#[tokio::test]
async fn there_are_only_so_many_connections_at_a_time() {
    let mut world = world(1 << 20);
    let mut open = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        open.push(world.connect("good.example:443").await);
    }
    let (answer, outcome) = world.refused("CONNECT good.example:443 HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 Too Many"), "{answer}");
    assert_eq!(outcome, Outcome::Refused("too_many"));
    open.pop();
    assert_eq!(world.records.recv().await.expect("a record").outcome, Outcome::Done);
    world.connect("good.example:443").await;
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for() {
    let mut world = world(1 << 20);
    let (_, outcome) = world.refused("CONNECT good.example").await;
    assert_eq!(outcome, Outcome::Refused("no_request"));
    let (_program, _host) = world.connect("good.example:443").await;
    let began = Instant::now();
    assert_eq!(world.records.recv().await.expect("a record").outcome, Outcome::Idle);
    assert!(began.elapsed() >= IDLE, "{:?}", began.elapsed());
}
