//! The past of documents in SQLite: reading the log back, named versions, merged records, deleted documents.

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_crdt::names::Kind;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::Principal;
use buildspaces_rooms::ports::{About, Deletion, Entry, HistoryStore, LogRecord, NamedVersion, StoreError};
use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use crate::Documents;
use crate::database::failed;
use crate::documents::unreadable;

/// Bytes of updates after which an answer is full. The last record may go past it.
const PAGE_BYTES: usize = 4 << 20;

/// Records of an answer.
const PAGE_RECORDS: i64 = 4096;

/// Names that are looked at together when a list leaves some out.
const LIST_AT_ONCE: i64 = 500;

/// A row for each document, with its last update.
const ABOUT: &str = "
    SELECT document.name, epoch, begins, deleted_at, deleted_by, last.seq, last.at
    FROM document LEFT JOIN document_update AS last ON last.document = document.id AND last.seq =
        (SELECT MAX(seq) FROM document_update WHERE document = document.id AND seq > document.begins)";

#[async_trait]
impl HistoryStore for Documents {
    async fn about(&self, document: &DocumentName) -> Result<Option<About>, StoreError> {
        let reader = self.settled(document).await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{ABOUT} WHERE document.name = ?")))
            .bind(document.as_str())
            .fetch_optional(reader)
            .await
            .map_err(failed)?;
        let about = row.map(|row| about(&row)).transpose()?;
        Ok(about.filter(|about| about.seq > 0))
    }

