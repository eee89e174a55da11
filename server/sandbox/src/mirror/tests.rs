//! Hostile workspaces, and whole mirrors with real rooms, real files and the real watcher.

mod kept;
mod left_out;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildspaces_crdt::{Replica, text};
use buildspaces_kernel::ids::NodeId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::Principal;
use buildspaces_rooms::memory::MemoryStore;
use buildspaces_rooms::tree::{MAX_TEXT_BYTES, Node, NodeKind, TreeCommand};
use buildspaces_rooms::{BlobHash, NewRoom, RoomHandle, Rooms};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use tempfile::TempDir;

use super::core::{Core, Scope};
use super::memory::MemoryRoom;
use super::simulation::{folder, keep, open};
use super::{Config, Error, Mirrors, Workspace};
use crate::files::Files as _;
use buildspaces_policy::PrincipalKind;

/// A core over a room in memory, without a watcher: what is done is done when a call returns.
struct Bench {
    folder: TempDir,
    room: Arc<MemoryRoom>,
    core: Core,
}

impl Bench {
    fn new() -> Self {
        let folder = folder();
        let room = Arc::new(MemoryRoom::new(1, folder.path().join("workspace")));
        let core = open(&folder, "boot", &room).expect("opens");
        Self { folder, room, core }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("workspace").join(path)
    }

    fn settle(&mut self) {
        self.core.settle(Scope::Everything).expect("settles");
    }

    fn create(&self, parent: Option<&NodeId>, name: &str, text: Option<&str>) -> NodeId {
        self.room.act(|world| world.create(parent, name, text)).expect("the tree takes it")
    }

    fn node(&self, path: &str) -> Option<Node> {
        self.room.act(|world| world.tree.view().at_path(path).cloned())
    }

    fn text(&self, path: &str) -> String {
        let id = self.node(path).expect("it is in the tree").id;
        self.room.act(|world| world.text(&id))
    }

    fn blob(&self, path: &str) -> Option<BlobHash> {
        self.node(path).expect("it is in the tree").blob
    }

    fn keep(&self) {
        assert!(keep(&self.core, &self.room));
    }

    fn delete(&self, path: &str) {
        let id = self.node(path).expect("known").id;
        let command = TreeCommand::Delete { id, rev: None };
        self.room.act(|world| world.command(PrincipalKind::Person, command)).expect("deletes");
    }

    /// The folder is gone with all that the mirror noted beside it.
    fn lose_workspace(&mut self) {
        for lost in ["workspace", "mirror", "tmp"] {
            fs::remove_dir_all(self.folder.path().join(lost)).expect("it was there");
        }
        self.core = open(&self.folder, "boot", &self.room).expect("opens again");
    }

    fn names(&self) -> Vec<String> {
        self.room.act(|world| {
            let view = world.tree.view();
            let mut names: Vec<String> = view.nodes().filter_map(|node| view.path(&node.id)).collect();
            names.sort();
            names
        })
    }
}

#[test]
fn links_are_never_followed_and_never_shown() {
    let outside = folder();
    let secret = outside.path().join("secret");
    fs::write(&secret, "outside").expect("writes");
    let mut bench = Bench::new();
    let docs = bench.create(None, "docs", None);
    bench.create(Some(&docs), "a.txt", Some("inside"));
    bench.create(None, "b.txt", Some("inside"));
    bench.settle();
    fs::remove_dir_all(bench.path("docs")).expect("removes");
    symlink(outside.path(), bench.path("docs")).expect("links");
    fs::remove_file(bench.path("b.txt")).expect("removes");
    symlink(&secret, bench.path("b.txt")).expect("links");
    symlink("../../../../etc", bench.path("up")).expect("links");
    let typed = bench.node("docs/a.txt").expect("known").id;
    bench.room.act(|world| world.type_at(&typed, 0, "more "));
    bench.settle();
    assert_eq!(fs::read_to_string(&secret).expect("reads"), "outside");
    assert_eq!(fs::read_dir(outside.path()).expect("lists").count(), 1, "nothing was written outside");
    // The text that people went on editing has its folder back; the other file was replaced, so it is gone.
    assert_eq!(fs::read_to_string(bench.path("docs/a.txt")).expect("reads"), "more inside");
    assert_eq!(bench.names(), ["docs", "docs/a.txt"]);
    assert_eq!(bench.core.left_out.odd, 3);
}

