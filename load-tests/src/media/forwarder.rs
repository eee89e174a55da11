//! A forwarder of packets on str0m without rooms' rules, layers, signalling of its own or any limit: what moving the packets costs with
//! another WebRTC stack. Ours is compared with it, as with the relay where documents are concerned. Do not put it on a network.
//!
//! It speaks WHIP and WHEP at the paths of ours. One thread has the one UDP port and all connections; HTTP has another.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use str0m::change::SdpOffer;
use str0m::crypto::CryptoProvider;
use str0m::media::{KeyframeRequestKind, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// How often connections are looked at that want to be woken.
const TICK: Duration = Duration::from_millis(10);

/// Larger than what any path carries in one piece.
const LARGEST: usize = 2048;

enum Command {
    Join { id: u64, peer: Box<Peer> },
    Leave(u64),
}

#[derive(Clone)]
struct Web {
    commands: Sender<Command>,
    address: SocketAddr,
    crypto: Arc<CryptoProvider>,
}

/// Serves until it is dropped; the thread with the connections goes on until the process ends.
pub async fn serve(listener: tokio::net::TcpListener) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(listener.local_addr()?)?;
    let address = socket.local_addr()?;
    let (commands, waiting) = channel();
    std::thread::spawn(move || Forwarder::new(socket, address).run(&waiting));
    let web = Web { commands, address, crypto: super::crypto::provider() };
    let router = Router::new()
        .route("/media/{room}/{way}", post(join))
        .route("/media/{room}/{way}/{id}", delete(leave))
        .with_state(web);
    Ok(axum::serve(listener, router).await?)
}

