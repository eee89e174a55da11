//! Maps and arrays.

use yrs::types::ToJson;
use yrs::types::text::DeltaPrelim;
use yrs::{Any, Array, ArrayPrelim, ArrayRef, In, Map, MapPrelim, MapRef, TransactionMut};

use super::{Document, Error, Kind, TypeId, Types, Value};

/// What is put into a map or an array.
#[derive(Clone, Debug)]
pub enum New {
    Any(Any),
    /// A new type, empty.
    Type(Kind),
}

impl Document {
    pub fn map_get(&mut self, of: TypeId, key: &str) -> Result<Option<Value>, Error> {
        self.read(|txn, types| {
            let value = map(txn, types, of)?.get(txn, key);
            Ok(value.map(|value| types.value(value)))
        })
    }

    /// All keys with their values, sorted by key.
    pub fn map_entries(&mut self, of: TypeId) -> Result<Vec<(String, Value)>, Error> {
        self.read(|txn, types| {
            let map = map(txn, types, of)?;
            let mut entries: Vec<_> = map.iter(txn).map(|(key, value)| (key.to_owned(), value)).collect();
            entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            Ok(entries.into_iter().map(|(key, value)| (key, types.value(value))).collect())
        })
    }

    /// Sets a key, and returns the new type if that is what it was set to.
    pub fn map_set(&mut self, now: u64, of: TypeId, key: &str, value: New) -> Result<Option<TypeId>, Error> {
        self.edit(now, |txn, types| {
            let out = map(txn, types, of)?.insert(txn, key, input(value)?);
            Ok(created(types, out))
        })
    }

    pub fn map_delete(&mut self, now: u64, of: TypeId, key: &str) -> Result<(), Error> {
        self.edit(now, |txn, types| {
            map(txn, types, of)?.remove(txn, key);
            Ok(())
        })
    }

    pub fn array_len(&mut self, of: TypeId) -> Result<u32, Error> {
        self.read(|txn, types| Ok(array(txn, types, of)?.len(txn)))
    }

    pub fn array_get(&mut self, of: TypeId, index: u32) -> Result<Option<Value>, Error> {
        self.read(|txn, types| {
            let value = array(txn, types, of)?.get(txn, index);
            Ok(value.map(|value| types.value(value)))
        })
    }

    pub fn array_values(&mut self, of: TypeId) -> Result<Vec<Value>, Error> {
        self.read(|txn, types| {
            let values: Vec<_> = array(txn, types, of)?.iter(txn).collect();
            Ok(values.into_iter().map(|value| types.value(value)).collect())
        })
    }

    pub fn array_insert(&mut self, now: u64, of: TypeId, index: u32, values: Vec<Any>) -> Result<(), Error> {
        self.edit(now, |txn, types| {
            let array = array(txn, types, of)?;
            within(index, array.len(txn))?;
            if !values.is_empty() {
                array.insert_range(txn, index, values);
            }
            Ok(())
        })
    }

    /// Inserts a new, empty type.
    pub fn array_insert_type(&mut self, now: u64, of: TypeId, index: u32, kind: Kind) -> Result<TypeId, Error> {
        self.edit(now, |txn, types| {
            let array = array(txn, types, of)?;
            within(index, array.len(txn))?;
            let out = array.insert(txn, index, input(New::Type(kind))?);
            created(types, out).ok_or(Error::Gone)
        })
    }

    pub fn array_delete(&mut self, now: u64, of: TypeId, index: u32, len: u32) -> Result<(), Error> {
        self.edit(now, |txn, types| {
            let array = array(txn, types, of)?;
            within(index.saturating_add(len), array.len(txn))?;
            if len > 0 {
                array.remove_range(txn, index, len);
            }
            Ok(())
        })
    }

    /// A map or an array with everything in it as plain values.
    pub fn to_json(&mut self, of: TypeId) -> Result<Any, Error> {
        let kind = self.kind(of);
        self.read(|txn, types| match kind {
            Kind::Map => Ok(map(txn, types, of)?.to_json(txn)),
            Kind::Array => Ok(array(txn, types, of)?.to_json(txn)),
            kind => Err(Error::WrongKind(kind)),
        })
    }
}

pub(super) fn within(index: u32, len: u32) -> Result<(), Error> {
    if index > len { Err(Error::OutOfRange { index, len }) } else { Ok(()) }
}

fn map(txn: &TransactionMut<'_>, types: &Types, of: TypeId) -> Result<MapRef, Error> {
    Ok(MapRef::from(types.branch(txn, of, &[Kind::Map])?))
}

fn array(txn: &TransactionMut<'_>, types: &Types, of: TypeId) -> Result<ArrayRef, Error> {
    Ok(ArrayRef::from(types.branch(txn, of, &[Kind::Array])?))
}

fn input(new: New) -> Result<In, Error> {
    Ok(match new {
        New::Any(any) => In::Any(any),
        New::Type(Kind::Text) => In::Text(DeltaPrelim::default()),
        New::Type(Kind::Map) => In::Map(MapPrelim::default()),
        New::Type(Kind::Array) => In::Array(ArrayPrelim::default()),
        New::Type(Kind::XmlFragment) => In::XmlFragment(yrs::XmlFragmentPrelim::default()),
        New::Type(kind @ (Kind::XmlElement | Kind::XmlText)) => return Err(Error::WrongKind(kind)),
    })
}

fn created(types: &mut Types, out: yrs::Out) -> Option<TypeId> {
    match types.value(out) {
        Value::Type(id, _) => Some(id),
        Value::Any(_) => None,
    }
}
