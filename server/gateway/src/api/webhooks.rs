//! A room's webhooks: who is told what happens in it, and how that goes. Only its hosts may know.

use axum::extract::State;
use axum::http::StatusCode;
use buildspaces_kernel::ids::WebhookId;
use buildspaces_policy::{Capability, Principal};
use buildspaces_webhooks::{self as webhooks, Scope};

use super::{RoomAndId, RoomPath};
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path};
use crate::identity::Caller;
use crate::schema::ErrorBody;
use crate::schema::webhooks::{CreatedWebhook, Delivery, NewWebhook, Webhook, WebhookChange};

/// Has the room's events sent somewhere. The answer alone has the secret.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/webhooks", operation_id = "create_webhook", tag = "webhooks",
    params(("room" = String, Path)), request_body = NewWebhook,
    responses((status = 201, body = CreatedWebhook), (status = 400, body = ErrorBody, description = "`bad_webhook`"),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`too_many_webhooks`")))]
pub(crate) async fn create(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(new): Json<NewWebhook>,
) -> Result<(StatusCode, axum::Json<CreatedWebhook>), ApiError> {
    let (room, by) = caller.open(&gateway, &room, Capability::Manage).await?;
    let webhook = gateway.webhooks.create(room.id(), &by, &new.url, &new.events).await?;
    let created = CreatedWebhook { webhook: Webhook::from(&*webhook), secret: webhook.secret.reveal() };
    Ok((StatusCode::CREATED, axum::Json(created)))
}

/// The room's webhooks, oldest first.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/webhooks", operation_id = "list_webhooks", tag = "webhooks",
    params(("room" = String, Path)),
    responses((status = 200, body = Vec<Webhook>), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Vec<Webhook>>, ApiError> {
    let (room, _) = caller.open(&gateway, &room, Capability::Manage).await?;
    let webhooks = gateway.webhooks.webhooks(&Scope::Room(room.id().clone()));
    Ok(axum::Json(webhooks.iter().map(|webhook| Webhook::from(&**webhook)).collect()))
}

/// Switches a webhook on or off. Switched on, it hears of what changed meanwhile.
#[utoipa::path(patch, path = "/api/v1/rooms/{room}/webhooks/{webhook}", tag = "webhooks",
    params(("room" = String, Path), ("webhook" = String, Path)), request_body = WebhookChange,
    responses((status = 200, body = Webhook), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_webhook`")))]
pub(crate) async fn change(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(path): RoomAndId,
    Json(change): Json<WebhookChange>,
) -> Result<axum::Json<Webhook>, ApiError> {
    let (scope, id, _) = managed(&gateway, &caller, &path).await?;
    let webhook = gateway.webhooks.switch(&scope, &id, change.enabled).await?;
    Ok(axum::Json(Webhook::from(&*webhook)))
}

/// Forgets a webhook and what waits for it.
#[utoipa::path(delete, path = "/api/v1/rooms/{room}/webhooks/{webhook}", operation_id = "delete_webhook", tag = "webhooks",
    params(("room" = String, Path), ("webhook" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_webhook`")))]
pub(crate) async fn delete(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(path): RoomAndId,
) -> Result<StatusCode, ApiError> {
    let (scope, id, _) = managed(&gateway, &caller, &path).await?;
    gateway.webhooks.delete(&scope, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends an event `webhook.test`; the list of deliveries says what became of it.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/webhooks/{webhook}/test", tag = "webhooks",
    params(("room" = String, Path), ("webhook" = String, Path)),
    responses((status = 202, body = Delivery), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "`webhook_off`")))]
pub(crate) async fn test(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(path): RoomAndId,
) -> Result<(StatusCode, axum::Json<Delivery>), ApiError> {
    let (scope, id, by) = managed(&gateway, &caller, &path).await?;
    let delivery = gateway.webhooks.test(&scope, &id, &by).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(Delivery::from(&delivery))))
}

/// What waits for a webhook and the last deliveries that are over, newest first: why nothing arrives.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/webhooks/{webhook}/deliveries", tag = "webhooks",
    params(("room" = String, Path), ("webhook" = String, Path)),
    responses((status = 200, body = Vec<Delivery>), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_webhook`")))]
pub(crate) async fn deliveries(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(path): RoomAndId,
) -> Result<axum::Json<Vec<Delivery>>, ApiError> {
    let (scope, id, _) = managed(&gateway, &caller, &path).await?;
    let deliveries = gateway.webhooks.deliveries(&scope, &id).await?;
    Ok(axum::Json(deliveries.iter().map(Delivery::from).collect()))
}

/// The webhook of a path, if the caller is a host of the room.
async fn managed(
    gateway: &Gateway,
    caller: &Caller,
    (room, webhook): &(String, String),
) -> Result<(Scope, WebhookId, Principal), ApiError> {
    let (room, by) = caller.open(gateway, room, Capability::Manage).await?;
    let id = WebhookId::parse(webhook).ok_or(webhooks::Error::NoSuchWebhook)?;
    Ok((Scope::Room(room.id().clone()), id, by))
}
