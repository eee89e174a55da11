//! The UDP socket under all connections, and at which of this machine's addresses packets come and go.
//!
//! On a port of all addresses (`0.0.0.0`, `[::]`) the system would answer from the address that it would choose for a packet of its own, and whoever
//! asked at another would not know the answer. So it is asked at which each packet came (`IP_PKTINFO`, `IPV6_PKTINFO`), and told from which one goes. A port
//! of one address has no choice, and is spared that.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use bytes::BytesMut;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::mux::LARGEST;

/// What the system may hold in each direction, in bytes: a keyframe to a hundred receivers is some thousand packets, and what does not fit
/// is lost to them or to us.
const BUFFER: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Port {
    socket: UdpSocket,
    local: SocketAddr,
}

/// Room for what the system says beside a packet.
pub(super) struct Beside(Vec<u8>);

impl Default for Beside {
    fn default() -> Self {
        Self(nix::cmsg_space!(in6_pktinfo))
    }
}

impl Port {
    pub(super) fn bind(listen: SocketAddr) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(listen)?;
        socket.set_nonblocking(true)?;
        // The system gives less where it is told to, and says nothing.
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, BUFFER)?;
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
        match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            IpAddr::V6(ip) if ip.is_unspecified() => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            _ => {}
        }
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self { local: socket.local_addr()?, socket })
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Until there may be a packet.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Puts a packet behind what is in `buffer`, which has room for it. Says where it came from, and at which of our addresses, if there are several.
    pub(super) fn try_recv(
        &self,
        buffer: &mut BytesMut,
        beside: &mut Beside,
    ) -> io::Result<(SocketAddr, Option<IpAddr>)> {
        if !self.local.ip().is_unspecified() {
            let (_, from) = self.socket.try_recv_buf_from(buffer)?;
            return Ok((canonical(from), None));
        }
        let before = buffer.len();
        buffer.resize(before + LARGEST, 0);
        let received = self.socket.try_io(Interest::READABLE, || {
            let mut room = [IoSliceMut::new(&mut buffer[before..])];
            let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::empty());
            let message = recvmsg::<SockaddrStorage>(fd, &mut room, Some(&mut beside.0), flags)?;
            let from = message.address.as_ref().and_then(address);
            let from = from.ok_or_else(|| io::Error::other("a packet from nowhere"))?;
            Ok((message.bytes, canonical(from), asked_at(&message)))
        });
        buffer.truncate(before + received.as_ref().map_or(0, |(len, ..)| *len));
        received.map(|(_, from, ours)| (from, ours))
    }

    /// `ours`: from which of our addresses, or whichever the system chooses.
    pub(super) fn try_send(&self, packet: &[u8], to: SocketAddr, ours: Option<IpAddr>) -> io::Result<usize> {
        let to = match to {
            SocketAddr::V4(to) if self.local.is_ipv6() => SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port()),
            to => to,
        };
        let Some(ours) = ours else { return self.socket.try_send_to(packet, to) };
        let send = |beside: ControlMessage<'_>| {
            self.socket.try_io(Interest::WRITABLE, || {
                let (fd, to) = (self.socket.as_raw_fd(), SockaddrStorage::from(to));
                Ok(sendmsg(fd, &[IoSlice::new(packet)], &[beside], MsgFlags::empty(), Some(&to))?)
            })
        };
        match ours {
            IpAddr::V4(ip) if self.local.is_ipv4() => {
                let [chosen, any] =
                    [ip, Ipv4Addr::UNSPECIFIED].map(|ip| in_addr { s_addr: u32::from_ne_bytes(ip.octets()) });
                send(ControlMessage::Ipv4PacketInfo(&in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: chosen,
                    ipi_addr: any,
                }))
            }
            ip => {
                let ip = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                let chosen = in6_addr { s6_addr: ip.octets() };
                send(ControlMessage::Ipv6PacketInfo(&in6_pktinfo { ipi6_addr: chosen, ipi6_ifindex: 0 }))
            }
        }
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|found| SocketAddr::from(*found));
    v4.or_else(|| storage.as_sockaddr_in6().map(|found| SocketAddr::from(*found)))
}

fn asked_at(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<IpAddr> {
    message.cmsgs().ok()?.find_map(|beside| match beside {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into())
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(IpAddr::from(Ipv6Addr::from(info.ipi6_addr.s6_addr)).to_canonical())
        }
        _ => None,
    })
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
impl Port {
    /// The runtime finds that out when it is waited for.
    pub(super) async fn can_send(&self) {
        self.socket.writable().await.expect("a socket");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// What a page at `page` gets back that asks at `at`, and at which address it asked by our word.
    async fn answer(listen: &str, page: &str, at: &str) -> Option<IpAddr> {
        let port = Port::bind(listen.parse().expect("valid")).expect("a free port");
        let page = UdpSocket::bind(page).await.expect("a free port");
        // Takes nothing from another address.
        page.connect((at, port.local().port())).await.expect("there is a way");
        page.send(b"asks").await.expect("sent");
        let (mut buffer, mut beside) = (BytesMut::with_capacity(LARGEST), Beside::default());
        let (from, ours) = loop {
            port.readable().await.expect("a socket");
            match port.try_recv(&mut buffer, &mut beside) {
                Ok(received) => break received,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert_eq!((&buffer[..], from), (&b"asks"[..], page.local_addr().expect("bound")));
        port.can_send().await;
        port.try_send(b"answers", from, ours).expect("sent");
        let mut room = [0; 10];
        let len = timeout(Duration::from_secs(10), page.recv(&mut room)).await.expect("an answer").expect("a socket");
        assert_eq!(&room[..len], b"answers");
        ours
    }

    #[tokio::test]
    async fn whoever_asks_at_an_address_is_answered_from_it() {
        let found = |ip: &str| Some(ip.parse::<IpAddr>().expect("valid"));
        // Of its own accord the system would answer from 127.0.0.1.
        for at in ["127.0.0.1", "127.0.0.2"] {
            assert_eq!(answer("0.0.0.0:0", "127.0.0.1:0", at).await, found(at));
            assert_eq!(answer(&format!("{at}:0"), "127.0.0.1:0", at).await, None, "there is no other");
        }
        if std::net::UdpSocket::bind("[::1]:0").is_ok() {
            assert_eq!(answer("[::]:0", "[::1]:0", "::1").await, found("::1"));
            assert_eq!(answer("[::]:0", "127.0.0.1:0", "127.0.0.2").await, found("127.0.0.2"));
        }
    }
}
