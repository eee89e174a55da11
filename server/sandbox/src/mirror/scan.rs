//! Walks the workspace and notes what is there, without opening a file.
//!
//! It compares nothing with the room. Start with [`Core::scan`].

use std::collections::{BTreeMap, HashMap, HashSet};

use rustix::io::Errno;

use super::Error;
use super::core::{Core, Scope};
use super::disk::Stamp;
use super::ignore::{MAX_DEPTH, MAX_SCAN_ENTRIES, is_ignored};

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By path; a folder comes before what is in it.
    pub(super) entries: BTreeMap<String, FoundEntry>,
    /// The folders whose entries are all in `entries`. What is known in them and not found is gone.
    pub(super) listed: HashSet<String>,
    pub(super) odd: u64,
    truncated: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct FoundEntry {
    pub(super) stamp: Stamp,
    /// A folder with nothing in it but what the tree does not show. It becomes no node, or a folder that
    /// somebody deleted would come back because of the caches that a tool left in it.
    pub(super) hidden: bool,
}

impl Core {
    /// Looks at the folders of `scope`, and at everything below folders that are not known.
    pub(super) fn scan(&self, scope: &Scope) -> Result<Found, Error> {
        let mut found = Found::default();
        let mut totals = HashMap::new();
        let mut budget = MAX_SCAN_ENTRIES;
        let paths = self.paths();
        let known = |path: &str, stamp: &Stamp| {
            paths
                .get(path)
                .and_then(|id| self.known[id].seen)
                .is_some_and(|seen| seen.stamp.is_dir && seen.stamp.identity == stamp.identity)
        };
        let mut queue = match scope {
            Scope::Everything => vec![String::new()],
            Scope::Folders(folders) => folders
                .iter()
                .filter_map(|folder| folder.as_ref().map_or(Some(String::new()), |id| self.path(id)))
                .collect(),
        };
        while let Some(path) = queue.pop() {
            if found.listed.contains(&path) {
                continue;
            }
            let listing = match self.disk.list(&path, &mut budget) {
                Ok(listing) => listing,
                // Gone, or no folder any more: the one above tells.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
                    if let Some((above, _)) = path.rsplit_once('/') {
                        queue.push(above.to_owned());
                    } else if !path.is_empty() {
                        queue.push(String::new());
                    }
                    continue;
                }
                Err(Errno::ACCESS) => {
                    found.odd += 1;
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            found.odd += listing.odd;
            found.truncated |= listing.truncated;
            totals.insert(path.clone(), listing.entries.len() as u64 + listing.odd);
            for entry in listing.entries {
                let below = if path.is_empty() { entry.name.clone() } else { format!("{path}/{}", entry.name) };
                // What is a node already stays one, whatever its name.
                if is_ignored(&entry.name) && !paths.contains_key(&below) {
                    continue;
                }
                let deep = below.bytes().filter(|byte| *byte == b'/').count() >= MAX_DEPTH;
                if entry.stamp.is_dir && !deep && (*scope == Scope::Everything || !known(&below, &entry.stamp)) {
                    queue.push(below.clone());
                }
                found.entries.insert(below, FoundEntry { stamp: entry.stamp, hidden: false });
            }
            found.listed.insert(path);
        }
        if found.truncated {
            tracing::warn!(limit = MAX_SCAN_ENTRIES, "the workspace has too many files to look at");
            self.look_up_known(&mut found, paths.keys())?;
        }
        hide(&mut found, &totals);
        Ok(found)
    }

    /// Where not everything could be listed: looks for each known path by itself.
    fn look_up_known<'p>(&self, found: &mut Found, paths: impl Iterator<Item = &'p String>) -> Result<(), Error> {
        for path in paths {
            if !found.entries.contains_key(path)
                && let Some(stamp) = self.disk.stat(path)?
            {
                found.entries.insert(path.clone(), FoundEntry { stamp, hidden: false });
            }
            found.listed.insert(path.rsplit_once('/').map_or(String::new(), |(above, _)| above.to_owned()));
        }
        Ok(())
    }
}

fn hide(found: &mut Found, totals: &HashMap<String, u64>) {
    let mut shown_in: HashSet<String> = HashSet::new();
    let mut hidden = Vec::new();
    for (path, entry) in found.entries.iter().rev() {
        let is_hidden =
            entry.stamp.is_dir && totals.get(path).is_some_and(|total| *total > 0) && !shown_in.contains(path);
        if is_hidden {
            hidden.push(path.clone());
        } else if let Some((above, _)) = path.rsplit_once('/') {
            shown_in.insert(above.to_owned());
        }
    }
    for path in hidden {
        if let Some(entry) = found.entries.get_mut(&path) {
            entry.hidden = true;
        }
    }
}
