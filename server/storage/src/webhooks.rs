//! Webhooks and their deliveries in SQLite.
//!
//! It decides nothing about them. Each method is one transaction on the one connection that writes, or reads. What is not
//! announced yet is found by comparing the log of documents with the table of what is: [`Webhooks::unannounced`].

use async_trait::async_trait;
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{DeliveryId, PrincipalId, RoomId, WebhookId};
use buildspaces_policy::{Principal, PrincipalKind};
use buildspaces_rooms::listener::MAX_AUTHORS;
use buildspaces_rooms::ports::{HistoryStore, StoreError};
use buildspaces_webhooks::gather::Changed;
use buildspaces_webhooks::ports::WebhookStore;
use buildspaces_webhooks::{
    Delivery, EventKind, Health, KEPT_DELIVERIES, MAX_WAITING, Off, Scope, Secret, State, Webhook,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use crate::database::failed;
use crate::documents::unreadable;
use crate::history::IS_PLAIN;
use crate::{Database, Documents};

#[cfg(test)]
mod tests;

/// The port of `webhooks`. Clones are cheap.
#[derive(Clone)]
pub struct Webhooks {
    database: Database,
    documents: Documents,
}

impl Webhooks {
    pub fn new(database: &Database, documents: &Documents) -> Self {
        Self { database: database.clone(), documents: documents.clone() }
    }
}

#[async_trait]
impl WebhookStore for Webhooks {
    async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        let rows = sqlx::query("SELECT * FROM webhook ORDER BY seq");
        let rows = rows.fetch_all(self.database.reader()).await.map_err(failed)?;
        rows.iter().map(|row| webhook(row).ok_or_else(|| unreadable("webhook"))).collect()
    }

    async fn put(&self, webhook: &Webhook) -> Result<(), StoreError> {
        let events: Vec<&str> = webhook.events.iter().map(|event| event.as_str()).collect();
        let room = match &webhook.scope {
            Scope::Room(room) => Some(room.as_str()),
            Scope::Server => None,
        };
        let off = webhook.health.off.as_ref();
        sqlx::query(
            "INSERT INTO webhook (id, room, url, events, secret, created_at, created_by, off_at, off_reason, failing_since)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET room = excluded.room, url = excluded.url, events = excluded.events,
                 secret = excluded.secret, off_at = excluded.off_at, off_reason = excluded.off_reason,
                 failing_since = excluded.failing_since",
        )
        .bind(webhook.id.as_str())
        .bind(room)
        .bind(&*webhook.url)
        .bind(events.join(","))
        .bind(webhook.secret.reveal())
        .bind(webhook.created_at)
        .bind(webhook.created_by.as_str())
        .bind(off.map(|off| off.at))
        .bind(off.map(|off| &off.reason))
        .bind(webhook.health.failing_since)
        .execute(&mut *self.database.write().await.map_err(failed)?)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn delete(&self, webhook: &WebhookId) -> Result<(), StoreError> {
        // Its deliveries go with it.
        sqlx::query("DELETE FROM webhook WHERE id = ?")
            .bind(webhook.as_str())
            .execute(&mut *self.database.write().await.map_err(failed)?)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn enqueue(&self, deliveries: &[Delivery], announced: &[(DocumentName, u64)]) -> Result<u64, StoreError> {
        let mut writing = self.database.write().await.map_err(failed)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        for delivery in deliveries {
            insert(&mut transaction, delivery).await.map_err(failed)?;
        }
        let mut webhooks: Vec<(&WebhookId, UnixMillis)> =
            deliveries.iter().map(|delivery| (&delivery.webhook, delivery.created_at)).collect();
        webhooks.sort_unstable();
        webhooks.dedup_by_key(|(webhook, _)| *webhook);
        let mut dropped = 0;
        for (webhook, now) in webhooks {
            dropped += trim(&mut transaction, webhook, now).await.map_err(failed)?;
        }
        for (document, seq) in announced {
            sqlx::query(
                "INSERT INTO webhook_announced (document, seq) VALUES (?, ?)
                 ON CONFLICT (document) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq",
            )
            .bind(document.as_str())
            .bind(*seq as i64)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(dropped)
    }

    async fn due(&self, now: UnixMillis, longest: UnixMillis, each: u32) -> Result<Vec<Delivery>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM (
                 SELECT d.*, ROW_NUMBER() OVER (PARTITION BY d.webhook ORDER BY d.state_at, d.seq) AS place
                 FROM webhook_delivery d JOIN webhook w ON w.id = d.webhook AND w.off_at IS NULL
                 WHERE d.state = 'waiting' AND (d.state_at <= ?1 OR d.state_at > ?1 + ?2)
             ) WHERE place <= ?3 ORDER BY state_at, seq",
        )
        .bind(now)
        .bind(longest)
        .bind(each)
        .fetch_all(self.database.reader())
        .await
        .map_err(failed)?;
        rows.iter().map(delivery).collect()
    }

    async fn waiting(&self, now: UnixMillis) -> Result<(Option<UnixMillis>, u64), StoreError> {
        let (next, count): (Option<i64>, i64) = sqlx::query_as(
            "SELECT MIN(CASE WHEN w.off_at IS NULL AND d.state_at > ? THEN d.state_at END), COUNT(*)
             FROM webhook_delivery d JOIN webhook w ON w.id = d.webhook WHERE d.state = 'waiting'",
        )
        .bind(now)
        .fetch_one(self.database.reader())
        .await
        .map_err(failed)?;
        Ok((next, count as u64))
    }

    async fn finish(&self, delivery: &Delivery, health: &Health) -> Result<(), StoreError> {
        let mut writing = self.database.write().await.map_err(failed)?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        let (state, at) = written(delivery.state);
        sqlx::query(
            "UPDATE webhook_delivery SET attempts = ?, state = ?, state_at = ?, status = ?, error = ? WHERE id = ?",
        )
        .bind(delivery.attempts)
        .bind(state)
        .bind(at)
        .bind(delivery.status)
        .bind(&delivery.error)
        .bind(delivery.id.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        let off = health.off.as_ref();
        sqlx::query("UPDATE webhook SET off_at = ?, off_reason = ?, failing_since = ? WHERE id = ?")
            .bind(off.map(|off| off.at))
            .bind(off.map(|off| &off.reason))
            .bind(health.failing_since)
            .bind(delivery.webhook.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn deliveries(&self, webhook: &WebhookId, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let rows = sqlx::query("SELECT * FROM webhook_delivery WHERE webhook = ? ORDER BY seq DESC LIMIT ?")
            .bind(webhook.as_str())
            .bind(limit)
            .fetch_all(self.database.reader())
            .await
            .map_err(failed)?;
        rows.iter().map(delivery).collect()
    }

    async fn epoch(&self, document: &DocumentName) -> Result<u64, StoreError> {
        let epoch: Option<i64> = sqlx::query_scalar("SELECT epoch FROM document WHERE name = ?")
            .bind(document.as_str())
            .fetch_optional(self.database.reader())
            .await
            .map_err(failed)?;
        Ok(epoch.map_or(1, |epoch| epoch as u64))
    }

    async fn unannounced(
        &self,
        scope: &Scope,
        since: UnixMillis,
        of_interest: &(dyn for<'a> Fn(&'a DocumentName) -> bool + Sync),
    ) -> Result<Vec<(Changed, UnixMillis)>, StoreError> {
        let reader = self.documents.all_settled().await?;
        let (from, to, kind) = match scope {
            // The character after a slash.
            Scope::Room(room) => (format!("{room}/"), format!("{room}0"), "TRUE"),
            Scope::Server => (String::new(), "\u{10ffff}".to_owned(), IS_PLAIN),
        };
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT document.name, last.seq, last.at, MAX(document.begins, COALESCE(announced.seq, 0)) AS known
             FROM document JOIN document_update AS last ON last.document = document.id AND last.seq =
                 (SELECT MAX(seq) FROM document_update WHERE document = document.id)
             LEFT JOIN webhook_announced AS announced ON announced.document = document.name
             WHERE document.name >= ? AND document.name < ? AND {kind} AND document.deleted_at IS NULL AND last.at >= ?
                 AND last.seq > MAX(document.begins, COALESCE(announced.seq, 0))
             ORDER BY last.at, document.name",
        )))
        .bind(from)
        .bind(to)
        .bind(since)
        .fetch_all(reader)
        .await
        .map_err(failed)?;
        let mut found = Vec::new();
        for row in &rows {
            let document = DocumentName::parse(row.get("name")).map_err(|_| unreadable("name"))?;
            if of_interest(&document) {
                let by = self.authors(&document, row.get("known")).await?;
                found.push((Changed { document, seq: row.get::<i64, _>("seq") as u64, by }, row.get("at")));
            }
        }
        Ok(found)
    }
}

