//! Seeded simulations: people and programs change the same files at random moments, the mirror is killed in
//! the middle of its work, and at the end nothing that somebody wrote may be missing.
//!
//! More seeds: `BUILDSPACES_TEST_MIRROR_SEEDS=10000 cargo nextest run -p buildspaces-sandbox nothing_is_lost_whatever`. To replay one, put its
//! seed into `REPLAY`. The order of concurrent insertions at one place is not part of the seed.

use std::collections::BTreeSet;
use std::sync::Arc;

use buildspaces_rooms::BlobHash;
use buildspaces_rooms::tree::NodeKind;
use rand::Rng as _;
use tempfile::TempDir;

use super::core::{Core, Scope};
use super::keep::Keeper;
use super::memory::{MemoryRoom, World, shown};

/// Seeds per run, unless the environment says how many.
const SEEDS: u64 = 500;

#[expect(clippy::disallowed_methods, reason = "the environment says how long a test may take")]
fn seeds() -> u64 {
    let said = std::env::var("BUILDSPACES_TEST_MIRROR_SEEDS").ok();
    said.map_or(SEEDS, |seeds| seeds.parse().expect("BUILDSPACES_TEST_MIRROR_SEEDS is a number"))
}

/// A seed to run alone, with its story printed.
const REPLAY: Option<u64> = None;

/// Deeds per seed.
const DEEDS: usize = 40;

/// A folder in memory where there is one: a simulation writes thousands of files.
pub(super) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder for the test")
}

pub(super) fn open(folder: &TempDir, boot: &str, room: &Arc<MemoryRoom>) -> Result<Core, super::Error> {
    let mut core = Core::open(folder.path(), None, boot, room.clone())?;
    core.states.fuse = core.disk.fuse.clone();
    *room.fuse.lock().expect("never poisoned") = core.disk.fuse.clone();
    Ok(core)
}

/// Keeps the files that are no documents, however new they are. False if something is still to be kept.
pub(super) fn keep(core: &Core, room: &Arc<MemoryRoom>) -> bool {
    Keeper::new(room.clone(), core.disk.clone()).keep(&core.holdings(), i128::MAX).is_none()
}

#[test]
fn nothing_is_lost_whatever_happens_at_once() {
    let seeds = REPLAY.map_or(0..seeds(), |seed| seed..seed + 1);
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let mut failures: Vec<(u64, String)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let seeds = seeds.clone().filter(move |seed| seed % threads == thread);
                scope.spawn(move || seeds.filter_map(|seed| Some((seed, simulate(seed).err()?))).collect::<Vec<_>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a simulation does not panic")).collect()
    });
    failures.sort_by_key(|(_, story)| story.len());
    let seeds: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    assert!(failures.is_empty(), "{} failed: {seeds:?}; the shortest:\n{}", seeds.len(), failures[0].1);
}

