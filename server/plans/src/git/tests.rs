//! The service over a git that the test plays: what is asked of it, in which order, and who becomes an author.

use std::sync::{Arc, Mutex};

use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::{Principal, PrincipalKind};

use super::*;
use crate::memory::{FakeRooms, FakeSandboxes, MemoryRuns, MemorySecrets};
use crate::ports::{Availability, CommandEnd, CommandOutput, CommandSpec, Fetch};
use crate::secret::{GitCredential, Given, Key};
use crate::secrets::NewSecret;

const HASH: &str = "0123456789012345678901234567890123456789";

struct World {
    git: Git,
    rooms: FakeRooms,
    sandboxes: FakeSandboxes,
    room: RoomId,
    secrets: Secrets,
    store: MemoryRuns,
    calls: Arc<Mutex<Vec<CommandSpec>>>,
}

fn git(rooms: &FakeRooms, store: &MemoryRuns, sandboxes: &FakeSandboxes, secrets: &Secrets) -> Git {
    let (rooms, store, sandboxes) = (Arc::new(rooms.clone()), Arc::new(store.clone()), Arc::new(sandboxes.clone()));
    Git::new(rooms, store, sandboxes, secrets.clone(), Tasks::new())
}

fn printed(output: impl Into<Vec<u8>>) -> CommandOutput {
    CommandOutput { end: CommandEnd::Exited(0), output: output.into(), errors: String::new() }
}

fn refused(errors: &str) -> CommandOutput {
    CommandOutput { end: CommandEnd::Exited(128), output: Vec::new(), errors: errors.to_owned() }
}

/// The subcommand and its arguments, without what stands in front of all of them.
fn arguments(spec: &CommandSpec) -> Vec<&str> {
    let argv: Vec<&str> = spec.argv.iter().map(String::as_str).collect();
    match argv.as_slice() {
        ["git", "--no-pager", rest @ ..] => {
            let settings = rest.chunks(2).take_while(|pair| pair[0] == "-c").count();
            rest[settings * 2..].to_vec()
        }
        other => other.to_vec(),
    }
}

impl World {
    fn new(play: impl Fn(&[&str]) -> CommandOutput + Send + Sync + 'static) -> Self {
        let rooms = FakeRooms::default();
        let (sandboxes, _steps) = FakeSandboxes::new(rooms.clone());
        let calls: Arc<Mutex<Vec<CommandSpec>>> = Arc::default();
        let seen = calls.clone();
        sandboxes.play_commands(move |spec| {
            seen.lock().expect("no panics").push(spec.clone());
            play(&arguments(spec))
        });
        let secrets = Secrets::new(Arc::new(MemorySecrets::default()), Key::parse(&"5".repeat(64)).ok());
        let store = MemoryRuns::default();
        let git = git(&rooms, &store, &sandboxes, &secrets);
        Self { git, rooms, sandboxes, room: RoomId::random(), secrets, store, calls }
    }

    /// The process dies and a new one starts, with the same store and sandboxes.
    async fn restart(&mut self) {
        self.git = git(&self.rooms, &self.store, &self.sandboxes, &self.secrets);
        self.git.settle().await;
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("no panics").iter().map(|spec| arguments(spec).join(" ")).collect()
    }

    fn call(&self, begin: &str) -> CommandSpec {
        let calls = self.calls.lock().expect("no panics");
        let call = calls.iter().find(|spec| arguments(spec).join(" ").starts_with(begin));
        call.unwrap_or_else(|| panic!("no {begin}")).clone()
    }
}

fn person(id: &str, name: &str) -> Principal {
    Principal { id: PrincipalId::parse(id).expect("an id"), kind: PrincipalKind::Person, name: name.into() }
}

fn status_of(changes: &[&str]) -> CommandOutput {
    let mut records = vec![format!("# branch.oid {HASH}"), "# branch.head main".to_owned()];
    records.extend(changes.iter().map(|change| (*change).to_owned()));
    printed(records.iter().flat_map(|record| record.bytes().chain([0])).collect::<Vec<u8>>())
}

fn modified(path: &str) -> String {
    format!("1 .M N... 100644 100644 100644 {HASH} {HASH} {path}")
}

fn log_of(subject: &str) -> CommandOutput {
    let fields = [HASH, "", "Ann", "u1@users.buildspaces.invalid", "1700000000", subject, ""];
    printed(fields.iter().flat_map(|field| field.bytes().chain([0])).collect::<Vec<u8>>())
}

