//! The folder of one recording. Everything here waits for the disk.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use buildspaces_kernel::ids::{RecordingId, RoomId};

use crate::recording::Recording;
use crate::recording::track::Patch;

/// What says whose the files are.
const NOTE: &str = "recording.toml";

/// What is to be written into one file.
pub(crate) struct Chunk {
    pub(crate) name: String,
    /// Where the bytes go: the file's end, as far as it was written whole.
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) patches: Vec<Patch>,
}

#[derive(Clone)]
pub(crate) struct Folder(PathBuf);

/// All of a room, in no order.
pub(super) fn list(root: &Path, room: &RoomId) -> io::Result<Vec<Recording>> {
    let entries = match fs::read_dir(root.join(room.as_str())) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        found.extend(Folder(entry?.path()).read()?);
    }
    Ok(found)
}

impl Folder {
    pub(super) fn new(root: &Path, room: &RoomId, id: &RecordingId) -> Self {
        Self(root.join(room.as_str()).join(id.as_str()))
    }

    /// `reserve`: bytes that the disk must have left.
    pub(super) fn create(&self, recording: &Recording, reserve: u64) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let is_full = self.free().is_some_and(|free| free < reserve);
        let made = if is_full { Err(io::ErrorKind::StorageFull.into()) } else { self.note(recording) };
        made.inspect_err(|_| {
            // Without a note it is no recording; what is left of it is small.
            let _ = fs::remove_dir_all(&self.0);
        })
    }

    /// What stands in it; `None` if it is no recording's. How large its files are they say themselves.
    pub(super) fn read(&self) -> io::Result<Option<Recording>> {
        let text = match fs::read(self.0.join(NOTE)) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut recording: Recording = match toml::from_slice(&text) {
            Ok(recording) => recording,
            Err(error) => {
                tracing::warn!(folder = %self.0.display(), %error, "this is not the note of a recording");
                return Ok(None);
            }
        };
        for file in &mut recording.files {
            file.bytes = fs::metadata(self.0.join(file.name())).map_or(0, |metadata| metadata.len());
        }
        Ok(Some(recording))
    }

    /// Puts the note in place as a whole.
    pub(crate) fn note(&self, recording: &Recording) -> io::Result<()> {
        let new = self.0.join("recording.toml.new");
        fs::write(&new, toml::to_string(recording).map_err(io::Error::other)?)?;
        fs::rename(new, self.0.join(NOTE))
    }

    pub(crate) fn write(&self, chunks: &[Chunk]) -> io::Result<()> {
        for chunk in chunks {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.0.join(&chunk.name))?;
            file.write_all_at(&chunk.bytes, chunk.at)?;
            for patch in &chunk.patches {
                file.write_all_at(&patch.bytes, patch.at)?;
            }
        }
        Ok(())
    }

    /// Bytes that the disk has left for this user; `None` if it does not say.
    pub(crate) fn free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.0).ok().filter(|disk| disk.f_blocks > 0)?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    pub(super) fn piece(&self, name: &str, from: u64, most: usize) -> io::Result<Vec<u8>> {
        let file = fs::File::open(self.0.join(name))?;
        let mut piece = vec![0; most];
        let mut read = 0;
        while read < most {
            match file.read_at(&mut piece[read..], from + read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        piece.truncate(read);
        Ok(piece)
    }

    /// False if there is none. The note goes first, so that what is left of a deletion that fails is no recording.
    pub(super) fn delete(&self) -> io::Result<bool> {
        match fs::remove_file(self.0.join(NOTE)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        fs::remove_dir_all(&self.0)?;
        Ok(true)
    }
}
