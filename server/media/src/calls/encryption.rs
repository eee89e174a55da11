//! Turning end-to-end encryption of a room's calls on and off. Whether somebody *may* is asked by the caller.

use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::RoomId;
use buildspaces_policy::Principal;
use tokio::sync::oneshot;

use super::Calls;
use super::actor::{Actor, Command};
use crate::Error;
use crate::encryption::Encryption;

impl Calls {
    /// Who turned it on; `None`: the room's calls are not encrypted.
    pub async fn encryption(&self, room: &RoomId) -> Result<Option<Encryption>, Error> {
        Ok(self.0.store.encryption(room).await?)
    }

    /// Turns it on or off, unless anybody is in the call. When it returns, it is so, and on disk. What is so already stays as it is.
    pub async fn encrypt(&self, room: &RoomId, on: bool, by: &Principal) -> Result<Option<Encryption>, Error> {
        let encryption =
            on.then(|| Encryption { by: by.id.clone(), by_name: by.name.to_string(), since: unix_millis() });
        let (reply, set) = oneshot::channel();
        self.send(room, Command::Encrypt { encryption, reply }).await?;
        let set = set.await.map_err(|_| Error::Stopping)??;
        tracing::info!(%room, by = %by.id, on, "encryption of calls was set");
        Ok(set)
    }
}

impl Actor {
    /// Learns what holds in the room. Nothing is answered before: a page that takes an encrypted call for another would send in the clear.
    pub(super) async fn load(&mut self) -> Result<(), Error> {
        let encryption = self.shared.store.encryption(&self.room).await?;
        self.call.set_encrypted(encryption.is_some());
        self.show();
        Ok(())
    }

    /// Nobody is in the call, so nobody waits for media meanwhile.
    pub(super) async fn encrypt(&mut self, encryption: Option<Encryption>) -> Result<Option<Encryption>, Error> {
        let store = &self.shared.store;
        let before = store.encryption(&self.room).await?;
        if before.is_some() == encryption.is_some() {
            return Ok(before);
        }
        if !self.peers.is_empty() || !self.call.is_empty() {
            return Err(Error::InUse);
        }
        store.set_encryption(&self.room, encryption.as_ref()).await?;
        self.call.set_encrypted(encryption.is_some());
        self.show();
        Ok(encryption)
    }
}
