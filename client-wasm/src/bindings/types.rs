//! The shared types: read, written and observed, each call naming its document and its type.

use js_sys::Array;
use wasm_bindgen::prelude::*;
use yrs::Any;

use super::values::{Out, any_from_js, any_to_js, attributes_from_js, json_from_js};
use super::{Core, kind_of, millis};
use crate::document::{Kind, New, Node, TypeId};

#[wasm_bindgen]
impl Core {
    pub fn root(&mut self, document: u32, name: &str, kind: u32) -> Result<u32, JsValue> {
        self.with(document, |document| Ok(document.root(name, kind_of(kind)).0))
    }

    pub fn observe(&mut self, document: u32, of: u32) -> Result<(), JsValue> {
        self.with(document, |document| document.observe(TypeId(of)))
    }

    pub fn unobserve(&mut self, document: u32, of: u32) -> Result<(), JsValue> {
        self.with(document, |document| document.unobserve(TypeId(of)))
    }

    /// What changed of what is observed; `undefined` if nothing.
    pub fn changes(&mut self, document: u32) -> Result<Option<Array>, JsValue> {
        let changes = self.with(document, |document| Ok(document.take_changes()))?;
        Ok((!changes.is_empty()).then(|| self.out(document).changes(&changes)))
    }

    pub fn text_len(&mut self, document: u32, of: u32) -> Result<u32, JsValue> {
        self.with(document, |document| document.text_len(TypeId(of)))
    }

    pub fn text(&mut self, document: u32, of: u32) -> Result<String, JsValue> {
        self.with(document, |document| document.text(TypeId(of)))
    }

    pub fn text_pieces(&mut self, document: u32, of: u32) -> Result<Array, JsValue> {
        let pieces = self.with(document, |document| document.pieces(TypeId(of)))?;
        Ok(self.out(document).pieces(&pieces))
    }

    pub fn text_insert(&mut self, document: u32, of: u32, now: f64, index: u32, chunk: &str) -> Result<(), JsValue> {
        self.edit(document, |document| document.insert_text(millis(now), TypeId(of), index, chunk, None))
    }

    pub fn text_insert_with(
        &mut self,
        document: u32,
        of: u32,
        now: f64,
        index: u32,
        chunk: &str,
        attributes: &JsValue,
    ) -> Result<(), JsValue> {
        let attributes = attributes_from_js(attributes)?;
        self.edit(document, |document| document.insert_text(millis(now), TypeId(of), index, chunk, attributes))
    }

    pub fn text_embed(
        &mut self,
        document: u32,
        of: u32,
        now: f64,
        index: u32,
        value: &JsValue,
        attributes: &JsValue,
    ) -> Result<(), JsValue> {
        let (value, attributes) = (json_from_js(value)?, attributes_from_js(attributes)?);
        self.edit(document, |document| document.embed(millis(now), TypeId(of), index, value, attributes))
    }

    pub fn text_delete(&mut self, document: u32, of: u32, now: f64, index: u32, len: u32) -> Result<(), JsValue> {
        self.edit(document, |document| document.delete_text(millis(now), TypeId(of), index, len))
    }

    pub fn text_format(
        &mut self,
        document: u32,
        of: u32,
        now: f64,
        index: u32,
        len: u32,
        attributes: &JsValue,
    ) -> Result<(), JsValue> {
        let attributes = attributes_from_js(attributes)?.unwrap_or_default();
        self.edit(document, |document| document.format(millis(now), TypeId(of), index, len, attributes))
    }

    pub fn map_get(&mut self, document: u32, of: u32, key: &str) -> Result<JsValue, JsValue> {
        let value = self.with(document, |document| document.map_get(TypeId(of), key))?;
        Ok(value.map_or(JsValue::UNDEFINED, |value| self.out(document).value(&value)))
    }

    pub fn map_has(&mut self, document: u32, of: u32, key: &str) -> Result<bool, JsValue> {
        Ok(self.with(document, |document| document.map_get(TypeId(of), key))?.is_some())
    }

    pub fn map_entries(&mut self, document: u32, of: u32) -> Result<Array, JsValue> {
        let entries = self.with(document, |document| document.map_entries(TypeId(of)))?;
        Ok(self.out(document).entries(&entries))
    }

    pub fn map_set(&mut self, document: u32, of: u32, now: f64, key: &str, value: &JsValue) -> Result<(), JsValue> {
        let value = any_from_js(value)?;
        self.edit(document, |document| document.map_set(millis(now), TypeId(of), key, New::Any(value))).map(|_| ())
    }

    /// Sets a key to a new type, and returns that.
    pub fn map_set_type(&mut self, document: u32, of: u32, now: f64, key: &str, kind: u32) -> Result<u32, JsValue> {
        let made =
            self.edit(document, |document| document.map_set(millis(now), TypeId(of), key, New::Type(kind_of(kind))))?;
        made.map(|made| made.0).ok_or_else(|| js_sys::Error::new("the new type is not in the document").into())
    }

