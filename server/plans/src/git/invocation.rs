//! How git is called, and what its refusals mean to people.
//!
//! Whatever in the repository could make git do something else than what was asked (hooks, monitors, pagers, editors, signing) is switched
//! off. Not because it could reach the host, which it cannot, but because a commit must be what people saw.

use std::time::Duration;

use buildspaces_kernel::ids::RoomId;

use super::abroad::Abroad;
use super::{MAX_PATCH, Patch, Shared};
use crate::ports::{CommandEnd, CommandOutput, CommandSpec};
use crate::secret::StepHeader;

/// How long git may take for what it finds in the workspace.
pub(super) const QUICK: Duration = Duration::from_secs(30);

/// How long it may take for what comes from elsewhere.
pub(super) const NETWORK: Duration = Duration::from_secs(600);

/// Bytes that git may print.
const MAX_OUTPUT: usize = 1 << 20;

/// Characters of git's own words that are passed on.
const MAX_WORDS: usize = 300;

/// Files that are named in one refusal.
const MAX_NAMED: usize = 5;

/// What helps where another server asks who one is.
const CREDENTIAL_HINT: &str = "a host of the room can add a secret for it, given to git";

/// In front of every subcommand.
const SETTINGS: [&str; 9] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "core.excludesFile=/run/buildspaces/ignored",
    "safe.directory=/workspace",
    "commit.gpgSign=false",
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    "advice.detachedHead=false",
];

const ENVIRONMENT: [(&str, &str); 9] = [
    // What it says is read below.
    ("LC_ALL", "C.UTF-8"),
    ("GIT_PAGER", "cat"),
    ("GIT_EDITOR", "true"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", "true"),
    // A look must not take the lock that somebody's commit in a terminal needs.
    ("GIT_OPTIONAL_LOCKS", "0"),
    // A path is a name, whatever stands in it.
    ("GIT_LITERAL_PATHSPECS", "1"),
    ("GIT_ALLOW_PROTOCOL", "https"),
    ("GIT_CEILING_DIRECTORIES", "/"),
];

/// Why something about git was not done. The texts are for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// There is no sandbox to run git in. `hint` says how to turn it on.
    #[error("git runs in the room's sandbox, and sandboxes are off: {message}")]
    Off { message: String, hint: String },
    /// The sandbox failed, in its words.
    #[error("{0}")]
    Sandbox(String),
    #[error("there is no git in the sandbox; the image that sandbox.image names needs the package git")]
    NoGit,
    #[error("this room has no git repository; start one first")]
    NoRepository,
    #[error("this room has a git repository already")]
    IsRepository,
    #[error("a repository can only be fetched into a room without files; create a room from it instead")]
    NotEmpty,
    #[error("the room's repository is still on its way")]
    Cloning,
    #[error("programs change the room's files all the time; stop what is writing there and try again")]
    Restless,
    #[error("another change of this repository is at work; try again when it is over")]
    Busy,
    #[error("a run holds the room's files still, and did not end in {} s; try again when it is over, or cancel it", super::FREEZE_PATIENCE.as_secs())]
    Held,
    #[error(
        "another git is at work in this room. If there is none, one was killed: delete .git/index.lock in a terminal"
    )]
    Locked,
    #[error("git took longer than {0} s and was ended; what it had begun may be half done, so look at the changes")]
    TimedOut(u64),
    #[error("write what this commit does, in at most 10,000 characters")]
    BadMessage,
    #[error("there is nothing to commit: every file is as in the last commit")]
    NothingToCommit,
    #[error("{0:?} did not change since the last commit; reload the changes")]
    NotChanged(String),
    #[error("too many files were chosen; commit all of them, or fewer")]
    TooManyPaths,
    #[error("a merge left both sides in {0}; edit that first, then commit")]
    Conflicts(String),
    #[error("a merge is under way, which can only be committed as a whole; commit all files")]
    Merging,
    #[error(
        "a branch is named with letters, digits and - _ . / (no spaces, not at the beginning or end a dot or slash)"
    )]
    BadBranchName,
    #[error("there is no such branch")]
    NoSuchBranch,
    #[error("there is a branch of that name already")]
    BranchExists,
    #[error("changes that are not committed would be lost in {0}; commit them first")]
    WouldOverwrite(String),
    #[error("there is no such file: {0:?}")]
    NoSuchFile(String),
    #[error("there is no such commit")]
    NoSuchCommit,
    #[error("that address cannot be used: {0}")]
    BadUrl(&'static str),
    #[error(
        "sandboxes may not reach {0}; whoever runs this server can list that host in sandbox.egress, unless it leads to a private network"
    )]
    NotListed(String),
    #[error("{0} cannot be reached from here; check the address, and try again in a moment")]
    Unreachable(String),
    #[error("there is no such repository, or it is not shown to everybody; {CREDENTIAL_HINT}")]
    NoSuchRemote,
    #[error("the other server wants to know who you are; {CREDENTIAL_HINT}")]
    NeedsCredential,
    /// The room's secret of that name was given.
    #[error(
        "there is no such repository, or the other server does not let the secret {0} do that; look what its token is for, and whether it has ended"
    )]
    CredentialRefused(String),
    /// The room's secret for it cannot be had, a sentence.
    #[error("{0}")]
    NoCredential(String),
    #[error("this branch follows no other; push it first, or set that in a terminal")]
    NoUpstream,
    #[error("this room's repository came from nowhere else; add a remote called origin in a terminal")]
    NoRemote,
    #[error("there are new commits on both sides, which have to be merged; do that in a terminal")]
    Diverged,
    #[error("git says: {0}")]
    Git(String),
    #[error(transparent)]
    Room(#[from] RoomError),
}

