//! One UDP port for all connections. The crate wants sockets of its own for each connection; [`Runtime`] hands it [`Inbox`]es
//! instead, which send through the port and receive what the port's task sorts into them.
//!
//! Whose a packet is says the address it comes from, once a check (STUN binding request) from there named the connection by the
//! fragment in its description, and proved that it knows the password there. Whatever does not is dropped, before anything is allocated.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ring::hmac;
use tokio::net::UdpSocket;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

use crate::meters;

/// Packets that wait for one connection. When so many do, the next is dropped, as a full socket would do.
const INBOX: usize = 1024;

/// Addresses of one connection: a page has a handful, and what is above is somebody's play.
const ADDRESSES: usize = 16;

/// Larger than what any path carries in one piece.
const LARGEST: usize = 2048;

/// Packets that are sorted before the runtime may do something else.
const AT_ONCE: usize = 256;

/// Bytes that are asked from the allocator at once, for many packets.
const CHUNK: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Mux {
    socket: UdpSocket,
    addresses: Vec<SocketAddr>,
    table: Mutex<Table>,
}

#[derive(Default, Debug)]
struct Table {
    /// By the fragments in our descriptions, with the passwords there.
    fragments: HashMap<String, (hmac::Key, Arc<Inbox>)>,
    addresses: HashMap<SocketAddr, Arc<Inbox>>,
}

/// A connection's place in the table; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Place {
    mux: Arc<Mux>,
    inbox: Arc<Inbox>,
}

/// What a connection has instead of a socket.
#[derive(Debug)]
pub(super) struct Inbox {
    mux: Arc<Mux>,
    /// The address of the socket that the crate bound and that is gone. It names the local end in the crate alone.
    local: Mutex<Option<SocketAddr>>,
    waiting: Mutex<Waiting>,
}

#[derive(Default, Debug)]
struct Waiting {
    packets: VecDeque<(Bytes, SocketAddr)>,
    reader: Option<Waker>,
}

impl Mux {
    pub(super) fn bind(listen: SocketAddr, addresses: &[IpAddr]) -> io::Result<Arc<Self>> {
        let socket = std::net::UdpSocket::bind(listen)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let own = socket.local_addr()?;
        let addresses = if addresses.is_empty() { vec![own.ip()] } else { addresses.to_vec() };
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, own.port())).collect();
        Ok(Arc::new(Self { socket, addresses, table: Mutex::default() }))
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Sorts what arrives, until it is dropped.
    pub(super) async fn read(&self) {
        let mut buffer = BytesMut::new();
        loop {
            if self.socket.readable().await.is_err() {
                continue;
            }
            // Whatever is there, before the socket is waited for again.
            for turn in 1_usize.. {
                // The runtime does not see these reads: without this a flood would keep everything else from this thread.
                if turn.is_multiple_of(AT_ONCE) {
                    tokio::task::yield_now().await;
                }
                if buffer.capacity() < LARGEST {
                    buffer.reserve(CHUNK);
                }
                match self.socket.try_recv_buf_from(&mut buffer) {
                    Ok((_, from)) => self.sort(buffer.split().freeze(), canonical(from)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What somebody could not be sent before; nothing about this port.
                    Err(_) => {}
                }
            }
        }
    }

    fn sort(&self, packet: Bytes, from: SocketAddr) {
        meters::UDP_RECEIVED.increment(1);
        let mut table = self.table();
        let inbox = match fragment(&packet) {
            // A check tells anew whose the address is: a page that joins again may come from the same one.
            Some(fragment) => table.fragments.get(fragment).and_then(|(password, inbox)| {
                let known = table.addresses.get(&from).is_some_and(|known| Arc::ptr_eq(known, inbox));
                (known || (is_genuine(&packet, password) && table.count(inbox) < ADDRESSES)).then(|| inbox.clone())
            }),
            None => table.addresses.get(&from).cloned(),
        };
        if let Some(inbox) = &inbox {
            table.addresses.insert(from, inbox.clone());
        }
        drop(table);
        match inbox {
            Some(inbox) => inbox.put(packet, from),
            None => meters::UDP_STRANGE.increment(1),
        }
    }

    fn send(&self, packet: &[u8], to: SocketAddr) -> io::Result<usize> {
        let to = match (self.socket.local_addr()?, to) {
            (SocketAddr::V6(_), SocketAddr::V4(to)) => SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port()),
            _ => to,
        };
        match self.socket.try_send_to(packet, to) {
            // A full socket drops, as the network would; waiting here would hold up everybody behind one port.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                meters::UDP_DROPPED.increment(1);
                Ok(packet.len())
            }
            result => result,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("the table is only read and written")
    }
}

