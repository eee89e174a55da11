//! What the mirror remembers of each node across a restart, one small file per node.
//!
//! **Invariant:** a node's state is on disk before the file it describes is put into the workspace
//! and before an update made from the workspace is sent. So after `kill -9` at any moment the next
//! process can tell what the bytes it finds stand for, and sends what the document lacks.
//!
//! Nothing is flushed: a killed process loses no write that the kernel has taken. After the machine
//! itself went down neither these files nor the workspace prove anything; each state names the
//! machine's boot, and under another one the document wins wherever the two disagree.
//!
//! The folder lies outside what the sandbox can see. Start with [`States`].

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use buildspaces_kernel::ids::NodeId;
use buildspaces_rooms::tree::NodeKind;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::disk::Identity;

const VERSION: u8 = 1;

/// SHA-256 of a file's bytes.
pub(super) type Hash = [u8; 32];

/// One node as it was mirrored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) parent: Option<NodeId>,
    pub(super) name: String,
    pub(super) kind: NodeKind,
    pub(super) identity: Identity,
    /// False if it was written under another boot of the machine.
    pub(super) trusted: bool,
    /// For a text only.
    pub(super) text: Option<TextState>,
}

/// A text's replica and the bytes it stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TextState {
    /// The replica before the write under way, as one update, and the hash of its bytes on disk
    /// (`None`: there was no file).
    pub(super) base: Vec<u8>,
    pub(super) base_hash: Option<Hash>,
    /// The write under way, if the state was written for one.
    pub(super) write: Option<Write>,
    /// False if the replica may hold edits from the workspace that the document did not acknowledge.
    pub(super) sent: bool,
}

/// Bytes that were about to be put into the workspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Write {
    /// What the document had and the replica lacked.
    pub(super) pulled: Vec<u8>,
    pub(super) hash: Hash,
    /// Where the bytes waited. While a file of this name and identity is still there, they were not put in place.
    pub(super) tmp: String,
    pub(super) tmp_identity: Identity,
}

/// The first line of a state file; the encoded documents follow it.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u8,
    boot: String,
    parent: Option<NodeId>,
    name: String,
    kind: NodeKind,
    identity: Identity,
    text: Option<TextHeader>,
    /// SHA-256 of what follows.
    check: Hash,
}

#[derive(Serialize, Deserialize)]
struct TextHeader {
    base: usize,
    base_hash: Option<Hash>,
    write: Option<WriteHeader>,
    sent: bool,
}

#[derive(Serialize, Deserialize)]
struct WriteHeader {
    pulled: usize,
    hash: Hash,
    tmp: String,
    tmp_identity: Identity,
}

/// The states of one room.
#[derive(Debug)]
pub(super) struct States {
    dir: OwnedFd,
    boot: String,
    #[cfg(test)]
    pub(super) fuse: super::disk::Fuse,
}

