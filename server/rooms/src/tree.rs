//! The room's tree of files and folders, as a pure state machine: a command in, changed nodes out.
//!
//! It does not know the disk, nor where changes are journalled. One authority (the room's actor) owns
//! a [`Tree`]; everybody else reads a [`TreeView`]. A node's id outlives renames and moves, so whoever
//! types in a file is not disturbed by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use buildspaces_kernel::ids::NodeId;
use serde::{Deserialize, Serialize};

use crate::BlobHash;

/// Largest text that is a document, in UTF-8 bytes. A larger file is [`NodeKind::Large`].
pub const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Most nodes of one room; a command that would add more is refused.
pub const MAX_NODES: usize = 50_000;

/// Deepest nesting of folders.
pub const MAX_DEPTH: usize = 64;

/// Longest name of a node, in UTF-8 bytes: what Linux file systems take.
pub const MAX_NODE_NAME_BYTES: usize = 255;

/// What stands behind a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    Folder,
    /// UTF-8 text of at most [`MAX_TEXT_BYTES`]: a shared document `<room>/file:<node>` holds it.
    Text,
    /// Not UTF-8, or with a NUL byte. Lives in the workspace; the store keeps a copy ([`Node::blob`]).
    Binary,
    /// Larger than [`MAX_TEXT_BYTES`]. The same.
    Large,
}

/// One file or folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    /// `None` stands for the workspace's root.
    pub parent: Option<NodeId>,
    pub name: String,
    pub kind: NodeKind,
    /// Bytes in the workspace; only kept for `Binary` and `Large` (0 otherwise).
    pub size: u64,
    /// Rises by one with each change of this node but [`TreeCommand::Keep`]; a command that names an older one is refused.
    pub rev: u64,
    /// Of a `Binary` or `Large` file the bytes that the store keeps: those it had when it was left alone last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobHash>,
    /// The store keeps nothing of a `Binary` or `Large` file, because it is more than the room may have kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unkept: bool,
}

/// A change somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TreeCommand {
    /// `text` is the initial content of a `Text` node.
    Create { parent: Option<NodeId>, name: String, kind: NodeKind, size: u64, text: Option<String> },
    /// Renames and/or moves. `rev` is the node's revision the caller saw; `None` does not compare.
    Update { id: NodeId, parent: Option<Option<NodeId>>, name: Option<String>, rev: Option<u64> },
    /// Removes the node and everything below it.
    Delete { id: NodeId, rev: Option<u64> },
    /// The file's content changed its nature (text became binary, ...). Comes from the workspace only.
    /// When the new kind is `Text`, `text` is the content.
    Retype { id: NodeId, kind: NodeKind, size: u64, text: Option<String> },
    /// The store has these bytes of a `Binary` or `Large` file, and so many they are; `None`: there is no space for them. Comes from the
    /// workspace only.
    Keep { id: NodeId, kept: Option<(BlobHash, u64)> },
}

/// What a command did.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Created and changed nodes as they are now.
    pub changed: Vec<Node>,
    pub deleted: Vec<NodeId>,
    /// The text that a created or retyped `Text` node begins with.
    pub text: Option<(NodeId, String)>,
}

/// Why a command was refused. Each sentence is meant for the person who asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    #[error("it does not exist any more; somebody may have deleted it")]
    NoSuchNode,
    #[error("{0:?} is a file; choose a folder")]
    NotAFolder(String),
    #[error("{0:?} cannot be used as a name: {1}")]
    BadName(String, &'static str),
    #[error("there is already {0:?} here; choose another name")]
    NameTaken(String),
    #[error("a folder cannot be moved into itself or into a folder inside it")]
    Cycle,
    #[error("folders may be nested at most {MAX_DEPTH} deep")]
    TooDeep,
    #[error("a room holds at most {MAX_NODES} files and folders")]
    TooMany,
    #[error("{by} changed it first: it is called {name:?} now; look again and repeat what you want")]
    Conflict { by: Arc<str>, name: String },
    #[error("a text file must have at most {MAX_TEXT_BYTES} bytes")]
    TextTooLarge,
}

/// Checks a name for use on every system that people have. The error says what to change.
pub fn check_name(name: &str) -> Result<(), Error> {
    let bad = |reason| Err(Error::BadName(name.chars().take(80).collect(), reason));
    match name {
        "" => return bad("it is empty"),
        "." | ".." => return bad("it stands for a folder itself"),
        _ => {}
    }
    if name.len() > MAX_NODE_NAME_BYTES {
        return bad("it is longer than 255 bytes");
    }
    if name.contains(['/', '\\']) {
        return bad("it contains a slash; create the folder first, or move the file into it");
    }
    if name.chars().any(char::is_control) {
        return bad("it contains a control character");
    }
    if name.chars().any(|c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')) {
        return bad("it contains an invisible character that changes the direction of writing");
    }
    if name.trim() != name {
        return bad("it begins or ends with a space");
    }
    Ok(())
}

