//! Settings of sandboxes: what each may use by the kind of its room, and what those of an organisation may use together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use buildspaces_kernel::ids::{MAX_ID_LEN, OrganisationId, RoomKind};
use buildspaces_policy::tenancy::Tenants;
use buildspaces_sandbox::{Allowances, Ceilings, Limits, egress};
use serde::Deserialize;

use super::{Error, within};

/// Settings of sandboxes.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) docker_host: Option<String>,
    pub(crate) image: String,
    /// What rooms may ask for besides.
    pub(crate) images: Vec<String>,
    /// Whether those that the engine does not have are fetched.
    pub(crate) pull: bool,
    pub(crate) runtime: Option<String>,
    pub(crate) agent: PathBuf,
    pub(crate) allowances: Allowances,
    /// How many there may be at the same time.
    pub(crate) max_sandboxes: usize,
    /// How many are started at most before a room needs them.
    pub(crate) warm: usize,
    pub(crate) idle_stop: Duration,
    /// Where sandboxes may go; nowhere if `None`.
    pub(crate) egress: Option<egress::Policy>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SandboxFile {
    docker_host: Option<String>,
    image: Option<String>,
    images: Vec<String>,
    pull: Option<bool>,
    runtime: Option<String>,
    agent: Option<PathBuf>,
    memory_mib: Option<u64>,
    cpus: Option<f64>,
    pids: Option<u32>,
    disk_mib: Option<u64>,
    tmp_mib: Option<u64>,
    home_mib: Option<u64>,
    file_mib: Option<u64>,
    open_files: Option<u32>,
    output_mib: Option<u64>,
    step_seconds: Option<u64>,
    kinds: BTreeMap<String, KindFile>,
    max_sandboxes: Option<usize>,
    warm: Option<usize>,
    idle_stop_seconds: Option<u64>,
    egress: Vec<String>,
    egress_mib: Option<u64>,
}

/// What a kind of rooms has instead of what all have.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KindFile {
    memory_mib: Option<u64>,
    cpus: Option<f64>,
    pids: Option<u32>,
    disk_mib: Option<u64>,
    tmp_mib: Option<u64>,
    home_mib: Option<u64>,
    file_mib: Option<u64>,
    open_files: Option<u32>,
    output_mib: Option<u64>,
    step_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OrganisationFile {
    kinds: Option<Vec<String>>,
    sandboxes: Option<usize>,
    memory_mib: Option<u64>,
    cpus: Option<f64>,
    disk_mib: Option<u64>,
}

/// What the machine has, where it tells: nothing above it can be given to anybody.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// Bytes of memory.
    pub(super) memory: Option<u64>,
    /// Processors.
    pub(super) cpus: Option<usize>,
}

impl Machine {
    /// Of the machine and not of this process, which may be held to less: the engine's containers are not below it.
    pub(super) fn read() -> Self {
        let read = |path| std::fs::read_to_string(path).ok();
        let memory = read("/proc/meminfo").and_then(|text| {
            let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            kib.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1 << 10)
        });
        let cpus = read("/proc/cpuinfo").map(|text| text.lines().filter(|line| line.starts_with("processor")).count());
        Self { memory, cpus: cpus.filter(|cpus| *cpus > 0) }
    }
}

pub(super) fn check(
    mut file: SandboxFile,
    organisations: BTreeMap<String, OrganisationFile>,
    machine: &Machine,
    environment: &BTreeMap<String, String>,
) -> Result<Sandbox, Error> {
    let kinds = std::mem::take(&mut file.kinds);
    let max_sandboxes = within("sandbox.max_sandboxes", file.max_sandboxes, 1, 10_000)?.unwrap_or(16);
    let usual = file.limits().over("sandbox", &Limits::default())?;
    let allowances = allowances(usual, kinds, organisations, max_sandboxes, machine)?;
    if let Some(image) = file.images.iter().find(|image| image.is_empty() || image.contains(char::is_whitespace)) {
        return Err(Error(format!("sandbox.images: {image:?} is not the name of an image, such as \"team/node:20\"")));
    }
    let egress_mib = within("sandbox.egress_mib", file.egress_mib, 1, 1 << 24)?;
    let parse = |text: &String| {
        egress::Pattern::parse(text).map_err(|error| Error(format!("sandbox.egress: {text:?} {error}")))
    };
    let allowed = file.egress.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let egress = egress::Policy { allowed, max_bytes: egress_mib.unwrap_or(1024) << 20 };
    Ok(Sandbox {
        egress: (!egress.allowed.is_empty()).then_some(egress),
        // Docker's own variable counts, as people expect of anything that talks to Docker.
        docker_host: file
            .docker_host
            .or_else(|| environment.get("DOCKER_HOST").cloned())
            .filter(|host| !host.is_empty()),
        image: file.image.unwrap_or_else(|| buildspaces_sandbox::DEFAULT_IMAGE.to_owned()),
        images: file.images,
        pull: file.pull.unwrap_or(true),
        runtime: file.runtime.filter(|runtime| !runtime.is_empty()),
        agent: file.agent.unwrap_or_else(default_agent),
        allowances,
        max_sandboxes,
        warm: within("sandbox.warm", file.warm, 0, 1_000)?.unwrap_or(2),
        idle_stop: Duration::from_secs(
            within("sandbox.idle_stop_seconds", file.idle_stop_seconds, 10, 86_400)?.unwrap_or(900),
        ),
    })
}

