use buildspaces_policy::{Principal, PrincipalKind};
use buildspaces_rooms::memory::MemoryStore;
use buildspaces_rooms::{NewRoom, Rooms};
use serde_json::Value;

use super::*;
use crate::State;
use crate::gather::Changed;
use crate::memory::{FakeTransport, MemoryWebhooks};
use crate::ports::Request;
use crate::retry::Outcome;

struct World {
    engine: Engine,
    store: MemoryWebhooks,
    transport: FakeTransport,
    tasks: Tasks,
}

impl World {
    async fn new() -> Self {
        Self::start(MemoryWebhooks::default(), None).await
    }

    async fn start(store: MemoryWebhooks, own: Option<OwnWebhook>) -> Self {
        let (transport, tasks) = (FakeTransport::default(), Tasks::new());
        let began = tokio::time::Instant::now();
        let clock: Clock = Arc::new(move || 1_000_000 + began.elapsed().as_millis() as i64);
        let ports = (Arc::new(store.clone()), Arc::new(transport.clone()));
        let engine = Engine::new(ports.0, ports.1, clock, &Config::default());
        engine.start(&tasks, own).await.expect("starts");
        Self { engine, store, transport, tasks }
    }

    async fn webhook(&self, room: &RoomId) -> Arc<Webhook> {
        self.engine.create(room, &ada(), "https://a.example/", &[]).await.expect("created")
    }
}

fn ada() -> Principal {
    Principal { id: PrincipalId::parse("ada").expect("valid"), kind: PrincipalKind::Person, name: "Ada".into() }
}

fn file(room: &RoomId) -> DocumentName {
    DocumentName::file(room.as_str(), "a")
}

fn own() -> OwnWebhook {
    OwnWebhook { url: "http://10.0.0.1/".into(), secret: Secret::random() }
}

fn data(request: &Request) -> Value {
    serde_json::from_str(&request.body).expect("JSON")
}

fn answered(status: u16) -> Outcome {
    Outcome::Answered { status, retry_after: None }
}

