//! Bytes of files that are no documents in SQLite, in pieces of their own transactions, so that edits do not wait for a large file.

use async_trait::async_trait;
use buildspaces_rooms::BlobHash;
use buildspaces_rooms::ports::{BlobStore, Draft, StoreError};
use bytes::Bytes;
use sqlx::{Connection, SqliteConnection};

use crate::Documents;
use crate::database::failed;

#[async_trait]
impl BlobStore for Documents {
    async fn begin_blob(&self) -> Result<Draft, StoreError> {
        let insert = sqlx::query_scalar("INSERT INTO blob (hash) VALUES (NULL) RETURNING id");
        Ok(Draft(insert.fetch_one(&mut *self.write().await?).await.map_err(failed)?))
    }

    async fn append_blob(&self, draft: Draft, at: u64, bytes: Bytes) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO blob_piece (blob, at, bytes) VALUES (?, ?, ?)")
            .bind(draft.0)
            .bind(at as i64)
            .bind(bytes.as_ref())
            .execute(&mut *self.write().await?)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn finish_blob(&self, draft: Draft, hash: &BlobHash) -> Result<(), StoreError> {
        let mut writing = self.write().await?;
        let mut transaction = writing.begin().await.map_err(failed)?;
        let there: Option<i64> = sqlx::query_scalar("SELECT id FROM blob WHERE hash = ?")
            .bind(hash.as_bytes().as_slice())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
        let finish = match there {
            Some(_) => sqlx::query("DELETE FROM blob WHERE id = ?").bind(draft.0),
            None => sqlx::query("UPDATE blob SET hash = ? WHERE id = ?").bind(hash.as_bytes().as_slice()).bind(draft.0),
        };
        finish.execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn discard_draft(&self, draft: Draft) -> Result<(), StoreError> {
        // Pieces go with their blob.
        let discard = sqlx::query("DELETE FROM blob WHERE id = ? AND hash IS NULL").bind(draft.0);
        discard.execute(&mut *self.write().await?).await.map_err(failed)?;
        Ok(())
    }

    async fn has_blob(&self, hash: &BlobHash) -> Result<bool, StoreError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM blob WHERE hash = ?)")
            .bind(hash.as_bytes().as_slice())
            .fetch_one(self.reader())
            .await
            .map_err(failed)
    }

    async fn blob_piece(&self, hash: &BlobHash, from: u64) -> Result<Bytes, StoreError> {
        let piece: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT bytes FROM blob_piece JOIN blob ON blob.id = blob_piece.blob WHERE blob.hash = ? AND at = ?",
        )
        .bind(hash.as_bytes().as_slice())
        .bind(from as i64)
        .fetch_optional(self.reader())
        .await
        .map_err(failed)?;
        Ok(piece.unwrap_or_default().into())
    }

    async fn release_blob(&self, hash: &BlobHash) -> Result<(), StoreError> {
        release(&mut *self.write().await?, hash.as_bytes()).await.map_err(failed)
    }

    async fn sweep_blobs(&self) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM blob WHERE hash IS NULL OR NOT EXISTS (SELECT 1 FROM node WHERE node.blob = blob.hash)",
        )
        .execute(&mut *self.write().await?)
        .await
        .map_err(failed)?;
        Ok(())
    }
}

/// Removes a blob if no node names it.
pub(crate) async fn release(connection: &mut SqliteConnection, hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM blob WHERE hash = ? AND NOT EXISTS (SELECT 1 FROM node WHERE node.blob = blob.hash)")
        .bind(hash)
        .execute(connection)
        .await?;
    Ok(())
}
