//! What a measurement costs and where it ran: processor time and memory from `/proc`, the flush of this disk, the machine's name.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::time::ClockId;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;

/// `/proc` counts in these; Linux has had this value on every architecture of ours.
const TICKS_PER_SECOND: f64 = 100.0;

/// From this share of its core on the generator is what was measured.
pub const BOTTLENECK: f64 = 0.9;

/// From this share of its core on a server has no time left, and what it is asked waits for longer the longer it is asked.
pub const SATURATED: f64 = 0.95;

/// Processor seconds of every process of a group, children that ended included.
pub fn group_cpu(group: u32) -> f64 {
    processes_of(group).iter().map(Stat::cpu).sum()
}

/// Memory that the processes of a group hold, in KiB. Shared pages count once per process.
pub fn group_rss(group: u32) -> u64 {
    processes_of(group).iter().map(|stat| status_kib(stat.pid, "VmRSS:")).sum()
}

/// Open files of the processes of a group.
pub fn group_files(group: u32) -> usize {
    let files = |stat: &Stat| fs::read_dir(format!("/proc/{}/fd", stat.pid)).map_or(0, Iterator::count);
    processes_of(group).iter().map(files).sum()
}

/// The most memory they held since [`reset_peak`], in KiB.
pub fn group_peak(group: u32) -> u64 {
    processes_of(group).iter().map(|stat| status_kib(stat.pid, "VmHWM:")).sum()
}

pub fn reset_peak(group: u32) {
    for stat in processes_of(group) {
        let _ = fs::write(format!("/proc/{}/clear_refs", stat.pid), "5");
    }
}

struct Stat {
    pid: u32,
    group: u32,
    /// Of the processor: its own, and of its children that ended.
    ticks: [u64; 2],
}

impl Stat {
    /// Processor seconds. Ticks are a hundredth each, which is a lot of a window of some seconds; a process has a clock that is finer.
    fn cpu(&self) -> f64 {
        let [own, children] = self.ticks.map(|ticks| ticks as f64 / TICKS_PER_SECOND);
        let clock = ClockId::pid_cpu_clock_id(nix::unistd::Pid::from_raw(self.pid as i32)).and_then(ClockId::now);
        clock.map_or(own, |spent| Duration::from(spent).as_secs_f64()) + children
    }
}

fn processes_of(group: u32) -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| read_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .filter(|stat| stat.group == group)
        .collect()
}

fn read_stat(pid: u32, stat: &str) -> Option<Stat> {
    // The name may hold spaces and brackets; what follows its last bracket does not.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let at = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let ticks = [at(11)? + at(12)?, at(13)? + at(14)?];
    Some(Stat { pid, group: fields.get(2)?.parse().ok()?, ticks })
}

fn status_kib(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A span of time and who used the processors in it.
#[derive(Debug)]
pub struct Window {
    start: Instant,
    group: u32,
    server: f64,
    generator: f64,
    busy: f64,
}

/// What a [`Window`] found.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spent {
    pub seconds: f64,
    pub server_cpu_seconds: f64,
    /// Of its one core.
    pub generator_share: f64,
    /// Processor seconds per second that went to neither: above 0.1 the machine was not quiet.
    pub others_share: f64,
}

impl Spent {
    pub fn generator_was_the_bottleneck(&self) -> bool {
        self.generator_share >= BOTTLENECK
    }

    pub fn server_was_saturated(&self) -> bool {
        self.server_cpu_seconds / self.seconds >= SATURATED
    }
}

impl Window {
    pub fn open(group: u32) -> Self {
        Self { start: Instant::now(), group, server: group_cpu(group), generator: own_cpu(), busy: machine_cpu() }
    }

    pub fn close(&self) -> Spent {
        let seconds = self.start.elapsed().as_secs_f64();
        let (server, generator) = (group_cpu(self.group) - self.server, own_cpu() - self.generator);
        let others = machine_cpu() - self.busy - server - generator;
        Spent {
            seconds,
            server_cpu_seconds: server,
            generator_share: generator / seconds,
            others_share: (others / seconds).max(0.0),
        }
    }
}

fn own_cpu() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// Processor seconds that anybody used since the machine started.
fn machine_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> =
        stat.lines().next().unwrap_or("").split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, (idle, iowait,) irq, softirq, steal
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|at| fields.get(*at)).sum();
    busy as f64 / TICKS_PER_SECOND
}

/// Keeps this thread, and what it starts from now on, on one core. False if the machine has no such core.
pub fn pin(core: usize) -> bool {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).is_ok()
}

/// Goes before other programs of the machine where this is allowed. Returns whether it was.
pub fn prefer(niceness: i32) -> bool {
    setpriority_process(None, niceness).is_ok()
}

/// Allows as many open files as the system lets us have.
pub fn allow_many_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = 1 << 20;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: Some(wanted) });
    if getrlimit(Resource::Nofile).current == limit.current {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Sends a signal to every process of a group.
pub fn signal_group(group: u32, signal: rustix::process::Signal) -> anyhow::Result<()> {
    let group = Pid::from_raw(group as i32).context("a group has a positive number")?;
    Ok(rustix::process::kill_process_group(group, signal)?)
}

/// How long one append and flush takes in a folder, in milliseconds: median and 99th percentile of `count`.
pub fn fsync(folder: &Path, count: usize) -> anyhow::Result<(f64, f64)> {
    let path = folder.join("fsync-probe");
    let mut file = fs::File::create(&path)?;
    let mut taken = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        taken.push(start.elapsed());
    }
    fs::remove_file(path)?;
    taken.sort_unstable();
    let at = |share: f64| taken[((count - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    Ok((at(0.5), at(0.99)))
}

/// Where the figures come from.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub date: String,
}

impl Machine {
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let names = cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")).collect::<Vec<_>>();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: names.first().map_or("unknown", |name| name.trim_start_matches([' ', '\t', ':'])).to_owned(),
            cores: names.len(),
            memory_gib: memory.div_ceil(1 << 20),
            kernel: kernel.trim().to_owned(),
            date: date(std::time::SystemTime::now()),
        }
    }
}

/// Year, month and day of a moment, in UTC. Source: "days from civil", Howard Hinnant.
fn date(now: std::time::SystemTime) -> String {
    let days = now.duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() / 86_400;
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let (month, day) = ((shifted_month + 2) % 12 + 1, day_of_year - (153 * shifted_month + 2) / 5 + 1);
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "42 (a) b (c)) S 1 77 77 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 99 1000 10";
        let stat = read_stat(42, stat).expect("a process");
        assert_eq!((stat.group, stat.ticks), (77, [120, 7]));
    }

    #[test]
    fn our_own_group_uses_processor_and_memory() {
        let group = rustix::process::getpgrp().as_raw_nonzero().get() as u32;
        assert!(group_rss(group) > 0);
        assert!(group_cpu(group) > 0.0);
        assert!(group_peak(group) >= status_kib(std::process::id(), "VmRSS:") / 2);
        let window = Window::open(group);
        assert!(window.close().seconds >= 0.0);
    }

    #[test]
    fn days_become_dates() {
        let at = |days: u64| date(std::time::UNIX_EPOCH + Duration::from_secs(days * 86_400 + 5));
        assert_eq!([at(0), at(59), at(19_782), at(20_454)], ["1970-01-01", "1970-03-01", "2024-02-29", "2026-01-01"]);
    }
}
