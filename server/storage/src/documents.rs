//! Rooms, trees, documents and sessions in SQLite.

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{NodeId, OrganisationId, PrincipalId, RoomId, RoomKind};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::revocation::Revocation;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Principal, PrincipalKind};
use buildspaces_rooms::BlobHash;
use buildspaces_rooms::ports::{KindChange, Record, RoomRecord, Store, StoreError, StoredDocument, TreeChange};
use buildspaces_rooms::tree::{Node, NodeKind};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection, SqlitePool};

use crate::database::{Writing, failed};
use crate::log::Log;
use crate::{Database, blobs, revocations};

/// The port of `rooms`. Clones are cheap.
#[derive(Clone)]
pub struct Documents {
    database: Database,
    log: Log,
}

impl Documents {
    /// Starts the log, which ends with `tasks`.
    pub fn new(database: &Database, tasks: &Tasks) -> Self {
        Self { database: database.clone(), log: Log::start(database, tasks) }
    }

    /// Sets the gauges of what waits for the log. To be called before metrics are read.
    pub fn measure(&self) {
        self.log.measure();
    }

    /// Over a log that runs already.
    #[cfg(test)]
    pub(crate) fn over(database: &Database, log: Log) -> Self {
        Self { database: database.clone(), log }
    }

    /// Leaves alone the documents whose updates are still in the journal. To be called by the one who writes.
    fn without_begun(&self, mut change: TreeChange) -> Result<TreeChange, StoreError> {
        let mut documents = Vec::with_capacity(change.documents.len());
        for (name, update) in change.documents {
            if !self.log.is_in_journal(&name)? {
                documents.push((name, update));
            }
        }
        change.documents = documents;
        Ok(change)
    }

    /// For reading the tables: every update that was acknowledged before is in them.
    pub(crate) async fn all_settled(&self) -> Result<&SqlitePool, StoreError> {
        self.log.settle_all().await?;
        Ok(self.database.reader())
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// For tables that have nothing to do with the log.
    pub(crate) fn reader(&self) -> &SqlitePool {
        self.database.reader()
    }

    /// The turn to write. The log of all documents waits for its end.
    pub(crate) async fn write(&self) -> Result<Writing, StoreError> {
        self.database.write().await.map_err(failed)
    }
}

#[async_trait]
impl Store for Documents {
    async fn load(&self, document: &DocumentName) -> Result<StoredDocument, StoreError> {
        self.log.load(document).await
    }

    async fn append(&self, document: &DocumentName, records: Vec<Record>) -> Result<(), StoreError> {
        self.log.append(document, records).await
    }

    async fn save_snapshot(&self, document: &DocumentName, seq: u64, state: Vec<u8>) -> Result<(), StoreError> {
        self.log.keep(document, seq, state).await
    }

