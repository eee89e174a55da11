//! The shapes of REST, as the OpenAPI document describes them. Times are Unix milliseconds.

pub(crate) mod call_recordings;
pub(crate) mod calls;
pub(crate) mod git;
pub(crate) mod history;
pub(crate) mod media;
pub(crate) mod previews;
pub(crate) mod recordings;
pub(crate) mod secrets;
pub(crate) mod terminals;
pub(crate) mod webhooks;

use buildspaces_kernel::ids::{OrganisationId, RoomKind};
use buildspaces_plans::run::{RunState as PlanRunState, RunSummary, Trigger as PlanTrigger};
use buildspaces_plans::{ports, rule};
use buildspaces_policy::Principal;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_rooms::templates;
use buildspaces_rooms::{ports::RoomRecord, presence, tree};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::error::ApiError;

/// Somebody in a room, as others see them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Person {
    pub id: String,
    pub name: String,
    /// `#rrggbb`, the same everywhere.
    pub color: String,
}

impl From<&Principal> for Person {
    fn from(person: &Principal) -> Self {
        Self { id: person.id.to_string(), name: person.name.to_string(), color: presence::color(&person.id).to_owned() }
    }
}

/// A new session. Keep the token secret; it is shown once.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    pub token: String,
    pub person: Person,
}

/// Who the caller is.
#[derive(Serialize, ToSchema)]
pub(crate) struct CurrentSession {
    pub person: Person,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSession {
    /// The name others see: 1 to 40 visible characters.
    pub name: String,
}

/// A link that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLink {
    pub role: Role,
    /// The name its holder has for others; `Guest` if left out.
    pub name: Option<String>,
    /// How long it holds, in seconds; never longer than the caller's own access.
    pub expires_in: u64,
}

/// A link that lets somebody in. It is a secret; it is shown once.
#[derive(Serialize, ToSchema)]
pub(crate) struct Link {
    pub url: String,
    /// What stands in `url` after `#token=`.
    pub token: String,
    pub expires: Option<i64>,
}

/// What the caller is and may do in a room.
#[derive(Serialize, ToSchema)]
pub(crate) struct Access {
    pub person: Person,
    pub role: Role,
    pub capabilities: Vec<Capability>,
    /// When it ends by itself; `null` if it does not.
    pub expires: Option<i64>,
    /// The server has a key to make links with.
    pub links: bool,
    /// Whoever has the room's plain address may begin a session and edit.
    pub open: bool,
}

/// One thing that a role allows; see docs/security.md.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Capability {
    Read,
    EditDocuments,
    EditTree,
    Run,
    Terminal,
    Git,
    Preview,
    PublishAudio,
    PublishVideo,
    ShareScreen,
    Moderate,
    Record,
    Share,
    Manage,
}

impl From<buildspaces_policy::Capability> for Capability {
    fn from(capability: buildspaces_policy::Capability) -> Self {
        use buildspaces_policy::Capability as C;
        match capability {
            C::Read => Self::Read,
            C::EditDocuments => Self::EditDocuments,
            C::EditTree => Self::EditTree,
            C::Run => Self::Run,
            C::Terminal => Self::Terminal,
            C::Git => Self::Git,
            C::Preview => Self::Preview,
            C::PublishAudio => Self::PublishAudio,
            C::PublishVideo => Self::PublishVideo,
            C::ShareScreen => Self::ShareScreen,
            C::Moderate => Self::Moderate,
            C::Record => Self::Record,
            C::Share => Self::Share,
            C::Manage => Self::Manage,
        }
    }
}

/// What somebody may do in a room; see docs/security.md.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Host,
    Editor,
    Commenter,
    Viewer,
    Agent,
}

impl From<Role> for buildspaces_policy::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Host => Self::Host,
            Role::Editor => Self::Editor,
            Role::Commenter => Self::Commenter,
            Role::Viewer => Self::Viewer,
            Role::Agent => Self::Agent,
        }
    }
}

impl From<buildspaces_policy::Role> for Role {
    fn from(role: buildspaces_policy::Role) -> Self {
        use buildspaces_policy::Role as R;
        match role {
            R::Host => Self::Host,
            R::Editor => Self::Editor,
            R::Commenter => Self::Commenter,
            R::Viewer => Self::Viewer,
            R::Agent => Self::Agent,
        }
    }
}

/// Whose access is taken back: one of `user`, `token` and `document`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRevocation {
    /// A user's id, as others see it or as the system that made their token calls them.
    pub user: Option<String>,
    /// A token's `jti`, or the token itself.
    pub token: Option<String>,
    /// Everybody who has this document open must come in again.
    pub document: Option<String>,
    /// The room it holds in. Only who may do so in every room may leave it out.
    pub room: Option<String>,
    /// Shown to whom it concerns, up to 80 characters.
    pub reason: Option<String>,
    /// When it may be forgotten, in Unix milliseconds; after 30 days if left out.
    pub expires: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Revoked {
    /// Connections to documents that ended.
    pub ended: usize,
}

/// What a room can begin with.
#[derive(Serialize, ToSchema)]
pub(crate) struct Template {
    pub id: String,
    pub title: String,
    pub description: String,
    pub language: String,
}

