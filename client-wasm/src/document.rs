//! One document of a client: read, written, observed and undone, behind the same checks as the server's.
//!
//! It wraps a [`Replica`]. Types within the document are named by [`TypeId`]s, small numbers that a caller in another language can
//! hold; what they stand for is looked up at each use, so that a type which was deleted meanwhile is an error and no dangling pointer.
//! What changed is collected and handed out by [`Document::take_changes`] when the transaction is over, so that whoever hears of it may
//! do anything. It does not know of networks: [`Document::take_updates`] has what is to be sent.
//!
//! Every index and length in a text counts UTF-16 units, as JavaScript and Yjs do, and may not lie within a surrogate pair.

mod history;
mod nodes;
mod observe;
mod places;
mod position;
mod quick;
mod sequence;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use buildspaces_crdt::replica::Applied;
use buildspaces_crdt::{Malformed, Replica, replica, update};
use yrs::branch::BranchPtr;
use yrs::types::TypeRef;
use yrs::{Any, BranchID, Doc, Out, SharedRef, Transact, TransactionMut, WriteTxn};

pub use history::UndoId;
pub use nodes::Node;
pub use observe::{Change, Edit, Entry, UNDO};
pub use sequence::New;
pub use text::Piece;

/// What local transactions are called that were not given an origin.
pub const LOCAL: &str = "local";

/// Bytes of the parts in which an update is taken that has changes of too many clients for one.
const PART_BYTES: usize = 16 * 1024;

/// A shared type of one document, for as long as that document lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TypeId(pub u32);

/// What a shared type is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Text,
    Map,
    Array,
    XmlFragment,
    XmlElement,
    XmlText,
}

/// What lies in a type: a value, or another type.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Any(Any),
    Type(TypeId, Kind),
}

/// Why something could not be done. The document is as it was, except after [`Error::Broken`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Use an index between 0 and the length.
    #[error("{index} is outside of the {len} elements there are")]
    OutOfRange { index: u32, len: u32 },
    /// Use an index before or behind the character.
    #[error("{0} lies within a surrogate pair: an index must be before or behind a whole character")]
    SplitsPair(u32),
    /// The type was deleted, by whomever.
    #[error("this type is not in the document any more")]
    Gone,
    #[error("this type is a {0:?}, which cannot do that")]
    WrongKind(Kind),
    /// Finish the transaction first.
    #[error("a transaction is open: this can be done when it is over")]
    Busy,
    /// Whoever is connected may only read.
    #[error("this document may be read, not changed")]
    ReadOnly,
    /// The bytes are no update, or one that no document may take.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The bytes are no snapshot that can be read here.
    #[error(transparent)]
    Snapshot(#[from] replica::SnapshotError),
    /// The document is empty now: open it anew.
    #[error("the document could not be kept whole: {0}")]
    Broken(String),
}

impl From<replica::Error> for Error {
    fn from(error: replica::Error) -> Self {
        match error {
            replica::Error::Malformed(error) => Self::Malformed(error),
            error @ replica::Error::TooMuch => Self::Broken(error.to_string()),
            replica::Error::Broken(cause) => Self::Broken(cause),
        }
    }
}

type Transaction<'doc> = TransactionMut<'doc>;

self_cell::self_cell!(
    /// A transaction that lasts from one call to another, with the document it belongs to.
    struct Open {
        owner: Doc,
        #[not_covariant]
        dependent: Transaction,
    }
);

/// One document.
pub struct Document {
    // These two hold on to the yrs document and go before it.
    undo: Vec<Option<yrs::undo::UndoManager<()>>>,
    open: Option<Open>,
    replica: Replica,
    types: Types,
    seen: observe::Seen,
    /// Local changes nobody took yet, one per transaction.
    updates: Vec<Vec<u8>>,
    /// Milliseconds; what the undo managers take for the time.
    now: Arc<AtomicU64>,
    has_pairs: bool,
    quick: quick::Quick,
    is_read_only: bool,
}

impl Default for Document {
    fn default() -> Self {
        Self::new()
    }
}

impl Document {
    /// An empty document under a new random client id.
    pub fn new() -> Self {
        Self::of(Replica::new().pinned())
    }

    /// The same, in which what is deleted stays in memory, so that it can be read as it was at a snapshot.
    pub fn keeping_deleted() -> Self {
        Self::of(Replica::keeping_deleted().pinned())
    }

    fn of(replica: Replica) -> Self {
        Self {
            undo: Vec::new(),
            open: None,
            replica,
            types: Types::default(),
            seen: observe::Seen::default(),
            updates: Vec::new(),
            now: Arc::default(),
            has_pairs: false,
            quick: quick::Quick::default(),
            is_read_only: false,
        }
    }

    /// Under which id this document's own changes are made.
    pub fn client_id(&self) -> u64 {
        self.replica.doc().client_id().get()
    }

