//! Rooms, trees, documents and sessions in SQLite.

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{NodeId, PrincipalId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::{Principal, PrincipalKind};
use buildspaces_rooms::ports::{Record, RoomRecord, Store, StoreError, StoredDocument, TreeChange};
use buildspaces_rooms::tree::{Node, NodeKind};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::Database;
use crate::writer::{Writer, document_id, insert};

/// The port of `rooms`. Clones are cheap.
#[derive(Clone)]
pub struct Documents {
    database: Database,
    writer: Writer,
}

impl Documents {
    /// Starts the log writer on `tasks`.
    pub fn new(database: &Database, tasks: &Tasks) -> Self {
        Self { database: database.clone(), writer: Writer::start(database.writer().clone(), tasks) }
    }
}

#[async_trait]
impl Store for Documents {
    async fn load(&self, document: &DocumentName) -> Result<StoredDocument, StoreError> {
        let mut connection = self.database.reader().begin().await.map_err(failed)?;
        let id: Option<i64> = sqlx::query_scalar("SELECT id FROM document WHERE name = ?")
            .bind(document.as_str())
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
        let Some(id) = id else { return Ok(StoredDocument::default()) };
        let snapshot: Option<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT seq, data FROM document_snapshot WHERE document = ?")
                .bind(id)
                .fetch_optional(&mut *connection)
                .await
                .map_err(failed)?;
        let from = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT seq, data FROM document_update WHERE document = ? AND seq > ? ORDER BY seq")
                .bind(id)
                .bind(from)
                .fetch_all(&mut *connection)
                .await
                .map_err(failed)?;
        let seq = rows.last().map_or(from, |(seq, _)| *seq) as u64;
        let updates = rows.into_iter().map(|(_, data)| data).collect();
        Ok(StoredDocument { snapshot: snapshot.map(|(seq, state)| (seq as u64, state)), updates, seq })
    }

    async fn append(&self, document: &DocumentName, records: Vec<Record>) -> Result<(), StoreError> {
        self.writer.append(document, records).await
    }

    async fn save_snapshot(&self, document: &DocumentName, seq: u64, state: Vec<u8>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO document_snapshot (document, seq, data) SELECT id, ?, ? FROM document WHERE name = ?
             ON CONFLICT (document) DO UPDATE SET seq = excluded.seq, data = excluded.data WHERE excluded.seq > seq",
        )
        .bind(seq as i64)
        .bind(state)
        .bind(document.as_str())
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn create_room(&self, room: &RoomRecord, tree: TreeChange) -> Result<(), StoreError> {
        let mut transaction = self.database.writer().begin().await.map_err(failed)?;
        sqlx::query("INSERT INTO room (id, title, template, created_at, created_by) VALUES (?, ?, ?, ?, ?)")
            .bind(room.id.as_str())
            .bind(&room.title)
            .bind(&room.template)
            .bind(room.created_at)
            .bind(room.created_by.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        apply(&mut transaction, &room.id, &room.created_by, room.created_at, &tree).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn room(&self, room: &RoomId) -> Result<Option<RoomRecord>, StoreError> {
        let row = sqlx::query("SELECT title, template, created_at, created_by FROM room WHERE id = ?")
            .bind(room.as_str())
            .fetch_optional(self.database.reader())
            .await
            .map_err(failed)?;
        row.map(|row| {
            Ok(RoomRecord {
                id: room.clone(),
                title: row.get("title"),
                template: row.get("template"),
                created_at: row.get("created_at"),
                created_by: PrincipalId::parse(row.get("created_by")).ok_or_else(|| unreadable("created_by"))?,
            })
        })
        .transpose()
    }

    async fn nodes(&self, room: &RoomId) -> Result<Vec<Node>, StoreError> {
        let rows = sqlx::query("SELECT id, parent, name, kind, size, rev FROM node WHERE room = ?")
            .bind(room.as_str())
            .fetch_all(self.database.reader())
            .await
            .map_err(failed)?;
        rows.iter().map(|row| node(row).ok_or_else(|| unreadable("node"))).collect()
    }

    async fn change_tree(
        &self,
        room: &RoomId,
        by: &PrincipalId,
        at: UnixMillis,
        change: TreeChange,
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.writer().begin().await.map_err(failed)?;
        apply(&mut transaction, room, by, at, &change).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn create_session(&self, token_hash: [u8; 32], person: &Principal, at: UnixMillis) -> Result<(), StoreError> {
        let mut transaction = self.database.writer().begin().await.map_err(failed)?;
        sqlx::query("INSERT INTO principal (id, name, created_at) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING")
            .bind(person.id.as_str())
            .bind(person.name.as_ref())
            .bind(at)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO session (token_hash, principal, created_at) VALUES (?, ?, ?)")
            .bind(token_hash.as_slice())
            .bind(person.id.as_str())
            .bind(at)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn session(&self, token_hash: [u8; 32]) -> Result<Option<Principal>, StoreError> {
        let row: Option<(String, String)> = sqlx::query_as(
            "SELECT principal.id, principal.name FROM session JOIN principal ON principal.id = session.principal
             WHERE token_hash = ?",
        )
        .bind(token_hash.as_slice())
        .fetch_optional(self.database.reader())
        .await
        .map_err(failed)?;
        row.map(|(id, name)| {
            let id = PrincipalId::parse(&id).ok_or_else(|| unreadable("principal"))?;
            Ok(Principal { id, kind: PrincipalKind::Person, name: name.into() })
        })
        .transpose()
    }

    async fn rename_person(&self, person: &PrincipalId, name: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE principal SET name = ? WHERE id = ?")
            .bind(name)
            .bind(person.as_str())
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }
}

/// Writes one change of a tree: nodes, journal, first updates of new documents.
async fn apply(
    connection: &mut SqliteConnection,
    room: &RoomId,
    by: &PrincipalId,
    at: UnixMillis,
    change: &TreeChange,
) -> Result<(), sqlx::Error> {
    for node in &change.changed {
        sqlx::query(
            "INSERT INTO node (room, id, parent, name, kind, size, rev) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (room, id) DO UPDATE SET
                 parent = excluded.parent, name = excluded.name, kind = excluded.kind, size = excluded.size, rev = excluded.rev",
        )
        .bind(room.as_str())
        .bind(node.id.as_str())
        .bind(node.parent.as_ref().map(NodeId::as_str))
        .bind(&node.name)
        .bind(kind_name(node.kind))
        .bind(node.size as i64)
        .bind(node.rev as i64)
        .execute(&mut *connection)
        .await?;
    }
    for id in &change.deleted {
        sqlx::query("DELETE FROM node WHERE room = ? AND id = ?")
            .bind(room.as_str())
            .bind(id.as_str())
            .execute(&mut *connection)
            .await?;
    }
    let journal = serde_json::json!({ "changed": change.changed, "deleted": change.deleted }).to_string();
    sqlx::query(
        "INSERT INTO tree_journal (room, seq, at, principal, change)
         VALUES (?1, (SELECT COALESCE(MAX(seq), 0) + 1 FROM tree_journal WHERE room = ?1), ?2, ?3, ?4)",
    )
    .bind(room.as_str())
    .bind(at)
    .bind(by.as_str())
    .bind(journal)
    .execute(&mut *connection)
    .await?;
    for (name, update) in &change.documents {
        let document = document_id(connection, name).await?;
        let begun: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM document_update WHERE document = ?)")
            .bind(document)
            .fetch_one(&mut *connection)
            .await?;
        if !begun {
            insert(connection, document, &Record { seq: 1, by: by.clone(), at, update: update.clone() }).await?;
        }
    }
    Ok(())
}

fn kind_name(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Folder => "folder",
        NodeKind::Text => "text",
        NodeKind::Binary => "binary",
        NodeKind::Large => "large",
    }
}

fn node(row: &SqliteRow) -> Option<Node> {
    let kind = match row.get("kind") {
        "folder" => NodeKind::Folder,
        "text" => NodeKind::Text,
        "binary" => NodeKind::Binary,
        "large" => NodeKind::Large,
        _ => return None,
    };
    let parent = match row.get::<Option<&str>, _>("parent") {
        Some(parent) => Some(NodeId::parse(parent)?),
        None => None,
    };
    Some(Node {
        id: NodeId::parse(row.get("id"))?,
        parent,
        name: row.get("name"),
        kind,
        size: row.get::<i64, _>("size") as u64,
        rev: row.get::<i64, _>("rev") as u64,
    })
}

fn failed(error: sqlx::Error) -> StoreError {
    StoreError(error.to_string().into())
}

fn unreadable(column: &str) -> StoreError {
    StoreError(format!("the database holds a value in {column} that this version cannot read").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(dir: &tempfile::TempDir) -> Database {
        Database::open(&dir.path().join("test.db")).await.expect("open")
    }

    #[tokio::test]
    async fn it_keeps_the_contract() {
        let dir = tempfile::tempdir().expect("temp dir");
        buildspaces_rooms::contract::run(&Documents::new(&open(&dir).await, &Tasks::new())).await;
    }

    #[tokio::test]
    async fn what_was_appended_is_there_after_another_opening() {
        let dir = tempfile::tempdir().expect("temp dir");
        let name = DocumentName::parse("d").expect("valid");
        let record = |seq| Record { seq, by: Principal::system().id, at: 1, update: bytes::Bytes::from_static(b"u") };
        let first = Documents::new(&open(&dir).await, &Tasks::new());
        // Many documents at once share commits and do not disturb each other.
        let appends = (0..50).map(|i| {
            let (store, name) = (first.clone(), DocumentName::parse(&format!("d{i}")).expect("valid"));
            async move { store.append(&name, vec![record(1), record(2)]).await }
        });
        for result in futures(appends).await {
            result.expect("append");
        }
        first.append(&name, vec![record(1)]).await.expect("append");
        let second = Documents::new(&open(&dir).await, &Tasks::new());
        assert_eq!(second.load(&name).await.expect("load").seq, 1);
        assert_eq!(second.load(&DocumentName::parse("d49").expect("valid")).await.expect("load").seq, 2);
        second.append(&name, vec![record(2)]).await.expect("append goes on where the log stands");
    }

    #[tokio::test]
    async fn what_is_acknowledged_after_the_disk_was_full_is_on_disk() {
        let dir = tempfile::tempdir().expect("temp dir");
        let database = open(&dir).await;
        let store = Documents::new(&database, &Tasks::new());
        let name = DocumentName::parse("d").expect("valid");
        let record = |seq, bytes| Record { seq, by: Principal::system().id, at: 1, update: vec![0u8; bytes].into() };
        store.append(&name, vec![record(1, 1)]).await.expect("append");
        // What SQLite does when the disk is full: it ends the transaction, or undoes the statement alone.
        for (bytes, end) in [(3, "ROLLBACK"), (2, "ABORT")] {
            let full = sqlx::AssertSqlSafe(format!(
                "CREATE TRIGGER full_{end} BEFORE INSERT ON document_update WHEN length(NEW.data) = {bytes}
                 BEGIN SELECT RAISE({end}, 'database or disk is full'); END"
            ));
            sqlx::query(full).execute(database.writer()).await.expect("a trigger");
        }
        let mut saved = 1;
        for bytes in [3, 2, 1, 3, 3, 2, 2, 1, 1] {
            let result = store.append(&name, vec![record(saved + 1, bytes)]).await;
            assert_eq!(result.is_ok(), bytes == 1, "{result:?}");
            saved += u64::from(result.is_ok());
            let log = store.load(&name).await.expect("load");
            assert_eq!(log.seq, saved, "what others find after {bytes} bytes were appended");
        }
    }

    async fn futures<T: Send + 'static>(all: impl Iterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
        let mut set = tokio::task::JoinSet::new();
        for future in all {
            set.spawn(future);
        }
        set.join_all().await
    }
}
