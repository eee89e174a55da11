//! What clients are told when something fails: a status, a stable code and a sentence outside, the cause in the log.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use buildspaces_media::recordings;
use buildspaces_plans as plans;
use buildspaces_policy::tenancy;
use buildspaces_rooms as rooms;
use buildspaces_rooms::tree;
use buildspaces_webhooks as webhooks;

use crate::schema::{ErrorBody, ErrorDetail};

/// An answer that says what went wrong.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: Option<String>,
    /// Trying again in a while helps.
    later: bool,
}

/// Seconds until then, as clients are told.
const LATER: HeaderValue = HeaderValue::from_static("10");

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: None, later: false }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(crate) fn no_such_room() -> Self {
        Self::not_found("no_such_room", "there is no such room; check the link")
    }

    /// The same, with a word of when to try again.
    pub(crate) fn later(self) -> Self {
        Self { later: true, ..self }
    }

    /// The same in other words.
    pub(crate) fn saying(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// What the client reads.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// `cause` goes to the log only.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        let message = "the server could not read or write its data; try again, and look at its log if that persists";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = ErrorDetail { code: self.code.to_owned(), message: self.message, hint: self.hint };
        let mut response = (self.status, Json(ErrorBody { error })).into_response();
        if self.later {
            response.headers_mut().insert(header::RETRY_AFTER, LATER);
        }
        response
    }
}

impl From<rooms::Error> for ApiError {
    fn from(error: rooms::Error) -> Self {
        use rooms::Error as E;
        let message = error.to_string();
        match error {
            E::NoSuchRoom(_) => Self::not_found("no_such_room", message),
            E::NoSuchDocument(_) => Self::not_found("no_such_document", message),
            E::NoSuchNode => Self::not_found("no_such_node", message),
            E::BadTitle => Self::bad_request("bad_title", message),
            E::Closed => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", message),
            E::Storage(cause) => Self::internal(cause),
            E::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", message),
            E::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "document_too_large", message),
            E::InvalidUpdate(_) => Self::bad_request("invalid_update", message),
            E::Deleted => Self::new(StatusCode::GONE, "deleted", message),
            E::OfARoom => Self::bad_request("of_a_room", message),
            E::NoSuchVersion { .. } => Self::not_found("no_such_version", message),
            E::VersionMerged { .. } => Self::not_found("version_merged", message),
            E::BadVersionName => Self::bad_request("bad_name", message),
            E::NotRestorable => Self::new(StatusCode::CONFLICT, "not_restorable", message),
            E::TooManyVersions => Self::new(StatusCode::CONFLICT, "too_many_versions", message),
            E::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).later(),
            E::Changed => Self::new(StatusCode::PRECONDITION_FAILED, "changed", message),
            E::Tree(error) => error.into(),
        }
    }
}

impl From<rooms::ports::StoreError> for ApiError {
    fn from(error: rooms::ports::StoreError) -> Self {
        rooms::Error::from(error).into()
    }
}

impl From<rooms::archive::Error> for ApiError {
    fn from(error: rooms::archive::Error) -> Self {
        use rooms::archive::Error as E;
        let message = error.to_string();
        match error {
            E::Archive(_) => Self::bad_request("bad_archive", message),
            E::RoomExists(_) => Self::new(StatusCode::CONFLICT, "room_exists", message),
            E::Abandoned => Self::internal(message),
            E::Room(error) => error.into(),
        }
    }
}

impl From<tenancy::Unknown> for ApiError {
    fn from(unknown: tenancy::Unknown) -> Self {
        use tenancy::Unknown as U;
        let code = match unknown {
            U::Kind(_) => "no_such_kind",
            U::Organisation(_) => "no_such_organisation",
            U::NotTheirs { .. } => "kind_not_theirs",
        };
        Self::forbidden(code, unknown.to_string())
    }
}

impl From<tree::Error> for ApiError {
    fn from(error: tree::Error) -> Self {
        use tree::Error as E;
        let message = error.to_string();
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, message.clone());
        match error {
            E::NoSuchNode => Self::not_found("no_such_node", message),
            E::NotAFolder(_) => Self::bad_request("not_a_folder", message),
            E::BadName(..) => Self::bad_request("bad_name", message),
            E::NameTaken(_) => conflict("name_taken"),
            E::Cycle => conflict("cycle"),
            E::Conflict { .. } => conflict("conflict"),
            E::TooDeep => Self::bad_request("too_deep", message),
            E::TooMany => Self::bad_request("too_many_nodes", message),
            E::TextTooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "text_too_large", message),
        }
    }
}

impl From<recordings::Error> for ApiError {
    fn from(error: recordings::Error) -> Self {
        use recordings::Error as E;
        let message = error.to_string();
        match error {
            E::NoSuchRecording => Self::not_found("no_such_recording", message),
            E::StillRecorded => Self::new(StatusCode::CONFLICT, "still_recorded", message),
            E::RoomFull(_) => Self::new(StatusCode::CONFLICT, "recordings_full", message),
            E::Disk(cause) => Self::internal(cause),
        }
    }
}