/// The story if something is wrong at its end.
fn simulate(seed: u64) -> Result<(), String> {
    let folder = folder();
    let workspace = folder.path().join("workspace");
    let room = Arc::new(MemoryRoom::new(seed, workspace));
    let mut boot = 0;
    let mut core = open(&folder, "boot 0", &room).expect("opens");
    core.settle(Scope::Everything).expect("settles");
    for _ in 0..DEEDS {
        room.act(World::anybody);
        let dice = room.act(|world| world.rng.random_range(0..100));
        match dice {
            0..40 => {
                room.act(|world| world.interference = 15);
                let _ = core.settle(Scope::Everything);
                room.act(|world| world.interference = 0);
            }
            40..55 => {
                let _ = core.absorb();
            }
            55..65 => {
                let _ = core.flush();
            }
            65..80 => {
                let effects = room.act(|world| world.rng.random_range(1..12));
                room.act(|world| world.story.push(format!("crash after {effects} effects")));
                let fuse = core.disk.fuse.clone();
                fuse.set(Some(effects));
                core.rescan = Scope::Everything;
                while !fuse.is_blown() && core.step().is_ok_and(|more| more) {}
                drop(core);
                // Sometimes the machine itself was down, and nobody wrote meanwhile.
                if room.act(|world| world.rng.random_bool(0.2)) {
                    boot += 1;
                    room.act(|world| world.story.push("the machine was down".to_owned()));
                } else {
                    room.act(World::anybody);
                }
                core = open(&folder, &format!("boot {boot}"), &room).expect("opens again");
            }
            80..85 => {
                keep(&core, &room);
            }
            85..90 if core.settle(Scope::Everything).is_ok() && keep(&core, &room) => {
                room.act(World::loses_workspace);
                drop(core);
                for lost in ["workspace", "mirror", "tmp"] {
                    std::fs::remove_dir_all(folder.path().join(lost)).expect("it was there");
                }
                core = open(&folder, &format!("boot {boot}"), &room).expect("opens again");
            }
            90..96 => room.act(World::program_storms),
            _ => {}
        }
    }
    room.act(World::deliver_all);
    let settled = core.settle(Scope::Everything).and_then(|()| core.settle(Scope::Everything));
    let kept = keep(&core, &room);
    room.act(|world| {
        let settled = settled.map_err(|e| e.to_string());
        let kept = if kept { Ok(()) } else { Err("not every file is kept".to_owned()) };
        settled.and(kept).and_then(|()| check(world, folder.path())).map_err(|problem| {
            let nodes: Vec<_> = world.tree.view().nodes().map(|n| (n, world.text(&n.id))).collect();
            let files: Vec<_> = world.files().into_iter().map(|f| (std::fs::read(&f).map(|b| shown(&b)), f)).collect();
            format!("{}\n{nodes:#?}\n{files:#?}\nseed {seed}: {problem}", world.story.join("\n"))
        })
    })
}

/// The tree is the workspace, the documents are the files, and nothing is missing.
fn check(world: &World, folder: &std::path::Path) -> Result<(), String> {
    let root = folder.join("workspace");
    let mut written: BTreeSet<char> = BTreeSet::new();
    let mut expected = BTreeSet::new();
    let view = world.tree.view();
    for node in view.nodes() {
        let path = root.join(view.path(&node.id).ok_or("a node without a path")?);
        if node.kind == NodeKind::Folder {
            if !path.is_dir() {
                return Err(format!("{} is no folder", path.display()));
            }
        } else {
            let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let is_text = std::str::from_utf8(&bytes).is_ok_and(|text| !text.contains('\0'));
            if is_text != (node.kind == NodeKind::Text) {
                return Err(format!("{} is {:?}", path.display(), node.kind));
            }
            let text = world.text(&node.id);
            if is_text && text.as_bytes() != bytes {
                return Err(format!("{}: {text:?} is {:?}", path.display(), String::from_utf8_lossy(&bytes)));
            }
            written.extend(text.chars());
            if !is_text {
                written.extend(shown(&bytes).chars());
                let hash = BlobHash::of(&bytes);
                if node.blob != Some(hash) || world.blobs.get(&hash) != Some(&bytes) {
                    return Err(format!("{} is not kept as it is", path.display()));
                }
            }
            expected.insert(path.clone());
        }
        expected.insert(path);
    }
    for path in world.files().into_iter().chain(world.folders()) {
        if path == root || expected.contains(&path) {
            continue;
        }
        let lower = path.to_string_lossy().to_lowercase();
        let clashes = expected.iter().any(|other| {
            let other = other.to_string_lossy().to_lowercase();
            lower == other || lower.starts_with(&format!("{other}/"))
        });
        let is_dir = path.is_dir();
        let hidden = is_dir && std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some());
        if !clashes && !hidden && !world.is_ignoring {
            return Err(format!("{} is not in the tree", path.display()));
        }
        if !is_dir {
            written.extend(shown(&std::fs::read(&path).unwrap_or_default()).chars());
        }
    }
    let lost: Vec<&char> = world.required.difference(&written).collect();
    if lost.is_empty() { Ok(()) } else { Err(format!("lost {lost:?}")) }
}
