//! `containerEnv`: variables of the room's steps and terminals.
//!
//! Anybody in the room may read the file, so a variable is no secret and need not be guarded; what is guarded is what the sandbox itself
//! goes by. `PATH` or `LD_PRELOAD` are the room's own business: the agent is a static program that is there before them.

use serde_json::Value;

use super::{Reading, kind, shown, substituted};

/// Most variables.
const MAX_VARIABLES: usize = 64;

/// Most bytes of all names and values together.
const MAX_BYTES: usize = 16 << 10;

/// Longest name, in bytes.
const MAX_NAME: usize = 128;

/// By which programs find the way out, if there is one, and their home.
const OWN: [&str; 8] =
    ["HOME", "USER", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"];

/// What names of the agent's variables begin with.
const OWN_PREFIX: &str = "BUILDSPACES_";

pub(super) fn read(value: &Value, reading: &mut Reading<'_>) {
    let Value::Object(variables) = value else {
        return reading.wrong("containerEnv", value, "an object of names and texts");
    };
    let mut bytes = 0;
    for (name, value) in variables {
        let key = format!("containerEnv.{name}");
        let value = match check(name, value) {
            Ok(value) => value,
            Err(message) => {
                reading.notice(Some(&key), message);
                continue;
            }
        };
        if reading.granted.env.len() == MAX_VARIABLES || bytes + name.len() + value.len() > MAX_BYTES {
            let message = format!(
                "It is not set, nor is what follows: there are at most {MAX_VARIABLES} variables, of {} KiB together.",
                MAX_BYTES >> 10
            );
            return reading.notice(Some(&key), message);
        }
        bytes += name.len() + value.len();
        reading.granted.env.insert(name.clone(), value);
    }
}

fn check(name: &str, value: &Value) -> Result<String, String> {
    let Value::String(value) = value else {
        return Err(format!("It must be a text, not {}. It is not set.", kind(value)));
    };
    let mut letters = name.bytes();
    let begins = letters.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !begins || !letters.all(|b| b.is_ascii_alphanumeric() || b == b'_') || name.len() > MAX_NAME {
        return Err("A name has letters, digits and underscores, and begins with no digit. It is not set.".to_owned());
    }
    if OWN.contains(&name) || name.starts_with(OWN_PREFIX) {
        return Err("The sandbox itself sets it; it stays as it is.".to_owned());
    }
    if value.contains('\0') {
        return Err("A variable cannot hold a zero byte. It is not set.".to_owned());
    }
    substituted(value).map_err(|variable| {
        format!("{} has no value here: the server's own environment is no room's. It is not set.", shown(&variable))
    })
}