impl From<&templates::Template> for Template {
    fn from(template: &templates::Template) -> Self {
        Self {
            id: template.id.to_owned(),
            title: template.title.to_owned(),
            description: template.description.to_owned(),
            language: template.language.to_owned(),
        }
    }
}

/// The server's version and whether it can run anything.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    pub version: String,
    pub sandbox: SandboxStatus,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SandboxStatus {
    pub state: SandboxState,
    /// What is off.
    pub message: Option<String>,
    /// How to turn it on.
    pub hint: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SandboxState {
    Ready,
    Off,
}

impl From<ports::Availability> for SandboxStatus {
    fn from(availability: ports::Availability) -> Self {
        match availability {
            ports::Availability::Ready => Self { state: SandboxState::Ready, message: None, hint: None },
            ports::Availability::Off { message, hint } => {
                Self { state: SandboxState::Off, message: Some(message), hint: Some(hint) }
            }
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRoom {
    /// 1 to 120 characters; the template's title, or the repository's name, if left out.
    pub title: Option<String>,
    /// The id of a template; without a repository there must be one.
    pub template: Option<String>,
    /// A repository to begin with, instead. It is fetched when the room is there already: `GET /rooms/{room}/git` tells how that goes.
    pub repository: Option<git::Origin>,
    /// Of which kind the room is, which decides what its sandbox may use; as the caller's token says if left out. Only where nobody needs a
    /// token, and the administrator, may say something else.
    pub kind: Option<String>,
    /// Whose the room is; the same.
    pub organisation: Option<String>,
}

/// What a request says of the room that it creates; see [`NewRoom`].
#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wishes {
    /// Of which kind the room is; see `POST /api/v1/rooms`.
    pub kind: Option<String>,
    /// Whose the room is.
    pub organisation: Option<String>,
}

impl Wishes {
    /// What is wished, and of what is not said anything what there is.
    pub(crate) fn over(self, granted: Tenancy) -> Result<Tenancy, ApiError> {
        let bad = |what: &str, name: &str| {
            let message = format!("{what} {name:?} is not a name: use 1 to 64 characters of a-z, 0-9, _ and -");
            ApiError::bad_request("bad_tenancy", message)
        };
        let kind = self.kind.map(|name| RoomKind::parse(&name).ok_or_else(|| bad("kind", &name))).transpose()?;
        let organisation =
            self.organisation.map(|name| OrganisationId::parse(&name).ok_or_else(|| bad("organisation", &name)));
        let organisation = organisation.transpose()?.or(granted.organisation);
        Ok(Tenancy { kind: kind.unwrap_or(granted.kind), organisation })
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Room {
    /// The room's link is `/r/<id>`; whoever has it may edit.
    pub id: String,
    pub title: String,
    pub template: String,
    pub created_at: i64,
    /// What decides what its sandbox may use.
    pub kind: String,
    /// Whose it is, if anybody's.
    pub organisation: Option<String>,
}

impl From<&RoomRecord> for Room {
    fn from(room: &RoomRecord) -> Self {
        Self {
            id: room.id.to_string(),
            title: room.title.clone(),
            template: room.template.clone(),
            created_at: room.created_at,
            kind: room.tenancy.kind.to_string(),
            organisation: room.tenancy.organisation.as_ref().map(ToString::to_string),
        }
    }
}

/// Of which kind a room is, and what it was before.
#[derive(Serialize, ToSchema)]
pub(crate) struct RoomKinds {
    pub kind: String,
    /// Newest first.
    pub changes: Vec<KindChange>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct KindChange {
    pub at: i64,
    /// `system` is the command line.
    pub by: String,
    pub from: String,
    pub to: String,
}

impl RoomKinds {
    pub(crate) fn new(room: &RoomRecord, changes: Vec<buildspaces_rooms::ports::KindChange>) -> Self {
        let shown = |change: buildspaces_rooms::ports::KindChange| KindChange {
            at: change.at,
            by: change.by.to_string(),
            from: change.from.to_string(),
            to: change.to.to_string(),
        };
        Self { kind: room.tenancy.kind.to_string(), changes: changes.into_iter().map(shown).collect() }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKind {
    pub kind: String,
}

/// When files that match change, a skill runs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rule {
    pub id: String,
    pub name: String,
    /// Paths from the workspace's root; `*` stays within a folder, `**` crosses them.
    pub globs: Vec<String>,
    pub skill: String,
    pub enabled: bool,
    /// The names of the secrets that its steps are given.
    pub secrets: Vec<String>,
}

impl From<rule::Rule> for Rule {
    fn from(rule: rule::Rule) -> Self {
        let rule::Rule { id, name, globs, skill, enabled, secrets, .. } = rule;
        let secrets = secrets.iter().map(ToString::to_string).collect();
        Self { id: id.to_string(), name, globs, skill, enabled, secrets }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeKind {
    Folder,
    /// UTF-8 text of at most 1 MiB, edited through its document `<room>/file:<id>`.
    Text,
    /// Not UTF-8. It can be downloaded.
    Binary,
    /// Larger than 1 MiB. It can be downloaded.
    Large,
}

/// A file or folder of a room.
#[derive(Serialize, ToSchema)]
pub(crate) struct Node {
    pub id: String,
    /// `null` is the workspace's root.
    pub parent: Option<String>,
    pub name: String,
    pub kind: NodeKind,
    /// Bytes, for `binary` and `large`; 0 otherwise.
    pub size: u64,
    /// Rises with each change; name it in a command to learn of a conflict instead of overwriting.
    pub rev: u64,
    /// For `binary` and `large`: the SHA-256 of the bytes that the room keeps beside the workspace, in hexadecimal; absent until the file was
    /// left alone for some seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
    /// For `binary` and `large`: the room has no space to keep it, so it is in the workspace alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unkept: bool,
}

impl From<tree::Node> for Node {
    fn from(node: tree::Node) -> Self {
        Self {
            id: node.id.to_string(),
            parent: node.parent.map(|id| id.to_string()),
            name: node.name,
            kind: match node.kind {
                tree::NodeKind::Folder => NodeKind::Folder,
                tree::NodeKind::Text => NodeKind::Text,
                tree::NodeKind::Binary => NodeKind::Binary,
                tree::NodeKind::Large => NodeKind::Large,
            },
            size: node.size,
            rev: node.rev,
            blob: node.blob.map(|hash| hash.to_string()),
            unkept: node.unkept,
        }
    }
}

/// What of a workspace is in the sandbox alone.
#[derive(Serialize, ToSchema)]
pub(crate) struct Unshared {
    pub files: Vec<UnsharedFile>,
    /// How many there are besides.
    pub more: u64,
}

/// A file or folder of a workspace that is no node.
#[derive(Serialize, ToSchema)]
pub(crate) struct UnsharedFile {
    /// From the workspace's root.
    pub path: String,
    pub folder: bool,
    /// Bytes; 0 of a folder.
    pub size: u64,
}

impl From<ports::Unshared> for UnsharedFile {
    fn from(file: ports::Unshared) -> Self {
        Self { path: file.path, folder: file.is_folder, size: file.size }
    }
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NewNodeKind {
    Folder,
    Text,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewNode {
    /// `null` or absent: the workspace's root.
    pub parent: Option<String>,
    pub name: String,
    pub kind: NewNodeKind,
    /// Initial content of a `text` node, at most 1 MiB.
    pub text: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeChange {
    pub name: Option<String>,
    /// The new folder; `null` is the root; absent leaves it where it is.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<Option<String>>,
    /// The revision the caller saw.
    pub rev: Option<u64>,
}

/// Tells `null` from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRun {
    /// The rule to run; the room's first if absent.
    pub rule: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunState {
    Queued,
    Running,
    Passed,
    Failed,
    Cancelled,
    Interrupted,
    Error,
    Superseded,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trigger {
    /// A rule fired because text changed.
    Text,
    /// Somebody pressed "Run now".
    Intent,
    /// The room got a new sandbox, which its `devcontainer.json` says how to set up.
    Sandbox,
}

/// One execution of a rule's plan.
#[derive(Serialize, ToSchema)]
pub(crate) struct Run {
    pub id: String,
    pub rule: String,
    pub rule_name: String,
    pub skill: String,
    pub trigger: Trigger,
    pub state: RunState,
    pub command: Option<String>,
    pub requested_by: String,
    pub requested_by_name: String,
    pub queued_at: i64,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    pub exit_code: Option<i32>,
    /// A sentence: why it ended as it did, what to do.
    pub message: Option<String>,
    /// SHA-256 over the paths and contents that were run, in hexadecimal.
    pub content_hash: Option<String>,
    /// The id of the image that it ran in, such as `sha256:...`; known once it has ended.
    pub image: Option<String>,
    pub rev: u64,
}

impl From<RunSummary> for Run {
    fn from(run: RunSummary) -> Self {
        Self {
            id: run.id.to_string(),
            rule: run.rule.to_string(),
            rule_name: run.rule_name,
            skill: run.skill,
            trigger: match run.trigger {
                PlanTrigger::Text => Trigger::Text,
                PlanTrigger::Intent => Trigger::Intent,
                PlanTrigger::Sandbox => Trigger::Sandbox,
            },
            state: match run.state {
                PlanRunState::Queued => RunState::Queued,
                PlanRunState::Running => RunState::Running,
                PlanRunState::Passed => RunState::Passed,
                PlanRunState::Failed => RunState::Failed,
                PlanRunState::Cancelled => RunState::Cancelled,
                PlanRunState::Interrupted => RunState::Interrupted,
                PlanRunState::Error => RunState::Error,
                PlanRunState::Superseded => RunState::Superseded,
            },
            command: run.command,
            requested_by: run.requested_by.to_string(),
            requested_by_name: run.requested_by_name,
            queued_at: run.queued_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            exit_code: run.exit_code,
            message: run.message,
            content_hash: run.content_hash,
            image: run.image,
            rev: run.rev,
        }
    }
}

/// Why a request was refused.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// Stable, for programs.
    pub code: String,
    /// A sentence for people that says what to do.
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
