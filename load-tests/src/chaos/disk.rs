//! The disk that a server of a chaos run has to itself: a small file system in a file, which can be made to stall and to be full.
//!
//! It stalls by `fsfreeze`: whoever writes or flushes waits, as on a disk that hangs; reading goes on. That needs root and a loop device. Where
//! they are not to be had, the data lies in a folder, and [`Disk::can_fail`] says so.
//!
//! **Invariant:** nothing else is ever frozen. The file system is named by an open descriptor, never by a path, behind which there may be the
//! machine's own when this one is gone.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FallocateFlags, Mode, OFlags};

/// Size of the file system: room for a run's data, and soon full.
const SIZE: u64 = 48 << 20;

#[derive(Debug)]
pub struct Disk {
    folder: tempfile::TempDir,
    /// The root of the file system, if it is one of its own.
    mounted: Option<Arc<OwnedFd>>,
}

impl Disk {
    /// `own`: a file system of its own, if it can be mounted.
    pub fn new(scratch: &Path, own: bool) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("chaos-").tempdir_in(scratch)?;
        std::fs::create_dir(folder.path().join("disk"))?;
        let mut disk = Self { folder, mounted: None };
        if !own {
            return Ok(disk);
        }
        let image = disk.folder.path().join("image");
        std::fs::File::create(&image)?.set_len(SIZE)?;
        let made = run("mkfs.ext4", &[Path::new("-q"), Path::new("-m"), Path::new("0"), &image], Stdio::null());
        if made && run("mount", &[Path::new("-o"), Path::new("loop"), &image, &disk.root()], Stdio::null()) {
            let opened = rustix::fs::open(disk.root(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            let around = rustix::fs::stat(disk.folder.path())?.st_dev;
            anyhow::ensure!(rustix::fs::fstat(&opened)?.st_dev != around, "what was mounted is not there");
            disk.mounted = Some(Arc::new(opened));
        }
        Ok(disk)
    }

    /// Can it stall and be full?
    pub fn can_fail(&self) -> bool {
        self.mounted.is_some()
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Where the server keeps its data.
    pub fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// A place beside the disk, for what must not stall with it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes nothing any more for a while. What is under way is written first, on a thread of its own.
    pub fn stall(&self, time: Duration) -> impl Future<Output = ()> + use<> {
        let mounted = self.mounted.clone();
        async move {
            let Some(root) = mounted else { return };
            let freezing = root.clone();
            // It cannot panic.
            let _ = tokio::task::spawn_blocking(move || freeze(&freezing, "-f")).await;
            tokio::time::sleep(time).await;
            freeze(&root, "-u");
        }
    }

    pub fn go_on(&self) {
        if let Some(root) = &self.mounted {
            freeze(root, "-u");
        }
    }

    /// Leaves no room.
    pub fn fill(&self) -> rustix::io::Result<()> {
        if !self.can_fail() {
            return Ok(());
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let filler: OwnedFd = rustix::fs::open(self.filler(), flags, Mode::RUSR | Mode::WUSR)?;
        let mut len = rustix::fs::fstat(&filler)?.st_size as u64;
        let mut step = SIZE;
        while step >= 1 << 10 {
            match rustix::fs::fallocate(&filler, FallocateFlags::empty(), len, step) {
                Ok(()) => len += step,
                Err(_) => step /= 2,
            }
        }
        Ok(())
    }

    pub fn free(&self) {
        // An error means that it was not filled.
        let _ = std::fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.root().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.can_fail() {
            // A stalled disk cannot be taken away.
            self.go_on();
            run("umount", &[Path::new("-l"), &self.root()], Stdio::null());
        }
    }
}

fn freeze(root: &OwnedFd, how: &str) {
    if let Ok(root) = root.try_clone() {
        run("fsfreeze", &[Path::new(how), Path::new("/dev/stdin")], Stdio::from(root));
    }
}

fn run(program: &str, arguments: &[&Path], input: Stdio) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
