//! Rules, runs, steps and logs in SQLite.
//!
//! It decides nothing about runs: what a transition means was decided in `plans`. Each method is one transaction on the
//! one connection that writes, or one statement on a connection that reads. Start with [`Runs::insert`].

use async_trait::async_trait;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{PrincipalId, RoomId, RuleId, RunId};
use buildspaces_plans::log::admit;
use buildspaces_plans::ports::{Fetch, KEPT_RUNS, RunStore, StoreError};
use buildspaces_plans::rule::Rule;
use buildspaces_plans::run::{Run, RunState, StepRecord, StepState};
use buildspaces_plans::trigger::TriggerKey;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use crate::Database;

#[cfg(test)]
mod tests;

/// The run port of `plans`. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Runs(Database);

impl Runs {
    pub fn new(database: &Database) -> Self {
        Self(database.clone())
    }

    /// The runs that `select` (a query of the table `run`) finds, with their steps, in the order of `order`.
    async fn select(&self, select: &'static str, order: Order, binds: &[Bind<'_>]) -> Result<Vec<Run>, StoreError> {
        let order = match order {
            Order::NewestFirst => "r.queued_at DESC, r.seq DESC",
            Order::OldestFirst => "r.queued_at, r.seq",
        };
        let sql = format!(
            "SELECT r.*, s.id AS step_id, s.key AS step_key, s.state AS step_state, s.command, s.argv, s.exit,
                    s.started_at AS step_started_at, s.finished_at AS step_finished_at
             FROM ({select}) r JOIN step s ON s.run = r.id ORDER BY {order}, s.position"
        );
        // Both halves are literals of this file; what comes from outside is bound.
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for bind in binds {
            query = match bind {
                Bind::Text(text) => query.bind(*text),
                Bind::Number(number) => query.bind(*number),
            };
        }
        let rows = query.fetch_all(self.0.reader()).await.map_err(failed)?;
        let mut runs: Vec<Run> = Vec::new();
        for row in &rows {
            let id: RunId = parsed(row, "id", RunId::parse)?;
            if runs.last().is_none_or(|run| run.id != id) {
                runs.push(run_of(id, row)?);
            }
            runs.last_mut().expect("pushed above").steps.push(step_of(row)?);
        }
        Ok(runs)
    }
}

enum Order {
    NewestFirst,
    OldestFirst,
}

enum Bind<'a> {
    Text(&'a str),
    Number(u32),
}

#[async_trait]
impl RunStore for Runs {
    async fn rules(&self, room: &RoomId) -> Result<Vec<Rule>, StoreError> {
        let rows =
            sqlx::query("SELECT id, room, name, globs, skill, enabled, secrets FROM rule WHERE room = ? ORDER BY seq")
                .bind(room.as_str())
                .fetch_all(self.0.reader())
                .await
                .map_err(failed)?;
        rows.iter().map(rule_of).collect()
    }