impl Table {
    fn count(&self, inbox: &Arc<Inbox>) -> usize {
        self.addresses.values().filter(|other| Arc::ptr_eq(other, inbox)).count()
    }
}

impl Place {
    pub(super) fn new(mux: &Arc<Mux>) -> Self {
        let inbox = Inbox { mux: mux.clone(), local: Mutex::default(), waiting: Mutex::default() };
        Self { mux: mux.clone(), inbox: Arc::new(inbox) }
    }

    /// Whoever names this fragment in a check, and knows the password, is heard by this connection. What it was named before counts no more.
    pub(super) fn named(&self, fragment: &str, password: &str) {
        let password = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let mut table = self.mux.table();
        table.fragments.retain(|_, (_, inbox)| !Arc::ptr_eq(inbox, &self.inbox));
        table.fragments.insert(fragment.to_owned(), (password, self.inbox.clone()));
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        self.mux.addresses()
    }

    /// An address of the right family for the socket that the crate binds and [`Runtime`] replaces.
    pub(super) fn throw_away(&self) -> SocketAddr {
        let is_v4 = self.mux.addresses.first().is_none_or(SocketAddr::is_ipv4);
        let ip: IpAddr = if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        SocketAddr::new(ip, 0)
    }

    pub(super) fn runtime(&self) -> MuxRuntime {
        MuxRuntime { tokio: TokioRuntime, inbox: self.inbox.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.mux.table();
        table.fragments.retain(|_, (_, inbox)| !Arc::ptr_eq(inbox, &self.inbox));
        table.addresses.retain(|_, inbox| !Arc::ptr_eq(inbox, &self.inbox));
    }
}

impl Inbox {
    fn put(&self, packet: Bytes, from: SocketAddr) {
        let mut waiting = self.waiting();
        if waiting.packets.len() >= INBOX {
            meters::UDP_DROPPED.increment(1);
            return;
        }
        waiting.packets.push_back((packet, from));
        let reader = waiting.reader.take();
        drop(waiting);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("what waits is only pushed and popped")
    }
}

impl AsyncUdpSocket for Inbox {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        let local = *self.local.lock().expect("an address is only read and written");
        local.ok_or_else(|| io::Error::other("the connection has no socket yet"))
    }

    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        Poll::Ready(self.mux.send(transmit.contents, transmit.destination))
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut waiting = self.waiting();
        let mut count = 0;
        while count < buffers.len().min(meta.len()) {
            let Some((packet, from)) = waiting.packets.pop_front() else { break };
            let len = packet.len().min(buffers[count].len());
            buffers[count][..len].copy_from_slice(&packet[..len]);
            meta[count] = RecvMeta::default();
            (meta[count].len, meta[count].stride, meta[count].addr) = (len, len.max(1), from);
            count += 1;
        }
        if count == 0 {
            waiting.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(count))
    }
}

