//! Webhooks and deliveries, as REST shows them.

use buildspaces_webhooks as webhooks;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// Where events are sent; `https://`.
    pub url: String,
    /// `document.changed`, `document.deleted`; all of them if left out.
    #[serde(default)]
    pub events: Vec<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookChange {
    /// Whether anything is sent to it.
    pub enabled: bool,
}

/// Somebody who is told what happens.
#[derive(Serialize, ToSchema)]
pub(crate) struct Webhook {
    pub id: String,
    pub url: String,
    pub events: Vec<String>,
    pub enabled: bool,
    /// Why it is switched off, if it is.
    pub off_reason: Option<String>,
    pub off_at: Option<i64>,
    /// Since when nothing could be delivered.
    pub failing_since: Option<i64>,
    pub created_at: i64,
    pub created_by: String,
}

impl From<&webhooks::Webhook> for Webhook {
    fn from(webhook: &webhooks::Webhook) -> Self {
        let off = webhook.health.off.as_ref();
        Self {
            id: webhook.id.to_string(),
            url: webhook.url.to_string(),
            events: webhook.events.iter().map(|event| event.as_str().to_owned()).collect(),
            enabled: webhook.is_on(),
            off_reason: off.map(|off| off.reason.clone()),
            off_at: off.map(|off| off.at),
            failing_since: webhook.health.failing_since,
            created_at: webhook.created_at,
            created_by: webhook.created_by.to_string(),
        }
    }
}

/// A new webhook, with its secret, which is shown once.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedWebhook {
    #[serde(flatten)]
    pub webhook: Webhook,
    /// `whsec_` and the base64 of the key that signs what is sent.
    pub secret: String,
}

/// One event on its way to a webhook.
#[derive(Serialize, ToSchema)]
pub(crate) struct Delivery {
    /// The header `webhook-id` of every attempt.
    pub id: String,
    /// The event, such as `document.changed`.
    pub r#type: String,
    pub document: Option<String>,
    pub state: DeliveryState,
    pub attempts: u32,
    /// What the last attempt was answered with.
    pub status: Option<u16>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    pub created_at: i64,
    /// When the next attempt is made.
    pub next_at: Option<i64>,
    /// When it was delivered, given up or dropped.
    pub finished_at: Option<i64>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryState {
    Waiting,
    Delivered,
    /// All attempts failed.
    GivenUp,
    /// Too many waited.
    Dropped,
}

impl From<&webhooks::Delivery> for Delivery {
    fn from(delivery: &webhooks::Delivery) -> Self {
        use webhooks::State as S;
        let (state, next_at, finished_at) = match delivery.state {
            S::Waiting { next_at } => (DeliveryState::Waiting, Some(next_at), None),
            S::Delivered { at } => (DeliveryState::Delivered, None, Some(at)),
            S::GivenUp { at } => (DeliveryState::GivenUp, None, Some(at)),
            S::Dropped { at } => (DeliveryState::Dropped, None, Some(at)),
        };
        Self {
            id: delivery.id.to_string(),
            r#type: delivery.event.as_str().to_owned(),
            document: delivery.document.clone(),
            state,
            attempts: delivery.attempts,
            status: delivery.status,
            error: delivery.error.clone(),
            created_at: delivery.created_at,
            next_at,
            finished_at,
        }
    }
}
