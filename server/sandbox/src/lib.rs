//! The workspaces of rooms and the containers in which their steps and terminals run: the `Sandboxes` port of `plans`, for real.
//!
//! A room has at most one container, without network, capabilities or a writable root; what may leave it leaves through [`egress`]. Its first process is the agent,
//! which dials out to a socket of ours; Docker is asked to create and to remove, never to run a step, because an exit
//! code that went through an attach stream is not to be trusted. What the agent says is checked like any stranger's word.
//!
//! Not here: what to run and when (`plans`), and HTTP. Read [`service`] first, which joins the two halves: [`docker`]
//! (containers, by [`link`], [`steps`], [`terminals`], [`commands`], [`ports`] and
//! [`tunnels`]) and [`mirror`] (documents and files).

use std::path::PathBuf;
use std::time::Duration;

mod commands;
pub mod docker;
pub mod egress;
mod files;
mod limits;
mod link;
pub mod mirror;
mod ports;
pub mod service;
mod steps;
mod terminals;
mod tunnels;

pub use docker::Containers;
pub use egress::Egress;
pub use files::{Files, Folder};
pub use limits::{Allowances, Ceilings, Limits};
pub use service::DockerSandboxes;

/// The image that `make image` makes.
pub const DEFAULT_IMAGE: &str = "buildspaces/workspace:1";

/// Everything an operator may choose about sandboxes.
#[derive(Clone, Debug)]
pub struct Config {
    /// `unix:///path`; `None` is Docker's usual socket.
    pub docker_host: Option<String>,
    /// The image of sandboxes whose rooms ask for none.
    pub image: String,
    /// Other images that a room may ask for by name.
    pub images: Vec<String>,
    /// Whether those of them that the engine does not have are fetched when a room asks for one.
    pub pull: bool,
    /// The engine's name of what runs containers, such as `runsc`; its usual one if `None`.
    pub runtime: Option<String>,
    /// Tells this server's containers from those of other servers on the same engine: the same after a restart.
    pub instance: String,
    /// The server's data folder; sandboxes use `sandboxes/` in it.
    pub data_dir: PathBuf,
    /// The static agent program.
    pub agent_binary: PathBuf,
    /// What each may use, and what those of an organisation may together.
    pub allowances: Allowances,
    /// Containers at the same time. When there are so many, the one that was idle longest goes; if none is idle, the
    /// step is refused with a sentence.
    pub max_sandboxes: usize,
    /// Containers at most that wait for a room that needs one. 0: each is started when it is asked for.
    pub warm: usize,
    /// A container in which nothing ran for so long is removed. The workspace stays.
    pub idle_stop: Duration,
    /// The way out of sandboxes. `None`: there is none.
    pub egress: Option<Egress>,
}

/// User and group of the programs in a sandbox when the server is root. (They have no right outside of it, but a file
/// that they leave in the workspace should not be root's.)
const SANDBOX_USER: (u32, u32) = (1000, 1000);

/// Who owns workspaces: `None` if they stay the server's own, because the server is not root and can give nothing away.
pub fn workspace_owner() -> Option<(u32, u32)> {
    rustix::process::geteuid().is_root().then_some(SANDBOX_USER)
}