#[tokio::test]
async fn a_commit_is_its_callers_and_names_everybody_else_whose_edits_are_in_it() {
    let world = World::new(|args| match args {
        ["status", ..] => status_of(&[&modified("a.py"), &modified("b.py"), "? new.py", &modified("image.png")]),
        ["log", "-z", ..] => log_of("Do it"),
        // Committed at these seconds; the picture is no text, so nobody is asked about it.
        ["sh", _, _, _, "a.py", "b.py", "new.py"] => printed("100\n200\n\n"),
        ["add", "--all"] | ["commit", ..] => printed(""),
        other => panic!("{other:?}"),
    });
    let room = world.rooms.get(&world.room);
    let (ann, bob, cleo) = (person("u1", "Ann"), person("u2", "Bob"), person("u3", "Cleo"));
    let bot = Principal { kind: PrincipalKind::Agent, ..person("a1", "Bot") };
    for path in ["a.py", "b.py", "new.py", "same.py"] {
        room.edit(path, "x", PrincipalKind::Person);
    }
    // By the last commit of that file Bob's is known, Cleo's and the agent's are not; and what Cleo did elsewhere is not in it.
    room.edited_by("a.py", 100_999, bob.clone());
    room.edited_by("a.py", 101_000, bot);
    room.edited_by("a.py", 102_000, ann.clone());
    room.edited_by("b.py", 150_000, bob.clone());
    room.edited_by("new.py", 5, cleo);
    room.edited_by("same.py", 999_999, bob);

    let commit = world.git.commit(&world.room, &ann, " Do it \n", None).await.expect("a commit");
    assert_eq!((commit.id.as_str(), commit.subject.as_str()), (HASH, "Do it"));
    let call = world.call("commit");
    assert_eq!(
        arguments(&call)[5..],
        [
            "--message",
            "Do it\n\nCo-authored-by: Bot (agent) <a1@agents.buildspaces.invalid>\n\
             Co-authored-by: Cleo <u3@users.buildspaces.invalid>"
        ]
    );
    for (name, value) in [("GIT_AUTHOR_NAME", "Ann"), ("GIT_COMMITTER_EMAIL", "u1@users.buildspaces.invalid")] {
        assert!(call.env.contains(&(name.to_owned(), value.to_owned())), "{:?}", call.env);
    }
    assert!(call.argv.contains(&"core.hooksPath=/dev/null".to_owned()));
    // Held still before the first look, for as long as it took.
    let journal = world.sandboxes.journal();
    assert_eq!((journal[0].as_str(), journal.last().map(String::as_str)), ("freeze", Some("thaw")), "{journal:?}");
}

#[tokio::test]
async fn of_chosen_files_only_those_are_taken_and_a_new_name_brings_its_old_one() {
    let renamed = format!("2 R. N... 100644 100644 100644 {HASH} {HASH} R100 to.py");
    let world = World::new(move |args| match args {
        ["status", ..] => status_of(&[&renamed, "from.py", &modified("a.py"), "? -x"]),
        ["log", "-z", ..] => log_of("Do it"),
        ["add", ..] | ["commit", ..] | ["sh", ..] => printed(""),
        other => panic!("{other:?}"),
    });
    let ann = person("u1", "Ann");
    let paths = ["to.py", "-x"].map(str::to_owned);
    world.git.commit(&world.room, &ann, "Do it", Some(&paths)).await.expect("a commit");
    let calls = world.calls();
    assert!(calls.contains(&"add --all -- -x".to_owned()), "{calls:?}");
    let commit = calls.iter().find(|call| call.starts_with("commit")).expect("it was made");
    assert!(commit.ends_with(" --only -- -x from.py to.py"), "{commit}");

    let missing = ["b.py"].map(str::to_owned);
    let error = world.git.commit(&world.room, &ann, "Do it", Some(&missing)).await.expect_err("it did not change");
    assert_eq!(error, Error::NotChanged("b.py".to_owned()));
    assert_eq!(world.git.commit(&world.room, &ann, "Do it", Some(&[])).await, Err(Error::NothingToCommit));
    assert_eq!(world.git.commit(&world.room, &ann, " ", None).await, Err(Error::BadMessage));
    let many = vec!["x".to_owned(); 1001];
    assert_eq!(world.git.commit(&world.room, &ann, "Do it", Some(&many)).await, Err(Error::TooManyPaths));
}