impl From<plans::Error> for ApiError {
    fn from(error: plans::Error) -> Self {
        use plans::Error as E;
        let message = error.to_string();
        match error {
            E::NoSuchRule => Self::not_found("no_such_rule", message),
            E::NoRules => Self::bad_request("no_rules", message),
            E::NoSuchRun => Self::not_found("no_such_run", message),
            E::InvalidRule(_) => Self::bad_request("invalid_rule", message),
            E::SandboxOff { hint, .. } => {
                Self { hint: Some(hint), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "runs_off", message) }
            }
            E::SecretsOff => {
                let hint = "Whoever runs it can set secrets.key_file in its configuration to a file that `openssl rand -hex 32` printed.";
                Self {
                    hint: Some(hint.to_owned()),
                    ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "secrets_off", message)
                }
            }
            E::NoSuchSecret => Self::not_found("no_such_secret", message),
            E::InvalidSecret(_) => Self::bad_request("invalid_secret", message),
            E::UnknownSecret(_) => Self::bad_request("unknown_secret", message),
            E::TooManySecrets => Self::new(StatusCode::CONFLICT, "too_many_secrets", message),
            E::NoSuchTerminal => Self::not_found("no_such_terminal", message),
            E::TooManyTerminals => Self::new(StatusCode::CONFLICT, "too_many_terminals", message),
            E::TooManyViewers => Self::new(StatusCode::CONFLICT, "too_many_viewers", message),
            E::NoSuchRecording => Self::not_found("no_such_recording", message),
            E::RecordingsFull(_) => Self::new(StatusCode::CONFLICT, "recordings_full", message),
            E::StillRecorded => Self::new(StatusCode::CONFLICT, "still_recorded", message),
            E::RecordingsOff => Self::new(StatusCode::SERVICE_UNAVAILABLE, "recordings_off", message),
            E::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", message),
            E::Room(error) => error.into(),
            E::Store(error) => Self::internal(error),
        }
    }
}

impl From<plans::git::Error> for ApiError {
    fn from(error: plans::git::Error) -> Self {
        use plans::git::Error as E;
        let message = error.to_string();
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, message.clone());
        let unavailable = |code| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message.clone());
        match error {
            E::Off { hint, .. } => Self { hint: Some(hint), ..unavailable("runs_off") },
            E::Sandbox(_) => unavailable("sandbox_failed"),
            E::Restless | E::Busy | E::Held => unavailable("busy"),
            E::TimedOut(_) => unavailable("git_timed_out"),
            E::BadMessage => Self::bad_request("bad_message", message),
            E::TooManyPaths => Self::bad_request("too_many_paths", message),
            E::BadBranchName => Self::bad_request("bad_branch", message),
            E::BadUrl(_) => Self::bad_request("bad_url", message),
            E::NoSuchBranch => Self::not_found("no_such_branch", message),
            E::NoSuchFile(_) => Self::not_found("no_such_file", message),
            E::NoSuchCommit => Self::not_found("no_such_commit", message),
            E::NoSuchRemote => Self::not_found("no_such_repository", message),
            E::Unreachable(_) => Self::new(StatusCode::BAD_GATEWAY, "unreachable", message),
            E::NoGit => conflict("no_git"),
            E::NoRepository => conflict("no_repository"),
            E::IsRepository => conflict("is_repository"),
            E::NotEmpty => conflict("not_empty"),
            E::Cloning => conflict("cloning"),
            E::Locked => conflict("git_locked"),
            E::NothingToCommit => conflict("nothing_to_commit"),
            E::NotChanged(_) => conflict("not_changed"),
            E::Conflicts(_) => conflict("conflicts"),
            E::Merging => conflict("merging"),
            E::BranchExists => conflict("branch_exists"),
            E::WouldOverwrite(_) => conflict("would_overwrite"),
            E::NotListed(_) => conflict("host_not_listed"),
            E::NeedsCredential => conflict("credential_needed"),
            E::CredentialRefused(_) => conflict("credential_refused"),
            E::NoCredential(_) => conflict("secret_unreadable"),
            E::NoUpstream => conflict("no_upstream"),
            E::NoRemote => conflict("no_remote"),
            E::Diverged => conflict("diverged"),
            E::Git(_) => conflict("git_refused"),
            E::Room(plans::git::RoomError(error)) => error.into(),
        }
    }
}

impl From<webhooks::Error> for ApiError {
    fn from(error: webhooks::Error) -> Self {
        use webhooks::Error as E;
        let message = error.to_string();
        match error {
            E::NoSuchWebhook => Self::not_found("no_such_webhook", message),
            E::BadWebhook(_) => Self::bad_request("bad_webhook", message),
            E::TooManyWebhooks => Self::new(StatusCode::CONFLICT, "too_many_webhooks", message),
            E::Off => Self::new(StatusCode::CONFLICT, "webhook_off", message),
            E::Full => rooms::Error::Full.into(),
            E::Store(error) => Self::internal(error),
        }
    }
}

impl From<buildspaces_policy::Denied> for ApiError {
    fn from(denied: buildspaces_policy::Denied) -> Self {
        Self::forbidden("denied", denied.to_string())
    }
}
