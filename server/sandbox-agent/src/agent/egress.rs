//! The inner end of the way out: a port on which programs ask for other hosts, each connection joined with one to the server.
//!
//! Nothing is read or decided here: what a program says is for the server's proxy, which knows where it may go.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;

use super::Config;
use super::link::dial;
use super::tunnels::{Open, STACK, carry};
use crate::protocol::Line;

/// Connections at the same time. One more is hung up at once.
const MAX_CONNECTIONS: usize = 32;

/// Starts the thread that listens, if there is a way out.
pub(super) fn spawn(config: &Config) -> std::io::Result<()> {
    let Some(port) = config.egress else { return Ok(()) };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let config = Arc::new(config.clone());
    let open = Arc::new(AtomicUsize::new(0));
    thread::Builder::new().name("egress".to_owned()).spawn(move || {
        loop {
            let Ok((program, _)) = listener.accept() else {
                // Out of descriptors, most likely; a pause gives others time to close theirs.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            let Some(open) = Open::one_more(&open, MAX_CONNECTIONS) else { continue };
            let config = Arc::clone(&config);
            let joining = move || {
                let _open = open;
                // Either side may break off at any time.
                let _ = join(&config, &program);
            };
            // Without a thread the connection ends, and the program sees that.
            let _ = thread::Builder::new().name("egress connection".to_owned()).stack_size(STACK).spawn(joining);
        }
    })?;
    Ok(())
}

fn join(config: &Config, program: &TcpStream) -> std::io::Result<()> {
    let Some(welcomed) = dial(config, Line::Egress)? else { return Ok(()) };
    program.set_nodelay(true)?;
    let (server, rest) = welcomed.into_parts();
    carry(&server, program, rest)
}
