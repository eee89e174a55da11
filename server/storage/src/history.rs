//! The past of documents in SQLite: reading the log back, named versions, merged records, deleted documents.

mod listing;

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::Principal;
use buildspaces_rooms::ports::{About, Deletion, Entry, HistoryStore, LogRecord, MAX_SEQ, NamedVersion, StoreError};
use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use crate::Documents;
use crate::database::failed;
use crate::documents::unreadable;
use crate::log::Update;
pub(crate) use listing::IS_PLAIN;
use listing::{ABOUT, after_all_with, list_sql};

/// Bytes of updates after which an answer is full. The last record may go past it.
const PAGE_BYTES: usize = 4 << 20;

/// Records of an answer.
const PAGE_RECORDS: i64 = 4096;

#[async_trait]
impl HistoryStore for Documents {
    async fn about(&self, document: &DocumentName) -> Result<Option<About>, StoreError> {
        let tail = self.log().tail(document).await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{ABOUT} WHERE document.name = ?")))
            .bind(document.as_str())
            .fetch_optional(self.reader())
            .await
            .map_err(failed)?;
        let about = row.map(|row| about(&row, tail.last())).transpose()?;
        Ok(about.filter(|about| about.seq > 0))
    }

    async fn list(&self, prefix: &str, after: &str, plain: bool, limit: usize) -> Result<Vec<About>, StoreError> {
        let tails = self.log().tails(|name| name.as_str().starts_with(prefix)).await?;
        let end = after_all_with(prefix);
        let sql = list_sql(end.is_some(), plain);
        let mut found: Vec<About> = Vec::new();
        let mut after = after.to_owned();
        while found.len() < limit {
            let wanted = limit - found.len();
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
                .bind(&after)
                .bind(prefix)
                .bind(wanted as i64)
                .bind(&end)
                .fetch_all(self.reader())
                .await
                .map_err(failed)?;
            for row in &rows {
                after = row.get("name");
                let name = DocumentName::parse(&after).map_err(|_| unreadable("document.name"))?;
                let about = about(row, tails.get(&name))?;
                // What was discarded has nothing, and no past.
                if about.seq > 0 {
                    found.push(about);
                }
            }
            if rows.len() < wanted {
                break;
            }
        }
        Ok(found)
    }

