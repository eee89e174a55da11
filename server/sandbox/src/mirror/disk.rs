//! The one place that touches a workspace's files.
//!
//! The programs in the sandbox are hostile and the server may be root, so every path is resolved
//! beneath the workspace without following any link, a file is opened only after it was seen to be
//! a regular one, and opening never waits. This module knows nothing of documents or trees.
//!
//! A file is written aside, in a folder that the sandbox cannot see, and then exchanged with the
//! present one. So a reader sees the old bytes or the new ones, another name of the old file (a
//! hard link) keeps its bytes, and what was displaced can be compared and put back.
//!
//! Start with [`Disk::read`] and [`Disk::place`].

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags, Uid, fchmod, fchown,
    mkdirat, openat, openat2, renameat_with, statx, unlinkat,
};
use rustix::io::Errno;

use crate::files;

/// How long after its last change a file's time stamps prove that it did not change since. The
/// kernel's file clock ticks every 10 ms at worst.
const SETTLED_AFTER_NS: i128 = 50_000_000;

/// From so many bytes on the kernel does not take a path.
const MAX_PATH: usize = 4096;

/// Mode of new files; of the mode of existing ones only these bits and the executable bits are kept.
const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;
const KEPT_MODE_BITS: u32 = 0o777;

/// What says that two looks saw the same file, whatever its name is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Identity {
    pub(super) ino: u64,
    /// Time of birth in ns, because inode numbers are used again at once; 0 where it is not known.
    pub(super) born: i64,
}

/// What a look at a file without opening it tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    pub(super) identity: Identity,
    pub(super) size: u64,
    pub(super) is_dir: bool,
    mode: u32,
    modified: i64,
    changed: i64,
}

impl Stamp {
    /// Stands for a file that was not looked at yet.
    pub(super) fn unknown(identity: Identity, is_dir: bool) -> Self {
        Self { identity, size: u64::MAX, is_dir, mode: 0, modified: 0, changed: 0 }
    }

    /// True if an equal stamp at a later look means equal bytes.
    pub(super) fn settled(&self, now: i128) -> bool {
        i128::from(self.changed.max(self.modified)) + SETTLED_AFTER_NS < now
    }

    /// How long from `now` on the file must go on being left alone, so that it was for `quiet`.
    pub(super) fn rests_in(&self, quiet: Duration, now: i128) -> Duration {
        let rested =
            i128::from(self.changed.max(self.modified)) + i128::try_from(quiet.as_nanos()).unwrap_or(i128::MAX);
        // A clock that was set back keeps no file waiting for longer.
        u64::try_from(rested - now).map_or(Duration::ZERO, Duration::from_nanos).min(quiet)
    }

    /// As [`PartialEq`], but true also if the file was only renamed in between.
    pub(super) fn same_bytes(&self, other: &Self) -> bool {
        (self.identity, self.size, self.is_dir, self.modified)
            == (other.identity, other.size, other.is_dir, other.modified)
    }
}

/// The present time as the file clock counts it, in ns.
pub(super) fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i128::try_from(d.as_nanos()).unwrap_or(i128::MAX))
}

/// Something with a name in a folder.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) stamp: Stamp,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Files and folders whose names are text.
    pub(super) entries: Vec<Entry>,
    /// Links, pipes, sockets, devices, and names that are not UTF-8.
    pub(super) odd: u64,
    /// The bound on entries was reached; some were not looked at.
    pub(super) truncated: bool,
}

/// A file's content, as far as it may be read.
#[derive(Debug)]
pub(super) enum Content {
    Bytes {
        bytes: Vec<u8>,
        stamp: Stamp,
        settled: bool,
    },
    /// Larger than the limit; not read.
    TooLarge(Stamp),
    /// There is no regular file of that name.
    Gone,
}

/// A new file, complete, not yet in the workspace.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) name: String,
    pub(super) stamp: Stamp,
}

/// How putting a prepared file in place ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placed {
    Done(Stamp),
    /// Something else was there than what was expected; the workspace is as it was.
    Changed,
}

/// One workspace on disk.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    root: Mutex<Arc<OwnedFd>>,
    /// Held for writing while the files move: see [`Disk::stay`].
    moving: RwLock<()>,
    tmp: OwnedFd,
    owner: Option<(u32, u32)>,
    next_tmp: AtomicU64,
    #[cfg(test)]
    pub(super) fuse: Fuse,
}

impl Disk {
    /// Opens the workspace at `root` and the folder `tmp` on the same file system; makes both if need be.
    pub(super) fn open(root: &Path, tmp: &Path, owner: Option<(u32, u32)>) -> Result<Self, Errno> {
        files::finish_move(root)?;
        let disk = Self {
            path: root.to_owned(),
            root: Mutex::new(Arc::new(open_dir(root)?)),
            moving: RwLock::default(),
            tmp: open_dir(tmp)?,
            owner,
            next_tmp: AtomicU64::new(0),
            #[cfg(test)]
            fuse: Fuse::default(),
        };
        disk.own_root()?;
        Ok(disk)
    }

