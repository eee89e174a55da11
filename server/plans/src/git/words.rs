//! What people and programs write around git, checked and made: names of branches, addresses, paths, messages and identities. Pure.

use buildspaces_kernel::address;
use buildspaces_policy::{Principal, PrincipalKind};

/// Longest name of a branch, in bytes.
const MAX_BRANCH: usize = 200;

/// Longest address of a repository, in bytes.
const MAX_URL: usize = 1000;

/// Longest message of a commit, in characters.
const MAX_MESSAGE: usize = 10_000;

/// Longest path, in bytes: the system's own limit.
const MAX_PATH: usize = 4096;

const CO_AUTHOR: &str = "Co-authored-by:";

/// True for what `git check-ref-format --branch` takes, and is no option.
pub fn is_branch_name(name: &str) -> bool {
    let bad = |c: char| c.is_ascii_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    name.len() <= MAX_BRANCH
        && !name.chars().any(bad)
        && name.split('/').all(is_part)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !matches!(name, "@" | "HEAD")
}

/// True for a path below the workspace, as git writes it.
pub fn is_path(path: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    path.len() <= MAX_PATH && !path.contains('\0') && path.trim_end_matches('/').split('/').all(is_part)
}

/// True for the name of a commit, whole or abbreviated.
pub fn is_commit(id: &str) -> bool {
    (4..=64).contains(&id.len()) && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The address of a repository that a sandbox can be let to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    text: String,
    host: String,
    name: String,
    port: u16,
    path: String,
}

/// Why an address is not one, as a sentence to people.
pub type BadUrl = &'static str;

impl Url {
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let text = text.trim();
        if text.len() > MAX_URL || text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err("it is too long, or has a space in it");
        }
        let rest = text.strip_prefix("https://").ok_or("only addresses that begin with https:// can be reached")?;
        let (authority, path) =
            rest.split_once('/').ok_or("it has a host and no path, such as https://host/a/b.git")?;
        if authority.contains('@') {
            return Err("it has a name or a password in it, which everybody in the room could read");
        }
        let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let number = port.parse().ok().filter(|_| host.contains('.') && host.split('.').all(is_label));
        let number: u16 = number.ok_or("its host is not a name such as git.example.org")?;
        if path.is_empty() {
            return Err("it has a host and no path, such as https://host/a/b.git");
        }
        let (name, path) = (host.to_ascii_lowercase(), path.to_owned());
        let host = address::authority(&name, number);
        Ok(Self { text: text.to_owned(), host, name, port: number, path })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As `sandbox.egress` lists it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host without its port, in small letters.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Without the slash in front of it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What people call what is there.
    pub fn title(&self) -> &str {
        let last = self.text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        last.strip_suffix(".git").unwrap_or(last)
    }
}

/// Who somebody is in a commit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Identity {
    pub name: String,
    /// Made of the principal's id, so that the same person is the same in every commit, and nobody's real address gets into a history
    /// that goes on to others. The domain is one that never exists.
    pub email: String,
}

impl Identity {
    pub fn of(principal: &Principal) -> Self {
        let cleaned: String = principal.name.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect();
        let named = cleaned.contains(char::is_alphanumeric);
        let name = if named { cleaned.trim() } else { "Somebody" };
        match principal.kind {
            PrincipalKind::Agent => {
                Self { name: format!("{name} (agent)"), email: format!("{}@agents.buildspaces.invalid", principal.id) }
            }
            PrincipalKind::Person | PrincipalKind::FileSystem | PrincipalKind::System => {
                Self { name: name.to_owned(), email: format!("{}@users.buildspaces.invalid", principal.id) }
            }
        }
    }
}

/// What somebody wrote about their commit, without what git would take away; `None` if that is nothing, or too much.
pub fn message(text: &str) -> Option<String> {
    let text = text.replace("\r\n", "\n");
    let text = text.trim();
    let valid = !text.is_empty() && text.chars().count() <= MAX_MESSAGE && !text.contains('\0');
    valid.then(|| text.to_owned())
}

/// The message with a line for each of the others who took part and is not named in it yet.
pub fn with_co_authors(message: &str, others: &[Identity]) -> String {
    let missing: Vec<String> = others
        .iter()
        .filter(|other| !message.contains(&format!("<{}>", other.email)))
        .map(|other| format!("{CO_AUTHOR} {} <{}>", other.name, other.email))
        .collect();
    if missing.is_empty() {
        return message.to_owned();
    }
    // Trailers are one paragraph at the end.
    let joins = message.rsplit_once("\n\n").is_some_and(|(_, last)| last.lines().all(is_trailer));
    format!("{message}{}{}", if joins { "\n" } else { "\n\n" }, missing.join("\n"))
}

