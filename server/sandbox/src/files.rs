//! What containers need to know of a room's files: where on the host they are, and that they can be moved into a folder that a container has
//! as its workspace already.
//!
//! A container's workspace is a mount, made when the container is, and a mount is of a folder and not of its name. So a sandbox that was
//! started before anybody knew for whom has an empty folder; a room's files are renamed into it, one name after the other, and then it gets
//! the place of the folder they were in. Nothing is copied, and whoever has a file open keeps it.
//!
//! A kill at any moment loses nothing: until the move is over the new folder waits beside the old one, and whoever opens the workspace next
//! calls [`finish_move`].

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use buildspaces_policy::tenancy::Tenancy;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, chmodat, openat, openat2, renameat,
    renameat_with, statat,
};
use rustix::io::Errno;

/// The files of one room.
#[async_trait]
pub trait Files: std::fmt::Debug + Send + Sync + 'static {
    /// The folder on the host that holds the files, and nothing else.
    fn host_dir(&self) -> &Path;

    /// What the room is and whose, which decides what its sandbox may use.
    fn tenancy(&self) -> Tenancy;

    /// Moves the files into `folder`, which is empty, and that to [`Files::host_dir`]. No program may be at work in either. False if it
    /// cannot be done and everything is as it was. After an error the files are not to be used before they were opened anew. It is carried
    /// out once begun.
    async fn move_into(&self, folder: &Path) -> io::Result<bool>;

    /// Makes the files be what people see of them at this moment.
    async fn settle(&self) -> io::Result<()>;

    /// Opens a regular file for reading, never through a link and without waiting for a writer; `None` if there is none. It blocks.
    fn open(&self, path: &str) -> io::Result<Option<File>>;
}

/// Files that no document mirrors, of a room of that kind.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf, pub Tenancy);

#[async_trait]
impl Files for Folder {
    fn host_dir(&self) -> &Path {
        &self.0
    }

    fn tenancy(&self) -> Tenancy {
        self.1.clone()
    }

    async fn move_into(&self, folder: &Path) -> io::Result<bool> {
        Ok(move_into(&self.0, folder)?)
    }

    async fn settle(&self) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(open(&self.0)?, path, flags, Mode::empty(), resolve) {
            Ok(file) => {
                let file = File::from(file);
                Ok(file.metadata()?.is_file().then_some(file))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::ISDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Moves what is in `workspace` into `folder`, and `folder` to where `workspace` was. False if it was not begun.
pub(crate) fn move_into(workspace: &Path, folder: &Path) -> Result<bool, Errno> {
    if let Err(error) = renameat_with(CWD, folder, CWD, waiting(workspace), RenameFlags::NOREPLACE) {
        tracing::info!(%error, workspace = %workspace.display(), "the files of a room cannot be moved");
        return Ok(false);
    }
    finish_move(workspace)?;
    Ok(true)
}

/// Finishes a move that was begun, if one was.
pub(crate) fn finish_move(workspace: &Path) -> Result<(), Errno> {
    let new = match open(&waiting(workspace)) {
        Ok(new) => new,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    let old = match open(workspace) {
        Ok(old) => old,
        // There never were any files.
        Err(Errno::NOENT) => return renameat(CWD, waiting(workspace), CWD, workspace),
        Err(error) => return Err(error),
    };
    // All of them before the first goes: what a folder lists while it changes is nobody's promise.
    let mut names: Vec<CString> = Vec::new();
    for entry in Dir::read_from(&old)? {
        names.push(entry?.file_name().to_owned());
    }
    for name in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
        move_entry(&old, &new, name)?;
    }
    // It replaces the old one, which is empty, in one step.
    renameat(CWD, waiting(workspace), CWD, workspace)
}

/// Moves one name. A folder that comes under another one is written to, so who may not write to it may not move it either.
fn move_entry(old: &OwnedFd, new: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    let rename = || renameat_with(old, name, new, name, RenameFlags::NOREPLACE);
    match rename() {
        Err(Errno::ACCESS | Errno::PERM) => {}
        done => return done,
    }
    let found = statat(old, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Err(Errno::ACCESS);
    }
    let mode = Mode::from_raw_mode(found.st_mode);
    chmodat(old, name, mode | Mode::WUSR, AtFlags::empty())?;
    let moved = rename();
    let now = if moved.is_ok() { new } else { old };
    chmodat(now, name, mode, AtFlags::empty())?;
    moved
}

/// Where a folder waits to become the workspace.
fn waiting(workspace: &Path) -> PathBuf {
    workspace.with_extension("new")
}

fn open(folder: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|e| e.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    /// A workspace with some of everything, and an empty folder.
    fn world() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let (workspace, folder) = (dir.path().join("room/workspace"), dir.path().join("spare/workspace"));
        fs::create_dir_all(workspace.join("src/deep")).expect("made");
        fs::create_dir_all(&folder).expect("made");
        fs::write(workspace.join("src/deep/a"), "a").expect("written");
        fs::write(workspace.join(".hidden"), "h").expect("written");
        symlink("/etc", workspace.join("link")).expect("linked");
        (dir, workspace, folder)
    }

    #[test]
    fn files_move_into_the_very_folder_and_stay_the_same_files() {
        let (_dir, workspace, folder) = world();
        let inode = fs::metadata(&folder).expect("there").ino();
        let file = fs::metadata(workspace.join("src/deep/a")).expect("there").ino();
        assert_eq!(move_into(&workspace, &folder), Ok(true));
        assert_eq!(fs::metadata(&workspace).expect("there").ino(), inode);
        assert_eq!(fs::metadata(workspace.join("src/deep/a")).expect("there").ino(), file);
        assert_eq!(names(&workspace), [".hidden", "link", "src"]);
        assert!(!folder.exists() && names(workspace.parent().expect("above")) == ["workspace"]);
    }

    #[test]
    fn folders_that_nobody_may_write_to_move_and_stay_as_they_are() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_dir, workspace, folder) = world();
        fs::set_permissions(workspace.join("src"), fs::Permissions::from_mode(0o555)).expect("ours");
        assert_eq!(move_into(&workspace, &folder), Ok(true));
        let found = fs::metadata(workspace.join("src")).expect("there");
        assert_eq!(found.permissions().mode() & 0o7777, 0o555);
        assert_eq!(names(&workspace), [".hidden", "link", "src"]);
        fs::set_permissions(workspace.join("src"), fs::Permissions::from_mode(0o755)).expect("ours");
    }

    #[test]
    fn a_move_that_was_cut_off_is_finished_and_one_that_cannot_begin_changes_nothing() {
        // After the folder was put beside, and after one of the files went.
        for gone in [None, Some(".hidden")] {
            let (_dir, workspace, folder) = world();
            fs::rename(&folder, waiting(&workspace)).expect("renamed");
            if let Some(name) = gone {
                fs::rename(workspace.join(name), waiting(&workspace).join(name)).expect("renamed");
            }
            assert_eq!(finish_move(&workspace), Ok(()));
            assert_eq!(names(&workspace), [".hidden", "link", "src"]);
            assert_eq!(names(workspace.parent().expect("above")), ["workspace"]);
            assert_eq!(finish_move(&workspace), Ok(()), "there is nothing to do");
        }
        let (_dir, workspace, folder) = world();
        assert_eq!(move_into(&workspace, &folder.join("no-such")), Ok(false));
        assert_eq!(names(&workspace), [".hidden", "link", "src"]);
        // A room that never had files.
        let new = workspace.with_file_name("other");
        assert_eq!(move_into(&new, &folder), Ok(true));
        assert_eq!(names(&new), [""; 0]);
    }
}
