//! Values as JavaScript's own, in both directions, and what changed as plain objects.

use std::collections::HashMap;
use std::sync::Arc;

use buildspaces_crdt::update::{Binary, held_big_int, held_bytes};
use js_sys::{Array, BigInt, Function, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use yrs::types::Attrs;
use yrs::{Any, Number};

use super::kind_code;
use crate::document::{Change, Edit, Entry, Piece, Value};

/// Deepest nesting of a value. A document takes no deeper one.
const MAX_DEPTH: u32 = 60;

pub(super) fn any_to_js(any: &Any) -> JsValue {
    match any {
        Any::Null => JsValue::NULL,
        Any::Undefined => JsValue::UNDEFINED,
        Any::Bool(value) => JsValue::from_bool(*value),
        Any::Number(Number::Float(value)) => JsValue::from_f64(*value),
        Any::Number(Number::Int(value)) => JsValue::from_f64(*value as f64),
        Any::String(value) => JsValue::from_str(value),
        Any::Buffer(held) => match Binary::of(held) {
            Binary::BigInt(value) => BigInt::from(value).into(),
            Binary::Bytes(bytes) => Uint8Array::from(bytes).into(),
            Binary::Subdocument => JsValue::UNDEFINED,
        },
        Any::Array(values) => values.iter().map(any_to_js).collect::<Array>().into(),
        Any::Map(entries) => object(entries.iter().map(|(key, value)| (key.as_str(), any_to_js(value)))),
    }
}

pub(super) fn any_from_js(value: &JsValue) -> Result<Any, JsValue> {
    from_js(value, 0, false)
}

/// Attributes of a text and what is embedded in one: Yjs has them as JSON, which has no `BigInt`.
pub(super) fn json_from_js(value: &JsValue) -> Result<Any, JsValue> {
    from_js(value, 0, true)
}

fn from_js(value: &JsValue, depth: u32, is_json: bool) -> Result<Any, JsValue> {
    if depth > MAX_DEPTH {
        return Err(js_sys::TypeError::new("a value nested more than 60 deep, or within itself").into());
    }
    if value.is_null() {
        return Ok(Any::Null);
    }
    if value.is_undefined() {
        return Ok(Any::Undefined);
    }
    if let Some(value) = value.as_bool() {
        return Ok(Any::Bool(value));
    }
    if let Some(value) = value.as_f64() {
        let is_negative_zero = value == 0.0 && value.is_sign_negative();
        return Ok(if is_negative_zero { Any::Number(Number::Float(value)) } else { Any::from(value) });
    }
    if let Some(value) = value.as_string() {
        return Ok(Any::from(value));
    }
    if value.is_bigint() && !is_json {
        let value = i64::try_from(value.clone()).map_err(|_| js_sys::RangeError::new("a BigInt above 64 bits"))?;
        return Ok(Any::Buffer(held_big_int(value).into()));
    }
    if let Some(bytes) = value.dyn_ref::<Uint8Array>() {
        return Ok(Any::Buffer(held_bytes(&bytes.to_vec()).into()));
    }
    if let Some(values) = value.dyn_ref::<Array>() {
        let values: Result<Vec<Any>, JsValue> =
            values.iter().map(|value| from_js(&value, depth + 1, is_json)).collect();
        return Ok(Any::Array(values?.into()));
    }
    if value.is_object() && is_plain(value) {
        let mut entries = HashMap::new();
        for entry in Object::entries(value.unchecked_ref()).iter() {
            let entry: Array = entry.unchecked_into();
            entries.insert(entry.get(0).as_string().unwrap_or_default(), from_js(&entry.get(1), depth + 1, is_json)?);
        }
        return Ok(Any::Map(Arc::new(entries)));
    }
    Err(js_sys::TypeError::new("only JSON, Uint8Array and, outside of attributes, BigInt can be shared; for a type within a type there are methods")
        .into())
}

/// An object of somebody's class would come back without its class.
fn is_plain(value: &JsValue) -> bool {
    let prototype = Object::get_prototype_of(value);
    prototype.is_null() || Object::get_prototype_of(&prototype).is_null()
}

/// Attributes of a text; `undefined` for none.
pub(super) fn attributes_from_js(value: &JsValue) -> Result<Option<Attrs>, JsValue> {
    if value.is_undefined() {
        return Ok(None);
    }
    match json_from_js(value)? {
        Any::Map(entries) => {
            Ok(Some(entries.iter().map(|(key, value)| (key.as_str().into(), value.clone())).collect()))
        }
        _ => Err(js_sys::TypeError::new("attributes are an object").into()),
    }
}

/// Makes JavaScript's values for one document.
pub(super) struct Out<'a> {
    pub(super) document: u32,
    pub(super) wrap: &'a Function,
}

