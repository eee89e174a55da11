//! Git in a room's workspace: what changed, commits, branches, and repositories from elsewhere.
//!
//! All of it runs in the room's sandbox, which is started for it, so looking asks for the same capability as changing.

use std::num::NonZeroU32;

use axum::extract::State;
use axum::http::StatusCode;
use buildspaces_plans::git::{MAX_COMMITS, Origin, Wanted};
use buildspaces_policy::{Capability, Principal};
use buildspaces_rooms::RoomHandle;

use super::RoomPath;
use crate::Gateway;
use crate::error::ApiError;
use crate::extract::{Json, Path, Query};
use crate::identity::Caller;
use crate::schema::ErrorBody;
use crate::schema::git::{Branch, BranchName, Commit, Commits, NewCommit, NewRepository, Patch, Repository};

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiffParams {
    /// One file; everything that changed if left out.
    path: Option<String>,
    /// What that file was called in the last commit.
    from: Option<String>,
    /// What this commit changed, instead.
    commit: Option<String>,
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogParams {
    /// Leaves out so many of the newest.
    skip: Option<u32>,
    /// At most so many; 50 if left out, 200 at most.
    #[param(value_type = Option<u32>, minimum = 1)]
    limit: Option<NonZeroU32>,
}

async fn opened(gateway: &Gateway, caller: &Caller, room: &str) -> Result<(RoomHandle, Principal), ApiError> {
    let (room, by) = caller.open(gateway, room, Capability::Git).await?;
    // So that people see the sandbox start.
    gateway.engine.room_opened(room.id()).await;
    Ok((room, by))
}

/// Whether the room has a repository, and how its files differ from the last commit.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/git", tag = "git", params(("room" = String, Path)),
    responses((status = 200, body = Repository), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "`no_git`"),
        (status = 503, body = ErrorBody, description = "`runs_off`, `busy`")))]