impl Webhooks {
    /// Who made the updates with numbers above `after`, in the order of their last ones.
    async fn authors(&self, document: &DocumentName, after: i64) -> Result<Vec<Principal>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT u.principal FROM document JOIN document_update AS u ON u.document = document.id AND u.seq > ?
             WHERE document.name = ? GROUP BY u.principal ORDER BY MAX(u.seq) LIMIT ?",
        )
        .bind(after)
        .bind(document.as_str())
        .bind(MAX_AUTHORS as i64)
        .fetch_all(self.database.reader())
        .await
        .map_err(failed)?;
        let ids = ids.iter().map(|id| PrincipalId::parse(id).ok_or_else(|| unreadable("principal")));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let mut known = self.documents.principals(&ids).await?;
        known.extend([Principal::system(), Principal::file_system()]);
        // Somebody whose name was never stored is called by their id.
        let nameless = |id: PrincipalId| Principal { name: id.as_str().into(), kind: PrincipalKind::Person, id };
        let named = |id| known.iter().find(|known| known.id == id).cloned().unwrap_or_else(|| nameless(id));
        Ok(ids.into_iter().map(named).collect())
    }
}

/// Adds a delivery, unless its webhook is gone.
async fn insert(connection: &mut SqliteConnection, delivery: &Delivery) -> Result<(), sqlx::Error> {
    let (state, at) = written(delivery.state);
    sqlx::query(
        "INSERT INTO webhook_delivery
             (id, webhook, event, document, body, created_at, attempts, state, state_at, status, error)
         SELECT ?, id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM webhook WHERE id = ?",
    )
    .bind(delivery.id.as_str())
    .bind(delivery.event.as_str())
    .bind(&delivery.document)
    .bind(&delivery.body)
    .bind(delivery.created_at)
    .bind(delivery.attempts)
    .bind(state)
    .bind(at)
    .bind(delivery.status)
    .bind(&delivery.error)
    .bind(delivery.webhook.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Drops what waits beyond the bound, and forgets what was over long ago. Returns how many were dropped.
async fn trim(connection: &mut SqliteConnection, webhook: &WebhookId, now: UnixMillis) -> Result<u64, sqlx::Error> {
    let dropped = sqlx::query(
        "UPDATE webhook_delivery SET state = 'dropped', state_at = ?2 WHERE seq IN
             (SELECT seq FROM webhook_delivery WHERE webhook = ?1 AND state = 'waiting'
              ORDER BY seq DESC LIMIT -1 OFFSET ?3)",
    )
    .bind(webhook.as_str())
    .bind(now)
    .bind(MAX_WAITING)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM webhook_delivery WHERE seq IN
             (SELECT seq FROM webhook_delivery WHERE webhook = ? AND state <> 'waiting'
              ORDER BY seq DESC LIMIT -1 OFFSET ?)",
    )
    .bind(webhook.as_str())
    .bind(KEPT_DELIVERIES)
    .execute(connection)
    .await?;
    Ok(dropped.rows_affected())
}

fn written(state: State) -> (&'static str, UnixMillis) {
    match state {
        State::Waiting { next_at } => ("waiting", next_at),
        State::Delivered { at } => ("delivered", at),
        State::GivenUp { at } => ("given_up", at),
        State::Dropped { at } => ("dropped", at),
    }
}

fn webhook(row: &SqliteRow) -> Option<Webhook> {
    let scope = match row.get::<Option<&str>, _>("room") {
        Some(room) => Scope::Room(RoomId::parse(room)?),
        None => Scope::Server,
    };
    let off = row.get::<Option<i64>, _>("off_at");
    let off = off.map(|at| Off { at, reason: row.get::<Option<String>, _>("off_reason").unwrap_or_default() });
    Some(Webhook {
        id: WebhookId::parse(row.get("id"))?,
        scope,
        url: row.get::<&str, _>("url").into(),
        events: row.get::<&str, _>("events").split(',').map(EventKind::parse).collect::<Option<_>>()?,
        secret: Secret::parse(row.get("secret")).ok()?,
        created_at: row.get("created_at"),
        created_by: PrincipalId::parse(row.get("created_by"))?,
        health: Health { off, failing_since: row.get("failing_since") },
    })
}

fn delivery(row: &SqliteRow) -> Result<Delivery, StoreError> {
    read_delivery(row).ok_or_else(|| unreadable("webhook_delivery"))
}

fn read_delivery(row: &SqliteRow) -> Option<Delivery> {
    let at = row.get("state_at");
    let state = match row.get("state") {
        "waiting" => State::Waiting { next_at: at },
        "delivered" => State::Delivered { at },
        "given_up" => State::GivenUp { at },
        "dropped" => State::Dropped { at },
        _ => return None,
    };
    Some(Delivery {
        id: DeliveryId::parse(row.get("id"))?,
        webhook: WebhookId::parse(row.get("webhook"))?,
        event: EventKind::parse(row.get("event"))?,
        document: row.get("document"),
        body: row.get("body"),
        created_at: row.get("created_at"),
        attempts: row.get("attempts"),
        state,
        status: row.get("status"),
        error: row.get("error"),
    })
}