#[test]
fn pipes_and_sockets_do_not_block() {
    let mut bench = Bench::new();
    bench.create(None, "a.txt", Some("text"));
    bench.settle();
    fs::remove_file(bench.path("a.txt")).expect("removes");
    for name in ["a.txt", "pipe"] {
        let mode = Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(CWD, bench.path(name), rustix::fs::FileType::Fifo, mode, 0).expect("makes");
    }
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("socket")).expect("binds");
    bench.settle();
    assert_eq!(bench.names(), [""; 0]);
    assert_eq!(bench.core.left_out.odd, 3);
}

#[test]
fn the_other_name_of_a_hard_link_keeps_its_bytes() {
    let mut bench = Bench::new();
    let outside = bench.folder.path().join("outside");
    fs::write(&outside, "linked").expect("writes");
    fs::hard_link(&outside, bench.path("a.txt")).expect("links");
    bench.settle();
    let id = bench.node("a.txt").expect("it is a file like any other").id;
    bench.room.act(|world| world.type_at(&id, 0, "un"));
    bench.settle();
    assert_eq!(fs::read_to_string(bench.path("a.txt")).expect("reads"), "unlinked");
    assert_eq!(fs::read_to_string(&outside).expect("reads"), "linked");
}

#[test]
fn large_and_binary_files_become_nodes_without_a_document() {
    let mut bench = Bench::new();
    let large = File::create(bench.path("large")).expect("creates");
    large.set_len(100 << 20).expect("sparse");
    fs::write(bench.path("binary"), [b'a', 0, b'b']).expect("writes");
    fs::write(bench.path("latin"), [b'a', 0xe9, b'b']).expect("writes");
    let started = Instant::now();
    bench.settle();
    assert!(started.elapsed() < Duration::from_secs(2), "the large file was not read");
    let kind = |name: &str| bench.node(name).map(|node| (node.kind, node.size));
    assert_eq!(kind("large"), Some((NodeKind::Large, 100 << 20)));
    assert_eq!(kind("binary"), Some((NodeKind::Binary, 3)));
    assert_eq!(kind("latin"), Some((NodeKind::Binary, 3)));
    large.set_len(10).expect("shrinks");
    large.write_all_at(b"short text", 0).expect("writes");
    fs::write(bench.path("binary"), "now a text").expect("writes");
    bench.settle();
    assert_eq!(bench.text("large"), "short text");
    assert_eq!(bench.text("binary"), "now a text");
    let id = bench.node("binary").expect("known").id;
    bench
        .room
        .act(|world| world.command(PrincipalKind::Person, TreeCommand::Delete { id, rev: None }))
        .expect("deletes");
    bench.settle();
    assert!(!bench.path("binary").exists());
}

#[test]
fn a_document_that_outgrows_the_limit_stays_a_text() {
    let mut bench = Bench::new();
    let id = bench.create(None, "a.txt", Some("small\n"));
    bench.settle();
    let long = "x".repeat(usize::try_from(MAX_TEXT_BYTES).expect("fits") + 10);
    bench.room.act(|world| world.type_at(&id, 0, &long));
    bench.settle();
    assert_eq!(fs::metadata(bench.path("a.txt")).expect("stat").len(), MAX_TEXT_BYTES + 16);
    fs::write(bench.path("a.txt"), format!("{long}small\nand more\n")).expect("writes");
    bench.settle();
    assert_eq!(bench.node("a.txt").map(|node| node.kind), Some(NodeKind::Text));
    assert!(bench.text("a.txt").ends_with("and more\n"));
}

