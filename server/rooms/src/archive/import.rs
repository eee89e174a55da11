//! Reads a room's archive, piece by piece, and trusts nothing in it.

mod blobs;

use std::collections::{BTreeMap, HashSet};

use buildspaces_crdt::names::Kind;
use buildspaces_crdt::replica::Applied;
use buildspaces_crdt::{DocumentName, Replica};
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{NodeId, RoomId};
use buildspaces_policy::Principal;
use buildspaces_policy::tenancy::Tenancy;
use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use self::blobs::Blobs;
use super::export::{hex, is_of};
use super::format::{self, BLOCK, DocumentHead, FORMAT, FORMAT_WITHOUT_BLOBS, File, Head, Manifest};
use super::{Error, MAX_ARCHIVE, broken, max_file};
use crate::actor::{is_worth_a_state, weight};
use crate::history::{MAX_NAMED_VERSIONS, MAX_VERSION_NAME_CHARS};
use crate::ports::{LogRecord, MAX_SEQ, NamedVersion, Range, RoomRecord, TreeChange};
use crate::tree::{self, MAX_NODES, Node, NodeKind, TreeView};
use crate::{BlobHash, Rooms};

/// Most principals that an archive may introduce.
const MAX_PRINCIPALS: usize = 100_000;

/// The largest number that an archive may bring: as many are left for what is written here.
const MAX_IMPORTED_SEQ: u64 = MAX_SEQ / 2;

/// Records that are stored together.
const RECORDS: usize = 2000;

/// Bytes of named versions' states that are stored together with the records before them.
const STATES: usize = 16 << 20;

/// An archive that is being read. Hand it the bytes with [`Import::push`] and end with [`Import::finish`]; if either fails, call
/// [`Import::abandon`].
pub struct Import {
    _turn: tokio::sync::OwnedSemaphorePermit,
    rooms: Rooms,
    tenancy: Tenancy,
    /// What came and was not read yet.
    waiting: BytesMut,
    total: u64,
    file: Option<(String, u64)>,
    files: Vec<File>,
    next: Next,
    head: Option<Head>,
    /// Those who are not known here.
    principals: Vec<Principal>,
    nodes: BTreeMap<NodeId, Node>,
    seen: HashSet<DocumentName>,
    document: Option<Document>,
    documents: u64,
    records: u64,
    blobs: Blobs,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Room,
    Principals,
    Tree,
    /// Another document, more of the present one, a blob, or the manifest.
    Documents,
    /// Another blob, more of the present one, or the manifest.
    Blobs,
    /// Nothing but empty blocks.
    End,
}

/// The document that is being read.
struct Document {
    name: DocumentName,
    head: DocumentHead,
    parts: u64,
    seq: u64,
    replica: Replica,
    size: Size,
    /// Weight of the log since a state was kept, and that state's size.
    behind: usize,
    kept: usize,
    /// Versions whose turn is to come, last first.
    versions: Vec<NamedVersion>,
}

/// How large a document is, about.
struct Size {
    /// What it may have, see [`crate::Config::max_document_bytes`].
    max: usize,
    bytes: usize,
    /// What came since it was counted.
    uncounted: usize,
}

impl Import {
    /// The room becomes one of `tenancy`: an archive may have been written by anybody. With [`crate::Error::Busy`] if another import is under
    /// way.
    pub fn begin(rooms: &Rooms, tenancy: Tenancy) -> Result<Self, Error> {
        Ok(Self {
            tenancy,
            _turn: rooms.history().begin_import()?,
            rooms: rooms.clone(),
            waiting: BytesMut::new(),
            total: 0,
            file: None,
            files: Vec::new(),
            next: Next::Room,
            head: None,
            principals: Vec::new(),
            nodes: BTreeMap::new(),
            seen: HashSet::new(),
            document: None,
            documents: 0,
            records: 0,
            blobs: Blobs::default(),
        })
    }

