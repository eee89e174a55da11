//! A [`RoomClient`] with whoever opens its sockets: [`Session`], for programs in Rust. In JavaScript `ts/client.ts` has its part.
//!
//! It is the loop that [`room`](crate::room) describes, and still without IO: a [`Transport`] does what it is told and returns at once;
//! what comes of it is handed to [`Session::handle`] by whoever owns both, as is the time.

use bytes::Bytes;

use crate::document::{Document, Error};
use crate::room::{Config, DocumentId, Effect, Input, RoomClient};

/// Opens sockets and gets tokens.
pub trait Transport {
    /// Opens a socket in the place of any other; [`Input::Opened`] or [`Input::Closed`] is the answer.
    fn connect(&mut self);
    /// Sends a binary message by the socket that is open. Without one it is lost, and will be sent again after the next greeting.
    fn send(&mut self, frame: Bytes);
    /// Closes the socket. Nothing that came by it may be handed on after this.
    fn disconnect(&mut self);
    /// Gets a token for a document; [`Input::Token`] or [`Input::NoToken`] is the answer. `because` is why the last one was refused.
    fn token(&mut self, document: DocumentId, name: &str, because: Option<&str>);
}

/// A client with its transport.
pub struct Session<T> {
    client: RoomClient,
    transport: T,
    events: Vec<Effect>,
}

impl<T: Transport> Session<T> {
    pub fn new(config: Config, transport: T) -> Self {
        Self { client: RoomClient::new(config), transport, events: Vec::new() }
    }

    /// To look at it; whatever changes it goes through [`Session::with`].
    pub fn client(&self) -> &RoomClient {
        &self.client
    }

    pub fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Does something with the client and performs what follows of it.
    pub fn with<R>(&mut self, call: impl FnOnce(&mut RoomClient) -> R) -> R {
        let result = call(&mut self.client);
        for effect in self.client.take_effects() {
            match effect {
                Effect::Connect => self.transport.connect(),
                Effect::Send(frame) => self.transport.send(frame),
                Effect::Disconnect => self.transport.disconnect(),
                Effect::WantToken { document, because } => {
                    let name = self.client.name(document).unwrap_or_default();
                    self.transport.token(document, name, because.as_deref());
                }
                event => self.events.push(event),
            }
        }
        result
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: u64, input: Input) {
        self.with(|client| client.handle(now, input));
    }

    /// Changes an open document, and sends the change.
    pub fn edit<R>(
        &mut self,
        document: DocumentId,
        edit: impl FnOnce(&mut Document) -> Result<R, Error>,
    ) -> Option<Result<R, Error>> {
        self.with(|client| {
            let result = edit(client.document_mut(document)?);
            client.edited(document);
            Some(result)
        })
    }

    /// What became known since the last call: states, changes, presence, and so on.
    pub fn take_events(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Kind;
    use crate::room::State;
    use buildspaces_crdt::protocol::hocuspocus;

    /// Notes what it was told.
    #[derive(Default)]
    struct Notes {
        told: Vec<String>,
        sent: Vec<Bytes>,
    }

    impl Transport for Notes {
        fn connect(&mut self) {
            self.told.push("connect".to_owned());
        }

        fn send(&mut self, frame: Bytes) {
            self.sent.push(frame);
        }

        fn disconnect(&mut self) {
            self.told.push("disconnect".to_owned());
        }

        fn token(&mut self, _document: DocumentId, name: &str, because: Option<&str>) {
            self.told.push(format!("token for {name} {because:?}"));
        }
    }

    #[test]
    fn the_transport_is_told_what_to_do_and_the_owner_what_is_known() {
        let mut session = Session::new(Config::default(), Notes::default());
        let id = session.with(|client| {
            client.connect(0);
            client.open(0, "notes")
        });
        session.handle(1, Input::Opened);
        assert_eq!(session.transport().told, ["connect", "token for notes None"]);
        session.handle(2, Input::Token { document: id, token: "t".to_owned() });
        let greeting = session.transport().sent.len();
        assert!(greeting > 0);
        let edited = session.edit(id, |document| {
            let text = document.root("text", Kind::Text);
            document.insert_text(2, text, 0, "hello", None)
        });
        assert_eq!(edited, Some(Ok(())));
        assert_eq!(session.transport().sent.len(), greeting, "nothing is said before the server has answered");
        assert!(session.take_events().contains(&Effect::Unsaved { document: id, count: 1 }));
        let granted = [&hocuspocus::address("notes")[..], &hocuspocus::authenticated(true)].concat();
        session.handle(3, Input::Frame(granted.into()));
        session.handle(4, Input::Closed { code: 1006, reason: String::new() });
        assert!(session.take_events().iter().any(|event| matches!(event, Effect::State { state: State::Offline, .. })));
        assert_eq!(session.edit(DocumentId(77), |_| Ok(())), None);
        session.with(RoomClient::disconnect);
        assert_eq!(session.client().unsaved(id), 1);
    }
}
