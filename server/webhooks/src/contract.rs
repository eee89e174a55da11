//! What every [`WebhookStore`] must do. The in-memory store and the real one both run [`webhook_store`].
//!
//! Each rule uses webhooks of its own, so one store serves them all. It panics with what was expected.

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{PrincipalId, RoomId, WebhookId};

use crate::ports::WebhookStore;
use crate::{Delivery, EventKind, Health, KEPT_DELIVERIES, MAX_WAITING, Off, Scope, Secret, State, Webhook};

/// Longer than any delivery here waits.
const LONGEST: UnixMillis = 1_000_000;

/// Runs the whole suite on an empty store.
///
/// # Panics
/// When the store breaks the contract.
pub async fn webhook_store(store: &dyn WebhookStore) {
    webhooks_come_back_in_order(store).await;
    deliveries_come_back_as_they_became(store).await;
    what_is_due_is_shared_among_webhooks(store).await;
    a_webhook_that_is_off_keeps_what_waits(store).await;
    a_clock_that_was_wrong_delays_nothing(store).await;
    the_longest_waiting_are_dropped_when_there_are_too_many(store).await;
    old_deliveries_go(store).await;
    nothing_is_left_of_a_deleted_webhook(store).await;
    what_is_gone_does_not_come_back(store).await;
}

/// A webhook of a room of its own, stored.
async fn a_webhook(store: &dyn WebhookStore) -> Webhook {
    let webhook = Webhook {
        id: WebhookId::random(),
        scope: Scope::Room(RoomId::random()),
        url: "https://example.org/hook?a=b".into(),
        events: EventKind::OF_ROOMS.to_vec(),
        secret: Secret::random(),
        created_at: 5,
        created_by: PrincipalId::random(),
        health: Health::default(),
    };
    store.put(&webhook).await.expect("stored");
    webhook
}

fn a_delivery(webhook: &Webhook, now: UnixMillis) -> Delivery {
    let document = Some("a \"document\"".to_owned());
    Delivery::new(&webhook.id, EventKind::DocumentChanged, document, "{\"a\":1}".to_owned(), now)
}

/// What is due at `now` of one webhook.
async fn due(store: &dyn WebhookStore, webhook: &Webhook, now: UnixMillis, each: u32) -> Vec<Delivery> {
    let mut due = store.due(now, LONGEST, each).await.expect("answers");
    due.retain(|delivery| delivery.webhook == webhook.id);
    due
}

async fn webhooks_come_back_in_order(store: &dyn WebhookStore) {
    let mut first = a_webhook(store).await;
    let second = Webhook {
        id: WebhookId::random(),
        scope: Scope::Server,
        events: EventKind::OF_THE_SERVER.to_vec(),
        ..first.clone()
    };
    store.put(&second).await.expect("stored");
    first.health = Health { off: Some(Off { at: 7, reason: "why".to_owned() }), failing_since: Some(6) };
    first.url = "https://example.com/".into();
    store.put(&first).await.expect("replaced");
    assert_eq!(store.webhooks().await.expect("answers"), [first.clone(), second.clone()]);
    store.delete(&first.id).await.expect("deleted");
    store.delete(&second.id).await.expect("deleted");
    store.delete(&second.id).await.expect("deleting what is gone is no error");
    assert_eq!(store.webhooks().await.expect("answers"), []);
}

async fn deliveries_come_back_as_they_became(store: &dyn WebhookStore) {
    let webhook = a_webhook(store).await;
    let (first, second) = (a_delivery(&webhook, 10), a_delivery(&webhook, 20));
    store.enqueue(&[first.clone(), second.clone()], &[]).await.expect("stored");
    assert_eq!(due(store, &webhook, 9, 9).await, []);
    assert_eq!(due(store, &webhook, 10, 9).await, std::slice::from_ref(&first));
    assert_eq!(due(store, &webhook, 99, 9).await, [first.clone(), second.clone()]);
    assert_eq!(store.waiting(10).await.expect("answers").0, Some(20));
    let failed = Delivery {
        attempts: 1,
        state: State::Waiting { next_at: 500 },
        status: Some(500),
        error: Some("it answered 500".to_owned()),
        ..first
    };
    let health = Health { off: None, failing_since: Some(30) };
    store.finish(&failed, &health).await.expect("stored");
    let done = Delivery { attempts: 1, state: State::Delivered { at: 40 }, status: Some(204), ..second };
    store.finish(&done, &health).await.expect("stored");
    assert_eq!(store.deliveries(&webhook.id, 9).await.expect("answers"), [done.clone(), failed.clone()]);
    assert_eq!(store.deliveries(&webhook.id, 1).await.expect("answers"), [done]);
    assert_eq!(due(store, &webhook, 499, 9).await, []);
    assert_eq!(due(store, &webhook, 500, 9).await, [failed]);
    let stored = store.webhooks().await.expect("answers").into_iter().find(|known| known.id == webhook.id);
    assert_eq!(stored.map(|webhook| webhook.health), Some(health));
    store.delete(&webhook.id).await.expect("deleted");
}

