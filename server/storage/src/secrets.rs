//! Secrets of rooms in SQLite, sealed as they come.
//!
//! It cannot read what it keeps. Each method is one statement, or one transaction on the one connection that writes.

use async_trait::async_trait;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{PrincipalId, RoomId};
use buildspaces_plans::ports::{SecretStore, StoreError, StoredSecret};
use buildspaces_plans::secret::{Secret, SecretName};
use sqlx::Connection;
use sqlx::sqlite::SqliteRow;

use crate::Database;
use crate::runs::{column, failed, from_json, json, parsed};

/// The secret port of `plans`. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Secrets(Database);

impl Secrets {
    pub fn new(database: &Database) -> Self {
        Self(database.clone())
    }
}

#[async_trait]
impl SecretStore for Secrets {
    async fn secrets(&self, room: &RoomId) -> Result<Vec<StoredSecret>, StoreError> {
        let rows = sqlx::query("SELECT * FROM secret WHERE room = ? ORDER BY name")
            .bind(room.as_str())
            .fetch_all(self.0.reader())
            .await
            .map_err(failed)?;
        rows.iter().map(secret_of).collect()
    }

    async fn put_secret(&self, room: &RoomId, secret: &StoredSecret) -> Result<bool, StoreError> {
        let StoredSecret { secret, sealed } = secret;
        let mut writing = self.0.write().await.map_err(failed)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        let replaced = sqlx::query("DELETE FROM secret WHERE room = ? AND name = ?")
            .bind(room.as_str())
            .bind(secret.name.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query(
            "INSERT INTO secret (room, name, given, skills, sealed, set_by, set_by_name, set_at, used_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(room.as_str())
        .bind(secret.name.as_str())
        .bind(json(&secret.given))
        .bind(json(&secret.skills))
        .bind(sealed)
        .bind(secret.set_by.as_str())
        .bind(&secret.set_by_name)
        .bind(secret.set_at)
        .bind(secret.used_at)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(replaced.rows_affected() == 0)
    }

    async fn delete_secret(&self, room: &RoomId, name: &SecretName) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM secret WHERE room = ? AND name = ?")
            .bind(room.as_str())
            .bind(name.as_str())
            .execute(&mut *self.0.write().await.map_err(failed)?)
            .await
            .map_err(failed)?;
        Ok(deleted.rows_affected() == 1)
    }

    async fn secrets_used(&self, room: &RoomId, names: &[SecretName], at: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("UPDATE secret SET used_at = ? WHERE room = ? AND name IN (SELECT value FROM json_each(?))")
            .bind(at)
            .bind(room.as_str())
            .bind(json(&names))
            .execute(&mut *self.0.write().await.map_err(failed)?)
            .await
            .map_err(failed)?;
        Ok(())
    }
}

fn secret_of(row: &SqliteRow) -> Result<StoredSecret, StoreError> {
    let secret = Secret {
        name: parsed(row, "name", SecretName::parse)?,
        given: from_json(&column::<String>(row, "given")?)?,
        skills: from_json(&column::<String>(row, "skills")?)?,
        set_by: parsed(row, "set_by", PrincipalId::parse)?,
        set_by_name: column(row, "set_by_name")?,
        set_at: column(row, "set_at")?,
        used_at: column(row, "used_at")?,
    };
    Ok(StoredSecret { secret, sealed: column(row, "sealed")? })
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
        contract::secret_store(&Secrets::new(&database)).await;
        database.close().await;
    }
}
