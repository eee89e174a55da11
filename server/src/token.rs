//! `buildspaces token`: makes a token with the configured key, and the link that lets somebody in with it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use buildspaces_gateway::auth::NewToken;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{OrganisationId, RoomKind};
use buildspaces_policy::Role;
use buildspaces_policy::tenancy::Tenancy;
use clap::Args;

use crate::config::Config;
use crate::say;

#[derive(Args)]
pub(crate) struct TokenArgs {
    /// The room it is for; any room if left out, and then no link is printed.
    #[arg(long)]
    room: Option<String>,
    /// What its holder may do: host, editor, commenter, viewer or agent.
    #[arg(long, default_value = "viewer", value_parser = role)]
    role: Role,
    /// The name others see.
    #[arg(long, default_value = "Guest")]
    name: String,
    /// Who it is for, as the `sub` claim; somebody new if left out.
    #[arg(long)]
    user: Option<String>,
    /// How long it holds, such as 30m, 2h or 7d; "never" if auth.require_expiry is false.
    #[arg(long, default_value = "8h", value_parser = lifetime, value_name = "TIME")]
    expires: Lifetime,
    #[command(flatten)]
    creates: TenancyArgs,
    /// A glob over document names that it is limited to; may be given several times.
    #[arg(long, value_name = "PATTERN")]
    document: Vec<String>,
}

/// What rooms become that are created.
#[derive(Args)]
pub(crate) struct TenancyArgs {
    /// The kind of the rooms that are created, one of [sandbox.kinds]; it decides what their sandboxes may use [default: default]
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<RoomKind>,
    /// Whose they are, one of [organisations]; nobody's if left out.
    #[arg(long, value_name = "NAME", value_parser = organisation)]
    organisation: Option<OrganisationId>,
}

impl TenancyArgs {
    /// As the configuration has them, or a sentence.
    pub(crate) fn tenancy(self, config: &Config) -> Result<Tenancy> {
        let tenancy = Tenancy { kind: self.kind.unwrap_or_default(), organisation: self.organisation };
        config.sandbox.allowances.tenants.check(&tenancy)?;
        Ok(tenancy)
    }
}

pub(crate) fn kind(text: &str) -> Result<RoomKind, String> {
    RoomKind::try_from(text.to_owned())
}

fn organisation(text: &str) -> Result<OrganisationId, String> {
    OrganisationId::try_from(text.to_owned())
}

/// How long a token holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lifetime {
    For(Duration),
    Never,
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "use host, editor, commenter, viewer or agent".to_owned())
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    if text == "never" {
        return Ok(Lifetime::Never);
    }
    let wrong = || "use a number and s, m, h or d, such as 2h".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds =
        count.checked_mul(unit).filter(|seconds| (1..=u64::from(u32::MAX)).contains(seconds)).ok_or_else(wrong)?;
    Ok(Lifetime::For(Duration::from_secs(seconds)))
}

/// Prints the token, and below it the link if it is for a room.
pub(crate) fn run(config: &Config, args: TokenArgs) -> Result<ExitCode> {
    let auth = &config.gateway.auth;
    let new = NewToken {
        subject: args.user,
        name: args.name,
        role: args.role,
        room: args.room.clone(),
        documents: args.document,
        lifetime: match args.expires {
            Lifetime::For(lifetime) => Some(lifetime),
            Lifetime::Never => None,
        },
        tenancy: args.creates.tenancy(config)?,
    };
    if new.lifetime.is_none() && auth.rules.require_expiry {
        bail!("a token must expire; set auth.require_expiry = false to make one that does not");
    }
    let minted = auth.mint(&new, unix_millis()).map_err(|error| anyhow!("{error}"))?;
    say(&minted.token);
    if let Some(room) = &args.room {
        let base = config.gateway.public_url.clone().unwrap_or_else(|| format!("http://{}", config.listen));
        say(&buildspaces_gateway::auth::link(&base, room, &minted.token));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let seconds = |text: &str| match lifetime(text) {
            Ok(Lifetime::For(lifetime)) => Some(lifetime.as_secs()),
            _ => None,
        };
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("30m"), Some(1_800));
        assert_eq!(seconds("2h"), Some(7_200));
        assert_eq!(seconds("7d"), Some(604_800));
        assert_eq!(lifetime("never"), Ok(Lifetime::Never));
        for bad in ["", "h", "2", "0h", "-1h", "2w", "99999999999d", "2é"] {
            assert!(lifetime(bad).is_err(), "{bad:?}");
        }
    }
}