/// A room's error that can be compared, for tests.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct RoomError(pub buildspaces_rooms::Error);

impl PartialEq for RoomError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for RoomError {}

impl From<buildspaces_rooms::Error> for Error {
    fn from(error: buildspaces_rooms::Error) -> Self {
        Self::Room(RoomError(error))
    }
}

/// What became of one git.
#[derive(Debug)]
pub(super) struct Done {
    code: Option<i32>,
    output: Vec<u8>,
    errors: String,
}

impl Shared {
    /// Runs git in the room's workspace.
    pub(super) async fn git(&self, room: &RoomId, args: &[&str], patience: Duration) -> Result<Done, Error> {
        self.git_as(room, args, &[], patience).await
    }

    /// The same, with more in its environment.
    pub(super) async fn git_as(
        &self,
        room: &RoomId,
        args: &[&str],
        environment: &[(&str, &str)],
        patience: Duration,
    ) -> Result<Done, Error> {
        let argv = argv([].into_iter(), args);
        self.run(room, argv, environment, Vec::new(), patience).await
    }

    /// Runs git where it asks another server.
    pub(super) async fn git_abroad(&self, room: &RoomId, abroad: Abroad, args: &[&str]) -> Result<Vec<u8>, Error> {
        let Abroad { settings, headers } = abroad;
        // Where the proxy has something to say, git talks to it in plain HTTP.
        let protocols: &[_] = if headers.is_empty() { &[] } else { &[("GIT_ALLOW_PROTOCOL", "http:https")] };
        let secret = headers.first().map(|header| header.secret.to_string());
        let argv = argv(settings.iter().map(String::as_str), args);
        let done = self.run(room, argv, protocols, headers, NETWORK).await?;
        let is_denied = done.says("returned error: 403");
        done.succeeded().map_err(|error| match (error, secret) {
            (Error::NeedsCredential | Error::NoSuchRemote, Some(secret)) => Error::CredentialRefused(secret),
            (Error::Git(_), Some(secret)) if is_denied => Error::CredentialRefused(secret),
            (error, _) => error,
        })
    }

    /// Runs any program with git's environment.
    pub(super) async fn run(
        &self,
        room: &RoomId,
        argv: Vec<String>,
        environment: &[(&str, &str)],
        headers: Vec<StepHeader>,
        patience: Duration,
    ) -> Result<Done, Error> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let env = ENVIRONMENT.iter().chain(environment).map(own).collect();
        let command = CommandSpec { argv, env, timeout: patience, max_output: MAX_OUTPUT, headers };
        let CommandOutput { end, output, errors } = self.sandboxes.command(room, command).await?;
        let code = match end {
            CommandEnd::Exited(127) if errors.contains("cannot be started") => return Err(Error::NoGit),
            CommandEnd::Exited(code) => Some(code),
            CommandEnd::Cut => None,
            CommandEnd::TimedOut => return Err(Error::TimedOut(patience.as_secs())),
        };
        Ok(Done { code, output, errors })
    }
}

