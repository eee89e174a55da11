//! The commands of a file: a text for a shell, a list for no shell, or an object of both that run beside each other.

use serde_json::Value;

use super::{Command, Line, Reading, Stage, kind, shown, substituted};

/// Most commands of one key.
const MAX_COMMANDS: usize = 16;

/// Most bytes of all commands of a file: together they are one argument of a program, which Linux bounds.
const MAX_BYTES: usize = 16 << 10;

/// Reads the commands of `key`. If one of them cannot be run, none of the key is: half of a set-up is none.
pub(super) fn read(key: &str, value: &Value, reading: &mut Reading<'_>) {
    let commands = match value {
        Value::Null => return,
        Value::Object(commands) if commands.len() > MAX_COMMANDS => {
            Err((key.to_owned(), format!("There are more than {MAX_COMMANDS} of them. None is run.")))
        }
        Value::Object(commands) => commands
            .iter()
            .filter_map(|(name, value)| {
                let command = line(value).map_err(|message| (format!("{key}.{name}"), message)).transpose()?;
                Some(command.map(|line| Command { name: Some(shown(name)), line }))
            })
            .collect(),
        value => match line(value) {
            Ok(line) => Ok(line.map(|line| Command { name: None, line }).into_iter().collect::<Vec<_>>()),
            Err(message) => Err((key.to_owned(), message)),
        },
    };
    let before = bytes_of(reading.granted.setup.iter().flat_map(|stage| &stage.commands));
    match commands {
        Ok(commands) if commands.is_empty() => {}
        Ok(commands) if before + bytes_of(&commands) > MAX_BYTES => {
            let most = MAX_BYTES >> 10;
            let message =
                format!("With it the commands are longer than {most} KiB; put them into a script. It is not run.");
            reading.notice(Some(key), message);
        }
        Ok(commands) => reading.granted.setup.push(Stage { key: key.to_owned(), commands }),
        Err((key, message)) => reading.notice(Some(&key), message),
    }
}

/// One command; `None` if there is nothing to do.
fn line(value: &Value) -> Result<Option<Line>, String> {
    let resolve = |text: &str| {
        if text.contains('\0') {
            return Err("A command cannot hold a zero byte. It is not run.".to_owned());
        }
        substituted(text).map_err(|variable| {
            format!("{variable} has no value here: the server's own environment is no room's. It is not run.")
        })
    };
    let line = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => Line::Shell(resolve(text)?),
        Value::Array(parts) if parts.is_empty() => return Ok(None),
        Value::Array(parts) => {
            let mut argv = Vec::with_capacity(parts.len());
            for part in parts {
                let Value::String(part) = part else {
                    return Err(format!("It must be a list of texts, and has {}. It is not run.", kind(part)));
                };
                argv.push(resolve(part)?);
            }
            if argv[0].is_empty() {
                return Err("The first of a list is the program, which has no name here. It is not run.".to_owned());
            }
            Line::Argv(argv)
        }
        other => return Err(format!("It must be a text or a list of texts, not {}. It is not run.", kind(other))),
    };
    Ok(Some(line))
}

fn bytes_of<'a>(commands: impl IntoIterator<Item = &'a Command>) -> usize {
    let bytes = |command: &Command| match &command.line {
        Line::Shell(text) => text.len(),
        Line::Argv(argv) => argv.iter().map(|part| part.len() + 1).sum(),
    };
    commands.into_iter().map(bytes).sum()
}
