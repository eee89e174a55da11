//! The table of what must be reached: ours beside the relay and the others, with ratios, from JSON lines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::servers::Kind;

/// What a row must reach.
#[derive(Clone, Copy, Debug)]
enum Must {
    Most(f64),
    Least(f64),
    MostOfLimit(f64),
    MostOfBest(f64),
    LeastOfBest(f64),
    /// Of ours in another run.
    MostOfOwn(f64, &'static str),
}

/// One row: where its figure is found, and what it must reach.
struct Row {
    what: &'static str,
    run: &'static str,
    key: &'static str,
    must: &'static [Must],
    kind: Figure,
}

/// Which of the runs of a scenario a row shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Figure {
    /// The best: other work of the machine only ever makes a run slower.
    Best,
    /// The best, of who could keep up. The longer one asks who cannot, the later the answers.
    Latency,
    /// The worst: what must never happen.
    Worst,
}

const ROWS: &[Row] = &[
    row(
        "steady 10 rooms x 20, 20/s: CPU seconds per million deliveries",
        "steady",
        "cpu_seconds_per_million",
        &[Must::MostOfLimit(1.0)],
    ),
    latency("the same, p50 ms", "steady", "p50_ms", &[]),
    latency("the same, p99 ms", "steady", "p99_ms", &[Must::Most(0.5), Must::MostOfLimit(1.3)]),
    row(
        "deliveries/s at human speed with p99 <= 250 ms",
        "saturate",
        "deliveries_per_second",
        &[Must::LeastOfBest(1.3)],
    ),
    row(
        "burst ceiling, one writer per room, deliveries/s",
        "burst-one",
        "deliveries_per_second",
        &[Must::LeastOfBest(1.5)],
    ),
    row(
        "burst ceiling, every member writes, deliveries/s",
        "burst-all",
        "deliveries_per_second",
        &[Must::LeastOfBest(1.5)],
    ),
    row("RSS per connection, 5,000 over 500 documents, KB", "idle", "rss_kib_per_connection", &[Must::Most(10.0)]),
    row("RSS per open 1 KB document with its connection, KB", "documents", "rss_kib_per_document", &[Must::Most(14.0)]),
    row("RSS after all left, to the start", "documents", "left_to_start", &[Must::Most(1.1)]),
    row("connect and sync 4,500, s", "idle", "connect_seconds", &[Must::Most(0.4)]),
    row("cold open of the 260k-edit trace, 1 client, ms", "cold", "one_ms", &[Must::Most(12.0)]),
    row("the same, last of 50, ms", "cold", "last_ms", &[Must::Most(40.0)]),
    row("150 clients join a 20 MB document: all there, s", "join-20", "seconds", &[Must::Most(3.0)]),
    worst("the same, peak RSS to the document's size", "join-20", "peak_to_document", &[Must::Most(15.0)]),
    row("the same, p99 of editors in another room, ms", "join-20", "editors_p99_ms", &[Must::Most(20.0)]),
    row("1,000 clients reconnect at once, s", "reconnect", "seconds", &[Must::Most(0.1)]),
    row("acknowledgements/s, 100 documents", "acks", "acks_per_second", &[Must::Least(20_000.0)]),
    latency("the same, p99 to one fsync", "acks", "p99_to_fsync", &[Must::Most(3.0)]),
    latency("presence, 500 of one room at 10 Hz: p99 ms", "presence", "p99_ms", &[Must::Most(100.0)]),
    row("the same, share of a core", "presence", "server_share", &[Must::Most(0.4)]),
    worst("acknowledged edits lost at SIGKILL", "kill", "lost", &[Must::Most(0.0)]),
];

