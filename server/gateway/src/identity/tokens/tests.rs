use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::*;
use crate::identity::crypto;

const NOW: UnixMillis = 1_700_000_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ED: &[u8] = include_bytes!("../fixtures/ed25519.pem");
const ED_PUBLIC: &[u8] = include_bytes!("../fixtures/ed25519.pub.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("../fixtures/rsa.pub.pem");
const RS256: &str = include_str!("../fixtures/rs256.jwt");

fn secret() -> (SigningKey, Key) {
    SigningKey::secret(SECRET).expect("long enough")
}

/// A token of the shared secret that says `claims`.
fn signed(claims: &Value) -> String {
    crypto::install();
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &secret().0.sign).expect("signs")
}

fn checked(claims: &Value, rules: &Rules) -> Result<Verified, Invalid> {
    verify(&signed(claims), [secret().1].iter(), rules, NOW)
}

fn with(change: Value) -> Value {
    let mut claims = json!({ "sub": "ada", "exp": NOW / 1000 + 60 });
    let own = claims.as_object_mut().expect("an object");
    own.extend(change.as_object().expect("an object").clone());
    own.retain(|_, value| !value.is_null());
    claims
}

fn name(text: &str) -> DocumentName {
    DocumentName::parse(text).expect("valid")
}

fn new(role: Role) -> NewToken {
    NewToken {
        subject: None,
        name: "Ada".to_owned(),
        role,
        room: Some("r1".to_owned()),
        documents: Vec::new(),
        lifetime: Some(Duration::from_secs(60)),
        tenancy: Tenancy::default(),
    }
}

#[test]
fn what_is_made_is_believed_until_it_expires() {
    crypto::install();
    for (signer, key) in [secret(), SigningKey::private_pem(ED).expect("a key")] {
        let rules = Rules { issuer: Some("us".into()), audience: Some("rooms".into()), require_expiry: true };
        let minted = mint(&signer, &rules, &new(Role::Agent), NOW + 999).expect("made");
        let expires = minted.expires.expect("an end");
        assert_eq!(expires, NOW + 60_000);
        let found = verify(&minted.token, [key.clone()].iter(), &rules, expires - 1).expect("believed");
        assert_eq!((found.role, found.expires, found.principal.name.as_ref()), (Role::Agent, minted.expires, "Ada"));
        assert_eq!(found.principal.kind, buildspaces_policy::PrincipalKind::Agent);
        assert!(found.scope.covers(&name("r1/file:a")) && !found.scope.covers(&name("r2/file:a")));
        let late = verify(&minted.token, [key].iter(), &rules, expires);
        assert_eq!(late.err(), Some(Invalid::Expired));
    }
}

#[test]
fn two_tokens_have_ids_and_holders_of_their_own() {
    crypto::install();
    let (signer, key) = secret();
    let [a, b] = [(); 2].map(|()| {
        let minted = mint(&signer, &Rules::default(), &new(Role::Viewer), NOW).expect("made");
        verify(&minted.token, [key.clone()].iter(), &Rules::default(), NOW).expect("believed")
    });
    assert_ne!(a.token, b.token);
    assert_ne!(a.principal.id, b.principal.id);
}

#[test]
fn what_a_token_says_is_held_against_the_rules() {
    let strict = Rules { issuer: Some("us".into()), audience: Some("rooms".into()), require_expiry: true };
    let loose = Rules { require_expiry: false, ..Rules::default() };
    let claims = |text| Some(Invalid::Claims(text));
    for (rules, change, expected) in [
        (&loose, json!({}), None),
        (&loose, json!({ "exp": null }), None),
        (&Rules::default(), json!({ "exp": null }), claims("it never expires (exp)")),
        (&loose, json!({ "exp": NOW / 1000 }), Some(Invalid::Expired)),
        (&loose, json!({ "exp": NOW as f64 / 1000.0 + 0.5 }), None),
        (&loose, json!({ "exp": 1e300 }), None),
        (&loose, json!({ "exp": -1e300 }), Some(Invalid::Expired)),
        (&loose, json!({ "exp": "2100-01-01" }), claims("a claim has the wrong type")),
        (&loose, json!({ "nbf": NOW / 1000 + 29 }), None),
        (&loose, json!({ "nbf": NOW / 1000 + 31 }), Some(Invalid::Early)),
        (&loose, json!({ "nbf": "now" }), claims("a claim has the wrong type")),
        (&loose, json!({ "sub": null }), claims("it says nobody's name (sub)")),
        (&loose, json!({ "sub": "" }), claims("it says nobody's name (sub)")),
        (&loose, json!({ "role": "root" }), claims("there is no such role")),
        (&loose, json!({ "role": 7 }), claims("a claim has the wrong type")),
        (&loose, json!({ "documents": "r1/*" }), claims("a claim has the wrong type")),
        (&loose, json!({ "documents": ["[" ] }), claims("a pattern in documents is not valid")),
        (&loose, json!({ "documents": vec!["x"; 65] }), claims("it names too many documents")),
        (&loose, json!({ "email": "of another system", "groups": [1, 2] }), None),
        (&strict, json!({ "iss": "us", "aud": "rooms" }), None),
        (&strict, json!({ "iss": "us", "aud": ["mail", "rooms"] }), None),
        (&strict, json!({ "iss": "us", "aud": ["mail"] }), claims("it is meant for somebody else (aud)")),
        (&strict, json!({ "iss": "us" }), claims("it is meant for somebody else (aud)")),
        (&strict, json!({ "iss": "them", "aud": "rooms" }), claims("it comes from another issuer (iss)")),
        (&strict, json!({ "aud": "rooms" }), claims("it comes from another issuer (iss)")),
    ] {
        assert_eq!(checked(&with(change.clone()), rules).err(), expected, "{change}");
    }
}