    async fn create_room(&self, room: &RoomRecord, tree: TreeChange) -> Result<(), StoreError> {
        let mut writing = self.database.write().await.map_err(failed)?;
        let tree = self.without_begun(tree)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        sqlx::query(
            "INSERT INTO room (id, title, template, created_at, created_by, kind, organisation)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(room.id.as_str())
        .bind(&room.title)
        .bind(&room.template)
        .bind(room.created_at)
        .bind(room.created_by.as_str())
        .bind(room.tenancy.kind.as_str())
        .bind(room.tenancy.organisation.as_ref().map(OrganisationId::as_str))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        apply(&mut transaction, &room.id, &room.created_by, room.created_at, &tree).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn room(&self, room: &RoomId) -> Result<Option<RoomRecord>, StoreError> {
        let row =
            sqlx::query("SELECT title, template, created_at, created_by, kind, organisation FROM room WHERE id = ?")
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
                tenancy: Tenancy {
                    kind: RoomKind::parse(row.get("kind")).ok_or_else(|| unreadable("kind"))?,
                    organisation: row
                        .get::<Option<&str>, _>("organisation")
                        .map(|name| OrganisationId::parse(name).ok_or_else(|| unreadable("organisation")))
                        .transpose()?,
                },
            })
        })
        .transpose()
    }

    async fn rooms_of(&self, organisation: &OrganisationId) -> Result<Vec<RoomId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM room WHERE organisation = ?")
            .bind(organisation.as_str())
            .fetch_all(self.database.reader())
            .await
            .map_err(failed)?;
        rows.iter().map(|row| RoomId::parse(row.get("id")).ok_or_else(|| unreadable("id"))).collect()
    }

    async fn change_kind(&self, room: &RoomId, change: &KindChange) -> Result<(), StoreError> {
        let mut writing = self.database.write().await.map_err(failed)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        sqlx::query("UPDATE room SET kind = ? WHERE id = ?")
            .bind(change.to.as_str())
            .bind(room.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO room_kind (room, at, by, from_kind, to_kind) VALUES (?, ?, ?, ?, ?)")
            .bind(room.as_str())
            .bind(change.at)
            .bind(change.by.as_str())
            .bind(change.from.as_str())
            .bind(change.to.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn kind_changes(&self, room: &RoomId) -> Result<Vec<KindChange>, StoreError> {
        let rows = sqlx::query("SELECT at, by, from_kind, to_kind FROM room_kind WHERE room = ? ORDER BY seq DESC")
            .bind(room.as_str())
            .fetch_all(self.database.reader())
            .await
            .map_err(failed)?;
        let kind =
            |row: &SqliteRow, column: &'static str| RoomKind::parse(row.get(column)).ok_or_else(|| unreadable(column));
        let change = |row: &SqliteRow| -> Result<KindChange, StoreError> {
            Ok(KindChange {
                at: row.get("at"),
                by: PrincipalId::parse(row.get("by")).ok_or_else(|| unreadable("by"))?,
                from: kind(row, "from_kind")?,
                to: kind(row, "to_kind")?,
            })
        };
        rows.iter().map(change).collect()
    }

    async fn nodes(&self, room: &RoomId) -> Result<Vec<Node>, StoreError> {
        let rows = sqlx::query("SELECT id, parent, name, kind, size, rev, blob, unkept FROM node WHERE room = ?")
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
        let mut writing = self.database.write().await.map_err(failed)?;
        let change = self.without_begun(change)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        apply(&mut transaction, room, by, at, &change).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn create_session(&self, token_hash: [u8; 32], person: &Principal, at: UnixMillis) -> Result<(), StoreError> {
        let mut writing = self.database.write().await.map_err(failed)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
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
            .execute(&mut *self.database.write().await.map_err(failed)?)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<(), StoreError> {
        revocations::insert(&mut *self.database.write().await.map_err(failed)?, revocation).await
    }

    async fn revocations(&self, now: UnixMillis) -> Result<Vec<Revocation>, StoreError> {
        revocations::at(&mut *self.database.write().await.map_err(failed)?, now).await
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
    let mut blobs_before: Vec<Vec<u8>> = Vec::new();
    for node in &change.changed {
        // What has just been created named none before.
        if node.rev > 1 || node.blob.is_some() || node.unkept {
            let before: Option<Option<Vec<u8>>> = sqlx::query_scalar("SELECT blob FROM node WHERE room = ? AND id = ?")
                .bind(room.as_str())
                .bind(node.id.as_str())
                .fetch_optional(&mut *connection)
                .await?;
            blobs_before.extend(before.flatten());
        }
        sqlx::query(
            "INSERT INTO node (room, id, parent, name, kind, size, rev, blob, unkept) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (room, id) DO UPDATE SET
                 parent = excluded.parent, name = excluded.name, kind = excluded.kind, size = excluded.size, rev = excluded.rev,
                 blob = excluded.blob, unkept = excluded.unkept",
        )
        .bind(room.as_str())
        .bind(node.id.as_str())
        .bind(node.parent.as_ref().map(NodeId::as_str))
        .bind(&node.name)
        .bind(kind_name(node.kind))
        .bind(node.size as i64)
        .bind(node.rev as i64)
        .bind(node.blob.as_ref().map(|hash| hash.as_bytes().as_slice()))
        .bind(node.unkept)
        .execute(&mut *connection)
        .await?;
    }
    for id in &change.deleted {
        let before: Option<Option<Vec<u8>>> =
            sqlx::query_scalar("DELETE FROM node WHERE room = ? AND id = ? RETURNING blob")
                .bind(room.as_str())
                .bind(id.as_str())
                .fetch_optional(&mut *connection)
                .await?;
        blobs_before.extend(before.flatten());
    }
    for hash in blobs_before {
        blobs::release(connection, &hash).await?;
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
        sqlx::query("INSERT INTO document (name) VALUES (?) ON CONFLICT (name) DO NOTHING")
            .bind(name.as_str())
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "INSERT INTO document_update (document, seq, at, principal, data)
             SELECT id, 1, ?, ?, ? FROM document WHERE name = ?
                 AND NOT EXISTS (SELECT 1 FROM document_update WHERE document = document.id)",
        )
        .bind(at)
        .bind(by.as_str())
        .bind(update.as_ref())
        .bind(name.as_str())
        .execute(&mut *connection)
        .await?;
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
        blob: match row.get::<Option<&[u8]>, _>("blob") {
            Some(hash) => Some(BlobHash::from(<[u8; 32]>::try_from(hash).ok()?)),
            None => None,
        },
        unkept: row.get("unkept"),
    })
}

pub(crate) fn unreadable(column: &str) -> StoreError {
    StoreError::failed(format!("the database holds a value in {column} that this version cannot read"))
}

#[cfg(test)]
mod tests;
