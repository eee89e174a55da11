//! How much of the host's disk a sandbox's workspace takes. Above the limit the sandbox is ended, with that reason.
//!
//! Quotas of file systems need preparation that a machine may not have; a walk works everywhere. It follows no link, and takes at most a
//! tenth of the time, so a program can be over the limit for a few seconds before it is noticed. What was deleted and is still open counts
//! as well, see [`super::unlinked`].

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::{OrganisationId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::accounts::Accounts;
use super::sandbox::Sandbox;
use super::unlinked::Processes;
use crate::Limits;
use crate::steps::Container;

/// Shortest time between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// Looking takes at most one part in so many of the time.
pub(super) const SHARE: u32 = 10;

/// How long until the files of rooms that have no sandbox are looked at again.
pub(super) const AGAIN: Duration = Duration::from_secs(3600);

/// What a workspace that was over the limit before the sandbox began may grow by, so that somebody can work on making it smaller.
const ALLOWANCE: u64 = 64 << 20;

/// What an entry counts at least: so many of them take a file system's room, too, however empty they are.
const LEAST: u64 = 1 << 10;

/// Folders within folders. Deeper ones cannot be looked into, so what has them counts as too much.
const MAX_DEPTH: usize = 200;

/// What a workspace may take while its sandbox lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    most: u64,
    /// What it took when the sandbox began, if that is known.
    begun: Option<u64>,
}

impl Allowed {
    /// Of a sandbox that another process of this server made: it may have filled its workspace already.
    pub(super) fn of_one_that_runs(limits: &Limits) -> Self {
        Self { most: limits.disk, begun: None }
    }
}

/// How much `workspace` may take while the sandbox lives that is about to begin. To be asked before anything runs in it.
pub(super) async fn allowed(workspace: PathBuf, limits: &Limits) -> Allowed {
    let begun = tokio::task::spawn_blocking(move || taken(&workspace, u64::MAX)).await.ok().and_then(Result::ok);
    Allowed { most: with_allowance(begun.unwrap_or_default(), limits.disk), begun }
}

fn with_allowance(begun: u64, limit: u64) -> u64 {
    if begun > limit { begun.saturating_add(ALLOWANCE) } else { limit }
}

/// The account on which the files of a room are, where its organisation has a ceiling for them.
#[derive(Debug)]
pub(super) struct Theirs {
    accounts: Accounts,
    organisation: OrganisationId,
    room: RoomId,
    ceiling: u64,
    /// What the workspace may take, whatever the others take: what it took when all rooms last took no more than they may. Set by the first look.
    floor: Option<u64>,
}

impl Theirs {
    pub(super) fn of(accounts: &Accounts, organisation: Option<OrganisationId>, room: &RoomId) -> Option<Self> {
        let (accounts, room, organisation) = (accounts.clone(), room.clone(), organisation?);
        let ceiling = accounts.disk_ceiling(&organisation)?;
        Some(Self { accounts, organisation, room, ceiling, floor: None })
    }

    /// Whether the room takes too much now that it takes `taken`: all rooms of the organisation take more than they may, and this one grew since
    /// they did not. So none is ended for what others write. One that began above the ceiling may grow a little, as above its own limit.
    fn is_too_much(&mut self, taken: u64, begun: Option<u64>) -> bool {
        let floor = *self.floor.get_or_insert_with(|| {
            let begun = begun.unwrap_or(taken);
            let is_above = self.accounts.takes_disk(&self.organisation, &self.room, begun) > self.ceiling;
            if is_above { begun.saturating_add(ALLOWANCE) } else { begun }
        });
        if self.accounts.takes_disk(&self.organisation, &self.room, taken) > self.ceiling {
            return taken > floor;
        }
        self.floor = Some(taken);
        false
    }

    fn sentence(&self) -> String {
        let (organisation, mib) = (&self.organisation, self.ceiling >> 20);
        format!(
            "The workspaces of all rooms of {organisation} take more than {mib} MiB of disk, the most they may have together \
             (organisations.{organisation}.disk_mib), and this one grew, so its sandbox was stopped. Delete what is not needed."
        )
    }
}