impl States {
    pub(super) fn open(dir: &Path, boot: &str) -> Result<Self, Errno> {
        std::fs::create_dir_all(dir).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            dir: openat(CWD, dir, flags, Mode::empty())?,
            boot: boot.to_owned(),
            #[cfg(test)]
            fuse: super::disk::Fuse::default(),
        })
    }

    /// Every readable state. A damaged one is as good as none and is removed.
    pub(super) fn load(&self) -> Result<Vec<(NodeId, State)>, Errno> {
        let mut states = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let state = NodeId::parse(name).and_then(|id| Some((id, self.read(name)?)));
            match state {
                Some(state) => states.push(state),
                None => {
                    let _ = unlinkat(&self.dir, name, AtFlags::empty());
                }
            }
        }
        Ok(states)
    }

    /// Replaces the node's state as a whole.
    pub(super) fn save(&self, node: &NodeId, state: &State) -> Result<(), Errno> {
        #[cfg(test)]
        self.fuse.burn()?;
        let bytes = encode(state, &self.boot);
        let new = format!("{node}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mut file = std::fs::File::from(openat(&self.dir, &new, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(&bytes).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        // An exchange, because some file systems flush the data when a rename replaces a file.
        match renameat_with(&self.dir, &new, &self.dir, node.as_str(), RenameFlags::EXCHANGE) {
            Ok(()) => unlinkat(&self.dir, &new, AtFlags::empty()),
            Err(_) => renameat_with(&self.dir, &new, &self.dir, node.as_str(), RenameFlags::empty()),
        }
    }

    pub(super) fn remove(&self, node: &NodeId) {
        #[cfg(test)]
        if self.fuse.burn().is_err() {
            return;
        }
        let _ = unlinkat(&self.dir, node.as_str(), AtFlags::empty());
    }

    fn read(&self, name: &str) -> Option<State> {
        let file = openat(&self.dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        std::fs::File::from(file).read_to_end(&mut bytes).ok()?;
        decode(&bytes, &self.boot)
    }
}

fn encode(state: &State, boot: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    let text = state.text.as_ref().map(|text| {
        payload.extend_from_slice(&text.base);
        if let Some(write) = &text.write {
            payload.extend_from_slice(&write.pulled);
        }
        TextHeader {
            base: text.base.len(),
            base_hash: text.base_hash,
            sent: text.sent,
            write: text.write.as_ref().map(|write| WriteHeader {
                pulled: write.pulled.len(),
                hash: write.hash,
                tmp: write.tmp.clone(),
                tmp_identity: write.tmp_identity,
            }),
        }
    });
    let header = Header {
        version: VERSION,
        boot: boot.to_owned(),
        parent: state.parent.clone(),
        name: state.name.clone(),
        kind: state.kind,
        identity: state.identity,
        text,
        check: Sha256::digest(&payload).into(),
    };
    let mut bytes = serde_json::to_vec(&header).expect("a header is plain data");
    bytes.push(b'\n');
    bytes.append(&mut payload);
    bytes
}

fn decode(bytes: &[u8], boot: &str) -> Option<State> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let header: Header = serde_json::from_slice(&bytes[..end]).ok()?;
    let mut rest = &bytes[end + 1..];
    if header.version != VERSION || header.check != <Hash>::from(Sha256::digest(rest)) {
        return None;
    }
    let mut take = |length: usize| -> Option<Vec<u8>> {
        let (part, left) = rest.split_at_checked(length)?;
        rest = left;
        Some(part.to_vec())
    };
    let text = match header.text {
        None => None,
        Some(text) => {
            let base = take(text.base)?;
            let write = match text.write {
                None => None,
                Some(w) => {
                    Some(Write { pulled: take(w.pulled)?, hash: w.hash, tmp: w.tmp, tmp_identity: w.tmp_identity })
                }
            };
            Some(TextState { base, base_hash: text.base_hash, write, sent: text.sent })
        }
    };
    Some(State {
        parent: header.parent,
        name: header.name,
        kind: header.kind,
        identity: header.identity,
        trusted: header.boot == boot,
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> State {
        State {
            parent: NodeId::parse("folder"),
            name: "a\"b.txt".to_owned(),
            kind: NodeKind::Text,
            identity: Identity { ino: 7, born: 9 },
            trusted: true,
            text: Some(TextState {
                base: vec![1, 2, 3],
                base_hash: Some([1; 32]),
                write: Some(Write {
                    pulled: vec![10, 10],
                    hash: [2; 32],
                    tmp: "1-2".to_owned(),
                    tmp_identity: Identity { ino: 8, born: 10 },
                }),
                sent: false,
            }),
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written_and_says_whether_the_machine_was_down() {
        let bytes = encode(&sample(), "boot 1");
        assert_eq!(decode(&bytes, "boot 1"), Some(sample()));
        assert_eq!(decode(&bytes, "boot 2"), Some(State { trusted: false, ..sample() }));
    }

    #[test]
    fn a_damaged_state_is_none() {
        let bytes = encode(&sample(), "boot");
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length], "boot"), None);
        }
        let mut flipped = bytes;
        *flipped.last_mut().expect("not empty") ^= 1;
        assert_eq!(decode(&flipped, "boot"), None);
    }

    #[test]
    fn the_format_stays_what_it_is() {
        let folder = State { name: "src".to_owned(), kind: NodeKind::Folder, text: None, parent: None, ..sample() };
        let bytes = encode(&folder, "b");
        let line = String::from_utf8(bytes).expect("a folder has no payload");
        assert!(
            line.starts_with(
                r#"{"version":1,"boot":"b","parent":null,"name":"src","kind":"folder","identity":{"ino":7,"born":9},"text":null,"check":[227,"#
            ),
            "{line}"
        );
    }
}
