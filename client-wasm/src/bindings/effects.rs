//! Effects as arrays: a code, and what belongs to it. The codes stand in `ts/core.ts` again.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::JsValue;

use crate::room::{Effect, State};

const CONNECT: u32 = 0;
const SEND: u32 = 1;
const DISCONNECT: u32 = 2;
const WANT_TOKEN: u32 = 3;
const STATE: u32 = 4;
const UNSAVED: u32 = 5;
const CHANGED: u32 = 6;
const RECEIVED: u32 = 7;
const EDITED: u32 = 8;
const PRESENCE: u32 = 9;
const STATELESS: u32 = 10;
const REFUSED: u32 = 11;

pub(super) fn to_js(effect: &Effect) -> Array {
    let number = |value: u32| JsValue::from_f64(f64::from(value));
    let bytes = |bytes: &[u8]| JsValue::from(Uint8Array::from(bytes));
    match effect {
        Effect::Connect => array([number(CONNECT)]),
        Effect::Send(frame) => array([number(SEND), bytes(frame)]),
        Effect::Disconnect => array([number(DISCONNECT)]),
        Effect::WantToken { document, because } => {
            let because = because.as_deref().map_or(JsValue::UNDEFINED, JsValue::from_str);
            array([number(WANT_TOKEN), number(document.0), because])
        }
        Effect::State { document, state, reason } => {
            let state = match state {
                State::Connecting => "connecting",
                State::Synced => "synced",
                State::Saved => "saved",
                State::Offline => "offline",
                State::Denied => "denied",
            };
            array([number(STATE), number(document.0), JsValue::from_str(state), JsValue::from_str(reason)])
        }
        Effect::Unsaved { document, count } => {
            array([number(UNSAVED), number(document.0), JsValue::from_f64(*count as f64)])
        }
        Effect::Changed { document } => array([number(CHANGED), number(document.0)]),
        Effect::Received { document, update } => array([number(RECEIVED), number(document.0), bytes(update)]),
        Effect::Edited { document, update } => array([number(EDITED), number(document.0), bytes(update)]),
        Effect::Presence { document, told } => {
            let clients = |clients: &[u64]| -> JsValue {
                clients.iter().map(|client| JsValue::from_f64(*client as f64)).collect::<Array>().into()
            };
            let (added, updated, removed) = (clients(&told.added), clients(&told.updated), clients(&told.removed));
            array([number(PRESENCE), number(document.0), added, updated, removed])
        }
        Effect::Stateless { document, payload } => {
            array([number(STATELESS), number(document.0), JsValue::from_str(payload)])
        }
        Effect::Refused { document } => array([number(REFUSED), number(document.0)]),
    }
}

fn array<const N: usize>(values: [JsValue; N]) -> Array {
    values.into_iter().collect()
}
