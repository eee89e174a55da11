//! Access that was taken back.

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::revocation::{Revocation, Subject, TokenId};
use buildspaces_rooms::ports::StoreError;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::database::failed;
use crate::documents::unreadable;

pub(crate) async fn insert(connection: &mut SqliteConnection, revocation: &Revocation) -> Result<(), StoreError> {
    let (kind, subject) = written(&revocation.subject);
    sqlx::query(
        "INSERT INTO revocation (kind, subject, room, reason, principal, at, expires) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (kind, subject, room) DO UPDATE SET
             reason = excluded.reason, principal = excluded.principal, at = excluded.at, expires = excluded.expires",
    )
    .bind(kind)
    .bind(subject)
    // No room has an empty name, so it stands for all.
    .bind(revocation.room.as_deref().unwrap_or(""))
    .bind(&revocation.reason)
    .bind(revocation.by.as_str())
    .bind(revocation.at)
    .bind(revocation.expires)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// How long what is over is kept: a clock that stands in the future for a while must not take back what was taken back.
const KEPT_MILLIS: i64 = 400 * 24 * 3600 * 1000;

/// What holds at `now`.
pub(crate) async fn at(connection: &mut SqliteConnection, now: UnixMillis) -> Result<Vec<Revocation>, StoreError> {
    sqlx::query("DELETE FROM revocation WHERE expires <= ?")
        .bind(now.saturating_sub(KEPT_MILLIS))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let rows = sqlx::query("SELECT kind, subject, room, reason, principal, at, expires FROM revocation WHERE expires IS NULL OR expires > ?")
        .bind(now)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| read(row).ok_or_else(|| unreadable("revocation"))).collect()
}

fn written(subject: &Subject) -> (&'static str, String) {
    match subject {
        Subject::User(user) => ("user", user.to_string()),
        Subject::Token(token) => ("token", format!("{:032x}", u128::from_be_bytes(token.0))),
        Subject::Document(document) => ("document", document.clone()),
    }
}

fn read(row: &SqliteRow) -> Option<Revocation> {
    let subject: String = row.get("subject");
    let subject = match row.get("kind") {
        "user" => Subject::User(PrincipalId::parse(&subject)?),
        "token" => Subject::Token(TokenId(u128::from_str_radix(&subject, 16).ok()?.to_be_bytes())),
        "document" => Subject::Document(subject),
        _ => return None,
    };
    Some(Revocation {
        subject,
        room: Some(row.get("room")).filter(|room: &String| !room.is_empty()),
        reason: row.get("reason"),
        by: PrincipalId::parse(row.get("principal"))?,
        at: row.get("at"),
        expires: row.get("expires"),
    })
}
