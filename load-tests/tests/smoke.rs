//! The generator against the relay of this crate: what it counts is what was sent.

use buildspaces_load_tests::lab::Lab;
use buildspaces_load_tests::member::Target;
use buildspaces_load_tests::scenario::steady::{self, Steady};
use buildspaces_load_tests::servers::{Programs, Server};
use buildspaces_load_tests::wire::Dialect;

#[test]
fn every_keystroke_reaches_every_other_member_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket can be told not to block");
    let address = listener.local_addr().expect("an address");
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    server.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
        buildspaces_load_tests::relay::serve(listener).await
    });

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, async {
        let programs = Programs {
            ours: "none".into(),
            relay: "none".into(),
            forwarder: "none".into(),
            peers: "none".into(),
            y_sweet: "none".into(),
            settings: Vec::new(),
            scratch: std::env::temp_dir(),
        };
        let target = Target { address, dialect: Dialect::YWebsocket };
        let mut server = Server::attach(target, 0, &programs).expect("nothing is started");
        let plan = Steady { rooms: 3, members: 4, writers: 2, rate: 50.0, seconds: 1.0, warmup: 0.2, unit: 1 };
        steady::run(&Lab::new(), &mut server, &plan).await
    });
    let outcome = outcome.expect("it runs to its end");
    assert_eq!(outcome.number("expected"), Some(3.0 * 2.0 * 50.0 * 3.0));
    assert_eq!(outcome.number("deliveries"), outcome.number("expected"));
    assert!(outcome.number("p99_ms").is_some_and(|p99| p99 > 0.0));
    assert_eq!(outcome.values.get("trouble"), None);
}