const MEDIA_ROWS: &[Row] = &[
    row(
        "voice and camera to 60: CPU microseconds per forwarded packet",
        "media-60",
        "cpu_us_per_packet",
        &[Must::MostOfBest(0.75), Must::MostOfLimit(1.05)],
    ),
    worst("the same, packets lost", "media-60", "lost", &[]),
    latency("the same, p99 ms", "media-60", "p99_ms", &[]),
    row(
        "voice and camera to 120: CPU microseconds per forwarded packet",
        "media-120",
        "cpu_us_per_packet",
        &[Must::MostOfBest(0.75), Must::MostOfLimit(1.05)],
    ),
    worst("the same, packets lost", "media-120", "lost", &[]),
    latency("the same, p99 ms", "media-120", "p99_ms", &[]),
    row("voice and camera to 60 who give feedback: the same", "media-60-feedback", "cpu_us_per_packet", &[]),
    row(
        "20 who all send and receive, simulcast: CPU microseconds per forwarded packet",
        "media-call",
        "cpu_us_per_packet",
        &[Must::MostOfOwn(1.3, "media-60-feedback")],
    ),
    worst("the same, packets dropped by the server", "media-call", "dropped_by_server", &[Must::Most(0.0)]),
    worst("the same, packets missing at receivers", "media-call", "missing", &[Must::Most(0.0)]),
    row("join to the first whole keyframe, p50 ms", "media-churn", "p50_ms", &[Must::Most(400.0)]),
    row("the same, p95 ms", "media-churn", "p95_ms", &[Must::Most(800.0)]),
    row("the same of a camera in one layer, p50 ms", "media-churn-single", "p50_ms", &[Must::Most(400.0)]),
    row("the same, p95 ms", "media-churn-single", "p95_ms", &[Must::Most(800.0)]),
    worst("after 200 joins and leaves: memory, to the start", "media-churn", "left_to_start", &[Must::Most(1.1)]),
    worst("the same, open files more than at the start", "media-churn", "files_more", &[Must::Most(0.0)]),
    worst("strangers, a flood and stolen SSRCs: packets lost to others", "media-hostile", "lost", &[Must::Most(0.0)]),
];

const fn row(what: &'static str, run: &'static str, key: &'static str, must: &'static [Must]) -> Row {
    Row { what, run, key, must, kind: Figure::Best }
}

const fn latency(what: &'static str, run: &'static str, key: &'static str, must: &'static [Must]) -> Row {
    Row { what, run, key, must, kind: Figure::Latency }
}

const fn worst(what: &'static str, run: &'static str, key: &'static str, must: &'static [Must]) -> Row {
    Row { what, run, key, must, kind: Figure::Worst }
}

impl Row {
    fn more_is_better(&self) -> bool {
        self.must.iter().any(|must| matches!(must, Must::Least(_) | Must::LeastOfBest(_)))
    }

    /// Of all runs that measured this with one server.
    fn figure(&self, lines: Option<&Vec<&Value>>) -> Option<f64> {
        let counts = |line: &&&Value| self.kind != Figure::Latency || line["server_was_saturated"] != true;
        let values = lines?.iter().filter(counts).filter_map(|line| line["result"][self.key].as_f64());
        if self.more_is_better() == (self.kind == Figure::Worst) {
            values.min_by(f64::total_cmp)
        } else {
            values.max_by(f64::total_cmp)
        }
    }

    /// It could not keep up in any of them, so it has no latency.
    fn is_saturated(&self, lines: Option<&Vec<&Value>>) -> bool {
        let is_latency = self.kind == Figure::Latency && self.figure(lines).is_none();
        is_latency && lines.into_iter().flatten().any(|line| line["server_was_saturated"] == true)
    }

    /// As a cell says it.
    fn shown(&self, figures: &Figures<'_>, kind: Kind) -> String {
        let lines = figures.get(&(self.run, kind.name()));
        if self.is_saturated(lines) {
            return "saturated".to_owned();
        }
        shown(self.figure(lines), bound(figures, self.run, kind))
    }
}

/// Rows about servers of one kind, and which those are.
struct Part {
    /// What its place in the page is called.
    name: &'static str,
    rows: &'static [Row],
    /// What only moves bytes.
    limit: Kind,
    peers: &'static [Kind],
}

/// The place of the table that has pictures.
pub const DRAWN: &str = "measured";

const PARTS: [Part; 2] = [
    Part { name: DRAWN, rows: ROWS, limit: Kind::Relay, peers: &Kind::PEERS },
    Part { name: "calls", rows: MEDIA_ROWS, limit: Kind::Forwarder, peers: &[Kind::Janus] },
];

/// Figures by run and server.
type Figures<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Value>>;

/// The tables in Markdown, each with where it was measured and what was not, and the name of its place in the page.
pub fn tables(lines: &[Value]) -> Vec<(&'static str, String)> {
    let table = |part: &Part| {
        let own: Vec<&Value> = lines.iter().filter(|line| part.has(text(line, "scenario"))).collect();
        let mut figures = Figures::new();
        for line in &own {
            figures.entry((text(line, "scenario"), text(line, "server"))).or_default().push(*line);
        }
        (!own.is_empty()).then(|| (part.name, format!("{}{}", part.table(&figures), below(&own))))
    };
    PARTS.iter().filter_map(table).collect()
}