    /// Refuses local changes from now on, or no longer.
    pub fn set_read_only(&mut self, is_read_only: bool) {
        self.is_read_only = is_read_only;
    }

    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// The type of this name at the top of the document; it is there as soon as it is asked for.
    pub fn root(&mut self, name: &str, kind: Kind) -> TypeId {
        let Self { open, replica, types, .. } = self;
        let id = with(open, replica, |txn| match kind {
            Kind::Text => txn.get_or_insert_text(name).hook().id().clone(),
            Kind::Map => txn.get_or_insert_map(name).hook().id().clone(),
            Kind::Array => txn.get_or_insert_array(name).hook().id().clone(),
            Kind::XmlFragment | Kind::XmlElement | Kind::XmlText => {
                txn.get_or_insert_xml_fragment(name).hook().id().clone()
            }
        });
        types.intern(&id, kind)
    }

    pub fn kind(&self, of: TypeId) -> Kind {
        self.types.all[of.0 as usize].1
    }

    /// Opens a transaction: what follows, until [`Document::commit`], is one change. Changes outside of one are one each.
    pub fn begin(&mut self, now: u64, origin: Option<&str>) -> Result<(), Error> {
        self.find_last_places();
        self.start(now, origin)
    }

    fn start(&mut self, now: u64, origin: Option<&str>) -> Result<(), Error> {
        if self.open.is_some() {
            return Err(Error::Busy);
        }
        if self.is_read_only {
            return Err(Error::ReadOnly);
        }
        self.now.store(now, Ordering::Relaxed);
        let origin = origin.unwrap_or(LOCAL);
        self.open = Some(Open::new(self.replica.doc().clone(), |doc| doc.transact_mut_with(origin)));
        Ok(())
    }