/// Looks at what is in the workspaces of an organisation's rooms that have no sandbox, as they count as well. `known` are the rooms that counted
/// before it was known that these are all there are: the others are gone. Takes at most one part in `share` of the time.
pub(super) async fn count(
    accounts: &Accounts,
    organisation: &OrganisationId,
    known: Vec<RoomId>,
    folders: Vec<(RoomId, PathBuf)>,
    share: u32,
    is_watched: impl Fn(&RoomId) -> bool,
) {
    let theirs: HashSet<&RoomId> = folders.iter().map(|(room, _)| room).collect();
    accounts.forget_disks(organisation, known.iter().filter(|room| !theirs.contains(room)));
    for (room, folder) in folders {
        // Somebody looks at it all the time.
        if is_watched(&room) {
            continue;
        }
        let began = Instant::now();
        let Ok(taken) = tokio::task::spawn_blocking(move || taken(&folder, u64::MAX)).await else { return };
        match taken {
            Ok(taken) if !is_watched(&room) => drop(accounts.takes_disk(organisation, &room, taken)),
            // A room that nobody worked in has no folder.
            Err(Errno::NOENT) => accounts.forget_disks(organisation, [&room]),
            _ => {}
        }
        tokio::time::sleep(began.elapsed() * share).await;
    }
}

/// Counts the files of one room, after something was put there that no sandbox did.
pub(super) async fn count_one(accounts: &Accounts, organisation: &OrganisationId, room: &RoomId, folder: PathBuf) {
    if accounts.disk_ceiling(organisation).is_none() {
        return;
    }
    match tokio::task::spawn_blocking(move || taken(&folder, u64::MAX)).await {
        Ok(Ok(taken)) => drop(accounts.takes_disk(organisation, room, taken)),
        Ok(Err(error)) => tracing::warn!(%room, %error, "what an organisation takes of the disk is counted too low"),
        // The server is stopping.
        Err(_) => {}
    }
}

/// Looks at `workspace`, which may take what is `allowed`, for as long as the sandbox lives.
pub(super) async fn watch(
    sandbox: Weak<Sandbox>,
    workspace: PathBuf,
    allowed: Allowed,
    mut theirs: Option<Theirs>,
    tasks: Tasks,
) {
    let watching = async {
        let mut processes = None;
        loop {
            let began = Instant::now();
            let root = workspace.clone();
            if processes.is_none() {
                let Some(sandbox) = sandbox.upgrade() else { return };
                processes = sandbox.processes().await;
            }
            let theirs_now = processes.clone();
            let look = move || Ok((taken(&root, allowed.most)?, held(&root, theirs_now.as_ref())?));
            // It ends with the process if the server stops meanwhile.
            let Ok(looked_at) = tokio::task::spawn_blocking(look).await else { return };
            let looked = began.elapsed();
            let Some(sandbox) = sandbox.upgrade() else { return };
            match looked_at {
                Ok((named, held)) => {
                    let taken = named.saturating_add(held);
                    let theirs = theirs.as_mut();
                    let theirs =
                        theirs.and_then(|theirs| theirs.is_too_much(taken, allowed.begun).then(|| theirs.sentence()));
                    let own = || {
                        if named == u64::MAX {
                            return format!(
                                "The workspace has folders more than {MAX_DEPTH} deep, so nobody can tell how much of the \
                                 disk it takes, and the sandbox was stopped. Delete them."
                            );
                        }
                        let (mib, key) = (sandbox.limits().disk >> 20, sandbox.limits().key("disk_mib"));
                        let with = if held > 0 { " with what is deleted and still open" } else { "" };
                        format!(
                            "The workspace takes more than {mib} MiB of disk{with}, the most a room may have here ({key}), \
                             so the sandbox was stopped. Delete what is not needed."
                        )
                    };
                    if let Some(reason) = (taken > allowed.most).then(own).or(theirs) {
                        sandbox.exceeds(&reason);
                        tracing::info!(workspace = %workspace.display(), reason, "a sandbox took too much disk");
                        sandbox.kill().await;
                        return;
                    }
                }
                // It may have been moved away this moment.
                Err::<_, Errno>(error) => tracing::debug!(%error, "cannot look at how large a workspace is"),
            }
            if sandbox.state().await.is_gone() {
                return;
            }
            drop(sandbox);
            tokio::time::sleep(EVERY.max(looked * SHARE)).await;
        }
    };
    tokio::select! {
        () = watching => {}
        () = tasks.cancelled() => {}
    }
}

