//! JSON Web Tokens (RFC 7519): what one says, whether to believe it, and making one.
//!
//! | claim | meaning |
//! | --- | --- |
//! | `sub` | who it is; required |
//! | `name` | the name others see |
//! | `room` | the one room it is for; any room if absent |
//! | `role` | `host`, `editor`, `commenter`, `viewer` (if absent) or `agent` |
//! | `documents` | globs over document names; any document of the room if absent |
//! | `kind`, `organisation` | what the rooms are that its holder creates, and whose; the default kind and nobody's if absent |
//! | `exp` | required unless configured otherwise; `nbf`, `iss` and `aud` are checked as usual |
//! | `jti` | what a revocation names |
//!
//! What is signed is believed; what is not understood is refused, not ignored.

use std::sync::Arc;
use std::time::Duration;

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{OrganisationId, PrincipalId, RoomKind, random_id};
use buildspaces_policy::revocation::TokenId;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Principal, Role};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::keys::{Key, SigningKey};
use crate::sessions::check_name;

/// Longest token that is looked at, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 8192;

/// Most patterns of one token, and the longest of them in bytes.
const MAX_PATTERNS: usize = 64;
const MAX_PATTERN_BYTES: usize = 512;

/// How much earlier than `nbf` a token is taken, because the clocks of two machines differ. `exp` has no such grace.
const SKEW_MILLIS: UnixMillis = 30_000;

/// Characters of a new token's own id: 100 random bits.
const JTI_CHARS: usize = 20;

/// What every token is held to.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The one `iss` that is taken; any if `None`.
    pub issuer: Option<String>,
    /// What `aud` must name; not looked at if `None`.
    pub audience: Option<String>,
    /// Refuse tokens that never expire.
    pub require_expiry: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { issuer: None, audience: None, require_expiry: true }
    }
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documents: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organisation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
}

/// A NumericDate: seconds, which some write with a fraction.
#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Seconds {
    Whole(i64),
    Fraction(f64),
}

impl Seconds {
    fn millis(self) -> UnixMillis {
        match self {
            Self::Whole(seconds) => seconds.saturating_mul(1000),
            // A float beyond what fits becomes the largest or smallest number.
            Self::Fraction(seconds) => (seconds * 1000.0) as UnixMillis,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

/// What a token that was checked says.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) principal: Principal,
    pub(super) role: Role,
    pub(super) scope: Scope,
    pub(super) expires: Option<UnixMillis>,
    pub(super) token: TokenId,
    pub(super) tenancy: Tenancy,
}

/// Which documents a token is for.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    room: Option<String>,
    documents: Option<GlobSet>,
}

impl Scope {
    pub(super) fn covers(&self, document: &DocumentName) -> bool {
        self.room.as_deref().is_none_or(|room| room == document.room())
            && self.documents.as_ref().is_none_or(|globs| globs.is_match(document.as_str()))
    }

    /// The one room it is for.
    pub(super) fn room(&self) -> Option<&str> {
        self.room.as_deref()
    }

    /// Not for one room alone.
    pub(super) fn any_room(&self) -> bool {
        self.room.is_none() && self.documents.is_none()
    }

    /// Names single documents.
    pub(super) fn is_limited(&self) -> bool {
        self.documents.is_some()
    }
}

/// Why a token is not believed. The text is for whoever brought it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Invalid {
    #[error("the token has expired: get a new one")]
    Expired,
    #[error("the token is not valid yet: check the clocks of the machine that made it and of this server")]
    Early,
    #[error("the token is not signed by a key this server knows")]
    Signature,
    #[error("the token is not one this server takes: {0}")]
    Claims(&'static str),
    #[error("this is not a token")]
    Shape,
}

/// How a token says it is signed.
pub(super) struct Signed {
    header: Header,
}

impl Signed {
    pub(super) fn read(token: &str) -> Result<Self, Invalid> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Invalid::Claims("it is too long"));
        }
        // `none`, and whatever else the library does not know, ends here.
        let header = decode_header(token).map_err(|_| Invalid::Shape)?;
        if header.crit.is_some() {
            return Err(Invalid::Claims("it asks for something that is not understood here (crit)"));
        }
        Ok(Self { header })
    }

    #[cfg(test)]
    pub(super) fn of(header: Header) -> Self {
        Self { header }
    }

    /// Could `key` have to do with it? A key is asked for its own algorithm only.
    pub(super) fn may_be_of(&self, key: &Key) -> bool {
        let ids = self.header.kid.as_ref().zip(key.id.as_ref());
        key.algorithm == self.header.alg && ids.is_none_or(|(wanted, id)| wanted == id)
    }
}

