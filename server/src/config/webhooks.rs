//! The table `[webhooks]`: how changes are gathered, where webhooks may lead, and the operator's own.

use std::path::PathBuf;
use std::time::Duration;

use buildspaces_gateway::hooks::HooksConfig;
use buildspaces_webhooks::gather::Quiet;
use buildspaces_webhooks::retry::Policy;
use buildspaces_webhooks::{Config, OwnWebhook, Secret};
use serde::Deserialize;

use super::access::{secret, url};
use super::{Error, within};

/// Settings of webhooks.
#[derive(Debug)]
pub(crate) struct Webhooks {
    pub(crate) engine: Config,
    pub(crate) sending: HooksConfig,
    pub(crate) own: Option<OwnWebhook>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WebhooksFile {
    url: Option<String>,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
    quiet_ms: Option<u64>,
    longest_ms: Option<u64>,
    timeout_ms: Option<u64>,
    retry_ms: Option<u64>,
    allow_http: bool,
    allow_private: bool,
}

impl std::fmt::Debug for WebhooksFile {
    /// It holds a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhooksFile").finish_non_exhaustive()
    }
}

pub(super) fn check(file: WebhooksFile) -> Result<Webhooks, Error> {
    let millis = |key: &str, value, min, max, default: Duration| {
        Ok::<_, Error>(within(key, value, min, max)?.map_or(default, Duration::from_millis))
    };
    let (quiet, retry, sending) = (Quiet::default(), Policy::default(), HooksConfig::default());
    let quiet = Quiet {
        quiet: millis("webhooks.quiet_ms", file.quiet_ms, 0, 3_600_000, quiet.quiet)?,
        longest: millis("webhooks.longest_ms", file.longest_ms, 0, 86_400_000, quiet.longest)?,
    };
    let first = millis("webhooks.retry_ms", file.retry_ms, 10, 3_600_000, retry.first)?;
    let timeout = millis("webhooks.timeout_ms", file.timeout_ms, 50, 60_000, sending.timeout)?;
    let address = url("webhooks.url", file.url.clone(), true)?;
    let key = secret("webhooks.secret", file.secret, file.secret_file.as_deref())?;
    let own = match (file.url.filter(|_| address.is_some()), key) {
        (Some(url), Some((key, text))) => {
            let secret = Secret::parse(&text).map_err(|error| Error(format!("{key} {error}")))?;
            Some(OwnWebhook { url: url.into(), secret })
        }
        (Some(_), None) => {
            return Err(Error(
                "webhooks.url needs webhooks.secret or webhooks.secret_file, which signs what is sent there; \
                 `echo whsec_$(openssl rand -base64 32)` prints one"
                    .to_owned(),
            ));
        }
        (None, Some((key, _))) => return Err(Error(format!("{key} is for webhooks.url, which is not set"))),
        (None, None) => None,
    };
    Ok(Webhooks {
        engine: Config { quiet, retry: Policy { first, ..retry } },
        sending: HooksConfig { allow_http: file.allow_http, allow_private: file.allow_private, timeout },
        own,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_rooms_may_send_to_the_internet_alone() {
        let webhooks = check(WebhooksFile::default()).expect("valid");
        assert!(webhooks.own.is_none() && !webhooks.sending.allow_http && !webhooks.sending.allow_private);
        assert_eq!(webhooks.engine.quiet, Quiet::default());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let text = |text: &str| Some(text.to_owned());
        let refused = |file| check(file).map(|_| ()).expect_err("refused").to_string();
        let own = |url, secret| WebhooksFile { url, secret, ..WebhooksFile::default() };
        assert!(refused(own(text("https://a.example"), None)).starts_with("webhooks.url needs webhooks.secret"));
        assert!(refused(own(None, text("whsec_x"))).contains("webhooks.url, which is not set"));
        assert!(refused(own(text("https://a.example"), text("short"))).starts_with("webhooks.secret must be whsec_"));
        assert!(refused(own(text("a.example"), text("x"))).starts_with("webhooks.url is not an address"));
        let file = WebhooksFile { timeout_ms: Some(1), ..WebhooksFile::default() };
        assert!(refused(file).contains("webhooks.timeout_ms = 1 must be from 50"));
        let secret = text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw");
        assert!(check(own(text("http://10.0.0.1/hook"), secret)).expect("the operator may").own.is_some());
    }
}
