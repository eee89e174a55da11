//! Ports and tunnels on a real engine: a program that listens in a container without network is seen, reached, and gone.

use std::sync::Arc;

use buildspaces_plans::ports::{NotConnected, Tunnel};
use buildspaces_sandbox::Containers;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::world::{PATIENCE, World, finish, read_until};

const SERVER: &str = "mkdir -p site; echo 'what is served' > site/page; echo starting; \
                      exec python3 -m http.server 8000 --bind 127.0.0.1 --directory site";

async fn until(ports: &mut watch::Receiver<Arc<[u16]>>, wanted: &[u16]) {
    let seen = tokio::time::timeout(PATIENCE, ports.wait_for(|ports| **ports == *wanted)).await;
    seen.unwrap_or_else(|_| panic!("not {wanted:?} in time")).expect("the list stays");
}

async fn get(mut tunnel: Box<dyn Tunnel>) -> String {
    tunnel.write_all(b"GET /page HTTP/1.0\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, tunnel.read_to_string(&mut answer)).await.expect("in time").expect("text");
    answer
}

async fn refused(containers: &Containers, world: &World, port: u16) -> NotConnected {
    containers.connect(&world.room, port).await.err().expect("nothing listens there")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_listens_is_seen_and_reached_for_as_long_as_it_runs() {
    let world = world!();
    let containers = world.open().await;
    let mut ports = containers.ports(&world.room);
    assert!(ports.borrow_and_update().is_empty());
    assert_eq!(refused(&containers, &world, 8000).await, NotConnected::NoSandbox);
    let mut step = world.start(&containers, "a", SERVER).await;
    read_until(&mut step, "starting").await;
    until(&mut ports, &[8000]).await;
    for _ in 0..3 {
        let answer = get(containers.connect(&world.room, 8000).await.expect("connected")).await;
        assert!(answer.starts_with("HTTP/1.0 200 OK") && answer.ends_with("what is served\n"), "{answer}");
    }
    let NotConnected::Refused(reason) = refused(&containers, &world, 8001).await else { panic!("not refused") };
    assert!(reason.starts_with("nothing answers on port 8001"), "{reason}");
    step.cancel.send(()).await.expect("it listens");
    finish(&mut step).await;
    until(&mut ports, &[]).await;
    assert!(matches!(refused(&containers, &world, 8000).await, NotConnected::Refused(_)));

    // The container dies, and with it what listened in there.
    let mut step = world.start(&containers, "b", SERVER).await;
    until(&mut ports, &[8000]).await;
    let mut open = containers.connect(&world.room, 8000).await.expect("connected");
    world.docker(&["kill", &world.containers()[0]]);
    until(&mut ports, &[]).await;
    assert_eq!(open.read(&mut [0; 8]).await.unwrap_or(0), 0, "what was open is hung up");
    finish(&mut step).await;
    containers.shutdown().await;
    assert_eq!(refused(&containers, &world, 8000).await, NotConnected::NoSandbox);
}
