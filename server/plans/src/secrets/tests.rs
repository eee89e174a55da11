use super::*;
use crate::memory::MemorySecrets;

const SKILL: &str = "test.run";

fn key(digit: &str) -> Option<Key> {
    Key::parse(&digit.repeat(64)).ok()
}

fn name(text: &str) -> SecretName {
    SecretName::parse(text).expect("valid")
}

fn env(value: &str) -> NewSecret {
    NewSecret { value: value.to_owned(), given: Given::Env, skills: None }
}

async fn put(secrets: &Secrets, room: &RoomId, name: &str, new: NewSecret) {
    secrets.put(room, &Principal::system(), name, new, 10).await.expect("stored");
}

#[tokio::test]
async fn a_step_gets_what_it_names_and_its_output_is_searched_for_all() {
    let (secrets, room) = (Secrets::new(Arc::new(MemorySecrets::default()), key("1")), RoomId::random());
    let header = secret::Header::new("api.example.com", "X-Key", "{}").expect("valid");
    put(&secrets, &room, "A", env("value-of-a")).await;
    put(&secrets, &room, "B", NewSecret { given: Given::File, ..env("value-of-b") }).await;
    put(&secrets, &room, "C", NewSecret { given: Given::Header(header), ..env("value-of-c") }).await;
    put(&secrets, &room, "D", env("value-of-d")).await;
    put(&secrets, &RoomId::random(), "E", env("value-of-e")).await;
    let granted = secrets.for_step(&room, &["A", "B", "C"].map(name), SKILL).await.expect("all are there");
    assert_eq!(granted.secrets.env, [(name("A"), Value::new("value-of-a"))]);
    assert_eq!(granted.secrets.files, [(name("B"), Value::new("value-of-b"))]);
    assert_eq!(granted.secrets.headers[0].value, Value::new("value-of-c"));
    let text = "value-of-a value-of-b value-of-c value-of-d value-of-e";
    assert_eq!(granted.known.redact(text), "*** *** *** *** value-of-e");
    assert!(!format!("{granted:?}").contains("value-of"), "{granted:?}");
}

#[tokio::test]
async fn a_step_that_cannot_have_what_it_names_is_refused_in_words() {
    let store = Arc::new(MemorySecrets::default());
    let (secrets, room) = (Secrets::new(store.clone(), key("1")), RoomId::random());
    let refused = secrets.for_step(&room, &[name("A")], SKILL).await.expect_err("there is none");
    assert!(refused.starts_with("This room has no secret A, which the step asks for."), "{refused}");
    put(&secrets, &room, "A", NewSecret { skills: Some(Vec::new()), ..env("value-of-a") }).await;
    let refused = secrets.for_step(&room, &[name("A")], SKILL).await.expect_err("for no skill");
    assert!(refused.starts_with("The secret A is not for steps of the skill test.run."), "{refused}");
    put(&secrets, &room, "A", env("value-of-a")).await;
    assert!(secrets.for_step(&room, &[name("A")], SKILL).await.is_ok());

    for (other, why) in [(key("2"), "stored with another key"), (None, "no key for secrets (secrets.key_file")] {
        let other = Secrets::new(store.clone(), other);
        let refused = other.for_step(&room, &[name("A")], SKILL).await.expect_err(why);
        assert!(refused.contains(why), "{refused}");
        assert!(other.for_step(&room, &[], SKILL).await.is_ok(), "a step that wants none runs");
    }
    let changed = secrets.for_step_since(&room, &[name("A")], SKILL, 10).await.expect_err("set since");
    assert!(changed.contains("was set anew"), "{changed}");
    assert!(secrets.for_step_since(&room, &[name("A")], SKILL, 11).await.is_ok());
}

#[tokio::test]
async fn when_a_secret_was_used_is_kept_until_it_is_replaced() {
    let (secrets, room) = (Secrets::new(Arc::new(MemorySecrets::default()), key("1")), RoomId::random());
    put(&secrets, &room, "A", env("value-of-a")).await;
    secrets.used(&room, &[name("A")], 70).await;
    assert_eq!(secrets.list(&room).await.expect("listed")[0].used_at, Some(70));
    put(&secrets, &room, "A", env("value-of-a2")).await;
    assert_eq!(secrets.list(&room).await.expect("listed")[0].used_at, None);
}

#[tokio::test]
async fn a_room_has_only_so_many_bytes_of_them() {
    let (secrets, room) = (Secrets::new(Arc::new(MemorySecrets::default()), key("1")), RoomId::random());
    for number in 0..7 {
        put(&secrets, &room, &format!("A{number}"), env(&"x".repeat(secret::MAX_VALUE))).await;
    }
    let more = secrets.put(&room, &Principal::system(), "B", env(&"x".repeat(secret::MAX_VALUE)), 1).await;
    assert!(matches!(more, Err(Error::TooManySecrets)));
}