    /// Takes the next bytes of the archive.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.total += bytes.len() as u64;
        if self.total > MAX_ARCHIVE {
            return Err(broken(format!("it is larger than {MAX_ARCHIVE} bytes")));
        }
        self.waiting.extend_from_slice(bytes);
        loop {
            if let Some((path, size)) = &self.file {
                let (len, padded) = (*size as usize, *size as usize + format::padding(*size));
                if self.waiting.len() < padded {
                    return Ok(());
                }
                let path = path.clone();
                let mut content = self.waiting.split_to(padded).freeze();
                if content.split_off(len).iter().any(|byte| *byte != 0) {
                    return Err(broken("there is something between two files"));
                }
                self.file = None;
                self.take(&path, content).await?;
            } else {
                if self.waiting.len() < BLOCK {
                    return Ok(());
                }
                let block = self.waiting.split_to(BLOCK);
                let block: &[u8; BLOCK] = block.as_ref().try_into().expect("a block has this size");
                if self.next == Next::End {
                    if block.iter().any(|byte| *byte != 0) {
                        return Err(broken("something follows the manifest"));
                    }
                    continue;
                }
                let (path, size) = format::read_header(block)
                    .map_err(|_| broken("a file in it was not written by an export, or the archive is damaged"))?;
                let max = max_file(self.rooms.max_document_bytes());
                if size > max {
                    return Err(broken(format!("{path:?} is larger than {max} bytes")));
                }
                self.file = Some((path, size));
            }
        }
    }

    /// The archive has ended. Creates the room.
    pub async fn finish(&mut self) -> Result<RoomId, Error> {
        if self.next != Next::End || !self.waiting.is_empty() {
            return Err(broken("it ends too early"));
        }
        let head = self.head.as_ref().ok_or_else(|| broken("it ends too early"))?;
        let room = RoomRecord {
            id: head.room.clone(),
            title: head.title.clone(),
            template: head.template.clone(),
            created_at: head.created_at,
            created_by: head.created_by.clone(),
            tenancy: self.tenancy.clone(),
        };
        for principal in &self.principals {
            self.rooms.store().remember(principal, unix_millis()).await?;
        }
        // Of a file that was in a workspace alone there is nothing in an archive.
        let changed = self.nodes.values().cloned().map(|mut node| {
            node.blob = node.blob.filter(|hash| self.blobs.whole.contains(hash));
            node
        });
        let tree = TreeChange { changed: changed.collect(), ..TreeChange::default() };
        self.rooms.store().create_room(&room, tree).await?;
        if let Some(listener) = self.rooms.listener() {
            listener.room_created(&room, &Principal::system()).await;
        }
        Ok(room.id)
    }

    /// Removes what was stored so far of an archive that could not be read to its end. What cannot be removed now is at the next start, see
    /// [`discard_leftovers`].
    pub async fn abandon(&mut self) {
        for document in std::mem::take(&mut self.seen) {
            discard(&self.rooms, &document).await;
        }
        let rooms = self.rooms.clone();
        self.blobs.abandon(rooms.store().as_ref()).await;
    }

    async fn take(&mut self, path: &str, content: Bytes) -> Result<(), Error> {
        if path != "manifest.json" {
            let sha256 = hex(&Sha256::digest(&content));
            self.files.push(File { path: path.to_owned(), size: content.len() as u64, sha256 });
        }
        match (self.next, path) {
            (Next::Room, "room.json") => {
                self.head = Some(self.room(&content).await?);
                self.next = Next::Principals;
            }
            (Next::Principals, "principals.json") => {
                self.principals(&content).await?;
                self.next = Next::Tree;
            }
            (Next::Tree, "tree.json") => {
                self.nodes = nodes(json(&content, path)?)?;
                self.next = Next::Documents;
            }
            (Next::Documents | Next::Blobs, "manifest.json") => {
                self.end_document().await?;
                let rooms = self.rooms.clone();
                self.blobs.end(rooms.store().as_ref()).await?;
                let format = self.head.as_ref().map_or(FORMAT, |head| head.format);
                let files = std::mem::take(&mut self.files);
                let (documents, records) = (self.documents, self.records);
                if json::<Manifest>(&content, path)? != (Manifest { format, documents, records, files }) {
                    return Err(broken("its manifest names other contents"));
                }
                self.next = Next::End;
            }
            (Next::Documents | Next::Blobs, _) if path.starts_with("blobs/") => {
                self.end_document().await?;
                self.next = Next::Blobs;
                self.blob(path, content).await?;
            }
            (Next::Documents, _) if path == format!("documents/{}/document.json", self.documents + 1) => {
                self.end_document().await?;
                self.begin_document(json(&content, path)?).await?;
            }
            (Next::Documents, _) => {
                let expected = self
                    .document
                    .as_ref()
                    .map(|document| format!("documents/{}/{}.log", self.documents, document.parts + 1));
                if expected.as_deref() != Some(path) {
                    return Err(broken(format!("{path:?} does not belong here")));
                }
                self.log(content).await?;
            }
            _ => return Err(broken(format!("{path:?} does not belong here"))),
        }
        Ok(())
    }

    async fn blob(&mut self, path: &str, content: Bytes) -> Result<(), Error> {
        if self.head.as_ref().is_none_or(|head| head.format == FORMAT_WITHOUT_BLOBS) {
            return Err(broken(format!("{path:?} does not belong here")));
        }
        let (rooms, nodes) = (self.rooms.clone(), &self.nodes);
        let is_named = |hash: &BlobHash| nodes.values().any(|node| node.blob.as_ref() == Some(hash));
        self.blobs.take(rooms.store().as_ref(), path, content, is_named, rooms.max_kept_bytes()).await
    }

    async fn room(&self, content: &Bytes) -> Result<Head, Error> {
        let head: Head = json(content, "room.json")?;
        if !(FORMAT_WITHOUT_BLOBS..=FORMAT).contains(&head.format) {
            let message = format!("it has format {}, and this version reads up to {FORMAT}", head.format);
            return Err(broken(message));
        }
        if crate::rooms::check_title(&head.title).ok().as_deref() != Some(head.title.as_str())
            || head.template.len() > 64
        {
            return Err(broken("the room's title or template is not valid"));
        }
        if self.rooms.store().room(&head.room).await?.is_some() {
            return Err(Error::RoomExists(head.room));
        }
        Ok(head)
    }

    /// Finds those who are not known here. Nobody who is known becomes another.
    async fn principals(&mut self, content: &Bytes) -> Result<(), Error> {
        let principals: Vec<Principal> = json(content, "principals.json")?;
        if principals.len() > MAX_PRINCIPALS || principals.iter().any(|principal| principal.name.chars().count() > 200)
        {
            return Err(broken("too many principals, or too long a name"));
        }
        let ids = principals.iter().map(|principal| principal.id.clone()).collect();
        let known: HashSet<_> =
            self.rooms.history().principals(ids).await?.into_iter().map(|principal| principal.id).collect();
        self.principals = principals.into_iter().filter(|principal| !known.contains(&principal.id)).collect();
        Ok(())
    }

    async fn begin_document(&mut self, head: DocumentHead) -> Result<(), Error> {
        let room = &self.head.as_ref().expect("the room came first").room;
        let name = DocumentName::parse(&head.name).map_err(|error| broken(error.to_string()))?;
        let in_tree = match name.kind() {
            // A file that was deleted keeps its document and so its history.
            Kind::File { node, .. } => NodeId::parse(node).is_some(),
            _ => true,
        };
        if !is_of(room, &name) || !in_tree || self.seen.contains(&name) {
            return Err(broken(format!("{name} is not a document of this room, or is in it twice")));
        }
        if head.seq > MAX_IMPORTED_SEQ {
            return Err(broken(format!("nobody has written {} updates of {name}", head.seq)));
        }
        let valid = |name: &str| name.chars().count() <= MAX_VERSION_NAME_CHARS && !name.chars().any(char::is_control);
        let ascending = head.versions.windows(2).all(|pair| pair[0].seq < pair[1].seq);
        let versions = &head.versions;
        if versions.len() > MAX_NAMED_VERSIONS || !ascending || !versions.iter().all(|version| valid(&version.name)) {
            return Err(broken(format!("the versions of {name} are not valid")));
        }
        // What an import that was killed left behind; nobody can have opened it, because there was no room.
        self.rooms.store().discard(&name).await?;
        self.seen.insert(name.clone());
        self.documents += 1;
        let mut versions: Vec<NamedVersion> = head
            .versions
            .iter()
            .map(|version| NamedVersion {
                seq: version.seq,
                name: version.name.clone(),
                by: version.by.clone(),
                at: version.at,
            })
            .collect();
        versions.reverse();
        let size = Size { max: self.rooms.max_document_bytes(), bytes: 0, uncounted: 0 };
        let replica = Replica::new();
        self.document = Some(Document { name, head, parts: 0, seq: 0, replica, size, behind: 0, kept: 0, versions });
        Ok(())
    }

    async fn log(&mut self, mut content: Bytes) -> Result<(), Error> {
        let mut document = self.document.take().expect("the caller looked");
        document.parts += 1;
        while !content.is_empty() {
            let work = crate::history::blocking(move || document.read(content));
            let (read, records, versions, rest) = work.await??;
            (document, content) = (read, rest);
            self.records += records.len() as u64;
            self.rooms.store().append_records(&document.name, records).await?;
            for (version, state) in versions {
                if !self.rooms.store().name_version(&document.name, &version, state).await? {
                    return Err(broken(format!("version {} of {} is not kept", version.seq, document.name)));
                }
            }
        }
        self.document = Some(document);
        Ok(())
    }

    async fn end_document(&mut self) -> Result<(), Error> {
        let Some(document) = self.document.take() else { return Ok(()) };
        if document.seq != document.head.seq || !document.versions.is_empty() {
            return Err(broken(format!("the log of {} ends too early", document.name)));
        }
        // So that opening it does not read the whole log.
        let Document { name, seq, replica, .. } = document;
        let state = crate::history::blocking(move || replica.state()).await?;
        self.rooms.store().save_snapshot(&name, seq, state).await?;
        Ok(())
    }
}