#[test]
fn a_token_that_asks_for_what_is_not_understood_is_refused() {
    crypto::install();
    let (_, key) = secret();
    let header = Header { crit: Some(vec!["z".to_owned()]), ..Header::new(Algorithm::HS256) };
    let token = jsonwebtoken::encode(&header, &with(json!({})), &EncodingKey::from_secret(b"any")).expect("made");
    let refused = verify(&token, [key].iter(), &Rules::default(), NOW).err();
    assert!(matches!(refused, Some(Invalid::Claims(text)) if text.contains("crit")), "{refused:?}");
}

#[test]
fn without_a_role_somebody_only_looks() {
    let found = checked(&with(json!({})), &Rules::default()).expect("believed");
    assert_eq!((found.role, found.principal.name.as_ref()), (Role::Viewer, "Guest"));
    let found = checked(&with(json!({ "name": "a\u{202e}b", "role": "agent" })), &Rules::default()).expect("believed");
    assert_eq!(found.principal.name.as_ref(), "Agent", "a name that would deceive is not shown");
}

#[test]
fn a_key_serves_its_own_algorithm_only() {
    crypto::install();
    let token = |algorithm, key: &EncodingKey| jsonwebtoken::encode(&Header::new(algorithm), &with(json!({})), key);
    let public = [Key::public_pem(ED_PUBLIC).expect("a key"), Key::public_pem(RSA_PUBLIC).expect("a key")];
    // The classic: a public key, which everybody has, used as the secret of an HMAC.
    for pem in [ED_PUBLIC, RSA_PUBLIC] {
        let forged = token(Algorithm::HS256, &EncodingKey::from_secret(pem)).expect("signs");
        let signed = Signed::read(&forged).expect("a token");
        assert!(public.iter().all(|key| !signed.may_be_of(key)));
        assert_eq!(verify(&forged, public.iter(), &Rules::default(), NOW).err(), Some(Invalid::Signature));
    }
    assert!(token(Algorithm::HS512, &secret().0.sign).is_err(), "no other hash is even made");
    // {"alg":"none"} with and without a signature, and an algorithm that nobody knows.
    for head in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOT05FIn0", "eyJhbGciOiJYUzI1NiJ9", "e30"] {
        for tail in ["", "AAAA"] {
            let forged = format!("{head}.eyJzdWIiOiJhZGEiLCJleHAiOjQxMDI0NDQ4MDB9.{tail}");
            assert_eq!(Signed::read(&forged).err(), Some(Invalid::Shape), "{forged}");
            assert_eq!(verify(&forged, [secret().1].iter(), &Rules::default(), NOW).err(), Some(Invalid::Shape));
        }
    }
}

