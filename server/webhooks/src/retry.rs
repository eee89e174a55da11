//! What becomes of a delivery and of its webhook after an attempt. Pure: the time and the chance are passed in.
//!
//! An attempt that failed is made again after a pause that grows, for hours, and then given up. A webhook to which nothing
//! could be delivered for days, or that says it is gone, is switched off until somebody switches it on.

use std::time::Duration;

use buildspaces_kernel::UnixMillis;

use crate::{Delivery, Health, Off, State};

/// Each pause is so many times longer than the one before.
const GROWTH: u32 = 4;

/// The answer that says that nothing will ever be taken there again.
const GONE: u16 = 410;

/// When to try again, and when to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The pause after the first attempt.
    pub first: Duration,
    pub longest: Duration,
    pub attempts: u32,
    /// A webhook is switched off when nothing could be delivered for so long.
    pub off_after: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        /// Nine attempts over about sixteen hours: 5 s, 20 s, 80 s, 5 min, 21 min, 85 min, 5.7 h, 8 h. A receiver that breaks in
        /// the evening is mended in the morning.
        const ATTEMPTS: u32 = 9;
        Self {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(8 * 3600),
            attempts: ATTEMPTS,
            off_after: 5 * DAY,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// There was an answer. `retry_after`: it asked to be left alone for so long.
    Answered { status: u16, retry_after: Option<Duration> },
    /// There was none; why, for people.
    Unanswered(String),
}

impl Policy {
    /// What delivery and health are after an attempt. `chance`, from 0 to 1, spreads attempts that failed together.
    pub fn after(
        &self,
        mut delivery: Delivery,
        mut health: Health,
        outcome: &Outcome,
        now: UnixMillis,
        chance: f64,
    ) -> (Delivery, Health) {
        delivery.attempts += 1;
        let (status, error) = match outcome {
            Outcome::Answered { status, .. } => (Some(*status), described(*status)),
            Outcome::Unanswered(why) => (None, Some(why.clone())),
        };
        delivery.status = status;
        delivery.error = error;
        if delivery.error.is_none() {
            delivery.state = State::Delivered { at: now };
            return (delivery, Health { failing_since: None, ..health });
        }
        let failing_since = *health.failing_since.get_or_insert(now);
        if status == Some(GONE) {
            delivery.state = State::GivenUp { at: now };
            health.off.get_or_insert(Off { at: now, reason: "it answered 410: it is gone".to_owned() });
            return (delivery, health);
        }
        if now - failing_since >= millis(self.off_after) {
            let days = self.off_after.as_secs() / (24 * 3600);
            let reason = format!("nothing could be delivered for {days} days");
            health.off.get_or_insert(Off { at: now, reason });
        }
        delivery.state = if delivery.attempts >= self.attempts {
            State::GivenUp { at: now }
        } else {
            State::Waiting { next_at: now + millis(self.pause(&delivery, outcome, chance)) }
        };
        (delivery, health)
    }

    /// The pause before the next attempt: four fifths to six fifths of what it is on average.
    fn pause(&self, delivery: &Delivery, outcome: &Outcome, chance: f64) -> Duration {
        let grown = self.first.saturating_mul(GROWTH.saturating_pow(delivery.attempts - 1)).min(self.longest);
        let pause = grown.mul_f64(0.8 + 0.4 * chance);
        match outcome {
            Outcome::Answered { retry_after: Some(asked), .. } => pause.max((*asked).min(self.longest)),
            _ => pause,
        }
    }

    /// No delivery waits longer than this; one that seems to was stored while the clock was wrong.
    pub fn longest_pause(&self) -> Duration {
        self.longest.mul_f64(1.2)
    }
}

/// Why an answer is no success.
fn described(status: u16) -> Option<String> {
    match status {
        200..300 => None,
        300..400 => Some(format!("it answered {status}, and redirects are not followed: use the address it leads to")),
        _ => Some(format!("it answered {status}")),
    }
}

fn millis(duration: Duration) -> UnixMillis {
    UnixMillis::try_from(duration.as_millis()).unwrap_or(UnixMillis::MAX)
}

#[cfg(test)]
mod tests {
    use buildspaces_kernel::ids::WebhookId;
    use expect_test::{Expect, expect};