async fn discard(rooms: &Rooms, document: &DocumentName) {
    if let Err(error) = rooms.store().discard(document).await {
        tracing::warn!(%document, %error, "a document of a failed import was left behind");
    }
}

/// Removes what imports left that ended with their process. Nothing happens while an import is under way.
pub async fn discard_leftovers(rooms: &Rooms) {
    let Ok(_turn) = rooms.history().begin_import() else { return };
    match rooms.store().orphans().await {
        Ok(orphans) => {
            for document in orphans {
                tracing::info!(%document, "removing what a failed import left");
                discard(rooms, &document).await;
            }
        }
        Err(error) => tracing::warn!(%error, "what failed imports left is not looked for now"),
    }
}

/// A document, records of it, versions they lead to, and the bytes that were not read yet.
type Batch = (Document, Vec<LogRecord>, Vec<(NamedVersion, Option<Bytes>)>, Bytes);

impl Document {
    /// Reads some records and lets each update through the gate.
    fn read(mut self, mut content: Bytes) -> Result<Batch, Error> {
        let (mut records, mut versions, mut states) = (Vec::new(), Vec::new(), 0);
        while !content.is_empty() && records.len() < RECORDS && states < STATES {
            let record = format::take_record(&mut content)
                .map_err(|_| broken(format!("a record of {} cannot be read", self.name)))?;
            if record.first != self.seq + 1 || !(record.first..=self.head.seq).contains(&record.seq) {
                return Err(broken(format!("update {} of {} is missing or there twice", self.seq + 1, self.name)));
            }
            if !shares_are_valid(&record) {
                return Err(broken(format!("the authors of update {} of {} are not valid", record.seq, self.name)));
            }
            if record.update.len() > self.size.max {
                return Err(self.too_large());
            }
            match self.replica.apply_whole(&record.update) {
                Ok(Applied::Changed | Applied::Nothing) => {}
                Ok(Applied::Missing) | Err(_) => {
                    return Err(broken(format!("update {} of {} is not valid", record.seq, self.name)));
                }
            }
            self.seq = record.seq;
            self.behind += weight(std::iter::once(record.update.len()));
            if !self.size.has_room_for(record.update.len(), &self.replica) {
                return Err(self.too_large());
            }
            if self.versions.last().is_some_and(|version| version.seq <= self.seq) {
                let version = self.versions.pop().expect("the last was there");
                if version.seq != self.seq {
                    return Err(broken(format!("version {} of {} is not kept", version.seq, self.name)));
                }
                let state = is_worth_a_state(self.behind, self.kept).then(|| Bytes::from(self.replica.state()));
                if let Some(state) = &state {
                    (self.behind, self.kept) = (0, state.len());
                    states += state.len();
                }
                versions.push((version, state));
            }
            records.push(record);
        }
        Ok((self, records, versions, content))
    }

