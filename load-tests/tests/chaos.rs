//! A few plans of chaos against the real server; `buildspaces-load chaos` runs many. What needs root, disks that fail, is left to it.

use std::path::PathBuf;

use buildspaces_load_tests::chaos::plan::{Op, Plan};
use buildspaces_load_tests::chaos::run::{Setup, run};

/// Cargo builds the server's program for the tests of its own crate, into the same folder.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a program");
    let program = test.parent().and_then(|deps| deps.parent()).expect("it lies in deps").join("buildspaces");
    assert!(program.is_file(), "{} is not there; cargo build --workspace --bin buildspaces", program.display());
    program
}

#[test]
fn whatever_happens_nothing_is_lost_and_all_agree() {
    let setup = Setup { program: program(), settings: Vec::new(), scratch: std::env::temp_dir(), own_disk: false };
    // Where the server has to notice by itself that somebody has gone, a run takes most of a minute.
    let takes_long = |plan: &Plan| plan.steps.iter().any(|step| matches!(step.op, Op::ChangeNetwork { .. }));
    let kills = |plan: &Plan| plan.steps.iter().any(|step| matches!(step.op, Op::Kill));
    let plans: Vec<Plan> = (1..).map(Plan::from_seed).filter(|plan| kills(plan) && !takes_long(plan)).take(4).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let runs = plans.iter().map(|plan| run(plan, &setup));
        for (plan, report) in plans.iter().zip(futures_util::future::join_all(runs).await) {
            let report = report.expect("it runs to its end");
            let plan = serde_json::to_string(plan).expect("JSON");
            assert_eq!(report.failures, [""; 0], "{plan}\n{}", report.said);
            assert!(report.restarts > 0 && report.acknowledged > 0, "nothing was proven: {plan}");
        }
    });
}
