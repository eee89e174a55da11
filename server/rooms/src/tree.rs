//! The room's tree of files and folders, as a pure state machine. (being written)
use std::collections::BTreeMap;
use buildspaces_kernel::ids::NodeId;
use serde::{Deserialize, Serialize};

/// What stands behind a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    Folder,
    /// UTF-8 text of at most `MAX_TEXT_BYTES`: a shared document `<room>/file:<node>` holds it.
    Text,
    /// Not UTF-8, or with a NUL byte. Lives in the workspace only.
    Binary,
    /// Larger than `MAX_TEXT_BYTES`. Lives in the workspace only.
    Large,
}

/// Largest text that is a document, in UTF-8 bytes. Above it a file is [`NodeKind::Large`].
pub const MAX_TEXT_BYTES: u64 = 1 << 20;

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
    /// Rises by one with each change of this node; a command that names an older one is refused.
    pub rev: u64,
}

/// A change somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TreeCommand {
    /// `text` is the initial content of a `Text` node.
    Create { parent: Option<NodeId>, name: String, kind: NodeKind, size: u64, text: Option<String> },
    /// Rename and/or move. `rev`: the node's revision the caller saw; `None` = do not compare.
    Update { id: NodeId, parent: Option<Option<NodeId>>, name: Option<String>, rev: Option<u64> },
    /// Removes the node and everything below it.
    Delete { id: NodeId, rev: Option<u64> },
    /// The file's content changed its nature (text became binary, ...). Only from the workspace.
    /// When the new kind is `Text`, `text` is the content.
    Retype { id: NodeId, kind: NodeKind, size: u64, text: Option<String> },
}

/// An immutable picture of the tree.
#[derive(Clone, Default, Debug)]
pub struct TreeView {
    nodes: BTreeMap<NodeId, Node>,
}

impl TreeView {
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }
    /// The node's path from the workspace's root, `src/main.py`.
    pub fn path(&self, _id: &NodeId) -> Option<String> {
        todo!()
    }
    /// The node at `path` (`src/main.py`).
    pub fn at_path(&self, _path: &str) -> Option<&Node> {
        todo!()
    }
    /// The children of a folder (`None` = root), by name.
    pub fn children(&self, _parent: Option<&NodeId>) -> Vec<&Node> {
        todo!()
    }
    /// Every text file with its path, by path.
    pub fn text_files(&self) -> Vec<(String, &Node)> {
        todo!()
    }
}
