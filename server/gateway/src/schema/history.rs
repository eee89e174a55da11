//! The shapes of documents and their past.

use buildspaces_policy::{Principal, PrincipalKind};
use buildspaces_rooms::history::{self, Versions as PastVersions};
use buildspaces_rooms::ports::About;
use buildspaces_rooms::presence;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A document, without its content.
#[derive(Serialize, ToSchema)]
pub(crate) struct DocumentInfo {
    pub name: String,
    /// Rises when a deleted document's name is used again: what a client kept of an older epoch is of another document.
    pub epoch: u64,
    /// Number of the last update.
    pub seq: u64,
    /// When it was stored.
    pub changed_at: Option<i64>,
}

impl From<About> for DocumentInfo {
    fn from(about: About) -> Self {
        Self { name: about.document.to_string(), epoch: about.epoch, seq: about.seq, changed_at: about.changed_at }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Documents {
    pub documents: Vec<DocumentInfo>,
    /// To go on, ask with this as `after`; `null` at the end.
    pub next: Option<String>,
}

/// What became of a document that was to be created.
#[derive(Serialize, ToSchema)]
pub(crate) struct Created {
    pub name: String,
    /// False if it had content already, which was left alone.
    pub created: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CopyTo {
    /// The name of the new document, which must not exist.
    pub to: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthorKind {
    Person,
    /// A program with a token of its own, such as a coding agent.
    Agent,
    /// What programs in the room's sandbox wrote into the workspace.
    FileSystem,
    /// The server itself.
    System,
}

/// Somebody or something that changed a document.
#[derive(Serialize, ToSchema)]
pub(crate) struct Author {
    pub id: String,
    pub name: String,
    /// `#rrggbb`, the same everywhere.
    pub color: String,
    pub kind: AuthorKind,
}

impl From<Principal> for Author {
    fn from(principal: Principal) -> Self {
        Self {
            id: principal.id.to_string(),
            name: principal.name.to_string(),
            color: presence::color(&principal.id).to_owned(),
            kind: match principal.kind {
                PrincipalKind::Person => AuthorKind::Person,
                PrincipalKind::Agent => AuthorKind::Agent,
                PrincipalKind::FileSystem => AuthorKind::FileSystem,
                PrincipalKind::System => AuthorKind::System,
            },
        }
    }
}

pub(crate) fn authors(principals: Vec<Principal>) -> Vec<Author> {
    principals.into_iter().map(Author::from).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VersionKind {
    /// Somebody gave it a name.
    Named,
    /// A run of edits without a long pause.
    Session,
}

/// A version of a document: what it was after update `seq`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Version {
    pub seq: u64,
    pub kind: VersionKind,
    pub name: Option<String>,
    /// When it was named, or when the session ended.
    pub at: i64,
    /// Ids of who named it, or who took part in the session.
    pub authors: Vec<String>,
    /// Number of the session's first update.
    pub first: Option<u64>,
    /// When the session began.
    pub from: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Versions {
    pub epoch: u64,
    /// Number of the last update.
    pub seq: u64,
    /// Newest first.
    pub versions: Vec<Version>,
    pub authors: Vec<Author>,
}

impl Versions {
    /// The newest `limit` versions below `before`.
    pub(crate) fn page(past: PastVersions, before: u64, limit: usize) -> Self {
        let named = past.named.into_iter().map(|version| Version {
            seq: version.seq,
            kind: VersionKind::Named,
            name: Some(version.name),
            at: version.at,
            authors: vec![version.by.to_string()],
            first: None,
            from: None,
        });
        let sessions = past.sessions.into_iter().map(|session| Version {
            seq: session.seq,
            kind: VersionKind::Session,
            name: None,
            at: session.to,
            authors: session.authors.iter().map(ToString::to_string).collect(),
            first: Some(session.first),
            from: Some(session.from),
        });
        let mut versions: Vec<Version> = named.chain(sessions).filter(|version| version.seq < before).collect();
        versions.sort_by_key(|version| (std::cmp::Reverse(version.seq), version.kind == VersionKind::Session));
        versions.truncate(limit);
        let mentioned: std::collections::HashSet<&str> =
            versions.iter().flat_map(|version| version.authors.iter().map(String::as_str)).collect();
        let authors =
            past.authors.into_iter().filter(|author| mentioned.contains(author.id.as_str())).map(Author::from);
        let authors = authors.collect();
        Self { epoch: past.about.epoch, seq: past.about.seq, versions, authors }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewVersion {
    /// 1 to 120 characters.
    pub name: String,
}

/// A version that was named.
#[derive(Serialize, ToSchema)]
pub(crate) struct NamedVersion {
    pub seq: u64,
    pub name: String,
    pub at: i64,
}

/// A piece of text and who did it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Piece {
    pub text: String,
    /// Id of the author; `null` if the log does not say.
    pub by: Option<String>,
    pub at: Option<i64>,
    /// The update that did it.
    pub seq: Option<u64>,
}

impl From<history::Piece> for Piece {
    fn from(piece: history::Piece) -> Self {
        let by = piece.by.as_ref();
        Self {
            text: piece.text,
            by: by.map(|author| author.by.to_string()),
            at: by.map(|author| author.at),
            seq: by.map(|author| author.seq),
        }
    }
}

/// One place in which two versions differ. Offsets count UTF-16 units.
#[derive(Serialize, ToSchema)]
pub(crate) struct Hunk {
    /// Where it begins in the version `from`.
    pub from: u64,
    /// Where it begins in the version `to`.
    pub to: u64,
    /// What is gone, by who deleted it.
    pub removed: Vec<Piece>,
    /// What came, by who wrote it.
    pub inserted: Vec<Piece>,
}

impl From<history::Hunk> for Hunk {
    fn from(hunk: history::Hunk) -> Self {
        Self {
            from: hunk.from,
            to: hunk.to,
            removed: hunk.removed.into_iter().map(Piece::from).collect(),
            inserted: hunk.inserted.into_iter().map(Piece::from).collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Difference {
    pub from: u64,
    pub to: u64,
    pub hunks: Vec<Hunk>,
    pub authors: Vec<Author>,
}

/// A stretch of text that one author wrote at about one time.
#[derive(Serialize, ToSchema)]
pub(crate) struct BlameRange {
    /// In UTF-16 units from the text's beginning.
    pub offset: u64,
    pub text: String,
    /// Id of who sent it to the server.
    pub by: Option<String>,
    pub at: Option<i64>,
    pub seq: Option<u64>,
    /// Id of whose client it was written with, if that is somebody else: it was relayed, or is not what it says.
    pub client_of: Option<String>,
}

impl From<history::Blame> for BlameRange {
    fn from(blame: history::Blame) -> Self {
        let by = blame.by.as_ref();
        Self {
            offset: blame.at,
            text: blame.text,
            by: by.map(|author| author.by.to_string()),
            at: by.map(|author| author.at),
            seq: by.map(|author| author.seq),
            client_of: blame.client_of.map(|id| id.to_string()),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Blamed {
    pub seq: u64,
    pub ranges: Vec<BlameRange>,
    pub authors: Vec<Author>,
}

/// A Yjs client and who used it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Client {
    pub client: u64,
    /// Id of the author.
    pub by: String,
    pub at: i64,
    /// The first update with something of it.
    pub seq: u64,
}

impl From<(u64, history::Author)> for Client {
    fn from((client, author): (u64, history::Author)) -> Self {
        Self { client, by: author.by.to_string(), at: author.at, seq: author.seq }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Clients {
    pub clients: Vec<Client>,
    pub authors: Vec<Author>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreTo {
    /// The version whose text is wanted back.
    pub seq: u64,
}
