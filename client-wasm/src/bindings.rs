//! What JavaScript calls: one class, [`Core`], over [`RoomClient`].
//!
//! `ts/` is written against it and is what users see; nobody else should call this. Numbers name documents and types. Effects come out of
//! [`Core::poll`] as arrays that begin with one of the codes in [`effects`]. Errors are JavaScript's own: `RangeError` for an index,
//! `TypeError` for a type that cannot do that, `Error` for the rest.

mod effects;
mod types;
mod values;

use buildspaces_crdt::replica::Applied;
use bytes::Bytes;
use js_sys::{Array, Function, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::document::{self, Document, TypeId, UndoId};
use crate::room::{Config, DocumentId, Input, RoomClient};

/// A client, its connection's state and its documents.
#[wasm_bindgen]
pub struct Core {
    client: RoomClient,
    /// Makes an object of JavaScript's for a type: called with document, type, kind. It must not call back.
    wrap: Function,
}

/// JavaScript's milliseconds as ours.
fn millis(now: f64) -> u64 {
    now.max(0.0) as u64
}

/// The number a kind of type has in JavaScript: its place in `KINDS` of `ts/types.ts`.
fn kind_code(kind: document::Kind) -> u32 {
    match kind {
        document::Kind::Text => 0,
        document::Kind::Map => 1,
        document::Kind::Array => 2,
        document::Kind::XmlFragment => 3,
        document::Kind::XmlElement => 4,
        document::Kind::XmlText => 5,
    }
}

fn kind_of(code: u32) -> document::Kind {
    match code {
        0 => document::Kind::Text,
        1 => document::Kind::Map,
        2 => document::Kind::Array,
        3 => document::Kind::XmlFragment,
        4 => document::Kind::XmlElement,
        _ => document::Kind::XmlText,
    }
}

fn thrown(error: &document::Error) -> JsValue {
    let message = error.to_string();
    match error {
        document::Error::OutOfRange { .. } | document::Error::SplitsPair(_) => js_sys::RangeError::new(&message).into(),
        document::Error::WrongKind(_) => js_sys::TypeError::new(&message).into(),
        _ => js_sys::Error::new(&message).into(),
    }
}

#[wasm_bindgen]
impl Core {
    #[wasm_bindgen(constructor)]
    pub fn new(first_pause_ms: f64, longest_pause_ms: f64, seed: f64, wrap: Function) -> Self {
        let config = Config {
            first_pause_ms: millis(first_pause_ms),
            longest_pause_ms: millis(longest_pause_ms),
            seed: seed.to_bits(),
            ..Config::default()
        };
        Self { client: RoomClient::new(config), wrap }
    }

    pub fn connect(&mut self, now: f64) {
        self.client.connect(millis(now));
    }

    pub fn disconnect(&mut self) {
        self.client.disconnect();
    }

    /// The socket that is about to open is shared with other clients, or not.
    pub fn set_session(&mut self, session: Option<String>) {
        self.client.set_session(session);
    }

    pub fn opened(&mut self, now: f64) {
        self.client.handle(millis(now), Input::Opened);
    }

    pub fn frame(&mut self, now: f64, frame: Vec<u8>) {
        self.client.handle(millis(now), Input::Frame(Bytes::from(frame)));
    }

    pub fn closed(&mut self, now: f64, code: u16, reason: String) {
        self.client.handle(millis(now), Input::Closed { code, reason });
    }

    pub fn token(&mut self, now: f64, document: u32, token: String) {
        self.client.handle(millis(now), Input::Token { document: DocumentId(document), token });
    }

    pub fn no_token(&mut self, now: f64, document: u32, reason: String) {
        self.client.handle(millis(now), Input::NoToken { document: DocumentId(document), reason });
    }

    pub fn online(&mut self, now: f64) {
        self.client.handle(millis(now), Input::Online);
    }

    pub fn tick(&mut self, now: f64) {
        self.client.handle(millis(now), Input::Tick);
    }

    /// When `tick` is wanted; negative if never.
    pub fn next_wake(&self) -> f64 {
        self.client.next_wake().map_or(-1.0, |at| at as f64)
    }

    /// What is to be done since the last call; `undefined` if nothing.
    pub fn poll(&mut self) -> Option<Array> {
        let effects = self.client.take_effects();
        if effects.is_empty() {
            return None;
        }
        Some(effects.iter().map(effects::to_js).collect())
    }

    pub fn open(&mut self, now: f64, name: &str, keeps_deleted: bool) -> u32 {
        let make = if keeps_deleted { Document::keeping_deleted } else { Document::new };
        self.client.open_with(millis(now), name, make).0
    }

    pub fn close(&mut self, document: u32) {
        self.client.close(DocumentId(document));
    }

    pub fn retry(&mut self, document: u32) {
        self.client.retry(DocumentId(document));
    }

    pub fn renew_token(&mut self, document: u32) {
        self.client.renew_token(DocumentId(document));
    }

    /// JSON, or `undefined` to be seen no more.
    pub fn set_presence(&mut self, now: f64, document: u32, state: Option<String>) {
        self.client.set_presence(millis(now), DocumentId(document), state);
    }

    /// The others' states: client, JSON, client, JSON, and so on.
    pub fn presence(&self, document: u32) -> Array {
        let all = Array::new();
        if let Some((_, others)) = self.client.presence(DocumentId(document)) {
            for (client, state) in others {
                all.push(&JsValue::from_f64(client as f64));
                all.push(&JsValue::from_str(state));
            }
        }
        all
    }

    pub fn send_stateless(&mut self, document: u32, payload: &str) -> bool {
        self.client.send_stateless(DocumentId(document), payload)
    }

    pub fn client_id(&self, document: u32) -> Result<f64, JsValue> {
        Ok(self.document(document)?.client_id() as f64)
    }

    pub fn is_read_only(&self, document: u32) -> Result<bool, JsValue> {
        Ok(self.document(document)?.is_read_only())
    }

    pub fn begin(&mut self, document: u32, now: f64, origin: Option<String>) -> Result<(), JsValue> {
        self.with(document, |document| document.begin(millis(now), origin.as_deref()))
    }

    pub fn commit(&mut self, document: u32) -> Result<bool, JsValue> {
        let changed = self.with(document, Document::commit);
        self.client.edited(DocumentId(document));
        changed
    }

    /// Applies an update that did not come by the connection. It is sent like any change of one's own.
    pub fn apply(&mut self, document: u32, update: &[u8]) -> Result<bool, JsValue> {
        let applied = self.with(document, |document| document.apply(update))?;
        if applied == Applied::Missing {
            return Err(js_sys::Error::new("the update builds on one that is not in the document").into());
        }
        let is_changed = applied == Applied::Changed;
        if is_changed {
            self.client.imported(DocumentId(document), Bytes::copy_from_slice(update));
        }
        Ok(is_changed)
    }

    /// Applies an update that was kept on this machine: 0 if the document had it, 1 if it is there now, 2 if it builds on what is missing.
    pub fn restore(&mut self, document: u32, update: &[u8]) -> Result<u32, JsValue> {
        self.with(document, |document| document.restore(update)).map(|applied| match applied {
            Applied::Nothing => 0,
            Applied::Changed => 1,
            Applied::Missing => 2,
        })
    }

    /// What was restored may not all be on the server: it counts as one unsaved change until the server says so.
    pub fn restored(&mut self, document: u32) {
        self.client.restored(DocumentId(document));
    }

    pub fn state(&self, document: u32) -> Result<Uint8Array, JsValue> {
        let state = self.document(document)?.state().map_err(|error| thrown(&error))?;
        Ok(Uint8Array::from(state.as_slice()))
    }

    pub fn snapshot(&self, document: u32) -> Result<Uint8Array, JsValue> {
        let snapshot = self.document(document)?.snapshot().map_err(|error| thrown(&error))?;
        Ok(Uint8Array::from(snapshot.as_slice()))
    }

    pub fn state_at(&self, document: u32, snapshot: &[u8]) -> Result<Uint8Array, JsValue> {
        let state = self.document(document)?.state_at(snapshot).map_err(|error| thrown(&error))?;
        Ok(Uint8Array::from(state.as_slice()))
    }

    pub fn diff(&self, document: u32, state_vector: &[u8]) -> Result<Uint8Array, JsValue> {
        let diff = self.document(document)?.diff(state_vector).map_err(|error| thrown(&error))?;
        Ok(Uint8Array::from(diff.as_slice()))
    }

    pub fn state_vector(&self, document: u32) -> Result<Uint8Array, JsValue> {
        Ok(Uint8Array::from(self.document(document)?.state_vector().as_slice()))
    }

    pub fn new_undo(
        &mut self,
        document: u32,
        scope: &[u32],
        origins: Vec<String>,
        pause_ms: f64,
    ) -> Result<u32, JsValue> {
        let scope: Vec<TypeId> = scope.iter().copied().map(TypeId).collect();
        self.with(document, |document| document.new_undo(&scope, &origins, millis(pause_ms))).map(|id| id.0)
    }

    pub fn undo(&mut self, document: u32, now: f64, id: u32) -> Result<bool, JsValue> {
        let done = self.with(document, |document| document.undo(millis(now), UndoId(id)));
        self.client.edited(DocumentId(document));
        done
    }

    pub fn redo(&mut self, document: u32, now: f64, id: u32) -> Result<bool, JsValue> {
        let done = self.with(document, |document| document.redo(millis(now), UndoId(id)));
        self.client.edited(DocumentId(document));
        done
    }

    pub fn can_undo(&self, document: u32, id: u32) -> Result<bool, JsValue> {
        Ok(self.document(document)?.can_undo(UndoId(id)))
    }

    pub fn can_redo(&self, document: u32, id: u32) -> Result<bool, JsValue> {
        Ok(self.document(document)?.can_redo(UndoId(id)))
    }

    pub fn cut_undo(&mut self, document: u32, id: u32) -> Result<(), JsValue> {
        self.with(document, |document| {
            document.cut_undo(UndoId(id));
            Ok(())
        })
    }

    pub fn end_undo(&mut self, document: u32, id: u32) -> Result<(), JsValue> {
        self.with(document, |document| document.end_undo(UndoId(id)))
    }
}

impl Core {
    fn document(&self, document: u32) -> Result<&Document, JsValue> {
        self.client.document(DocumentId(document)).ok_or_else(closed)
    }

    fn with<R>(
        &mut self,
        document: u32,
        f: impl FnOnce(&mut Document) -> Result<R, document::Error>,
    ) -> Result<R, JsValue> {
        let document = self.client.document_mut(DocumentId(document)).ok_or_else(closed)?;
        f(document).map_err(|error| thrown(&error))
    }

    /// As [`Core::with`], for a change: outside of a transaction it is sent at once.
    fn edit<R>(
        &mut self,
        document: u32,
        f: impl FnOnce(&mut Document) -> Result<R, document::Error>,
    ) -> Result<R, JsValue> {
        let result = self.with(document, f)?;
        self.client.edited(DocumentId(document));
        Ok(result)
    }
}

fn closed() -> JsValue {
    js_sys::Error::new("this document is closed").into()
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    fn error(message: &str);
}

/// Says where a panic was: what JavaScript sees of it is `unreachable` alone.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| error(&format!("@buildspaces/client: {panic}"))));
}
