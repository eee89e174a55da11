//! What every [`CallStore`] must do.

use buildspaces_kernel::ids::{PrincipalId, RoomId};

use crate::encryption::Encryption;
use crate::ports::CallStore;

/// Runs the whole suite on an empty store.
///
/// # Panics
/// When the store breaks the contract.
pub async fn call_store(store: &dyn CallStore) {
    let (room, other) = (RoomId::random(), RoomId::random());
    let by = |name: &str, since| {
        let id = PrincipalId::parse(&name.to_lowercase()).expect("an id");
        Encryption { by: id, by_name: format!("{name} ✓"), since }
    };
    assert_eq!(store.encryption(&room).await.expect("answers"), None);
    for encryption in [&by("Ann", 5), &by("Bo", 6), &by("Bo", 6)] {
        store.set_encryption(&room, Some(encryption)).await.expect("stored");
        assert_eq!(store.encryption(&room).await.expect("answers").as_ref(), Some(encryption));
    }
    assert_eq!(store.encryption(&other).await.expect("answers"), None, "another room stays as it is");
    for _ in 0..2 {
        store.set_encryption(&room, None).await.expect("stored, also twice");
        assert_eq!(store.encryption(&room).await.expect("answers"), None);
    }
}
