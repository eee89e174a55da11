//! The tables `[auth]` and `[limits]`: who may come in, and how much one client may ask for.
//!
//! Keys and secrets are read here, so that one that cannot be used ends the start with the name of its setting.

use std::path::{Path, PathBuf};
use std::time::Duration;

use buildspaces_gateway::Url;
use buildspaces_gateway::auth::{AdminToken, AuthConfig, Key, KeyError, SigningKey, WebhookConfig};
use buildspaces_gateway::limits::LimitsConfig;
use serde::Deserialize;

use super::{Error, within};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuthFile {
    secret: Option<String>,
    secret_file: Option<PathBuf>,
    private_key_file: Option<PathBuf>,
    public_key_file: Option<PathBuf>,
    jwks_url: Option<String>,
    allow_http: bool,
    issuer: Option<String>,
    audience: Option<String>,
    require_expiry: Option<bool>,
    guests: bool,
    webhook_url: Option<String>,
    webhook_secret: Option<String>,
    webhook_secret_file: Option<PathBuf>,
    webhook_timeout_ms: Option<u64>,
    webhook_cache_seconds: Option<u64>,
    admin_token: Option<String>,
    admin_token_file: Option<PathBuf>,
}

impl std::fmt::Debug for AuthFile {
    /// It holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthFile").finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsFile {
    messages_per_second: Option<u32>,
    messages_burst: Option<u32>,
    bytes_per_second: Option<u64>,
    bytes_burst: Option<u64>,
    connections_per_address: Option<u32>,
    connections_per_user: Option<u32>,
    unauthenticated_seconds: Option<u64>,
    unauthenticated_bytes: Option<u64>,
    documents_per_socket: Option<u32>,
    waiting_bytes: Option<u64>,
    waiting_messages: Option<u32>,
    waiting_documents: Option<u32>,
    body_bytes: Option<u64>,
    http_connections: Option<u32>,
    request_seconds: Option<u64>,
    behind_proxy: Option<bool>,
}

pub(super) fn auth(file: AuthFile) -> Result<AuthConfig, Error> {
    let mut auth = AuthConfig { guests: file.guests, ..AuthConfig::default() };
    let mut sign = |key: &str, made: Result<(SigningKey, Key), KeyError>| -> Result<(), Error> {
        let (signer, check) = made.map_err(|error| Error(format!("{key} {error}")))?;
        if auth.signer.replace(signer).is_some() {
            return Err(Error(format!(
                "{key}: tokens are made with one key; set one of auth.secret and auth.private_key_file"
            )));
        }
        auth.keys.push(check);
        Ok(())
    };
    if let Some((key, secret)) = secret("auth.secret", file.secret, file.secret_file.as_deref())? {
        sign(&key, SigningKey::secret(secret.as_bytes()))?;
    }
    if let Some(path) = &file.private_key_file {
        sign("auth.private_key_file", SigningKey::private_pem(read("auth.private_key_file", path)?.as_bytes()))?;
    }
    if let Some(path) = &file.public_key_file {
        let pem = read("auth.public_key_file", path)?;
        let key = Key::public_pem(pem.as_bytes());
        auth.keys.push(key.map_err(|error| Error(format!("auth.public_key_file {error}")))?);
    }
    auth.jwks = url("auth.jwks_url", file.jwks_url, file.allow_http)?;
    if let Some(url) = url("auth.webhook_url", file.webhook_url, file.allow_http)? {
        let secret = secret("auth.webhook_secret", file.webhook_secret, file.webhook_secret_file.as_deref())?;
        let timeout = within("auth.webhook_timeout_ms", file.webhook_timeout_ms, 50, 60_000)?.unwrap_or(5_000);
        let remember = within("auth.webhook_cache_seconds", file.webhook_cache_seconds, 0, 3_600)?.unwrap_or(10);
        auth.webhook = Some(WebhookConfig {
            url,
            secret: secret.map(|(_, secret)| secret.into_bytes()),
            timeout: Duration::from_millis(timeout),
            remember: Duration::from_secs(remember),
        });
    }
    if let Some((key, token)) = secret("auth.admin_token", file.admin_token, file.admin_token_file.as_deref())? {
        auth.admin = Some(AdminToken::new(&token).map_err(|error| Error(format!("{key} {error}")))?);
    }
    auth.rules.issuer = file.issuer;
    auth.rules.audience = file.audience;
    auth.rules.require_expiry = file.require_expiry.unwrap_or(true);
    Ok(auth)
}