#[test]
fn what_was_changed_on_the_way_is_not_believed() {
    let token = signed(&with(json!({ "role": "viewer" })));
    let [head, body, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    let other = signed(&with(json!({ "role": "host" })));
    let forged = format!("{head}.{}.{signature}", other.split('.').nth(1).expect("a body"));
    let refused = |token: &str| verify(token, [secret().1].iter(), &Rules::default(), NOW).err();
    assert_eq!(refused(&forged), Some(Invalid::Signature));
    assert_eq!(refused(&format!("{head}.{body}.")), Some(Invalid::Signature));
    for malformed in [format!("{head}.{body}"), format!("{token}.x"), format!(".{token}"), String::new()] {
        assert!(matches!(refused(&malformed), Some(Invalid::Shape | Invalid::Signature)), "{malformed}");
    }
    assert_eq!(refused(&token), None);
    let (_, stranger) = SigningKey::secret(&[7; 32]).expect("long enough");
    assert_eq!(verify(&token, [stranger].iter(), &Rules::default(), NOW).err(), Some(Invalid::Signature));
    assert!(matches!(Signed::read(&"a".repeat(MAX_TOKEN_BYTES + 1)), Err(Invalid::Claims(_))));
}

#[test]
fn a_token_that_openssl_signed_is_believed() {
    crypto::install();
    let key = Key::public_pem(RSA_PUBLIC).expect("a key");
    let found = verify(RS256, [key].iter(), &Rules::default(), NOW).expect("believed");
    assert_eq!((found.role, found.token), (Role::Editor, token_id("t1")));
    assert_eq!(found.principal.id, principal_id("ada@id.example"));
    assert_eq!(claimed_id(RS256).as_deref(), Some("t1"));
}

#[test]
fn patterns_say_which_documents() {
    let found = checked(&with(json!({ "documents": ["r1/*", "notes/**", "exact"] })), &Rules::default());
    let scope = found.expect("believed").scope;
    assert!(scope.is_limited() && !scope.any_room());
    for (document, covered) in [
        ("r1/file:a", true),
        ("r1/tree:main", true),
        ("r1/a/b", false),
        ("notes/a/b", true),
        ("notes", false),
        ("exact", true),
        ("exactly", false),
        ("r2/file:a", false),
    ] {
        assert_eq!(scope.covers(&name(document)), covered, "{document}");
    }
    let found = checked(&with(json!({ "documents": [] })), &Rules::default()).expect("believed");
    assert!(!found.scope.covers(&name("r1/file:a")), "no document is not any document");
    let found = checked(&with(json!({ "room": "r1", "documents": ["**"] })), &Rules::default()).expect("believed");
    assert!(found.scope.covers(&name("r1/file:a")) && !found.scope.covers(&name("r2/file:a")));
}

#[test]
fn foreign_names_become_ids_of_ours_and_nobody_takes_anothers() {
    for own in ["ada", "a-1_b", "0"] {
        assert_eq!(principal_id(own).as_str(), own);
    }
    let foreign =
        ["Ada", "ada@id.example", "auth0|5f7", "", &"a".repeat(65), "system", "fs", "anonymous", "admin", "x-1"];
    let ids: std::collections::HashSet<String> = foreign.iter().map(|sub| principal_id(sub).to_string()).collect();
    assert_eq!(ids.len(), foreign.len());
    assert!(ids.iter().all(|id| id.starts_with("x-") && id.len() == 34), "{ids:?}");
    let id = principal_id("Ada");
    assert_ne!(principal_id(id.as_str()), id, "looking like a hash is not being it");
}

#[test]
fn what_would_be_refused_is_not_made() {
    crypto::install();
    let (signer, _) = secret();
    let refused = |new: NewToken| mint(&signer, &Rules::default(), &new, NOW).err().map(|error| error.to_string());
    let base = || new(Role::Viewer);
    assert!(refused(NewToken { lifetime: None, ..base() }).expect("refused").contains("must expire"));
    assert!(refused(NewToken { name: "a\u{202e}b".into(), ..base() }).expect("refused").contains("visible"));
    assert!(refused(NewToken { documents: vec!["[".into()], ..base() }).expect("refused").contains("pattern"));
    assert!(refused(NewToken { room: Some("a\nb".into()), ..base() }).expect("refused").contains("room"));
    assert_eq!(refused(NewToken { lifetime: Some(Duration::MAX), ..base() }), None);
}

#[test]
fn keys_that_cannot_hold_are_refused() {
    use crate::identity::KeyError;
    assert_eq!(SigningKey::secret(b"short").err(), Some(KeyError::ShortSecret(5)));
    assert_eq!(SigningKey::private_pem(ED_PUBLIC).err(), Some(KeyError::NotPrivate));
    assert_eq!(SigningKey::private_pem(b"rubbish").err(), Some(KeyError::NotPrivate));
    assert_eq!(Key::public_pem(ED).err(), Some(KeyError::NotPublic));
    assert_eq!(Key::public_pem(b"rubbish").err(), Some(KeyError::NotPublic));
}

#[test]
fn a_token_says_what_rooms_become_unless_it_creates_none() {
    crypto::install();
    let signer = secret().0;
    let tenancy =
        Tenancy { kind: RoomKind::parse("workshop").expect("valid"), organisation: OrganisationId::parse("acme") };
    let anywhere = NewToken { room: None, tenancy: tenancy.clone(), ..new(Role::Editor) };
    let minted = mint(&signer, &Rules::default(), &anywhere, NOW).expect("made");
    let verified = verify(&minted.token, [secret().1].iter(), &Rules::default(), NOW).expect("believed");
    assert_eq!(verified.tenancy, tenancy);
    let for_one_room = NewToken { tenancy, ..new(Role::Editor) };
    let refused = mint(&signer, &Rules::default(), &for_one_room, NOW).err().expect("refused").to_string();
    assert!(refused.contains("creates none"), "{refused}");
    for claim in [json!({ "kind": "A b" }), json!({ "organisation": "" })] {
        assert!(matches!(checked(&with(claim), &Rules::default()), Err(Invalid::Claims(why)) if why.contains("a-z")));
    }
}
