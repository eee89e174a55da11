use super::*;

struct Fixture {
    tree: Tree,
    next: u32,
}

impl Fixture {
    fn new() -> Self {
        Self { tree: Tree::default(), next: 0 }
    }

    fn run(&mut self, by: &str, command: TreeCommand) -> Result<Outcome, Error> {
        self.next += 1;
        self.tree.handle(&by.into(), id(&format!("n{}", self.next)), command)
    }

    fn create(&mut self, parent: Option<&NodeId>, name: &str, kind: NodeKind) -> Result<NodeId, Error> {
        let command = TreeCommand::Create { parent: parent.cloned(), name: name.into(), kind, size: 0, text: None };
        self.run("Ada", command).map(|outcome| outcome.changed[0].id.clone())
    }

    fn folder(&mut self, parent: Option<&NodeId>, name: &str) -> NodeId {
        self.create(parent, name, NodeKind::Folder).expect("folder")
    }

    fn file(&mut self, parent: Option<&NodeId>, name: &str) -> NodeId {
        self.create(parent, name, NodeKind::Text).expect("file")
    }

    fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.tree.view().nodes().filter_map(|node| self.tree.view().path(&node.id)).collect();
        paths.sort();
        paths
    }
}

fn id(text: &str) -> NodeId {
    NodeId::parse(text).expect("valid id")
}

fn rename(id: &NodeId, name: &str, rev: Option<u64>) -> TreeCommand {
    TreeCommand::Update { id: id.clone(), parent: None, name: Some(name.into()), rev }
}

fn move_to(id: &NodeId, parent: Option<&NodeId>) -> TreeCommand {
    TreeCommand::Update { id: id.clone(), parent: Some(parent.cloned()), name: None, rev: None }
}

#[test]
fn names_that_hurt_somebody_are_refused_with_what_to_change() {
    let mut f = Fixture::new();
    for (name, reason) in [
        ("", "empty"),
        ("..", "folder itself"),
        ("../x", "slash"),
        ("a\\b", "slash"),
        ("a\nb", "control"),
        ("a\u{0}", "control"),
        (" a", "space"),
        ("evil\u{202e}txt.exe", "direction"),
        (&"x".repeat(256), "255"),
    ] {
        let error = f.create(None, name, NodeKind::Text).expect_err(name);
        assert!(error.to_string().contains(reason), "{name:?}: {error}");
    }
    assert!(f.create(None, "Grüße 👋.py", NodeKind::Text).is_ok());
    assert!(f.create(None, &"x".repeat(255), NodeKind::Text).is_ok());
}

#[test]
fn siblings_that_differ_only_in_case_are_refused() {
    let mut f = Fixture::new();
    let a = f.file(None, "Main.py");
    assert_eq!(f.create(None, "main.py", NodeKind::Text), Err(Error::NameTaken("Main.py".into())));
    let src = f.folder(None, "src");
    f.file(Some(&src), "main.py");
    assert_eq!(f.run("Ada", move_to(&a, Some(&src))), Err(Error::NameTaken("main.py".into())));
    // A file may change the case of its own name.
    assert!(f.run("Ada", rename(&a, "MAIN.py", None)).is_ok());
}

#[test]
fn the_second_of_two_renames_learns_who_was_first() {
    let mut f = Fixture::new();
    let file = f.file(None, "a.py");
    assert!(f.run("Bo", rename(&file, "b.py", Some(1))).is_ok());
    let error = f.run("Ada", rename(&file, "c.py", Some(1))).expect_err("stale");
    assert_eq!(error, Error::Conflict { by: "Bo".into(), name: "b.py".into() });
    assert!(f.run("Ada", rename(&file, "c.py", Some(2))).is_ok());
    assert_eq!(f.paths(), ["c.py"]);
}