    pub fn map_delete(&mut self, document: u32, of: u32, now: f64, key: &str) -> Result<(), JsValue> {
        self.edit(document, |document| document.map_delete(millis(now), TypeId(of), key))
    }

    pub fn array_len(&mut self, document: u32, of: u32) -> Result<u32, JsValue> {
        self.with(document, |document| document.array_len(TypeId(of)))
    }

    pub fn array_get(&mut self, document: u32, of: u32, index: u32) -> Result<JsValue, JsValue> {
        let value = self.with(document, |document| document.array_get(TypeId(of), index))?;
        Ok(value.map_or(JsValue::UNDEFINED, |value| self.out(document).value(&value)))
    }

    pub fn array_values(&mut self, document: u32, of: u32) -> Result<Array, JsValue> {
        let values = self.with(document, |document| document.array_values(TypeId(of)))?;
        Ok(self.out(document).values(&values))
    }

    pub fn array_insert(
        &mut self,
        document: u32,
        of: u32,
        now: f64,
        index: u32,
        values: &Array,
    ) -> Result<(), JsValue> {
        let values: Result<Vec<Any>, JsValue> = values.iter().map(|value| any_from_js(&value)).collect();
        let values = values?;
        self.edit(document, |document| document.array_insert(millis(now), TypeId(of), index, values))
    }

    /// Inserts a new type, and returns it.
    pub fn array_insert_type(
        &mut self,
        document: u32,
        of: u32,
        now: f64,
        index: u32,
        kind: u32,
    ) -> Result<u32, JsValue> {
        let insert =
            |document: &mut crate::Document| document.array_insert_type(millis(now), TypeId(of), index, kind_of(kind));
        self.edit(document, insert).map(|made| made.0)
    }

    pub fn array_delete(&mut self, document: u32, of: u32, now: f64, index: u32, len: u32) -> Result<(), JsValue> {
        self.edit(document, |document| document.array_delete(millis(now), TypeId(of), index, len))
    }

    /// A map or an array with all that is in it as plain values.
    pub fn to_json(&mut self, document: u32, of: u32) -> Result<JsValue, JsValue> {
        Ok(any_to_js(&self.with(document, |document| document.to_json(TypeId(of)))?))
    }

    pub fn xml_len(&mut self, document: u32, of: u32) -> Result<u32, JsValue> {
        self.with(document, |document| document.xml_len(TypeId(of)))
    }

    pub fn xml_children(&mut self, document: u32, of: u32) -> Result<Array, JsValue> {
        let children = self.with(document, |document| document.xml_children(TypeId(of)))?;
        Ok(self.out(document).values(&children))
    }

    /// Inserts an element of this tag (`kind` of an element) or a text, and returns it.
    pub fn xml_insert(
        &mut self,
        document: u32,
        of: u32,
        now: f64,
        index: u32,
        kind: u32,
        content: &str,
    ) -> Result<u32, JsValue> {
        let node = if kind_of(kind) == Kind::XmlElement { Node::Element(content) } else { Node::Text(content) };
        self.edit(document, |document| document.xml_insert(millis(now), TypeId(of), index, node)).map(|made| made.0)
    }

    pub fn xml_delete(&mut self, document: u32, of: u32, now: f64, index: u32, len: u32) -> Result<(), JsValue> {
        self.edit(document, |document| document.xml_delete(millis(now), TypeId(of), index, len))
    }

    pub fn xml_tag(&mut self, document: u32, of: u32) -> Result<String, JsValue> {
        self.with(document, |document| document.xml_tag(TypeId(of)))
    }

    pub fn xml_attributes(&mut self, document: u32, of: u32) -> Result<Array, JsValue> {
        let entries = self.with(document, |document| document.xml_attributes(TypeId(of)))?;
        Ok(self.out(document).entries(&entries))
    }

    /// `undefined` takes the attribute away.
    pub fn xml_set_attribute(
        &mut self,
        document: u32,
        of: u32,
        now: f64,
        key: &str,
        value: &JsValue,
    ) -> Result<(), JsValue> {
        let value = if value.is_undefined() { None } else { Some(any_from_js(value)?) };
        self.edit(document, |document| document.xml_set_attribute(millis(now), TypeId(of), key, value))
    }

    pub fn xml_string(&mut self, document: u32, of: u32) -> Result<String, JsValue> {
        self.with(document, |document| document.xml_string(TypeId(of)))
    }

    pub fn position(&mut self, document: u32, of: u32, index: u32, sticks_left: bool) -> Result<Vec<u8>, JsValue> {
        self.with(document, |document| document.position(TypeId(of), index, sticks_left))
    }

    /// The type and the index a position is at; `undefined` if it is not in the document.
    pub fn resolve(&mut self, document: u32, position: &[u8]) -> Result<Option<Vec<u32>>, JsValue> {
        let found = self.with(document, |document| document.resolve(position))?;
        Ok(found.map(|(of, index)| vec![of.0, index]))
    }
}

impl Core {
    fn out(&self, document: u32) -> Out<'_> {
        Out { document, wrap: &self.wrap }
    }
}
