//! In which way an update comes into a document, tried out on a [`Model`] where the gate's count does not rule out that yrs takes long.
//!
//! To build the model of a large document takes as long as to load it. So it is kept while updates come that have to be tried, and goes
//! when none came for a while.

use super::Source;
use crate::update::work::{self, Model, TooMuch};
use crate::update::{self, Deletion, Parsed};

/// So many updates in a row that need no trial end the model.
const QUICK_ONES: u32 = 64;

/// How an update comes into a document.
#[derive(PartialEq, Eq)]
pub(super) enum Way {
    /// As it is.
    Behind,
    /// With all the rest at once, in one update, which is quicker: this one.
    Together(Vec<u8>),
    /// Neither would end in time.
    None,
}

/// The model of one document, if there is one now.
#[derive(Debug, Default)]
pub(super) struct Trial(Option<Box<Kept>>);

/// **Invariant:** the model has what the gate has let in.
#[derive(Debug)]
struct Kept {
    model: Model,
    /// How many blocks there were when it was looked whether the whole could be loaded again.
    loadable: usize,
    /// How many updates went by since that needed no trial.
    quick: u32,
    is_resting: bool,
}

impl Trial {
    /// The way of an update that takes yrs up to `steps` and deletes what is `implied`. `state` gives the whole document, as it is before, and whether it
    /// keeps what is deleted.
    pub(super) fn way(
        &mut self,
        update: &Parsed<'_>,
        source: Source,
        steps: u64,
        implied: &[Deletion],
        state: impl FnOnce() -> (Vec<u8>, bool),
    ) -> Way {
        if steps <= work::FEW_STEPS {
            self.follow(update, implied);
            return Way::Behind;
        }
        if let Some(mut kept) = self.0.take()
            && kept.model.take(update, implied, work::BUDGET).is_ok()
            && kept.model.blocks() <= 2 * kept.loadable
        {
            (kept.quick, kept.is_resting) = (0, false);
            self.0 = Some(kept);
            return Way::Behind;
        }
        // What was let in once may take longer.
        let budget = if source == Source::Own { work::BUDGET_OF_ALL } else { work::BUDGET };
        let (state, keeps_deleted) = state();
        let Ok((way, model)) = of_all(update, implied, &state, keeps_deleted, budget) else { return Way::None };
        self.0 = Some(Box::new(Kept { loadable: model.blocks(), model, quick: 0, is_resting: false }));
        way
    }

    /// Some time went by: what nobody needed since the last call goes.
    pub(super) fn rest(&mut self) {
        self.0.take_if(|kept| std::mem::replace(&mut kept.is_resting, true));
    }

    /// An update was let in that nobody has to wait for.
    pub(super) fn follow(&mut self, update: &Parsed<'_>, implied: &[Deletion]) {
        // Where nothing is ever tried, the model is not to be in the program at all.
        if cfg!(feature = "budget")
            && let Some(kept) = &mut self.0
        {
            kept.quick += 1;
            if kept.quick > QUICK_ONES || kept.model.take(update, implied, work::BUDGET).is_err() {
                self.0 = None;
            }
        }
    }

    #[cfg(test)]
    fn is_kept(&self) -> bool {
        self.0.is_some()
    }
}

/// Tries the update behind the rest, and together with it. Returns the model of what comes of it, too.
fn of_all(
    update: &Parsed<'_>,
    implied: &[Deletion],
    state: &[u8],
    keeps_deleted: bool,
    budget: u64,
) -> Result<(Way, Model), TooMuch> {
    let state = update::parse(state).map_err(|_| TooMuch)?;
    let all = update::complete(&[&state, update], implied).map_err(|_| TooMuch)?;
    let all = update::parse(&all).map_err(|_| TooMuch)?;
    let mut together = if keeps_deleted { Model::default() } else { Model::to_settle() };
    // Otherwise it could not be loaded again.
    together.integrate(&all, budget)?;
    let mut behind = Model::default();
    if behind.integrate(&state, budget).and_then(|()| behind.take(update, implied, work::BUDGET)).is_ok() {
        return Ok((Way::Behind, behind));
    }
    let all =
        if keeps_deleted { all.bytes().to_vec() } else { update::settled(&all, &together).map_err(|_| TooMuch)? };
    Ok((Way::Together(all), together.once_settled()))
}

#[cfg(test)]
mod tests {
    use crate::lib0::write_var_uint;
    use crate::replica::{Applied, Replica};

    /// Lines of client 7, from `from` on, each put before the one that came before it.
    fn lines(from: u64, count: u64) -> Vec<u8> {
        let mut update = vec![1];
        for number in [count, 7, from] {
            write_var_uint(&mut update, number);
        }
        for clock in from..from + count {
            match clock.checked_sub(1) {
                Some(before) => {
                    update.push(0x44);
                    write_var_uint(&mut update, 7);
                    write_var_uint(&mut update, before);
                }
                None => update.extend([4, 1, 1, b't']),
            }
            update.extend([1, b'a' + (clock % 26) as u8]);
        }
        update.push(0);
        update
    }

    #[test]
    fn a_model_is_kept_while_it_is_needed_and_stays_what_the_document_is() {
        let mut replica = Replica::new();
        assert_eq!(replica.apply_foreign(&lines(0, 4000)), Ok(Applied::Changed));
        assert!(replica.trial.is_kept());
        // Three times as much as there was when it was looked at last: the whole is looked at again on the way.
        for from in [4000, 7000, 10_000] {
            assert_eq!(replica.apply_foreign(&lines(from, 3000)), Ok(Applied::Changed));
            assert_eq!(replica.apply_foreign(&lines(from, 3000)), Ok(Applied::Nothing));
        }
        let root = replica.doc().get_or_insert_text("t");
        replica.edit(|txn| yrs::Text::remove_range(&root, txn, 20, 5)).expect("changed");
        assert!(replica.trial.is_kept());
        let kept = replica.trial.0.as_ref().expect("kept").model.elements().concat();
        assert_eq!(kept.len(), 13_000);
        assert_eq!(kept[..2], [(7, 12_999), (7, 12_998)], "the last line stands first");
        replica.rest();
        assert!(replica.trial.is_kept());
        for _ in 0..super::QUICK_ONES {
            let end = yrs::GetString::get_string(&root, &yrs::Transact::transact(replica.doc())).len();
            replica.edit(|txn| yrs::Text::insert(&root, txn, end as u32, "x")).expect("changed");
        }
        assert!(!replica.trial.is_kept());
        replica.apply_foreign(&lines(13_000, 3000)).expect("valid");
        assert!(replica.trial.is_kept());
        replica.rest();
        replica.rest();
        assert!(!replica.trial.is_kept());
        let mut other = Replica::new();
        other.apply(&lines(0, 16_000)).expect("valid");
        other.apply(&replica.state()).expect("valid");
        assert!(other.is_same(&replica));
    }
}