#[test]
fn a_document_into_which_somebody_typed_a_nul_stays_a_text() {
    let mut bench = Bench::new();
    let id = bench.create(None, "a.txt", Some("small\n"));
    bench.settle();
    bench.room.act(|world| world.type_at(&id, 0, "a\0b"));
    bench.settle();
    bench.settle();
    assert_eq!(fs::read(bench.path("a.txt")).expect("reads"), b"a\0bsmall\n");
    fs::write(bench.path("a.txt"), b"a\0bsmall\nand more\n").expect("writes");
    bench.settle();
    assert_eq!(bench.node("a.txt").map(|node| node.kind), Some(NodeKind::Text));
    assert!(bench.text("a.txt").ends_with("and more\n"));
    fs::write(bench.path("a.txt"), [0xff, 0]).expect("writes");
    bench.settle();
    assert_eq!(bench.node("a.txt").map(|node| node.kind), Some(NodeKind::Binary));
}

#[test]
fn what_people_typed_into_a_new_text_outlives_a_crash_before_it_was_noted() {
    let mut bench = Bench::new();
    fs::write(bench.path("a.txt"), [0xff, 0]).expect("writes");
    bench.settle();
    let id = bench.node("a.txt").expect("it is in the tree").id;
    // The room was told that the file is a text now, somebody typed, and the mirror noted neither.
    fs::write(bench.path("a.txt"), "from a program").expect("writes");
    bench.room.act(|world| {
        let text = Some(String::new());
        let command = TreeCommand::Retype { id: id.clone(), kind: NodeKind::Text, size: 0, text };
        world.command(PrincipalKind::FileSystem, command).expect("the tree takes it");
        world.type_at(&id, 0, "from a person");
    });
    bench.core = open(&bench.folder, "boot", &bench.room).expect("opens again");
    bench.settle();
    assert_eq!(bench.text("a.txt"), "from a person");
    assert_eq!(fs::read_to_string(bench.path("a.txt")).expect("reads"), "from a person");
    assert_eq!(bench.text("a.txt.from-disk"), "from a program");
}

#[test]
fn a_text_whose_folder_goes_while_it_is_written_gets_its_folder_back() {
    let mut bench = Bench::new();
    let docs = bench.create(None, "docs", None);
    bench.settle();
    bench.create(Some(&docs), "a.txt", Some("text"));
    bench.core.hear();
    bench.core.arrange().expect("makes folders");
    fs::remove_dir_all(bench.path("docs")).expect("removes");
    bench.core.flush().expect("tells it later");
    assert!(bench.core.failing.is_empty());
    // Nobody says again what to look at.
    bench.core.settle(Scope::default()).expect("settles");
    assert_eq!(fs::read_to_string(bench.path("docs/a.txt")).expect("reads"), "text");
}

#[test]
fn names_that_the_tree_refuses_stay_in_the_workspace() {
    let mut bench = Bench::new();
    bench.create(None, "readme.md", Some("first"));
    bench.settle();
    fs::write(bench.path("README.md"), "clash").expect("writes");
    fs::write(bench.path("line\nbreak"), "control").expect("writes");
    fs::write(bench.folder.path().join("workspace").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "latin")
        .expect("writes");
    fs::write(bench.path(&"n".repeat(255)), "long").expect("writes");
    bench.settle();
    assert_eq!(bench.names(), ["n".repeat(255), "readme.md".to_owned()]);
    assert_eq!((bench.core.left_out.refused, bench.core.left_out.odd), (2, 1));
    assert_eq!(fs::read_to_string(bench.path("README.md")).expect("reads"), "clash");
    // When the name becomes free, the file is taken in.
    let id = bench.node("readme.md").expect("known").id;
    bench
        .room
        .act(|world| world.command(PrincipalKind::Person, TreeCommand::Delete { id, rev: None }))
        .expect("deletes");
    bench.settle();
    assert_eq!(bench.text("README.md"), "clash");
}

