//! What of a workspace the tree does not show: what is ignored, refused, or above a bound. It is read from the disk when somebody asks.

use std::collections::HashSet;

use buildspaces_plans::ports::Unshared;
use buildspaces_rooms::tree::{NodeKind, TreeView};
use rustix::io::Errno;

use super::disk::Disk;
use super::gitignore::path_in;
use super::ignore::{MAX_SCAN_ENTRIES, PARKED};
use super::{Error, is_none};

/// What is in `folder`, or, of `None`, in all folders of the tree, and is no node: the first `most`, folders first, and how many there are
/// besides. Nothing below a folder that is no node is counted.
pub(super) fn unshared(
    disk: &Disk,
    tree: &TreeView,
    folder: Option<&str>,
    most: usize,
) -> Result<(Vec<Unshared>, u64), Error> {
    let _stay = disk.stay();
    let paths = |node: &buildspaces_rooms::tree::Node| tree.path(&node.id);
    let nodes: HashSet<String> = tree.nodes().filter_map(paths).collect();
    let folders: Vec<String> = match folder {
        Some(folder) => vec![folder.to_owned()],
        None => {
            let below = tree.nodes().filter(|node| node.kind == NodeKind::Folder).filter_map(paths);
            std::iter::once(String::new()).chain(below).collect()
        }
    };
    let mut budget = MAX_SCAN_ENTRIES;
    let mut found = Vec::new();
    for path in &folders {
        let entries = match disk.list(path, &mut budget) {
            Ok(listing) => listing.entries,
            Err(e) if is_none(e) && folder.is_some() => return Err(Error::NoSuchFile),
            // It went, or cannot be looked into.
            Err(e) if is_none(e) || e == Errno::ACCESS => continue,
            Err(e) => return Err(e.into()),
        };
        for entry in entries {
            let path = path_in(path, &entry.name);
            if !nodes.contains(&path) && !entry.name.starts_with(PARKED) {
                found.push(Unshared { path, is_folder: entry.stamp.is_dir, size: entry.stamp.size });
            }
        }
    }
    found.sort_by(|a, b| b.is_folder.cmp(&a.is_folder).then_with(|| a.path.cmp(&b.path)));
    let more = found.len().saturating_sub(most) as u64;
    found.truncate(most);
    Ok((found, more))
}