/// Git with its settings, `more` of them, and what it is to do.
fn argv<'a>(more: impl Iterator<Item = &'a str>, args: &[&str]) -> Vec<String> {
    let settings = SETTINGS.into_iter().chain(more).flat_map(|setting| ["-c", setting]);
    ["git", "--no-pager"].into_iter().chain(settings).chain(args.iter().copied()).map(str::to_owned).collect()
}

impl Done {
    /// Did git complain in these words?
    pub(super) fn says(&self, words: &str) -> bool {
        self.code != Some(0) && self.errors.contains(words)
    }

    /// It printed more than it may.
    pub(super) fn is_cut(&self) -> bool {
        self.code.is_none()
    }

    /// What it printed, whole.
    pub(super) fn succeeded(self) -> Result<Vec<u8>, Error> {
        if self.is_cut() {
            return Err(Error::Git("it printed too much".to_owned()));
        }
        self.allowing_a_cut()
    }

    /// What it printed, or the first of it.
    pub(super) fn allowing_a_cut(self) -> Result<Vec<u8>, Error> {
        match self.code {
            Some(0) | None => Ok(self.output),
            Some(_) => Err(refusal(&self.errors, &self.output)),
        }
    }

    pub(super) fn patch(self) -> Result<Patch, Error> {
        let cut = self.is_cut();
        let mut bytes = self.allowing_a_cut()?;
        let truncated = cut || bytes.len() > MAX_PATCH;
        bytes.truncate(MAX_PATCH);
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if truncated {
            // Half a line would be shown as if it were one.
            text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        }
        Ok(Patch { text, truncated })
    }

    /// The same of a comparison that ends with 1 where there is a difference.
    pub(super) fn patch_of_difference(mut self) -> Result<Patch, Error> {
        if self.code == Some(1) && self.errors.is_empty() {
            self.code = Some(0);
        }
        if self.errors.contains("Could not access") {
            return Ok(Patch::default());
        }
        self.patch()
    }
}

/// What a refusal of git's means.
pub(super) fn refusal(errors: &str, output: &[u8]) -> Error {
    let says = |words: &str| errors.contains(words);
    // Without a repository git compares two files, of which one would be called so.
    if says("not a git repository") || says("Not a git repository") || says("Could not access 'HEAD'") {
        Error::NoRepository
    } else if says(".lock': File exists") {
        Error::Locked
    } else if says("would be overwritten by") {
        Error::WouldOverwrite(named(errors.lines().filter_map(|line| line.strip_prefix('\t'))))
    } else if says("invalid reference:") || says("not found in upstream") {
        Error::NoSuchBranch
    } else if says("a branch named") && says("already exists") {
        Error::BranchExists
    } else if says("cannot do a partial commit during") {
        Error::Merging
    } else if says("unknown revision") || says("bad object") || says("bad revision") {
        Error::NoSuchCommit
    } else if says("already exists and is not an empty directory") {
        Error::NotEmpty
    } else if says("response 403") || says("HTTP code 403 from proxy") || says("Could not resolve host") {
        Error::NotListed(host_in(errors))
    } else if says("response 50") || says("from proxy after CONNECT") || says("Failed to connect") {
        Error::Unreachable(host_in(errors))
    } else if says("could not read Username") || says("could not read Password") || says("Authentication failed") {
        Error::NeedsCredential
    } else if says("' not found") && says("repository '") {
        Error::NoSuchRemote
    } else if says("no upstream configured")
        || says("does not point to a branch")
        || says("no such branch: 'HEAD'")
        || says("You are not currently on a branch")
    {
        Error::NoUpstream
    } else if says("'origin' does not appear to be a git repository") || says("transport 'file' not allowed") {
        Error::NoRemote
    } else if says("Not possible to fast-forward") || says("non-fast-forward") || says("(fetch first)") {
        Error::Diverged
    } else {
        let output = String::from_utf8_lossy(output);
        match output.contains("nothing to commit") {
            true => Error::NothingToCommit,
            false => Error::Git(words_of(if errors.trim().is_empty() { &output } else { errors })),
        }
    }
}

/// The host of the first address in git's words, for a sentence.
fn host_in(errors: &str) -> String {
    let host = errors.split_once("https://").map(|(_, rest)| {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':')).collect::<String>()
    });
    let host = host.map(|host| host.trim_end_matches(':').to_owned());
    host.filter(|host| !host.is_empty() && host.len() <= 253).unwrap_or_else(|| "that host".to_owned())
}