    /// Ends the transaction. True if it changed anything.
    pub fn commit(&mut self) -> Result<bool, Error> {
        let Some(mut open) = self.open.take() else { return Ok(false) };
        let update = open.with_dependent_mut(|_, txn| {
            // First, because yrs may take marks of formats away that nobody needs any more, and others must hear of that.
            txn.commit();
            txn.has_changes().then(|| txn.encode_update_v1())
        });
        drop(open);
        self.quick.learn(update.as_deref());
        let Some(update) = update else { return Ok(false) };
        self.note(update)?;
        Ok(true)
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A change that yrs made by itself becomes one that the gate knows and that will be sent.
    fn note(&mut self, update: Vec<u8>) -> Result<(), Error> {
        match self.replica.note(update) {
            Ok(update) => self.updates.push(update),
            // It is in the document but nobody else could take it; going on would make this replica another one for good.
            Err(error) => return Err(self.give_up(error.to_string())),
        }
        Ok(())
    }

    /// Empties the document, which is not what it should be.
    fn give_up(&mut self, cause: String) -> Error {
        self.open = None;
        self.quick.forget();
        self.replica = Replica::new().pinned();
        Error::Broken(cause)
    }

    /// Runs `edit` in the open transaction, or in one of its own.
    fn edit<R>(
        &mut self,
        now: u64,
        edit: impl FnOnce(&mut TransactionMut<'_>, &mut Types) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let is_own = !self.is_open();
        if is_own {
            self.start(now, None)?;
        }
        let Self { open, replica, types, .. } = self;
        let result = with(open, replica, |txn| edit(txn, types));
        if is_own {
            self.commit()?;
        }
        result
    }

    fn read<R>(
        &mut self,
        read: impl FnOnce(&mut TransactionMut<'_>, &mut Types) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let Self { open, replica, types, .. } = self;
        with(open, replica, |txn| read(txn, types))
    }

    /// Applies an update of the server or another client, which is trusted with nothing.
    pub fn apply(&mut self, update: &[u8]) -> Result<Applied, Error> {
        self.take(update, Replica::apply_foreign)
    }

    /// Applies an update that was let in before and kept on this machine.
    pub fn restore(&mut self, update: &[u8]) -> Result<Applied, Error> {
        self.take(update, Replica::apply)
    }

    fn take(
        &mut self,
        update: &[u8],
        apply: impl Fn(&mut Replica, &[u8]) -> Result<Applied, replica::Error>,
    ) -> Result<Applied, Error> {
        self.not_open()?;
        self.quick.forget();
        let applied = match apply(&mut self.replica, update) {
            Err(replica::Error::Malformed(error)) if update.len() > PART_BYTES => {
                // Whoever has a document of thousands of clients sends it as one update, which is too much at once; in parts it is not.
                let parts = update::split(update, PART_BYTES)?;
                if parts.len() == 1 {
                    return Err(error.into());
                }
                let mut all = Applied::Nothing;
                for part in &parts {
                    match apply(&mut self.replica, part)? {
                        Applied::Changed => all = Applied::Changed,
                        Applied::Nothing => {}
                        Applied::Missing => return Ok(Applied::Missing),
                    }
                }
                all
            }
            other => other?,
        };
        // A character of two units has four bytes, the first of which is one of these.
        self.has_pairs |= applied == Applied::Changed && update.iter().any(|byte| *byte >= 0xf0);
        Ok(applied)
    }

    /// The whole document as one update.
    pub fn state(&self) -> Result<Vec<u8>, Error> {
        self.not_open()?;
        Ok(self.replica.state())
    }

    /// What the document is now, in few bytes: a snapshot as Yjs encodes it.
    pub fn snapshot(&self) -> Result<Vec<u8>, Error> {
        self.not_open()?;
        Ok(self.replica.snapshot())
    }

    /// The whole document as it was at a snapshot, as one update. Needs [`Document::keeping_deleted`].
    pub fn state_at(&self, snapshot: &[u8]) -> Result<Vec<u8>, Error> {
        self.not_open()?;
        Ok(self.replica.state_at(snapshot)?)
    }

    /// What a replica with `state_vector` lacks.
    pub fn diff(&self, state_vector: &[u8]) -> Result<Vec<u8>, Error> {
        self.not_open()?;
        Ok(self.replica.diff(state_vector)?)
    }

    pub fn state_vector(&self) -> Vec<u8> {
        self.replica.state_vector()
    }

    /// The local changes since the last call, in order, one update per transaction.
    pub fn take_updates(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.updates)
    }

    fn not_open(&self) -> Result<(), Error> {
        if self.open.is_some() { Err(Error::Busy) } else { Ok(()) }
    }
}

/// Runs `f` in the open transaction or, if there is none, in one that changes nothing.
fn with<R>(open: &mut Option<Open>, replica: &Replica, f: impl FnOnce(&mut TransactionMut<'_>) -> R) -> R {
    match open {
        Some(open) => open.with_dependent_mut(|_, txn| f(txn)),
        None => f(&mut replica.doc().transact_mut()),
    }
}

/// The types that were ever handed out, by number.
#[derive(Default)]
struct Types {
    all: Vec<(BranchID, Kind)>,
    ids: HashMap<BranchID, TypeId>,
}

impl Types {
    fn intern(&mut self, id: &BranchID, kind: Kind) -> TypeId {
        if let Some(known) = self.ids.get(id) {
            return *known;
        }
        let new = TypeId(u32::try_from(self.all.len()).expect("fewer types than elements"));
        self.all.push((id.clone(), kind));
        self.ids.insert(id.clone(), new);
        new
    }

    /// Where a type is now, if it is one of `kinds`.
    fn branch(&self, txn: &TransactionMut<'_>, of: TypeId, kinds: &[Kind]) -> Result<BranchPtr, Error> {
        let (id, kind) = self.all.get(of.0 as usize).ok_or(Error::Gone)?;
        if !kinds.contains(kind) {
            return Err(Error::WrongKind(*kind));
        }
        id.get_branch(txn).filter(|branch| !branch.is_deleted()).ok_or(Error::Gone)
    }

    fn value(&mut self, out: Out) -> Value {
        match seen_value(out) {
            Seen::Any(any) => Value::Any(any),
            Seen::Type(id, kind) => Value::Type(self.intern(&id, kind), kind),
        }
    }

    fn resolve(&mut self, seen: Seen) -> Value {
        match seen {
            Seen::Any(any) => Value::Any(any),
            Seen::Type(id, kind) => Value::Type(self.intern(&id, kind), kind),
        }
    }
}

/// A value as an observer finds it, before its type has a number.
#[derive(Clone, Debug)]
enum Seen {
    Any(Any),
    Type(BranchID, Kind),
}

fn seen_value(out: Out) -> Seen {
    let branch: &yrs::branch::Branch = match &out {
        Out::Any(any) => return Seen::Any(any.clone()),
        Out::YText(of) => of.as_ref(),
        Out::YArray(of) => of.as_ref(),
        Out::YMap(of) => of.as_ref(),
        Out::YXmlElement(of) => of.as_ref(),
        Out::YXmlFragment(of) => of.as_ref(),
        Out::YXmlText(of) => of.as_ref(),
        Out::UndefinedRef(of) => of,
        // The gate keeps subdocuments away from yrs.
        Out::YDoc(_) => return Seen::Any(Any::Undefined),
    };
    let kind = match branch.type_ref() {
        TypeRef::Array => Kind::Array,
        TypeRef::Map => Kind::Map,
        TypeRef::XmlElement(_) => Kind::XmlElement,
        TypeRef::XmlFragment => Kind::XmlFragment,
        TypeRef::XmlText => Kind::XmlText,
        _ => Kind::Text,
    };
    Seen::Type(branch.id(), kind)
}