async fn what_is_due_is_shared_among_webhooks(store: &dyn WebhookStore) {
    let (busy, other) = (a_webhook(store).await, a_webhook(store).await);
    let many: Vec<Delivery> = (0..5).map(|n| a_delivery(&busy, 10 - n)).collect();
    store.enqueue(&many, &[]).await.expect("stored");
    let one = a_delivery(&other, 11);
    store.enqueue(std::slice::from_ref(&one), &[]).await.expect("stored");
    assert_eq!(due(store, &busy, 20, 2).await, [many[4].clone(), many[3].clone()], "the longest due first");
    assert_eq!(due(store, &other, 20, 2).await, [one]);
    assert_eq!(store.waiting(20).await.expect("answers"), (None, 6));
    store.delete(&busy.id).await.expect("deleted");
    store.delete(&other.id).await.expect("deleted");
}

async fn a_webhook_that_is_off_keeps_what_waits(store: &dyn WebhookStore) {
    let mut webhook = a_webhook(store).await;
    let delivery = a_delivery(&webhook, 10);
    store.enqueue(std::slice::from_ref(&delivery), &[]).await.expect("stored");
    webhook.health.off = Some(Off { at: 11, reason: "why".to_owned() });
    store.put(&webhook).await.expect("replaced");
    assert_eq!(due(store, &webhook, 20, 9).await, []);
    assert_eq!(store.waiting(0).await.expect("answers"), (None, 1));
    webhook.health.off = None;
    store.put(&webhook).await.expect("replaced");
    assert_eq!(due(store, &webhook, 20, 9).await, [delivery]);
    store.delete(&webhook.id).await.expect("deleted");
}

async fn a_clock_that_was_wrong_delays_nothing(store: &dyn WebhookStore) {
    let webhook = a_webhook(store).await;
    let delivery = a_delivery(&webhook, 10 + 2 * LONGEST);
    store.enqueue(std::slice::from_ref(&delivery), &[]).await.expect("stored");
    assert_eq!(due(store, &webhook, 10, 9).await, [delivery]);
    assert_eq!(due(store, &webhook, 10 + LONGEST, 9).await, []);
    store.delete(&webhook.id).await.expect("deleted");
}

async fn the_longest_waiting_are_dropped_when_there_are_too_many(store: &dyn WebhookStore) {
    let webhook = a_webhook(store).await;
    let many: Vec<Delivery> = (0..i64::from(MAX_WAITING)).map(|n| a_delivery(&webhook, n)).collect();
    assert_eq!(store.enqueue(&many, &[]).await.expect("stored"), 0);
    let two = [a_delivery(&webhook, 5000), a_delivery(&webhook, 5001)];
    assert_eq!(store.enqueue(&two, &[]).await.expect("stored"), 2);
    assert_eq!(store.waiting(0).await.expect("answers").1, u64::from(MAX_WAITING));
    let all = store.deliveries(&webhook.id, MAX_WAITING + 9).await.expect("answers");
    assert_eq!(all.len(), MAX_WAITING as usize + 2);
    let dropped: Vec<_> = all.iter().filter(|delivery| matches!(delivery.state, State::Dropped { .. })).collect();
    let ids: Vec<_> = dropped.iter().map(|delivery| &delivery.id).collect();
    assert_eq!(ids, [&many[1].id, &many[0].id]);
    store.delete(&webhook.id).await.expect("deleted");
}

async fn old_deliveries_go(store: &dyn WebhookStore) {
    let webhook = a_webhook(store).await;
    let many: Vec<Delivery> = (0..i64::from(KEPT_DELIVERIES) + 5).map(|n| a_delivery(&webhook, n)).collect();
    store.enqueue(&many, &[]).await.expect("stored");
    for delivery in &many {
        let done = Delivery { state: State::Delivered { at: 100 }, ..delivery.clone() };
        store.finish(&done, &Health::default()).await.expect("stored");
    }
    let waiting = a_delivery(&webhook, 100);
    store.enqueue(std::slice::from_ref(&waiting), &[]).await.expect("stored");
    let left = store.deliveries(&webhook.id, 1000).await.expect("answers");
    assert_eq!(left.len(), KEPT_DELIVERIES as usize + 1);
    assert_eq!(left[0], waiting);
    assert_eq!(left.last().map(|delivery| &delivery.id), Some(&many[5].id));
    store.delete(&webhook.id).await.expect("deleted");
}

async fn nothing_is_left_of_a_deleted_webhook(store: &dyn WebhookStore) {
    let webhook = a_webhook(store).await;
    let delivery = a_delivery(&webhook, 10);
    store.enqueue(std::slice::from_ref(&delivery), &[]).await.expect("stored");
    store.delete(&webhook.id).await.expect("deleted");
    assert_eq!(store.deliveries(&webhook.id, 9).await.expect("answers"), []);
    assert_eq!(store.waiting(0).await.expect("answers"), (None, 0));
}

async fn what_is_gone_does_not_come_back(store: &dyn WebhookStore) {
    let (webhook, other) = (a_webhook(store).await, a_webhook(store).await);
    store.delete(&webhook.id).await.expect("deleted");
    let (late, fine) = (a_delivery(&webhook, 10), a_delivery(&other, 10));
    let document = DocumentName::parse("x").expect("valid");
    store.enqueue(&[late.clone(), fine.clone()], &[(document, 1)]).await.expect("what is left is stored");
    store.finish(&late, &Health::default()).await.expect("answers");
    assert_eq!(store.deliveries(&webhook.id, 9).await.expect("answers"), []);
    assert_eq!(store.deliveries(&other.id, 9).await.expect("answers"), [fine]);
    store.delete(&other.id).await.expect("deleted");
}
