//! The agent's entry: reads where to dial and the token, then serves for ever. Start reading at `agent.rs`.

use std::path::PathBuf;
use std::process::ExitCode;

use buildspaces_sandbox_agent::agent::{Config, run};
use buildspaces_sandbox_agent::protocol::{DEFAULT_SOCKET, TOKEN_VARIABLE};

fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the environment of process 1 is the one place that other processes of the sandbox cannot read"
    )]
    let token = std::env::var(TOKEN_VARIABLE);
    let Ok(token) = token else {
        eprintln!("{TOKEN_VARIABLE} is not set: this program is started by the server, inside a sandbox");
        return ExitCode::FAILURE;
    };
    let socket = std::env::args_os().nth(1).map_or_else(|| PathBuf::from(DEFAULT_SOCKET), PathBuf::from);
    match run(Config { socket, token }) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("the sandbox agent cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