    fn too_large(&self) -> Error {
        let mib = self.size.max >> 20;
        broken(format!(
            "{} is larger than a document may be here, which is {mib} MiB; raise that to import it",
            self.name
        ))
    }
}

impl Size {
    /// True if the document, which an update made `replica`, is not too large. It is counted only now and then, because that takes a while.
    fn has_room_for(&mut self, update: usize, replica: &Replica) -> bool {
        self.bytes += update;
        self.uncounted += update;
        if self.bytes > self.max && self.uncounted > self.max / 16 {
            (self.bytes, self.uncounted) = (replica.state().len(), 0);
            return self.bytes <= self.max;
        }
        true
    }
}

/// Merged updates say whose part is what, in numbers that clients and clocks can have.
fn shares_are_valid(record: &LogRecord) -> bool {
    const MAX_CLIENT: u64 = 1 << 53;
    const MAX_CLOCK: u64 = 1 << 31;
    let ranges = record.shares.iter().flat_map(|share| share.inserted.iter().chain(&share.deleted));
    let valid = |range: &Range| range.0 < MAX_CLIENT && range.1 < MAX_CLOCK && range.2 < MAX_CLOCK;
    record.shares.is_empty() == (record.first == record.seq) && ranges.into_iter().all(valid)
}

fn json<T: DeserializeOwned>(content: &Bytes, path: &str) -> Result<T, Error> {
    serde_json::from_slice(content).map_err(|error| broken(format!("{path}: {error}")))
}