    fn own_root(&self) -> Result<(), Errno> {
        let root = self.root();
        self.own(&*root)?;
        fchmod(&*root, Mode::from_raw_mode(DIR_MODE))
    }

    fn root(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.root.lock().expect("only ever replaced"))
    }

    /// Moves everything into `folder`, and that to where the workspace was: see [`files::Files::move_into`].
    pub(super) fn move_into(&self, folder: &Path) -> Result<bool, Errno> {
        let _moving = self.moving.write().expect("nothing panics while it is held");
        let moved = files::move_into(&self.path, folder)?;
        if moved {
            *self.root.lock().expect("only ever replaced") = Arc::new(open_dir(&self.path)?);
            self.own_root()?;
        }
        Ok(moved)
    }

    /// The files stay where they are while this is held. Whoever is not the mirror's own thread, which moves them, holds it while it
    /// looks at paths.
    pub(super) fn stay(&self) -> RwLockReadGuard<'_, ()> {
        self.moving.read().expect("nothing panics while it is held")
    }

    /// What is left of an earlier process: names in the temporary folder with their identity.
    pub(super) fn leftovers(&self) -> Result<Vec<(String, Identity)>, Errno> {
        let mut budget = u64::MAX;
        let listing = list(&self.tmp, &mut budget)?;
        Ok(listing.entries.into_iter().map(|entry| (entry.name, entry.stamp.identity)).collect())
    }

    pub(super) fn remove_leftover(&self, name: &str) {
        if self.crash_point().is_err() {
            return;
        }
        let _ = unlinkat(&self.tmp, name, AtFlags::empty());
    }

    /// A file or folder at `path`, or `None` for anything else and for nothing.
    pub(super) fn stat(&self, path: &str) -> Result<Option<Stamp>, Errno> {
        match self.parent(path).and_then(|(dir, name)| stat_in(&dir, name)) {
            Ok(stamp) => Ok(stamp),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Lists the folder at `path` (empty = the root). `budget` is how many entries may still be looked at.
    pub(super) fn list(&self, path: &str, budget: &mut u64) -> Result<Listing, Errno> {
        list(&self.dir(path)?, budget)
    }

    /// Reads a regular file of at most `limit` bytes.
    pub(super) fn read(&self, path: &str, limit: u64) -> Result<Content, Errno> {
        let looked = now();
        let (mut file, stamp) = match self.open_file(path) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(Content::Gone),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO) => return Ok(Content::Gone),
            Err(e) => return Err(e),
        };
        if stamp.size > limit {
            return Ok(Content::TooLarge(stamp));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stamp.size).unwrap_or(0) + 1);
        (&mut file)
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        let after = stat_fd(&file)?;
        if bytes.len() as u64 > limit {
            return Ok(Content::TooLarge(after));
        }
        // A file that was written to while it was read is read again at the next look.
        let settled = stamp == after && after.settled(looked);
        Ok(Content::Bytes { bytes, stamp: after, settled })
    }

    /// Opens a regular file for reading; `None` if it is something else.
    pub(super) fn open_file(&self, path: &str) -> Result<Option<(File, Stamp)>, Errno> {
        let (dir, name) = self.parent(path)?;
        // Only what was seen to be a regular file is opened at all; opening does not wait, should it
        // have become a pipe since.
        if stat_in(&dir, name)?.is_none_or(|stamp| stamp.is_dir) {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat2(&dir, name, flags, Mode::empty(), beneath())?);
        let stamp = statx(&file, "", AtFlags::EMPTY_PATH, stat_fields())?;
        if kind_of(&stamp) != FileType::RegularFile {
            return Ok(None);
        }
        Ok(Some((file, to_stamp(&stamp))))
    }

    /// Writes a file aside. It becomes visible by [`Disk::place`]. `like` lends its mode.
    pub(super) fn prepare(&self, bytes: &[u8], like: Option<&Stamp>) -> Result<Prepared, Errno> {
        self.write_aside(like.map_or(FILE_MODE, |stamp| stamp.mode & KEPT_MODE_BITS), |file| write(file, bytes))
    }

    /// The same for a file that nothing lends a mode.
    pub(super) fn prepare_new(&self, bytes: &[u8], executable: bool) -> Result<Prepared, Errno> {
        self.write_aside(if executable { DIR_MODE } else { FILE_MODE }, |file| write(file, bytes))
    }

    /// The same for bytes that come in pieces: `piece` is asked for those from a byte on, until it has none.
    pub(super) fn prepare_pieces<E: From<Errno>>(
        &self,
        mut piece: impl FnMut(u64) -> Result<Bytes, E>,
    ) -> Result<Prepared, E> {
        self.write_aside(FILE_MODE, |file| {
            let mut at = 0;
            loop {
                let bytes = piece(at)?;
                if bytes.is_empty() {
                    return Ok(());
                }
                write(file, &bytes)?;
                at += bytes.len() as u64;
            }
        })
    }

    fn write_aside<E: From<Errno>>(
        &self,
        mode: u32,
        fill: impl FnOnce(&mut File) -> Result<(), E>,
    ) -> Result<Prepared, E> {
        self.crash_point()?;
        let number = self.next_tmp.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.tmp, &name, flags, Mode::from_raw_mode(0o600))?);
        let written = (|| -> Result<Stamp, E> {
            fill(&mut file)?;
            fchmod(&file, Mode::from_raw_mode(mode))?;
            self.own(&file)?;
            Ok(stat_fd(&file)?)
        })();
        match written {
            Ok(stamp) => Ok(Prepared { name, stamp }),
            Err(e) => {
                self.remove_leftover(&name);
                Err(e)
            }
        }
    }

    /// Puts a prepared file at `path`, where `expected` (or nothing) is now.
    pub(super) fn place(&self, new: &Prepared, path: &str, expected: Option<&Stamp>) -> Result<Placed, Errno> {
        self.crash_point()?;
        let (dir, name) = self.parent(path)?;
        let Some(expected) = expected else {
            return match renameat_with(&self.tmp, &new.name, &dir, name, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(Placed::Done(self.stamp_after(&dir, name, new))),
                Err(Errno::EXIST) => Ok(Placed::Changed),
                Err(e) => Err(e),
            };
        };
        match renameat_with(&self.tmp, &new.name, &dir, name, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Placed::Changed),
            // A file system without exchange: the moment between the look and the rename is unguarded.
            Err(Errno::INVAL | Errno::NOSYS) => {
                if !stat_in(&dir, name)?.is_some_and(|present| present.same_bytes(expected)) {
                    return Ok(Placed::Changed);
                }
                renameat_with(&self.tmp, &new.name, &dir, name, RenameFlags::empty())?;
                return Ok(Placed::Done(self.stamp_after(&dir, name, new)));
            }
            Err(e) => return Err(e),
        }
        self.crash_point()?;
        let displaced = stat_in(&self.tmp, &new.name)?;
        if displaced.is_some_and(|displaced| displaced.same_bytes(expected)) {
            self.remove_leftover(&new.name);
            return Ok(Placed::Done(self.stamp_after(&dir, name, new)));
        }
        renameat_with(&self.tmp, &new.name, &dir, name, RenameFlags::EXCHANGE)?;
        Ok(Placed::Changed)
    }

    /// Renames without replacing anything: `EXIST` if `to` is taken.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        self.crash_point()?;
        let ((from_dir, from_name), (to_dir, to_name)) = (self.parent(from)?, self.parent(to)?);
        renameat_with(&from_dir, from_name, &to_dir, to_name, RenameFlags::NOREPLACE)
    }

    /// Exchanges two names.
    pub(super) fn exchange(&self, a: &str, b: &str) -> Result<(), Errno> {
        self.crash_point()?;
        let ((a_dir, a_name), (b_dir, b_name)) = (self.parent(a)?, self.parent(b)?);
        renameat_with(&a_dir, a_name, &b_dir, b_name, RenameFlags::EXCHANGE)
    }

    /// Makes a folder; `EXIST` if the name is taken.
    pub(super) fn make_dir(&self, path: &str) -> Result<Stamp, Errno> {
        self.crash_point()?;
        let (dir, name) = self.parent(path)?;
        mkdirat(&dir, name, Mode::from_raw_mode(DIR_MODE))?;
        let made = openat2(&dir, name, dir_flags(), Mode::empty(), beneath())?;
        fchmod(&made, Mode::from_raw_mode(DIR_MODE))?;
        self.own(&made)?;
        stat_fd(&made)
    }

    pub(super) fn remove_file(&self, path: &str) -> Result<(), Errno> {
        self.crash_point()?;
        let (dir, name) = self.parent(path)?;
        unlinkat(&dir, name, AtFlags::empty())
    }

    /// Removes an empty folder.
    pub(super) fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        self.crash_point()?;
        let (dir, name) = self.parent(path)?;
        unlinkat(&dir, name, AtFlags::REMOVEDIR)
    }

    /// Opens the folder at `path` (empty = the root), however long that is.
    pub(super) fn dir(&self, path: &str) -> Result<OwnedFd, Errno> {
        let open = |above: BorrowedFd<'_>, path: &str| openat2(above, path, dir_flags(), Mode::empty(), beneath());
        let (first, mut rest) = first_part(path);
        let mut dir = open(self.root().as_fd(), if first.is_empty() { "." } else { first })?;
        while let Some(below) = rest {
            let (part, further) = first_part(below);
            dir = open(dir.as_fd(), part)?;
            rest = further;
        }
        Ok(dir)
    }

    fn parent<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if matches!(name, "" | "." | "..") {
            return Err(Errno::INVAL);
        }
        Ok((self.dir(parent)?, name))
    }

    /// Where a simulated crash may fall. After it nothing reaches the disk any more.
    #[inline]
    #[cfg_attr(not(test), expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests crash here"))]
    fn crash_point(&self) -> Result<(), Errno> {
        #[cfg(test)]
        self.fuse.burn()?;
        Ok(())
    }

    fn own(&self, fd: impl AsFd) -> Result<(), Errno> {
        match self.owner {
            Some((user, group)) => fchown(fd, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))),
            None => Ok(()),
        }
    }

    /// The stamp under which the placed file is remembered. If somebody wrote to it already, the one
    /// it had before, so that the next look finds a difference.
    fn stamp_after(&self, dir: &OwnedFd, name: &str, new: &Prepared) -> Stamp {
        match stat_in(dir, name) {
            Ok(Some(stamp)) if stamp.same_bytes(&new.stamp) => stamp,
            _ => new.stamp,
        }
    }
}

