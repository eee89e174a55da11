//! `forwardPorts` and `portsAttributes`: which ports a program is expected to listen on, and what they are called. Nothing is forwarded:
//! every port on which a program listens is in the room's list anyway.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Object, Reading, shown};

/// Most ports of one file.
const MAX_PORTS: usize = 64;

/// Longest label, in characters.
const MAX_LABEL: usize = 40;

/// A port of which the file says something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Port {
    pub port: u16,
    pub label: Option<String>,
    /// It is one of `forwardPorts`.
    pub expected: bool,
}

pub(super) fn read(file: &Object, reading: &mut Reading<'_>) {
    match file.get("forwardPorts") {
        None => {}
        Some(Value::Array(ports)) => {
            for value in ports {
                match value.as_u64().map(u16::try_from).and_then(Result::ok).or_else(|| own(value)) {
                    Some(port) if port > 0 => place(reading, port, |place| place.expected = true),
                    _ => {
                        let said = shown(&value.to_string());
                        let message = format!(
                            "{said} is no port of this sandbox, from 1 to 65535; there are no other containers beside it. It is passed over."
                        );
                        reading.notice(Some("forwardPorts"), message);
                    }
                }
            }
        }
        Some(other) => reading.wrong("forwardPorts", other, "a list of ports"),
    }
    match file.get("portsAttributes") {
        None => {}
        Some(Value::Object(attributes)) => {
            for (ports, attributes) in attributes {
                let Some(label) = attributes.get("label") else { continue };
                let key = format!("portsAttributes.{ports}");
                match (ports.parse::<u16>(), label) {
                    (Ok(port), Value::String(label)) if port > 0 => {
                        let label: String = shown(label.trim()).chars().take(MAX_LABEL).collect();
                        place(reading, port, |place| place.label = Some(label).filter(|label| !label.is_empty()));
                    }
                    (
                        Ok(_),
                        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)),
                    ) => {
                        reading.wrong(&format!("{key}.label"), other, "a text");
                    }
                    _ => reading.notice(Some(&key), "Only single ports are labelled here. It is passed over."),
                }
            }
        }
        Some(other) => reading.wrong("portsAttributes", other, "an object with a key for each port"),
    }
    // Those of which only something was said that does not count.
    reading.granted.ports.retain(|port| port.expected || port.label.is_some());
}

/// The port of `"localhost:3000"`.
fn own(value: &Value) -> Option<u16> {
    let (host, port) = value.as_str()?.rsplit_once(':')?;
    matches!(host, "localhost" | "127.0.0.1").then(|| port.parse().ok())?
}

fn place(reading: &mut Reading<'_>, port: u16, change: impl FnOnce(&mut Port)) {
    let ports = &mut reading.granted.ports;
    match ports.binary_search_by_key(&port, |place| place.port) {
        Ok(at) => change(&mut ports[at]),
        Err(_) if ports.len() == MAX_PORTS => {
            let message = format!("Port {port} is passed over: at most {MAX_PORTS} ports are named.");
            reading.notice(Some("forwardPorts"), message);
        }
        Err(at) => {
            let mut place = Port { port, label: None, expected: false };
            change(&mut place);
            ports.insert(at, place);
        }
    }
}
