//! Clients of calls against the forwarder of this crate: what is counted is what was sent. And a small call, a disturbed one too, on the real
//! server.

use std::path::PathBuf;

use buildspaces_load_tests::lab::Lab;
use buildspaces_load_tests::member::Target;
use buildspaces_load_tests::scenario::Outcome;
use buildspaces_load_tests::scenario::media::call::Call;
use buildspaces_load_tests::scenario::media::churn::Churn;
use buildspaces_load_tests::scenario::media::forward::Forward;
use buildspaces_load_tests::scenario::media::hostile::Hostile;
use buildspaces_load_tests::scenario::media::{self, Media, Plan};
use buildspaces_load_tests::servers::{Kind, Programs, Server};
use buildspaces_load_tests::wire::Dialect;

/// Nothing is started but `ours`.
fn programs(ours: PathBuf) -> Programs {
    let none = || "none".into();
    let (relay, forwarder, peers, y_sweet) = (none(), none(), none(), none());
    Programs { ours, relay, forwarder, peers, y_sweet, settings: Vec::new(), scratch: std::env::temp_dir() }
}

fn play(plan: Plan) -> Outcome {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket can be told not to block");
    let address = listener.local_addr().expect("an address");
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    server.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
        buildspaces_load_tests::media::forwarder::serve(listener).await
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, async {
        let programs = programs("none".into());
        let target = Target { address, dialect: Dialect::YWebsocket };
        let mut server = Server::attach(target, 0, &programs).expect("nothing is started");
        server.kind = Kind::Forwarder;
        media::run(&Lab::new(), &mut server, &Media { plan }).await
    });
    outcome.expect("it runs to its end")
}

#[test]
fn every_packet_reaches_every_subscriber_once() {
    let outcome = play(Plan::Forward(Forward { subscribers: 3, seconds: 1.0, warmup: 0.1, feedback: true }));
    let sent = outcome.number("sent").expect("it says what was sent");
    assert!(sent >= 240.0, "{sent}");
    assert_eq!(outcome.number("delivered"), Some(sent * 3.0));
    assert_eq!(outcome.number("lost"), Some(0.0));
    assert_eq!(outcome.values.get("trouble"), None);
}

#[test]
fn whoever_joins_sees_a_picture_and_whoever_leaves_is_forgotten() {
    let outcome = play(Plan::Churn(Churn { joins: 5, single: true, patience: 0.0 }));
    assert!(outcome.number("p50_ms").is_some_and(|p50| p50 > 0.0));
}

/// Cargo builds the server's program for the tests of its own crate, into the same folder.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a program");
    let program = test.parent().and_then(|deps| deps.parent()).expect("it lies in deps").join("buildspaces");
    assert!(program.is_file(), "{} is not there; cargo build --workspace --bin buildspaces", program.display());
    program
}

#[test]
fn eight_see_each_other_on_the_real_server_and_nobody_spoils_that() {
    let programs = programs(program());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut server = Server::start(Kind::Ours, &programs).await.expect("it starts");
        let mut play =
            async |plan| media::run(&Lab::new(), &mut server, &Media { plan }).await.expect("it runs to its end");
        let layer = media::call::Layer::Low;
        let call = play(Plan::Call(Call { participants: 8, seconds: 1.0, warmup: 1.0, layer })).await;
        assert_eq!(call.number("streams"), Some(8.0 * 7.0 * 2.0), "{:?}", call.values);
        assert_eq!(call.values.get("trouble"), None);
        let (checks, packets, flood, strays) = (500, 500, 1000, 2000);
        let hostile =
            Hostile { subscribers: 2, seconds: 1.0, checks, packets, flood, flooded: 1, strays, descriptions: 3 };
        let hostile = play(Plan::Hostile(hostile)).await;
        assert_eq!(hostile.values.get("trouble"), None);
        assert_eq!(hostile.number("descriptions_refused"), Some(3.0));
        // Of the strays all media at the receiver, and most at the sender.
        assert!(hostile.number("dropped_by_server").is_some_and(|dropped| dropped > 500.0), "{:?}", hostile.values);
        // Not all of it, because other tests want the processor, too.
        let count = |name| hostile.number(name).expect("it is counted");
        assert!(count("expected") > 100.0 && count("lost") < count("expected") / 10.0, "{:?}", hostile.values);
    });
}
