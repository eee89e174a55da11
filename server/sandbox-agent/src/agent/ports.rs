//! Tells the server on which ports programs listen, on a connection of its own, whenever that changes.
//!
//! Looking costs next to nothing ([`listening`]), so it is done some times a second while there is a program that could listen. What a
//! program opens and closes in between is not seen.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::link::{LONGEST_PAUSE, dial};
use super::listening::Listening;
use super::{Config, Shared};
use crate::protocol::{Event, Line, MAX_PORTS, encode_control};

/// How long a change may go unnoticed.
const EVERY: Duration = Duration::from_millis(250);

/// The same where looking means that the kernel writes and we read a table of all connections.
const EVERY_SLOWLY: Duration = Duration::from_secs(2);

pub(super) fn spawn(shared: &Arc<Shared>, config: &Config) -> std::io::Result<()> {
    let (shared, config) = (Arc::clone(shared), config.clone());
    thread::Builder::new().name("ports".to_owned()).spawn(move || {
        loop {
            // An end of it is no news: the server may have gone, or the socket with it.
            let _ = tell(&shared, &config);
            thread::sleep(LONGEST_PAUSE);
        }
    })?;
    Ok(())
}

/// One connection from hello to end.
fn tell(shared: &Shared, config: &Config) -> std::io::Result<()> {
    let Some(welcomed) = dial(config, Line::Ports)? else { return Ok(()) };
    let mut stream = welcomed.stream;
    let mut listening = Listening::new();
    let mut told = None;
    loop {
        let mut ports = if shared.lock().is_in_use() { listening.ports() } else { Vec::new() };
        // Our own is no program's.
        ports.retain(|port| Some(*port) != config.egress);
        ports.truncate(MAX_PORTS);
        if told.as_ref() != Some(&ports) {
            stream
                .write_all(&encode_control(&Event::Ports { ports: ports.clone() }).map_err(std::io::Error::other)?)?;
            told = Some(ports);
        }
        stream.set_read_timeout(Some(if listening.is_cheap() { EVERY } else { EVERY_SLOWLY }))?;
        // The pause. The server says nothing here, so all there is to read is its end.
        match stream.read(&mut [0; 64]) {
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}
