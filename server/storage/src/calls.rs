//! Which rooms' calls are encrypted, in SQLite.

use async_trait::async_trait;
use buildspaces_kernel::ids::RoomId;
use buildspaces_media::encryption::Encryption;
use buildspaces_media::ports::{CallStore, StoreError};
use buildspaces_plans::ports::StoreError as RowError;

use crate::Database;
use crate::setting::{Setting, Table};

const ENCRYPTED: Table = Table("encrypted_room");

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
        let setting = ENCRYPTED.read(&self.0, room).await.map_err(told)?;
        Ok(setting.map(|Setting { by, by_name, since }| Encryption { by, by_name, since }))
    }

    async fn set_encryption(&self, room: &RoomId, encryption: Option<&Encryption>) -> Result<(), StoreError> {
        let setting = encryption.cloned().map(|Encryption { by, by_name, since }| Setting { by, by_name, since });
        ENCRYPTED.write(&self.0, room, setting).await.map_err(told)
    }
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
