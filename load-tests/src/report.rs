//! How results are written: one JSON line each.

use std::io::Write;

use serde_json::{Map, Value, json};

use crate::measure::Machine;
use crate::scenario::Outcome;
use crate::servers::NotMeasured;

/// Who was measured, with what.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    pub scenario: &'a str,
    pub server: &'a str,
    pub version: &'a str,
    pub plan: Value,
}

/// One result as one object.
pub fn line(machine: &Machine, subject: &Subject<'_>, result: &Result<Outcome, NotMeasured>) -> Value {
    let mut line = Map::new();
    line.insert("scenario".into(), subject.scenario.into());
    line.insert("server".into(), subject.server.into());
    line.insert("version".into(), subject.version.into());
    line.insert("plan".into(), subject.plan.clone());
    match result {
        Ok(outcome) => {
            line.insert("result".into(), Value::Object(outcome.values.clone()));
            if let Some(spent) = outcome.spent {
                line.insert("spent".into(), json!(spent));
                line.insert("generator_was_the_bottleneck".into(), spent.generator_was_the_bottleneck().into());
                line.insert("server_was_saturated".into(), spent.server_was_saturated().into());
            }
        }
        Err(NotMeasured(reason)) => {
            line.insert("not_measured".into(), reason.as_str().into());
        }
    }
    line.insert("machine".into(), json!(machine));
    Value::Object(line)
}

/// Writes a line of text to standard output.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Writes a remark to standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