impl SandboxFile {
    /// What it says of each sandbox.
    fn limits(&self) -> KindFile {
        KindFile {
            memory_mib: self.memory_mib,
            cpus: self.cpus,
            pids: self.pids,
            disk_mib: self.disk_mib,
            tmp_mib: self.tmp_mib,
            home_mib: self.home_mib,
            file_mib: self.file_mib,
            open_files: self.open_files,
            output_mib: self.output_mib,
            step_seconds: self.step_seconds,
        }
    }
}

impl KindFile {
    /// These limits, and what is not among them as in `otherwise`. They stand in the table of that name.
    fn over(&self, table: &str, otherwise: &Limits) -> Result<Limits, Error> {
        let mut limits = otherwise.clone();
        let key = |name: &str| format!("{table}.{name}");
        if let Some(cpus) = within(&key("cpus"), self.cpus, 0.1, 1024.0)? {
            limits.nano_cpus = (cpus * 1e9) as u64;
        }
        for (name, mib, least, most, limit) in [
            ("memory_mib", self.memory_mib, 64, 1 << 20, &mut limits.memory),
            ("disk_mib", self.disk_mib, 64, 1 << 24, &mut limits.disk),
            ("tmp_mib", self.tmp_mib, 1, 1 << 20, &mut limits.tmp),
            ("home_mib", self.home_mib, 1, 1 << 20, &mut limits.home),
            ("file_mib", self.file_mib, 1, 1 << 24, &mut limits.file),
            ("output_mib", self.output_mib, 1, 1 << 20, &mut limits.output),
        ] {
            if let Some(mib) = within(&key(name), mib, least, most)? {
                *limit = mib << 20;
            }
        }
        for (name, count, least, most, limit) in [
            ("pids", self.pids, 16, 1 << 22, &mut limits.pids),
            ("open_files", self.open_files, 64, 1 << 20, &mut limits.open_files),
        ] {
            if let Some(count) = within(&key(name), count, least, most)? {
                *limit = count;
            }
        }
        if let Some(seconds) = within(&key("step_seconds"), self.step_seconds, 1, 86_400)? {
            limits.step = Duration::from_secs(seconds);
        }
        Ok(limits)
    }

    /// The keys that it has.
    fn own(&self) -> BTreeSet<String> {
        let keys = [
            ("memory_mib", self.memory_mib.is_some()),
            ("cpus", self.cpus.is_some()),
            ("pids", self.pids.is_some()),
            ("disk_mib", self.disk_mib.is_some()),
            ("tmp_mib", self.tmp_mib.is_some()),
            ("home_mib", self.home_mib.is_some()),
            ("file_mib", self.file_mib.is_some()),
            ("open_files", self.open_files.is_some()),
            ("output_mib", self.output_mib.is_some()),
            ("step_seconds", self.step_seconds.is_some()),
        ];
        keys.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key.to_owned()).collect()
    }
}

fn allowances(
    usual: Limits,
    kinds: BTreeMap<String, KindFile>,
    organisations: BTreeMap<String, OrganisationFile>,
    max_sandboxes: usize,
    machine: &Machine,
) -> Result<Allowances, Error> {
    let mut allowances = Allowances { usual, ..Allowances::default() };
    for (name, file) in kinds {
        let kind = RoomKind::parse(&name).ok_or_else(|| not_a_name("sandbox.kinds", &name))?;
        let table = format!("sandbox.kinds.{kind}");
        if kind == RoomKind::default() {
            return Err(Error(format!(
                "{table}: rooms of the kind {kind} have what [sandbox] itself says; set it there, or choose another name"
            )));
        }
        let limits = file.over(&table, &allowances.usual)?;
        machine.has(&table, &file)?;
        allowances.kinds.insert(kind.clone(), Limits { kind: kind.clone(), own: file.own(), ..limits });
    }
    allowances.tenants = Tenants { kinds: allowances.kinds.keys().cloned().collect(), ..Tenants::default() };
    for (name, file) in organisations {
        let organisation = OrganisationId::parse(&name).ok_or_else(|| not_a_name("organisations", &name))?;
        let ceilings = file.ceilings(&organisation, max_sandboxes)?;
        let kinds = file.kinds(&organisation, &allowances)?;
        for limits in std::iter::once(&allowances.usual).chain(allowances.kinds.values()) {
            if kinds.as_ref().is_none_or(|kinds| kinds.contains(&limits.kind)) {
                fits(&organisation, &ceilings, limits)?;
            }
        }
        allowances.tenants.organisations.insert(organisation.clone(), kinds);
        allowances.organisations.insert(organisation, ceilings);
    }
    Ok(allowances)
}

