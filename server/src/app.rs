//! Puts the server together, runs it, and takes it apart in order.
//!
//! 1. Settings are checked, the data folder is locked, the port is bound: what can fail fails here, with a sentence.
//! 2. Containers and runs that a crash left behind are taken up again.
//! 3. The gateway serves until a signal.
//! 4. Runs end first, then containers, then documents save what they hold, then the log and the database close.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use buildspaces_gateway as gateway;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{RoomId, random_id};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_media::Calls;
use buildspaces_media::ports::CallStore;
use buildspaces_media::recordings::Recordings;
use buildspaces_media::webrtc::WebRtc;
use buildspaces_plans::Engine;
use buildspaces_plans::ports::{Availability, RunStore, Sandboxes};
use buildspaces_plans::secrets::Secrets;
use buildspaces_rooms::Rooms;
use buildspaces_rooms::ports::BlobStore as _;
use buildspaces_sandbox::mirror::{self, Mirrors};
use buildspaces_sandbox::{Containers, DockerSandboxes, Egress, workspace_owner};
use buildspaces_storage::{Database, Documents, Runs, Webhooks};
use buildspaces_webhooks as webhooks;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::{say, telemetry};

/// Stack of a worker thread. Updates nest by their senders' will; what is let through fits many times over.
pub(crate) const STACK_BYTES: usize = 8 << 20;

/// Connections that wait to be accepted, as far as the system allows (`net.core.somaxconn`). A client for which there is no place asks again after
/// a second, so a storm of clients that connect again must fit.
const BACKLOG: u32 = 4096;

/// How long the log may take to write what documents handed over when they stopped: one flush, on a slow disk.
const LOG_GRACE: Duration = Duration::from_secs(5);

/// Runs the server until it is told to stop.
pub(crate) fn serve(config: Config) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
    let traces = telemetry::start_logs(&config, runtime.handle())?;
    let code = runtime.block_on(run(config));
    traces.end();
    // What still computes somewhere has nothing to save, and does not keep the process.
    runtime.shutdown_background();
    code
}

