//! What a sandbox's container is: a pure function from configuration to the engine's request.
//!
//! Each line that takes something away from the program under test is here, so this is the page to check.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, ResourcesUlimits};
use buildspaces_kernel::ids::{RoomId, random_id};
use buildspaces_sandbox_agent::protocol::{EGRESS_VARIABLE, PROTOCOL, SECRETS_FOLDER, TOKEN_VARIABLE};
use sha2::{Digest, Sha256};

use super::sandbox::Place;
use crate::limits::SHARED_MEMORY;
use crate::{Config, Limits};

/// Whose container it is: [`Config::instance`].
pub(crate) const INSTANCE_LABEL: &str = "buildspaces.instance";
/// Whose it was made for. One that was made for nobody has none.
pub(crate) const ROOM_LABEL: &str = "buildspaces.room";
/// Its [`Place`].
pub(crate) const PLACE_LABEL: &str = "buildspaces.place";
const PROTOCOL_LABEL: &str = "buildspaces.protocol";

/// Where the agent and its socket are, in the container.
const AGENT_FOLDER: &str = "/run/buildspaces";
/// The agent's file name in that folder.
pub(crate) const AGENT: &str = "agent";

/// Names that stay out of the tree, for git, in the same folder. `plans` knows where it is.
pub(crate) const IGNORED: &str = "ignored";

/// Where the room's files are, in the container.
pub(crate) const WORKSPACE: &str = "/workspace";

pub(crate) const HOME: &str = "/home/workspace";

/// A name for people who look at the engine's list: whose server, which place, and something random, because the engine
/// keeps a name for as long as it takes to remove the container that died under it.
pub(super) fn name(instance: &str, place: &Place) -> String {
    let hash = Sha256::digest(instance);
    format!("buildspaces-{:02x}{:02x}{:02x}{:02x}-{place}-{}", hash[0], hash[1], hash[2], hash[3], random_id(4))
}

/// What is different from one sandbox to the next.
pub(super) struct Wanted<'a> {
    /// Id or name of what it is made from.
    pub(super) image: &'a str,
    pub(super) place: &'a Place,
    /// Whose it is, if it is made for somebody.
    pub(super) room: Option<&'a RoomId>,
    /// Its files, on the host.
    pub(super) workspace: &'a Path,
    /// Holds agent and socket, on the host.
    pub(super) agent_folder: &'a Path,
    pub(super) token: &'a str,
    pub(super) limits: &'a Limits,
}

