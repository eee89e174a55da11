//! Who a token belongs to. A session is a name somebody chose and a secret token; only the token's hash is kept.

use axum::extract::FromRequestParts;
use axum::http::{header, request::Parts};
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{PrincipalId, random_id};
use buildspaces_policy::{Authority, Principal, PrincipalKind, Role};
use sha2::{Digest, Sha256};

use crate::Gateway;
use crate::error::ApiError;

/// Longest display name, in characters.
pub(crate) const MAX_NAME_CHARS: usize = 40;

/// Length of a token: 160 random bits.
const TOKEN_CHARS: usize = 32;

/// The person who sent a request, by their session's token.
pub(crate) struct Caller(pub(crate) Principal);

impl Caller {
    /// What the caller is in a room. Whoever has a room's link may edit it; roles by token come later.
    pub(crate) fn authority(&self) -> Authority {
        authority(self.0.clone())
    }
}

pub(crate) fn authority(principal: Principal) -> Authority {
    Authority { principal, role: Role::Editor }
}

impl FromRequestParts<Gateway> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, ApiError> {
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(ApiError::unauthorized)?;
        find(gateway, token).await?.map(Self).ok_or_else(ApiError::unauthorized)
    }
}

/// The person behind a token.
pub(crate) async fn find(gateway: &Gateway, token: &str) -> Result<Option<Principal>, ApiError> {
    gateway.rooms.store().session(hash(token)).await.map_err(ApiError::internal)
}

/// A new person called `name`, and the secret that stands for them.
pub(crate) async fn create(gateway: &Gateway, name: &str) -> Result<(String, Principal), ApiError> {
    let name = check_name(name)?;
    let person = Principal { id: PrincipalId::random(), kind: PrincipalKind::Person, name: name.into() };
    let token = random_id(TOKEN_CHARS);
    let stored = gateway.rooms.store().create_session(hash(&token), &person, unix_millis()).await;
    stored.map_err(ApiError::internal)?;
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