#[test]
fn a_very_deep_folder_ends_somewhere() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path(&vec!["d"; 200].join("/"))).expect("makes");
    bench.settle();
    assert!(bench.names().len() < 100);
}

#[test]
fn paths_that_are_too_long_for_the_kernel_are_as_any_other() {
    let mut bench = Bench::new();
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    let name = "d".repeat(200);
    let mut folder = openat(CWD, bench.path(""), flags, Mode::empty()).expect("opens");
    for _ in 0..25 {
        mkdirat(&folder, name.as_str(), Mode::from_raw_mode(0o755)).expect("makes");
        folder = openat(&folder, name.as_str(), flags, Mode::empty()).expect("opens");
    }
    let create = OFlags::CREATE | OFlags::WRONLY;
    let file = openat(&folder, "deep.txt", create, Mode::from_raw_mode(0o644)).expect("makes");
    std::io::Write::write_all(&mut File::from(file), b"text").expect("writes");
    bench.settle();
    let deep = format!("{}deep.txt", format!("{name}/").repeat(25));
    assert_eq!(bench.text(&deep), "text");
    bench.create(None, "beside.txt", Some("beside"));
    let id = bench.node(&deep).expect("known").id;
    bench
        .room
        .act(|world| world.command(PrincipalKind::Person, TreeCommand::Delete { id, rev: None }))
        .expect("deletes");
    bench.settle();
    assert_eq!(fs::read_to_string(bench.path("beside.txt")).expect("reads"), "beside");
    assert!(openat(&folder, "deep.txt", OFlags::RDONLY, Mode::empty()).is_err(), "deleted on disk too");
}

#[test]
fn paths_that_lead_out_are_refused() {
    let bench = Bench::new();
    fs::write(bench.folder.path().join("outside"), "secret").expect("writes");
    fs::create_dir(bench.path("folder")).expect("makes");
    for path in ["../outside", "folder/../../outside", "/etc/hostname", "", ".", "..", "folder", "none"] {
        assert!(!matches!(bench.core.disk.open_file(path), Ok(Some(_))), "{path:?}");
    }
}

#[test]
fn a_deleted_folder_keeps_what_the_tree_does_not_know_and_does_not_come_back() {
    let mut bench = Bench::new();
    let src = bench.create(None, "src", None);
    bench.create(Some(&src), "a.py", Some("a"));
    bench.settle();
    fs::create_dir(bench.path("src/__pycache__")).expect("makes");
    fs::write(bench.path("src/__pycache__/a.pyc"), "bytecode").expect("writes");
    bench.settle();
    bench
        .room
        .act(|world| world.command(PrincipalKind::Person, TreeCommand::Delete { id: src, rev: None }))
        .expect("deletes");
    bench.settle();
    bench.settle();
    assert_eq!(bench.names(), [""; 0]);
    assert!(bench.path("src/__pycache__/a.pyc").exists());
    assert!(!bench.path("src/a.py").exists());
}

#[test]
fn a_rename_on_disk_keeps_the_node() {
    let mut bench = Bench::new();
    let src = bench.create(None, "src", None);
    let file = bench.create(Some(&src), "a.py", Some("a"));
    bench.settle();
    fs::rename(bench.path("src"), bench.path("lib")).expect("renames");
    fs::rename(bench.path("lib/a.py"), bench.path("lib/b.py")).expect("renames");
    bench.settle();
    assert_eq!(bench.node("lib").map(|node| node.id), Some(src));
    assert_eq!(bench.node("lib/b.py").map(|node| node.id), Some(file));
}