/// The container of a sandbox, whose programs run as `user`.
pub(super) fn container(config: &Config, user: (u32, u32), wanted: &Wanted<'_>) -> ContainerCreateBody {
    let Limits { memory, nano_cpus, pids, tmp, home, file, open_files, .. } = *wanted.limits;
    let (uid, gid) = user;
    let memory = signed(memory);
    let agent = format!("{AGENT_FOLDER}/{AGENT}");
    ContainerCreateBody {
        image: Some(wanted.image.to_owned()),
        entrypoint: Some(vec![agent]),
        cmd: Some(Vec::new()),
        user: Some(format!("{uid}:{gid}")),
        working_dir: Some(WORKSPACE.to_owned()),
        hostname: Some("sandbox".to_owned()),
        env: Some(environment(wanted.token, config.egress.is_some())),
        labels: Some(labels(config, wanted)),
        // The agent has no handler for SIGTERM, and as process 1 would not even notice it.
        stop_signal: Some("SIGKILL".to_owned()),
        host_config: Some(HostConfig {
            runtime: config.runtime.clone(),
            network_mode: Some("none".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            privileged: Some(false),
            ipc_mode: Some("private".to_owned()),
            readonly_rootfs: Some(true),
            mounts: Some(vec![bind(wanted.workspace, WORKSPACE, false), bind(wanted.agent_folder, AGENT_FOLDER, true)]),
            // Programs may be executed from both: test runners and compilers put some there, and as the workspace is
            // writable and executable anyway, forbidding it would keep nobody from anything.
            tmpfs: Some(HashMap::from([
                ("/tmp".to_owned(), format!("rw,exec,nosuid,nodev,mode=1777,size={tmp}")),
                (HOME.to_owned(), format!("rw,exec,nosuid,nodev,mode=0700,uid={uid},gid={gid},size={home}")),
                // Files of a step's secrets. Nothing is in there but while a step runs that has some; the agent sees to that.
                (SECRETS_FOLDER.to_owned(), format!("rw,noexec,nosuid,nodev,mode=0700,uid={uid},gid={gid},size=1m")),
            ])),
            shm_size: Some(signed(SHARED_MEMORY)),
            memory: Some(memory),
            // The same number for memory and swap together means: no swap.
            memory_swap: Some(memory),
            nano_cpus: Some(signed(nano_cpus)),
            pids_limit: Some(i64::from(pids)),
            ulimits: Some(vec![
                ulimit("nofile", i64::from(open_files)),
                ulimit("core", 0),
                ulimit("fsize", signed(file)),
            ]),
            // Short of memory, the host loses a sandbox first.
            oom_score_adj: Some(500),
            // Output goes through the agent; nothing a program prints fills the engine's disk.
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn labels(config: &Config, wanted: &Wanted<'_>) -> HashMap<String, String> {
    let mut labels = HashMap::from([
        (INSTANCE_LABEL.to_owned(), config.instance.clone()),
        (PLACE_LABEL.to_owned(), wanted.place.to_string()),
        (PROTOCOL_LABEL.to_owned(), PROTOCOL.to_string()),
    ]);
    if let Some(room) = wanted.room {
        labels.insert(ROOM_LABEL.to_owned(), room.to_string());
    }
    labels
}

/// Where the agent listens for programs that want to leave the sandbox: the port people expect of a proxy.
const EGRESS_PORT: u16 = 3128;

/// Steps inherit this from the agent, all but the token.
fn environment(token: &str, egress: bool) -> Vec<String> {
    let mut environment = vec![format!("{TOKEN_VARIABLE}={token}")];
    environment.extend(
        [
            ("HOME", HOME),
            ("USER", "workspace"),
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
            ("CI", "1"),
            // Compiled files would show up in everybody's tree.
            ("PYTHONDONTWRITEBYTECODE", "1"),
            // A pipe is not a terminal: without this, output would arrive in one piece at the end.
            ("PYTHONUNBUFFERED", "1"),
            ("PYTEST_ADDOPTS", "-p no:cacheprovider"),
            ("NO_COLOR", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
        ]
        .map(|(name, value)| format!("{name}={value}")),
    );
    if egress {
        environment.push(format!("{EGRESS_VARIABLE}={EGRESS_PORT}"));
        // Some programs read the one, some the other. Plain http is told so by the proxy, instead of not finding the host.
        for name in ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"] {
            environment.push(format!("{name}=http://127.0.0.1:{EGRESS_PORT}"));
        }
        for name in ["no_proxy", "NO_PROXY"] {
            environment.push(format!("{name}=localhost,127.0.0.1,::1"));
        }
    }
    environment
}

fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

/// The engine counts in signed numbers.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;

    use super::*;
    use crate::Allowances;

    #[test]
    fn the_request_is_what_was_checked() {
        let config = Config {
            docker_host: None,
            image: "buildspaces/workspace:1".to_owned(),
            images: Vec::new(),
            pull: false,
            runtime: None,
            instance: "here".to_owned(),
            data_dir: "/data".into(),
            agent_binary: "/agent".into(),
            allowances: Allowances::default(),
            max_sandboxes: 16,
            warm: 0,
            idle_stop: Duration::from_secs(900),
            egress: None,
        };
        let room = RoomId::parse("room1").expect("an id");
        let wanted = Wanted {
            image: &config.image,
            place: &Place::of(&room),
            room: Some(&room),
            workspace: "/data/w".as_ref(),
            agent_folder: "/data/a".as_ref(),
            token: "t",
            limits: &config.allowances.usual,
        };
        let body = container(&config, (1000, 1000), &wanted);
        // By way of a value, which sorts the keys.
        let value = serde_json::to_value(&body).expect("JSON");
        let text = serde_json::to_string_pretty(&value).expect("JSON");
        expect![[r#"
            {
              "Cmd": [],
              "Entrypoint": [
                "/run/buildspaces/agent"
              ],
              "Env": [
                "BUILDSPACES_AGENT_TOKEN=t",
                "HOME=/home/workspace",
                "USER=workspace",
                "LANG=C.UTF-8",
                "TERM=dumb",
                "CI=1",
                "PYTHONDONTWRITEBYTECODE=1",
                "PYTHONUNBUFFERED=1",
                "PYTEST_ADDOPTS=-p no:cacheprovider",
                "NO_COLOR=1",
                "GIT_TERMINAL_PROMPT=0"
              ],
              "HostConfig": {
                "CapDrop": [
                  "ALL"
                ],
                "IpcMode": "private",
                "LogConfig": {
                  "Type": "none"
                },
                "Memory": 1073741824,
                "MemorySwap": 1073741824,
                "Mounts": [
                  {
                    "ReadOnly": false,
                    "Source": "/data/w",
                    "Target": "/workspace",
                    "Type": "bind"
                  },
                  {
                    "ReadOnly": true,
                    "Source": "/data/a",
                    "Target": "/run/buildspaces",
                    "Type": "bind"
                  }
                ],
                "NanoCpus": 2000000000,
                "NetworkMode": "none",
                "OomScoreAdj": 500,
                "PidsLimit": 256,
                "Privileged": false,
                "ReadonlyRootfs": true,
                "SecurityOpt": [
                  "no-new-privileges"
                ],
                "ShmSize": 67108864,
                "Tmpfs": {
                  "/home/workspace": "rw,exec,nosuid,nodev,mode=0700,uid=1000,gid=1000,size=268435456",
                  "/run/secrets": "rw,noexec,nosuid,nodev,mode=0700,uid=1000,gid=1000,size=1m",
                  "/tmp": "rw,exec,nosuid,nodev,mode=1777,size=268435456"
                },
                "Ulimits": [
                  {
                    "Hard": 4096,
                    "Name": "nofile",
                    "Soft": 4096
                  },
                  {
                    "Hard": 0,
                    "Name": "core",
                    "Soft": 0
                  },
                  {
                    "Hard": 1073741824,
                    "Name": "fsize",
                    "Soft": 1073741824
                  }
                ]
              },
              "Hostname": "sandbox",
              "Image": "buildspaces/workspace:1",
              "Labels": {
                "buildspaces.instance": "here",
                "buildspaces.place": "room1",
                "buildspaces.protocol": "4",
                "buildspaces.room": "room1"
              },
              "StopSignal": "SIGKILL",
              "User": "1000:1000",
              "WorkingDir": "/workspace"
            }"#]]
        .assert_eq(&text);
        let proxies = environment("t", true).split_off(environment("t", false).len());
        expect![[r#"
            BUILDSPACES_EGRESS_PORT=3128
            https_proxy=http://127.0.0.1:3128
            HTTPS_PROXY=http://127.0.0.1:3128
            http_proxy=http://127.0.0.1:3128
            HTTP_PROXY=http://127.0.0.1:3128
            no_proxy=localhost,127.0.0.1,::1
            NO_PROXY=localhost,127.0.0.1,::1"#]]
        .assert_eq(&proxies.join("\n"));
        assert!(name("here", &Place::of(&room)).starts_with("buildspaces-fcec9150-room1-"));
    }
}