/// The nodes, if they are a tree with names that a tree takes.
fn nodes(nodes: Vec<Node>) -> Result<BTreeMap<NodeId, Node>, Error> {
    if nodes.len() > MAX_NODES {
        return Err(broken("it has too many files"));
    }
    let count = nodes.len();
    // How much a room may keep is said here and not there.
    let taken = |node: Node| {
        let blob = node.blob.filter(|_| matches!(node.kind, NodeKind::Binary | NodeKind::Large));
        Node { blob, unkept: false, ..node }
    };
    let all: BTreeMap<NodeId, Node> = nodes.into_iter().map(|node| (node.id.clone(), taken(node))).collect();
    let view = tree::Tree::restore(all.values().cloned());
    let view: &TreeView = view.view();
    let mut places = HashSet::new();
    for node in all.values() {
        tree::check_name(&node.name).map_err(|error| broken(error.to_string()))?;
        let parent_is_folder = match &node.parent {
            None => true,
            Some(parent) => all.get(parent).is_some_and(|parent| parent.kind == NodeKind::Folder),
        };
        if !parent_is_folder
            || !places.insert((node.parent.clone(), node.name.to_lowercase()))
            || !view.is_rooted(&node.id)
        {
            return Err(broken(format!("{:?} has no place in the tree, or shares it", node.name)));
        }
    }
    if all.len() == count { Ok(all) } else { Err(broken("a file is in it twice")) }
}
