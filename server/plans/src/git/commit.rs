//! Commits: whose they are and what is in them.
//!
//! The author is who asked for it. Everybody else whose edits are in its files becomes a co-author. Who edited what is not asked of anybody:
//! the room's history knows the principal of each update. A file's edits count from the last commit that has the file on.

use std::collections::{BTreeSet, HashMap};

use buildspaces_kernel::ids::{NodeId, RoomId};
use buildspaces_policy::Principal;

use super::invocation::{QUICK, named};
use super::words::{self, Identity};
use super::{Change, ChangeKind, Commit, Error, Git, Shared, parse};

/// Paths that may be chosen, and how long they may be together.
const MAX_PATHS: usize = 1000;
const MAX_PATH_BYTES: usize = 256 << 10;

/// Files whose edits are looked at. What is in more is nobody's work of an afternoon.
const MAX_ATTRIBUTED: usize = 200;

/// Prints for each path when the last commit that has it was made, in seconds, or an empty line.
const TIMES: &str = r#"for path; do printf '%s\n' "$(git log -1 --format=%ct HEAD -- "$path")"; done"#;

impl Git {
    /// Commits these files, or all, as the documents are now.
    pub async fn commit(
        &self,
        room: &RoomId,
        by: &Principal,
        message: &str,
        paths: Option<&[String]>,
    ) -> Result<Commit, Error> {
        let message = words::message(message).ok_or(Error::BadMessage)?;
        let shared = &self.0;
        let _held = shared.hold(room).await?;
        shared.sandboxes.touch(room);
        let status = shared.status(room).await?;
        let conflicts = || status.changes.iter().filter(|change| change.kind == ChangeKind::Conflicted);
        if conflicts().next().is_some() {
            return Err(Error::Conflicts(named(conflicts().map(|change| change.path.as_str()))));
        }
        let chosen = choose(&status.changes, paths)?;
        let others = shared.others(room, by, &chosen, status.head.is_some()).await?;
        let message = words::with_co_authors(&message, &others);

        // Where files were chosen, what else somebody put into the index in a terminal stays there.
        let add: Vec<&str> =
            chosen.iter().filter(|change| change.unstaged).map(|change| change.path.as_str()).collect();
        let only: Vec<&str> =
            chosen.iter().flat_map(|change| change.from.iter().chain([&change.path])).map(String::as_str).collect();
        if paths.is_none() {
            shared.git(room, &["add", "--all"], QUICK).await?.succeeded()?;
        } else if !add.is_empty() {
            shared.git(room, &[&["add", "--all", "--"], &add[..]].concat(), QUICK).await?.succeeded()?;
        }
        let mut args =
            vec!["commit", "--quiet", "--no-verify", "--no-gpg-sign", "--cleanup=whitespace", "--message", &message];
        if paths.is_some() {
            args.extend(["--only", "--"]);
            args.extend(only);
        }
        let Identity { name, email } = Identity::of(by);
        let environment = [
            ("GIT_AUTHOR_NAME", name.as_str()),
            ("GIT_AUTHOR_EMAIL", &email),
            ("GIT_COMMITTER_NAME", &name),
            ("GIT_COMMITTER_EMAIL", &email),
        ];
        shared.git_as(room, &args, &environment, QUICK).await?.succeeded()?;
        let made = shared.git(room, &["log", "-z", "--no-color", parse::LOG_FORMAT, "--max-count=1"], QUICK).await?;
        let made = parse::log(&made.succeeded()?).pop();
        made.ok_or_else(|| Error::Git("the commit cannot be read".to_owned()))
    }
}

/// The changes that are to be committed.
fn choose<'a>(changes: &'a [Change], paths: Option<&[String]>) -> Result<Vec<&'a Change>, Error> {
    let Some(paths) = paths else {
        return if changes.is_empty() { Err(Error::NothingToCommit) } else { Ok(changes.iter().collect()) };
    };
    if paths.is_empty() {
        return Err(Error::NothingToCommit);
    }
    if paths.len() > MAX_PATHS || paths.iter().map(String::len).sum::<usize>() > MAX_PATH_BYTES {
        return Err(Error::TooManyPaths);
    }
    let by_path: HashMap<&str, &Change> = changes.iter().map(|change| (change.path.as_str(), change)).collect();
    let unique: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    unique
        .into_iter()
        .map(|path| by_path.get(path).copied().ok_or_else(|| Error::NotChanged(path.to_owned())))
        .collect()
}

impl Shared {
    /// Everybody but `by` whose edits are in the changes.
    async fn others(
        &self,
        room: &RoomId,
        by: &Principal,
        changes: &[&Change],
        has_commits: bool,
    ) -> Result<Vec<Identity>, Error> {
        let view = self.rooms.room(room).await?;
        let nodes: HashMap<String, NodeId> = view.text_files().into_iter().collect();
        let edited: Vec<(&Change, &NodeId)> = changes
            .iter()
            .filter_map(|change| Some((*change, nodes.get(&change.path)?)))
            .take(MAX_ATTRIBUTED)
            .collect();
        let times = if has_commits { self.times(room, &edited).await? } else { Vec::new() };
        let mut others = BTreeSet::new();
        for (at, (change, node)) in edited.iter().enumerate() {
            // What git does not know has no commit, whatever a file of that name once was.
            let known = change.kind != ChangeKind::Untracked;
            let since = times.get(at).copied().filter(|_| known).unwrap_or_default();
            let editors = view.editors(node, since).await?;
            others.extend(editors.iter().filter(|editor| editor.id != by.id).map(Identity::of));
        }
        Ok(others.into_iter().collect())
    }

    /// For each change when the last commit that has it was made, 0 if none was.
    async fn times(&self, room: &RoomId, edited: &[(&Change, &NodeId)]) -> Result<Vec<i64>, Error> {
        let mut argv = ["sh", "-c", TIMES, "times"].map(str::to_owned).to_vec();
        argv.extend(edited.iter().map(|(change, _)| change.from.as_ref().unwrap_or(&change.path).clone()));
        let printed = self.run(room, argv, &[], Vec::new(), QUICK).await?.allowing_a_cut()?;
        // Git counts in seconds, so an edit of the same second is one of before.
        let millis =
            |line: &str| line.trim().parse::<i64>().map_or(0, |at| at.saturating_add(1).saturating_mul(1000) - 1);
        Ok(String::from_utf8_lossy(&printed).lines().map(millis).collect())
    }
}