/// Believes `token` if one of `keys` made it and it holds at `now`.
pub(super) fn verify<'a>(
    token: &str,
    keys: impl Iterator<Item = &'a Key>,
    rules: &Rules,
    now: UnixMillis,
) -> Result<Verified, Invalid> {
    // Its shape is looked at first, so that what goes wrong below is about a signature or what is signed.
    let signed = Signed::read(token)?;
    let mut found = None;
    for key in keys.filter(|key| signed.may_be_of(key)) {
        let mut validation = Validation::new(key.algorithm);
        // What it says is checked below, by one clock and with our words.
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        match decode::<Claims>(token, &key.check, &validation) {
            Ok(data) => {
                found = Some(data.claims);
                break;
            }
            // Signed, and yet it does not say what we understand.
            Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::Json(_)) => {
                return Err(Invalid::Claims("a claim has the wrong type"));
            }
            Err(_) => {}
        }
    }
    check(found.ok_or(Invalid::Signature)?, token, rules, now)
}

fn check(claims: Claims, token: &str, rules: &Rules, now: UnixMillis) -> Result<Verified, Invalid> {
    if rules.issuer.is_some() && claims.iss != rules.issuer {
        return Err(Invalid::Claims("it comes from another issuer (iss)"));
    }
    if let Some(audience) = &rules.audience
        && !claims.aud.as_ref().is_some_and(|aud| aud.names(audience))
    {
        return Err(Invalid::Claims("it is meant for somebody else (aud)"));
    }
    let expires = claims.exp.map(Seconds::millis);
    match expires {
        None if rules.require_expiry => return Err(Invalid::Claims("it never expires (exp)")),
        Some(expires) if expires <= now => return Err(Invalid::Expired),
        _ => {}
    }
    if claims.nbf.is_some_and(|from| from.millis() > now.saturating_add(SKEW_MILLIS)) {
        return Err(Invalid::Early);
    }
    let role = match claims.role.as_deref() {
        None => Role::Viewer,
        Some(role) => Role::parse(role).ok_or(Invalid::Claims("there is no such role"))?,
    };
    let subject = claims.sub.filter(|sub| !sub.is_empty()).ok_or(Invalid::Claims("it says nobody's name (sub)"))?;
    let scope = Scope { room: claims.room, documents: claims.documents.as_deref().map(patterns).transpose()? };
    let name = claims.name.as_deref().and_then(|name| check_name(name).ok());
    let name = name.unwrap_or_else(|| if role == Role::Agent { "Agent" } else { "Guest" }.to_owned());
    let principal = Principal { id: principal_id(&subject), kind: role.kind(), name: name.into() };
    let tenancy = Tenancy {
        kind: named(claims.kind.as_deref(), RoomKind::parse)?.unwrap_or_default(),
        organisation: named(claims.organisation.as_deref(), OrganisationId::parse)?,
    };
    Ok(Verified { principal, role, scope, expires, token: token_id(claims.jti.as_deref().unwrap_or(token)), tenancy })
}

fn named<T>(name: Option<&str>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Invalid> {
    const MALFORMED: Invalid =
        Invalid::Claims("kind and organisation are names of a-z, 0-9, _ and -, of at most 64 characters");
    name.map(|name| parse(name).ok_or(MALFORMED)).transpose()
}

/// `*` stays within a part of the name between slashes, `**` does not.
fn patterns(patterns: &[String]) -> Result<GlobSet, Invalid> {
    if patterns.len() > MAX_PATTERNS || patterns.iter().any(|pattern| pattern.len() > MAX_PATTERN_BYTES) {
        return Err(Invalid::Claims("it names too many documents"));
    }
    let invalid = |_| Invalid::Claims("a pattern in documents is not valid");
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(invalid)?);
    }
    set.build().map_err(invalid)
}