impl Machine {
    /// Whether it has what the kind is to have.
    fn has(&self, table: &str, file: &KindFile) -> Result<(), Error> {
        if let (Some(mib), Some(memory)) = (file.memory_mib, self.memory)
            && mib > memory >> 20
        {
            let memory = memory >> 20;
            return Err(Error(format!(
                "{table}.memory_mib = {mib} is more than the {memory} MiB that this machine has"
            )));
        }
        if let (Some(cpus), Some(there)) = (file.cpus, self.cpus)
            && cpus > there as f64
        {
            return Err(Error(format!(
                "{table}.cpus = {cpus} is more than the {there} processors that this machine has"
            )));
        }
        Ok(())
    }
}

impl OrganisationFile {
    fn ceilings(&self, organisation: &OrganisationId, max_sandboxes: usize) -> Result<Ceilings, Error> {
        let key = |name: &str| format!("organisations.{organisation}.{name}");
        if let Some(sandboxes) = self.sandboxes.filter(|sandboxes| *sandboxes > max_sandboxes) {
            return Err(Error(format!(
                "{} = {sandboxes} is more than all sandboxes that there may be, which is {max_sandboxes}; raise sandbox.max_sandboxes, or \
                 lower it",
                key("sandboxes")
            )));
        }
        let mib = |name: &str, mib| Ok::<_, Error>(within(&key(name), mib, 64, 1 << 30)?.map(|mib| mib << 20));
        Ok(Ceilings {
            sandboxes: within(&key("sandboxes"), self.sandboxes, 1, max_sandboxes)?,
            memory: mib("memory_mib", self.memory_mib)?,
            nano_cpus: within(&key("cpus"), self.cpus, 0.1, 1_000_000.0)?.map(|cpus| (cpus * 1e9) as u64),
            disk: mib("disk_mib", self.disk_mib)?,
        })
    }

    fn kinds(
        &self,
        organisation: &OrganisationId,
        allowances: &Allowances,
    ) -> Result<Option<BTreeSet<RoomKind>>, Error> {
        let Some(kinds) = &self.kinds else { return Ok(None) };
        let key = format!("organisations.{organisation}.kinds");
        if kinds.is_empty() {
            return Err(Error(format!(
                "{key} is empty, so {organisation} could have no rooms; name a kind, or leave it out for all"
            )));
        }
        let known = |name: &String| {
            let kind = RoomKind::parse(name).filter(|kind| allowances.of_kind(kind).is_some());
            kind.ok_or_else(|| {
                Error(format!("{key}: there is no kind {name:?}; add [sandbox.kinds.{name}], or take it out"))
            })
        };
        kinds.iter().map(known).collect::<Result<_, _>>().map(Some)
    }
}

/// One sandbox of these limits must fit below the ceilings, or none ever starts.
fn fits(organisation: &OrganisationId, ceilings: &Ceilings, limits: &Limits) -> Result<(), Error> {
    let less = |key: &str, has: String, needs: String, limit: &str| {
        Err(Error(format!(
            "organisations.{organisation}.{key} = {has} is less than one sandbox of the kind {} has ({} = {needs}); raise it, or leave that \
             kind out of organisations.{organisation}.kinds",
            limits.kind,
            limits.key(limit)
        )))
    };
    if let Some(memory) = ceilings.memory.filter(|memory| *memory < limits.memory) {
        return less("memory_mib", (memory >> 20).to_string(), (limits.memory >> 20).to_string(), "memory_mib");
    }
    if let Some(cpus) = ceilings.nano_cpus.filter(|cpus| *cpus < limits.nano_cpus) {
        return less("cpus", (cpus as f64 / 1e9).to_string(), limits.cpus().to_string(), "cpus");
    }
    Ok(())
}

fn not_a_name(table: &str, name: &str) -> Error {
    Error(format!("{table}: {name:?} is not a name: use 1 to {MAX_ID_LEN} characters of a-z, 0-9, _ and -"))
}

/// The agent lies beside the server's own program.
fn default_agent() -> PathBuf {
    const NAME: &str = "buildspaces-sandbox-agent";
    let own = std::env::current_exe().ok();
    own.and_then(|path| Some(path.parent()?.join(NAME))).unwrap_or_else(|| PathBuf::from(NAME))
}

#[cfg(test)]
mod tests;
