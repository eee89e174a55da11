//! Git in JSON: what REST takes and answers.

use buildspaces_plans::git;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RepositoryState {
    None,
    Cloning,
    Failed,
    Ready,
}

/// What of git a room has, and how its files differ from the last commit.
#[derive(Serialize, ToSchema)]
pub(crate) struct Repository {
    pub state: RepositoryState,
    /// Where it is being fetched from, or could not be.
    pub url: Option<String>,
    /// A sentence: why it could not.
    pub message: Option<String>,
    /// `null` where a commit is looked at that is no branch's.
    pub branch: Option<String>,
    /// The last commit; `null` before the first.
    pub head: Option<String>,
    pub upstream: Option<Upstream>,
    pub changes: Vec<Change>,
    /// There are more changes.
    pub truncated: bool,
}

/// The branch elsewhere that this one follows.
#[derive(Serialize, ToSchema)]
pub(crate) struct Upstream {
    pub name: String,
    /// Commits that it lacks; `null` if it is gone.
    pub ahead: Option<u32>,
    /// Commits that are lacking here.
    pub behind: Option<u32>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeKind {
    Added,
    Modified,
    Deleted,
    Renamed,
    Untracked,
    Conflicted,
}

/// A file that differs from the last commit.
#[derive(Serialize, ToSchema)]
pub(crate) struct Change {
    /// From the workspace's root.
    pub path: String,
    /// What it was called.
    pub from: Option<String>,
    pub kind: ChangeKind,
    /// Something of it is in the index, by somebody in a terminal. A commit takes the file as it is, whatever the index has.
    pub staged: bool,
}

/// Where a repository is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    /// Begins with `https://`. Its host must be in `sandbox.egress`.
    pub url: String,
    /// The branch to begin with; the repository's own if left out.
    pub branch: Option<String>,
}

/// How to begin with git.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRepository {
    /// What to fetch into a room without files. If left out, an empty repository begins with the files there are.
    pub repository: Option<Origin>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCommit {
    pub message: String,
    /// Paths of changes; all if left out.
    pub paths: Option<Vec<String>>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Commit {
    pub id: String,
    pub parents: Vec<String>,
    pub author: String,
    pub email: String,
    pub at: i64,
    /// The first line of its message.
    pub subject: String,
    /// `Name <address>` of everybody else whose edits are in it, as its message says.
    pub co_authors: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Commits {
    /// Newest first.
    pub commits: Vec<Commit>,
    /// How many to skip for the next ones; `null` if there are no more.
    pub next: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Branch {
    pub name: String,
    pub current: bool,
    pub upstream: Option<String>,
    /// When its last commit was made.
    pub at: i64,
    /// The first line of its last commit's message.
    pub subject: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BranchName {
    pub name: String,
}

/// A difference as git shows it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Patch {
    pub patch: String,
    /// The end is missing.
    pub truncated: bool,
}

impl From<git::Repository> for Repository {
    fn from(repository: git::Repository) -> Self {
        let empty = |state| Self {
            state,
            url: None,
            message: None,
            branch: None,
            head: None,
            upstream: None,
            changes: Vec::new(),
            truncated: false,
        };
        match repository {
            git::Repository::None => empty(RepositoryState::None),
            git::Repository::Cloning { url } => Self { url: Some(url), ..empty(RepositoryState::Cloning) },
            git::Repository::NotCloned { url, message } => {
                Self { url: Some(url), message: Some(message), ..empty(RepositoryState::Failed) }
            }
            git::Repository::Ready(status) => Self {
                branch: status.branch,
                head: status.head,
                upstream: status.upstream.map(|git::Upstream { name, ahead, behind }| Upstream { name, ahead, behind }),
                changes: status.changes.into_iter().map(Change::from).collect(),
                truncated: status.truncated,
                ..empty(RepositoryState::Ready)
            },
        }
    }
}

impl From<git::Change> for Change {
    fn from(change: git::Change) -> Self {
        use git::ChangeKind as K;
        let kind = match change.kind {
            K::Added => ChangeKind::Added,
            K::Modified => ChangeKind::Modified,
            K::Deleted => ChangeKind::Deleted,
            K::Renamed => ChangeKind::Renamed,
            K::Untracked => ChangeKind::Untracked,
            K::Conflicted => ChangeKind::Conflicted,
        };
        Self { path: change.path, from: change.from, kind, staged: change.staged }
    }
}

impl From<git::Commit> for Commit {
    fn from(commit: git::Commit) -> Self {
        let git::Commit { id, parents, author, email, at, subject, co_authors } = commit;
        Self { id, parents, author, email, at, subject, co_authors }
    }
}

impl From<git::Branch> for Branch {
    fn from(branch: git::Branch) -> Self {
        let git::Branch { name, current, upstream, at, subject } = branch;
        Self { name, current, upstream, at, subject }
    }
}

impl From<git::Patch> for Patch {
    fn from(patch: git::Patch) -> Self {
        Self { patch: patch.text, truncated: patch.truncated }
    }
}