pub(crate) async fn repository(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Repository>, ApiError> {
    let (room, _) = opened(&gateway, &caller, &room).await?;
    Ok(axum::Json(gateway.engine.git().repository(room.id()).await?.into()))
}

/// Begins a repository with the room's files, or begins to fetch one into a room without files. How the latter goes is told by `GET`.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/git", tag = "git", params(("room" = String, Path)), request_body = NewRepository,
    responses((status = 201, body = Repository), (status = 400, body = ErrorBody, description = "`bad_url`, `bad_branch`"),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`is_repository`, `not_empty`, `cloning`"), (status = 503, body = ErrorBody)))]
pub(crate) async fn begin(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(new): Json<NewRepository>,
) -> Result<(StatusCode, axum::Json<Repository>), ApiError> {
    let (room, _) = opened(&gateway, &caller, &room).await?;
    let git = gateway.engine.git();
    let repository = match new.repository {
        Some(origin) => git.clone_from(room.id(), Origin::parse(&origin.url, origin.branch.as_deref())?).await?,
        None => git.init(room.id()).await?,
    };
    Ok((StatusCode::CREATED, axum::Json(repository.into())))
}

/// How files differ from the last commit, or what a commit changed.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/git/diff", tag = "git", params(("room" = String, Path), DiffParams),
    responses((status = 200, body = Patch), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_file`, `no_such_commit`"),
        (status = 409, body = ErrorBody, description = "`no_repository`"), (status = 503, body = ErrorBody)))]
pub(crate) async fn git_diff(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Query(params): Query<DiffParams>,
) -> Result<axum::Json<Patch>, ApiError> {
    let (room, _) = opened(&gateway, &caller, &room).await?;
    let wanted = match params {
        DiffParams { commit: Some(commit), .. } => Wanted::Commit(commit),
        DiffParams { path: Some(path), from, .. } => Wanted::File { path, from },
        DiffParams { .. } => Wanted::All,
    };
    Ok(axum::Json(gateway.engine.git().diff(room.id(), &wanted).await?.into()))
}

/// The present branch's commits.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/git/commits", tag = "git", params(("room" = String, Path), LogParams),
    responses((status = 200, body = Commits), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`no_repository`"), (status = 503, body = ErrorBody)))]
pub(crate) async fn git_log(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Query(LogParams { skip, limit }): Query<LogParams>,
) -> Result<axum::Json<Commits>, ApiError> {
    let (room, _) = opened(&gateway, &caller, &room).await?;
    let (skip, limit) = (skip.unwrap_or(0), limit.map_or(50, NonZeroU32::get).min(MAX_COMMITS));
    let (commits, more) = gateway.engine.git().log(room.id(), skip, limit).await?;
    let next = more.then(|| skip.saturating_add(limit));
    Ok(axum::Json(Commits { commits: commits.into_iter().map(Commit::from).collect(), next }))
}

/// Commits files as they are in the documents. The caller is the author; everybody else whose edits are in them is a co-author.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/git/commits", tag = "git", params(("room" = String, Path)), request_body = NewCommit,
    responses((status = 201, body = Commit), (status = 400, body = ErrorBody, description = "`bad_message`, `too_many_paths`"),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody,
            description = "`no_repository`, `nothing_to_commit`, `not_changed`, `conflicts`, `merging`, `git_locked`, `git_refused`"),
        (status = 503, body = ErrorBody, description = "`runs_off`, `busy`, `git_timed_out`")))]
pub(crate) async fn commit(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(new): Json<NewCommit>,
) -> Result<(StatusCode, axum::Json<Commit>), ApiError> {
    let (room, by) = opened(&gateway, &caller, &room).await?;
    let commit = gateway.engine.git().commit(room.id(), &by, &new.message, new.paths.as_deref()).await?;
    tracing::info!(room = %room.id(), by = %by.id, commit = commit.id, "a commit was made");
    Ok((StatusCode::CREATED, axum::Json(commit.into())))
}

/// The repository's branches, the one with the newest commit first.
#[utoipa::path(get, path = "/api/v1/rooms/{room}/git/branches", tag = "git", params(("room" = String, Path)),
    responses((status = 200, body = Vec<Branch>), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody, description = "`no_repository`"), (status = 503, body = ErrorBody)))]
pub(crate) async fn branches(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Vec<Branch>>, ApiError> {
    let (room, _) = opened(&gateway, &caller, &room).await?;
    let branches = gateway.engine.git().branches(room.id()).await?;
    Ok(axum::Json(branches.into_iter().map(Branch::from).collect()))
}

/// Begins a branch with what is there, and goes on in it.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/git/branches", tag = "git", params(("room" = String, Path)), request_body = BranchName,
    responses((status = 201, body = Repository), (status = 400, body = ErrorBody, description = "`bad_branch`"),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`no_repository`, `branch_exists`"), (status = 503, body = ErrorBody)))]
pub(crate) async fn create_branch(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(branch): Json<BranchName>,
) -> Result<(StatusCode, axum::Json<Repository>), ApiError> {
    let (room, _) = opened(&gateway, &caller, &room).await?;
    let repository = gateway.engine.git().create_branch(room.id(), &branch.name).await?;
    Ok((StatusCode::CREATED, axum::Json(repository.into())))
}

/// Takes another branch's files, in the documents too. What is not committed comes along; where it cannot, nothing happens.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/git/switch", tag = "git", params(("room" = String, Path)), request_body = BranchName,
    responses((status = 200, body = Repository), (status = 400, body = ErrorBody, description = "`bad_branch`"),
        (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "`no_such_branch`"),
        (status = 409, body = ErrorBody, description = "`no_repository`, `would_overwrite`"), (status = 503, body = ErrorBody)))]
pub(crate) async fn switch(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
    Json(branch): Json<BranchName>,
) -> Result<axum::Json<Repository>, ApiError> {
    let (room, _) = opened(&gateway, &caller, &room).await?;
    Ok(axum::Json(gateway.engine.git().switch(room.id(), &branch.name).await?.into()))
}

/// Takes what is new where the repository came from, if nothing new is here.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/git/pull", tag = "git", params(("room" = String, Path)),
    responses((status = 200, body = Repository), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody,
            description = "`no_repository`, `no_upstream`, `diverged`, `would_overwrite`, `host_not_listed`, `credential_needed`"),
        (status = 502, body = ErrorBody, description = "`unreachable`"), (status = 503, body = ErrorBody)))]
pub(crate) async fn pull(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Repository>, ApiError> {
    let (room, _) = opened(&gateway, &caller, &room).await?;
    Ok(axum::Json(gateway.engine.git().pull(room.id()).await?.into()))
}

/// Takes the present branch's commits to where the repository came from.
#[utoipa::path(post, path = "/api/v1/rooms/{room}/git/push", tag = "git", params(("room" = String, Path)),
    responses((status = 200, body = Repository), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody,
            description = "`no_repository`, `no_remote`, `diverged`, `host_not_listed`, `credential_needed`"),
        (status = 502, body = ErrorBody, description = "`unreachable`"), (status = 503, body = ErrorBody)))]
pub(crate) async fn push(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(room): RoomPath,
) -> Result<axum::Json<Repository>, ApiError> {
    let (room, _) = opened(&gateway, &caller, &room).await?;
    Ok(axum::Json(gateway.engine.git().push(room.id()).await?.into()))
}