#[test]
fn two_files_that_change_places_change_places() {
    let mut bench = Bench::new();
    let a = bench.create(None, "a", Some("was a"));
    let b = bench.create(None, "b", Some("was b"));
    bench.settle();
    bench.room.act(|world| {
        for (id, name) in [(&a, "c"), (&b, "a"), (&a, "b")] {
            let command = TreeCommand::Update { id: id.clone(), parent: None, name: Some(name.to_owned()), rev: None };
            world.command(PrincipalKind::Person, command).expect("renames");
        }
    });
    bench.settle();
    assert_eq!(fs::read_to_string(bench.path("a")).expect("reads"), "was b");
    assert_eq!(fs::read_to_string(bench.path("b")).expect("reads"), "was a");
}

#[test]
fn nodes_that_a_crash_left_at_one_place_are_parted() {
    let mut bench = Bench::new();
    let a = bench.create(None, "a", Some("was a"));
    let b = bench.create(None, "b", Some("was b"));
    bench.settle();
    let note = bench.folder.path().join("mirror").join(b.as_str());
    let before = fs::read(&note).expect("reads");
    bench.room.act(|world| {
        for (id, name) in [(&a, "c"), (&b, "a"), (&a, "b")] {
            let command = TreeCommand::Update { id: id.clone(), parent: None, name: Some(name.to_owned()), rev: None };
            world.command(PrincipalKind::Person, command).expect("renames");
        }
    });
    bench.settle();
    // The process ended between the notes of the two.
    fs::write(&note, before).expect("writes");
    bench.core = open(&bench.folder, "boot", &bench.room).expect("opens again");
    bench.settle();
    assert_eq!(fs::read_to_string(bench.path("a")).expect("reads"), "was b");
    assert_eq!(fs::read_to_string(bench.path("b")).expect("reads"), "was a");
}

#[test]
fn a_folder_and_its_child_that_change_places_change_places() {
    let mut bench = Bench::new();
    let outer = bench.create(None, "outer", None);
    let inner = bench.create(Some(&outer), "inner", None);
    bench.create(Some(&inner), "a.txt", Some("deep"));
    bench.settle();
    bench.room.act(|world| {
        let mut update = |id: &NodeId, parent: Option<&NodeId>, name: &str| {
            let command = TreeCommand::Update {
                id: id.clone(),
                parent: Some(parent.cloned()),
                name: Some(name.to_owned()),
                rev: None,
            };
            world.command(PrincipalKind::Person, command).expect("moves");
        };
        update(&inner, None, "inner");
        update(&outer, Some(&inner), "inner");
        update(&inner, None, "outer");
    });
    bench.settle();
    assert_eq!(fs::read_to_string(bench.path("outer/a.txt")).expect("reads"), "deep");
    assert!(bench.path("outer/inner").is_dir());
    assert_eq!(bench.names(), ["outer", "outer/a.txt", "outer/inner"]);
}

#[test]
fn the_mode_of_a_file_survives_an_edit() {
    let mut bench = Bench::new();
    let id = bench.create(None, "run.sh", Some("#!/bin/sh\n"));
    bench.settle();
    assert_eq!(fs::metadata(bench.path("run.sh")).expect("stat").permissions().mode() & 0o7777, 0o644);
    fs::set_permissions(bench.path("run.sh"), fs::Permissions::from_mode(0o4755)).expect("chmod");
    bench.room.act(|world| world.type_at(&id, 10, "true\n"));
    bench.settle();
    assert_eq!(fs::metadata(bench.path("run.sh")).expect("stat").permissions().mode() & 0o7777, 0o755);
}

#[test]
fn typed_text_that_was_written_but_lost_by_the_room_returns_to_it() {
    let mut bench = Bench::new();
    let id = bench.create(None, "a.txt", Some("text\n"));
    bench.settle();
    let before = bench.room.act(|world| world.document(&id).expect("a text").state());
    bench.room.act(|world| world.type_at(&id, 0, "typed "));
    bench.settle();
    // The server dies; what was typed had not been stored yet.
    bench.room.act(|world| {
        let mut older = Replica::new();
        older.apply(&before).expect("valid");
        world.documents.insert(id.clone(), older);
    });
    bench.core = open(&bench.folder, "boot", &bench.room).expect("opens");
    bench.settle();
    assert_eq!(bench.text("a.txt"), "typed text\n");
}

