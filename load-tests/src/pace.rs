//! Sends prepared keystrokes at fixed moments, whether or not the server keeps up.

use std::rc::Rc;

use crate::clock::Nanos;
use crate::lab::Lab;
use crate::member::Member;
use crate::room::Script;

/// Keystrokes sent in one go before what arrived is looked at again.
const BATCH: usize = 32;

/// A writer with what it will send.
pub struct Striker {
    pub member: Rc<Member>,
    script: Script,
    next: usize,
    /// Its number among those present, if it sends presence instead of keystrokes.
    presence: Option<usize>,
}

/// What was sent.
#[derive(Clone, Copy, Default, Debug)]
pub struct Paced {
    pub sent: u64,
    /// The keystroke that left latest, after its moment.
    pub latest: Nanos,
}

/// When what leaves.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Of one writer, in a second.
    pub rate: f64,
    pub seconds: f64,
    /// Keystrokes of a writer that leave in one write, each a frame of its own, as TCP would join them at rates that no person types at.
    pub together: usize,
}

impl Pace {
    pub fn new(rate: f64, seconds: f64) -> Self {
        Self { rate, seconds, together: 1 }
    }
}

impl Striker {
    pub fn new(member: Rc<Member>, script: Script) -> Self {
        Self { member, script, next: 0, presence: None }
    }

    /// Announces states of presence.
    pub fn present(member: Rc<Member>, script: Script, number: usize) -> Self {
        Self { presence: Some(number), ..Self::new(member, script) }
    }

    /// Keystrokes left.
    pub fn left(&self) -> usize {
        self.script.len() - self.next
    }

    /// Sends the next keystrokes in one write, as many as there are.
    pub fn strike(&mut self, planned: Nanos, count: usize) -> usize {
        let end = self.script.len().min(self.next + count);
        if end > self.next {
            let frames = self.script.frames(self.next, end);
            match self.presence {
                Some(number) => self.member.announce(number, frames, planned),
                None => self.member.strike(frames, end - self.next, planned),
            }
        }
        let sent = end - self.next;
        self.next = end;
        sent
    }
}

/// Lets the writers send in turn, evenly spread.
pub async fn pace(lab: &Lab, strikers: &mut [Striker], pace: Pace) -> anyhow::Result<Paced> {
    let timer = lab.timer()?;
    let mut paced = Paced::default();
    if strikers.is_empty() || pace.rate <= 0.0 {
        return Ok(paced);
    }
    let per_second = pace.rate / pace.together as f64 * strikers.len() as f64;
    let total = (per_second * pace.seconds).round() as usize;
    let start = lab.clock.now();
    let due = |number: usize| start + (number as f64 / per_second * 1e9) as Nanos;
    for number in 0..total {
        let planned = due(number);
        let now = lab.clock.now();
        if planned > now {
            timer.until(planned).await?;
        } else {
            paced.latest = paced.latest.max(now - planned);
            if number % BATCH == 0 {
                tokio::task::yield_now().await;
            }
        }
        let turn = number % strikers.len();
        let sent = strikers[turn].strike(planned, pace.together);
        anyhow::ensure!(sent > 0, "the script was too short");
        paced.sent += sent as u64;
    }
    timer.until(due(total)).await?;
    Ok(paced)
}
