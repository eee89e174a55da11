//! How clients begin and end: by WHIP and WHEP where a server speaks them, by Janus' own interface there.

use std::cell::Cell;
use std::net::SocketAddr;

use anyhow::Context;
use serde_json::{Value, json};
use str0m::change::SdpPendingOffer;
use str0m::rtp::Ssrc;

use super::client::{Client, Connection, Studio};
use super::picture::Source;
use super::{http, janus};
use crate::servers::{Kind, Server};

const DESCRIPTION: &str = "application/sdp";

/// One room of a server.
#[derive(Debug)]
pub struct Site {
    address: SocketAddr,
    room: Room,
}

#[derive(Debug)]
enum Room {
    Whip { room: String, token: String },
    Janus { number: u64, feed: Cell<Option<u64>> },
}

/// A room of ours, and a token that may do anything there.
#[derive(Clone, Debug)]
pub struct Own {
    pub room: String,
    pub token: String,
}

impl Own {
    pub async fn make(address: SocketAddr) -> anyhow::Result<Self> {
        let post = async |path, token: &str, body: Value| {
            let answer = http::request(address, ("POST", path), token, "application/json", &body.to_string()).await?;
            anyhow::ensure!((200..300).contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
            anyhow::Ok(serde_json::from_str::<Value>(&answer.body)?)
        };
        let session = post("/api/v1/sessions", "", json!({"name": "Host"})).await?;
        let token = session["token"].as_str().context("a session has a token")?.to_owned();
        let room = post("/api/v1/rooms", &token, json!({"title": "Call", "template": "python"})).await?;
        Ok(Self { room: room["id"].as_str().context("a room has an id")?.to_owned(), token })
    }
}

/// A client and its place in the room.
#[derive(Debug)]
pub struct Guest {
    pub client: Client,
    /// The name of its connection at the server, which its checks are for.
    pub fragment: String,
    address: SocketAddr,
    session: Session,
}

#[derive(Debug)]
enum Session {
    Whip { path: String, token: String },
    Janus(janus::Handle),
}

impl Site {
    /// A room that nobody used before.
    pub async fn open(server: &Server) -> anyhow::Result<Self> {
        let address = server.target.address;
        let room = match server.kind {
            Kind::Janus => {
                let number = u64::from(rand::random::<u32>()) + 1;
                let create = json!({"request": "create", "room": number, "publishers": 1000, "bitrate": 0,
                                    "audiocodec": "opus", "videocodec": "vp8"});
                janus::Handle::attach(address).await?.say(create, None).await?;
                Room::Janus { number, feed: Cell::new(None) }
            }
            Kind::Forwarder => Room::Whip { room: format!("{:08x}", rand::random::<u32>()), token: String::new() },
            _ => {
                let Own { room, token } = Own::make(address).await?;
                Room::Whip { room, token }
            }
        };
        Ok(Self { address, room })
    }

    /// The room, and a token for it, where there is one.
    pub fn own(&self) -> Option<Own> {
        match &self.room {
            Room::Whip { room, token } if !token.is_empty() => Some(Own { room: room.clone(), token: token.clone() }),
            Room::Whip { .. } | Room::Janus { .. } => None,
        }
    }

    /// Somebody who sends, once connected.
    pub async fn publish(&self, studio: &Studio, source: Source, layers: bool) -> anyhow::Result<Guest> {
        let mut connection = studio.connection()?;
        let offered = connection.offer_to_send(source, layers)?;
        self.begin(connection, offered, None).await
    }

    /// The same in one layer, under SSRCs that may be another's.
    pub async fn publish_as(&self, studio: &Studio, source: Source, names: &[Ssrc]) -> anyhow::Result<Guest> {
        let mut connection = studio.connection()?;
        let offered = connection.offer_to_send(source, false)?;
        self.begin(connection, offered, Some(names)).await
    }

    async fn begin(
        &self,
        mut connection: Connection,
        (offer, pending): (String, SdpPendingOffer),
        names: Option<&[Ssrc]>,
    ) -> anyhow::Result<Guest> {
        let (answer, session) = match &self.room {
            Room::Whip { room, token } => self.post((room, token), "whip", &offer).await?,
            Room::Janus { number, feed } => {
                let handle = janus::Handle::attach(self.address).await?;
                let join = json!({"request": "join", "ptype": "publisher", "room": number});
                let (joined, _) = handle.say(join, None).await?;
                feed.set(Some(joined["id"].as_u64().context("no number of the publisher")?));
                let (_, answer) = handle.say(json!({"request": "configure"}), Some(("offer", &offer))).await?;
                (answer.context("no answer")?, Session::Janus(handle))
            }
        };
        connection.answered(pending, &answer)?;
        if let Some(names) = names {
            connection.rename(names)?;
        }
        let guest = self.guest(connection, &answer, session);
        guest.client.connected().await?;
        Ok(guest)
    }

    /// Somebody who receives what the last publisher sends. It may not be connected yet.
    pub async fn watch(&self, studio: &Studio) -> anyhow::Result<Guest> {
        let mut connection = studio.connection()?;
        let (described, session) = match &self.room {
            Room::Whip { room, token } => {
                let (offer, pending) = connection.offer_to_receive()?;
                let (answer, session) = self.post((room, token), "whep", &offer).await?;
                connection.answered(pending, &answer)?;
                (answer, session)
            }
            Room::Janus { number, feed } => {
                let handle = janus::Handle::attach(self.address).await?;
                let feed = feed.get().context("nobody publishes yet")?;
                let join =
                    json!({"request": "join", "ptype": "subscriber", "room": number, "streams": [{"feed": feed}]});
                let (_, offer) = handle.say(join, None).await?;
                let offer = offer.context("no offer")?;
                let answer = connection.answer(&offer)?;
                handle.say(json!({"request": "start"}), Some(("answer", &answer))).await?;
                (offer, Session::Janus(handle))
            }
        };
        Ok(self.guest(connection, &described, session))
    }

    fn guest(&self, connection: Connection, described: &str, session: Session) -> Guest {
        let fragment = described.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap_or_default();
        Guest { client: connection.run(), fragment: fragment.to_owned(), address: self.address, session }
    }

    async fn post(&self, (room, token): (&str, &str), way: &str, offer: &str) -> anyhow::Result<(String, Session)> {
        let path = format!("/media/{room}/{way}");
        let answer = http::request(self.address, ("POST", &path), token, DESCRIPTION, offer).await?.expect(201)?;
        let path = answer.location.with_context(|| format!("no place of the session: {path}"))?;
        Ok((answer.body, Session::Whip { path, token: token.to_owned() }))
    }
}

impl Guest {
    /// Says goodbye.
    pub async fn leave(self) -> anyhow::Result<()> {
        match &self.session {
            Session::Whip { path, token } => {
                http::request(self.address, ("DELETE", path), token, DESCRIPTION, "").await?.expect(200)?
            }
            Session::Janus(handle) => return handle.destroy().await,
        };
        Ok(())
    }
}