#[test]
fn after_the_machine_was_down_the_document_wins_and_the_file_is_kept_beside_it() {
    let mut bench = Bench::new();
    bench.create(None, "a.txt", Some("text\n"));
    bench.create(None, "b.txt", Some("text\n"));
    bench.settle();
    fs::write(bench.path("a.txt"), "").expect("writes");
    fs::remove_file(bench.path("b.txt")).expect("removes");
    bench.core = open(&bench.folder, "another boot", &bench.room).expect("opens");
    bench.settle();
    assert_eq!(fs::read_to_string(bench.path("a.txt")).expect("reads"), "text\n");
    assert_eq!(fs::read_to_string(bench.path("b.txt")).expect("reads"), "text\n");
    assert_eq!(bench.names(), ["a.txt", "a.txt.from-disk", "b.txt"]);
}

/// A room, its workspace, and everything real in between.
struct Whole {
    _folder: TempDir,
    tasks: Tasks,
    room: RoomHandle,
    mirrors: Mirrors,
    person: Principal,
}

impl Whole {
    async fn new(files: &[(&str, &str)]) -> Self {
        let folder = folder();
        let tasks = Tasks::new();
        let rooms = Rooms::new(Arc::new(MemoryStore::default()), tasks.clone());
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let new = NewRoom { title: "Test".to_owned(), template: "none".to_owned(), files, ..NewRoom::default() };
        let room = rooms.create(&Principal::system(), new).await.expect("creates");
        let config = Config { data_dir: folder.path().to_owned(), owner: None };
        let mirrors = Mirrors::new(config, rooms, tasks.clone());
        Self { _folder: folder, tasks, room, mirrors, person: Principal::system() }
    }

    async fn workspace(&self) -> Arc<Workspace> {
        self.mirrors.workspace(self.room.id()).await.expect("opens")
    }

    fn id(&self, path: &str) -> NodeId {
        self.room.tree().at_path(path).expect("it is in the tree").id.clone()
    }

    async fn type_at(&self, path: &str, at: u32, insert: &str) {
        let document = self.room.file(&self.id(path)).await.expect("a document");
        let mut copy = Replica::new();
        copy.apply(&document.diff(copy.state_vector()).await.expect("its state")).expect("valid");
        let update = copy.edit(|txn| {
            let root = yrs::WriteTxn::get_or_insert_text(txn, text::ROOT);
            text::apply(&root, txn, &[text::Edit { at, delete: 0, insert: insert.to_owned() }]);
        });
        document.apply_own(&self.person, update.expect("an edit")).await.expect("taken");
    }

    async fn text(&self, path: &str) -> Option<String> {
        let id = self.room.tree().at_path(path)?.id.clone();
        self.room.text(&id).await.ok()
    }

    async fn end(self) {
        assert_eq!(self.tasks.shutdown(Duration::from_secs(5)).await, 0);
    }
}