/// Some names of files, for a sentence.
pub(super) fn named<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.map(str::trim).collect();
    let shown = names.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMED) {
        0 if shown.is_empty() => "some files".to_owned(),
        0 => plain(&shown),
        more => format!("{} and {more} more", plain(&shown)),
    }
}

/// What git says of what went wrong, in one line: its last words are the ones that tell.
fn words_of(errors: &str) -> String {
    let lines: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let telling = lines.iter().find(|line| line.starts_with("fatal:") || line.starts_with("error:"));
    let line = telling.or(lines.last()).copied().unwrap_or("nothing, but it failed");
    plain(line.trim_start_matches("fatal: ").trim_start_matches("error: "))
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let table = [
            ("fatal: not a git repository (or any of the parent directories): .git", Error::NoRepository),
            (
                "warning: Not a git repository. Use --no-index to compare two paths outside a working tree",
                Error::NoRepository,
            ),
            ("error: Could not access 'HEAD'", Error::NoRepository),
            ("fatal: transport 'file' not allowed", Error::NoRemote),
            (
                "fatal: Unable to create '/workspace/.git/index.lock': File exists.\n\nAnother git process",
                Error::Locked,
            ),
            (
                "error: Your local changes to the following files would be overwritten by checkout:\n\ta.py\n\tb c.py\nPlease commit",
                Error::WouldOverwrite("a.py, b c.py".to_owned()),
            ),
            ("fatal: invalid reference: nope", Error::NoSuchBranch),
            ("fatal: a branch named 'x' already exists", Error::BranchExists),
            ("fatal: cannot do a partial commit during a merge.", Error::Merging),
            (
                "Cloning into '.'...\nfatal: unable to access 'https://git.example/a/': Received HTTP code 403 from proxy after CONNECT",
                Error::NotListed("git.example".to_owned()),
            ),
            (
                "fatal: unable to access 'https://git.example:8443/a/': CONNECT tunnel failed, response 403",
                Error::NotListed("git.example:8443".to_owned()),
            ),
            (
                "fatal: unable to access 'https://git.example/a/': Could not resolve host: git.example",
                Error::NotListed("git.example".to_owned()),
            ),
            (
                "fatal: unable to access 'https://git.example/a/': CONNECT tunnel failed, response 502",
                Error::Unreachable("git.example".to_owned()),
            ),
            (
                "fatal: could not read Username for 'https://git.example': terminal prompts disabled",
                Error::NeedsCredential,
            ),
            ("fatal: repository 'https://git.example/a/' not found", Error::NoSuchRemote),
            ("fatal: Not possible to fast-forward, aborting.", Error::Diverged),
            (
                "warning: x\nerror: pathspec '\u{1b}[31m' did not match",
                Error::Git("pathspec ' [31m' did not match".to_owned()),
            ),
            ("", Error::Git("nothing, but it failed".to_owned())),
        ];
        for (errors, expected) in table {
            assert_eq!(refusal(errors, b""), expected, "{errors}");
        }
        assert_eq!(refusal("", b"On branch main\nnothing to commit, working tree clean\n"), Error::NothingToCommit);
    }

    #[test]
    fn many_names_are_cut_short() {
        assert_eq!(named(["a", "b", "c", "d", "e", "f", "g"].into_iter()), "a, b, c, d, e and 2 more");
        assert_eq!(named(std::iter::empty()), "some files");
    }

    #[test]
    fn a_patch_ends_with_a_whole_line() {
        let done = |code, output: Vec<u8>| Done { code, output, errors: String::new() };
        let whole = done(Some(0), b"+a\n+b".to_vec()).patch().expect("a patch");
        assert_eq!(whole, Patch { text: "+a\n+b".to_owned(), truncated: false });
        let cut = done(None, b"+a\n+b".to_vec()).patch().expect("a patch");
        assert_eq!(cut, Patch { text: "+a\n".to_owned(), truncated: true });
        let long = done(Some(0), "+line\n".repeat(MAX_PATCH / 6 + 1).into_bytes()).patch().expect("a patch");
        assert!(long.truncated && long.text.len() <= MAX_PATCH && long.text.ends_with("line\n"));
    }
}