/// The one authority over a room's tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    view: TreeView,
    /// Who changed a node last, to name them when somebody else comes too late.
    changed_by: BTreeMap<NodeId, Arc<str>>,
}

impl Tree {
    /// A tree with nodes that were journalled before.
    pub fn restore(nodes: impl IntoIterator<Item = Node>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
        Self { view: TreeView { nodes }, changed_by: BTreeMap::new() }
    }

    pub fn view(&self) -> &TreeView {
        &self.view
    }

    /// Checks and performs one command by somebody called `by`. `fresh` becomes the id of a created
    /// node. On an error nothing has changed.
    pub fn handle(&mut self, by: &Arc<str>, fresh: NodeId, command: TreeCommand) -> Result<Outcome, Error> {
        let outcome = match command {
            TreeCommand::Create { parent, name, kind, size, text } => {
                self.create(fresh, parent, name, kind, size, text)?
            }
            TreeCommand::Update { id, parent, name, rev } => self.update(&id, parent, name, rev)?,
            TreeCommand::Delete { id, rev } => self.delete(&id, rev)?,
            TreeCommand::Retype { id, kind, size, text } => self.retype(&id, kind, size, text)?,
            TreeCommand::Keep { id, kept } => self.keep(&id, kept)?,
        };
        for node in &outcome.changed {
            self.changed_by.insert(node.id.clone(), by.clone());
            self.view.nodes.insert(node.id.clone(), node.clone());
        }
        for id in &outcome.deleted {
            self.changed_by.remove(id);
            self.view.nodes.remove(id);
        }
        Ok(outcome)
    }

    fn create(
        &self,
        id: NodeId,
        parent: Option<NodeId>,
        name: String,
        kind: NodeKind,
        size: u64,
        text: Option<String>,
    ) -> Result<Outcome, Error> {
        check_name(&name)?;
        if self.view.nodes.len() >= MAX_NODES {
            return Err(Error::TooMany);
        }
        self.check_place(parent.as_ref(), &name, None)?;
        let text = initial_text(&id, kind, text)?;
        let node = Node { id, parent, name, kind, size: stored_size(kind, size), rev: 1, blob: None, unkept: false };
        Ok(Outcome { changed: vec![node], deleted: Vec::new(), text })
    }

    fn update(
        &self,
        id: &NodeId,
        parent: Option<Option<NodeId>>,
        name: Option<String>,
        rev: Option<u64>,
    ) -> Result<Outcome, Error> {
        let old = self.at_revision(id, rev)?;
        let mut node = old.clone();
        if let Some(name) = name {
            check_name(&name)?;
            node.name = name;
        }
        if let Some(parent) = parent {
            node.parent = parent;
        }
        if node == *old {
            return Ok(Outcome { changed: vec![node], ..Outcome::default() });
        }
        if self.view.ancestors(node.parent.as_ref()).any(|ancestor| ancestor.id == *id) {
            return Err(Error::Cycle);
        }
        self.check_place(node.parent.as_ref(), &node.name, Some(id))?;
        node.rev += 1;
        Ok(Outcome { changed: vec![node], ..Outcome::default() })
    }

    fn delete(&self, id: &NodeId, rev: Option<u64>) -> Result<Outcome, Error> {
        self.at_revision(id, rev)?;
        let mut deleted = vec![id.clone()];
        let mut next = 0;
        while let Some(parent) = deleted.get(next).cloned() {
            deleted.extend(self.view.children(Some(&parent)).into_iter().map(|child| child.id.clone()));
            next += 1;
        }
        Ok(Outcome { deleted, ..Outcome::default() })
    }

    fn retype(&self, id: &NodeId, kind: NodeKind, size: u64, text: Option<String>) -> Result<Outcome, Error> {
        let old = self.at_revision(id, None)?;
        if (old.kind == NodeKind::Folder) != (kind == NodeKind::Folder) {
            return Err(Error::NotAFolder(old.name.clone()));
        }
        let text = initial_text(id, kind, text)?;
        // What is kept of another moment's bytes is better than nothing, until there is more of them.
        let (blob, unkept) = if has_bytes(kind) { (old.blob, old.unkept) } else { (None, false) };
        let size = stored_size(kind, size);
        let node = Node { kind, size, rev: old.rev + 1, blob, unkept, ..old.clone() };
        Ok(Outcome { changed: vec![node], deleted: Vec::new(), text })
    }

    fn keep(&self, id: &NodeId, kept: Option<(BlobHash, u64)>) -> Result<Outcome, Error> {
        let old = self.at_revision(id, None)?;
        if !has_bytes(old.kind) {
            return Err(Error::NoSuchNode);
        }
        let node = match kept {
            Some((blob, size)) => Node { blob: Some(blob), size, unkept: false, ..old.clone() },
            None => Node { blob: None, unkept: true, ..old.clone() },
        };
        Ok(Outcome { changed: vec![node], ..Outcome::default() })
    }