impl Part {
    fn has(&self, run: &str) -> bool {
        run.starts_with("media") == (self.limit == Kind::Forwarder)
    }

    /// What it must reach is compared with.
    fn others(&self, figures: &Figures<'_>, row: &Row) -> Others {
        let figure = |kind: Kind| row.figure(figures.get(&(row.run, kind.name())));
        let peers = self.peers.iter().filter_map(|kind| figure(*kind));
        let best = peers.reduce(|best, next| if (next > best) == row.more_is_better() { next } else { best });
        Others { limit: figure(self.limit), best }
    }

    fn table(&self, figures: &Figures<'_>) -> String {
        let columns = || [self.limit].into_iter().chain(self.peers.iter().copied());
        let mut out = String::from("| what | must reach | ours |");
        columns().for_each(|kind| {
            let _ = write!(out, " {} |", kind.name());
        });
        let _ = writeln!(out, " ours / {} | ours / {} | reached |", self.limit.name(), self.peer());
        out.push_str("| --- | --- |");
        out.push_str(&" ---: |".repeat(columns().count() + 3));
        out.push_str(" --- |\n");
        for row in self.rows {
            let own = figures.get(&(row.run, Kind::Ours.name()));
            let ours = row.figure(own);
            let others = self.others(figures, row);
            let must: Vec<String> = row.must.iter().map(|must| self.words(*must)).collect();
            let _ = write!(out, "| {} | {} | {} |", row.what, must.join(", "), row.shown(figures, Kind::Ours));
            for kind in columns() {
                let _ = write!(out, " {} |", row.shown(figures, kind));
            }
            let holds = |must: &Must, ours| {
                let own = |run: &'static str| row.figure(figures.get(&(run, Kind::Ours.name())));
                must.holds(ours, others, own)
            };
            let verdict = match ours {
                None if row.is_saturated(own) => "**no**",
                None => "not measured",
                Some(_) if row.must.is_empty() => "",
                Some(ours) => match row.must.iter().map(|must| holds(must, ours)).collect::<Option<Vec<_>>>() {
                    None => "nothing to compare with",
                    Some(held) if held.iter().all(|held| *held) => "yes",
                    Some(_) => "**no**",
                },
            };
            let _ = writeln!(out, " {} | {} | {verdict} |", ratio(ours, others.limit), ratio(ours, others.best));
        }
        out
    }

    fn peer(&self) -> &'static str {
        if let [one] = self.peers { one.name() } else { "best peer" }
    }

    fn words(&self, must: Must) -> String {
        match must {
            Must::Most(most) => format!("<= {most}"),
            Must::Least(least) => format!(">= {least}"),
            Must::MostOfLimit(most) => format!("<= {most} x {}", self.limit.name()),
            Must::MostOfBest(most) => format!("<= {most} x {}", self.peer()),
            Must::LeastOfBest(least) => format!(">= {least} x {}", self.peer()),
            Must::MostOfOwn(most, run) => format!("<= {most} x {}", run.trim_start_matches("media-")),
        }
    }
}

/// Where it was measured, with which versions, and what is missing or doubtful.
fn below(lines: &[&Value]) -> String {
    let mut out = String::new();
    let Some(machine) = lines.last().map(|line| &line["machine"]) else { return out };
    let _ = writeln!(
        out,
        "\nMeasured on {} on {} ({} cores, {} GiB, Linux {}).",
        text(machine, "date"),
        text(machine, "cpu"),
        machine["cores"],
        machine["memory_gib"],
        text(machine, "kernel")
    );
    let versions: BTreeMap<_, _> = lines.iter().map(|line| (text(line, "server"), text(line, "version"))).collect();
    let versions: Vec<_> = versions.iter().map(|(server, version)| format!("{server}: {version}")).collect();
    let _ = writeln!(out, "{}.", versions.join("; "));
    let noisy: Vec<f64> = lines.iter().filter_map(|line| line["spent"]["others_share"].as_f64()).collect();
    let noise = noisy.iter().sum::<f64>() / noisy.len().max(1) as f64;
    let _ = writeln!(out, "Other programs used {noise:.2} cores on average meanwhile.");
    out.push_str("`>` marks a lower bound: the generator, not the server, was at its limit.\n");
    for line in lines {
        if let Some(reason) = line["not_measured"].as_str() {
            let reason: String = reason.chars().take(200).collect();
            let _ = writeln!(out, "\nNot measured: {} with {}: {reason}", text(line, "server"), text(line, "scenario"));
        }
    }
    out
}

