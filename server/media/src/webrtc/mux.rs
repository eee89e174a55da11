//! One UDP port for all connections. The crate wants sockets of its own for each connection; [`Runtime`] hands it [`Inbox`]es
//! instead, which send through the port and receive what the port's task sorts into them, or what comes by TCP ([`super::tcp`]).
//!
//! Whose a packet is says the address it comes from, once a check (STUN binding request) from there named the connection by the
//! fragment in its description, and proved that it knows the password there. Whatever does not is dropped, before anything is allocated.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ring::hmac;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

use super::gate::Gate;
use super::nomination::{NAP, Nomination};
use super::port::{Beside, Port};
use super::stun;
use super::tcp::TcpConnection;
use crate::meters;

/// Packets that wait for one connection. When so many do, the next is dropped, as a full socket would do.
const INBOX: usize = 1024;

/// Addresses of one connection: a page has a handful. Who comes from another then takes the place of those that are not in use.
const ADDRESSES: usize = 16;

/// Larger than what any path carries in one piece.
pub(super) const LARGEST: usize = 2048;

/// Packets that are sorted before the runtime may do something else.
const AT_ONCE: usize = 256;

/// Checks of which it is remembered at which of our addresses they came, until they are answered.
const CHECKS: usize = 16;

/// Bytes that are asked from the allocator at once, for many packets.
const CHUNK: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Mux {
    port: Port,
    addresses: Vec<SocketAddr>,
    /// Whether the same addresses take TCP connections.
    takes_tcp: bool,
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
    paths: Mutex<Paths>,
}

/// Where one connection of the crate sends to.
#[derive(Default, Debug)]
struct Paths {
    /// Whom it last sent something to that is no check: the other end of the path that it chose.
    chosen: Option<SocketAddr>,
    /// A check from elsewhere was answered since. The crate may have chosen that, and will say so when it next sends something.
    is_doubtful: bool,
    /// Its connections by TCP, by the addresses at their other ends. What is sent to one that has gone is dropped: by UDP it would come to whoever is there.
    tcp: HashMap<SocketAddr, Weak<TcpConnection>>,
    /// Of a port that has several addresses: at which of them the other side looks for us, by its own. Answers to checks go from where these came.
    ours: HashMap<SocketAddr, IpAddr>,
    checks: VecDeque<(stun::Transaction, IpAddr)>,
    /// The connection of the crate has gone.
    is_over: bool,
}

#[derive(Debug)]
struct Waiting {
    gate: Gate,
    packets: VecDeque<(Bytes, SocketAddr)>,
    nomination: Nomination,
    reader: Option<Waker>,
}

