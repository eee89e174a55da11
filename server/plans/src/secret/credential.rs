//! Who git says it is at another server: a name and, as the secret's value, a password or token. Pure.

use buildspaces_kernel::address;
use serde::{Deserialize, Serialize};

use super::header::parse_host;
use crate::redact::forms;

/// Longest address and longest name, in bytes.
const MAX_TEXT: usize = 256;

/// For the repositories at and below one address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct GitCredential {
    /// In small letters.
    host: String,
    port: u16,
    /// Without slashes around it and `.git` at its end; empty for all of the host.
    path: String,
    user: String,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Written {
    url: String,
    user: String,
}

impl GitCredential {
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn new(url: &str, user: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{url:?} is not where repositories are, such as https://git.example.com or https://git.example.com/team"
            )
        };
        let rest = url.trim().strip_prefix("https://").filter(|_| url.len() <= MAX_TEXT).ok_or_else(bad)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = parse_host(authority).ok_or_else(bad)?;
        let path = if path.is_empty() { "" } else { plain_path(path).ok_or_else(bad)? };
        // A colon would end the name.
        if user.is_empty() || user.len() > MAX_TEXT || !user.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
        {
            return Err(format!(
                "{user:?} cannot be the name that git gives: it has visible ASCII characters and no colon, such as git"
            ));
        }
        Ok(Self { host, port, path: path.to_owned(), user: user.to_owned() })
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    /// The address as people write it.
    pub fn url(&self) -> String {
        let slash = if self.path.is_empty() { "" } else { "/" };
        format!("https://{}{slash}{}", address::authority(&self.host, self.port), self.path)
    }

    /// How exactly it is meant for the repository at `path` of `host`; `None` if it is not. The more, the more exactly.
    pub fn covers(&self, host: &str, port: u16, path: &str) -> Option<usize> {
        let path = plain_path(path)?;
        let below = || path.strip_prefix(&*self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        (self.host == host && self.port == port && (self.path.is_empty() || below())).then_some(self.path.len())
    }

    /// What stands in the header `Authorization`.
    pub(super) fn authorization(&self, value: &str) -> String {
        format!("Basic {}", forms::in_base64(format!("{}:{value}", self.user).as_bytes()))
    }

    /// Why `value` cannot be a password, a sentence.
    pub(super) fn check(value: &str) -> Result<(), String> {
        let fits = value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && value.trim() == value;
        fits.then_some(()).ok_or_else(|| {
            "git cannot give this value: a password has visible ASCII characters and spaces between them, and no line break".to_owned()
        })
    }
}

/// A path that has one reading only, without slashes around it and `.git` at its end.
fn plain_path(path: &str) -> Option<&str> {
    let path = path.trim_matches('/');
    let is_part = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+@".contains(&byte))
    };
    path.split('/').all(is_part).then(|| path.strip_suffix(".git").unwrap_or(path))
}

impl TryFrom<Written> for GitCredential {
    type Error = String;
    fn try_from(written: Written) -> Result<Self, String> {
        Self::new(&written.url, &written.user)
    }
}

impl From<GitCredential> for Written {
    fn from(credential: GitCredential) -> Self {
        Self { url: credential.url(), user: credential.user }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_for_what_lies_below_its_address() {
        for (url, path, covers) in [
            ("https://git.example.com", "team/project.git", Some(0)),
            ("https://GIT.example.com/", "a", Some(0)),
            ("https://git.example.com/team", "team/project.git", Some(4)),
            ("https://git.example.com/team/", "/team/project/", Some(4)),
            ("https://git.example.com/team/project.git", "team/project", Some(12)),
            ("https://git.example.com/team/project", "team/project.git", Some(12)),
            ("https://git.example.com/team", "teams/project.git", None),
            ("https://git.example.com/team", "project.git", None),
            ("https://git.example.com/team", "team/../other/project.git", None),
            ("https://git.example.com", "team/%2e%2e/project.git", None),
            ("https://git.example.com", "a?b", None),
            ("https://git.example.com:8443", "a", None),
            ("https://other.example.com", "a", None),
        ] {
            let credential = GitCredential::new(url, "git").expect("valid");
            assert_eq!(credential.covers("git.example.com", 443, path), covers, "{url} {path}");
        }
    }

    #[test]
    fn what_is_no_address_or_no_name_is_refused() {
        for url in [
            "",
            "git.example.com",
            "http://git.example.com",
            "https://git",
            "https://me@git.example.com",
            "https://10.0.0.1",
            "https://git.example.com/a/../b",
            "https://git.example.com/a b",
            "https://git.example.com/a?b",
        ] {
            assert!(GitCredential::new(url, "git").is_err(), "{url}");
        }
        for user in ["", "a:b", "a b", "a\n", "é"] {
            assert!(GitCredential::new("https://git.example.com", user).is_err(), "{user:?}");
        }
    }

    #[test]
    fn the_header_is_that_of_basic_authentication() {
        let credential = GitCredential::new("https://git.example.com", "Aladdin").expect("valid");
        // The example of RFC 7617.
        assert_eq!(credential.authorization("open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
