//! When a rule fires: some quiet after the last edit, but not too long after the first. Pure.
//!
//! It does not know what an edit was nor what firing does. While runs are off it stays dirty and fires
//! when they return; a firing that failed is tried again.

use std::time::{Duration, Instant};

/// How long edits are gathered before a rule fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DebounceConfig {
    /// Quiet after the last edit.
    pub quiet: Duration,
    /// Longest wait after the first edit, however busily people type.
    pub max_wait: Duration,
    /// Wait after a firing that failed.
    pub retry: Duration,
}

impl Default for DebounceConfig {
    fn default() -> Self {
        /// Shorter fires in the middle of words; longer feels as if nothing happened.
        const QUIET: Duration = Duration::from_millis(1500);
        /// Two people who type in turns still see a result now and then.
        const MAX_WAIT: Duration = Duration::from_secs(10);
        /// What failed is the store or the room; both come back by themselves or not at all.
        const RETRY: Duration = Duration::from_secs(5);
        Self { quiet: QUIET, max_wait: MAX_WAIT, retry: RETRY }
    }
}

/// What happened to the rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// A person changed a matching file.
    Edited,
    /// Time passed; feed this when [`Debounce::deadline`] is reached.
    Elapsed,
    /// Runs are possible or not.
    Available(bool),
    /// The rule was dirty before a restart: fire as soon as possible.
    Restored,
    /// [`Effect::Fire`] was performed, or something else covers the present text.
    Fired,
    /// [`Effect::Fire`] could not be performed.
    FireFailed,
}

/// What the owner of a [`Debounce`] must do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Store that the rule is dirty, so that a crash does not forget it.
    RememberDirty,
    /// Look at the text now and answer with [`Input::Fired`] or [`Input::FireFailed`].
    Fire,
}

/// One rule's waiting for quiet.
#[derive(Clone, Debug)]
pub struct Debounce {
    config: DebounceConfig,
    available: bool,
    dirty: Option<Dirty>,
}

#[derive(Clone, Copy, Debug)]
struct Dirty {
    first: Instant,
    due: Instant,
    /// [`Effect::Fire`] is out and not yet answered.
    firing: bool,
    /// When the first edit came that the firing under way may not have seen.
    unseen: Option<Instant>,
}

impl Debounce {
    pub fn new(config: DebounceConfig, available: bool) -> Self {
        Self { config, available, dirty: None }
    }

    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Effect> {
        let _step = tracing::trace_span!(target: "keystroke", "handle").entered();
        let mut effects = Vec::new();
        match input {
            Input::Edited => {
                if self.dirty.is_none() {
                    effects.push(Effect::RememberDirty);
                }
                let dirty = self.dirty.get_or_insert(Dirty { first: now, due: now, firing: false, unseen: None });
                if dirty.firing {
                    dirty.unseen.get_or_insert(now);
                }
                let first = dirty.unseen.unwrap_or(dirty.first);
                dirty.due = (now + self.config.quiet).min(first + self.config.max_wait);
            }
            Input::Restored => self.dirty = Some(Dirty { first: now, due: now, firing: false, unseen: None }),
            Input::Available(available) => self.available = available,
            Input::Elapsed => {}
            Input::Fired => {
                self.dirty = self.dirty.and_then(|dirty| {
                    dirty.unseen.map(|first| Dirty { first, due: dirty.due, firing: false, unseen: None })
                });
            }
            Input::FireFailed => {
                if let Some(dirty) = &mut self.dirty {
                    // Counting anew from here keeps a long outage from turning into a firing per edit.
                    *dirty = Dirty { first: now, due: now + self.config.retry, firing: false, unseen: None };
                }
            }
        }
        if let Some(dirty) = &mut self.dirty
            && self.available
            && !dirty.firing
            && dirty.due <= now
        {
            dirty.firing = true;
            effects.push(Effect::Fire);
        }
        effects
    }

    /// When to feed [`Input::Elapsed`].
    pub fn deadline(&self) -> Option<Instant> {
        self.dirty.filter(|dirty| self.available && !dirty.firing).map(|dirty| dirty.due)
    }

    pub fn is_dirty(&self) -> bool {
        self.dirty.is_some()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Plays `script`, lines of `<milliseconds> <input>`, and lists what came out; deadlines in between are
    /// fed as they pass, as the engine does.
    fn check(script: &str, expected: Expect) {
        let start = Instant::now();
        let mut debounce = Debounce::new(DebounceConfig::default(), true);
        let mut out = String::new();
        let mut play = |debounce: &mut Debounce, at: Instant, input: Input| {
            for effect in debounce.handle(at, input) {
                out.push_str(&format!("{} {effect:?}\n", (at - start).as_millis()));
            }
        };
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (at, input) = line.split_once(' ').expect("time and input");
            let at = start + Duration::from_millis(at.parse().expect("milliseconds"));
            while let Some(deadline) = debounce.deadline().filter(|deadline| *deadline < at) {
                play(&mut debounce, deadline, Input::Elapsed);
            }
            let input = match input {
                "edit" => Input::Edited,
                "off" => Input::Available(false),
                "on" => Input::Available(true),
                "restored" => Input::Restored,
                "fired" => Input::Fired,
                "failed" => Input::FireFailed,
                _ => Input::Elapsed,
            };
            play(&mut debounce, at, input);
        }
        expected.assert_eq(&out);
    }

    #[test]
    fn fires_after_quiet() {
        check(
            "0 edit
             1000 edit
             2000 edit
             4000 fired
             9000 elapsed",
            expect![[r#"
                0 RememberDirty
                3500 Fire
            "#]],
        );
    }

    #[test]
    fn steady_typing_fires_at_the_longest_wait() {
        let script: String = (0..11).map(|second| format!("{} edit\n", second * 1000)).collect();
        check(
            &script,
            expect![[r#"
                0 RememberDirty
                10000 Fire
            "#]],
        );
    }

    #[test]
    fn stays_dirty_while_off_and_fires_when_runs_return() {
        check(
            "0 edit
             500 off
             5000 edit
             60000 on
             60001 fired
             60002 on",
            expect![[r#"
                0 RememberDirty
                60000 Fire
            "#]],
        );
    }

    #[test]
    fn coming_back_in_the_middle_of_typing_waits_for_quiet() {
        check(
            "0 off
             100 edit
             200 on
             1700 elapsed",
            expect![[r#"
                100 RememberDirty
                1600 Fire
            "#]],
        );
    }

    #[test]
    fn dirty_before_a_restart_fires_at_once() {
        check(
            "0 restored
             10 fired
             20 edit
             2000 elapsed",
            expect![[r#"
                0 Fire
                20 RememberDirty
                1520 Fire
            "#]],
        );
    }

    #[test]
    fn a_failed_firing_is_tried_again() {
        check(
            "0 edit
             1600 failed
             8000 elapsed",
            expect![[r#"
                0 RememberDirty
                1500 Fire
                6600 Fire
            "#]],
        );
    }

    #[test]
    fn an_edit_while_it_fires_is_not_forgotten() {
        check(
            "0 edit
             1600 edit
             1700 fired
             9000 elapsed",
            expect![[r#"
                0 RememberDirty
                1500 Fire
                3100 Fire
            "#]],
        );
    }

    #[test]
    fn a_run_that_covers_the_text_makes_the_rule_clean() {
        check(
            "0 edit
             100 fired
             9000 elapsed",
            expect![[r#"
                0 RememberDirty
            "#]],
        );
    }
}
