//! The command line: one scenario against one or more servers, or all of them for the tables; one JSON line per result.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use buildspaces_load_tests::bench::{self, Set};
use buildspaces_load_tests::chaos::run::Setup;
use buildspaces_load_tests::chaos::{self, Chaos};
use buildspaces_load_tests::lab::Lab;
use buildspaces_load_tests::measure::{self, Machine};
use buildspaces_load_tests::member::Target;
use buildspaces_load_tests::plots;
use buildspaces_load_tests::report::{self, Subject};
use buildspaces_load_tests::scenario::{Outcome, Scenario};
use buildspaces_load_tests::servers::{GENERATOR_CORE, Kind, NotMeasured, Programs, Server};
use buildspaces_load_tests::table;
use buildspaces_load_tests::wire::Dialect;
use clap::{Args, Parser, Subcommand};
use serde_json::Value;

/// Drives Yjs servers and measures them.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Common {
    /// Which servers, one after the other.
    #[arg(long, value_delimiter = ',', global = true)]
    server: Vec<Kind>,
    /// A server that runs already, instead.
    #[arg(long, value_name = "ADDRESS:PORT", global = true)]
    address: Option<SocketAddr>,
    /// How that server is spoken to.
    #[arg(long, default_value = "y-websocket", global = true)]
    dialect: Dialect,
    /// Process group of that server, to measure its processor time and memory.
    #[arg(long, default_value_t = 0, global = true)]
    group: u32,
    /// How often to measure each server; they take turns.
    #[arg(long, default_value_t = 1, global = true)]
    repeat: usize,
    /// The program of ours; by default beside this program.
    #[arg(long, value_name = "FILE", global = true)]
    ours: Option<PathBuf>,
    /// A setting of ours, as key=value; see docs/configuration.md.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    settings: Vec<String>,
    /// The folder with the servers for Node.js, which `make bench-peers` fills.
    #[arg(long, default_value = "load-tests/peers", global = true)]
    peers: PathBuf,
    /// The program of y-sweet.
    #[arg(long, value_name = "FILE", global = true)]
    y_sweet: Option<PathBuf>,
    /// Where the servers' data goes, on a real disk.
    #[arg(long, default_value = "/var/tmp", global = true)]
    scratch: PathBuf,
    /// Appends the results to this file as well.
    #[arg(long, value_name = "FILE", global = true)]
    out: Option<PathBuf>,
    /// Priority of generator and servers over the rest of the machine, where allowed.
    #[arg(long, default_value_t = -10, allow_negative_numbers = true, global = true)]
    nice: i32,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    One(Scenario),
    /// Measures everything that the tables need
    Bench {
        /// `short` takes a quarter of an hour, `full` has every scenario and every server.
        #[arg(long, default_value = "short")]
        set: Set,
        /// An editing trace for the cold open, such as automerge-paper.json.gz; one is made up if none is given.
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
        /// The page to write the table into.
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
    },
    Chaos(Chaos),
    /// Prints the table of results that were measured before
    Table {
        /// Files of JSON lines.
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// The page to write the table into.
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Command::Table { results, page } = &cli.command {
        let mut lines = Vec::new();
        for path in results {
            let text = std::fs::read_to_string(path).with_context(|| format!("the results {}", path.display()))?;
            for line in text.lines() {
                lines.push(serde_json::from_str(line)?);
            }
        }
        return show(&lines, page.as_deref());
    }
    if let Command::Chaos(chaos) = &cli.command {
        return wreck(&cli.common, chaos);
    }
    measure::allow_many_files();
    if !measure::prefer(cli.common.nice) {
        report::note(
            "without the right to raise its priority the generator measures other programs of this machine too",
        );
    }
    if !measure::pin(GENERATOR_CORE) {
        report::note("this machine has one core: generator and server share it, and no figure below is worth much");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(cli))
}

/// Nothing is measured, so it runs where and when the machine likes.
fn wreck(common: &Common, chaos: &Chaos) -> anyhow::Result<()> {
    let Programs { ours: program, settings, scratch, .. } = programs(common)?;
    let setup = Setup { program, settings, scratch, own_disk: true };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let total = tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::select! {
            total = chaos::chaos(chaos, &setup) => total,
            // Dropping the runs ends their servers and takes their disks away.
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
            _ = terminated() => anyhow::bail!("terminated"),
        }
    })?;
    report::say(&total.line().to_string());
    anyhow::ensure!(total.failed.is_empty(), "{} of {} plans failed", total.failed.len(), total.plans);
    Ok(())
}

