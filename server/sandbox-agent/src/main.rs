//! The agent's entry: reads where to dial and the token, then serves for ever. Start reading at `agent.rs`.
//!
//! Started by itself, for a terminal or a command, it is one of the two processes that `agent/supervise.rs` tells of.

use std::path::PathBuf;
use std::process::ExitCode;

use buildspaces_sandbox_agent::agent::{Config, run, supervised};
use buildspaces_sandbox_agent::protocol::{DEFAULT_SOCKET, EGRESS_VARIABLE, SECRETS_FOLDER, TOKEN_VARIABLE};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    if let Some(code) = first.as_deref().and_then(|first| supervised(first, &mut arguments)) {
        return code;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the environment of process 1 is the one place that other processes of the sandbox cannot read"
    )]
    let (token, egress) = (std::env::var(TOKEN_VARIABLE), std::env::var(EGRESS_VARIABLE));
    let Ok(token) = token else {
        eprintln!("{TOKEN_VARIABLE} is not set: this program is started by the server, inside a sandbox");
        return ExitCode::FAILURE;
    };
    let socket = first.map_or_else(|| PathBuf::from(DEFAULT_SOCKET), PathBuf::from);
    let egress = egress.ok().and_then(|port| port.parse().ok());
    let secrets = arguments.next().map_or_else(|| PathBuf::from(SECRETS_FOLDER), PathBuf::from);
    match run(Config { socket, token, egress, secrets }) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("the sandbox agent cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
