//! The command line: `buildspaces serve`, `doctor`, `token`, `openapi`.
//!
//! Everything else is in the library crates; [`app`] puts them together, [`config`] alone reads file and environment.

mod app;
mod config;
mod doctor;
mod telemetry;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use config::Config;

/// Gives memory back when people leave; see docs/dependencies.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Real-time collaborative rooms whose shared state runs plans in container sandboxes.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the server until it is told to stop (SIGINT or SIGTERM).
    Serve(ServeArgs),
    /// Looks at everything the server needs from this machine and says what is missing.
    Doctor(ServeArgs),
    /// Makes a token that lets somebody in, with the key in [auth] of the configuration.
    Token {
        #[command(flatten)]
        settings: ServeArgs,
        #[command(flatten)]
        token: token::TokenArgs,
    },
    /// Prints the OpenAPI description of the REST interface.
    Openapi,
}

#[derive(Args, Default)]
struct ServeArgs {
    /// A TOML file with settings; see docs/configuration.md.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The folder that holds everything the server keeps [default: ~/.local/share/buildspaces/data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Lets anybody who reaches the server use it, on an address that other machines reach.
    #[arg(long)]
    insecure_open_access: bool,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => read(&args).and_then(app::serve),
        Command::Doctor(args) => read(&args).and_then(doctor::run),
        Command::Token { settings, token } => read(&settings).and_then(|config| token::run(&config, token)),
        Command::Openapi => {
            say(&buildspaces_gateway::api::openapi_json());
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        say_error(&format!("buildspaces: {error:#}"));
        ExitCode::FAILURE
    })
}

fn read(args: &ServeArgs) -> anyhow::Result<Config> {
    let overrides = config::Overrides {
        listen: args.listen.clone(),
        data_dir: args.data.clone(),
        insecure_open_access: args.insecure_open_access,
    };
    Ok(config::read(args.config.as_deref(), std::env::vars_os(), overrides)?)
}

/// What the user asked to see goes to standard output.
#[expect(clippy::print_stdout, reason = "this is the program's output, not logging")]
fn say(text: &str) {
    println!("{text}");
}

fn say_error(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