/// The id of whoever another system calls `subject`: the same if it is one of ours, otherwise `x-` and 128 bits of its hash.
///
/// Nobody gets an id of the server's own, or one that looks like such a hash, by being called so.
pub(super) fn principal_id(subject: &str) -> PrincipalId {
    const OWN: [&str; 4] = ["system", "fs", "anonymous", "admin"];
    match PrincipalId::parse(subject) {
        Some(id) if !OWN.contains(&subject) && !subject.starts_with("x-") => id,
        _ => {
            let hash: [u8; 32] = Sha256::digest(subject.as_bytes()).into();
            let hex: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
            PrincipalId::parse(&format!("x-{hex}")).expect("hexadecimal digits are valid in ids")
        }
    }
}

/// The `jti` that a token claims to have, whoever signed it.
pub(super) fn claimed_id(token: &str) -> Option<String> {
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Claims>(token);
    claims.ok()?.jti
}

/// See [`TokenId`].
pub(super) fn token_id(named: &str) -> TokenId {
    let hash: [u8; 32] = Sha256::digest(named.as_bytes()).into();
    TokenId(hash[..16].try_into().expect("half of 32 is 16"))
}

/// What a new token is to say.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Who it is for; somebody new if `None`.
    pub subject: Option<String>,
    pub name: String,
    pub role: Role,
    /// Any room if `None`.
    pub room: Option<String>,
    /// Any document of the room if empty.
    pub documents: Vec<String>,
    /// How long it holds; for ever if `None`.
    pub lifetime: Option<Duration>,
    /// What the rooms are that its holder creates, and whose. A token for one room creates none.
    pub tenancy: Tenancy,
}

/// A token that was just made. It is a secret: show it once and do not log it.
pub struct Minted {
    pub token: String,
    pub expires: Option<UnixMillis>,
}

/// Why a token was not made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MintError {
    /// No key to sign with is configured.
    #[error("this server has no key to sign tokens with; set auth.secret_file or auth.private_key_file")]
    NoKey,
    /// It would be refused when it is used.
    #[error("{0}")]
    Refused(Arc<str>),
}

/// Makes a token that this server takes.
pub(super) fn mint(key: &SigningKey, rules: &Rules, new: &NewToken, now: UnixMillis) -> Result<Minted, MintError> {
    let refused = |text: String| MintError::Refused(text.into());
    if new.lifetime.is_none() && rules.require_expiry {
        return Err(refused("a token must expire, unless auth.require_expiry is false".to_owned()));
    }
    let name = check_name(&new.name).map_err(|error| refused(error.message().to_owned()))?;
    patterns(&new.documents).map_err(|error| refused(error.to_string()))?;
    if new.room.as_deref().is_some_and(|room| DocumentName::parse(room).is_err()) {
        return Err(refused("there can be no room of that name".to_owned()));
    }
    if (new.room.is_some() || !new.documents.is_empty()) && new.tenancy != Tenancy::default() {
        let message = "a kind and an organisation are those of the rooms that a token creates, and one for a single room or for documents \
                       creates none; leave out either";
        return Err(refused(message.to_owned()));
    }
    let seconds = |millis: UnixMillis| Seconds::Whole(millis / 1000);
    let lifetime = new.lifetime.map(|lifetime| UnixMillis::try_from(lifetime.as_millis()).unwrap_or(UnixMillis::MAX));
    // Whole seconds, so that what is said about its end is what it says.
    let expires = lifetime.map(|lifetime| now.saturating_add(lifetime) / 1000 * 1000);
    let claims = Claims {
        sub: Some(new.subject.clone().unwrap_or_else(|| PrincipalId::random().to_string())),
        name: Some(name),
        room: new.room.clone(),
        role: Some(new.role.as_str().to_owned()),
        documents: Some(new.documents.clone()).filter(|documents| !documents.is_empty()),
        kind: Some(&new.tenancy.kind).filter(|kind| **kind != RoomKind::default()).map(RoomKind::to_string),
        organisation: new.tenancy.organisation.as_ref().map(OrganisationId::to_string),
        exp: expires.map(seconds),
        nbf: None,
        iat: Some(seconds(now)),
        iss: rules.issuer.clone(),
        aud: rules.audience.clone().map(Audience::One),
        jti: Some(random_id(JTI_CHARS)),
    };
    let token = jsonwebtoken::encode(&Header::new(key.algorithm), &claims, &key.sign);
    let token = token.map_err(|_| refused("the key cannot sign".to_owned()))?;
    Ok(Minted { token, expires })
}

#[cfg(test)]
mod tests;
