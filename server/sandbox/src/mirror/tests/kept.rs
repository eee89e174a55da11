//! Files that are no documents, and what the store keeps of them.

use super::*;

#[test]
fn the_bytes_of_files_that_are_no_documents_outlive_the_workspace() {
    let mut bench = Bench::new();
    let large = [vec![b'l'; usize::try_from(MAX_TEXT_BYTES).expect("fits")], b"arge".to_vec()].concat();
    fs::create_dir(bench.path("data")).expect("makes");
    fs::write(bench.path("data/large"), &large).expect("writes");
    fs::write(bench.path("data/binary"), [b'a', 0, b'b']).expect("writes");
    fs::write(bench.path("data/empty"), "").expect("writes");
    bench.settle();
    assert_eq!(bench.blob("data/large"), None, "nobody kept it yet");
    bench.keep();
    assert_eq!(bench.blob("data/large"), Some(BlobHash::of(&large)));
    assert_eq!(bench.blob("data/binary"), Some(BlobHash::of(&[b'a', 0, b'b'])));
    assert_eq!(bench.blob("data/empty"), None, "it is a text");
    let id = bench.node("data/large").expect("known").id;
    bench.lose_workspace();
    fs::write(bench.path("data"), "in the way").expect("writes");
    bench.settle();
    assert_eq!(fs::read(bench.path("data/large")).expect("reads"), large);
    assert_eq!(fs::read(bench.path("data/binary")).expect("reads"), [b'a', 0, b'b']);
    assert_eq!(bench.node("data/large").map(|node| node.id), Some(id));
    assert_eq!(bench.text("data.from-disk"), "in the way");
    assert_eq!(fs::read_dir(bench.folder.path().join("tmp")).expect("lists").count(), 0);
    // What is kept is what it was when it was left alone last, and goes with the file.
    fs::write(bench.path("data/binary"), [0, 1]).expect("writes");
    bench.settle();
    assert_eq!(bench.blob("data/binary"), Some(BlobHash::of(&[b'a', 0, b'b'])));
    bench.keep();
    assert_eq!(bench.blob("data/binary"), Some(BlobHash::of(&[0, 1])));
    fs::write(bench.path("data/large"), "now a text").expect("writes");
    bench.settle();
    bench.delete("data/binary");
    bench.settle();
    assert!(!bench.path("data/binary").exists());
    assert_eq!(bench.room.act(|world| world.blobs.len()), 0);
}

#[test]
fn a_file_that_somebody_made_where_another_is_kept_stands_beside_it() {
    let mut bench = Bench::new();
    fs::write(bench.path("a.bin"), [0, 1]).expect("writes");
    bench.settle();
    bench.keep();
    bench.lose_workspace();
    fs::write(bench.path("a.bin"), [0, 2]).expect("writes");
    bench.settle();
    assert_eq!(fs::read(bench.path("a.bin")).expect("reads"), [0, 1]);
    assert_eq!(fs::read(bench.path("a.bin.from-disk")).expect("reads"), [0, 2]);
    // After the machine was down, a file that is not there is made again, and one that is stays.
    fs::remove_file(bench.path("a.bin")).expect("removes");
    fs::write(bench.path("a.bin.from-disk"), [0, 3]).expect("writes");
    bench.core = open(&bench.folder, "another boot", &bench.room).expect("opens");
    bench.settle();
    assert_eq!(fs::read(bench.path("a.bin")).expect("reads"), [0, 1]);
    assert_eq!(fs::read(bench.path("a.bin.from-disk")).expect("reads"), [0, 3]);
    assert_eq!(bench.names(), ["a.bin", "a.bin.from-disk"]);
}

#[test]
fn a_room_keeps_no_more_than_it_may_and_says_of_which_file_it_keeps_nothing() {
    let mut bench = Bench::new();
    bench.room.act(|world| world.max_kept = 10);
    fs::write(bench.path("a"), [0; 6]).expect("writes");
    bench.settle();
    bench.keep();
    fs::write(bench.path("b"), [1, 0, 0, 0, 0]).expect("writes");
    bench.settle();
    bench.keep();
    let kept = |bench: &Bench, path: &str| bench.node(path).map(|node| (node.blob.is_some(), node.unkept));
    assert_eq!((kept(&bench, "a"), kept(&bench, "b")), (Some((true, false)), Some((false, true))));
    bench.delete("a");
    bench.settle();
    bench.keep();
    assert_eq!(kept(&bench, "b"), Some((true, false)), "there is space now");
    fs::write(bench.path("b"), [0; 11]).expect("writes");
    bench.settle();
    bench.keep();
    assert_eq!(kept(&bench, "b"), Some((false, true)), "what it was is of no use to anybody");
    assert_eq!(bench.room.act(|world| world.blobs.len()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_document_is_kept_once_it_was_left_alone() {
    let whole = Whole::new(&[]).await;
    let workspace = whole.workspace().await;
    fs::write(workspace.host_dir().join("a.bin"), [0, 1, 2]).expect("writes");
    let kept = async || whole.room.tree().at_path("a.bin").and_then(|node| node.blob);
    until("keeping it", async || kept().await == Some(BlobHash::of(&[0, 1, 2]))).await;
    let piece = whole.room.blobs().blob_piece(&BlobHash::of(&[0, 1, 2]), 0).await.expect("reads");
    assert_eq!(piece.as_ref(), [0, 1, 2]);
    whole.end().await;
}
