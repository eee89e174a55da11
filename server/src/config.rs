//! Settings: a TOML file, then `BUILDSPACES_*` variables, then the command line, each over the one before.
//!
//! This is the only place that reads the environment. Anything unknown or out of range ends the start with a sentence that
//! names the key, before a port is opened.

mod access;
mod media;
mod sandbox;
mod webhooks;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buildspaces_gateway::preview::{Base, PreviewConfig};
use buildspaces_plans::secret::Key;
use buildspaces_rooms::history::retention::{Grain, Policy};
use serde::Deserialize;

/// What every variable of ours begins with.
const PREFIX: &str = "BUILDSPACES_";

/// The tables of the file. A variable names one before its key.
const TABLES: [&str; 7] = ["auth", "limits", "media", "preview", "sandbox", "secrets", "webhooks"];

/// Everything that can be set, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) data_dir: PathBuf,
    /// A filter such as `info` or `buildspaces_rooms=debug,info`.
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    /// Where spans are sent, such as `http://127.0.0.1:4318`; nowhere if `None`.
    pub(crate) otlp_endpoint: Option<String>,
    /// The share of traces that are sent.
    pub(crate) otlp_share: f64,
    pub(crate) gateway: buildspaces_gateway::Config,
    /// A second address, for previews alone.
    pub(crate) preview_listen: Option<SocketAddr>,
    pub(crate) sandbox: sandbox::Sandbox,
    /// How much of the documents' past is kept; `None`: everything.
    pub(crate) history: Option<Policy>,
    /// How long stopping may take before what is left is given up.
    pub(crate) stop_grace: Duration,
    /// What an acknowledgement means.
    pub(crate) durability: Durability,
    pub(crate) rooms: buildspaces_rooms::Config,
    pub(crate) webhooks: webhooks::Webhooks,
    pub(crate) media: media::Media,
    /// With what secrets of rooms are stored. `None`: there are none.
    pub(crate) secrets_key: Option<Key>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// See [`buildspaces_storage::Durability`].
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Durability {
    #[default]
    Full,
    Os,
    Off,
}

impl From<Durability> for buildspaces_storage::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Full => Self::Full,
            Durability::Os => Self::Os,
            Durability::Off => Self::Off,
        }
    }
}

/// What the command line said.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Option<String>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) insecure_open_access: bool,
}