impl Out<'_> {
    pub(super) fn value(&self, value: &Value) -> JsValue {
        match value {
            Value::Any(any) => any_to_js(any),
            Value::Type(id, kind) => {
                let (document, id, kind) = (self.document.into(), id.0.into(), kind_code(*kind).into());
                self.wrap.call3(&JsValue::UNDEFINED, &document, &id, &kind).unwrap_or(JsValue::UNDEFINED)
            }
        }
    }

    pub(super) fn values(&self, values: &[Value]) -> Array {
        values.iter().map(|value| self.value(value)).collect()
    }

    pub(super) fn entries(&self, entries: &[(String, Value)]) -> Array {
        let pair = |(key, value): &(String, Value)| [JsValue::from_str(key), self.value(value)].into_iter().collect();
        entries.iter().map(pair).collect::<Vec<Array>>().into_iter().collect()
    }

    pub(super) fn pieces(&self, pieces: &[Piece]) -> Array {
        let piece = |piece: &Piece| self.insert(self.value(&piece.insert), &piece.attributes);
        pieces.iter().map(piece).collect()
    }

    fn insert(&self, insert: JsValue, attributes: &[(String, Any)]) -> JsValue {
        let made = object([("insert", insert)]);
        set_attributes(&made, attributes);
        made
    }

    pub(super) fn changes(&self, changes: &[Change]) -> Array {
        changes.iter().map(|change| self.change(change)).collect()
    }

    fn change(&self, change: &Change) -> JsValue {
        let delta: Array = change.delta.iter().flat_map(|edit| self.edit(edit, change)).collect();
        let keys = change.keys.iter().map(|(key, entry)| {
            let (action, before) = match entry {
                Entry::Added => ("add", JsValue::UNDEFINED),
                Entry::Updated { before } => ("update", self.value(before)),
                Entry::Removed { before } => ("delete", self.value(before)),
            };
            (key.as_str(), object([("action", JsValue::from_str(action)), ("oldValue", before)]))
        });
        let origin = change.origin.as_deref().map_or(JsValue::NULL, JsValue::from_str);
        object([
            ("observed", change.observed.0.into()),
            ("target", self.value(&Value::Type(change.target, change.kind))),
            ("targetId", change.target.0.into()),
            ("path", change.path.iter().map(any_to_js).collect::<Array>().into()),
            ("delta", delta.into()),
            ("keys", object(keys)),
            ("origin", origin),
        ])
    }

    /// A text's insertions are strings and what is embedded, one by one; those of a list are arrays.
    fn edit(&self, edit: &Edit, change: &Change) -> Vec<JsValue> {
        use crate::document::Kind;
        match edit {
            Edit::Retain(len, attributes) => {
                let made = object([("retain", (*len).into())]);
                set_attributes(&made, attributes);
                vec![made]
            }
            Edit::Delete(len) => vec![object([("delete", (*len).into())])],
            Edit::Insert(values, attributes) if matches!(change.kind, Kind::Text | Kind::XmlText) => {
                values.iter().map(|value| self.insert(self.value(value), attributes)).collect()
            }
            Edit::Insert(values, _) => vec![object([("insert", self.values(values).into())])],
        }
    }
}

fn set_attributes(of: &JsValue, attributes: &[(String, Any)]) {
    if !attributes.is_empty() {
        let made = object(attributes.iter().map(|(key, value)| (key.as_str(), any_to_js(value))));
        set(of, "attributes", &made);
    }
}

fn object<'a>(entries: impl IntoIterator<Item = (&'a str, JsValue)>) -> JsValue {
    let made = Object::new().into();
    for (key, value) in entries {
        set(&made, key, &value);
    }
    made
}

/// Defines a property, also one that is called `__proto__`, which an assignment would not.
fn set(of: &JsValue, key: &str, value: &JsValue) {
    if key == "__proto__" {
        let descriptor = Object::new();
        for (name, value) in [("value", value), ("enumerable", &JsValue::TRUE), ("writable", &JsValue::TRUE)] {
            set(&descriptor, name, value);
        }
        Object::define_property(of.unchecked_ref::<Object>(), &JsValue::from_str(key), &descriptor);
    } else {
        // Nothing stands in the way on an object that was made here.
        let _ = Reflect::set(of, &JsValue::from_str(key), value);
    }
}
