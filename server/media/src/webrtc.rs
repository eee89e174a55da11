//! The real [`Transport`]: connections of the crate `webrtc`, all over one UDP port ([`mux`]), and TCP where no UDP passes ([`tcp`]).
//!
//! - ICE-lite: we only answer checks, so nothing is ever sent to an address that has not proven that it knows a connection's
//!   password, and no address of a page needs to be known.
//! - Opus and VP8, which every browser speaks, and H.264 for programs that encode nothing else: pages receive it too. Retransmissions have a stream of their own (RTX) only towards receivers: the crate
//!   cannot tell a simulcast layer's, and without it browsers repeat packets as they were.
//! - What receivers are sent does not pass the crate, which takes a turn of a task and some twenty queues for each packet, but goes from
//!   the task of its track straight to the port ([`lane`]). What receivers ask for and report is read before the crate routes it
//!   ([`feedback`]).

mod estimate;
mod feedback;
mod gate;
mod keys;
mod lane;
mod mux;
mod nomination;
mod peer;
mod port;
mod sent;
mod stun;
mod tcp;
mod trend;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use buildspaces_kernel::tasks::Tasks;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::codec::Codec;
use crate::ports::{Publisher, PublisherEvent, Subscriber, SubscriberEvent, Transport, TransportError};
use mux::Mux;
use peer::{PublisherPeer, SubscriberPeer};
use tcp::TcpConnection;

pub use tcp::is_media;

/// Events of one connection that wait for its task. See [`Transport`] for what happens when it is full.
const EVENTS: usize = 64;

/// Clones share the port.
#[derive(Clone, Debug)]
pub struct WebRtc {
    mux: Arc<Mux>,
}

impl WebRtc {
    /// Takes the port. `addresses` are where pages reach this machine; the port's own if there are none. `takes_tcp`: pages are told that
    /// they may come by TCP, too, and somebody brings those connections to [`WebRtc::carry`].
    pub fn bind(listen: SocketAddr, addresses: &[IpAddr], takes_tcp: bool, tasks: &Tasks) -> io::Result<Self> {
        let mux = Mux::bind(listen, addresses, takes_tcp)?;
        let reading = mux.clone();
        let stop = tasks.clone();
        tasks.spawn("media port", async move {
            tokio::select! {
                () = reading.read() => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(Self { mux })
    }

    /// Where pages are told to send.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.mux.addresses()
    }

    /// Serves a connection by TCP that began as one of media ([`is_media`]), to its end. Dropping it hangs up.
    pub async fn carry(&self, socket: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        match TcpConnection::new(socket, peer) {
            Ok(connection) => Arc::new(connection).carry(&self.mux).await,
            Err(error) => tracing::debug!(%error, "a TCP connection of media could not be set up"),
        }
    }
}

#[async_trait]
impl Transport for WebRtc {
    async fn publisher(
        &self,
        picture: Codec,
    ) -> Result<(Box<dyn Publisher>, mpsc::Receiver<PublisherEvent>), TransportError> {
        let (events, received) = mpsc::channel(EVENTS);
        Ok((Box::new(PublisherPeer::new(&self.mux, picture, events).await?), received))
    }

    async fn subscriber(&self) -> Result<(Box<dyn Subscriber>, mpsc::Receiver<SubscriberEvent>), TransportError> {
        let (events, received) = mpsc::channel(EVENTS);
        Ok((Box::new(SubscriberPeer::new(&self.mux, events).await?), received))
    }
}
