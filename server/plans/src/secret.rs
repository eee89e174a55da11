//! Secrets of a room: what they are called, how a step gets them, and what a step is given. Pure but for [`Key`], which needs random numbers.
//!
//! A value comes in once and never goes out again but to a step. So it has a type of its own, [`Value`], that neither prints nor serialises
//! itself. [`crate::secrets`] keeps secrets and hands them out.

use std::fmt;
use std::sync::Arc;

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::PrincipalId;
use serde::{Deserialize, Serialize};

use crate::redact::forms;

mod credential;
mod header;
mod key;

pub use credential::GitCredential;
pub use header::Header;
pub use key::{Key, KeyError, Unreadable};

/// Longest name of a secret, in bytes.
const MAX_NAME: usize = 64;

/// Longest value, in bytes. More is a file and not a secret.
pub const MAX_VALUE: usize = 8 << 10;

/// Beginnings of names that mean something to the agent itself.
const RESERVED: &str = "BUILDSPACES_";

/// Names that decide which programs a shell runs and what they load.
const DANGEROUS: [&str; 6] = ["PATH", "HOME", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "BASH_ENV"];

/// What a secret is called: 1 to 64 letters, digits and underscores, no digit first. So it is the name of a variable and of a file, too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(Arc<str>);

impl SecretName {
    pub fn parse(text: &str) -> Option<Self> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let valid = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(is_word)
            && !text.as_bytes()[0].is_ascii_digit()
            && !text.to_ascii_uppercase().starts_with(RESERVED)
            && !DANGEROUS.contains(&text);
        valid.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretName({})", self.0)
    }
}

impl TryFrom<String> for SecretName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| {
            format!(
                "{text:?} cannot be the name of a secret: use 1 to {MAX_NAME} letters, digits and underscores, no digit first, and no name \
                 that shells or this server give a meaning, such as PATH"
            )
        })
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> String {
        name.0.as_ref().to_owned()
    }
}

/// How a step gets a secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Given {
    /// As a variable of its process, under the secret's name.
    Env,
    /// As `/run/secrets/<name>`, for as long as it runs.
    File,
    /// Not at all: the proxy puts it into requests to one host.
    Header(Header),
    /// To no step, but to git when the room pulls or pushes: the proxy puts it into git's requests.
    Git(GitCredential),
}

/// The value of a secret. It does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Arc<str>);

impl Value {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The value itself. Whoever calls this takes care of where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(…)")
    }
}

/// A secret without its value: what people see of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secret {
    pub name: SecretName,
    pub given: Given,
    /// The skills whose steps may have it.
    pub skills: Vec<String>,
    pub set_by: PrincipalId,
    pub set_by_name: String,
    pub set_at: UnixMillis,
    /// When a step was last given it.
    pub used_at: Option<UnixMillis>,
}

/// Why a value cannot be a secret, a sentence.
pub(crate) fn check(value: &str, given: &Given) -> Result<(), String> {
    if value.len() > MAX_VALUE {
        return Err(format!("the value has {} bytes; a secret has at most {MAX_VALUE}", value.len()));
    }
    if forms::weight(value) < forms::MIN_BYTES {
        return Err(format!(
            "the value has fewer than {} characters that are no white space; it could not be masked in output without masking other things",
            forms::MIN_BYTES
        ));
    }
    match given {
        Given::Env if value.contains('\0') => {
            Err("a variable cannot hold the character NUL; give it as a file".to_owned())
        }
        Given::Header(header) => header.check(value),
        Given::Git(_) => GitCredential::check(value),
        Given::Env | Given::File => Ok(()),
    }
}

/// What one step is given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StepSecrets {
    /// Variables of its process.
    pub env: Vec<(SecretName, Value)>,
    /// Files of that name in `/run/secrets`.
    pub files: Vec<(SecretName, Value)>,
    /// What the proxy puts into requests while the step runs.
    pub headers: Vec<StepHeader>,
}

/// One header of requests to one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepHeader {
    pub secret: SecretName,
    pub value: Value,
    host: String,
    port: u16,
    name: String,
    filled: Value,
    /// The paths, with their queries, that it is for; all if `None`.
    paths: Option<Vec<String>>,
}

impl StepHeader {
    pub fn new(secret: SecretName, header: &Header, value: Value) -> Self {
        let (host, port, name) = (header.host().to_owned(), header.port(), header.name().to_owned());
        let filled = Value::new(&header.filled(value.reveal()));
        Self { secret, value, host, port, name, filled, paths: None }
    }

    /// For git, which may ask for `paths` and nothing else.
    pub fn git(secret: SecretName, credential: &GitCredential, value: Value, paths: Vec<String>) -> Self {
        let filled = Value::new(&credential.authorization(value.reveal()));
        let (host, port, name) = (credential.host().to_owned(), credential.port(), "Authorization".to_owned());
        Self { secret, value, host, port, name, filled, paths: Some(paths) }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The header's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands in the header. Whoever calls this takes care of where it goes.
    pub fn filled(&self) -> &str {
        self.filled.reveal()
    }

    /// True if requests for `path` of that host get it.
    pub fn is_for(&self, host: &str, port: u16, path: &str) -> bool {
        let asks = |paths: &Vec<String>| paths.iter().any(|allowed| allowed == path);
        self.host == host && self.port == port && self.paths.as_ref().is_none_or(asks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_variables() {
        for good in ["A", "API_TOKEN", "_x", "npmToken2"] {
            assert!(SecretName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "2nd", "a-b", "a b", "a/b", "..", "é", "PATH", "LD_PRELOAD", "buildspaces_x", &"a".repeat(65)]
        {
            assert!(SecretName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn values_do_not_show_themselves() {
        let name = SecretName::parse("TOKEN").expect("valid");
        let given = StepSecrets { env: vec![(name, Value::new("hunter2hunter2"))], ..StepSecrets::default() };
        assert_eq!(format!("{:?}", given.env), "[(SecretName(TOKEN), Value(…))]");
    }

    #[test]
    fn a_value_that_cannot_be_given_is_refused_in_words() {
        let header = Header::new("api.example.com", "Authorization", "Bearer {}").expect("valid");
        for (value, given, why) in [
            ("short", Given::Env, "fewer than 8"),
            ("s p a c e d", Given::Env, "fewer than 8"),
            (&"x".repeat(MAX_VALUE + 1), Given::File, "at most 8192"),
            ("12345678\0", Given::Env, "NUL"),
            ("12345678\n", Given::Header(header), "header"),
        ] {
            let refused = check(value, &given).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
        assert_eq!(check("12345678\0\n", &Given::File), Ok(()));
    }

    #[test]
    fn the_stored_form_of_how_it_is_given() {
        let header = Header::new("API.example.com:8443", "x-api-key", "{}").expect("valid");
        let git = GitCredential::new("https://Git.example.com/team/", "me").expect("valid");
        for (given, json) in [
            (Given::Env, r#"{"kind":"env"}"#),
            (Given::File, r#"{"kind":"file"}"#),
            (
                Given::Header(header),
                r#"{"kind":"header","host":"api.example.com:8443","header":"x-api-key","template":"{}"}"#,
            ),
            (Given::Git(git), r#"{"kind":"git","url":"https://git.example.com/team","user":"me"}"#),
        ] {
            assert_eq!(serde_json::to_string(&given).expect("JSON"), json);
            assert_eq!(serde_json::from_str::<Given>(json).expect("the same"), given);
        }
    }
}
