//! `buildspaces doctor`: for each thing outside the program, is it there, and if not, what to do.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Result;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::Availability;
use buildspaces_sandbox::Containers;
use buildspaces_storage::Database;

use crate::app;
use crate::config::Config;
use crate::say;

enum Finding {
    Good(String),
    /// The server runs without it, with less.
    Less(String),
    /// The server does not start.
    Bad(String),
}

/// Looks at everything and prints one line for each. Fails if the server would not start.
pub(crate) fn run(config: Config) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let findings = runtime.block_on(look(&config));
    let mut report = String::new();
    for (what, finding) in &findings {
        let (mark, text) = match finding {
            Finding::Good(text) => ("ok     ", text),
            Finding::Less(text) => ("missing", text),
            Finding::Bad(text) => ("FAILED ", text),
        };
        let _ = writeln!(report, "{mark}  {what:<12} {text}");
    }
    say(report.trim_end());
    let failed = findings.iter().any(|(_, finding)| matches!(finding, Finding::Bad(_)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn look(config: &Config) -> Vec<(&'static str, Finding)> {
    let mut findings = Vec::new();
    let lock = app::lock_data_folder(&config.data_dir);
    let usable = lock.is_ok();
    findings.push(match &lock {
        Ok(_) => ("data folder", Finding::Good(format!("{} can be written", config.data_dir.display()))),
        Err(error) => ("data folder", Finding::Bad(format!("{error:#}"))),
    });
    if usable {
        let path = config.data_dir.join("buildspaces.db");
        findings.push(match Database::open(&path, config.durability.into()).await {
            Ok(database) => {
                database.close().await;
                ("database", Finding::Good(format!("{} is up to date", path.display())))
            }
            Err(error) => ("database", Finding::Bad(error.to_string())),
        });
    }
    findings.push(match app::bind(config.listen) {
        Ok(_) => ("port", Finding::Good(format!("{} is free", config.listen))),
        Err(error) => ("port", Finding::Bad(error.to_string())),
    });
    let access = if config.gateway.auth.is_open() {
        "whoever reaches the server comes in; set a key in [auth] to need tokens"
    } else {
        "tokens are needed"
    };
    findings.push(("access", Finding::Good(access.to_owned())));
    findings.push(match &config.secrets_key {
        Some(_) => ("secrets", Finding::Good("there is a key to store rooms' secrets with".to_owned())),
        None => (
            "secrets",
            Finding::Less(
                "without secrets.key_file rooms keep no secrets; `openssl rand -hex 32` prints a key".to_owned(),
            ),
        ),
    });
    findings.push(match std::fs::metadata(&config.sandbox.agent) {
        Ok(meta) => ("agent", Finding::Good(format!("{} ({} KiB)", config.sandbox.agent.display(), meta.len() / 1024))),
        Err(_) => (
            "agent",
            Finding::Less(format!(
                "{} is not there, so nothing can run in sandboxes; build it with scripts/build-agent and set sandbox.agent",
                config.sandbox.agent.display()
            )),
        ),
    });
    if usable {
        findings.push(("sandboxes", sandboxes(config).await));
    }
    findings
}

/// Engine and image, as the server itself would find them.
async fn sandboxes(config: &Config) -> Finding {
    let tasks = Tasks::new();
    let opened = match app::instance(&config.data_dir) {
        Ok(instance) => {
            Containers::open(app::sandbox_config(config, instance), &tasks).await.map_err(anyhow::Error::from)
        }
        Err(error) => Err(error),
    };
    let finding = match opened {
        Ok(containers) => match containers.availability().borrow().clone() {
            Availability::Ready => Finding::Good(format!("the Docker engine answers and has {}", config.sandbox.image)),
            Availability::Off { message, hint } => Finding::Less(format!("runs are off: {message} {hint}")),
        },
        Err(error) => Finding::Bad(format!("{error:#}")),
    };
    tasks.shutdown(std::time::Duration::from_secs(2)).await;
    finding
}