impl Mux {
    pub(super) fn bind(listen: SocketAddr, addresses: &[IpAddr], takes_tcp: bool) -> io::Result<Arc<Self>> {
        let port = Port::bind(listen)?;
        let own = port.local();
        let addresses = if addresses.is_empty() { vec![own.ip()] } else { addresses.to_vec() };
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, own.port())).collect();
        Ok(Arc::new(Self { port, addresses, takes_tcp, table: Mutex::default() }))
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Sorts what arrives, until it is dropped.
    pub(super) async fn read(&self) {
        let (mut buffer, mut beside) = (BytesMut::new(), Beside::default());
        loop {
            if self.port.readable().await.is_err() {
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
                match self.port.try_recv(&mut buffer, &mut beside) {
                    Ok((from, ours)) => self.sort(buffer.split().freeze(), from, ours),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What somebody could not be sent before; nothing about this port.
                    Err(_) => {}
                }
            }
        }
    }

    /// `ours`: at which of our addresses it came, if that is a question.
    fn sort(&self, packet: Bytes, from: SocketAddr, ours: Option<IpAddr>) {
        meters::UDP_RECEIVED.increment(1);
        let mut table = self.table();
        let known = table.addresses.get(&from);
        let inbox = match stun::fragment(&packet) {
            // A check tells anew whose the address is: a page that joins again may come from the same one.
            Some(fragment) => match table.fragments.get(fragment) {
                Some((_, inbox)) if known.is_some_and(|known| Arc::ptr_eq(known, inbox)) => Some(inbox.clone()),
                Some((password, inbox)) if stun::is_genuine(&packet, password) => {
                    let inbox = inbox.clone();
                    table.learn(from, &inbox);
                    Some(inbox)
                }
                _ => None,
            },
            None => known.cloned(),
        };
        drop(table);
        match inbox {
            Some(inbox) => {
                if let Some(ours) = ours {
                    inbox.paths().came(&packet, from, ours);
                }
                inbox.put(packet, from);
            }
            None => meters::UDP_STRANGE.increment(1),
        }
    }

    /// Whose check this is, if it proves to know the password.
    pub(super) fn proven(&self, check: &[u8]) -> Option<Arc<Inbox>> {
        let table = self.table();
        let (password, inbox) = table.fragments.get(stun::fragment(check)?)?;
        stun::is_genuine(check, password).then(|| inbox.clone())
    }

    fn send(&self, packet: &[u8], to: SocketAddr, ours: Option<IpAddr>) -> io::Result<usize> {
        match self.port.try_send(packet, to, ours) {
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

    fn learn(&mut self, address: SocketAddr, inbox: &Arc<Inbox>) {
        if self.count(inbox) >= ADDRESSES {
            self.forget_unused(inbox);
        }
        self.addresses.insert(address, inbox.clone());
    }

    /// Of a connection's addresses all but the one that it sends to. Whoever still comes from another proves it anew with the next check.
    fn forget_unused(&mut self, inbox: &Arc<Inbox>) {
        let route = inbox.route();
        self.addresses.retain(|address, other| !Arc::ptr_eq(other, inbox) || Some(*address) == route);
    }
}

impl Place {
    /// `takes_media`: the other side sends some.
    pub(super) fn new(mux: &Arc<Mux>, takes_media: bool) -> Self {
        let (packets, nomination, reader) = (VecDeque::new(), Nomination::default(), None);
        let waiting = Mutex::new(Waiting { gate: Gate::new(takes_media), packets, nomination, reader });
        let (local, paths) = (Mutex::default(), Mutex::default());
        Self { mux: mux.clone(), inbox: Arc::new(Inbox { mux: mux.clone(), local, waiting, paths }) }
    }

    /// Whoever names this fragment in a check, and knows the password, is heard by this connection. What it was named before counts no more,
    /// nor do the addresses of then, but for the one in use.
    pub(super) fn named(&self, fragment: &str, password: &str) {
        let password = stun::key(password);
        let mut table = self.mux.table();
        if !table.fragments.contains_key(fragment) {
            table.forget_unused(&self.inbox);
        }
        table.fragments.retain(|_, (_, inbox)| !Arc::ptr_eq(inbox, &self.inbox));
        table.fragments.insert(fragment.to_owned(), (password, self.inbox.clone()));
    }

    /// Where it is reached by UDP, and by TCP.
    pub(super) fn addresses(&self) -> (&[SocketAddr], &[SocketAddr]) {
        let addresses = self.mux.addresses();
        (addresses, if self.mux.takes_tcp { addresses } else { &[] })
    }

    /// An address of the right family for the socket that the crate binds and [`Runtime`] replaces.
    pub(super) fn throw_away(&self) -> SocketAddr {
        let is_v4 = self.mux.addresses.first().is_none_or(SocketAddr::is_ipv4);
        let ip: IpAddr = if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        SocketAddr::new(ip, 0)
    }

    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
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
        drop(table);
        let mut paths = self.inbox.paths();
        (paths.is_over, paths.chosen) = (true, None);
        paths.tcp.values().filter_map(Weak::upgrade).for_each(|connection| connection.end());
    }
}

impl Paths {
    /// This came from there, at this one of our addresses.
    fn came(&mut self, packet: &[u8], from: SocketAddr, ours: IpAddr) {
        if let Some(transaction) = stun::transaction(packet) {
            self.checks.truncate(CHECKS - 1);
            self.checks.push_front((transaction, ours));
            // The other side tries all of our addresses, and uses one.
            if self.ours.contains_key(&from) && !stun::nominates(packet) {
                return;
            }
        }
        if self.ours.insert(from, ours).is_none() && self.ours.len() > ADDRESSES {
            self.ours.retain(|other, _| *other == from);
        }
    }

    /// From which of our addresses this goes there.
    fn ours(&self, packet: &[u8], to: SocketAddr) -> Option<IpAddr> {
        let is_asked = |transaction| self.checks.iter().find(|(asked, _)| *asked == transaction);
        let asked = stun::transaction(packet).and_then(is_asked).map(|(_, ours)| *ours);
        asked.or_else(|| self.ours.get(&to).copied())
    }