/// Waits until `holds`, for what a real watcher reports.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(10), "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_and_files_flow_both_ways() {
    let whole = Whole::new(&[("src/main.py", "print(1)\n"), ("README.md", "# Test\n")]).await;
    let workspace = whole.workspace().await;
    let path = |path: &str| workspace.host_dir().join(path);
    assert_eq!(fs::read_to_string(path("src/main.py")).expect("reads"), "print(1)\n");
    whole.type_at("src/main.py", 0, "# typed\n").await;
    until("the edit on disk", async || {
        fs::read_to_string(path("src/main.py")).is_ok_and(|t| t == "# typed\nprint(1)\n")
    })
    .await;
    fs::create_dir(path("out")).expect("makes");
    fs::write(path("out/result.txt"), "made by a program\n").expect("writes");
    until("the new file in the tree", async || {
        whole.text("out/result.txt").await.as_deref() == Some("made by a program\n")
    })
    .await;
    fs::write(path("src/main.py"), "# typed\nprint(2)\n").expect("writes");
    until("the change in the document", async || {
        whole.text("src/main.py").await.as_deref() == Some("# typed\nprint(2)\n")
    })
    .await;
    fs::rename(path("src"), path("lib")).expect("renames");
    until("the rename in the tree", async || whole.text("lib/main.py").await.is_some()).await;
    // The watch of a folder that was renamed still works.
    fs::write(path("lib/main.py"), "print(3)\n").expect("writes");
    until("the change after the rename", async || whole.text("lib/main.py").await.as_deref() == Some("print(3)\n"))
        .await;
    let mut file = workspace.open("lib/main.py").expect("opens");
    let mut bytes = String::new();
    file.read_to_string(&mut bytes).expect("reads");
    assert_eq!(bytes, "print(3)\n");
    assert!(matches!(workspace.open("../mirror"), Err(Error::NoSuchFile)));
    whole.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_workspace_holds_still_for_people_but_not_for_programs() {
    let whole = Whole::new(&[("a.txt", "a\n"), ("b.txt", "b\n")]).await;
    let workspace = whole.workspace().await;
    let path = |path: &str| workspace.host_dir().join(path);
    whole.type_at("a.txt", 0, "before ").await;
    let (files, guard) = workspace.freeze().await.expect("freezes");
    let expected: Vec<(String, [u8; 32])> = [("a.txt", "before a\n"), ("b.txt", "b\n")]
        .map(|(p, t)| (p.to_owned(), super::core::hash(t.as_bytes())))
        .into();
    assert_eq!(files, expected);
    assert_eq!(fs::read_to_string(path("a.txt")).expect("reads"), "before a\n");
    whole.type_at("a.txt", 0, "during ").await;
    fs::write(path("b.txt"), "b by a program\n").expect("writes");
    fs::write(path("c.txt"), "c\n").expect("writes");
    workspace.absorb().await.expect("absorbs");
    assert_eq!(whole.text("b.txt").await.as_deref(), Some("b by a program\n"));
    assert_eq!(whole.text("c.txt").await.as_deref(), Some("c\n"));
    assert_eq!(fs::read_to_string(path("a.txt")).expect("reads"), "before a\n");
    let second = tokio::time::timeout(Duration::from_millis(50), workspace.freeze()).await;
    assert!(second.is_err(), "a second freeze waits");
    drop(guard);
    until("the edit on disk", async || fs::read_to_string(path("a.txt")).is_ok_and(|t| t == "during before a\n")).await;
    let again = workspace.freeze().await.expect("freezes again");
    assert_eq!(again.0.len(), 3);
    whole.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_move_into_another_folder_go_on_flowing_both_ways() {
    let whole = Whole::new(&[("src/main.py", "print(1)\n"), ("a.txt", "a\n")]).await;
    let workspace = whole.workspace().await;
    let path = |path: &str| workspace.host_dir().join(path);
    let other = workspace.host_dir().with_file_name("other");
    fs::create_dir(&other).expect("makes");
    // A container has this very folder, whatever it is called.
    let held = File::open(&other).expect("opens");
    fs::write(path("from-program.txt"), "not looked at yet\n").expect("writes");
    assert!(workspace.move_into(&other).await.expect("moves"));
    assert_eq!(fs::metadata(path("")).expect("there").ino(), held.metadata().expect("there").ino());
    assert!(!other.exists());
    until("what was written before", async || whole.text("from-program.txt").await.is_some()).await;
    fs::write(path("b.txt"), "b\n").expect("writes");
    until("a new file at the top", async || whole.text("b.txt").await.as_deref() == Some("b\n")).await;
    fs::write(path("src/main.py"), "print(2)\n").expect("writes");
    until("a change below", async || whole.text("src/main.py").await.as_deref() == Some("print(2)\n")).await;
    whole.type_at("a.txt", 0, "typed ").await;
    until("the edit on disk", async || fs::read_to_string(path("a.txt")).is_ok_and(|t| t == "typed a\n")).await;
    let (files, guard) = workspace.freeze().await.expect("freezes");
    assert_eq!(files.len(), 4);
    fs::create_dir(&other).expect("makes");
    assert!(workspace.move_into(&other).await.expect("moves"), "also while it is held still");
    drop(guard);
    assert!(!workspace.move_into(&other).await.expect("no error"), "there is no such folder");
    whole.type_at("a.txt", 0, "again ").await;
    until("the next edit", async || fs::read_to_string(path("a.txt")).is_ok_and(|t| t == "again typed a\n")).await;
    assert_eq!(whole.room.tree().at_path("src/main.py").map(|node| node.name.as_str()), Some("main.py"));
    whole.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_loads_once_however_many_ask() {
    let whole = Whole::new(&[("a.txt", "a\n")]).await;
    let asked: Vec<Arc<Workspace>> = futures_util::future::join_all((0..8).map(|_| whole.workspace())).await;
    assert!(asked.iter().all(|workspace| Arc::ptr_eq(workspace, &asked[0])));
    let none = buildspaces_kernel::ids::RoomId::random();
    assert!(matches!(whole.mirrors.workspace(&none).await, Err(Error::Room(_))));
    whole.end().await;
}

/// Numbers rather than a judgement: set `MIRROR_NUMBERS` when it is compiled, and it fails with them. The
/// bounds are far above what is usual even on a busy machine, so that only a mistake in kind fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_files_take_seconds_and_a_keystroke_takes_the_time_it_gathers() {
    let text = "0123456789abcde\n".repeat(256);
    let files: Vec<(String, String)> = (0..1_000).map(|i| (format!("f{}/{i}.txt", i % 20), text.clone())).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    let whole = Whole::new(&files).await;
    let started = Instant::now();
    let workspace = whole.workspace().await;
    let materialised = started.elapsed();
    let started = Instant::now();
    workspace.absorb().await.expect("absorbs");
    workspace.absorb().await.expect("absorbs");
    let unchanged = started.elapsed() / 2;
    let path = workspace.host_dir().join("f0/0.txt");
    let inode = fs::metadata(&path).expect("stat").ino();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (mut typed, mut absorbed) = (Vec::new(), Vec::new());
    for round in 0..20 {
        whole.type_at("f0/0.txt", 0, &format!("typed {round}\n")).await;
        typed.push(
            until("the keystroke", async || {
                fs::read_to_string(&path).is_ok_and(|t| t.starts_with(&format!("typed {round}\n")))
            })
            .await,
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
        let line = format!("program {round}\n");
        fs::write(&path, format!("{line}{}", fs::read_to_string(&path).expect("reads"))).expect("writes");
        absorbed.push(
            until("the change", async || whole.text("f0/0.txt").await.is_some_and(|t| t.starts_with(&line))).await,
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    typed.sort();
    absorbed.sort();
    let report = format!(
        "1,000 files: {materialised:?}; 1,000 unchanged: {unchanged:?}; keystroke to disk p50 {:?} max {:?}; disk to document p50 {:?} max {:?}",
        typed[10], typed[19], absorbed[10], absorbed[19]
    );
    assert_ne!(fs::metadata(&path).expect("stat").ino(), inode);
    assert!(materialised < Duration::from_secs(60) && typed[10] < Duration::from_secs(5), "{report}");
    assert!(std::option_env!("MIRROR_NUMBERS").is_none(), "{report}");
    whole.end().await;
}