    async fn insert_rule(&self, rule: &Rule) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO rule (id, room, name, globs, skill, enabled, secrets) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET room = excluded.room, name = excluded.name, globs = excluded.globs,
                 skill = excluded.skill, enabled = excluded.enabled, secrets = excluded.secrets",
        )
        .bind(rule.id.as_str())
        .bind(rule.room.as_str())
        .bind(&rule.name)
        .bind(json(&rule.globs))
        .bind(&rule.skill)
        .bind(rule.enabled)
        .bind(json(&rule.secrets))
        .execute(&mut *self.0.write().await.map_err(failed)?)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn set_dirty(&self, room: &RoomId, rule: &RuleId, since: Option<UnixMillis>) -> Result<(), StoreError> {
        sqlx::query("UPDATE rule SET dirty_since = ? WHERE room = ? AND id = ?")
            .bind(since)
            .bind(room.as_str())
            .bind(rule.as_str())
            .execute(&mut *self.0.write().await.map_err(failed)?)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn dirty(&self) -> Result<Vec<(RoomId, RuleId)>, StoreError> {
        let rows = sqlx::query("SELECT room, id FROM rule WHERE dirty_since IS NOT NULL ORDER BY dirty_since")
            .fetch_all(self.0.reader())
            .await
            .map_err(failed)?;
        rows.iter().map(|row| Ok((parsed(row, "room", RoomId::parse)?, parsed(row, "id", RuleId::parse)?))).collect()
    }

    async fn insert(&self, run: &Run, replaced: Option<&Run>) -> Result<bool, StoreError> {
        let mut writing = self.0.write().await.map_err(failed)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        let inserted = sqlx::query(
            "INSERT INTO run (id, room, rule, rule_name, skill, trigger_key, content_hash, state, requested_by,
                 requested_by_name, queued_at, started_at, finished_at, message, rev)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (room, rule, trigger_key) WHERE state IN ('queued', 'running', 'passed', 'failed') DO NOTHING",
        )
        .bind(run.id.as_str())
        .bind(run.room.as_str())
        .bind(run.rule.as_str())
        .bind(&run.rule_name)
        .bind(&run.skill)
        .bind(run.trigger_key.to_string())
        .bind(&run.content_hash)
        .bind(run.state.as_str())
        .bind(run.requested_by.as_str())
        .bind(&run.requested_by_name)
        .bind(run.queued_at)
        .bind(run.started_at)
        .bind(run.finished_at)
        .bind(&run.message)
        .bind(number(run.rev))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        if inserted.rows_affected() == 0 {
            return Ok(false);
        }
        write_steps(&mut transaction, run).await?;
        if let Some(replaced) = replaced {
            update(&mut transaction, replaced).await?;
        }
        // Steps and logs go with their run.
        sqlx::query(
            "DELETE FROM run WHERE seq IN
                 (SELECT seq FROM run WHERE room = ? ORDER BY queued_at DESC, seq DESC LIMIT -1 OFFSET ?)
                 AND state NOT IN ('queued', 'running')",
        )
        .bind(run.room.as_str())
        .bind(KEPT_RUNS)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn update(&self, run: &Run) -> Result<bool, StoreError> {
        let mut writing = self.0.write().await.map_err(failed)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        let is_updated = update(&mut transaction, run).await?;
        if is_updated {
            transaction.commit().await.map_err(failed)?;
        }
        Ok(is_updated)
    }

    async fn run(&self, room: &RoomId, run: &RunId) -> Result<Option<Run>, StoreError> {
        let select = "SELECT * FROM run WHERE room = ? AND id = ?";
        let binds = [Bind::Text(room.as_str()), Bind::Text(run.as_str())];
        Ok(self.select(select, Order::NewestFirst, &binds).await?.pop())
    }

    async fn runs(&self, room: &RoomId, limit: u32) -> Result<Vec<Run>, StoreError> {
        let select = "SELECT * FROM run WHERE room = ? ORDER BY queued_at DESC, seq DESC LIMIT ?";
        self.select(select, Order::NewestFirst, &[Bind::Text(room.as_str()), Bind::Number(limit)]).await
    }

    async fn unfinished(&self) -> Result<Vec<Run>, StoreError> {
        self.select("SELECT * FROM run WHERE state IN ('queued', 'running')", Order::OldestFirst, &[]).await
    }

    async fn append_log(&self, run: &RunId, bytes: &[u8], seen: u64) -> Result<(), StoreError> {
        let mut writing = self.0.write().await.map_err(failed)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        let end: Option<i64> =
            sqlx::query_scalar("SELECT at + length(bytes) FROM run_log WHERE run = ? ORDER BY at DESC LIMIT 1")
                .bind(run.as_str())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed)?;
        let kept = admit(end.and_then(|end| u64::try_from(end).ok()).unwrap_or(0), bytes);
        let seen = i64::try_from(seen).unwrap_or(i64::MAX);
        let query = match end {
            Some(_) if kept.is_empty() => sqlx::query(
                "UPDATE run_log SET seen = ?2 WHERE run = ?1 AND at = (SELECT MAX(at) FROM run_log WHERE run = ?1)",
            )
            .bind(run.as_str())
            .bind(seen),
            _ => sqlx::query("INSERT INTO run_log (run, at, bytes, seen) VALUES (?, ?, ?, ?)")
                .bind(run.as_str())
                .bind(end.unwrap_or(0))
                .bind(kept)
                .bind(seen),
        };
        query.execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn log(&self, run: &RunId) -> Result<Vec<u8>, StoreError> {
        let pieces: Vec<Vec<u8>> = sqlx::query_scalar("SELECT bytes FROM run_log WHERE run = ? ORDER BY at")
            .bind(run.as_str())
            .fetch_all(self.0.reader())
            .await
            .map_err(failed)?;
        Ok(pieces.concat())
    }

    async fn seen(&self, run: &RunId) -> Result<u64, StoreError> {
        let last = "SELECT COALESCE(seen, at + length(bytes)) FROM run_log WHERE run = ? ORDER BY at DESC LIMIT 1";
        let seen: Option<i64> =
            sqlx::query_scalar(last).bind(run.as_str()).fetch_optional(self.0.reader()).await.map_err(failed)?;
        Ok(seen.and_then(|seen| u64::try_from(seen).ok()).unwrap_or(0))
    }

    async fn set_fetch(&self, room: &RoomId, fetch: Option<&Fetch>) -> Result<(), StoreError> {
        let query = match fetch {
            Some(fetch) => sqlx::query("INSERT OR REPLACE INTO fetch (room, url, failure) VALUES (?, ?, ?)")
                .bind(room.as_str())
                .bind(&fetch.url)
                .bind(&fetch.failure),
            None => sqlx::query("DELETE FROM fetch WHERE room = ?").bind(room.as_str()),
        };
        query.execute(&mut *self.0.write().await.map_err(failed)?).await.map_err(failed)?;
        Ok(())
    }

    async fn fetches(&self) -> Result<Vec<(RoomId, Fetch)>, StoreError> {
        let rows =
            sqlx::query("SELECT room, url, failure FROM fetch").fetch_all(self.0.reader()).await.map_err(failed)?;
        let fetch = |row: &SqliteRow| -> Result<(RoomId, Fetch), StoreError> {
            let fetch = Fetch { url: column(row, "url")?, failure: column(row, "failure")? };
            Ok((parsed(row, "room", RoomId::parse)?, fetch))
        };
        rows.iter().map(fetch).collect()
    }
}

