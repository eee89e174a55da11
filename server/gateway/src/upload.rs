//! A project that somebody sends as one file, taken apart: tar with gzip, or zip. Pure; every byte is a stranger's.
//!
//! Only regular files come out, with paths below the project's root. A path that leads anywhere else is no slip but an attempt, so the whole
//! is refused. What would be larger than it may is refused before it is in memory. Start with [`unpack`].

use std::collections::HashSet;
use std::io::Read;

use buildspaces_plans::ports::NewFile;

mod zip;

/// Bytes of what is sent.
pub(crate) const MAX_SENT: usize = 64 << 20;

/// Bytes of all files together.
const MAX_BYTES: u64 = 128 << 20;

/// Files; a room's tree has no more.
const MAX_FILES: usize = 20_000;

/// Longest path and longest name in it, in bytes, and how many folders deep.
const MAX_PATH: usize = 1024;
const MAX_NAME: usize = 255;
const MAX_DEPTH: usize = 40;

/// Why an upload is not taken. The texts are for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("send a project as .tar.gz, .tgz or .zip")]
    UnknownFormat,
    #[error("the archive cannot be read: {0}")]
    Broken(String),
    #[error("the archive has a file that leads out of it: {0:?}")]
    Escapes(String),
    #[error("the archive's name {0:?} is too long, too deep, or not UTF-8")]
    BadName(String),
    #[error("the archive has {0:?} as a file and as a folder")]
    Clash(String),
    #[error("the archive has no files")]
    Empty,
    #[error("the archive has more than {MAX_FILES} files")]
    TooMany,
    #[error("the archive's files are larger than {} MiB together", MAX_BYTES >> 20)]
    TooLarge,
}

/// The files of a project. Where all of them are in one folder, as in what code hosts offer for download, that folder is left out.
pub(crate) fn unpack(sent: &[u8]) -> Result<Vec<NewFile>, Error> {
    let mut taken = Taken::default();
    match sent {
        [0x1f, 0x8b, ..] => tar(sent, &mut taken)?,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => zip::read(sent, &mut taken)?,
        _ => return Err(Error::UnknownFormat),
    }
    taken.check()?;
    let mut files = taken.files;
    let root = files.first().and_then(|file| file.path.split_once('/')).map(|(root, _)| format!("{root}/"));
    if let Some(root) = root.filter(|root| files.iter().all(|file| file.path.starts_with(root.as_str()))) {
        for file in &mut files {
            file.path.drain(..root.len());
        }
    }
    Ok(files)
}

/// What was read so far.
#[derive(Default)]
struct Taken {
    files: Vec<NewFile>,
    names: HashSet<String>,
    bytes: u64,
}

impl Taken {
    /// One more file. `name` is as the archive has it.
    fn add(&mut self, name: &[u8], executable: bool, content: impl Read) -> Result<(), Error> {
        let path = path(name)?;
        // Of two of one name the first counts, as a second would overwrite what was looked at.
        if !self.names.insert(path.clone()) {
            return Ok(());
        }
        if self.files.len() == MAX_FILES {
            return Err(Error::TooMany);
        }
        let left = MAX_BYTES - self.bytes;
        let mut bytes = Vec::new();
        let read = content.take(left + 1).read_to_end(&mut bytes).map_err(|error| Error::Broken(error.to_string()))?;
        if read as u64 > left {
            return Err(Error::TooLarge);
        }
        self.bytes += read as u64;
        self.files.push(NewFile { path, bytes, executable });
        Ok(())
    }

    /// Whether all of it can lie in one folder.
    fn check(&self) -> Result<(), Error> {
        if self.files.is_empty() {
            return Err(Error::Empty);
        }
        let folders = self.names.iter().flat_map(|name| name.match_indices('/').map(|(at, _)| &name[..at]));
        match folders.into_iter().find(|folder| self.names.contains(*folder)) {
            Some(both) => Err(Error::Clash(both.chars().take(100).collect())),
            None => Ok(()),
        }
    }
}

/// The path below the project's root.
fn path(name: &[u8]) -> Result<String, Error> {
    let shown = || String::from_utf8_lossy(name).chars().take(100).collect::<String>();
    let text = std::str::from_utf8(name).map_err(|_| Error::BadName(shown()))?;
    // Some programs on Windows write their own separator.
    let text = text.replace('\\', "/");
    if text.starts_with('/') || text.split('/').any(|part| part == "..") {
        return Err(Error::Escapes(shown()));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let path = parts.join("/");
    let is_long = path.len() > MAX_PATH || parts.iter().any(|part| part.len() > MAX_NAME);
    if path.is_empty() || is_long || parts.len() > MAX_DEPTH || path.contains('\0') {
        return Err(Error::BadName(shown()));
    }
    Ok(path)
}

fn tar(sent: &[u8], taken: &mut Taken) -> Result<(), Error> {
    let broken = |error: std::io::Error| Error::Broken(error.to_string());
    // Headers and gaps count too, or an archive without files could go on for ever.
    let whole = flate2::read::MultiGzDecoder::new(sent).take(MAX_BYTES + (MAX_FILES as u64 + 1) * 2048);
    let mut archive = tar::Archive::new(whole);
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let header = entry.header();
        if !header.entry_type().is_file() && !header.entry_type().is_contiguous() {
            // Folders come with their files. Links and devices lead elsewhere.
            continue;
        }
        if header.size().map_err(broken)? > MAX_BYTES {
            return Err(Error::TooLarge);
        }
        let executable = header.mode().is_ok_and(|mode| mode & 0o100 != 0);
        let name = entry.path_bytes().into_owned();
        taken.add(&name, executable, entry)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
