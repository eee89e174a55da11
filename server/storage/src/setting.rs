//! What is on in some rooms, and who said so: a table of rooms for each such thing, all of one shape.

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{PrincipalId, RoomId};
use buildspaces_plans::ports::StoreError;
use sqlx::AssertSqlSafe;

use crate::Database;
use crate::runs::{column, failed, parsed};

/// Who turned it on, and when.
pub(crate) struct Setting {
    pub(crate) by: PrincipalId,
    pub(crate) by_name: String,
    pub(crate) since: UnixMillis,
}

/// Its table. Names of tables are this program's own.
pub(crate) struct Table(pub(crate) &'static str);

impl Table {
    /// `None`: off.
    pub(crate) async fn read(&self, database: &Database, room: &RoomId) -> Result<Option<Setting>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!("SELECT by, by_name, since FROM {} WHERE room = ?", self.0)))
            .bind(room.as_str())
            .fetch_optional(database.reader())
            .await
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Setting {
            by: parsed(&row, "by", PrincipalId::parse)?,
            by_name: column(&row, "by_name")?,
            since: column(&row, "since")?,
        }))
    }

    pub(crate) async fn write(
        &self,
        database: &Database,
        room: &RoomId,
        setting: Option<Setting>,
    ) -> Result<(), StoreError> {
        let sql = match setting {
            Some(_) => format!("INSERT OR REPLACE INTO {} (room, by, by_name, since) VALUES (?, ?, ?, ?)", self.0),
            None => format!("DELETE FROM {} WHERE room = ?", self.0),
        };
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(room.as_str());
        if let Some(Setting { by, by_name, since }) = setting {
            query = query.bind(by.as_str().to_owned()).bind(by_name).bind(since);
        }
        query.execute(&mut *database.write().await.map_err(failed)?).await.map_err(failed)?;
        Ok(())
    }
}
