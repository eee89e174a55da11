//! What stays in the workspace and is no node.

use buildspaces_plans::ports::{NewFile, Unshared};

use super::*;
use crate::mirror::unshared::unshared;

#[test]
fn what_git_would_not_track_stays_in_the_workspace_and_what_is_a_document_stays_one() {
    let mut bench = Bench::new();
    let build = bench.create(None, "build", None);
    bench.create(Some(&build), "made.txt", Some("by a person"));
    bench.create(None, ".gitignore", Some("/build/\n*.log\n!keep.log\n"));
    bench.settle();
    fs::write(bench.path("build/out.txt"), "by a program").expect("writes");
    fs::create_dir_all(bench.path("src/build")).expect("makes");
    for path in ["a.log", "keep.log", "src/b.log", "src/build/c.txt"] {
        fs::write(bench.path(path), path).expect("writes");
    }
    bench.settle();
    let shown = [".gitignore", "build", "build/made.txt", "keep.log", "src", "src/build", "src/build/c.txt"];
    assert_eq!(bench.names(), shown);
    // Both sides go on editing what is a document.
    fs::write(bench.path("build/made.txt"), "by a person and a program").expect("writes");
    bench.settle();
    assert_eq!(bench.text("build/made.txt"), "by a person and a program");
    // People leave other files out: what is shown stays, and what is wanted now comes.
    let id = bench.node(".gitignore").expect("known").id;
    bench.room.act(|world| world.type_at(&id, 0, "keep.*\nsrc/\n"));
    bench.core.settle(Scope::default()).expect("settles");
    bench.settle();
    assert_eq!(bench.names(), shown);
    fs::write(bench.path("keep.me"), "left out").expect("writes");
    fs::write(bench.path("src/d.txt"), "left out").expect("writes");
    fs::write(bench.path("src/build/c.txt"), "still a document").expect("writes");
    bench.settle();
    assert_eq!(bench.names(), shown);
    assert_eq!(bench.text("src/build/c.txt"), "still a document");
    fs::remove_file(bench.path(".gitignore")).expect("removes");
    // Only its folder is looked at, and then everything.
    let mut scope = Scope::default();
    scope.add(None);
    bench.core.settle(scope).expect("settles");
    assert_eq!(bench.text("src/d.txt"), "left out");
    assert_eq!(bench.text("build/out.txt"), "by a program");
    assert_eq!(bench.text("a.log"), "a.log");
    assert_eq!(bench.names().len(), shown.len() + 4);
}

#[test]
fn what_the_tree_does_not_show_is_listed_on_demand_folders_first() {
    let mut bench = Bench::new();
    let src = bench.create(None, "src", None);
    bench.create(Some(&src), "a.py", Some("a"));
    bench.create(None, ".gitignore", Some("*.log\n"));
    bench.settle();
    for folder in ["node_modules/pkg", "src/__pycache__"] {
        fs::create_dir_all(bench.path(folder)).expect("makes");
    }
    for (path, text) in [("node_modules/pkg/index.js", "four"), ("src/a.log", "eight ch"), ("z.log", "")] {
        fs::write(bench.path(path), text).expect("writes");
    }
    symlink("/etc", bench.path("link")).expect("links");
    bench.settle();
    let list = |folder: Option<&str>, most| {
        let tree = bench.room.act(|world| world.tree.view().clone());
        unshared(&bench.core.disk, &tree, folder, most).map(|(files, more)| {
            let shown = |file: Unshared| (file.path, file.is_folder, file.size);
            (files.into_iter().map(shown).collect::<Vec<_>>(), more)
        })
    };
    let folder = |path: &str| (path.to_owned(), true, 0);
    let file = |path: &str, size| (path.to_owned(), false, size);
    let all = [folder("node_modules"), folder("src/__pycache__"), file("src/a.log", 8), file("z.log", 0)];
    assert_eq!(list(None, 10).expect("lists"), (all.to_vec(), 0));
    assert_eq!(list(None, 3).expect("lists"), (all[..3].to_vec(), 1));
    assert_eq!(list(Some("node_modules"), 10).expect("lists"), (vec![folder("node_modules/pkg")], 0));
    assert_eq!(list(Some("node_modules/pkg"), 10).expect("lists"), (vec![file("node_modules/pkg/index.js", 4)], 0));
    assert_eq!(list(Some("src"), 10).expect("lists").0.len(), 2);
    for nowhere in ["none", "link", "..", "/etc", "src/a.py", "src/../.."] {
        assert!(matches!(list(Some(nowhere), 10), Err(Error::NoSuchFile)), "{nowhere}");
    }
}

#[test]
fn what_is_sent_in_goes_through_no_link_and_replaces_nothing() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().expect("a folder");
    symlink(outside.path(), bench.path("link")).expect("links");
    fs::write(bench.path("file"), "mine").expect("writes");
    let put = |path: &str| {
        let file = NewFile { path: path.to_owned(), bytes: b"new".to_vec(), executable: false };
        crate::mirror::put(&bench.core.disk, &file).expect("the disk works")
    };
    for taken in ["link", "link/a", "link/a/b", "file", "file/a"] {
        assert!(!put(taken), "{taken}");
    }
    assert_eq!(fs::read_dir(outside.path()).expect("lists").count(), 0);
    assert_eq!(fs::read(bench.path("file")).expect("reads"), b"mine");
    assert!(put("new/folder/a"));
}

#[test]
fn folders_are_looked_into_as_deep_as_the_tree_goes() {
    let mut bench = Bench::new();
    let nested = |folders: usize| "d/".repeat(folders);
    let most = buildspaces_rooms::tree::MAX_DEPTH - 1;
    fs::create_dir_all(bench.path(&nested(most + 2))).expect("makes");
    let [deepest, below] = [nested(most) + "a", nested(most + 1) + "a"];
    for path in [&deepest, &below] {
        fs::write(bench.path(path), "one").expect("writes");
    }
    bench.settle();
    fs::write(bench.path(&deepest), "two").expect("writes");
    bench.settle();
    assert_eq!(bench.text(&deepest), "two");
    assert!(bench.node(&below).is_none());
}