/// Why the settings cannot be used.
#[derive(Debug)]
pub(crate) struct Error(String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// The file as it is written, and the shape the variables are put into.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<String>,
    data_dir: Option<PathBuf>,
    log: Option<String>,
    log_format: LogFormat,
    otlp_endpoint: Option<String>,
    otlp_share: Option<f64>,
    insecure_open_access: bool,
    allowed_origins: Vec<String>,
    allowed_hosts: Vec<String>,
    public_url: Option<String>,
    max_frame_bytes: Option<usize>,
    max_connections: Option<usize>,
    max_waiting_bytes: Option<usize>,
    stop_grace_seconds: Option<u64>,
    durability: Durability,
    max_document_memory_mib: Option<usize>,
    max_document_mib: Option<usize>,
    max_kept_mib: Option<u64>,
    auth: access::AuthFile,
    limits: access::LimitsFile,
    history_keep_days: Option<u32>,
    history_then: HistoryThen,
    preview: PreviewFile,
    sandbox: sandbox::SandboxFile,
    organisations: BTreeMap<String, sandbox::OrganisationFile>,
    webhooks: webhooks::WebhooksFile,
    media: media::MediaFile,
    secrets: SecretsFile,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HistoryThen {
    #[default]
    Hour,
    Day,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PreviewFile {
    listen: Option<String>,
    url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SecretsFile {
    key_file: Option<PathBuf>,
}

/// Reads file and environment. `environment` is a parameter so that tests need none.
pub(crate) fn read(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    overrides: Overrides,
) -> Result<Config, Error> {
    let environment: BTreeMap<String, String> = environment
        .into_iter()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut table = match file {
        Some(path) => read_file(path)?,
        None => toml::Table::new(),
    };
    put_variables(&mut table, &environment)?;
    let file: File = table.try_into().map_err(|error: toml::de::Error| {
        Error(format!(
            "the configuration is not valid: {}; docs/configuration.md lists every key",
            error.message().trim()
        ))
    })?;
    check(file, overrides, &environment)
}

fn read_file(path: &Path) -> Result<toml::Table, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error(format!("cannot read the configuration file {}: {error}", path.display())))?;
    // Check the file alone first, so that the message has its line.
    toml::from_str::<File>(&text).map_err(|error| {
        Error(format!("{} is not valid; docs/configuration.md lists every key.\n{error}", path.display()))
    })?;
    toml::from_str(&text).map_err(|error| Error(format!("{}: {error}", path.display())))
}

/// Puts `BUILDSPACES_LISTEN` where `listen` is and `BUILDSPACES_SANDBOX_IMAGE` where `sandbox.image` is.
fn put_variables(table: &mut toml::Table, environment: &BTreeMap<String, String>) -> Result<(), Error> {
    for (variable, value) in environment {
        let Some(key) = variable.strip_prefix(PREFIX) else { continue };
        // Variables of the scripts and tests around the server, not of the server.
        if key.starts_with("ENGINE_") || key.starts_with("TEST_") {
            continue;
        }
        let key = key.to_ascii_lowercase();
        let within = TABLES.iter().find_map(|name| Some((*name, key.strip_prefix(name)?.strip_prefix('_')?)));
        let (table, key) = match within {
            Some((name, key)) => {
                let entry = table.entry(name).or_insert_with(|| toml::Table::new().into());
                let inner = entry.as_table_mut().ok_or_else(|| Error(format!("{name} must be a table")))?;
                (inner, key.to_owned())
            }
            None => (&mut *table, key),
        };
        table.insert(key, typed(value));
        // Say which variable it was, not which key it would have become.
        if let Err(error) = toml::Value::Table(table.clone()).try_into::<toml::Table>() {
            return Err(Error(format!("{variable}: {error}")));
        }
    }
    Ok(())
}

/// A variable's text as the TOML value it reads as: numbers, booleans, lists between brackets, or else a string.
fn typed(text: &str) -> toml::Value {
    let value = toml::from_str::<toml::Table>(&format!("v = {text}")).ok().and_then(|mut table| table.remove("v"));
    match value {
        Some(
            value @ (toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) | toml::Value::Array(_)),
        ) => value,
        _ => toml::Value::String(text.to_owned()),
    }
}