    /// The crate sends this there.
    fn used(&mut self, packet: &[u8], to: SocketAddr) {
        if stun::is_check(packet) {
            self.is_doubtful |= self.chosen.is_some_and(|chosen| chosen != to);
        } else if !self.is_over {
            self.chosen = Some(to);
        }
    }
}

impl Inbox {
    /// What is sent to its other end goes over this from now on. False if there are too many already.
    pub(super) fn join(&self, connection: &Arc<TcpConnection>) -> bool {
        let mut paths = self.paths();
        if paths.tcp.len() >= ADDRESSES {
            // Those that have gone are remembered as long as there is room.
            paths.tcp.retain(|_, other| other.strong_count() > 0);
        }
        let has_room = !paths.is_over && paths.tcp.len() < ADDRESSES;
        if has_room {
            paths.tcp.insert(connection.peer(), Arc::downgrade(connection));
        }
        has_room
    }

    /// Where packets that are no checks go; `None` before there is a path, and when there is none any more.
    pub(super) fn route(&self) -> Option<SocketAddr> {
        self.paths().chosen
    }

    /// Whether that may be somewhere else by now, which is said once.
    pub(super) fn is_route_doubtful(&self) -> bool {
        std::mem::take(&mut self.paths().is_doubtful)
    }

    pub(super) fn send(&self, packet: &[u8], to: SocketAddr) -> io::Result<usize> {
        let paths = self.paths();
        let (tcp, ours) = (paths.tcp.get(&to).map(Weak::upgrade), paths.ours(packet, to));
        drop(paths);
        let Some(connection) = tcp else { return self.mux.send(packet, to, ours) };
        if let Some(connection) = connection {
            connection.send(packet);
        }
        Ok(packet.len())
    }

    fn paths(&self) -> MutexGuard<'_, Paths> {
        self.paths.lock().expect("paths are only read and written")
    }

    pub(super) fn put(&self, packet: Bytes, from: SocketAddr) {
        let now = Instant::now();
        let mut waiting = self.waiting();
        if !waiting.gate.admits(now, &packet) {
            meters::REFUSED.increment(1);
            return;
        }
        if waiting.packets.len() >= INBOX {
            meters::UDP_DROPPED.increment(1);
            return;
        }
        let again = waiting.nomination.after(&packet, from, now);
        waiting.packets.push_back((packet, from));
        waiting.packets.extend(again.map(|check| (check, from)));
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
        self.paths().used(transmit.contents, transmit.destination);
        Poll::Ready(self.send(transmit.contents, transmit.destination))
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
        let is_fresh = self.inbox.waiting().nomination.is_fresh(Instant::now());
        self.tokio.sleep(if is_fresh { duration.min(NAP) } else { duration })
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }
}

#[cfg(test)]
impl Mux {
    pub(super) async fn can_send(&self) {
        self.port.can_send().await;
    }
}

#[cfg(test)]
impl Place {
    pub(super) fn mux(&self) -> &Arc<Mux> {
        &self.mux
    }

    pub(super) fn take(&self) -> Vec<(Bytes, SocketAddr)> {
        self.inbox.waiting().packets.drain(..).collect()
    }

    pub(super) fn send(&self, packet: &[u8], to: SocketAddr) {
        self.inbox.send(packet, to).expect("nothing goes by UDP");
    }

