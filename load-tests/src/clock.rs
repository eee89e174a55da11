//! Time of a run in nanoseconds, and a timer that is precise to some tens of microseconds.
//!
//! tokio's own timers wake at whole milliseconds, which is more than what is measured here.

use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Nanoseconds since the generator started.
pub type Nanos = u64;

#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    #[expect(clippy::new_without_default, reason = "a clock begins now, which is no default")]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    pub fn now(self) -> Nanos {
        self.0.elapsed().as_nanos() as Nanos
    }
}

/// Wakes at a moment of a [`Clock`].
#[derive(Debug)]
pub struct Timer {
    clock: Clock,
    fd: AsyncFd<std::os::fd::OwnedFd>,
}

impl Timer {
    pub fn new(clock: Clock) -> std::io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "an owned descriptor is the sound case, and the replacement is unsafe")]
        let fd = AsyncFd::new(fd)?;
        Ok(Self { clock, fd })
    }

    /// Returns at once if the moment is past.
    pub async fn until(&self, moment: Nanos) -> std::io::Result<()> {
        let wait = moment.saturating_sub(self.clock.now());
        if wait == 0 {
            return Ok(());
        }
        let wait = Duration::from_nanos(wait);
        let it_value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        loop {
            let mut ready = self.fd.readable().await?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut [0u8; 8])?));
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}
