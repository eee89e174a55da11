//! Which TCP ports are listened on, such that a connection to a loopback address gets there.
//!
//! The kernel is asked by netlink (`sock_diag(7)`), which walks the list of listeners alone: some 30 µs. `/proc/net/tcp` says the
//! same, but the kernel goes through every connection it could have, which takes milliseconds; it is read where there is no other way.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::net::netlink::SOCK_DIAG;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// `SOCK_DIAG_BY_FAMILY`, `NLMSG_ERROR` and `NLMSG_DONE`.
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const REQUEST_ALL: u16 = 0x301;
const TCP: u8 = 6;
/// The state in which a socket listens, as the kernel numbers them.
const LISTEN: u8 = 10;
const FAMILIES: [u8; 2] = [2, 10];

/// A message's header; `struct inet_diag_req_v2`; the part of `struct inet_diag_msg` that is looked at.
const HEADER: usize = 16;
const QUESTION: usize = 56;
const ANSWER: usize = 24;

/// The kernel's answers come in pieces of at most this.
const ANSWERS: usize = 32 << 10;

/// Asks the kernel.
pub(super) struct Listening {
    netlink: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl Listening {
    pub(super) fn new() -> Self {
        let open = || socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(SOCK_DIAG)).ok();
        let mut listening = Self { netlink: open(), buffer: vec![0; ANSWERS] };
        // Kernels without the module, and those that are none of Linux, refuse the first question.
        if listening.ask().is_none() {
            listening.netlink = None;
        }
        listening
    }

    /// May this be asked some times a second?
    pub(super) fn is_cheap(&self) -> bool {
        self.netlink.is_some()
    }

    /// In ascending order.
    pub(super) fn ports(&mut self) -> Vec<u16> {
        let asked = self.ask();
        if asked.is_none() {
            // What is left of an answer would be taken for the next one's.
            self.netlink = None;
        }
        let ports = asked.unwrap_or_else(|| {
            let read = |path| fs::read_to_string(path).unwrap_or_default();
            ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().flat_map(|path| of_table(&read(path))).collect()
        });
        ports.into_iter().collect()
    }

    fn ask(&mut self) -> Option<BTreeSet<u16>> {
        let netlink = self.netlink.as_ref()?;
        let mut ports = BTreeSet::new();
        for family in FAMILIES {
            send(netlink, &question(family), SendFlags::empty()).ok()?;
            let mut more = true;
            while more {
                let (_, length) = recv(netlink, &mut self.buffer[..], RecvFlags::empty()).ok()?;
                more = of_answers(self.buffer.get(..length)?, &mut ports)?;
            }
        }
        Some(ports)
    }
}

/// "All listening TCP sockets of this family."
fn question(family: u8) -> [u8; HEADER + QUESTION] {
    let mut message = [0; HEADER + QUESTION];
    message[..4].copy_from_slice(&((HEADER + QUESTION) as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    message[6..8].copy_from_slice(&REQUEST_ALL.to_ne_bytes());
    message[HEADER] = family;
    message[HEADER + 1] = TCP;
    message[HEADER + 4..HEADER + 8].copy_from_slice(&(1_u32 << LISTEN).to_ne_bytes());
    message
}

/// Takes the ports out of one piece of the kernel's answer. True if more pieces follow; `None` if it refused.
fn of_answers(mut piece: &[u8], ports: &mut BTreeSet<u16>) -> Option<bool> {
    while let Some(header) = piece.get(..HEADER) {
        let length = u32::from_ne_bytes(*header.first_chunk()?) as usize;
        match u16::from_ne_bytes([header[4], header[5]]) {
            DONE => return Some(false),
            ERROR => return None,
            _ => {}
        }
        let answer = piece.get(HEADER..length).filter(|answer| answer.len() >= ANSWER)?;
        let address: [u8; 16] = *answer[8..].first_chunk()?;
        let address = match answer[0] {
            2 => IpAddr::from(*address.first_chunk::<4>()?),
            _ => IpAddr::from(address),
        };
        if answer[1] == LISTEN && is_reached_by_loopback(address) {
            ports.insert(u16::from_be_bytes([answer[4], answer[5]]));
        }
        piece = piece.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(true)
}

/// The same from a table of `/proc/net`: addresses are words in the machine's order, in hexadecimal.
fn of_table(table: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        if words.nth(1)? != "0A" {
            return None;
        }
        let mut bytes = Vec::with_capacity(16);
        for at in (0..address.len()).step_by(8) {
            bytes.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
        }
        let address = match bytes.len() {
            4 => IpAddr::from(*bytes.first_chunk::<4>()?),
            _ => IpAddr::from(*bytes.first_chunk::<16>()?),
        };
        is_reached_by_loopback(address).then(|| u16::from_str_radix(port, 16).ok())?
    };
    table.lines().filter_map(port).collect()
}

fn is_reached_by_loopback(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_unspecified() || address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_listens_is_found_in_either_way() {
        let on = |address: &str| TcpListener::bind(address).expect("a port");
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let reached = [on("127.0.0.1:0"), on("0.0.0.0:0"), on("[::1]:0"), on("[::]:0")];
        let not_reached = on("127.0.0.2:0");
        let mut by_netlink = Listening::new();
        let mut by_table = Listening { netlink: None, buffer: Vec::new() };
        assert!(by_netlink.is_cheap() && !by_table.is_cheap());
        for listening in [&mut by_netlink, &mut by_table] {
            let ports = listening.ports();
            assert!(ports.is_sorted());
            for listener in &reached {
                assert!(ports.contains(&port(listener)), "{listener:?} in {ports:?}");
            }
            assert!(!ports.contains(&port(&not_reached)));
        }
        let gone = reached.map(|listener| port(&listener));
        assert!(gone.iter().all(|port| !by_netlink.ports().contains(port)));
    }

    #[test]
    fn an_answer_that_is_cut_short_is_no_answer() {
        let mut ports = BTreeSet::new();
        let mut piece = question(2).to_vec();
        assert_eq!(of_answers(&piece[..30], &mut ports), None);
        piece[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        assert_eq!(of_answers(&piece, &mut ports), None);
        piece[4..6].copy_from_slice(&DONE.to_ne_bytes());
        assert_eq!(of_answers(&piece, &mut ports), Some(false));
        assert_eq!(of_answers(&[], &mut ports), Some(true));
        assert_eq!(of_table("  sl  local_address\n 0: 0100007F:1F90\nx\n"), Vec::<u16>::new());
        assert!(ports.is_empty());
    }
}