#[tokio::test]
async fn nothing_is_committed_where_nothing_changed_or_both_sides_did() {
    let conflict = format!("u UU N... 100644 100644 100644 100644 {HASH} {HASH} {HASH} a.py");
    let ann = person("u1", "Ann");
    for (changes, expected) in [(vec![], Error::NothingToCommit), (vec![conflict], Error::Conflicts("a.py".to_owned()))]
    {
        let world = World::new(move |args| match args {
            ["status", ..] => status_of(&changes.iter().map(String::as_str).collect::<Vec<_>>()),
            other => panic!("{other:?}"),
        });
        assert_eq!(world.git.commit(&world.room, &ann, "Do it", None).await, Err(expected));
    }
}

#[tokio::test]
async fn a_room_without_a_repository_gets_one_once() {
    let begun = Arc::new(Mutex::new(false));
    let world = World::new(move |args| match args {
        ["status", ..] if *begun.lock().expect("no panics") => {
            printed("# branch.oid (initial)\0# branch.head main\0? a\0")
        }
        ["status", ..] => refused("fatal: not a git repository (or any of the parent directories): .git\n"),
        ["init", ..] => {
            *begun.lock().expect("no panics") = true;
            printed("")
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(world.git.repository(&world.room).await, Ok(Repository::None));
    let Ok(Repository::Ready(status)) = world.git.init(&world.room).await else { panic!("no repository") };
    assert_eq!((status.branch.as_deref(), status.head, status.changes.len()), (Some("main"), None, 1));
    assert_eq!(world.git.init(&world.room).await, Err(Error::IsRepository));
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let world = World::new(|_| refused(""));
    let (sandboxes, _steps) = FakeSandboxes::new(world.rooms.clone());
    let git = git(&world.rooms, &world.store, &sandboxes, &world.secrets);
    assert_eq!(git.repository(&world.room).await, Err(Error::NoGit));
    let off = SandboxError::Off { message: "no engine".to_owned(), hint: "start it".to_owned() };
    sandboxes.refuse(Some(off));
    let expected = Error::Off { message: "no engine".to_owned(), hint: "start it".to_owned() };
    assert_eq!(git.repository(&world.room).await, Err(expected.clone()));
    sandboxes.set_availability(Availability::Off { message: "no engine".to_owned(), hint: "start it".to_owned() });
    assert_eq!(git.check_available(), Err(expected));
    for bad in ["-d", "a b", ""] {
        assert_eq!(git.create_branch(&world.room, bad).await, Err(Error::BadBranchName));
        assert_eq!(git.switch(&world.room, bad).await, Err(Error::BadBranchName));
    }
    let file = |path: &str| Wanted::File { path: path.to_owned(), from: None };
    assert_eq!(git.diff(&world.room, &file("../x")).await, Err(Error::NoSuchFile("../x".to_owned())));
    assert_eq!(git.diff(&world.room, &Wanted::Commit("--all".to_owned())).await, Err(Error::NoSuchCommit));
    assert_eq!(world.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_git_does_not_know_is_shown_as_new() {
    let world = World::new(|args| match args {
        // There is no commit yet, so there is nothing to compare with.
        ["diff", .., "HEAD", "--", "a"] => refused("fatal: bad revision 'HEAD'\n"),
        ["diff", .., base, "--", "a"] if *base == EMPTY_TREE => printed(""),
        ["diff", "--no-index", .., "/dev/null", "a"] => {
            CommandOutput { end: CommandEnd::Exited(1), ..printed("+++ b/a\n+new\n") }
        }
        other => panic!("{other:?}"),
    });
    let patch = world.git.diff(&world.room, &Wanted::File { path: "a".to_owned(), from: None }).await;
    assert_eq!(patch, Ok(Patch { text: "+++ b/a\n+new\n".to_owned(), truncated: false }));
}

#[tokio::test]
async fn a_repository_is_fetched_while_people_look_and_what_went_wrong_is_kept() {
    let listed = Arc::new(Mutex::new(false));
    let allowed = listed.clone();
    let mut world = World::new(move |args| match args {
        ["clone", .., "--", "https://git.example/a.git", "."] if *allowed.lock().expect("no panics") => printed(""),
        ["clone", ..] => {
            refused("fatal: unable to access 'https://git.example/a.git/': CONNECT tunnel failed, response 403\n")
        }
        ["status", ..] if *allowed.lock().expect("no panics") => status_of(&[]),
        ["status", ..] => refused("fatal: not a git repository\n"),
        other => panic!("{other:?}"),
    });
    let origin = || Origin::parse("https://git.example/a.git", Some(" ")).expect("valid");
    let url = "https://git.example/a.git".to_owned();
    let cloning = Repository::Cloning { url: url.clone() };
    // While one is on its way.
    world.git.0.clones().insert(world.room.clone(), cloning.clone());
    assert_eq!(world.git.repository(&world.room).await, Ok(cloning.clone()));
    assert_eq!(world.git.init(&world.room).await, Err(Error::Cloning));
    assert_eq!(world.git.clone_from(&world.room, origin()).await, Err(Error::Cloning));
    world.git.0.clones().clear();
    assert_eq!(world.git.clone_from(&world.room, origin()).await, Ok(cloning.clone()));
    let end = |world: &World| {
        let (git, room, cloning) = (world.git.clone(), world.room.clone(), cloning.clone());
        async move {
            loop {
                let now = git.repository(&room).await;
                if now != Ok(cloning.clone()) {
                    return now;
                }
                tokio::task::yield_now().await;
            }
        }
    };
    let message = Error::NotListed("git.example".to_owned()).to_string();
    let not_cloned = Ok(Repository::NotCloned { url, message });
    assert_eq!(end(&world).await, not_cloned);
    world.restart().await;
    assert_eq!(world.git.repository(&world.room).await, not_cloned, "it is still so");

    *listed.lock().expect("no panics") = true;
    assert_eq!(world.git.clone_from(&world.room, origin()).await, Ok(cloning.clone()));
    assert!(matches!(end(&world).await, Ok(Repository::Ready(_))));
    assert_eq!(world.store.fetches().await.expect("answers"), [], "nothing is left to say");
    world.rooms.get(&world.room).edit("a.py", "x", PrincipalKind::Person);
    assert_eq!(world.git.clone_from(&world.room, origin()).await, Err(Error::NotEmpty));
}

#[tokio::test]
async fn a_server_that_ends_while_a_repository_is_on_its_way_says_so_when_it_is_back() {
    let begun = Arc::new(Mutex::new(false));
    let mut world = World::new(move |args| match args {
        ["status", ..] if *begun.lock().expect("no panics") => status_of(&[]),
        ["status", ..] => refused("fatal: not a git repository\n"),
        ["init", ..] => {
            *begun.lock().expect("no panics") = true;
            printed("")
        }
        other => panic!("{other:?}"),
    });
    let url = "https://git.example/a.git".to_owned();
    let fetch = Fetch { url: url.clone(), failure: None };
    world.store.set_fetch(&world.room, Some(&fetch)).await.expect("stored");
    for _ in 0..2 {
        world.restart().await;
        let Ok(Repository::NotCloned { url: said, message }) = world.git.repository(&world.room).await else {
            panic!("it did not arrive")
        };
        assert_eq!((said, message.contains("the server was stopped")), (url.clone(), true), "{message}");
    }
    assert!(matches!(world.git.init(&world.room).await, Ok(Repository::Ready(_))));
    world.restart().await;
    assert!(matches!(world.git.repository(&world.room).await, Ok(Repository::Ready(_))));
    assert_eq!(world.store.fetches().await.expect("answers"), []);
}

#[tokio::test]
async fn a_fetch_that_cannot_be_remembered_does_not_begin() {
    let world = World::new(|args| panic!("{args:?}"));
    world.store.fail(1);
    let origin = Origin::parse("https://git.example/a.git", None).expect("valid");
    assert!(matches!(world.git.clone_from(&world.room, origin.clone()).await, Err(Error::Room(_))));
    world.store.fail(1);
    assert!(matches!(world.git.clone_from(&world.room, origin).await, Err(Error::Room(_))), "none is under way");
}

#[tokio::test]
async fn switching_holds_the_files_still_and_then_shows_them() {
    let world = World::new(|args| match args {
        ["switch", "--quiet", "other"] => printed(""),
        ["switch", "--quiet", "--create", "new"] => refused("fatal: a branch named 'new' already exists\n"),
        ["status", ..] => status_of(&[]),
        other => panic!("{other:?}"),
    });
    assert!(matches!(world.git.switch(&world.room, "other").await, Ok(Repository::Ready(_))));
    let journal: Vec<String> =
        world.sandboxes.journal().iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(journal, ["freeze", "touch", "command", "thaw", "absorb", "command"]);
    assert_eq!(world.git.create_branch(&world.room, "new").await, Err(Error::BranchExists));
}

const ORIGIN: &str = "https://git.example/team/project.git";

async fn add(world: &World, name: &str, url: &str) {
    let given = Given::Git(GitCredential::new(url, "git").expect("valid"));
    let new = NewSecret { value: format!("token-of-{name}"), given, skills: None };
    world.secrets.put(&world.room, &person("ann", "Ann"), name, new, 1).await.expect("stored");
}

#[tokio::test]
async fn a_secret_goes_to_the_proxy_for_this_repository_and_never_to_git() {
    let world = World::new(|args| match args {
        ["remote", "get-url", .., "origin"] => printed(format!("{ORIGIN}\n")),
        ["fetch" | "push" | "merge", ..] => printed(""),
        ["status", ..] => status_of(&[]),
        other => panic!("{other:?}"),
    });
    let lent = |call: CommandSpec, path: &str| {
        let header = call.headers.iter().find(|header| header.is_for("git.example", 443, path));
        header.map(|header| (header.secret.to_string(), header.filled().to_owned()))
    };
    world.git.pull(&world.room).await.expect("pulled");
    assert_eq!(world.call("fetch").headers, [], "nothing is there for it");

    for (name, url) in [
        ("HOST", "https://git.example"),
        ("TEAM", "https://git.example/team"),
        ("OTHERS", "https://git.example/others"),
        ("ELSEWHERE", "https://other.example/team/project.git"),
    ] {
        add(&world, name, url).await;
    }
    world.calls.lock().expect("no panics").clear();
    world.git.pull(&world.room).await.expect("pulled");
    let fetch = world.call("fetch");
    let rewritten = format!("url.http://git.example/team/project.git.insteadOf={ORIGIN}");
    assert!(fetch.argv.windows(2).any(|pair| pair == ["-c", &*rewritten]), "{:?}", fetch.argv);
    assert_eq!(fetch.env.last(), Some(&("GIT_ALLOW_PROTOCOL".to_owned(), "http:https".to_owned())));
    assert!(!format!("{:?}{:?}", fetch.argv, fetch.env).contains("token"), "git is not told");
    // By coreutils' base64, of "git:token-of-TEAM".
    let expected = Some(("TEAM".to_owned(), "Basic Z2l0OnRva2VuLW9mLVRFQU0=".to_owned()));
    for path in ["/team/project.git/info/refs?service=git-upload-pack", "/team/project.git/git-upload-pack"] {
        assert_eq!(lent(fetch.clone(), path), expected, "{path}");
    }
    for path in [
        "/team/project.git/info/refs?service=git-receive-pack",
        "/team/project.git/git-receive-pack",
        "/team/project.git/git-upload-pack?x",
        "/team/other.git/git-upload-pack",
        "/",
    ] {
        assert_eq!(lent(fetch.clone(), path), None, "{path} is not for fetching");
    }
    world.git.push(&world.room).await.expect("pushed");
    assert_eq!(lent(world.call("push"), "/team/project.git/git-receive-pack"), expected);
    assert_eq!(world.call("merge").headers, [], "and nothing else gets it");
}

#[tokio::test]
async fn a_secret_that_is_refused_is_named() {
    for errors in [
        "fatal: could not read Username for 'http://git.example': terminal prompts disabled",
        "fatal: unable to access 'http://git.example/team/project.git/': The requested URL returned error: 403",
        "remote: Repository not found.\nfatal: repository 'http://git.example/team/project.git/' not found",
    ] {
        let world = World::new(move |args| match args {
            ["remote", ..] => printed(ORIGIN),
            _ => refused(errors),
        });
        assert!(!matches!(world.git.push(&world.room).await, Ok(_) | Err(Error::CredentialRefused(_))));
        add(&world, "TOKEN", "https://git.example").await;
        assert_eq!(world.git.push(&world.room).await, Err(Error::CredentialRefused("TOKEN".to_owned())), "{errors}");
    }
}

#[tokio::test]
async fn an_origin_that_is_no_address_of_a_server_gets_no_secret() {
    for origin in [
        "git@git.example:team/project.git",
        "http://git.example/team/project.git",
        "/tmp/bare",
        "https://git.example/team/../x",
        "",
    ] {
        let world = World::new(move |args| match args {
            ["remote", ..] => printed(origin),
            ["push", ..] => printed(""),
            ["status", ..] => status_of(&[]),
            other => panic!("{other:?}"),
        });
        add(&world, "TOKEN", "https://git.example").await;
        world.git.push(&world.room).await.expect("pushed");
        assert_eq!(world.call("push").headers, [], "{origin}");
    }
}
