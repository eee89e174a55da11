//! Sessions. A session is a name somebody chose and a secret token; only the token's hash is kept.

use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{PrincipalId, random_id};
use buildspaces_policy::{Principal, PrincipalKind};
use buildspaces_rooms::ports::StoreError;
use sha2::{Digest, Sha256};

use crate::Gateway;
use crate::error::ApiError;

/// Longest display name, in characters.
pub(crate) const MAX_NAME_CHARS: usize = 40;

/// Length of a token: 160 random bits.
const TOKEN_CHARS: usize = 32;

/// The person behind a token.
pub(crate) async fn find(gateway: &Gateway, token: &str) -> Result<Option<Principal>, StoreError> {
    gateway.rooms.store().session(hash(token)).await
}

/// A new person called `name`, and the secret that stands for them.
pub(crate) async fn create(gateway: &Gateway, name: &str) -> Result<(String, Principal), ApiError> {
    if !gateway.config.auth.takes_sessions() {
        let message = "this server lets in only who has a token; use the link you were given";
        return Err(ApiError::forbidden("no_guests", message));
    }
    let name = check_name(name)?;
    let person = Principal { id: PrincipalId::random(), kind: PrincipalKind::Person, name: name.into() };
    let token = random_id(TOKEN_CHARS);
    gateway.rooms.store().create_session(hash(&token), &person, unix_millis()).await?;
    Ok((token, person))
}

/// A display name without what would confuse or impersonate.
pub(crate) fn check_name(name: &str) -> Result<String, ApiError> {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(invisible) {
        let message = format!("a name must have 1 to {MAX_NAME_CHARS} visible characters");
        return Err(ApiError::bad_request("bad_name", message));
    }
    Ok(name)
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_checked() {
        assert_eq!(check_name("  Ada \t Lovelace ").ok().as_deref(), Some("Ada Lovelace"));
        assert!(check_name("José 👩‍🚀").is_err(), "joined emoji use an invisible character");
        assert!(check_name("José 🚀").is_ok());
        for bad in ["", "   ", "a\u{202e}b", &"x".repeat(41)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