async fn join(State(web): State<Web>, Path((room, way)): Path<(String, String)>, offer: String) -> Response {
    let answer = || {
        let config = RtcConfig::new().set_crypto_provider(web.crypto.clone()).set_rtp_mode(true).set_ice_lite(true);
        let mut rtc = config.clear_codecs().enable_vp8(true).enable_opus(true, false).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(web.address, "udp")?);
        let answer = rtc.sdp_api().accept_offer(SdpOffer::from_sdp_string(&offer)?)?;
        let peer = Box::new(Peer::new(rtc, room.clone(), way == "whip"));
        anyhow::Ok((peer, answer.to_sdp_string()))
    };
    match answer() {
        Ok((peer, answer)) => {
            let id = rand::random();
            let _ = web.commands.send(Command::Join { id, peer });
            let place = format!("/media/{room}/{way}/{id}");
            (StatusCode::CREATED, [(header::LOCATION, place)], answer).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

async fn leave(State(web): State<Web>, Path((_, _, id)): Path<(String, String, u64)>) {
    let _ = web.commands.send(Command::Leave(id));
}

struct Peer {
    rtc: Rtc,
    room: String,
    publishes: bool,
    connected: bool,
    wakes: Instant,
    /// Its lines, with the number of the codec where it is known.
    lines: Vec<(Mid, MediaKind, Option<Pt>)>,
    /// Of its picture.
    ssrc: Option<Ssrc>,
}

impl Peer {
    fn new(rtc: Rtc, room: String, publishes: bool) -> Self {
        Self { rtc, room, publishes, connected: false, wakes: Instant::now(), lines: Vec::new(), ssrc: None }
    }

    fn forward(&mut self, kind: MediaKind, packet: &RtpPacket) {
        let Some((mid, _, number)) = self.lines.iter_mut().find(|(_, of, _)| *of == kind) else { return };
        let known = number.or_else(|| self.rtc.media(*mid)?.remote_pts().first().copied());
        let Some(known) = known else { return };
        *number = Some(known);
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(*mid, None) else { return };
        let time = packet.header.timestamp;
        let out = RtpWrite::new(known, packet.seq_no, time, packet.timestamp, packet.payload.clone());
        stream.write_rtp(out.marker(packet.header.marker).nackable(kind == MediaKind::Video));
    }
}

struct Forwarder {
    socket: UdpSocket,
    address: SocketAddr,
    peers: HashMap<u64, Peer>,
    addresses: HashMap<SocketAddr, u64>,
    received: Vec<(MediaKind, RtpPacket)>,
    /// Rooms in which somebody wants a keyframe.
    wanted: Vec<String>,
}

impl Forwarder {
    fn new(socket: UdpSocket, address: SocketAddr) -> Self {
        let (peers, addresses) = (HashMap::new(), HashMap::new());
        Self { socket, address, peers, addresses, received: Vec::new(), wanted: Vec::new() }
    }

    fn run(mut self, commands: &Receiver<Command>) {
        let mut buffer = [0; LARGEST];
        let mut ticked = Instant::now();
        let _ = self.socket.set_read_timeout(Some(TICK));
        loop {
            while let Ok(command) = commands.try_recv() {
                match command {
                    Command::Join { id, peer } => {
                        self.peers.insert(id, *peer);
                        self.wake(id);
                    }
                    Command::Leave(id) => self.forget(id),
                }
            }
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => self.take(&buffer[..len], from),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {}
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                let due: Vec<_> =
                    self.peers.iter().filter(|(_, peer)| peer.wakes <= ticked).map(|(id, _)| *id).collect();
                due.into_iter().for_each(|id| self.wake(id));
            }
            self.ask();
        }
    }

    fn forget(&mut self, id: u64) {
        self.peers.remove(&id);
        self.addresses.retain(|_, of| *of != id);
    }

    fn take(&mut self, packet: &[u8], source: SocketAddr) {
        let Ok(contents) = packet.try_into() else { return };
        let receive = Receive { proto: Protocol::Udp, source, destination: self.address, contents };
        let input = Input::Receive(Instant::now(), receive);
        let known = self.addresses.get(&source).copied().filter(|id| self.peers.contains_key(id));
        let accepting = || self.peers.iter().find(|(_, peer)| peer.rtc.accepts(&input)).map(|(id, _)| *id);
        let Some(id) = known.or_else(accepting) else { return };
        self.addresses.insert(source, id);
        self.handle(id, input);
    }

    fn wake(&mut self, id: u64) {
        self.handle(id, Input::Timeout(Instant::now()));
    }

    fn handle(&mut self, id: u64, input: Input<'_>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let handled = peer.rtc.handle_input(input).is_ok();
        let is_alive =
            handled && drain(peer, &self.socket, &mut self.received, &mut self.wanted) && peer.rtc.is_alive();
        if !is_alive {
            return self.forget(id);
        }
        if self.received.is_empty() {
            return;
        }
        let room = peer.room.clone();
        for (kind, packet) in std::mem::take(&mut self.received) {
            let takes = |peer: &&mut Peer| !peer.publishes && peer.connected && peer.room == room;
            for peer in self.peers.values_mut().filter(takes) {
                peer.forward(kind, &packet);
                drain(peer, &self.socket, &mut self.received, &mut self.wanted);
                // What was written leaves with the next moment that str0m is told of.
                let now = Instant::now();
                if peer.wakes <= now && peer.rtc.handle_input(Input::Timeout(now)).is_ok() {
                    drain(peer, &self.socket, &mut self.received, &mut self.wanted);
                }
            }
        }
    }

    fn ask(&mut self) {
        for room in std::mem::take(&mut self.wanted) {
            for peer in self.peers.values_mut().filter(|peer| peer.publishes && peer.room == room) {
                let Some(ssrc) = peer.ssrc else { continue };
                if let Some(stream) = peer.rtc.direct_api().stream_rx(&ssrc) {
                    stream.request_keyframe(KeyframeRequestKind::Pli);
                }
                drain(peer, &self.socket, &mut self.received, &mut self.wanted);
            }
        }
    }
}

/// Until there is nothing to do for a peer. False if it failed.
fn drain(
    peer: &mut Peer,
    socket: &UdpSocket,
    received: &mut Vec<(MediaKind, RtpPacket)>,
    wanted: &mut Vec<String>,
) -> bool {
    loop {
        match peer.rtc.poll_output() {
            Ok(Output::Timeout(wakes)) => {
                peer.wakes = wakes;
                return true;
            }
            Ok(Output::Transmit(out)) => {
                let _ = socket.send_to(&out.contents, out.destination);
            }
            Ok(Output::Event(event)) => match event {
                Event::Connected => {
                    peer.connected = true;
                    if !peer.publishes {
                        wanted.push(peer.room.clone());
                    }
                }
                Event::MediaAdded(media) => peer.lines.push((media.mid, media.kind, None)),
                Event::RtpPacket(packet) if peer.publishes => {
                    let kind =
                        if packet.time.frequency().get() == 48_000 { MediaKind::Audio } else { MediaKind::Video };
                    if kind == MediaKind::Video {
                        peer.ssrc = Some(packet.header.ssrc);
                    }
                    received.push((kind, packet));
                }
                Event::KeyframeRequest(_) => wanted.push(peer.room.clone()),
                _ => {}
            },
            Err(_) => return false,
        }
    }
}
