//! One program for a shell that runs the commands of all stages: stage after stage until one fails, the commands of a stage beside each
//! other. Each says what it is before it runs, so that what is printed reads like a terminal.

use std::fmt::Write as _;

use super::{Line, Stage, shown};

/// The program. Its exit status is that of the first command that failed, or 0.
pub fn script(stages: &[Stage]) -> String {
    let mut script = String::new();
    for stage in stages {
        let _ = writeln!(script, "s=0");
        for (at, command) in stage.commands.iter().enumerate() {
            let (run, read) = match &command.line {
                Line::Shell(text) => (format!("sh -c {}", quoted(text)), text.clone()),
                Line::Argv(argv) => {
                    let words: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
                    // By `exec`, which takes programs alone: a shell has commands of its own under some of their names.
                    (format!("sh -c 'exec \"$@\"' sh {}", words.join(" ")), argv.join(" "))
                }
            };
            let name = command.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            let _ = writeln!(script, "printf '%s\\n' {}", quoted(&format!("# {}{name}: {}", stage.key, shown(&read))));
            // Nothing is typed into any of them.
            let _ = writeln!(script, "{run} </dev/null & p{at}=$!");
        }
        for (at, _) in stage.commands.iter().enumerate() {
            let _ = writeln!(script, "wait $p{at} || {{ c=$?; [ $s -ne 0 ] || s=$c; }}");
        }
        let failed = quoted(&format!("# {} failed", stage.key));
        let _ = writeln!(script, "[ $s -eq 0 ] || {{ printf '%s (exit status %s)\\n' {failed} $s; exit $s; }}");
    }
    script
}

/// One word for a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