/// See [`RunStore::update`].
async fn update(connection: &mut SqliteConnection, run: &Run) -> Result<bool, StoreError> {
    let updated = sqlx::query(
        "UPDATE run SET trigger_key = ?, content_hash = ?, image = ?, state = ?, started_at = ?, finished_at = ?,
             message = ?, rev = ? WHERE room = ? AND id = ? AND rev = ?",
    )
    .bind(run.trigger_key.to_string())
    .bind(&run.content_hash)
    .bind(&run.image)
    .bind(run.state.as_str())
    .bind(run.started_at)
    .bind(run.finished_at)
    .bind(&run.message)
    .bind(number(run.rev))
    .bind(run.room.as_str())
    .bind(run.id.as_str())
    .bind(number(run.rev) - 1)
    .execute(&mut *connection)
    .await;
    match updated {
        Ok(done) if done.rows_affected() == 1 => {}
        Ok(_) => return Ok(false),
        Err(error) if error.as_database_error().is_some_and(|error| error.is_unique_violation()) => {
            return Ok(false);
        }
        Err(error) => return Err(failed(error)),
    }
    write_steps(connection, run).await?;
    Ok(true)
}

async fn write_steps(connection: &mut SqliteConnection, run: &Run) -> Result<(), StoreError> {
    for (position, step) in (0_i64..).zip(&run.steps) {
        sqlx::query(
            "INSERT INTO step (run, position, id, key, state, command, argv, exit, started_at, finished_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (run, position) DO UPDATE SET state = excluded.state, command = excluded.command,
                 argv = excluded.argv, exit = excluded.exit, started_at = excluded.started_at,
                 finished_at = excluded.finished_at",
        )
        .bind(run.id.as_str())
        .bind(position)
        .bind(&step.id)
        .bind(&step.key)
        .bind(step.state.as_str())
        .bind(&step.command)
        .bind(json(&step.argv))
        .bind(step.exit.as_ref().map(json))
        .bind(step.started_at)
        .bind(step.finished_at)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

fn rule_of(row: &SqliteRow) -> Result<Rule, StoreError> {
    Ok(Rule {
        id: parsed(row, "id", RuleId::parse)?,
        room: parsed(row, "room", RoomId::parse)?,
        name: column(row, "name")?,
        globs: from_json(&column::<String>(row, "globs")?)?,
        skill: column(row, "skill")?,
        enabled: column(row, "enabled")?,
        secrets: from_json(&column::<String>(row, "secrets")?)?,
    })
}

/// A run without its steps.
fn run_of(run: RunId, row: &SqliteRow) -> Result<Run, StoreError> {
    Ok(Run {
        id: run,
        room: parsed(row, "room", RoomId::parse)?,
        rule: parsed(row, "rule", RuleId::parse)?,
        rule_name: column(row, "rule_name")?,
        skill: column(row, "skill")?,
        trigger_key: parsed(row, "trigger_key", TriggerKey::parse)?,
        content_hash: column(row, "content_hash")?,
        image: column(row, "image")?,
        state: parsed(row, "state", RunState::parse)?,
        requested_by: parsed(row, "requested_by", PrincipalId::parse)?,
        requested_by_name: column(row, "requested_by_name")?,
        queued_at: column(row, "queued_at")?,
        started_at: column(row, "started_at")?,
        finished_at: column(row, "finished_at")?,
        message: column(row, "message")?,
        rev: u64::try_from(column::<i64>(row, "rev")?).map_err(|_| corrupt("rev"))?,
        steps: Vec::new(),
    })
}

fn step_of(row: &SqliteRow) -> Result<StepRecord, StoreError> {
    Ok(StepRecord {
        id: column(row, "step_id")?,
        key: column(row, "step_key")?,
        state: parsed(row, "step_state", StepState::parse)?,
        command: column(row, "command")?,
        argv: from_json(&column::<String>(row, "argv")?)?,
        exit: column::<Option<String>>(row, "exit")?.map(|exit| from_json(&exit)).transpose()?,
        started_at: column(row, "step_started_at")?,
        finished_at: column(row, "step_finished_at")?,
    })
}

/// A column of text that is parsed into something of ours.
pub(crate) fn parsed<T>(row: &SqliteRow, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, StoreError> {
    parse(&column::<String>(row, name)?).ok_or_else(|| corrupt(name))
}

pub(crate) fn column<'r, T>(row: &'r SqliteRow, name: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(name).map_err(failed)
}

pub(crate) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("what is stored so are JSON values")
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Failed(error.to_string()))
}

/// SQLite's integers are signed; revisions count transitions and stay far below the bound.
fn number(rev: u64) -> i64 {
    i64::try_from(rev).expect("a run has a handful of transitions")
}

fn corrupt(column: &str) -> StoreError {
    StoreError::Failed(format!("the column {column} holds what this version does not know"))
}

pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    match crate::database::failed(error) {
        buildspaces_rooms::ports::StoreError::Full(cause) => StoreError::Full(cause.to_string()),
        buildspaces_rooms::ports::StoreError::Failed(cause) => StoreError::Failed(cause.to_string()),
    }
}
