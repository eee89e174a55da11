//! Writes a room's archive, piece by piece.

use buildspaces_crdt::DocumentName;
use buildspaces_crdt::names::Kind;
use buildspaces_kernel::ids::{PrincipalId, RoomId};
use buildspaces_policy::Principal;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use tokio::sync::mpsc;

use super::format::{self, DocumentHead, FORMAT, FORMAT_WITHOUT_BLOBS, File, Head, Manifest, Version};
use super::{Error, broken};
use crate::ports::About;
use crate::{BlobHash, Rooms};

/// Bytes after which a part of a log is full. Its last record may go past it.
pub(super) const PART: usize = 4 << 20;

/// Documents that are looked up at a time.
const LIST: usize = 500;

/// Sends a room's archive to `out`. What is typed meanwhile may or may not be in it; each document is whole.
pub async fn export(rooms: &Rooms, room: &RoomId, out: mpsc::Sender<Result<Bytes, Error>>) {
    let (manifest, max_file) = (Manifest::default(), super::max_file(rooms.max_document_bytes()));
    let mut writer = Writer { out: &out, max_file, manifest };
    let _turn = tokio::select! {
        () = out.closed() => return,
        turn = rooms.history().export_turn() => turn,
    };
    // An archive has one log from its beginning to its end.
    let _held = rooms.history().hold(room).await;
    if let Err(error) = write(rooms, room, &mut writer).await {
        // An error means that nobody reads any more.
        let _ = out.send(Err(error)).await;
    }
}

async fn write(rooms: &Rooms, room: &RoomId, writer: &mut Writer<'_>) -> Result<(), Error> {
    let store = rooms.store();
    let record = store.room(room).await?.ok_or_else(|| crate::Error::NoSuchRoom(room.clone()))?;
    let documents = documents(rooms, room).await?;
    let mut nodes = store.nodes(room).await?;
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    let blobs: BTreeSet<BlobHash> = nodes.iter().filter_map(|node| node.blob).collect();
    writer.manifest.format = if blobs.is_empty() { FORMAT_WITHOUT_BLOBS } else { FORMAT };
    let principals = principals(rooms, &record.created_by, &documents).await?;
    let head = Head {
        format: writer.manifest.format,
        room: room.clone(),
        title: record.title,
        template: record.template,
        created_at: record.created_at,
        created_by: record.created_by,
    };
    writer.json("room.json", &head).await?;
    writer.json("principals.json", &principals).await?;
    writer.json("tree.json", &nodes).await?;
    for about in documents {
        writer.manifest.documents += 1;
        let folder = format!("documents/{}", writer.manifest.documents);
        let versions = store.named_versions(&about.document).await?;
        let version = |version: crate::ports::NamedVersion| {
            let crate::ports::NamedVersion { seq, name, by, at } = version;
            Version { seq, name, by, at }
        };
        let versions = versions.into_iter().filter(|version| version.seq <= about.seq).map(version).collect();
        let head = DocumentHead { name: about.document.to_string(), seq: about.seq, versions };
        writer.json(&format!("{folder}/document.json"), &head).await?;
        log(rooms, &about, &folder, writer).await?;
    }
    for hash in &blobs {
        blob(rooms, hash, writer).await?;
    }
    let manifest = std::mem::take(&mut writer.manifest);
    writer.json("manifest.json", &manifest).await?;
    // Two empty blocks end a tar.
    writer.send(Bytes::from_static(&[0; 2 * format::BLOCK])).await
}

/// Texts and the tree's projection, by name. Runs stay where they ran.
async fn documents(rooms: &Rooms, room: &RoomId) -> Result<Vec<About>, Error> {
    let prefix = format!("{room}/");
    let mut found: Vec<About> = Vec::new();
    let mut after = String::new();
    loop {
        let page = rooms.store().list(&prefix, &after, false, LIST).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.document.to_string();
        let kept =
            |about: &About| matches!(about.document.kind(), Kind::File { .. } | Kind::Tree { .. }) && about.seq > 0;
        found.extend(page.into_iter().filter(kept));
    }
}

/// Everybody who did something, as far as known.
async fn principals(rooms: &Rooms, host: &PrincipalId, documents: &[About]) -> Result<Vec<Principal>, Error> {
    let mut ids: BTreeSet<PrincipalId> = BTreeSet::from([host.clone()]);
    for about in documents {
        ids.extend(authors(rooms, about).await?);
    }
    Ok(rooms.history().principals(ids.into_iter().collect()).await?)
}