fn check(file: File, overrides: Overrides, environment: &BTreeMap<String, String>) -> Result<Config, Error> {
    let listen = overrides.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listen = address("listen", &listen)?;
    let open = overrides.insecure_open_access || file.insecure_open_access;
    let auth = access::auth(file.auth)?;
    if !buildspaces_gateway::is_loopback(listen.ip()) && !open && auth.is_open() {
        return Err(Error(format!(
            "listen = {listen} can be reached from other machines, and without access tokens anybody there could use this \
             server and run programs in its sandboxes. Set a key in [auth] (docs/configuration.md), listen on 127.0.0.1, or \
             ask for this by name with --insecure-open-access (insecure_open_access = true)"
        )));
    }
    if open && !auth.is_open() {
        return Err(Error(
            "insecure_open_access lets everybody in, and [auth] does not: leave out one of them".to_owned(),
        ));
    }
    let (mut allowed_origins, mut allowed_hosts) = (file.allowed_origins, file.allowed_hosts);
    if let Some(url) = &file.public_url {
        // Whoever says that the server is known under an address means its name and its pages.
        let (origin, host) = public_address(url)?;
        allowed_origins.push(origin);
        allowed_hosts.push(host);
    }
    let stop_grace = within("stop_grace_seconds", file.stop_grace_seconds, 1, 600)?.unwrap_or(15);
    let stop_grace = Duration::from_secs(stop_grace);
    let preview_listen = file.preview.listen.as_deref().map(|text| address("preview.listen", text)).transpose()?;
    let preview = PreviewConfig { url: preview_url(file.preview.url.as_deref(), &allowed_hosts)?, port: None };
    let defaults = buildspaces_gateway::Config::default();
    let media = media::check(file.media)?;
    let sandbox = sandbox::check(file.sandbox, file.organisations, &sandbox::Machine::read(), environment)?;
    let gateway = buildspaces_gateway::Config {
        allowed_origins,
        allowed_hosts: (!open).then_some(allowed_hosts),
        public_url: file.public_url,
        max_frame_bytes: within("max_frame_bytes", file.max_frame_bytes, 65_536, 1 << 30)?
            .unwrap_or(defaults.max_frame_bytes),
        max_connections: within("max_connections", file.max_connections, 1, 1_000_000)?
            .unwrap_or(defaults.max_connections),
        max_waiting_bytes: within("max_waiting_bytes", file.max_waiting_bytes, 65_536, 1 << 30)?
            .unwrap_or(defaults.max_waiting_bytes),
        // Documents are saved before, and clients say goodbye after it.
        farewell: stop_grace / 4,
        auth,
        limits: access::limits(file.limits)?,
        preview,
        ice_servers: media.ice_servers.clone(),
        participant_metrics: media.participant_metrics,
        tenants: sandbox.allowances.tenants.clone(),
    };
    let data_dir = match overrides.data_dir.or(file.data_dir) {
        Some(dir) => dir,
        None => default_data_dir(environment)?,
    };
    if let Some(endpoint) = &file.otlp_endpoint
        && (!endpoint.starts_with("http://") || public_address(endpoint).is_err())
    {
        return Err(Error(format!(
            "otlp_endpoint = {endpoint:?} is not an address such as http://127.0.0.1:4318; a collector beside the server goes on over TLS"
        )));
    }
    let max_document_memory = within("max_document_memory_mib", file.max_document_memory_mib, 16, 1 << 24)?
        .unwrap_or_else(default_document_memory_mib);
    let max_document = within("max_document_mib", file.max_document_mib, 1, 4096)?.unwrap_or(64);
    let max_kept = within("max_kept_mib", file.max_kept_mib, 0, 1 << 20)?.unwrap_or(256);
    let then = match file.history_then {
        HistoryThen::Hour => Grain::Hour,
        HistoryThen::Day => Grain::Day,
    };
    let history = within("history_keep_days", file.history_keep_days, 0, 36_500)?;
    Ok(Config {
        history: history.map(|keep_days| Policy { keep_days, then }),
        listen,
        data_dir,
        log: file.log.unwrap_or_else(|| "info".to_owned()),
        log_format: file.log_format,
        otlp_endpoint: file.otlp_endpoint,
        otlp_share: within("otlp_share", file.otlp_share, 0.0, 1.0)?.unwrap_or(0.01),
        gateway,
        preview_listen,
        sandbox,
        stop_grace,
        durability: file.durability,
        rooms: buildspaces_rooms::Config {
            memory_bytes: max_document_memory << 20,
            max_document_bytes: max_document << 20,
            max_kept_bytes: max_kept << 20,
        },
        webhooks: webhooks::check(file.webhooks)?,
        media,
        secrets_key: file.secrets.key_file.as_deref().map(secrets_key).transpose()?,
    })
}

