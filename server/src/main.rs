//! The command line: `buildspaces serve`, `doctor`, `image`, `token`, `room`, `export`, `import`, `openapi`.
//!
//! Everything else is in the library crates; [`app`] puts them together, [`config`] alone reads file and environment.

mod app;
mod archive;
mod config;
mod doctor;
mod image;
mod room;
mod telemetry;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use buildspaces_kernel::ids::RoomKind;
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
    /// Makes images for sandboxes, and checks them.
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Makes a token that lets somebody in, with the key in [auth] of the configuration.
    Token {
        #[command(flatten)]
        settings: ServeArgs,
        #[command(flatten)]
        token: token::TokenArgs,
    },
    /// Makes a room one of another kind. Stop the server first, or ask it: PUT /api/v1/rooms/{room}/kind.
    Room(RoomArgs),
    /// Writes a room with all its history into one file. Stop the server first, or ask it: GET /api/v1/rooms/{room}/archive.
    Export(ExportArgs),
    /// Creates a room from such a file.
    Import(ImportArgs),
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

#[derive(Args)]
struct RoomArgs {
    /// The room's id: what follows /r/ in its link.
    #[arg(long, value_name = "ROOM")]
    room: String,
    /// What it becomes: one of [sandbox.kinds], or default.
    #[arg(long, value_name = "KIND", value_parser = token::kind)]
    kind: RoomKind,
    #[command(flatten)]
    of: DataArgs,
}

#[derive(Args)]
struct ExportArgs {
    /// The room's id: what follows /r/ in its link.
    #[arg(long, value_name = "ROOM")]
    room: String,
    /// The file to write; it must not exist.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    from: DataArgs,
}

#[derive(Args)]
struct ImportArgs {
    /// The file to read.
    #[arg(value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    becomes: token::TenancyArgs,
    #[command(flatten)]
    into: DataArgs,
}

#[derive(Args)]
struct DataArgs {
    /// A TOML file with settings; see docs/configuration.md.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder that holds everything the server keeps [default: ~/.local/share/buildspaces/data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl From<DataArgs> for ServeArgs {
    fn from(args: DataArgs) -> Self {
        Self { config: args.config, data: args.data, ..Self::default() }
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => read(&args).and_then(app::serve),
        Command::Doctor(args) => read(&args).and_then(doctor::run),
        Command::Image(command) => read(&command.settings()).and_then(|config| image::run(config, command)),
        Command::Token { settings, token } => read(&settings).and_then(|config| token::run(&config, token)),
        Command::Room(args) => {
            read(&args.of.into()).and_then(|config| room::change_kind(&config, &args.room, args.kind))
        }
        Command::Export(args) => {
            read(&args.from.into()).and_then(|config| archive::export(&config, &args.room, &args.output))
        }
        Command::Import(args) => {
            read(&args.into.into()).and_then(|config| archive::import(&config, &args.input, args.becomes))
        }
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

/// What the user asked to see goes to standard output. Whoever reads it may have gone; that is no reason to stop.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn say_error(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
