//! Which rooms' calls are encrypted, in SQLite.

use async_trait::async_trait;
use buildspaces_kernel::ids::{PrincipalId, RoomId};
use buildspaces_media::encryption::Encryption;
use buildspaces_media::ports::{CallStore, StoreError};
use buildspaces_plans::ports::StoreError as RowError;

use crate::Database;
use crate::runs::{column, failed as failed_row, parsed};

/// The call port of `media`. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Calls(Database);

impl Calls {
    pub fn new(database: &Database) -> Self {
        Self(database.clone())
    }
}

#[async_trait]
impl CallStore for Calls {
    async fn encryption(&self, room: &RoomId) -> Result<Option<Encryption>, StoreError> {
        let row = sqlx::query("SELECT by, by_name, since FROM encrypted_room WHERE room = ?")
            .bind(room.as_str())
            .fetch_optional(self.0.reader())
            .await
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let by = parsed(&row, "by", PrincipalId::parse).map_err(told)?;
        let by_name = column(&row, "by_name").map_err(told)?;
        Ok(Some(Encryption { by, by_name, since: column(&row, "since").map_err(told)? }))
    }

    async fn set_encryption(&self, room: &RoomId, encryption: Option<&Encryption>) -> Result<(), StoreError> {
        let query = match encryption {
            Some(encryption) => {
                sqlx::query("INSERT OR REPLACE INTO encrypted_room (room, by, by_name, since) VALUES (?, ?, ?, ?)")
                    .bind(room.as_str())
                    .bind(encryption.by.as_str())
                    .bind(&encryption.by_name)
                    .bind(encryption.since)
            }
            None => sqlx::query("DELETE FROM encrypted_room WHERE room = ?").bind(room.as_str()),
        };
        query.execute(&mut *self.0.write().await.map_err(failed)?).await.map_err(failed)?;
        Ok(())
    }
}

fn failed(error: sqlx::Error) -> StoreError {
    told(failed_row(error))
}

fn told(error: RowError) -> StoreError {
    match error {
        RowError::Full(cause) => StoreError::Full(cause),
        RowError::Failed(cause) => StoreError::Failed(cause),
    }
}

#[cfg(test)]
mod tests {
    use buildspaces_media::contract;

    use super::*;
    use crate::Durability;

    #[tokio::test]
    async fn the_store_keeps_the_contract() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Database::open(&folder.path().join("test.db"), Durability::Full).await.expect("opens");
        contract::call_store(&Calls::new(&database)).await;
        database.close().await;
    }
}
