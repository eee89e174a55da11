use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::webrtc::mux::Place;
use crate::webrtc::stun::tests::check;

fn framed(packet: &[u8]) -> Vec<u8> {
    let mut frame = (packet.len() as u16).to_be_bytes().to_vec();
    frame.extend_from_slice(packet);
    frame
}

#[test]
fn frames_come_whole_however_they_are_split() {
    let packets: [&[u8]; 4] = [b"one", b"", &[7; 1500], b"z"];
    let all: Vec<u8> = packets.iter().flat_map(|packet| framed(packet)).collect();
    for size in [1, 2, 3, 5, 700, all.len()] {
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for part in all.chunks(size) {
            frames.0.extend_from_slice(part);
            while let Some(packet) = frames.next(LARGEST).expect("none is too large") {
                found.push(packet);
            }
        }
        assert_eq!(found, packets, "{size}");
        assert!(frames.0.is_empty());
    }
    let mut frames = Frames(BytesMut::from(&b"\x08\x01"[..]));
    assert_eq!(frames.next(LARGEST), Err(TooLarge));
}

#[test]
fn no_request_begins_like_a_check() {
    for method in ["GET", "POST", "OPTIONS", "PRI * HTTP/2.0", "\r\nGET", "\n", "!", "\x16\x03\x01"] {
        assert!(!is_media(method.as_bytes()[0]), "{method}");
    }
    assert!(is_media(framed(&check("abcd:efgh", "secret"))[0]) && is_media(framed(&[0; FIRST])[0]));
    assert!(!is_media(framed(&[0; FIRST + 1])[0]));
}

/// A connection to `place`'s port, and its task.
async fn connected(place: &Place) -> (TcpStream, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (page, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().expect("bound")), listener.accept());
    let (socket, peer) = accepted.expect("accepted");
    let connection = Arc::new(TcpConnection::new(socket, peer).expect("set up"));
    let mux = place.mux().clone();
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    let carried = tokio::spawn(async move { connection.carry(&mux).await });
    (page.expect("connected"), carried)
}

fn place() -> Place {
    let mux = Mux::bind("127.0.0.1:0".parse().expect("valid"), &[], true).expect("a free port");
    let place = Place::new(&mux, true);
    place.named("abcd", "secret");
    place
}

/// What came to the place, once there is something.
async fn came(place: &Place) -> Vec<(Bytes, SocketAddr)> {
    loop {
        let packets = place.take();
        if !packets.is_empty() {
            return packets;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_proves_it_is_heard_and_answered() {
    let place = place();
    let (mut page, carried) = connected(&place).await;
    let first = check("abcd:x", "secret");
    // In two pieces.
    let frame = framed(&first);
    page.write_all(&frame[..30]).await.expect("sent");
    page.write_all(&frame[30..]).await.expect("sent");
    let from = page.local_addr().expect("bound");
    assert_eq!(came(&place).await, [(Bytes::from(first), from)]);
    page.write_all(&framed(b"media")).await.expect("sent");
    assert_eq!(came(&place).await, [(Bytes::from_static(b"media"), from)]);
    place.send(b"an answer", from);
    let mut answer = [0; 11];
    page.read_exact(&mut answer).await.expect("read");
    assert_eq!(answer[..], framed(b"an answer"));
    // Whoever is given up is hung up on, and nothing is sent to where they were.
    drop(place);
    carried.await.expect("it ends");
    assert_eq!(page.read(&mut answer).await.expect("read"), 0);
}

#[tokio::test]
async fn who_proves_nothing_is_told_nothing() {
    let place = place();
    let other_name = framed(&check("else:x", "secret"));
    let guessed = framed(&check("abcd:x", "a guess"));
    for bytes in [&other_name, &guessed, &framed(&[0x80; 40]), &vec![0; 2], &vec![0xff; 2], &vec![4; 2000], &Vec::new()]
    {
        let (mut page, carried) = connected(&place).await;
        page.write_all(bytes).await.expect("sent");
        page.shutdown().await.expect("sent");
        carried.await.expect("it ends");
        let mut answer = Vec::new();
        // What was not read makes it a reset.
        let _ = page.read_to_end(&mut answer).await;
        assert_eq!(answer, [], "{bytes:?}");
    }
    assert_eq!(place.take(), []);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for() {
    let place = place();
    let since = Instant::now();
    let (_silent, carried) = connected(&place).await;
    carried.await.expect("it ends");
    assert_eq!(since.elapsed(), PROVED_WITHIN);
}

#[tokio::test]
async fn one_that_takes_nothing_misses_whole_packets_and_holds_up_nobody() {
    // More than all buffers between here and there hold.
    const SENT: u32 = 40_000;
    let place = place();
    let (mut page, _carried) = connected(&place).await;
    page.write_all(&framed(&check("abcd:x", "secret"))).await.expect("sent");
    came(&place).await;
    let to = page.local_addr().expect("bound");
    let packet = |nth: u32| {
        let mut packet = vec![nth as u8; 1200];
        packet[..4].copy_from_slice(&nth.to_be_bytes());
        packet
    };
    for nth in 0..SENT {
        place.send(&packet(nth), to);
    }
    let mut got = Vec::new();
    let mut frames = Frames::default();
    // It takes again, and so something comes again.
    while got.last() != Some(&SENT) {
        place.send(&packet(SENT), to);
        page.read_buf(&mut frames.0).await.expect("read");
        while let Some(found) = frames.next(LARGEST).expect("no frame is torn") {
            let nth = u32::from_be_bytes(*found.first_chunk().expect("a number"));
            assert_eq!(found, packet(nth));
            got.push(nth);
        }
    }
    assert!(got.is_sorted() && got.len() < SENT as usize, "{} of {SENT}", got.len());
}

#[tokio::test]
async fn only_so_many_connections_are_one_persons() {
    let place = place();
    let mut open = Vec::new();
    for _ in 0..16 {
        let (mut page, carried) = connected(&place).await;
        page.write_all(&framed(&check("abcd:x", "secret"))).await.expect("sent");
        came(&place).await;
        open.push((page, carried));
    }
    let (mut page, carried) = connected(&place).await;
    page.write_all(&framed(&check("abcd:x", "secret"))).await.expect("sent");
    carried.await.expect("it is hung up on");
    // When one has gone there is room again.
    let (gone, ended) = open.pop().expect("there are some");
    drop(gone);
    ended.await.expect("it ends");
    let (mut page, _carried) = connected(&place).await;
    page.write_all(&framed(&check("abcd:x", "secret"))).await.expect("sent");
    came(&place).await;
}