/// Tokio, but for sockets.
#[derive(Debug)]
pub(super) struct MuxRuntime {
    tokio: TokioRuntime,
    inbox: Arc<Inbox>,
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for MuxRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        self.tokio.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        *self.inbox.local.lock().expect("an address is only read and written") = Some(socket.local_addr()?);
        Ok(self.inbox.clone())
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.tokio.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, address: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.tokio.connect_tcp(address)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        self.tokio.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        self.tokio.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The first half of the user name of a STUN binding request (RFC 8489, sections 5 and 14.3): the fragment of whom it is for.
fn fragment(packet: &[u8]) -> Option<&str> {
    const USERNAME: u16 = 0x0006;
    const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
    if packet.get(..2)? != [0, 1] || packet.get(4..8)? != COOKIE {
        return None;
    }
    let (_, value) = attribute(packet, USERNAME)?;
    std::str::from_utf8(value).ok()?.split(':').next()
}

/// Was this made by somebody who knows the password (RFC 8489, section 14.5)?
fn is_genuine(packet: &[u8], password: &hmac::Key) -> bool {
    const MESSAGE_INTEGRITY: u16 = 0x0008;
    let Some((at, tag)) = attribute(packet, MESSAGE_INTEGRITY) else { return false };
    let Ok(len) = u16::try_from(at + 4 + tag.len() - HEADER) else { return false };
    // What stands before it, with the length as if it were the last attribute.
    let mut signed = packet[..at].to_vec();
    signed[2..4].copy_from_slice(&len.to_be_bytes());
    hmac::verify(password, &signed, tag).is_ok()
}

const HEADER: usize = 20;

/// Where an attribute of a STUN message begins, and its value.
fn attribute(packet: &[u8], wanted: u16) -> Option<(usize, &[u8])> {
    let number = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let mut at = HEADER;
    loop {
        let (kind, len) = (number(at)?, usize::from(number(at + 2)?));
        let value = packet.get(at + 4..at + 4 + len)?;
        if kind == wanted {
            return Some((at, value));
        }
        at += 4 + len.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check for `name` by somebody who believes that this is the password.
    fn check(name: &str, password: &str) -> Vec<u8> {
        let mut packet = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        packet.extend([7; 12]);
        // Something before it: attributes come in any order.
        packet.extend([0x80, 0x22, 0, 3, 1, 2, 3, 0]);
        packet.extend([0, 6, 0, name.len() as u8]);
        packet.extend(name.as_bytes());
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet[3] = (packet.len() + 24 - HEADER) as u8;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let tag = hmac::sign(&key, &packet);
        packet.extend([0, 8, 0, 20]);
        packet.extend(tag.as_ref());
        // A fingerprint after it, which is not signed.
        packet.extend([0x80, 0x28, 0, 4, 1, 2, 3, 4]);
        packet[3] += 8;
        packet
    }

    #[test]
    fn a_check_names_whom_it_is_for_and_nothing_else_does() {
        let key = |password: &str| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let genuine = check("abcd:efgh", "secret");
        assert_eq!(fragment(&genuine), Some("abcd"));
        assert!(is_genuine(&genuine, &key("secret")) && !is_genuine(&genuine, &key("secreT")));
        let mut answer = genuine.clone();
        answer[0] = 1;
        assert_eq!(fragment(&answer), None);
        for cut in 0..genuine.len() - 8 {
            assert!(!is_genuine(&genuine[..cut], &key("secret")), "{cut}");
        }
        for changed in 0..genuine.len() - 8 {
            let mut forged = genuine.clone();
            forged[changed] ^= 1;
            // The length is not what it says but what is there.
            let matters = changed != 2 && changed != 3;
            assert_ne!(is_genuine(&forged, &key("secret")), matters, "{changed}");
        }
        assert_eq!(fragment(&[0x80; 40]), None);
    }

    fn waiting(place: &Place) -> usize {
        place.inbox.waiting().packets.len()
    }

    #[tokio::test]
    async fn strangers_change_nothing() {
        let mux = Mux::bind("127.0.0.1:0".parse().expect("valid"), &[]).expect("a free port");
        let place = Place::new(&mux);
        place.named("abcd", "secret");
        let from = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        for port in 1..10_000 {
            mux.sort(check("else:x", "secret").into(), from(port));
            mux.sort(check("abcd:x", "a guess").into(), from(port));
            mux.sort(vec![0x80; 30].into(), from(port));
        }
        assert_eq!((waiting(&place), mux.table().addresses.len()), (0, 0));
        // Who proves it is heard, from then on without proving it.
        mux.sort(check("abcd:x", "secret").into(), from(9));
        mux.sort(vec![0x80; 30].into(), from(9));
        assert_eq!(waiting(&place), 2);
        for port in 1..1000 {
            mux.sort(check("abcd:x", "secret").into(), from(port));
        }
        assert_eq!(mux.table().addresses.len(), ADDRESSES);
        for _ in 0..2 * INBOX {
            mux.sort(vec![0x80; 30].into(), from(9));
        }
        assert_eq!(waiting(&place), INBOX);
        // A connection that is begun anew has another name, and the one before is nobody's.
        place.named("abce", "another secret");
        assert_eq!(mux.table().fragments.len(), 1);
        let other = Place::new(&mux);
        other.named("else", "of another");
        assert_eq!(mux.table().fragments.len(), 2);
        drop(other);
        drop(place);
        let table = mux.table();
        assert_eq!((table.addresses.len(), table.fragments.len()), (0, 0));
    }
}