    /// As if the crate sent this.
    pub(super) fn used(&self, packet: &[u8], to: SocketAddr) {
        self.inbox.paths().used(packet, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webrtc::stun::tests::check;

    fn waiting(place: &Place) -> usize {
        place.inbox.waiting().packets.len()
    }

    #[tokio::test]
    async fn one_port_serves_both_families() {
        if std::net::UdpSocket::bind("[::1]:0").is_err() {
            // This machine has no IPv6.
            return;
        }
        for (listen, pages) in [("[::1]:0", &["[::1]:0"][..]), ("[::]:0", &["127.0.0.1:0", "[::1]:0"])] {
            let mux = Mux::bind(listen.parse().expect("valid"), &[], false).expect("a free port");
            mux.can_send().await;
            let place = Place::new(&mux, true);
            place.named("abcd", "secret");
            for page in pages {
                let page = tokio::net::UdpSocket::bind(page).await.expect("a free port");
                let own = page.local_addr().expect("bound");
                let to = SocketAddr::new(own.ip(), mux.addresses()[0].port());
                let first = check("abcd:x", "secret");
                page.send_to(&first, to).await.expect("sent");
                let came = async {
                    while waiting(&place) == 0 {
                        tokio::task::yield_now().await;
                    }
                    place.take()
                };
                let came = tokio::select! {
                    came = came => came,
                    () = mux.read() => unreachable!("it reads on and on"),
                };
                assert_eq!(came, [(Bytes::from(first), own)], "{listen}");
                place.send(b"an answer", own);
                let mut answer = [0; 20];
                let (len, from) = page.recv_from(&mut answer).await.expect("received");
                assert_eq!((&answer[..len], from), (&b"an answer"[..], to), "{listen}");
            }
        }
    }

    #[tokio::test]
    async fn strangers_change_nothing() {
        let mux = Mux::bind("127.0.0.1:0".parse().expect("valid"), &[], false).expect("a free port");
        let place = Place::new(&mux, true);
        place.named("abcd", "secret");
        let from = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        for port in 1..10_000 {
            mux.sort(check("else:x", "secret").into(), from(port), None);
            mux.sort(check("abcd:x", "a guess").into(), from(port), None);
            mux.sort(vec![0x80; 30].into(), from(port), None);
        }
        assert_eq!((waiting(&place), mux.table().addresses.len()), (0, 0));
        // Who proves it is heard, from then on without proving it.
        mux.sort(check("abcd:x", "secret").into(), from(9), None);
        mux.sort(vec![0x80; 30].into(), from(9), None);
        assert_eq!(waiting(&place), 2);
        // However many places somebody comes from, the way that packets go stays.
        place.used(&[22; 30], from(9));
        for port in 1..1000 {
            mux.sort(check("abcd:x", "secret").into(), from(port), None);
            assert!(mux.table().addresses.len() <= ADDRESSES);
        }
        mux.sort(vec![0x80; 30].into(), from(999), None);
        assert_eq!(waiting(&place), 2 + 999 + 1, "the newest place is heard");
        for _ in 0..2 * INBOX {
            mux.sort(vec![0x80; 30].into(), from(9), None);
        }
        assert_eq!(waiting(&place), INBOX);
        // A connection that is begun anew has another name, and the one before is nobody's.
        place.named("abcd", "secret");
        assert!(mux.table().addresses.len() > 1, "it is not begun anew");
        place.named("abce", "another secret");
        let table = mux.table();
        assert_eq!((table.fragments.len(), table.addresses.keys().copied().collect::<Vec<_>>()), (1, vec![from(9)]));
        drop(table);
        let other = Place::new(&mux, true);
        other.named("else", "of another");
        assert_eq!(mux.table().fragments.len(), 2);
        drop(other);
        drop(place);
        let table = mux.table();
        assert_eq!((table.addresses.len(), table.fragments.len()), (0, 0));
    }
    #[test]
    fn a_packet_goes_from_where_the_other_side_looks_for_us() {
        let page = SocketAddr::from(([192, 0, 2, 9], 1));
        let [one, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let check = |id: u8, nominates: bool| {
            let mut check = vec![0, 1, 0, if nominates { 4 } else { 0 }, 0x21, 0x12, 0xa4, 0x42];
            check.extend([id; 12]);
            check.extend(if nominates { &[0, 0x25, 0, 0][..] } else { &[] });
            check
        };
        let answer = |id: u8| [&[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[id; 12]].concat();
        let media = [0x80; 40];
        let mut paths = Paths::default();
        assert_eq!(paths.ours(&media, page), None, "the port has one address, or nothing came");
        // It tries both before any is answered.
        paths.came(&check(1, false), page, one);
        paths.came(&check(2, false), page, other);
        assert_eq!((paths.ours(&answer(2), page), paths.ours(&answer(1), page)), (Some(other), Some(one)));
        assert_eq!(paths.ours(&media, page), Some(one));
        // A check of ours, whose answer would be the page's.
        assert_eq!(paths.ours(&check(3, false), page), Some(one));
        paths.came(&check(4, true), page, other);
        assert_eq!(paths.ours(&media, page), Some(other));
        paths.came(&media, page, one);
        paths.came(&check(5, false), page, other);
        assert_eq!(paths.ours(&media, page), Some(one), "it looks at the other now and then, and uses this");
        for port in 2..100 {
            paths.came(&check(6, false), SocketAddr::from(([192, 0, 2, 9], port)), other);
        }
        assert!(paths.ours.len() <= ADDRESSES && paths.checks.len() <= CHECKS);
    }
}
