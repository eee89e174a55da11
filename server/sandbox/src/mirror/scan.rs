//! Walks the workspace and notes what is there, without opening a file but for `.gitignore`s.
//!
//! It compares nothing with the room. Start with [`Core::scan`].

use std::collections::{BTreeMap, HashMap, HashSet};

use rustix::io::Errno;

use super::Error;
use super::core::{Core, Scope};
use super::disk::Stamp;
use super::gitignore::{self, Gitignores, above, path_in};
use super::ignore::{MAX_DEPTH, MAX_SCAN_ENTRIES, is_ignored};

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By path; a folder comes before what is in it.
    pub(super) entries: BTreeMap<String, FoundEntry>,
    /// The folders whose entries are all in `entries`. What is known in them and not found is gone.
    pub(super) listed: HashSet<String>,
    pub(super) odd: u64,
    /// Other files are left out than at the look before, so everything is to be looked at.
    pub(super) other_rules: bool,
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
    pub(super) fn scan(&mut self, scope: &Scope) -> Result<Found, Error> {
        let mut gitignores = std::mem::take(&mut self.gitignores);
        let found = self.scan_with(scope, &mut gitignores);
        self.gitignores = gitignores;
        found
    }

    fn scan_with(&self, scope: &Scope, gitignores: &mut Gitignores) -> Result<Found, Error> {
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
        let mut looked_above = HashSet::new();
        for path in &queue {
            let mut path = path.as_str();
            while !path.is_empty() {
                path = above(path);
                if looked_above.insert(path.to_owned()) {
                    let stamp = self.disk.stat(&path_in(path, gitignore::NAME))?;
                    found.other_rules |= gitignores.look(&self.disk, path, stamp);
                }
            }
        }
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
            let stamp = listing.entries.iter().find(|entry| entry.name == gitignore::NAME).map(|entry| entry.stamp);
            found.other_rules |= gitignores.look(&self.disk, &path, stamp);
            let is_left_out = gitignores.leaves_out_all_of(&path);
            for entry in listing.entries {
                let below = path_in(&path, &entry.name);
                let stays = is_left_out
                    || is_ignored(&entry.name)
                    || gitignores.leaves_out(&path, &entry.name, entry.stamp.is_dir);
                // What is a node already stays one, whatever its name.
                if stays && !paths.contains_key(&below) {
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
        if *scope == Scope::Everything {
            gitignores.keep_only(&found.listed);
            found.other_rules = false;
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