pub(super) fn limits(file: LimitsFile) -> Result<LimitsConfig, Error> {
    let defaults = LimitsConfig::default();
    let seconds = within("limits.unauthenticated_seconds", file.unauthenticated_seconds, 0, 3_600)?;
    let body = within("limits.body_bytes", file.body_bytes, 65_536, 1 << 30)?;
    let request = within("limits.request_seconds", file.request_seconds, 0, 3_600)?;
    Ok(LimitsConfig {
        messages_per_second: file.messages_per_second.unwrap_or(defaults.messages_per_second),
        messages_burst: file.messages_burst.unwrap_or(defaults.messages_burst),
        bytes_per_second: file.bytes_per_second.unwrap_or(defaults.bytes_per_second),
        bytes_burst: file.bytes_burst.unwrap_or(defaults.bytes_burst),
        connections_per_address: file.connections_per_address.unwrap_or(defaults.connections_per_address),
        connections_per_user: file.connections_per_user.unwrap_or(defaults.connections_per_user),
        unauthenticated: seconds.map_or(defaults.unauthenticated, Duration::from_secs),
        unauthenticated_bytes: file.unauthenticated_bytes.unwrap_or(defaults.unauthenticated_bytes),
        documents_per_socket: file.documents_per_socket.unwrap_or(defaults.documents_per_socket),
        waiting_bytes: file.waiting_bytes.unwrap_or(defaults.waiting_bytes),
        waiting_messages: file.waiting_messages.unwrap_or(defaults.waiting_messages),
        waiting_documents: file.waiting_documents.unwrap_or(defaults.waiting_documents),
        body_bytes: body.unwrap_or(defaults.body_bytes),
        http_connections: file.http_connections.unwrap_or(defaults.http_connections),
        request: request.map_or(defaults.request, Duration::from_secs),
        behind_proxy: file.behind_proxy.unwrap_or(defaults.behind_proxy),
    })
}

pub(super) fn url(key: &str, text: Option<String>, allow_http: bool) -> Result<Option<Url>, Error> {
    let parse = |text: String| Url::parse(&text, allow_http).map_err(|error| Error(format!("{key} {error}")));
    text.map(parse).transpose()
}

/// A secret from the setting `key` or the file that `<key>_file` names, with the setting it came from. Whitespace around it is not
/// part of it, because editors end files with a line break.
pub(super) fn secret(key: &str, text: Option<String>, file: Option<&Path>) -> Result<Option<(String, String)>, Error> {
    match (text, file) {
        (Some(_), Some(_)) => Err(Error(format!("set {key} or {key}_file, not both"))),
        (Some(text), None) => Ok(Some((key.to_owned(), text.trim().to_owned()))),
        (None, Some(path)) => {
            let key = format!("{key}_file");
            let text = read(&key, path)?;
            Ok(Some((key, text.trim().to_owned())))
        }
        (None, None) => Ok(None),
    }
}

fn read(key: &str, path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| Error(format!("{key}: cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(file: AuthFile) -> String {
        auth(file).map(|_| ()).expect_err("refused").to_string()
    }

    #[test]
    fn without_keys_the_server_is_open() {
        let auth = auth(AuthFile::default()).expect("valid");
        assert!(auth.is_open() && auth.signer.is_none() && auth.rules.require_expiry);
    }

    #[test]
    fn keys_come_from_files() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("secret");
        std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").expect("written");
        let auth = auth(AuthFile { secret_file: Some(path), ..AuthFile::default() }).expect("valid");
        assert!(!auth.is_open() && auth.signer.is_some() && auth.keys.len() == 1);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let text = |text: &str| Some(text.to_owned());
        let error = refused(AuthFile { secret_file: Some("/nowhere/secret".into()), ..AuthFile::default() });
        assert!(error.starts_with("auth.secret_file: cannot read /nowhere/secret"), "{error}");
        let error = refused(AuthFile { secret: text("short"), ..AuthFile::default() });
        assert!(error.starts_with("auth.secret has 5 bytes"), "{error}");
        let error = refused(AuthFile { secret: text("x"), secret_file: Some("y".into()), ..AuthFile::default() });
        assert!(error.contains("not both"), "{error}");
        let error = refused(AuthFile { admin_token: text("short"), ..AuthFile::default() });
        assert!(error.starts_with("auth.admin_token has 5"), "{error}");
        let error = refused(AuthFile { jwks_url: text("http://id.example/keys"), ..AuthFile::default() });
        assert!(error.starts_with("auth.jwks_url must begin with https"), "{error}");
        let webhook =
            AuthFile { webhook_url: text("https://a.example"), webhook_timeout_ms: Some(1), ..AuthFile::default() };
        assert!(refused(webhook).contains("auth.webhook_timeout_ms = 1 must be from 50"));
    }
}