async fn authors(rooms: &Rooms, about: &About) -> Result<BTreeSet<PrincipalId>, Error> {
    const AT_ONCE: usize = 10_000;
    let named = rooms.store().named_versions(&about.document).await?;
    let mut ids: BTreeSet<PrincipalId> = named.into_iter().map(|version| version.by).collect();
    let (mut after, mut merged) = (0, None);
    while after < about.seq {
        let page = rooms.store().entries(&about.document, after, AT_ONCE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for entry in page.into_iter().take_while(|entry| entry.seq <= about.seq) {
            if entry.first != entry.seq {
                let (first, _) = merged.unwrap_or((entry.first, entry.seq));
                merged = Some((first, entry.seq));
            }
            ids.insert(entry.by);
        }
    }
    // Whose part is what is known of records alone, so those are read, where any are merged.
    let Some((first, last)) = merged else { return Ok(ids) };
    let mut after = first - 1;
    while after < last {
        let page = rooms.store().records(&about.document, after).await?;
        let Some(end) = page.last() else { break };
        after = end.seq;
        ids.extend(page.into_iter().flat_map(|record| record.shares).map(|share| share.by));
    }
    Ok(ids)
}

/// A document's records, in parts. Where a part ends depends on the records alone.
async fn log(rooms: &Rooms, about: &About, folder: &str, writer: &mut Writer<'_>) -> Result<(), Error> {
    let (mut part, mut parts, mut after) = (Vec::new(), 0, 0);
    while after < about.seq {
        let page = rooms.store().records(&about.document, after).await?;
        if page.is_empty() {
            return Err(broken(format!("the log of {} ends too early", about.document)));
        }
        for record in page {
            if after == about.seq {
                break;
            }
            if record.first != after + 1 || record.seq > about.seq {
                return Err(broken(format!("update {} of {} is merged with others now", after + 1, about.document)));
            }
            after = record.seq;
            writer.manifest.records += 1;
            format::put_record(&mut part, &record);
            if part.len() >= PART {
                parts += 1;
                writer.file(&format!("{folder}/{parts}.log"), std::mem::take(&mut part).into()).await?;
            }
        }
    }
    if !part.is_empty() {
        writer.file(&format!("{folder}/{}.log", parts + 1), part.into()).await?;
    }
    Ok(())
}

/// A file's bytes, in parts.
async fn blob(rooms: &Rooms, hash: &BlobHash, writer: &mut Writer<'_>) -> Result<(), Error> {
    let (mut part, mut parts, mut at) = (Vec::new(), 0, 0);
    loop {
        let piece = rooms.store().blob_piece(hash, at).await?;
        if part.len() >= PART || (piece.is_empty() && !part.is_empty()) {
            parts += 1;
            writer.file(&format!("blobs/{hash}/{parts}.part"), std::mem::take(&mut part).into()).await?;
        }
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        part.extend_from_slice(&piece);
    }
    if rooms.store().has_blob(hash).await? {
        return Ok(());
    }
    Err(broken("a file changed while it was written; export the room once more"))
}

struct Writer<'o> {
    out: &'o mpsc::Sender<Result<Bytes, Error>>,
    max_file: u64,
    manifest: Manifest,
}

impl Writer<'_> {
    async fn json(&mut self, path: &str, value: &impl serde::Serialize) -> Result<(), Error> {
        let bytes = serde_json::to_vec_pretty(value).map_err(|error| broken(error.to_string()))?;
        self.file(path, bytes.into()).await
    }

    async fn file(&mut self, path: &str, bytes: Bytes) -> Result<(), Error> {
        let size = bytes.len() as u64;
        if size > self.max_file {
            return Err(broken(format!("{path} would be larger than {} bytes; raise max_document_mib", self.max_file)));
        }
        let sha256 = hex(&Sha256::digest(&bytes));
        self.manifest.files.push(File { path: path.to_owned(), size, sha256 });
        let header = format::header(path, size).map_err(|_| broken(format!("{path} is too long a path")))?;
        self.send(Bytes::copy_from_slice(&header)).await?;
        self.send(bytes).await?;
        self.send(Bytes::from(vec![0; format::padding(size)])).await
    }

    async fn send(&self, piece: Bytes) -> Result<(), Error> {
        if piece.is_empty() {
            return Ok(());
        }
        self.out.send(Ok(piece)).await.map_err(|_| Error::Abandoned)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The tree's document and a room's files can be in an archive.
pub(super) fn is_of(room: &RoomId, document: &DocumentName) -> bool {
    match document.kind() {
        Kind::File { room: of, .. } | Kind::Tree { room: of } => of == room.as_str(),
        Kind::Runs { .. } | Kind::Plain => false,
    }
}
