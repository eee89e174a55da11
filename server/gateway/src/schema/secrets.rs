//! Secrets, as REST shows them: never with a value.

use buildspaces_plans::secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A secret that is to be stored. It has no `Debug`, so that nobody prints it by mistake.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSecret {
    /// 8 bytes to 8 KiB of text. It is never told to anybody again.
    #[schema(write_only, format = Password)]
    pub value: String,
    pub given: Given,
    /// The skills whose steps may have it, such as `test.run`; all if left out.
    pub skills: Option<Vec<String>>,
}

/// How a step gets a secret.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Given {
    /// As a variable of its process, under the secret's name.
    Env {},
    /// As the file `/run/secrets/<name>`, for as long as the step runs.
    File {},
    /// Not at all: what programs ask of `http://<host>/...` goes there over TLS, with this header.
    Header {
        /// One host, with a port if it is not that of https, such as `api.example.com`. `sandbox.egress` must have it, too.
        host: String,
        /// Such as `Authorization`.
        header: String,
        /// Where the value stands in it, such as `Bearer {}`; the value alone if left out.
        #[serde(default = "alone")]
        template: String,
    },
    /// To no step, but to git when the room pulls, pushes or is made of a repository: its requests get name and value on their way out.
    Git {
        /// The repositories at and below this address, such as `https://git.example.com/team`. `sandbox.egress` must have its host, too.
        url: String,
        /// Many servers take any name beside a token.
        #[serde(default = "git")]
        user: String,
    },
}

fn git() -> String {
    "git".to_owned()
}

fn alone() -> String {
    "{}".to_owned()
}

impl TryFrom<Given> for secret::Given {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        Ok(match given {
            Given::Env {} => Self::Env,
            Given::File {} => Self::File,
            Given::Header { host, header, template } => Self::Header(secret::Header::new(&host, &header, &template)?),
            Given::Git { url, user } => Self::Git(secret::GitCredential::new(&url, &user)?),
        })
    }
}

impl From<secret::Given> for Given {
    fn from(given: secret::Given) -> Self {
        match given {
            secret::Given::Env => Self::Env {},
            secret::Given::File => Self::File {},
            secret::Given::Header(header) => Self::Header {
                host: header.authority(),
                header: header.name().to_owned(),
                template: header.template().to_owned(),
            },
            secret::Given::Git(credential) => Self::Git { url: credential.url(), user: credential.user().to_owned() },
        }
    }
}

/// A secret of a room.
#[derive(Serialize, ToSchema)]
pub(crate) struct Secret {
    pub name: String,
    pub given: Given,
    /// The skills whose steps may have it.
    pub skills: Vec<String>,
    pub set_by: String,
    pub set_by_name: String,
    pub set_at: i64,
    /// When a step was last given it.
    pub used_at: Option<i64>,
}

impl From<secret::Secret> for Secret {
    fn from(secret: secret::Secret) -> Self {
        Self {
            name: secret.name.to_string(),
            given: secret.given.into(),
            skills: secret.skills,
            set_by: secret.set_by.to_string(),
            set_by_name: secret.set_by_name,
            set_at: secret.set_at,
            used_at: secret.used_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleChange {
    /// The secrets that its steps are given, and no others.
    pub secrets: Vec<String>,
}
