//! What every [`SecretStore`] must do.

use buildspaces_kernel::ids::{PrincipalId, RoomId};

use crate::ports::{SecretStore, StoredSecret};
use crate::secret::{Given, Header, Secret, SecretName};

/// Runs the whole suite; it uses rooms of its own.
///
/// # Panics
/// When the store breaks the contract.
pub async fn secret_store(store: &dyn SecretStore) {
    let (room, other) = (RoomId::random(), RoomId::random());
    assert_eq!(store.secrets(&room).await.expect("answers"), []);
    let header = Header::new("api.example.com:8443", "X-Key", "key {}").expect("valid");
    let (b, a, c) = (secret("B", Given::Env), secret("A", Given::Header(header)), secret("c", Given::File));
    for secret in [&b, &a, &c] {
        assert!(store.put_secret(&room, secret).await.expect("stored"), "it is new");
    }
    assert!(store.put_secret(&other, &a).await.expect("stored"), "names are a room's own");
    assert_eq!(store.secrets(&room).await.expect("answers"), [a.clone(), b.clone(), c.clone()], "by name");

    store.secrets_used(&room, &[name("B"), name("gone")], 70).await.expect("stored");
    assert_eq!(store.secrets(&room).await.expect("answers")[1].secret.used_at, Some(70));
    assert_eq!(
        store.secrets(&other).await.expect("answers"),
        std::slice::from_ref(&a),
        "another room's stay as they are"
    );

    let mut newer = secret("B", Given::File);
    newer.sealed = vec![9, 0, 255];
    newer.secret.skills = vec!["a".to_owned(), "b, c".to_owned()];
    newer.secret.set_at = 99;
    assert!(!store.put_secret(&room, &newer).await.expect("stored"), "it replaces one");
    assert_eq!(store.secrets(&room).await.expect("answers"), [a, newer, c], "and was not used yet");

    assert!(store.delete_secret(&room, &name("A")).await.expect("answers"));
    assert!(!store.delete_secret(&room, &name("A")).await.expect("answers"), "twice");
    assert_eq!(store.secrets(&room).await.expect("answers").len(), 2);
    assert_eq!(store.secrets(&other).await.expect("answers").len(), 1);
}

fn name(text: &str) -> SecretName {
    SecretName::parse(text).expect("valid")
}

fn secret(text: &str, given: Given) -> StoredSecret {
    let secret = Secret {
        name: name(text),
        given,
        skills: vec!["test.run".to_owned()],
        set_by: PrincipalId::parse("ann").expect("valid"),
        set_by_name: "Ann ✓".to_owned(),
        set_at: 5,
        used_at: None,
    };
    StoredSecret { secret, sealed: vec![1, 2, 3] }
}
