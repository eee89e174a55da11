//! The port's contract on a real file, and what only a store with documents can find.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::tasks::Tasks;
use buildspaces_rooms::{NewRoom, Rooms};
use buildspaces_webhooks::contract;

use super::*;
use crate::Durability;

struct World {
    database: Database,
    webhooks: Webhooks,
    rooms: Rooms,
    tasks: Tasks,
}

impl World {
    async fn open(folder: &Path) -> Self {
        let database = Database::open(&folder.join("test.db"), Durability::Full).await.expect("opens");
        let tasks = Tasks::new();
        let documents = Documents::new(&database, &tasks);
        let webhooks = Webhooks::new(&database, &documents);
        let rooms = Rooms::new(Arc::new(documents), tasks.clone());
        Self { database, webhooks, rooms, tasks }
    }

    async fn type_text(&self, document: &str, by: &Principal, text: &str) {
        let live = self.rooms.document(&name(document)).await.expect("opens");
        live.replace_text(by, text.to_owned()).await.expect("durable");
    }

    async fn unannounced(&self, since: UnixMillis) -> Vec<Changed> {
        let found = self.webhooks.unannounced(&Scope::Server, since, &|_| true).await.expect("answers");
        let mut found: Vec<Changed> = found.into_iter().map(|(changed, _)| changed).collect();
        found.sort_by(|a, b| a.document.cmp(&b.document));
        found
    }

    async fn close(self) {
        self.tasks.shutdown(Duration::from_secs(10)).await;
        self.database.close().await;
    }
}

fn name(document: &str) -> DocumentName {
    DocumentName::parse(document).expect("valid")
}

fn person(id: &str) -> Principal {
    let id = PrincipalId::parse(id).expect("valid");
    Principal { name: id.as_str().to_uppercase().into(), kind: PrincipalKind::Agent, id }
}

#[tokio::test]
async fn the_store_keeps_the_contract() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let world = World::open(folder.path()).await;
    contract::webhook_store(&world.webhooks).await;
    world.close().await;
}

#[tokio::test]
async fn webhooks_and_deliveries_survive_closing_and_opening() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let world = World::open(folder.path()).await;
    let webhook = Webhook {
        id: WebhookId::random(),
        scope: Scope::Room(RoomId::random()),
        url: "https://example.org/".into(),
        events: EventKind::OF_ROOMS.to_vec(),
        secret: Secret::random(),
        created_at: 1,
        created_by: person("ada").id,
        health: Health { off: None, failing_since: Some(2) },
    };
    world.webhooks.put(&webhook).await.expect("stored");
    let delivery = Delivery::new(&webhook.id, EventKind::Test, None, "{}".to_owned(), 3);
    world.webhooks.enqueue(std::slice::from_ref(&delivery), &[]).await.expect("stored");
    world.close().await;
    let world = World::open(folder.path()).await;
    assert_eq!(world.webhooks.webhooks().await.expect("answers"), [webhook]);
    assert_eq!(world.webhooks.due(9, 9, 9).await.expect("answers"), [delivery]);
    world.close().await;
}

#[tokio::test]
async fn what_was_not_announced_is_found_with_its_authors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let world = World::open(folder.path()).await;
    let (ada, bo) = (person("ada"), person("bo"));
    for who in [&ada, &bo] {
        world.rooms.store().remember(who, 1).await.expect("stored");
    }
    world.type_text("notes", &ada, "a").await;
    world.type_text("notes", &bo, "ab").await;
    world.type_text("other", &ada, "x").await;
    let files = vec![("a".to_owned(), "of a room".to_owned())];
    let room = NewRoom { title: "T".to_owned(), template: "python".to_owned(), files, ..NewRoom::default() };
    world.rooms.create(&ada, room).await.expect("created");
    let by = vec![ada.clone(), bo.clone()];
    let changed = |document, seq, by| Changed { document: name(document), seq, by };
    let expected = [changed("notes", 2, by), changed("other", 1, vec![ada.clone()])];
    assert_eq!(world.unannounced(0).await, expected);
    assert_eq!(world.unannounced(i64::MAX).await, [], "what changed before somebody asked is nobody's business");

    world.webhooks.enqueue(&[], &[(name("notes"), 1), (name("other"), 1)]).await.expect("stored");
    assert_eq!(world.unannounced(0).await, [changed("notes", 2, vec![bo.clone()])]);
    world.webhooks.enqueue(&[], &[(name("notes"), 2)]).await.expect("stored");
    world.webhooks.enqueue(&[], &[(name("notes"), 1)]).await.expect("stored");
    assert_eq!(world.unannounced(0).await, [], "what is announced stays so");

    world.type_text("notes", &ada, "abc").await;
    world.rooms.delete_document(&ada, &name("notes")).await.expect("deleted");
    assert_eq!(world.unannounced(0).await, [], "a deleted document is no change");
    assert_eq!(world.webhooks.epoch(&name("notes")).await.expect("answers"), 1);
    assert_eq!(world.webhooks.epoch(&name("never seen")).await.expect("answers"), 1);
    world.close().await;
}
