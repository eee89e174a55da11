//! Which scenarios with which parameters and servers fill the tables.

use std::path::PathBuf;

use crate::scenario::{
    Scenario, acks, burst, cold, documents, idle, join, kill, media, presence, reconnect, saturate, slow, steady,
    workshop,
};
use crate::servers::Kind;

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Set {
    /// Every row of the table but those of calls, in a quarter of an hour.
    Short,
    /// Everything.
    Full,
    /// Calls alone.
    Calls,
}

/// One scenario and who is measured with it.
#[derive(Debug)]
pub struct Run {
    /// What the table finds it by.
    pub label: &'static str,
    pub scenario: Scenario,
    pub servers: Vec<Kind>,
    /// How often; the servers take turns, and what counts is the best. What happens once, within a moment, is seldom twice the same.
    pub times: usize,
}

/// In the order they are measured: ours beside the relay first, so that what is compared is close in time.
pub fn runs(set: Set, trace: Option<PathBuf>) -> Vec<Run> {
    if set == Set::Calls {
        return calls(3);
    }
    use Kind::{Hocuspocus, HocuspocusSqlite, Ours, OursCollab, Relay, YSweet, YWebsocket};
    let full = set == Set::Full;
    let all = || {
        let mut servers = vec![Relay, Ours, YSweet, YWebsocket, Hocuspocus, HocuspocusSqlite];
        if full {
            servers.insert(2, OursCollab);
        }
        servers
    };
    let in_memory = || all().into_iter().filter(|kind| full || *kind != HocuspocusSqlite).collect::<Vec<_>>();
    let with_documents = || all().into_iter().filter(|kind| *kind != Relay).collect::<Vec<_>>();
    let persisting = || vec![Ours, YSweet, HocuspocusSqlite];
    let times = |times, label, scenario, servers| Run { label, scenario, servers, times };
    let run = |label, scenario, servers| times(1, label, scenario, servers);
    let defaults = steady::Steady::default;
    let documents = |patience| Scenario::Documents(documents::Documents { patience, ..Default::default() });
    let mut runs = vec![
        times(4, "steady", Scenario::Steady(steady::Steady { seconds: 3.5, warmup: 1.0, ..defaults() }), all()),
        run(
            "saturate",
            Scenario::Saturate(saturate::Saturate {
                seconds: if full { 4.0 } else { 3.0 },
                from: 100,
                ..Default::default()
            }),
            in_memory(),
        ),
        times(2, "burst-one", Scenario::Burst(burst::Burst::default()), in_memory()),
        times(2, "burst-all", Scenario::Burst(burst::Burst { all: true, ..Default::default() }), in_memory()),
        times(2, "idle", Scenario::Idle(idle::Idle::default()), all()),
        // Our documents leave half a minute after everybody did. What has not come back soon after comes back with the next use, or never.
        times(2, "documents", documents(36.0), vec![Ours]),
        run("documents", documents(6.0), vec![Relay]),
        run("cold", Scenario::Cold(cold::Cold { trace, ..Default::default() }), persisting()),
        run("join-20", Scenario::Join(join::Join { megabytes: 20.0, ..Default::default() }), vec![Ours]),
        times(3, "reconnect", Scenario::Reconnect(reconnect::Reconnect::default()), in_memory()),
        times(
            2,
            "acks",
            Scenario::Acks(acks::Acks { rate: 210.0, ..Default::default() }),
            vec![Ours, HocuspocusSqlite],
        ),
        run("presence", Scenario::Presence(presence::Presence { seconds: 5.0, ..Default::default() }), in_memory()),
        run("kill", Scenario::Kill(kill::Kill::default()), persisting()),
    ];
    if full {
        runs.extend(calls(3));
        runs.extend([
            run("documents-peers", documents(60.0), with_documents()),
            run("join-4", Scenario::Join(join::Join::default()), with_documents()),
            run(
                "join-20-peers",
                Scenario::Join(join::Join { megabytes: 20.0, ..Default::default() }),
                with_documents(),
            ),
            run("acks-closed-loop", Scenario::Acks(acks::Acks::default()), with_documents()),
            run("slow", Scenario::Slow(slow::Slow::default()), all()),
            run("workshop", Scenario::Workshop(workshop::Workshop::default()), all()),
            run(
                "kill-after-3-s",
                Scenario::Kill(kill::Kill { wait: 3.0, rounds: 1, ..Default::default() }),
                persisting(),
            ),
            run(
                "kill-after-12-s",
                Scenario::Kill(kill::Kill { wait: 12.0, rounds: 1, ..Default::default() }),
                persisting(),
            ),
            run("soak", Scenario::Steady(steady::Steady { seconds: 1800.0, ..defaults() }), vec![Ours]),
        ]);
    }
    runs
}

fn calls(times: usize) -> Vec<Run> {
    use Kind::{Forwarder, Janus, Ours};
    use media::{Media, Plan};
    let run = |label, plan, servers, times| Run { label, scenario: Scenario::Media(Media { plan }), servers, times };
    let forward = |subscribers| Plan::Forward(media::forward::Forward { subscribers, ..Default::default() });
    let with_feedback = Plan::Forward(media::forward::Forward { feedback: true, ..Default::default() });
    let all = || vec![Forwarder, Ours, Janus];
    vec![
        run("media-60", forward(60), all(), times),
        run("media-120", forward(120), all(), times),
        run("media-60-feedback", with_feedback, vec![Ours], times),
        run("media-call", Plan::Call(media::call::Call::default()), vec![Ours], times),
        run("media-churn", Plan::Churn(media::churn::Churn::default()), vec![Ours, Janus], 1),
        run("media-churn-single", Plan::Churn(media::churn::Churn { single: true, ..Default::default() }), all(), 1),
        run("media-hostile", Plan::Hostile(media::hostile::Hostile::default()), vec![Ours], 1),
    ]
}