    fn at_revision(&self, id: &NodeId, rev: Option<u64>) -> Result<&Node, Error> {
        let node = self.view.node(id).ok_or(Error::NoSuchNode)?;
        match rev {
            Some(rev) if rev != node.rev => Err(Error::Conflict {
                by: self.changed_by.get(id).cloned().unwrap_or_else(|| "somebody".into()),
                name: node.name.clone(),
            }),
            _ => Ok(node),
        }
    }

    /// May a node called `name` stand under `parent`? `except` is the node itself when it moves.
    fn check_place(&self, parent: Option<&NodeId>, name: &str, except: Option<&NodeId>) -> Result<(), Error> {
        if let Some(parent) = parent {
            let folder = self.view.node(parent).ok_or(Error::NoSuchNode)?;
            if folder.kind != NodeKind::Folder {
                return Err(Error::NotAFolder(folder.name.clone()));
            }
            if self.view.ancestors(Some(parent)).count() >= MAX_DEPTH {
                return Err(Error::TooDeep);
            }
        }
        // Names that differ only in case would be one file on many people's machines.
        let key = name.to_lowercase();
        let taken =
            self.view.nodes.values().find(|node| {
                node.parent.as_ref() == parent && Some(&node.id) != except && node.name.to_lowercase() == key
            });
        taken.map_or(Ok(()), |node| Err(Error::NameTaken(node.name.clone())))
    }
}

fn initial_text(id: &NodeId, kind: NodeKind, text: Option<String>) -> Result<Option<(NodeId, String)>, Error> {
    if kind != NodeKind::Text {
        return Ok(None);
    }
    let text = text.unwrap_or_default();
    if text.len() as u64 > MAX_TEXT_BYTES {
        return Err(Error::TextTooLarge);
    }
    Ok(Some((id.clone(), text)))
}

/// True for files that are no documents.
fn has_bytes(kind: NodeKind) -> bool {
    matches!(kind, NodeKind::Binary | NodeKind::Large)
}

fn stored_size(kind: NodeKind, size: u64) -> u64 {
    if has_bytes(kind) { size } else { 0 }
}

/// A picture of the tree at one moment.
#[derive(Clone, Default, Debug)]
pub struct TreeView {
    nodes: BTreeMap<NodeId, Node>,
}

impl TreeView {
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// Every node, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The node's path from the workspace's root, `src/main.py`.
    pub fn path(&self, id: &NodeId) -> Option<String> {
        let node = self.node(id)?;
        let mut names: Vec<&str> = self.ancestors(node.parent.as_ref()).map(|node| node.name.as_str()).collect();
        names.reverse();
        names.push(&node.name);
        Some(names.join("/"))
    }

    /// The node at `path` (`src/main.py`), compared byte by byte.
    pub fn at_path(&self, path: &str) -> Option<&Node> {
        let mut found: Option<&Node> = None;
        for name in path.split('/') {
            let parent = found.map(|node| &node.id);
            found = Some(self.nodes.values().find(|node| node.parent.as_ref() == parent && node.name == name)?);
        }
        found
    }

    /// True if the folders above the node lead to the root and are not more than there may be.
    pub(crate) fn is_rooted(&self, id: &NodeId) -> bool {
        let parent = self.node(id).and_then(|node| node.parent.as_ref());
        self.ancestors(parent).take(MAX_DEPTH + 1).count() <= MAX_DEPTH
    }

    /// The children of a folder (`None` = root), by name.
    pub fn children(&self, parent: Option<&NodeId>) -> Vec<&Node> {
        let mut children: Vec<&Node> = self.nodes.values().filter(|node| node.parent.as_ref() == parent).collect();
        children.sort_by(|a, b| a.name.cmp(&b.name));
        children
    }

    /// Every text file with its path, by path.
    pub fn text_files(&self) -> Vec<(String, &Node)> {
        let mut files: Vec<(String, &Node)> = self
            .nodes
            .values()
            .filter(|node| node.kind == NodeKind::Text)
            .filter_map(|node| Some((self.path(&node.id)?, node)))
            .collect();
        files.sort_by(|a, b| a.0.cmp(&b.0));
        files
    }

    /// `id` and the folders above it, innermost first. Ends at the root, and after [`MAX_NODES`] steps
    /// in any case.
    fn ancestors<'a>(&'a self, id: Option<&NodeId>) -> impl Iterator<Item = &'a Node> {
        std::iter::successors(id.and_then(|id| self.node(id)), |node| {
            node.parent.as_ref().and_then(|parent| self.node(parent))
        })
        .take(MAX_NODES)
    }
}

#[cfg(test)]
mod tests;