async fn terminated() {
    if let Ok(mut signals) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        signals.recv().await;
    }
}

fn show(lines: &[Value], page: Option<&std::path::Path>) -> anyhow::Result<()> {
    for (place, mut text) in table::tables(lines) {
        report::say(&text);
        let Some(page) = page else { continue };
        // Beside the page, in a folder of its name.
        let folder = page.with_extension("");
        let drawn = if place == table::DRAWN { plots::draw(lines, &folder)? } else { Vec::new() };
        for name in drawn {
            let folder = folder.file_name().unwrap_or_default().display().to_string();
            text.push_str(&format!("\n![{}]({folder}/{name})\n", name.trim_end_matches(".svg")));
        }
        table::write_into(page, place, &text)?;
    }
    Ok(())
}

async fn run(Cli { common, command }: Cli) -> anyhow::Result<()> {
    let bench = Bench { machine: Machine::here(), programs: programs(&common)?, common };
    match command {
        Command::One(scenario) => {
            let servers = match bench.common.server.as_slice() {
                _ if bench.common.address.is_some() => &[Kind::Other],
                [] => &[Kind::Ours][..],
                some => some,
            };
            bench.measure(scenario.name(), &scenario, servers, 1).await.map(drop)
        }
        Command::Bench { set, trace, page } => {
            let start = std::time::Instant::now();
            let mut lines = Vec::new();
            for run in bench::runs(set, trace) {
                let wanted = |kind: &Kind| bench.common.server.is_empty() || bench.common.server.contains(kind);
                let servers: Vec<_> = run.servers.into_iter().filter(wanted).collect();
                report::note(&format!("{} ({} s so far)", run.label, start.elapsed().as_secs()));
                lines.extend(bench.measure(run.label, &run.scenario, &servers, run.times).await?);
            }
            show(&lines, page.as_deref())
        }
        Command::Table { .. } | Command::Chaos(_) => Ok(()),
    }
}

struct Bench {
    common: Common,
    machine: Machine,
    programs: Programs,
}

impl Bench {
    /// Measures a scenario on each server in turn.
    async fn measure(
        &self,
        label: &str,
        scenario: &Scenario,
        servers: &[Kind],
        times: usize,
    ) -> anyhow::Result<Vec<Value>> {
        let mut lines = Vec::new();
        for _ in 0..self.common.repeat * times {
            for kind in servers {
                let result = self.measure_one(*kind, scenario).await;
                let version = self.programs.version(*kind);
                let subject =
                    Subject { scenario: label, server: kind.name(), version: &version, plan: scenario.plan() };
                let line = report::line(&self.machine, &subject, &result);
                let text = line.to_string();
                match &self.common.out {
                    Some(path) => {
                        let mut file = std::fs::File::options().create(true).append(true).open(path)?;
                        writeln!(file, "{text}")?;
                    }
                    None => report::say(&text),
                }
                lines.push(line);
            }
        }
        Ok(lines)
    }

    async fn measure_one(&self, kind: Kind, scenario: &Scenario) -> Result<Outcome, NotMeasured> {
        if let Some(why) = scenario.unfit(kind) {
            return Err(NotMeasured(why));
        }
        let lab = Lab::new();
        let mut server = match self.common.address {
            Some(address) => {
                let target = Target { address, dialect: self.common.dialect };
                Server::attach(target, self.common.group, &self.programs)?
            }
            None => Server::start(kind, &self.programs).await?,
        };
        let outcome = scenario.run(&lab, &mut server).await;
        let outcome = outcome.map_err(|error| NotMeasured(format!("{error:#} (server: {})", server.last_words())));
        server.stop().await;
        outcome
    }
}

fn programs(common: &Common) -> anyhow::Result<Programs> {
    let own = std::env::current_exe()?;
    let beside = |name: &str| own.with_file_name(name);
    let cache = || {
        let home = std::env::home_dir().context("there is no home folder")?;
        anyhow::Ok(home.join(".cache/buildspaces/peers/y-sweet/bin/y-sweet"))
    };
    Ok(Programs {
        ours: common.ours.clone().unwrap_or_else(|| beside("buildspaces")),
        relay: beside("buildspaces-relay"),
        forwarder: beside("buildspaces-forwarder"),
        peers: std::path::absolute(&common.peers)?,
        y_sweet: common.y_sweet.clone().map_or_else(cache, Ok)?,
        settings: common.settings.clone(),
        scratch: common.scratch.clone(),
    })
}