fn is_trailer(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(token, value)| {
        !token.is_empty() && !value.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

#[cfg(test)]
mod tests {
    use buildspaces_kernel::ids::PrincipalId;

    use super::*;

    #[test]
    fn branches_are_named_as_git_wants() {
        for good in ["main", "feature/login", "v1.2", "a-b_c", "fix#12", "grün", "@home", "a@b"] {
            assert!(is_branch_name(good), "{good}");
        }
        let long = "a".repeat(201);
        for bad in [
            "", "-d", "--force", "a b", "a..b", ".a", "a/.b", "a.lock", "a.lock/b", "a.", "/a", "a/", "a//b", "a~1",
            "a^", "a:b", "a?", "a*", "a[", "a\\b", "a\u{7f}", "a\nb", "@", "a@{b", "HEAD", &long,
        ] {
            assert!(!is_branch_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn paths_stay_below_the_workspace() {
        for good in ["a", "a/b c.py", "-rf", "ä", ":(top)x", "a\nb", "folder/"] {
            assert!(is_path(good), "{good:?}");
        }
        for bad in ["", "/", "/a", "../a", "a/../b", "a//b", "./a", "a\0b", &"a/".repeat(2049)] {
            assert!(!is_path(bad), "{bad:?}");
        }
    }

    #[test]
    fn addresses_are_https_with_a_name_and_no_secret() {
        let url = Url::parse(" https://Git.Example.org/team/tool.git ").expect("valid");
        assert_eq!(
            (url.as_str(), url.host(), url.title()),
            ("https://Git.Example.org/team/tool.git", "git.example.org", "tool")
        );
        assert_eq!(Url::parse("https://git.example:8443/x/").expect("valid").host(), "git.example:8443");
        for bad in [
            "",
            "git@github.com:a/b.git",
            "ssh://git.example/a",
            "http://git.example/a",
            "file:///etc",
            "ext::sh -c x",
            "https://user:secret@git.example/a",
            "https://token@git.example/a",
            "https://git.example",
            "https://git.example/",
            "https://localhost/a",
            "https://[::1]/a",
            "https://git.example:x/a",
            "https://git.example/a b",
            "https://git.example/a\nb",
            "--upload-pack=x",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad:?}");
        }
    }

    fn principal(kind: PrincipalKind, id: &str, name: &str) -> Principal {
        Principal { id: PrincipalId::parse(id).expect("an id"), kind, name: name.into() }
    }

    #[test]
    fn identities_hold_nothing_that_would_end_them() {
        let of = |kind, name| {
            let Identity { name, email } = Identity::of(&principal(kind, "u1", name));
            format!("{name} <{email}>")
        };
        assert_eq!(of(PrincipalKind::Person, "Ann"), "Ann <u1@users.buildspaces.invalid>");
        assert_eq!(of(PrincipalKind::Agent, "Bot"), "Bot (agent) <u1@agents.buildspaces.invalid>");
        assert_eq!(
            of(PrincipalKind::Person, " A<b>\nCo-authored-by: x "),
            "AbCo-authored-by: x <u1@users.buildspaces.invalid>"
        );
        assert_eq!(of(PrincipalKind::Person, "...<>"), "Somebody <u1@users.buildspaces.invalid>");
    }

    #[test]
    fn co_authors_stand_in_one_paragraph_at_the_end() {
        let bob = Identity::of(&principal(PrincipalKind::Person, "u2", "Bob"));
        let bot = Identity::of(&principal(PrincipalKind::Agent, "a1", "Bot"));
        let (bob_line, bot_line) = (
            "Co-authored-by: Bob <u2@users.buildspaces.invalid>",
            "Co-authored-by: Bot (agent) <a1@agents.buildspaces.invalid>",
        );
        let both = [bob, bot];
        assert_eq!(with_co_authors("Fix it", &[]), "Fix it");
        assert_eq!(with_co_authors("Fix it", &both), format!("Fix it\n\n{bob_line}\n{bot_line}"));
        assert_eq!(
            with_co_authors("feat: it", &both[..1]),
            format!("feat: it\n\n{bob_line}"),
            "a subject is no trailer"
        );
        let signed = "Fix it\n\nSigned-off-by: A <a@b>";
        assert_eq!(with_co_authors(signed, &both[..1]), format!("{signed}\n{bob_line}"));
        let named = format!("Fix it\n\n{bob_line}");
        assert_eq!(with_co_authors(&named, &both), format!("{named}\n{bot_line}"));
    }

    #[test]
    fn messages_have_words_and_an_end() {
        assert_eq!(message(" a\r\nb \n").as_deref(), Some("a\nb"));
        for bad in ["", " \n", "a\0b", &"x".repeat(10_001)] {
            assert_eq!(message(bad), None);
        }
    }
}