#[tokio::test(start_paused = true)]
async fn many_edits_of_a_document_are_one_delivery() {
    let (world, room) = (World::new().await, RoomId::random());
    let webhook = world.webhook(&room).await;
    assert!(world.engine.wants(&file(&room)) && !world.engine.wants(&file(&RoomId::random())));
    assert!(!world.engine.wants(&DocumentName::runs(room.as_str())));
    for seq in 1..=3 {
        world.engine.changed(&file(&room), seq, &[ada()]);
    }
    let requests = world.transport.wait_for(1).await;
    let told = data(&requests[0]);
    assert_eq!((&told["type"], &told["data"]["seq"]), (&"document.changed".into(), &3.into()), "{told}");
    assert_eq!((&told["data"]["room"], &told["data"]["epoch"]), (&room.as_str().into(), &1.into()), "{told}");
    assert_eq!(told["data"]["by"][0]["name"], "Ada");
    let delivery = world.engine.deliveries(&webhook.scope, &webhook.id).await.expect("listed").remove(0);
    assert_eq!(requests[0].headers[0].1, delivery.id.as_str());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.transport.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_failed_is_sent_again_under_the_same_id() {
    let (world, room) = (World::new().await, RoomId::random());
    let webhook = world.webhook(&room).await;
    world.transport.answer([answered(500), Outcome::Unanswered("not reached".to_owned())]);
    world.engine.changed(&file(&room), 1, &[ada()]);
    let requests = world.transport.wait_for(3).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(requests.iter().all(|request| request.headers[0] == requests[0].headers[0]));
    assert_ne!(requests[0].headers[1], requests[2].headers[1], "each attempt says when it is made");
    let delivery = world.engine.deliveries(&webhook.scope, &webhook.id).await.expect("listed").remove(0);
    assert!(matches!(delivery.state, State::Delivered { .. }) && delivery.attempts == 3, "{delivery:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_sent_after_a_restart_and_so_is_what_was_not_announced() {
    let (world, room) = (World::new().await, RoomId::random());
    let webhook = world.webhook(&room).await;
    world.transport.answer([answered(500)]);
    world.engine.changed(&file(&room), 1, &[ada()]);
    world.transport.wait_for(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Being gathered when the process ends.
    world.engine.changed(&file(&room), 2, &[ada()]);
    world.tasks.shutdown(Duration::from_secs(1)).await;
    let scope = Scope::Room(room.clone());
    let log = |document, at, seq| world.store.log(scope.clone(), at, Changed { document, seq, by: vec![ada()] });
    log(file(&room), webhook.created_at + 1, 2);
    log(DocumentName::file(room.as_str(), "before"), webhook.created_at - 1, 7);

    let again = World::start(world.store.clone(), None).await;
    let requests = again.transport.wait_for(2).await;
    let mut seqs: Vec<i64> = requests.iter().filter_map(|request| data(request)["data"]["seq"].as_i64()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(again.transport.requests().len(), 2, "nothing is sent anew, and nothing from before the webhook");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_hears_no_more_until_it_is_switched_on() {
    let (world, room) = (World::new().await, RoomId::random());
    let webhook = world.webhook(&room).await;
    world.transport.answer([answered(410)]);
    world.engine.changed(&file(&room), 1, &[ada()]);
    world.transport.wait_for(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let known = world.engine.webhooks(&webhook.scope).remove(0);
    assert_eq!(known.health.off.as_ref().map(|off| &*off.reason), Some("it answered 410: it is gone"));
    assert!(!world.engine.wants(&file(&room)));
    assert!(matches!(world.engine.test(&webhook.scope, &webhook.id, &ada()).await, Err(Error::Off)));

    // Somebody edits meanwhile.
    world.store.log(webhook.scope.clone(), i64::MAX, Changed { document: file(&room), seq: 9, by: vec![ada()] });
    world.engine.switch(&webhook.scope, &webhook.id, true).await.expect("switched");
    let requests = world.transport.wait_for(2).await;
    assert_eq!(data(&requests[1])["data"]["seq"], 9);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_while_loses_no_change() {
    let (world, room) = (World::new().await, RoomId::random());
    world.webhook(&room).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.store.fail(3);
    world.engine.changed(&file(&room), 1, &[ada()]);
    let requests = world.transport.wait_for(1).await;
    assert_eq!(data(&requests[0])["data"]["seq"], 1);
}

#[tokio::test(start_paused = true)]
async fn one_slow_receiver_does_not_keep_the_others_waiting() {
    let (world, slow, quick) = (World::new().await, RoomId::random(), RoomId::random());
    let (webhook, _) = (world.webhook(&slow).await, world.webhook(&quick).await);
    for _ in 0..100 {
        world.engine.test(&webhook.scope, &webhook.id, &ada()).await.expect("queued");
    }
    world.engine.changed(&file(&quick), 1, &[ada()]);
    let requests = world.transport.wait_for(101).await;
    assert!(requests.iter().any(|request| data(request)["type"] == "document.changed"));
}

#[tokio::test(start_paused = true)]
async fn the_operator_hears_of_plain_documents_and_new_rooms() {
    let world = World::start(MemoryWebhooks::default(), Some(own())).await;
    let rooms = Rooms::new(Arc::new(MemoryStore::default()), world.tasks.clone());
    rooms.listen(Arc::new(world.engine.clone()));
    let files = vec![("a.py".to_owned(), "a\n".to_owned())];
    let new = NewRoom { title: "Demo".to_owned(), template: "python".to_owned(), files, ..NewRoom::default() };
    let room = rooms.create(&ada(), new).await.expect("created");
    let requests = world.transport.wait_for(1).await;
    assert_eq!(data(&requests[0])["data"]["room"], room.id().as_str());
    assert!(requests[0].trusted);

    let plain = DocumentName::parse("notes").expect("valid");
    let live = rooms.document(&plain).await.expect("opens");
    live.replace_text(&ada(), "hello".to_owned()).await.expect("durable");
    let requests = world.transport.wait_for(2).await;
    let told = data(&requests[1]);
    assert_eq!((&told["data"]["document"], &told["data"]["room"]), (&"notes".into(), &Value::Null));
    assert_eq!((&told["data"]["seq"], &told["data"]["by"][0]["id"]), (&1.into(), &"ada".into()));
    drop(live);
    rooms.delete_document(&ada(), &plain).await.expect("deleted");
    let requests = world.transport.wait_for(3).await;
    assert_eq!(data(&requests[2])["type"], "document.deleted");
}

#[tokio::test(start_paused = true)]
async fn a_webhook_made_while_a_document_is_open_hears_of_it() {
    let world = World::new().await;
    let rooms = Rooms::new(Arc::new(MemoryStore::default()), world.tasks.clone());
    rooms.listen(Arc::new(world.engine.clone()));
    let files = vec![("a.py".to_owned(), "a\n".to_owned())];
    let new = NewRoom { title: "Demo".to_owned(), template: "python".to_owned(), files, ..NewRoom::default() };
    let room = rooms.create(&ada(), new).await.expect("created");
    let node = room.tree().at_path("a.py").expect("there").id.clone();
    let live = room.file(&node).await.expect("opens");
    live.replace_text(&ada(), "b\n".to_owned()).await.expect("durable");
    let webhook = world.webhook(room.id()).await;
    live.replace_text(&ada(), "c\n".to_owned()).await.expect("durable");
    let requests = world.transport.wait_for(1).await;
    assert_eq!(data(&requests[0])["data"]["seq"], 3, "one event, of the edit after it was made");
    world.engine.delete(&webhook.scope, &webhook.id).await.expect("deleted");
    live.replace_text(&ada(), "d\n".to_owned()).await.expect("durable");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.transport.requests().len(), 1);

    // A file's deletion is told too, at once.
    world.webhook(room.id()).await;
    drop(live);
    let delete = buildspaces_rooms::tree::TreeCommand::Delete { id: node.clone(), rev: None };
    room.command(&ada(), delete).await.expect("deleted");
    let requests = world.transport.wait_for(2).await;
    let told = data(&requests[1]);
    assert_eq!(told["data"]["document"], file_name(&room, &node));
    assert_eq!(told["type"], "document.deleted");
}

fn file_name(room: &buildspaces_rooms::RoomHandle, node: &buildspaces_kernel::ids::NodeId) -> String {
    DocumentName::file(room.id().as_str(), node.as_str()).as_str().to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_webhook_is_named() {
    let (world, room) = (World::new().await, RoomId::random());
    let create = async |url: &str, events: &[&str]| {
        let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
        world.engine.create(&room, &ada(), url, &events).await.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(create("gopher://a", &[]).await, Err("url must begin with https://".to_owned()));
    let unknown = create("https://a.example/", &["document.read"]).await.expect_err("unknown");
    assert_eq!(unknown, "there is no event \"document.read\"; there is document.changed, document.deleted");
    for _ in 0..MAX_WEBHOOKS {
        create("https://a.example/", &["document.deleted"]).await.expect("created");
    }
    assert!(create("https://a.example/", &[]).await.expect_err("full").contains("at most 10"));
    assert!(!world.engine.wants(&file(&room)), "nobody asked for changes");
    let (other, own) = (Scope::Room(RoomId::random()), world.engine.webhooks(&Scope::Room(room)));
    let foreign = world.engine.delete(&other, &own[0].id);
    assert!(matches!(foreign.await, Err(Error::NoSuchWebhook)));
}

#[tokio::test(start_paused = true)]
async fn memory_and_store_agree_on_a_webhook_whoever_has_gone() {
    use futures_util::FutureExt as _;
    let (world, room) = (World::new().await, RoomId::random());
    let created = world.engine.create(&room, &ada(), "https://a.example/", &[]).now_or_never();
    assert!(created.is_none(), "nobody waits for it any more");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let scope = Scope::Room(room);
    let known =
        |world: &World| world.engine.webhooks(&scope).iter().map(|webhook| (**webhook).clone()).collect::<Vec<_>>();
    assert_eq!(known(&world), world.store.webhooks().await.expect("answers"));
    assert_eq!(known(&world).len(), 1);
    let id = known(&world)[0].id.clone();
    let switched = world.engine.switch(&scope, &id, false).now_or_never();
    assert!(switched.is_none());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!known(&world)[0].is_on());
    assert_eq!(known(&world), world.store.webhooks().await.expect("answers"));
}

#[tokio::test(start_paused = true)]
async fn each_event_is_asked_for_once() {
    let (world, room) = (World::new().await, RoomId::random());
    let events = vec!["document.changed".to_owned(); 1000];
    let webhook = world.engine.create(&room, &ada(), "https://a.example/", &events).await.expect("created");
    assert_eq!(webhook.events, [EventKind::DocumentChanged]);
}

#[tokio::test(start_paused = true)]
async fn many_deletions_at_once_are_no_more_than_may_wait() {
    let (world, room) = (World::new().await, RoomId::random());
    let webhook = world.webhook(&room).await;
    world.engine.switch(&webhook.scope, &webhook.id, true).await.expect("on");
    let name = |number: usize| DocumentName::file(room.as_str(), &format!("n{number}"));
    let documents: Vec<DocumentName> = (0..3000).map(name).collect();
    world.engine.deleted(&documents, &ada()).await;
    let listed = world.engine.deliveries(&webhook.scope, &webhook.id).await.expect("listed");
    assert_eq!(listed.len(), MAX_WAITING as usize);
    assert_eq!(listed[0].document.as_deref(), Some(name(2999).as_str()), "the newest stay");
}

#[tokio::test(start_paused = true)]
async fn after_a_switch_each_webhook_hears_of_the_newest_that_it_was_there_for() {
    let (world, room) = (World::new().await, RoomId::random());
    let early = world.webhook(&room).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    let late = world.webhook(&room).await;
    for webhook in [&early, &late] {
        world.engine.switch(&webhook.scope, &webhook.id, false).await.expect("off");
    }
    world.engine.switch(&early.scope, &early.id, true).await.expect("on");
    let name = |number: i64| DocumentName::file(room.as_str(), &format!("n{number}"));
    for number in 0..2500 {
        let changed = Changed { document: name(number), seq: 1, by: vec![ada()] };
        // The last hundred after the second was made.
        let at = if number < 2400 { early.created_at + number } else { late.created_at + number };
        world.store.log(early.scope.clone(), at, changed);
    }
    // Of the operator's webhooks, not of a room's.
    let plain = Changed { document: DocumentName::parse("plain").expect("valid"), seq: 1, by: vec![ada()] };
    world.store.log(early.scope.clone(), i64::MAX, plain);
    world.transport.answer(std::iter::repeat_n(answered(500), 10_000));
    world.engine.switch(&late.scope, &late.id, true).await.expect("on");
    let mut told = Vec::new();
    for webhook in [&early, &late] {
        told.push(world.engine.deliveries(&webhook.scope, &webhook.id).await.expect("listed").len());
    }
    assert_eq!(told, [MAX_WAITING as usize, 100]);
}