#[test]
fn a_folder_never_ends_up_inside_itself() {
    let mut f = Fixture::new();
    let a = f.folder(None, "a");
    let b = f.folder(Some(&a), "b");
    let c = f.folder(Some(&b), "c");
    for target in [&a, &b, &c] {
        assert_eq!(f.run("Ada", move_to(&a, Some(target))), Err(Error::Cycle));
    }
    assert!(f.run("Ada", move_to(&b, None)).is_ok());
    assert_eq!(f.paths(), ["a", "b", "b/c"]);
}

#[test]
fn deleting_a_folder_takes_everything_below_it() {
    let mut f = Fixture::new();
    let a = f.folder(None, "a");
    let b = f.folder(Some(&a), "b");
    f.file(Some(&b), "x.py");
    let keep = f.file(None, "keep.py");
    let outcome = f.run("Ada", TreeCommand::Delete { id: a, rev: None }).expect("delete");
    assert_eq!(outcome.deleted.len(), 3);
    assert_eq!(f.paths(), ["keep.py"]);
    assert_eq!(f.create(Some(&b), "y", NodeKind::Text), Err(Error::NoSuchNode));
    assert_eq!(f.create(Some(&keep), "y", NodeKind::Text), Err(Error::NotAFolder("keep.py".into())));
}

#[test]
fn a_file_that_became_binary_keeps_its_id_and_shows_its_size() {
    let mut f = Fixture::new();
    let file = f.file(None, "data");
    let retype = |kind, size| TreeCommand::Retype { id: file.clone(), kind, size, text: None };
    let outcome = f.run("fs", retype(NodeKind::Large, 100_000_000)).expect("retype");
    assert_eq!((outcome.changed[0].kind, outcome.changed[0].size, outcome.text), (NodeKind::Large, 100_000_000, None));
    let outcome = f.run("fs", retype(NodeKind::Text, 3)).expect("retype");
    assert_eq!((outcome.changed[0].size, outcome.text), (0, Some((file, String::new()))));
}

#[test]
fn what_is_kept_of_a_file_goes_when_it_becomes_a_text_and_is_no_new_revision() {
    let mut f = Fixture::new();
    let file = f.create(None, "data", NodeKind::Binary).expect("file");
    let hash = BlobHash::of(b"bytes");
    let keep = |kept| TreeCommand::Keep { id: file.clone(), kept };
    let retype = |kind| TreeCommand::Retype { id: file.clone(), kind, size: 9, text: None };
    let node = f.run("fs", keep(Some((hash, 5)))).expect("keep").changed.remove(0);
    assert_eq!((node.blob, node.size, node.unkept, node.rev), (Some(hash), 5, false, 1));
    // Until there is more of it the old bytes stay.
    let node = f.run("fs", retype(NodeKind::Large)).expect("retype").changed.remove(0);
    assert_eq!((node.blob, node.size, node.unkept), (Some(hash), 9, false));
    let node = f.run("fs", keep(None)).expect("keep").changed.remove(0);
    assert_eq!((node.blob, node.size, node.unkept), (None, 9, true));
    let node = f.run("fs", retype(NodeKind::Text)).expect("retype").changed.remove(0);
    assert_eq!((node.blob, node.size, node.unkept), (None, 0, false));
    assert_eq!(f.run("fs", keep(Some((hash, 5)))), Err(Error::NoSuchNode));
}

#[test]
fn paths_lead_to_nodes_and_back() {
    let mut f = Fixture::new();
    let src = f.folder(None, "src");
    let main = f.file(Some(&src), "main.py");
    let view = f.tree.view();
    assert_eq!(view.at_path("src/main.py").map(|node| &node.id), Some(&main));
    assert_eq!(view.at_path("src/other.py"), None);
    assert_eq!(view.at_path("main.py"), None);
    assert_eq!(view.text_files().iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["src/main.py"]);
}

#[test]
fn folders_stop_at_a_depth() {
    let mut f = Fixture::new();
    let mut parent = None;
    for _ in 0..MAX_DEPTH {
        parent = Some(f.folder(parent.as_ref(), "d"));
    }
    assert_eq!(f.create(parent.as_ref(), "d", NodeKind::Folder), Err(Error::TooDeep));
}
