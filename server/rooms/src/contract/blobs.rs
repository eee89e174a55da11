//! What every [`BlobStore`] must do.

use buildspaces_kernel::ids::{NodeId, RoomId};
use buildspaces_policy::tenancy::Tenancy;
use bytes::Bytes;

use super::by;
use crate::BlobHash;
use crate::ports::{BlobStore, Draft, RoomRecord, Store, TreeChange};
use crate::tree::{Node, NodeKind};

pub(super) async fn run(store: &dyn Store) {
    a_blob_is_there_as_a_whole_or_not_at_all(store).await;
    a_blob_is_there_once_and_as_long_as_a_node_names_it(store).await;
    what_nobody_names_is_swept(store).await;
}

async fn draft(store: &dyn Store, pieces: &[&'static str]) -> Draft {
    let draft = store.begin_blob().await.expect("begins");
    let mut at = 0;
    for piece in pieces {
        store.append_blob(draft, at, Bytes::from_static(piece.as_bytes())).await.expect("appends");
        at += piece.len() as u64;
    }
    draft
}

async fn blob(store: &dyn Store, pieces: &[&'static str]) -> BlobHash {
    let hash = BlobHash::of(pieces.concat().as_bytes());
    let draft = draft(store, pieces).await;
    store.finish_blob(draft, &hash).await.expect("finishes");
    hash
}

async fn read(store: &dyn BlobStore, hash: &BlobHash) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let piece = store.blob_piece(hash, bytes.len() as u64).await.expect("reads");
        if piece.is_empty() {
            return bytes;
        }
        bytes.extend_from_slice(&piece);
    }
}

async fn room(store: &dyn Store) -> RoomId {
    let room = RoomRecord {
        id: RoomId::random(),
        title: "Blobs".to_owned(),
        template: "none".to_owned(),
        created_at: 5,
        created_by: by("ada"),
        tenancy: Tenancy::default(),
    };
    store.create_room(&room, TreeChange::default()).await.expect("creates");
    room.id
}

fn node(blob: Option<BlobHash>) -> Node {
    let (id, name) = (NodeId::random(), NodeId::random().to_string());
    Node { id, parent: None, name, kind: NodeKind::Binary, size: 6, rev: 1, blob, unkept: false }
}

async fn change(store: &dyn Store, room: &RoomId, changed: &[&Node], deleted: &[&Node]) {
    let deleted = deleted.iter().map(|node| node.id.clone()).collect();
    let changed = changed.iter().map(|node| (*node).clone()).collect();
    store
        .change_tree(room, &by("ada"), 6, TreeChange { changed, deleted, documents: Vec::new() })
        .await
        .expect("changes");
}

async fn a_blob_is_there_as_a_whole_or_not_at_all(store: &dyn Store) {
    let hash = BlobHash::of(b"in two pieces");
    let first = draft(store, &["in two", " pieces"]).await;
    assert!(!store.has_blob(&hash).await.expect("asks"));
    store.finish_blob(first, &hash).await.expect("finishes");
    assert!(store.has_blob(&hash).await.expect("asks"));
    assert_eq!(read(store, &hash).await, b"in two pieces");
    assert_eq!(store.blob_piece(&hash, 3).await.expect("reads"), "", "no piece begins there");
    let nothing = blob(store, &[]).await;
    assert!(store.has_blob(&nothing).await.expect("asks") && read(store, &nothing).await.is_empty());
    let gone = draft(store, &["gone"]).await;
    store.discard_draft(gone).await.expect("discards");
    assert!(store.append_blob(gone, 4, Bytes::from_static(b"more")).await.is_err());
}

async fn a_blob_is_there_once_and_as_long_as_a_node_names_it(store: &dyn Store) {
    let (one_room, other_room) = (room(store).await, room(store).await);
    let hash = blob(store, &["shared"]).await;
    assert_eq!(blob(store, &["sha", "red"]).await, hash, "the second changes nothing");
    assert_eq!(store.blob_piece(&hash, 0).await.expect("reads"), "shared");
    let (one, other) = (node(Some(hash)), node(Some(hash)));
    change(store, &one_room, &[&one], &[]).await;
    change(store, &other_room, &[&other], &[]).await;
    assert_eq!(store.nodes(&one_room).await.expect("nodes"), std::slice::from_ref(&one));
    store.release_blob(&hash).await.expect("asks");
    change(store, &one_room, &[], &[&one]).await;
    assert_eq!(read(store, &hash).await, b"shared");
    // The other file has other bytes from now on.
    let newer = blob(store, &["newer!"]).await;
    let changed = Node { blob: Some(newer), ..other.clone() };
    change(store, &other_room, &[&changed], &[]).await;
    assert!(!store.has_blob(&hash).await.expect("asks"));
    // And then there is no space for them.
    let unkept = Node { blob: None, unkept: true, ..other };
    change(store, &other_room, &[&unkept], &[]).await;
    assert!(!store.has_blob(&newer).await.expect("asks"));
    assert_eq!(store.nodes(&other_room).await.expect("nodes"), [unkept]);
    let dangling = TreeChange { changed: vec![node(Some(hash))], ..TreeChange::default() };
    assert!(store.change_tree(&one_room, &by("ada"), 7, dangling).await.is_err(), "it is not there any more");
    assert_eq!(store.nodes(&one_room).await.expect("nodes"), []);
}

async fn what_nobody_names_is_swept(store: &dyn Store) {
    let room = room(store).await;
    let named = blob(store, &["named"]).await;
    change(store, &room, &[&node(Some(named))], &[]).await;
    let (left, released) = (blob(store, &["left"]).await, blob(store, &["released"]).await);
    store.release_blob(&released).await.expect("releases");
    assert!(!store.has_blob(&released).await.expect("asks") && store.has_blob(&left).await.expect("asks"));
    let draft = draft(store, &["left"]).await;
    store.sweep_blobs().await.expect("sweeps");
    assert!(!store.has_blob(&left).await.expect("asks"));
    assert!(store.append_blob(draft, 4, Bytes::from_static(b"more")).await.is_err());
    assert_eq!(read(store, &named).await, b"named");
}
