//! Recordings of terminals in SQLite, in the pieces in which they were written.
//!
//! Each method is one statement, or one transaction on the one connection that writes.

use async_trait::async_trait;
use buildspaces_kernel::ids::{PrincipalId, RecordingId, RoomId, TerminalId};
use buildspaces_plans::ports::{RecordingStore, StoreError};
use buildspaces_plans::recording::{Recording, Setting, State};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, SqliteConnection};

use crate::Database;
use crate::runs::{column, failed, parsed};
use crate::setting::{self, Table};

const RECORDED: Table = Table("recorded_room");

/// The recording port of `plans`. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Recordings(Database);

impl Recordings {
    pub fn new(database: &Database) -> Self {
        Self(database.clone())
    }
}

#[async_trait]
impl RecordingStore for Recordings {
    async fn recording_setting(&self, room: &RoomId) -> Result<Option<Setting>, StoreError> {
        let setting = RECORDED.read(&self.0, room).await?;
        Ok(setting.map(|setting| Setting { by: setting.by, by_name: setting.by_name, since: setting.since }))
    }

    async fn set_recording(&self, room: &RoomId, setting: Option<&Setting>) -> Result<(), StoreError> {
        let setting = setting.cloned().map(|Setting { by, by_name, since }| setting::Setting { by, by_name, since });
        RECORDED.write(&self.0, room, setting).await
    }

    async fn insert_recording(&self, recording: &Recording, lines: &[u8]) -> Result<(), StoreError> {
        let mut writing = self.0.write().await.map_err(failed)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        sqlx::query(
            "INSERT INTO recording
                 (id, room, terminal, number, opened_by, opened_by_name, started_at, ended_at, duration, bytes, state)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(recording.id.as_str())
        .bind(recording.room.as_str())
        .bind(recording.terminal.as_str())
        .bind(recording.number)
        .bind(recording.opened_by.as_str())
        .bind(&recording.opened_by_name)
        .bind(recording.started_at)
        .bind(recording.ended_at)
        .bind(signed(recording.duration))
        .bind(signed(lines.len() as u64))
        .bind(recording.state.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        insert_piece(&mut transaction, &recording.id, 0, lines).await?;
        transaction.commit().await.map_err(failed)
    }

    async fn append_recording(&self, id: &RecordingId, lines: &[u8], duration: u64) -> Result<bool, StoreError> {
        let mut writing = self.0.write().await.map_err(failed)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        let length = signed(lines.len() as u64);
        let end: Option<i64> =
            sqlx::query_scalar("UPDATE recording SET bytes = bytes + ?, duration = ? WHERE id = ? RETURNING bytes")
                .bind(length)
                .bind(signed(duration))
                .bind(id.as_str())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed)?;
        let Some(end) = end else { return Ok(false) };
        insert_piece(&mut transaction, id, end - length, lines).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn end_recording(&self, recording: &Recording) -> Result<(), StoreError> {
        sqlx::query("UPDATE recording SET state = ?, ended_at = ? WHERE id = ?")
            .bind(recording.state.as_str())
            .bind(recording.ended_at)
            .bind(recording.id.as_str())
            .execute(&mut *self.0.write().await.map_err(failed)?)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn interrupt_recordings(&self) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE recording SET state = 'interrupted', ended_at = started_at + duration WHERE state = 'recording'",
        )
        .execute(&mut *self.0.write().await.map_err(failed)?)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn recordings(&self, room: &RoomId) -> Result<Vec<Recording>, StoreError> {
        let rows = sqlx::query("SELECT * FROM recording WHERE room = ? ORDER BY seq DESC")
            .bind(room.as_str())
            .fetch_all(self.0.reader())
            .await
            .map_err(failed)?;
        rows.iter().map(recording_of).collect()
    }

    async fn recording(&self, room: &RoomId, id: &RecordingId) -> Result<Option<Recording>, StoreError> {
        let row = sqlx::query("SELECT * FROM recording WHERE room = ? AND id = ?")
            .bind(room.as_str())
            .bind(id.as_str())
            .fetch_optional(self.0.reader())
            .await
            .map_err(failed)?;
        row.as_ref().map(recording_of).transpose()
    }

    async fn recording_piece(&self, id: &RecordingId, from: u64) -> Result<Vec<u8>, StoreError> {
        let piece: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT lines FROM recording_piece WHERE recording = ? AND at = ?")
                .bind(id.as_str())
                .bind(signed(from))
                .fetch_optional(self.0.reader())
                .await
                .map_err(failed)?;
        Ok(piece.unwrap_or_default())
    }

    async fn delete_recording(&self, room: &RoomId, id: &RecordingId) -> Result<bool, StoreError> {
        // Pieces go with their recording.
        let deleted = sqlx::query("DELETE FROM recording WHERE room = ? AND id = ?")
            .bind(room.as_str())
            .bind(id.as_str())
            .execute(&mut *self.0.write().await.map_err(failed)?)
            .await
            .map_err(failed)?;
        Ok(deleted.rows_affected() == 1)
    }
}

async fn insert_piece(
    connection: &mut SqliteConnection,
    id: &RecordingId,
    at: i64,
    lines: &[u8],
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO recording_piece (recording, at, lines) VALUES (?, ?, ?)")
        .bind(id.as_str())
        .bind(at)
        .bind(lines)
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

fn recording_of(row: &SqliteRow) -> Result<Recording, StoreError> {
    Ok(Recording {
        id: parsed(row, "id", RecordingId::parse)?,
        room: parsed(row, "room", RoomId::parse)?,
        terminal: parsed(row, "terminal", TerminalId::parse)?,
        number: column(row, "number")?,
        opened_by: parsed(row, "opened_by", PrincipalId::parse)?,
        opened_by_name: column(row, "opened_by_name")?,
        started_at: column(row, "started_at")?,
        ended_at: column(row, "ended_at")?,
        duration: column::<i64>(row, "duration")?.unsigned_abs(),
        bytes: column::<i64>(row, "bytes")?.unsigned_abs(),
        state: parsed(row, "state", State::parse)?,
    })
}

/// SQLite's integers are signed; no recording is so large or so long.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use buildspaces_plans::contract;

    use super::*;
    use crate::Durability;

    #[tokio::test]
    async fn the_store_keeps_the_contract() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Database::open(&folder.path().join("test.db"), Durability::Full).await.expect("opens");
        contract::recording_store(&Recordings::new(&database)).await;
        database.close().await;
    }
}
