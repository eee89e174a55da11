//! Somebody in a room's call as a page is: a WebSocket for signalling, one connection that sends and one that receives. Ours alone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use str0m::change::SdpPendingOffer;
use str0m::media::MediaKind;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::client::{Client, Connection, Studio};
use super::picture::{Source, Stream};
use super::site::Own;

/// How long joining may take.
const PATIENCE: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Dropping it is to vanish.
#[derive(Debug)]
pub struct Participant {
    shared: Rc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    sending: RefCell<Option<Rc<Client>>>,
    receiving: RefCell<Option<Rc<Client>>>,
    /// Sections of the server's offers.
    offers: Cell<u64>,
    trouble: RefCell<Option<String>>,
}

/// The largest layer of others' pictures that is asked for: `low`, which needs not be said, `middle` or `high`.
pub type Layer = String;

impl Participant {
    /// Joins and sends at once, voice and picture in layers.
    pub async fn join(
        studio: &Studio,
        address: SocketAddr,
        own: &Own,
        source: Source,
        layer: Layer,
    ) -> anyhow::Result<Self> {
        let url = format!("ws://{address}/api/v1/rooms/{}/media?token={}", own.room, own.token);
        let (socket, _) = connect_async(url).await.context("the call's socket")?;
        let shared = Rc::new(Shared::default());
        let mut page = Page {
            studio: studio.clone(),
            socket,
            shared: shared.clone(),
            sent: None,
            layer,
            asked: BTreeSet::new(),
            own: String::new(),
        };
        tokio::time::timeout(PATIENCE, page.join(source)).await.context("joining the call")??;
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = page.run().await {
                page.shared.trouble.replace(Some(format!("{error:#}")));
            }
        });
        let participant = Self { shared, task };
        let sending = participant.shared.sending.borrow().clone().context("nothing is sent")?;
        sending.connected().await.context("what is sent")?;
        Ok(participant)
    }

    /// What is received, once there is something.
    pub fn receiving(&self) -> Option<Rc<Client>> {
        self.shared.receiving.borrow().clone()
    }

    /// What went wrong.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.borrow().clone()
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Page {
    studio: Studio,
    socket: Socket,
    shared: Rc<Shared>,
    /// What is offered and not answered.
    sent: Option<(Connection, SdpPendingOffer)>,
    layer: Layer,
    asked: BTreeSet<String>,
    own: String,
}

impl Page {
    async fn join(&mut self, source: Source) -> anyhow::Result<()> {
        self.say(&json!({"type": "join", "resume": null})).await?;
        while self.own.is_empty() {
            self.next().await?;
        }
        let mut connection = self.studio.connection()?;
        let (sdp, pending) = connection.offer_to_send(source, true)?;
        let name = |kind| if kind == MediaKind::Audio { "microphone" } else { "camera" };
        let sections: Vec<_> =
            connection.sections().map(|(mid, kind)| json!({"mid": mid, "source": name(kind)})).collect();
        self.sent = Some((connection, pending));
        for source in ["microphone", "camera"] {
            self.say(&json!({"type": "set", "source": source, "state": "on"})).await?;
        }
        self.say(&json!({"type": "offer", "neg": 1, "sdp": sdp, "sections": sections})).await?;
        while self.sent.is_some() {
            self.next().await?;
        }
        Ok(())
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        loop {
            self.next().await?;
        }
    }

    async fn next(&mut self) -> anyhow::Result<()> {
        let message = self.socket.next().await.context("the server is gone")??;
        let Message::Text(text) = message else {
            if let Message::Close(reason) = message {
                bail!("the server ended the call's socket: {reason:?}");
            }
            return Ok(());
        };
        let said: Value = serde_json::from_str(&text)?;
        match said["type"].as_str().unwrap_or_default() {
            "joined" => said["participant"].as_str().unwrap_or_default().clone_into(&mut self.own),
            "answer" => {
                let (mut connection, pending) = self.sent.take().context("an answer to nothing")?;
                connection.answered(pending, text_of(&said, "sdp")?)?;
                self.shared.sending.replace(Some(Rc::new(connection.run())));
            }
            "offer" => {
                let answer = self.answer(text_of(&said, "sdp")?.to_owned()).await?;
                self.say(&json!({"type": "answer", "neg": said["neg"], "sdp": answer})).await?;
            }
            "needed" if said["source"] == "camera" => {
                if let Some(sending) = &*self.shared.sending.borrow() {
                    sending.stop_above(Stream::of_layer(said["layer"].as_str()));
                }
            }
            "call" if self.layer != "low" => self.ask(&said).await?,
            "ended" | "refused" => bail!("{text}"),
            _ => {}
        }
        Ok(())
    }

    async fn answer(&self, offer: String) -> anyhow::Result<String> {
        self.shared.offers.set(self.shared.offers.get() + 1);
        let running = self.shared.receiving.borrow().clone();
        if let Some(running) = running {
            return running.answer(offer).await;
        }
        let mut connection = self.studio.connection()?;
        let answer = connection.answer(&offer)?;
        self.shared.receiving.replace(Some(Rc::new(connection.run())));
        Ok(answer)
    }

    async fn ask(&mut self, call: &Value) -> anyhow::Result<()> {
        let tracks = call["participants"].as_array().into_iter().flatten();
        let tracks = tracks.flat_map(|one| one["tracks"].as_array().into_iter().flatten());
        let cameras = tracks.filter(|track| track["source"] == "camera").filter_map(|track| track["id"].as_str());
        let others: Vec<_> = cameras.filter(|track| !track.starts_with(&self.own)).map(ToOwned::to_owned).collect();
        for track in others {
            if self.asked.insert(track.clone()) {
                self.say(&json!({"type": "want", "track": track, "layer": self.layer})).await?;
            }
        }
        Ok(())
    }

    async fn say(&mut self, what: &Value) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(what.to_string())).await?)
    }
}

fn text_of<'a>(said: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    said[key].as_str().with_context(|| format!("no {key} in {said}"))
}