/// Figures of others in one row.
#[derive(Clone, Copy)]
struct Others {
    limit: Option<f64>,
    best: Option<f64>,
}

impl Must {
    /// None if what it is compared with was not measured. `own`: ours in another run.
    fn holds(self, ours: f64, others: Others, own: impl Fn(&'static str) -> Option<f64>) -> Option<bool> {
        Some(match self {
            Self::Most(most) => ours <= most,
            Self::Least(least) => ours >= least,
            Self::MostOfLimit(most) => ours <= most * others.limit?,
            Self::MostOfBest(most) => ours <= most * others.best?,
            Self::LeastOfBest(least) => ours >= least * others.best?,
            Self::MostOfOwn(most, run) => ours <= most * own(run)?,
        })
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

/// Was the generator the bottleneck in any of these runs, of those that look for a limit?
fn bound(figures: &Figures<'_>, run: &str, kind: Kind) -> bool {
    let lines = figures.get(&(run, kind.name()));
    ["saturate", "burst", "media-60", "media-120"].iter().any(|prefix| run.starts_with(prefix))
        && lines.into_iter().flatten().any(|line| line["generator_was_the_bottleneck"] == true)
}

fn shown(value: Option<f64>, is_bound: bool) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let digits = if value == 0.0 || value.abs() >= 100.0 {
        0
    } else {
        2 - value.abs().log10().floor().clamp(-1.0, 2.0) as usize
    };
    format!("{}{value:.digits$}", if is_bound { "> " } else { "" })
}

fn ratio(ours: Option<f64>, other: Option<f64>) -> String {
    match (ours, other) {
        (Some(ours), Some(other)) if other > 0.0 => format!("{:.2}", ours / other),
        _ => "-".to_owned(),
    }
}

/// Puts a table into its place in a page.
pub fn write_into(page: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let (begin, end) = (format!("<!-- {name}: written by"), format!("<!-- end of {name} -->"));
    let old = std::fs::read_to_string(page).with_context(|| format!("the page {}", page.display()))?;
    let after = |at: usize| Some(at + old[at..].find('\n')?);
    let (Some(from), Some(to)) = (old.find(&begin).and_then(after), old.find(&end)) else {
        anyhow::bail!("{} has no place for the table: {begin} … {end}", page.display());
    };
    ensure!(from < to, "the markers in {} are in the wrong order", page.display());
    let new = format!("{}\n\n{}\n{}", &old[..from], text.trim_end(), &old[to..]);
    Ok(std::fs::write(page, new)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(scenario: &str, server: Kind, result: Value) -> Value {
        json!({"scenario": scenario, "server": server.name(), "version": "1", "result": result,
               "machine": {"date": "2026-01-01", "cpu": "x", "cores": 2, "memory_gib": 4, "kernel": "6"}})
    }

    fn table(lines: &[Value]) -> String {
        tables(lines).into_iter().map(|(_, table)| table).collect()
    }

    fn cells(table: &str, what: &str) -> Vec<String> {
        let row = table.lines().find(|line| line.starts_with(&format!("| {what}"))).expect("the row is there");
        row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    }

    #[test]
    fn rows_compare_with_the_relay_and_the_best_peer() {
        let table = table(&[
            line("steady", Kind::Ours, json!({"cpu_seconds_per_million": 9.0, "p99_ms": 0.4})),
            line("steady", Kind::Relay, json!({"cpu_seconds_per_million": 10.0, "p99_ms": 0.2})),
            line("steady", Kind::YSweet, json!({"cpu_seconds_per_million": 12.0})),
            line("burst-one", Kind::Ours, json!({"deliveries_per_second": 120.0})),
            line("burst-one", Kind::YSweet, json!({"deliveries_per_second": 50.0})),
            line("burst-one", Kind::Hocuspocus, json!({"deliveries_per_second": 100.0})),
        ]);
        let cpu = cells(&table, "steady 10 rooms");
        assert_eq!((&*cpu[2], &*cpu[8], &*cpu[9], &*cpu[10]), ("9.00", "0.90", "0.75", "yes"));
        assert_eq!(cells(&table, "the same, p99 ms")[10], "**no**", "twice the relay");
        let burst = cells(&table, "burst ceiling, one");
        assert_eq!((&*burst[9], &*burst[10]), ("1.20", "**no**"), "compared with the faster of the two");
        assert_eq!(cells(&table, "burst ceiling, every")[10], "not measured");
    }

    #[test]
    fn what_was_not_measured_is_said_and_the_best_counts_but_of_what_must_not_happen() {
        let mut lines: Vec<_> = [3.0, 1.0, 2.0].map(|lost| line("kill", Kind::Ours, json!({"lost": lost}))).into();
        lines.extend([3.0, 1.0, 2.0].map(|ms| line("steady", Kind::Ours, json!({"p99_ms": ms}))));
        lines.extend([3.0, 1.0, 2.0].map(|rate| line("burst-one", Kind::Ours, json!({"deliveries_per_second": rate}))));
        lines.push(json!({"scenario": "kill", "server": "y-sweet", "not_measured": "it is not there"}));
        let table = table(&lines);
        assert_eq!(cells(&table, "acknowledged edits lost")[2], "3.00");
        assert_eq!(cells(&table, "the same, p99 ms")[2], "1.00");
        assert_eq!(cells(&table, "burst ceiling, one")[2], "3.00");
        assert!(table.contains("Not measured: y-sweet with kill: it is not there"));
    }

    #[test]
    fn who_cannot_keep_up_has_no_latency() {
        let at = |server, is_saturated: bool| {
            let mut line = line("presence", server, json!({"p99_ms": 50.0, "server_share": 1.0}));
            line["server_was_saturated"] = is_saturated.into();
            line
        };
        let row = |ours| {
            let table = table(&[at(Kind::Ours, ours), at(Kind::Relay, true), at(Kind::Hocuspocus, false)]);
            (cells(&table, "presence, 500"), cells(&table, "the same, share of a core"))
        };
        let (latency, share) = row(false);
        assert_eq!((&*latency[2], &*latency[3], &*latency[8], &*latency[9]), ("50.0", "saturated", "-", "1.00"));
        assert_eq!(latency[10], "yes");
        assert_eq!(share[3], "1.00", "how busy it was is known");
        let (latency, _) = row(true);
        assert_eq!((&*latency[2], &*latency[10]), ("saturated", "**no**"));
    }

    #[test]
    fn calls_have_a_table_with_servers_of_their_own() {
        let cpu = |server, run, us: f64| line(run, server, json!({"cpu_us_per_packet": us}));
        let table = table(&[
            cpu(Kind::Ours, "media-60", 10.0),
            cpu(Kind::Forwarder, "media-60", 9.6),
            cpu(Kind::Janus, "media-60", 14.0),
            cpu(Kind::Ours, "media-60-feedback", 12.0),
            cpu(Kind::Ours, "media-call", 12.9),
        ]);
        let row = cells(&table, "voice and camera to 60");
        assert_eq!(row[1..], ["<= 0.75 x Janus, <= 1.05 x forwarder", "10.0", "9.60", "14.0", "1.04", "0.71", "yes"]);
        assert_eq!(cells(&table, "20 who all send")[1], "<= 1.3 x 60-feedback");
        assert_eq!(cells(&table, "20 who all send")[7], "yes");
        assert!(!table.contains("steady"), "nothing of documents was measured");
    }

    #[test]
    fn a_page_keeps_what_people_wrote() {
        let page = tempfile::NamedTempFile::new().expect("a file");
        let (begin, end) = ("<!-- calls: written by `make bench` -->", "<!-- end of calls -->");
        std::fs::write(page.path(), format!("before\n{begin}\nold\n{end}\nafter\n")).expect("written");
        write_into(page.path(), "calls", "new\n").expect("it has markers");
        write_into(page.path(), "calls", "newer\n").expect("it still has markers");
        assert!(write_into(page.path(), "measured", "elsewhere").is_err());
        let text = std::fs::read_to_string(page.path()).expect("read");
        assert_eq!(text, format!("before\n{begin}\n\nnewer\n{end}\nafter\n"));
    }
}