    async fn list(&self, prefix: &str, after: &str, plain: bool, limit: usize) -> Result<Vec<About>, StoreError> {
        let reader = self.all_settled().await?;
        let sql = format!(
            "{ABOUT} WHERE document.name > ?1 AND document.name >= ?2 AND substr(document.name, 1, length(?2)) = ?2
                 AND deleted_at IS NULL AND (last.seq IS NOT NULL OR begins > 0) ORDER BY document.name LIMIT ?3"
        );
        let mut found: Vec<About> = Vec::new();
        let mut after = after.to_owned();
        while found.len() < limit {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
                .bind(&after)
                .bind(prefix)
                .bind(LIST_AT_ONCE)
                .fetch_all(reader)
                .await
                .map_err(failed)?;
            let Some(last) = rows.last() else { break };
            after = last.get("name");
            for row in &rows {
                let about = about(row)?;
                if !plain || about.document.kind() == Kind::Plain {
                    found.push(about);
                }
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn records(&self, document: &DocumentName, after: u64) -> Result<Vec<LogRecord>, StoreError> {
        let reader = self.settled(document).await?;
        let mut rows = sqlx::query(
            "SELECT u.seq, u.at, u.principal, u.data, merged.first, merged.shares
             FROM document JOIN document_update AS u ON u.document = document.id AND u.seq > MAX(?, document.begins)
             LEFT JOIN document_merged AS merged ON merged.document = u.document AND merged.seq = u.seq
             WHERE document.name = ? ORDER BY u.seq LIMIT ?",
        )
        .bind(after as i64)
        .bind(document.as_str())
        .bind(PAGE_RECORDS)
        .fetch(reader);
        let mut records = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let Entry { seq, first, by, at, .. } = entry(&row, 0)?;
            let update = Bytes::from(row.get::<Vec<u8>, _>("data"));
            let shares = match row.get::<Option<&str>, _>("shares") {
                Some(shares) => serde_json::from_str(shares).map_err(|_| unreadable("shares"))?,
                None => Vec::new(),
            };
            bytes += update.len();
            records.push(LogRecord { seq, first, by, at, update, shares });
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(records)
    }

    async fn entries(&self, document: &DocumentName, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let reader = self.settled(document).await?;
        let rows = sqlx::query(
            "SELECT u.seq, u.at, u.principal, length(u.data) AS bytes, merged.first
             FROM document JOIN document_update AS u ON u.document = document.id AND u.seq > MAX(?, document.begins)
             LEFT JOIN document_merged AS merged ON merged.document = u.document AND merged.seq = u.seq
             WHERE document.name = ? ORDER BY u.seq LIMIT ?",
        )
        .bind(after as i64)
        .bind(document.as_str())
        .bind(limit as i64)
        .fetch_all(reader)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| entry(row, row.get::<i64, _>("bytes") as u64)).collect()
    }

    async fn state_before(&self, document: &DocumentName, seq: u64) -> Result<Option<(u64, Bytes)>, StoreError> {
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT kept.seq, kept.state FROM document, (
                 SELECT document, seq, state FROM document_version
                 UNION ALL SELECT document, seq, data AS state FROM document_snapshot
             ) AS kept
             WHERE document.name = ? AND kept.document = document.id AND kept.seq BETWEEN document.begins AND ?
             ORDER BY kept.seq DESC LIMIT 1",
        )
        .bind(document.as_str())
        .bind(seq as i64)
        .fetch_optional(self.reader())
        .await
        .map_err(failed)?;
        Ok(row.map(|(seq, state)| (seq as u64, state.into())))
    }

    async fn name_version(
        &self,
        document: &DocumentName,
        version: &NamedVersion,
        state: Bytes,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO document_version (document, seq, name, at, principal, state)
             SELECT id, ?, ?, ?, ?, ? FROM document WHERE name = ?
             ON CONFLICT (document, seq) DO UPDATE SET
                 name = excluded.name, at = excluded.at, principal = excluded.principal, state = excluded.state",
        )
        .bind(version.seq as i64)
        .bind(&version.name)
        .bind(version.at)
        .bind(version.by.as_str())
        .bind(state.as_ref())
        .bind(document.as_str())
        .execute(&mut *self.write().await?)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn named_versions(&self, document: &DocumentName) -> Result<Vec<NamedVersion>, StoreError> {
        let rows = sqlx::query(
            "SELECT v.seq, v.name, v.at, v.principal FROM document JOIN document_version AS v ON v.document = document.id
             WHERE document.name = ? AND v.seq >= document.begins ORDER BY v.seq",
        )
        .bind(document.as_str())
        .fetch_all(self.reader())
        .await
        .map_err(failed)?;
        let version = |row: &SqliteRow| {
            let by = principal_id(row.get("principal"))?;
            Ok(NamedVersion { seq: row.get::<i64, _>("seq") as u64, name: row.get("name"), by, at: row.get("at") })
        };
        rows.iter().map(version).collect()
    }

    async fn principals(&self, ids: &[PrincipalId]) -> Result<Vec<Principal>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = serde_json::to_string(ids).map_err(|_| unreadable("principal"))?;
        let rows = sqlx::query(
            "SELECT id, name, kind FROM principal WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        )
        .bind(wanted)
        .fetch_all(self.reader())
        .await
        .map_err(failed)?;
        let principal = |row: &SqliteRow| {
            let kind = serde_json::from_value(row.get::<String, _>("kind").into()).map_err(|_| unreadable("kind"))?;
            let name: String = row.get("name");
            Ok(Principal { id: principal_id(row.get("id"))?, kind, name: name.into() })
        };
        rows.iter().map(principal).collect()
    }

    async fn remember(&self, principal: &Principal, at: UnixMillis) -> Result<(), StoreError> {
        let kind = serde_json::to_value(principal.kind).ok();
        let kind = kind.as_ref().and_then(|kind| kind.as_str()).ok_or_else(|| unreadable("kind"))?;
        sqlx::query(
            "INSERT INTO principal (id, name, kind, created_at) VALUES (?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, kind = excluded.kind",
        )
        .bind(principal.id.as_str())
        .bind(principal.name.as_ref())
        .bind(kind)
        .bind(at)
        .execute(&mut *self.write().await?)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn merge_records(&self, document: &DocumentName, merged: &LogRecord) -> Result<bool, StoreError> {
        self.log().settle(document).await?;
        let mut writing = self.write().await?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        let Some((id, whole)) = whole(&mut transaction, document, merged).await.map_err(failed)? else {
            return Ok(false);
        };
        if !whole {
            return Ok(false);
        }
        for table in ["document_update", "document_merged"] {
            let sql = format!("DELETE FROM {table} WHERE document = ? AND seq BETWEEN ? AND ?");
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(id)
                .bind(merged.first as i64)
                .bind(merged.seq as i64)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        // In the same transaction: the log never lacks what was acknowledged, and its last number stays.
        put(&mut transaction, id, merged).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn append_records(&self, document: &DocumentName, records: Vec<LogRecord>) -> Result<(), StoreError> {
        self.log().settle(document).await?;
        let mut writing = self.write().await?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        let id = document_id(&mut transaction, document).await.map_err(failed)?;
        let last: Option<i64> = sqlx::query_scalar("SELECT MAX(seq) FROM document_update WHERE document = ?")
            .bind(id)
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        let mut next = last.unwrap_or(0) as u64 + 1;
        for record in &records {
            if record.first != next || record.seq < record.first {
                return Err(StoreError::failed(format!("update {next} was expected, not {}", record.first)));
            }
            next = record.seq + 1;
            put(&mut transaction, id, record).await?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn discard(&self, document: &DocumentName) -> Result<(), StoreError> {
        self.log().settle(document).await?;
        let mut writing = self.write().await?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        // Its row in `document` stays: the number must never become another document's.
        for table in ["document_update", "document_merged", "document_version", "document_snapshot"] {
            let sql = format!("DELETE FROM {table} WHERE document = (SELECT id FROM document WHERE name = ?)");
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(document.as_str())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn bury(&self, document: &DocumentName, deletion: &Deletion) -> Result<bool, StoreError> {
        let done =
            sqlx::query("UPDATE document SET deleted_at = ?, deleted_by = ? WHERE name = ? AND deleted_at IS NULL")
                .bind(deletion.at)
                .bind(deletion.by.as_str())
                .bind(document.as_str())
                .execute(&mut *self.write().await?)
                .await
                .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    async fn begin_again(&self, document: &DocumentName) -> Result<bool, StoreError> {
        self.log().settle(document).await?;
        let mut writing = self.write().await?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        let begun: Option<(i64, i64)> = sqlx::query_as(
            "UPDATE document SET deleted_at = NULL, deleted_by = NULL, epoch = epoch + 1,
                 begins = (SELECT COALESCE(MAX(seq), 0) FROM document_update WHERE document = document.id)
             WHERE name = ? AND deleted_at IS NOT NULL RETURNING id, begins",
        )
        .bind(document.as_str())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        let Some((id, begins)) = begun else { return Ok(false) };
        sqlx::query("DELETE FROM document_version WHERE document = ?")
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        // An empty state stands for all that came before.
        sqlx::query(
            "INSERT INTO document_snapshot (document, seq, data) VALUES (?, ?, x'0000')
             ON CONFLICT (document) DO UPDATE SET seq = excluded.seq, data = excluded.data",
        )
        .bind(id)
        .bind(begins)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }
}

/// The document's number, and whether the log has every update that `merged` stands for, in whole records.
async fn whole(
    connection: &mut SqliteConnection,
    document: &DocumentName,
    merged: &LogRecord,
) -> Result<Option<(i64, bool)>, sqlx::Error> {
    let id: Option<i64> = sqlx::query_scalar("SELECT id FROM document WHERE name = ? AND begins < ?")
        .bind(document.as_str())
        .bind(merged.first as i64)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(id) = id else { return Ok(None) };
    let (count, last): (i64, i64) = sqlx::query_as(
        "SELECT COALESCE(SUM(u.seq - COALESCE(merged.first, u.seq) + 1), 0), COALESCE(MAX(u.seq), 0)
         FROM document_update AS u LEFT JOIN document_merged AS merged ON merged.document = u.document AND merged.seq = u.seq
         WHERE u.document = ? AND u.seq BETWEEN ? AND ?",
    )
    .bind(id)
    .bind(merged.first as i64)
    .bind(merged.seq as i64)
    .fetch_one(&mut *connection)
    .await?;
    let wanted = (merged.seq + 1).saturating_sub(merged.first);
    Ok(Some((id, count as u64 == wanted && last as u64 == merged.seq)))
}

/// Writes one record.
async fn put(connection: &mut SqliteConnection, document: i64, record: &LogRecord) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO document_update (document, seq, at, principal, data) VALUES (?, ?, ?, ?, ?)")
        .bind(document)
        .bind(record.seq as i64)
        .bind(record.at)
        .bind(record.by.as_str())
        .bind(record.update.as_ref())
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    if record.first != record.seq {
        let shares = serde_json::to_string(&record.shares).map_err(|_| unreadable("shares"))?;
        sqlx::query("INSERT INTO document_merged (document, seq, first, shares) VALUES (?, ?, ?, ?)")
            .bind(document)
            .bind(record.seq as i64)
            .bind(record.first as i64)
            .bind(shares)
            .execute(connection)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// The document's number; creates the document if need be.
async fn document_id(connection: &mut SqliteConnection, document: &DocumentName) -> Result<i64, sqlx::Error> {
    sqlx::query("INSERT INTO document (name) VALUES (?) ON CONFLICT (name) DO NOTHING")
        .bind(document.as_str())
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT id FROM document WHERE name = ?").bind(document.as_str()).fetch_one(connection).await
}

fn about(row: &SqliteRow) -> Result<About, StoreError> {
    let begins = row.get::<i64, _>("begins") as u64;
    let deleted = match (row.get::<Option<i64>, _>("deleted_at"), row.get::<Option<&str>, _>("deleted_by")) {
        (Some(at), Some(by)) => Some(Deletion { at, by: principal_id(by)? }),
        _ => None,
    };
    Ok(About {
        document: DocumentName::parse(row.get("name")).map_err(|_| unreadable("document.name"))?,
        epoch: row.get::<i64, _>("epoch") as u64,
        begins,
        seq: row.get::<Option<i64>, _>("seq").map_or(begins, |seq| seq as u64),
        changed_at: row.get("at"),
        deleted,
    })
}

fn entry(row: &SqliteRow, bytes: u64) -> Result<Entry, StoreError> {
    let seq = row.get::<i64, _>("seq") as u64;
    let first = row.get::<Option<i64>, _>("first").map_or(seq, |first| first as u64);
    Ok(Entry { seq, first, by: principal_id(row.get("principal"))?, at: row.get("at"), bytes })
}

fn principal_id(text: &str) -> Result<PrincipalId, StoreError> {
    PrincipalId::parse(text).ok_or_else(|| unreadable("principal"))
}