async fn run(mut config: Config) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let tasks = Tasks::new();
    let metrics = telemetry::start_metrics(&tasks)?;
    let _lock = lock_data_folder(&config.data_dir)?;
    let listener = bind(config.listen)?;
    let address = listener.local_addr()?;
    let preview_listener = config.preview_listen.map(bind).transpose()?;
    config.gateway.preview.port =
        preview_listener.as_ref().map(TcpListener::local_addr).transpose()?.map(|address| address.port());
    let database = Database::open(&config.data_dir.join("buildspaces.db"), config.durability.into()).await?;

    // The log must outlive the documents, which save what they hold when they are told to stop.
    let log_tasks = Tasks::new();
    let documents = Documents::new(&database, &log_tasks);
    documents.sweep_blobs().await.context("cannot remove bytes of files that nobody has any more")?;
    let rooms = Rooms::with_config(Arc::new(documents.clone()), tasks.clone(), &config.rooms);
    let webhooks = webhooks::Engine::new(
        Arc::new(Webhooks::new(&database, &documents)),
        Arc::new(gateway::hooks::HooksTransport::new(config.webhooks.sending)),
        Arc::new(unix_millis),
        &config.webhooks.engine,
    );
    webhooks.start(&tasks, config.webhooks.own.clone()).await?;
    rooms.listen(Arc::new(webhooks.clone()));
    let leftovers = rooms.clone();
    tasks.spawn("leftovers of imports", async move { buildspaces_rooms::archive::discard_leftovers(&leftovers).await });
    if let Some(policy) = config.history {
        rooms.merge_old_updates(policy);
    }
    let runs = Arc::new(Runs::new(&database));
    let sandboxes = Arc::new(open_sandboxes(&config, &rooms, &tasks).await?);
    sandboxes.reconcile(&rooms_with_unfinished_runs(runs.as_ref()).await?).await;
    let plans = buildspaces_plans::Config::default();
    let secrets = Secrets::new(Arc::new(buildspaces_storage::Secrets::new(&database)), config.secrets_key.take());
    let recordings = Arc::new(buildspaces_storage::Recordings::new(&database));
    let engine = Engine::with_recordings(
        rooms.clone(),
        runs,
        Some(recordings),
        sandboxes.clone(),
        secrets,
        tasks.clone(),
        plans,
    );
    let resumed = engine.resume_after_restart().await?;
    if resumed > 0 {
        tracing::info!(rooms = resumed, "taking up what the last stop left unfinished");
    }

    let Media { calls, transport, listener: media_listener } =
        open_calls(&config, address, Arc::new(buildspaces_storage::Calls::new(&database)), &tasks)?;
    let why_no_calls = calls.why_off().map(str::to_owned);
    let ready_database = database.clone();
    let is_stopping = Arc::new(AtomicBool::new(false));
    let was_stopped = is_stopping.clone();
    let routers = gateway::routers(gateway::Parts {
        config: config.gateway.clone(),
        rooms,
        engine: engine.clone(),
        sandboxes: sandboxes.clone(),
        webhooks,
        calls,
        tasks: tasks.clone(),
        metrics: Arc::new(move || {
            documents.measure();
            metrics.render()
        }),
        ready: Arc::new(move || {
            let database = ready_database.clone();
            let is_stopping = was_stopped.load(Ordering::Relaxed);
            Box::pin(async move { !is_stopping && database.is_ready().await })
        }),
    });
    let serve = |listener, router, media| {
        serve_on(listener, gateway::Served { router, media }, &config.gateway.limits, &tasks, &log_tasks);
    };
    match media_listener {
        Some(media) => {
            serve(listener, Some(routers.main), None);
            serve(media, None, transport);
        }
        None => serve(listener, Some(routers.main), transport),
    }
    if let Some(listener) = preview_listener {
        serve(listener, Some(routers.previews), None);
    }
    announce(address, sandboxes.as_ref());
    if let Some(reason) = why_no_calls {
        say(&format!("Calls are off: {reason}"));
    }

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    // Balancers send nobody here any more, also while runs and containers still end.
    is_stopping.store(true, Ordering::Relaxed);
    let stop = async {
        let runs = async {
            engine.stop().await;
            sandboxes.shutdown().await;
        };
        // An engine that hangs must not take the time that the documents need.
        if tokio::time::timeout(config.stop_grace / 2, runs).await.is_err() {
            tracing::warn!("runs and containers did not end in time; the next start takes them up");
        }
        let left = tasks.shutdown(config.stop_grace / 2).await + log_tasks.shutdown(LOG_GRACE).await;
        database.close().await;
        left
    };
    tokio::select! {
        left = stop => {
            if left > 0 {
                tracing::warn!(tasks = left, "some tasks did not end in time; everything acknowledged is saved");
            }
        }
        // A second signal means now.
        _ = interrupt.recv() => tracing::warn!("stopped at once; everything acknowledged is saved"),
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Serves until `tasks` are told to stop; `drained` waits for requests under way.
fn serve_on(
    listener: TcpListener,
    served: gateway::Served,
    limits: &gateway::limits::LimitsConfig,
    tasks: &Tasks,
    drained: &Tasks,
) {
    let (stop, limits) = (tasks.clone(), limits.clone());
    drained.spawn("http server", async move {
        gateway::serve(listener, served, &limits, stop.cancelled()).await;
    });
}

/// Creates the data folder and makes sure that it is ours alone. The lock ends with the process, however it ends.
pub(crate) fn lock_data_folder(dir: &Path) -> Result<File> {
    let cannot = |what: &str| format!("cannot {what} the data folder {}; choose another with --data", dir.display());
    std::fs::create_dir_all(dir).with_context(|| cannot("create"))?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .with_context(|| cannot("write to"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "another BuildSpaces server uses the data folder {}; stop it, or choose another with --data",
            dir.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => Err(anyhow!(error).context(cannot("lock"))),
    }
}

pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener> {
    listen_on(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow!("{address} is in use; stop what listens there, or choose another with --listen 127.0.0.1:8081")
        }
        std::io::ErrorKind::PermissionDenied => {
            anyhow!("this user may not listen on {address}; choose a port above 1023 with --listen")
        }
        _ => anyhow!("cannot listen on {address}: {error}"),
    })
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that starts again takes its port although old connections linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Calls, and what carries them.
struct Media {
    calls: Calls,
    transport: Option<WebRtc>,
    /// Where they come by TCP, if that is not where everything else does.
    listener: Option<TcpListener>,
}

/// Takes the port of calls. Without settings they are on where they work by themselves, and otherwise off with a reason; with
/// `media.listen` a port that cannot be had ends the start.
fn open_calls(config: &Config, address: SocketAddr, store: Arc<dyn CallStore>, tasks: &Tasks) -> Result<Media> {
    let media = &config.media;
    let recordings = Recordings::new(config.data_dir.join("recordings"), media.recordings);
    let kept = store.clone();
    let off = |reason: &str| {
        let calls = Calls::off(reason, kept.clone(), tasks.clone()).keeping(recordings.clone());
        Ok(Media { calls, transport: None, listener: None })
    };
    if !media.enabled {
        return off("this server has no voice and video (media.enabled = false)");
    }
    let mut listen = media.listen.unwrap_or(address);
    if listen.ip().is_unspecified() && media.addresses.is_empty() {
        return off("set media.addresses to the addresses at which people's browsers reach this machine by UDP");
    }
    let mut listener = None;
    let mut takes_tcp = true;
    if !takes(address, listen) {
        match listen_on(listen) {
            Ok(bound) => {
                // The same number for both, if the system chose it.
                listen = bound.local_addr()?;
                listener = Some(bound);
            }
            // Something else may have it, such as a proxy: most people have UDP.
            Err(error) => {
                takes_tcp = false;
                tracing::warn!(%error, %listen, "this TCP port cannot be had, so calls go by UDP alone; choose another with media.listen");
            }
        }
    }
    match WebRtc::bind(listen, &media.addresses, takes_tcp, tasks) {
        Ok(transport) => {
            let calls = Calls::new(Arc::new(transport.clone()), store, media.limits, tasks.clone()).keeping(recordings);
            Ok(Media { calls, transport: Some(transport), listener })
        }
        Err(error) if media.listen.is_none() => {
            off(&format!("UDP port {listen} cannot be had ({error}); choose another with media.listen"))
        }
        Err(error) => bail!("media.listen = {listen}: this UDP port cannot be had: {error}"),
    }
}

/// Does who listens at `address` take connections to `other`, too?
fn takes(address: SocketAddr, other: SocketAddr) -> bool {
    let is_all = address.ip().is_unspecified() && (address.is_ipv6() || other.is_ipv4());
    address.port() == other.port() && (address.ip() == other.ip() || is_all)
}

async fn open_sandboxes(config: &Config, rooms: &Rooms, tasks: &Tasks) -> Result<DockerSandboxes> {
    let settings = sandbox_config(config, instance(&config.data_dir)?);
    let mirror = mirror::Config { data_dir: config.data_dir.clone(), owner: workspace_owner() };
    let containers = Containers::open(settings, tasks).await.context("cannot prepare the folders of sandboxes")?;
    Ok(DockerSandboxes::new(containers, Mirrors::new(mirror, rooms.clone(), tasks.clone())))
}

/// `instance` tells these containers from those of other servers.
pub(crate) fn sandbox_config(config: &Config, instance: String) -> buildspaces_sandbox::Config {
    buildspaces_sandbox::Config {
        docker_host: config.sandbox.docker_host.clone(),
        image: config.sandbox.image.clone(),
        images: config.sandbox.images.clone(),
        pull: config.sandbox.pull,
        runtime: config.sandbox.runtime.clone(),
        instance,
        data_dir: config.data_dir.clone(),
        agent_binary: config.sandbox.agent.clone(),
        allowances: config.sandbox.allowances.clone(),
        max_sandboxes: config.sandbox.max_sandboxes,
        warm: config.sandbox.warm,
        idle_stop: config.sandbox.idle_stop,
        egress: config.sandbox.egress.clone().map(Egress::system),
    }
}

/// What tells this data folder's containers from those of other servers on the same engine.
pub(crate) fn instance(data_dir: &Path) -> Result<String> {
    let path = data_dir.join("instance");
    if let Ok(instance) = std::fs::read_to_string(&path) {
        let instance = instance.trim();
        if !instance.is_empty() {
            return Ok(instance.to_owned());
        }
    }
    let instance = random_id(16);
    std::fs::write(&path, &instance).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(instance)
}

async fn rooms_with_unfinished_runs(runs: &dyn RunStore) -> Result<Vec<RoomId>> {
    let mut rooms: Vec<RoomId> = runs.unfinished().await?.into_iter().map(|run| run.room).collect();
    rooms.sort();
    rooms.dedup();
    Ok(rooms)
}

/// Says on standard output where the server is, and whether it can run anything.
fn announce(address: SocketAddr, sandboxes: &dyn Sandboxes) {
    say(&format!("BuildSpaces is ready: http://{address}/"));
    let availability = sandboxes.availability().borrow().clone();
    if let Availability::Off { message, hint } = availability {
        say(&format!("Runs are off: {message} {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_takes_what_comes_to_one_address() {
        let cases = [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "0.0.0.0:80", false),
            ("0.0.0.0:80", "192.0.2.7:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "192.0.2.7:80", true),
            ("[::1]:80", "[::]:80", false),
        ];
        for (address, other, expected) in cases {
            let address_of = |text: &str| text.parse().expect("valid");
            assert_eq!(takes(address_of(address), address_of(other)), expected, "{address} {other}");
        }
    }
}
