//! What one sandbox may use, by the kind of its room, and what those of an organisation may use together. Pure: who keeps to it is `docker`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use buildspaces_kernel::ids::{OrganisationId, RoomKind};
use buildspaces_policy::tenancy::{Tenancy, Tenants, Unknown};
use serde::{Deserialize, Serialize};

/// Bytes that `/dev/shm` holds in a sandbox; they count as memory.
pub(crate) const SHARED_MEMORY: u64 = 64 << 20;

/// What one sandbox may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, swap included; files in `/tmp` and in the home folder count.
    pub memory: u64,
    /// Billionths of a processor per second.
    pub nano_cpus: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Bytes in `/tmp`.
    pub tmp: u64,
    /// Bytes in the home folder.
    pub home: u64,
    /// Bytes of the largest file; a program that writes more gets SIGXFSZ.
    pub file: u64,
    /// Open files of one process.
    pub open_files: u32,
    /// Bytes that a step may print. A step that prints more is stopped.
    pub output: u64,
    /// Bytes of the host's disk that the workspace may take. Above it the sandbox is ended.
    pub disk: u64,
    /// How long a step may take. Long enough for a large suite on a slow machine, short enough that a hanging test is noticed.
    pub step: Duration,
    /// Whose limits these are.
    pub kind: RoomKind,
    /// Keys of the configuration, such as `memory_mib`, that the kind itself has; the others are those of all.
    pub own: BTreeSet<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 1 << 30,
            nano_cpus: 2_000_000_000,
            pids: 256,
            tmp: 256 << 20,
            home: 256 << 20,
            file: 1 << 30,
            open_files: 4096,
            output: 256 << 20,
            disk: 8 << 30,
            step: Duration::from_secs(600),
            kind: RoomKind::default(),
            own: BTreeSet::new(),
        }
    }
}

impl Limits {
    /// The whole key of the configuration that says what `key` is here: what people are told who came to that limit.
    pub fn key(&self, key: &str) -> String {
        if self.own.contains(key) { format!("sandbox.kinds.{}.{key}", self.kind) } else { format!("sandbox.{key}") }
    }

    pub fn cpus(&self) -> f64 {
        self.nano_cpus as f64 / 1e9
    }
}

/// What the sandboxes of an organisation's rooms may use together; `None`: as much as there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// At the same time.
    pub sandboxes: Option<usize>,
    /// Bytes: what each may use, added up.
    pub memory: Option<u64>,
    /// Billionths of a processor per second, added up in the same way.
    pub nano_cpus: Option<u64>,
    /// Bytes of the host's disk that the files of all their rooms take, whether a room has a sandbox now or not.
    pub disk: Option<u64>,
}

/// What rooms' sandboxes may use.
#[derive(Clone, Debug, Default)]
pub struct Allowances {
    /// Of rooms of the default kind.
    pub usual: Limits,
    pub kinds: BTreeMap<RoomKind, Limits>,
    pub organisations: BTreeMap<OrganisationId, Ceilings>,
    /// The same kinds and organisations, and which may have which.
    pub tenants: Tenants,
}

impl Allowances {
    /// What the sandbox of such a room may use.
    ///
    /// # Errors
    /// The configuration has no such rooms, any more.
    pub fn of(&self, tenancy: &Tenancy) -> Result<&Limits, Unknown> {
        self.tenants.check(tenancy)?;
        self.of_kind(&tenancy.kind).ok_or_else(|| Unknown::Kind(tenancy.kind.clone()))
    }

    pub fn of_kind(&self, kind: &RoomKind) -> Option<&Limits> {
        if *kind == RoomKind::default() { Some(&self.usual) } else { self.kinds.get(kind) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_named_by_the_key_that_sets_it() {
        let kind = RoomKind::parse("workshop").expect("valid");
        let limits = Limits { kind, own: ["pids".to_owned()].into(), ..Limits::default() };
        assert_eq!(limits.key("pids"), "sandbox.kinds.workshop.pids");
        assert_eq!(limits.key("memory_mib"), "sandbox.memory_mib");
    }
}