/// Bytes that the processes hold on the file system of `root` though they have no name any more.
fn held(root: &Path, processes: Option<&Processes>) -> Result<u64, Errno> {
    let device = rustix::fs::stat(root)?.st_dev;
    Ok(processes.map_or(0, |processes| processes.hold(device)))
}

/// Bytes of disk that everything below `root` takes; `u64::MAX` if that cannot be told. Stops looking above `most`.
fn taken(root: &Path, most: u64) -> Result<u64, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let open = |above: &OwnedFd, name: &CString| openat(above, name.as_c_str(), flags, Mode::empty());
    let mut total = 0;
    // Files of several names are there once.
    let mut linked = HashSet::new();
    let mut folders = vec![(openat(CWD, root, flags, Mode::empty())?, None::<Vec<CString>>)];
    loop {
        let depth = folders.len();
        let Some((folder, below)) = folders.last_mut() else { return Ok(total) };
        if below.is_none() {
            let mut found = Vec::new();
            for entry in Dir::read_from(&*folder)? {
                let entry = entry?;
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                // What is gone meanwhile takes nothing.
                let Ok(stat) = statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
                let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                if is_folder {
                    found.push(name.to_owned());
                }
                if is_folder || stat.st_nlink < 2 || linked.insert((stat.st_dev, stat.st_ino)) {
                    total += u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512).max(LEAST);
                }
                if total > most {
                    return Ok(total);
                }
            }
            *below = Some(found);
        }
        match below.as_mut().and_then(Vec::pop) {
            None => drop(folders.pop()),
            Some(_) if depth >= MAX_DEPTH => return Ok(u64::MAX),
            Some(name) => match open(folder, &name) {
                Ok(folder) => folders.push((folder, None)),
                // Gone, something else by now, or closed to the server's user, who is then the sandbox's, too.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {}
                Err(error) => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::Ceilings;

    const MIB: u64 = 1 << 20;

    #[test]
    fn only_who_grows_is_ended_for_what_all_rooms_of_an_organisation_take() {
        let acme = OrganisationId::parse("acme").expect("valid");
        let ceilings = Ceilings { disk: Some(200 * MIB), ..Ceilings::default() };
        let accounts = Accounts::new([(acme.clone(), ceilings)].into());
        let room = || Theirs::of(&accounts, Some(acme.clone()), &RoomId::random()).expect("they have a ceiling");
        let (mut a, mut b) = (room(), room());
        assert!(!a.is_too_much(90 * MIB, Some(90 * MIB)));
        assert!(!b.is_too_much(60 * MIB, Some(10 * MIB)), "150 of 200");
        assert!(b.is_too_much(120 * MIB, Some(10 * MIB)) && b.sentence().contains("organisations.acme.disk_mib"));
        assert!(!a.is_too_much(90 * MIB, Some(90 * MIB)), "it did not write");
        assert!(a.is_too_much(91 * MIB, Some(90 * MIB)));
        // Whoever begins when there is too much may tidy up, and needs a little room for it.
        let mut c = room();
        assert!(!c.is_too_much(MIB, None));
        assert!(!c.is_too_much(60 * MIB, None) && c.is_too_much(70 * MIB, None));
        assert!(!b.is_too_much(5 * MIB, Some(10 * MIB)), "they fit again");
        assert!(!a.is_too_much(95 * MIB, Some(90 * MIB)));
        assert!(Theirs::of(&accounts, None, &RoomId::random()).is_none());
    }

    #[tokio::test]
    async fn rooms_without_a_sandbox_are_counted_until_they_are_gone() {
        let acme = OrganisationId::parse("acme").expect("valid");
        let ceilings = Ceilings { disk: Some(200 * MIB), ..Ceilings::default() };
        let accounts = Accounts::new([(acme.clone(), ceilings)].into());
        let dir = tempfile::tempdir().expect("a folder");
        let rooms: Vec<(RoomId, PathBuf)> = (0..4)
            .map(|n| {
                let folder = dir.path().join(n.to_string());
                fs::create_dir(&folder).expect("made");
                fs::write(folder.join("file"), vec![7; 1 << 20]).expect("written");
                (RoomId::random(), folder)
            })
            .collect();
        let [a, b, c, d] = [0, 1, 2, 3].map(|n: usize| rooms[n].0.clone());
        let all = |rooms: &[(RoomId, PathBuf)]| rooms.to_vec();
        count(&accounts, &acme, Vec::new(), all(&rooms[..3]), 0, |room| *room == c).await;
        let counted = || {
            let mut rooms = accounts.rooms_with_disk(&acme);
            rooms.sort();
            rooms
        };
        let sorted = |rooms: &[&RoomId]| {
            let mut rooms: Vec<RoomId> = rooms.iter().map(|room| (*room).clone()).collect();
            rooms.sort();
            rooms
        };
        assert_eq!(counted(), sorted(&[&a, &b]), "a sandbox's own look is at c");
        assert!(accounts.takes_disk(&acme, &c, 5 * MIB) >= 7 * MIB);
        // A project was put into d, while the list of rooms was read that has it not, nor c.
        let known = accounts.rooms_with_disk(&acme);
        count_one(&accounts, &acme, &d, rooms[3].1.clone()).await;
        fs::remove_dir_all(&rooms[1].1).expect("removed");
        count(&accounts, &acme, known, all(&rooms[..2]), 0, |_| false).await;
        assert_eq!(counted(), sorted(&[&a, &d]));
        let stranger = OrganisationId::parse("initech").expect("valid");
        count_one(&accounts, &stranger, &a, rooms[0].1.clone()).await;
        assert!(accounts.rooms_with_disk(&stranger).is_empty(), "nobody counts them");
    }

    #[test]
    fn what_is_there_is_counted_once_and_no_link_is_followed() {
        let (dir, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (root, outside) = (dir.path(), outside.path());
        fs::write(outside.join("large"), vec![7; 1 << 20]).expect("written");
        fs::create_dir_all(root.join("a/b")).expect("made");
        let before = taken(root, u64::MAX).expect("looked");
        fs::write(root.join("a/b/file"), vec![7; 300 << 10]).expect("written");
        let with_file = taken(root, u64::MAX).expect("looked");
        assert!(with_file - before >= 300 << 10, "{before} {with_file}");
        fs::hard_link(root.join("a/b/file"), root.join("a/again")).expect("linked");
        symlink(outside, root.join("a/out")).expect("linked");
        symlink(outside.join("large"), root.join("large")).expect("linked");
        let after = taken(root, u64::MAX).expect("looked");
        assert!(after - with_file < 16 << 10, "{with_file} {after}");
        assert!(taken(root, 1 << 10).expect("looked") > 1 << 10, "it stops there");
        assert!(taken(&root.join("a/out"), u64::MAX).is_err(), "a link is no workspace");
    }

    #[test]
    fn many_empty_files_and_deep_folders_are_not_free() {
        let dir = tempfile::tempdir().expect("a folder");
        for n in 0..1000 {
            fs::write(dir.path().join(n.to_string()), "").expect("written");
        }
        assert!(taken(dir.path(), u64::MAX).expect("looked") >= 1000 * LEAST);
        let mut deep = dir.path().to_owned();
        for _ in 0..MAX_DEPTH {
            deep.push("d");
        }
        fs::create_dir_all(&deep).expect("made");
        assert_eq!(taken(dir.path(), u64::MAX), Ok(u64::MAX));
    }
}