fn secrets_key(path: &Path) -> Result<Key, Error> {
    let problem = |what: &dyn std::fmt::Display| Error(format!("secrets.key_file: {} {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| problem(&format_args!("cannot be read: {error}")))?;
    Key::parse(&text).map_err(|error| problem(&error))
}

fn address(key: &str, text: &str) -> Result<SocketAddr, Error> {
    let text = text.replacen("localhost:", "127.0.0.1:", 1);
    text.parse().map_err(|_| Error(format!("{key} = {text:?} is not an address and a port, such as 127.0.0.1:8080")))
}

/// The origin and the host of an address such as `https://rooms.example/sync`.
fn public_address(text: &str) -> Result<(String, String), Error> {
    let url = text.parse::<axum::http::Uri>().ok().filter(|url| url.query().is_none());
    let (scheme, host) = url.as_ref().and_then(|url| Some((url.scheme_str()?, url.authority()?))).unzip();
    match (scheme, host) {
        (Some(scheme @ ("http" | "https")), Some(host)) if !host.as_str().contains('@') => {
            Ok((format!("{scheme}://{host}").to_ascii_lowercase(), host.host().to_ascii_lowercase()))
        }
        _ => Err(Error(format!("public_url = {text:?} is not an address such as https://rooms.example"))),
    }
}

/// Where previews are, which must be no place where the server itself is looked for.
fn preview_url(text: Option<&str>, own_hosts: &[String]) -> Result<Option<Base>, Error> {
    let Some(text) = text else { return Ok(None) };
    let base = Base::parse(text).map_err(|error| Error(format!("preview.url = {text:?} {error}")))?;
    if let Some(host) = own_hosts.iter().find(|host| base.is_above(host)) {
        return Err(Error(format!(
            "preview.url = {text:?} has {host} below it, which is the server's own name, and would be taken for a preview; choose \
             another, such as https://preview.{host}"
        )));
    }
    Ok(Some(base))
}

fn within<T: PartialOrd + std::fmt::Display + Copy>(
    key: &str,
    value: Option<T>,
    min: T,
    max: T,
) -> Result<Option<T>, Error> {
    match value {
        // What is no number is not in any range.
        Some(value) if !(min..=max).contains(&value) => {
            Err(Error(format!("{key} = {value} must be from {min} to {max}")))
        }
        value => Ok(value),
    }
}

fn default_data_dir(environment: &BTreeMap<String, String>) -> Result<PathBuf, Error> {
    let set = |key: &str| environment.get(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("buildspaces/data"))
        .ok_or_else(|| Error("there is no home folder to keep data in; set data_dir or --data".to_owned()))
}

/// A quarter of what the machine, or the control group around this process, has.
fn default_document_memory_mib() -> usize {
    let read = |path| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| {
        let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        kib.trim().trim_end_matches(" kB").parse::<usize>().ok()
    });
    let group = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse::<usize>().ok());
    let total = [machine.map(|kib| kib >> 10), group.map(|bytes| bytes >> 20)].into_iter().flatten().min();
    total.map_or(1024, |mib| (mib / 4).max(64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(environment: &[(&str, &str)], overrides: Overrides) -> Result<Config, String> {
        let home = ("HOME", "/home/ada");
        let all = environment.iter().chain([&home]).map(|(key, value)| (OsString::from(key), OsString::from(value)));
        read(None, all, overrides).map_err(|error| error.to_string())
    }

    #[test]
    fn without_settings_only_this_machine_is_served() {
        let config = with(&[], Overrides::default()).expect("defaults");
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.data_dir, PathBuf::from("/home/ada/.local/share/buildspaces/data"));
        assert_eq!(config.sandbox.egress, None);
    }

    #[test]
    fn variables_and_the_command_line_override() {
        let overrides = Overrides { listen: Some("127.0.0.1:0".into()), ..Overrides::default() };
        let config = with(
            &[
                ("BUILDSPACES_LISTEN", "127.0.0.1:9"),
                ("BUILDSPACES_SANDBOX_IMAGE", "x:2"),
                ("BUILDSPACES_SANDBOX_IMAGES", r#"["y:1", "z/y:2"]"#),
                ("BUILDSPACES_SANDBOX_CPUS", "0.5"),
                ("BUILDSPACES_SANDBOX_OUTPUT_MIB", "2"),
                ("BUILDSPACES_SANDBOX_STEP_SECONDS", "30"),
                ("BUILDSPACES_ALLOWED_ORIGINS", r#"["https://a.example"]"#),
                ("BUILDSPACES_ENGINE_DIR", "/of/the/scripts"),
                ("DOCKER_HOST", "unix:///d.sock"),
            ],
            overrides,
        )
        .expect("valid");
        assert_eq!(config.listen.port(), 0);
        assert_eq!(config.sandbox.image, "x:2");
        assert_eq!(config.sandbox.images, ["y:1", "z/y:2"]);
        assert_eq!(config.sandbox.allowances.usual.nano_cpus, 500_000_000);
        assert_eq!(config.sandbox.allowances.usual.output, 2 << 20);
        assert_eq!(config.sandbox.allowances.usual.file, 1 << 30);
        assert_eq!(config.sandbox.allowances.usual.step, Duration::from_secs(30));
        assert_eq!(config.gateway.allowed_origins, ["https://a.example"]);
        assert_eq!(config.sandbox.docker_host.as_deref(), Some("unix:///d.sock"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let error = |environment: &[(&str, &str)]| with(environment, Overrides::default()).expect_err("invalid");
        assert!(error(&[("BUILDSPACES_LISTN", "x")]).contains("listn"));
        assert!(error(&[("BUILDSPACES_SANDBOX_COLOUR", "red")]).contains("colour"));
        assert!(error(&[("BUILDSPACES_LISTEN", "nowhere")]).contains("nowhere"));
        assert!(error(&[("BUILDSPACES_SANDBOX_PIDS", "3")]).contains("sandbox.pids = 3 must be from 16"));
        assert!(error(&[("BUILDSPACES_OTLP_SHARE", "nan")]).contains("otlp_share = NaN must be from 0"));
        assert!(
            error(&[("BUILDSPACES_SANDBOX_EGRESS", r#"["10.0.0.1"]"#)]).contains("sandbox.egress: \"10.0.0.1\" is an")
        );
        assert!(error(&[("BUILDSPACES_SANDBOX_IMAGES", r#"["a b"]"#)]).contains("sandbox.images: \"a b\" is not"));
        assert!(error(&[("BUILDSPACES_MAX_CONNECTIONS", "many")]).contains("invalid type"));
        assert!(error(&[("BUILDSPACES_DURABILITY", "never")]).contains("`full`, `os`, `off`"));
        let open = error(&[("BUILDSPACES_LISTEN", "0.0.0.0:8080")]);
        assert!(open.contains("--insecure-open-access"), "{open}");
        assert!(error(&[("BUILDSPACES_AUTH_SECRET", "too short")]).contains("auth.secret has 9 bytes"));
        assert!(error(&[("BUILDSPACES_LIMITS_BYTES_BURST", "-1")]).contains("invalid"));
    }

    #[test]
    fn the_public_address_is_one_the_server_is_known_under() {
        let public = |url: &str| with(&[("BUILDSPACES_PUBLIC_URL", url)], Overrides::default());
        let config = public("https://Rooms.example:8443/sync").expect("valid");
        assert_eq!(config.gateway.allowed_origins, ["https://rooms.example:8443"]);
        assert_eq!(config.gateway.allowed_hosts, Some(vec!["rooms.example".to_owned()]));
        for wrong in ["rooms.example", "wss://rooms.example", "https://", "https://a.example/?x", "https://a@b.example"]
        {
            assert!(public(wrong).expect_err(wrong).contains("public_url"), "{wrong}");
        }
    }

    #[test]
    fn previews_are_where_the_server_is_not() {
        let public = ("BUILDSPACES_PUBLIC_URL", "https://rooms.example");
        let preview = |url: &str| with(&[public, ("BUILDSPACES_PREVIEW_URL", url)], Overrides::default());
        assert!(preview("https://preview.rooms.example").expect("valid").gateway.preview.url.is_some());
        assert!(preview("https://example").expect_err("above").contains("preview.url"));
        assert!(preview("https://127.0.0.1").expect_err("no name").contains("must have a name"));
        let listen = |text: &str| with(&[("BUILDSPACES_PREVIEW_LISTEN", text)], Overrides::default());
        assert_eq!(listen("localhost:8081").expect("valid").preview_listen, "127.0.0.1:8081".parse().ok());
        assert!(listen("here").expect_err("invalid").contains("preview.listen"));
    }

    #[test]
    fn open_access_elsewhere_must_be_asked_for() {
        let overrides = Overrides { insecure_open_access: true, ..Overrides::default() };
        let config = with(&[("BUILDSPACES_LISTEN", "0.0.0.0:8080")], overrides).expect("asked for");
        assert_eq!(config.gateway.allowed_hosts, None);
    }

    #[test]
    fn the_key_for_secrets_comes_from_a_file() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("key");
        let read = || {
            let path = path.to_str().expect("text");
            with(&[("BUILDSPACES_SECRETS_KEY_FILE", path)], Overrides::default())
        };
        assert!(with(&[], Overrides::default()).expect("valid").secrets_key.is_none());
        assert!(read().expect_err("no file").contains("secrets.key_file: "));
        std::fs::write(&path, "hunter2hunter2\n").expect("written");
        let error = read().expect_err("no key");
        assert!(error.contains("openssl rand -hex 32") && !error.contains("hunter2"), "{error}");
        std::fs::write(&path, "0123456789abcdef".repeat(4) + "\n").expect("written");
        assert!(read().expect("a key").secrets_key.is_some());
    }

    #[test]
    fn with_tokens_other_machines_may_reach_the_server() {
        let secret = "0123456789abcdef0123456789abcdef";
        let auth = [("BUILDSPACES_LISTEN", "0.0.0.0:8080"), ("BUILDSPACES_AUTH_SECRET", secret)];
        let config = with(&auth, Overrides::default()).expect("tokens are needed");
        assert!(!config.gateway.auth.is_open());
        assert!(config.gateway.allowed_hosts.is_some());
        let both = Overrides { insecure_open_access: true, ..Overrides::default() };
        assert!(with(&auth, both).expect_err("contradiction").contains("leave out one"));
    }
}
