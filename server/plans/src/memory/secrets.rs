//! A store of secrets in memory. It forgets everything when it is dropped; clones share their contents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::RoomId;

use crate::ports::{SecretStore, StoreError, StoredSecret};
use crate::secret::SecretName;

/// See the module.
#[derive(Clone, Default, Debug)]
pub struct MemorySecrets(Arc<Mutex<BTreeMap<(RoomId, SecretName), StoredSecret>>>);

impl MemorySecrets {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(RoomId, SecretName), StoredSecret>> {
        self.0.lock().expect("nothing that holds the lock panics")
    }
}

#[async_trait]
impl SecretStore for MemorySecrets {
    async fn secrets(&self, room: &RoomId) -> Result<Vec<StoredSecret>, StoreError> {
        Ok(self.lock().iter().filter(|((of, _), _)| of == room).map(|(_, stored)| stored.clone()).collect())
    }

    async fn put_secret(&self, room: &RoomId, secret: &StoredSecret) -> Result<bool, StoreError> {
        let key = (room.clone(), secret.secret.name.clone());
        Ok(self.lock().insert(key, secret.clone()).is_none())
    }

    async fn delete_secret(&self, room: &RoomId, name: &SecretName) -> Result<bool, StoreError> {
        Ok(self.lock().remove(&(room.clone(), name.clone())).is_some())
    }

    async fn secrets_used(&self, room: &RoomId, names: &[SecretName], at: UnixMillis) -> Result<(), StoreError> {
        let mut stored = self.lock();
        for name in names {
            if let Some(stored) = stored.get_mut(&(room.clone(), name.clone())) {
                stored.secret.used_at = Some(at);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_memory_store_keeps_the_contract() {
        crate::contract::secret_store(&MemorySecrets::default()).await;
    }
}