    async fn records(&self, document: &DocumentName, after: u64) -> Result<Vec<LogRecord>, StoreError> {
        let tail = self.log().tail(document).await?;
        let mut rows = sqlx::query(
            "SELECT u.seq, u.at, u.principal, u.data, merged.first, merged.shares
             FROM document JOIN document_update AS u ON u.document = document.id AND u.seq > MAX(?, document.begins)
             LEFT JOIN document_merged AS merged ON merged.document = u.document AND merged.seq = u.seq
             WHERE document.name = ? ORDER BY u.seq LIMIT ?",
        )
        .bind(after as i64)
        .bind(document.as_str())
        .bind(PAGE_RECORDS)
        .fetch(self.reader());
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
                return Ok(records);
            }
        }
        drop(rows);
        let last = records.last().map_or(after, |record| record.seq);
        for Update { seq, at, by, update } in self.behind(document, tail, last).await? {
            if bytes >= PAGE_BYTES || records.len() >= PAGE_RECORDS as usize {
                break;
            }
            bytes += update.len();
            records.push(LogRecord { seq, first: seq, by: author(&by)?, at, update, shares: Vec::new() });
        }
        Ok(records)
    }

    async fn entries(&self, document: &DocumentName, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let tail = self.log().tail(document).await?;
        let rows = sqlx::query(
            "SELECT u.seq, u.at, u.principal, length(u.data) AS bytes, merged.first
             FROM document JOIN document_update AS u ON u.document = document.id AND u.seq > MAX(?, document.begins)
             LEFT JOIN document_merged AS merged ON merged.document = u.document AND merged.seq = u.seq
             WHERE document.name = ? ORDER BY u.seq LIMIT ?",
        )
        .bind(after as i64)
        .bind(document.as_str())
        .bind(limit as i64)
        .fetch_all(self.reader())
        .await
        .map_err(failed)?;
        let mut entries =
            rows.iter().map(|row| entry(row, row.get::<i64, _>("bytes") as u64)).collect::<Result<Vec<_>, _>>()?;
        let last = entries.last().map_or(after, |entry| entry.seq);
        let room = limit - entries.len();
        for Update { seq, at, by, update } in self.behind(document, tail, last).await?.into_iter().take(room) {
            entries.push(Entry { seq, first: seq, by: author(&by)?, at, bytes: update.len() as u64 });
        }
        Ok(entries)
    }

    async fn state_before(&self, document: &DocumentName, seq: u64) -> Result<Option<(u64, Bytes)>, StoreError> {
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT kept.seq, kept.state FROM document, (
                 SELECT document, seq, state FROM document_version WHERE length(state) > 0
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
        state: Option<Bytes>,
    ) -> Result<bool, StoreError> {
        self.log().settle(document).await?;
        // No state is empty, so an empty one stands for none.
        let done = sqlx::query(
            "INSERT INTO document_version (document, seq, name, at, principal, state)
             SELECT id, ?1, ?2, ?3, ?4, ?5 FROM document WHERE name = ?6 AND (begins = ?1 OR EXISTS
                 (SELECT 1 FROM document_update WHERE document = document.id AND seq = ?1))
             ON CONFLICT (document, seq) DO UPDATE SET name = excluded.name, at = excluded.at, principal = excluded.principal,
                 state = CASE WHEN length(excluded.state) = 0 THEN state ELSE excluded.state END",
        )
        .bind(version.seq as i64)
        .bind(&version.name)
        .bind(version.at)
        .bind(version.by.as_str())
        .bind(state.as_deref().unwrap_or_default())
        .bind(document.as_str())
        .execute(&mut *self.write().await?)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    async fn last_named_state(&self, document: &DocumentName) -> Result<Option<(u64, u64)>, StoreError> {
        let row: Option<(i64, i64)> = sqlx::query_as(
            "SELECT v.seq, length(v.state) FROM document JOIN document_version AS v ON v.document = document.id
             WHERE document.name = ? AND v.seq >= document.begins AND length(v.state) > 0 ORDER BY v.seq DESC LIMIT 1",
        )
        .bind(document.as_str())
        .fetch_optional(self.reader())
        .await
        .map_err(failed)?;
        Ok(row.map(|(seq, bytes)| (seq as u64, bytes as u64)))
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
            if record.first != next || !(record.first..=MAX_SEQ).contains(&record.seq) {
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

    async fn orphans(&self) -> Result<Vec<DocumentName>, StoreError> {
        let reader = self.all_settled().await?;
        let names: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT name FROM document WHERE NOT ({IS_PLAIN}) AND name NOT LIKE '%/runs:main'
                 AND NOT EXISTS (SELECT 1 FROM room WHERE id = substr(document.name, 1, instr(document.name, '/') - 1))
                 AND EXISTS (SELECT 1 FROM document_update WHERE document = document.id)
             ORDER BY name"
        )))
        .fetch_all(reader)
        .await
        .map_err(failed)?;
        names.iter().map(|name| DocumentName::parse(name).map_err(|_| unreadable("document.name"))).collect()
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

impl Documents {
    /// Of what the journal holds of a document the part behind number `last`, the last that the table has.
    async fn behind(&self, document: &DocumentName, tail: Vec<Update>, last: u64) -> Result<Vec<Update>, StoreError> {
        if tail.is_empty() {
            return Ok(tail);
        }
        // It may have begun again since the journal was looked at.
        let begins: Option<i64> = sqlx::query_scalar("SELECT begins FROM document WHERE name = ?")
            .bind(document.as_str())
            .fetch_optional(self.reader())
            .await
            .map_err(failed)?;
        let last = last.max(begins.unwrap_or(0) as u64);
        Ok(tail.into_iter().filter(|update| update.seq > last).collect())
    }
}

/// The document's number, and whether the log has every update that `merged` stands for, in whole records and without a named version
/// before the last.
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
    let named: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM document_version WHERE document = ? AND seq >= ? AND seq < ?)",
    )
    .bind(id)
    .bind(merged.first as i64)
    .bind(merged.seq as i64)
    .fetch_one(&mut *connection)
    .await?;
    let wanted = (merged.seq + 1).saturating_sub(merged.first);
    Ok(Some((id, count as u64 == wanted && last as u64 == merged.seq && !named)))
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

/// What a row says, and the last update in the journal.
fn about(row: &SqliteRow, tail: Option<&Update>) -> Result<About, StoreError> {
    let begins = row.get::<i64, _>("begins") as u64;
    let deleted = match (row.get::<Option<i64>, _>("deleted_at"), row.get::<Option<&str>, _>("deleted_by")) {
        (Some(at), Some(by)) => Some(Deletion { at, by: principal_id(by)? }),
        _ => None,
    };
    let (mut seq, mut changed_at) = (row.get::<Option<i64>, _>("seq").map_or(begins, |seq| seq as u64), row.get("at"));
    if let Some(tail) = tail.filter(|tail| tail.seq > seq) {
        (seq, changed_at) = (tail.seq, Some(tail.at));
    }
    let document = DocumentName::parse(row.get("name")).map_err(|_| unreadable("document.name"))?;
    Ok(About { document, epoch: row.get::<i64, _>("epoch") as u64, begins, seq, changed_at, deleted })
}

fn entry(row: &SqliteRow, bytes: u64) -> Result<Entry, StoreError> {
    let seq = row.get::<i64, _>("seq") as u64;
    let first = row.get::<Option<i64>, _>("first").map_or(seq, |first| first as u64);
    Ok(Entry { seq, first, by: principal_id(row.get("principal"))?, at: row.get("at"), bytes })
}

/// Whose an update in the journal is.
fn author(by: &[u8]) -> Result<PrincipalId, StoreError> {
    principal_id(std::str::from_utf8(by).map_err(|_| unreadable("principal"))?)
}

fn principal_id(text: &str) -> Result<PrincipalId, StoreError> {
    PrincipalId::parse(text).ok_or_else(|| unreadable("principal"))
}
