//! REST under `/api/v1`, and its OpenAPI description, made from the same handlers.

mod access;
mod archive;
mod call_recordings;
mod calls;
mod documents;
mod files;
mod git;
mod history;
mod nodes;
mod people;
mod previews;
mod recordings;
mod rooms;
mod runs;
mod sandbox;
mod secrets;
mod terminals;
mod uploads;
mod webhooks;

use axum::Router;
use buildspaces_kernel::ids::RoomId;
use buildspaces_rooms::RoomHandle;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::error::ApiError;
use crate::extract::Path;

/// The routes and what describes them.
pub(crate) fn routes() -> (Router<Gateway>, OpenApi) {
    let info = InfoBuilder::new()
        .title("BuildSpaces")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Rooms, their files and their runs. Documents themselves travel over WebSocket at /yjs/<document>. Any call may also be \
             answered with 400 `bad_path` or `bad_query`, with 413 `body_too_large`, 503 `busy` or `stopping`, and one that writes with \
             507 `disk_full`.",
        ))
        .build();
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build())
        .routes(routes!(people::create_session))
        .routes(routes!(people::session, people::rename))
        .routes(routes!(rooms::templates))
        .routes(routes!(rooms::status))
        .routes(routes!(rooms::create_room))
        .routes(routes!(rooms::room))
        .routes(routes!(rooms::kind, rooms::set_kind))
        .routes(routes!(rooms::rules))
        .routes(routes!(secrets::change_rule))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::put, secrets::delete))
        .routes(routes!(access::access))
        .routes(routes!(access::create_link))
        .routes(routes!(access::revoke))
        .routes(routes!(nodes::create_node))
        .routes(routes!(nodes::change_node, nodes::delete_node))
        .routes(routes!(nodes::content))
        .routes(routes!(files::unshared))
        .routes(routes!(archive::export))
        .routes(routes!(webhooks::create, webhooks::list))
        .routes(routes!(webhooks::change, webhooks::delete))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(documents::list))
        .routes(routes!(documents::create, documents::read, documents::delete))
        .routes(routes!(documents::update))
        .routes(routes!(documents::copy))
        .routes(routes!(history::versions, history::checkpoint))
        .routes(routes!(history::version))
        .routes(routes!(history::version_text))
        .routes(routes!(history::diff))
        .routes(routes!(history::blame))
        .routes(routes!(history::clients))
        .routes(routes!(history::restore))
        .routes(routes!(runs::runs, runs::start_run))
        .routes(routes!(runs::run))
        .routes(routes!(runs::log))
        .routes(routes!(runs::cancel_run))
        .routes(routes!(terminals::terminals, terminals::open_terminal))
        .routes(routes!(terminals::close_terminal))
        .routes(routes!(recordings::settings, recordings::set))
        .routes(routes!(calls::settings, calls::set))
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::read, recordings::delete))
        .routes(routes!(call_recordings::list))
        .routes(routes!(call_recordings::file))
        .routes(routes!(call_recordings::delete))
        .routes(routes!(git::repository, git::begin))
        .routes(routes!(git::git_diff))
        .routes(routes!(git::git_log, git::commit))
        .routes(routes!(git::branches, git::create_branch))
        .routes(routes!(git::switch))
        .routes(routes!(git::pull))
        .routes(routes!(git::push))
        .routes(routes!(previews::open_preview))
        .routes(routes!(sandbox::end_sandbox))
        .split_for_parts()
}

/// Routes whose bodies may be of any size; they bound what they read by themselves.
pub(crate) fn large_routes() -> (Router<Gateway>, OpenApi) {
    OpenApiRouter::new()
        .routes(routes!(archive::import))
        .routes(routes!(uploads::upload))
        .routes(routes!(files::send))
        .split_for_parts()
}

/// What describes all routes.
pub(crate) fn openapi() -> OpenApi {
    let mut openapi = routes().1;
    openapi.merge(large_routes().1);
    openapi
}

/// The API's description, for `buildspaces openapi`.
pub fn openapi_json() -> String {
    openapi().to_pretty_json().expect("the API's description has only string keys")
}

/// Any other path below `/api`.
pub(crate) async fn unknown() -> ApiError {
    ApiError::not_found("no_such_route", "there is no such call; /api/openapi.json describes those there are")
}

/// The room of a path, opened for whoever asks.
async fn open(gateway: &Gateway, room: &str) -> Result<RoomHandle, ApiError> {
    let id = RoomId::parse(room).ok_or_else(ApiError::no_such_room)?;
    Ok(gateway.rooms.room(&id).await?)
}

pub(crate) type RoomPath = Path<String>;
pub(crate) type RoomAndId = Path<(String, String)>;