/// As much of a path as the kernel takes at once, and what is left.
fn first_part(path: &str) -> (&str, Option<&str>) {
    let cut = path.as_bytes().get(..MAX_PATH).and_then(|first| first.iter().rposition(|byte| *byte == b'/'));
    match cut {
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

/// A later look at an open file.
pub(super) fn look_again(file: &File) -> Result<Stamp, Errno> {
    stat_fd(file)
}

fn write(file: &mut File, bytes: &[u8]) -> Result<(), Errno> {
    file.write_all(bytes).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// Opens a folder of the server's own, and makes it if need be.
fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    match std::fs::create_dir_all(path) {
        Ok(()) => openat(CWD, path, dir_flags(), Mode::empty()),
        Err(e) => Err(Errno::from_io_error(&e).unwrap_or(Errno::IO)),
    }
}

fn dir_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC
}

fn beneath() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV
}

fn stat_fields() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

fn list(dir: &OwnedFd, budget: &mut u64) -> Result<Listing, Errno> {
    let mut listing = Listing::default();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Some(left) = budget.checked_sub(1) else {
            listing.truncated = true;
            break;
        };
        *budget = left;
        let Ok(name) = name.to_str() else {
            listing.odd += 1;
            continue;
        };
        match stat_in(dir, name) {
            Ok(Some(stamp)) => listing.entries.push(Entry { name: name.to_owned(), stamp }),
            Ok(None) => listing.odd += 1,
            // It went between the listing and the look.
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(listing)
}

/// `None` for what is neither a regular file nor a folder. An error if there is nothing.
fn stat_in(dir: impl AsFd, name: &str) -> Result<Option<Stamp>, Errno> {
    let stat = statx(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, stat_fields())?;
    Ok(matches!(kind_of(&stat), FileType::RegularFile | FileType::Directory).then(|| to_stamp(&stat)))
}

fn stat_fd(fd: impl AsFd) -> Result<Stamp, Errno> {
    Ok(to_stamp(&statx(fd, "", AtFlags::EMPTY_PATH, stat_fields())?))
}

fn kind_of(stat: &rustix::fs::Statx) -> FileType {
    FileType::from_raw_mode(u32::from(stat.stx_mode))
}

fn to_stamp(stat: &rustix::fs::Statx) -> Stamp {
    let ns = |time: &rustix::fs::StatxTimestamp| {
        time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
    };
    let born = if stat.stx_mask & StatxFlags::BTIME.bits() == 0 { 0 } else { ns(&stat.stx_btime) };
    let is_dir = kind_of(stat) == FileType::Directory;
    Stamp {
        identity: Identity { ino: stat.stx_ino, born },
        // A folder's size and times say nothing about what the mirror keeps of it.
        size: if is_dir { 0 } else { stat.stx_size },
        is_dir,
        mode: u32::from(stat.stx_mode),
        modified: ns(&stat.stx_mtime),
        changed: ns(&stat.stx_ctime),
    }
}

/// Lets a simulated process die after a number of effects. Clones share one count.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(super) struct Fuse(Arc<Mutex<Option<u32>>>);

#[cfg(test)]
impl Fuse {
    pub(super) fn set(&self, effects: Option<u32>) {
        *self.0.lock().expect("no panics while held") = effects;
    }

    pub(super) fn is_blown(&self) -> bool {
        *self.0.lock().expect("no panics while held") == Some(0)
    }

    pub(super) fn burn(&self) -> Result<(), Errno> {
        match &mut *self.0.lock().expect("no panics while held") {
            Some(0) => Err(Errno::IO),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