    use super::*;
    use crate::EventKind;

    fn new_delivery() -> Delivery {
        Delivery::new(&WebhookId::random(), EventKind::Test, None, "{}".to_owned(), 0)
    }

    fn answered(status: u16) -> Outcome {
        Outcome::Answered { status, retry_after: None }
    }

    /// Makes one attempt after the other, each when it is due, and lists how things stand after each.
    fn check(outcomes: &[Outcome], expected: Expect) {
        let policy = Policy::default();
        let (mut delivery, mut health, mut now, mut told) = (new_delivery(), Health::default(), 0, String::new());
        for outcome in outcomes {
            (delivery, health) = policy.after(delivery, health, outcome, now, 0.5);
            let error = delivery.error.as_deref().unwrap_or("-");
            let off = health.off.as_ref().map_or("on", |off| &off.reason);
            told += &format!("{} s: {:?}, {error}, {off}\n", now / 1000, delivery.state);
            match delivery.state {
                State::Waiting { next_at } => now = next_at,
                _ => break,
            }
        }
        expected.assert_eq(&told);
    }

    #[test]
    fn failures_are_tried_again_until_one_succeeds() {
        check(
            &[answered(500), Outcome::Unanswered("not reached".to_owned()), answered(302), answered(204)],
            expect![[r#"
                0 s: Waiting { next_at: 5000 }, it answered 500, on
                5 s: Waiting { next_at: 25000 }, not reached, on
                25 s: Waiting { next_at: 105000 }, it answered 302, and redirects are not followed: use the address it leads to, on
                105 s: Delivered { at: 105000 }, -, on
            "#]],
        );
    }

    #[test]
    fn after_hours_a_delivery_is_given_up() {
        let policy = Policy::default();
        let (mut delivery, mut health, mut now) = (new_delivery(), Health::default(), 0);
        while let State::Waiting { next_at } = delivery.state {
            now = next_at;
            (delivery, health) = policy.after(delivery, health, &answered(503), now, 0.5);
        }
        assert_eq!((delivery.attempts, now / 3_600_000), (9, 15));
        assert_eq!((health.off, health.failing_since), (None, Some(0)), "hours are no days");
    }

    #[test]
    fn a_receiver_that_is_gone_is_switched_off_at_once() {
        check(
            &[answered(410), answered(200)],
            expect![[r#"
                0 s: GivenUp { at: 0 }, it answered 410, it answered 410: it is gone
            "#]],
        );
    }

    #[test]
    fn a_webhook_that_fails_for_days_is_switched_off_and_keeps_what_waits() {
        const DAY: UnixMillis = 24 * 3_600_000;
        let (policy, health) = (Policy::default(), Health { failing_since: Some(0), off: None });
        let (delivery, health) = policy.after(new_delivery(), health, &answered(500), 5 * DAY - 1, 0.5);
        assert_eq!(health.off, None);
        let (delivery, health) = policy.after(delivery, health, &answered(500), 5 * DAY, 0.5);
        assert_eq!(health.off.map(|off| off.reason).as_deref(), Some("nothing could be delivered for 5 days"));
        assert!(matches!(delivery.state, State::Waiting { .. }));
    }

    #[test]
    fn a_success_makes_a_webhook_well() {
        let health = Health { failing_since: Some(0), off: None };
        let (_, health) = Policy::default().after(new_delivery(), health, &answered(200), 9, 0.5);
        assert_eq!(health, Health::default());
    }

    #[test]
    fn pauses_are_spread_and_longer_if_asked_for() {
        let policy = Policy::default();
        let next = |outcome: &Outcome, chance| match policy.after(new_delivery(), Health::default(), outcome, 0, chance)
        {
            (Delivery { state: State::Waiting { next_at }, .. }, _) => next_at,
            (delivery, _) => panic!("{delivery:?}"),
        };
        assert_eq!((next(&answered(500), 0.0), next(&answered(500), 1.0)), (4000, 6000));
        let asked = |seconds| Outcome::Answered { status: 429, retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!((next(&asked(1), 0.5), next(&asked(60), 0.5)), (5000, 60_000));
        assert_eq!(next(&asked(1_000_000), 0.5), 8 * 3_600_000, "nobody makes us wait for weeks");
    }
}
