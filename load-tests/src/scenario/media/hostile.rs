//! Somebody wants to spoil a call for others: strangers by packets, members by what they send, report and describe.
//! Nothing may be missing at the others.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::forward::audience;
use super::{count, counted};
use crate::lab::Lab;
use crate::media::client::{Client, Studio};
use crate::media::picture::{SMALLEST, Shape, Source, Stream};
use crate::media::site::{Own, Site};
use crate::scenario::Outcome;
use crate::servers::Server;

/// A call beside strangers' checks and packets, members' floods, and members who send under others' SSRCs or none, and describe what cannot be
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Hostile {
    #[arg(long, default_value_t = 10)]
    pub subscribers: usize,
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Checks (STUN binding requests) by strangers: half for nobody, half for a connection there is, without its password.
    #[arg(long, default_value_t = 10_000)]
    pub checks: usize,
    /// Packets by strangers, under SSRCs there are.
    #[arg(long, default_value_t = 20_000)]
    pub packets: usize,
    /// Packets in a second that a member sends; and another sends as many of the smallest there are.
    #[arg(long, default_value_t = 6000)]
    pub flood: u16,
    /// Who is sent each of these floods, and reports of it what no receiver could.
    #[arg(long, default_value_t = 2)]
    pub flooded: usize,
    /// Packets under SSRCs that nobody has, from where a member is who sends and one who receives.
    #[arg(long, default_value_t = 50_000)]
    pub strays: usize,
    /// Descriptions by which pages offer nothing, or far too much.
    #[arg(long, default_value_t = 30)]
    pub descriptions: usize,
}

impl Default for Hostile {
    fn default() -> Self {
        let (checks, packets, strays) = (10_000, 20_000, 50_000);
        Self { subscribers: 10, seconds: 5.0, checks, packets, flood: 6000, flooded: 2, strays, descriptions: 30 }
    }
}

/// Frames in a second of the flood.
const FRAMES: u16 = 50;

/// How long a refusal may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Strangers' packets that leave before others have their turn.
const AT_ONCE: usize = 20;

pub async fn run(lab: &Lab, studio: &Studio, server: &Server, plan: &Hostile) -> anyhow::Result<Outcome> {
    let site = Site::open(server).await?;
    let camera = |publisher| Source::new(publisher, 0, true, &[(Stream::High, Shape::FULL)]);
    let publisher = site.publish(studio, camera(0), false).await?;
    let subscribers = audience(studio, &site, plan.subscribers).await?;
    // Those whom nobody watches: what they send is not counted, so they belong to a studio of their own.
    let elsewhere = Studio::new(lab.clock, studio.ip);
    let mut rooms = Vec::new();
    for bytes in [200, SMALLEST] {
        let flood = Shape { frames_per_second: FRAMES.into(), packets: plan.flood / FRAMES, bytes };
        let flood = Source::new(1, 0, false, &[(Stream::High, flood)]);
        let room = Site::open(server).await?;
        let mut guests = vec![room.publish(&elsewhere, flood, false).await?];
        for _ in 0..plan.flooded {
            guests.push(room.watch(&elsewhere.lying()).await?);
        }
        rooms.push((room, guests));
    }
    let names = publisher.client.names();
    let posing = site.publish_as(&elsewhere, camera(2), &names).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let address = server.target.address;
    let fragment = publisher.fragment.clone();
    let name = names.last().map_or(0, |name| **name);
    let seconds = plan.seconds;
    let dropped_before = super::call::dropped(server).await.unwrap_or(0);
    let (flooded_room, flooded) = &rooms[0];
    let members: Vec<_> = [Some(&posing), flooded.get(1)].into_iter().flatten().map(|guest| &guest.client).collect();
    let (spent, checks, packets, strays, refused) = tokio::join!(
        count(studio, server, seconds),
        stranger(address, plan.checks, seconds, |number| {
            check(if number % 2 == 0 { "nobody" } else { &fragment }, number)
        }),
        stranger(address, plan.packets, seconds, |number| packet(name, number)),
        strays(&members, address, plan.strays, seconds),
        descriptions(address, flooded_room.own(), plan.descriptions),
    );
    let (checks, packets, refused) = (checks?, packets?, refused?);
    let deliveries = &studio.deliveries;
    let expected = deliveries.sent.get() * plan.subscribers as u64;
    let ended = subscribers.iter().chain([&publisher]).filter_map(|guest| guest.client.ended()).next();
    let outcome = counted(studio, spent)
        .with("expected", expected)
        .with("lost", expected.saturating_sub(deliveries.delivered.get()))
        .with("checks", checks)
        .with("packets", packets)
        .with("strays", strays)
        .with("descriptions_refused", refused)
        .with("dropped_by_server", super::call::dropped(server).await.unwrap_or(0) - dropped_before);
    Ok(match ended {
        Some(reason) => outcome.with("trouble", reason),
        None => outcome,
    })
}

/// Sends so many packets evenly within a time, each batch from another port. How many left.
async fn stranger(
    to: SocketAddr,
    total: usize,
    seconds: f64,
    make: impl Fn(usize) -> Vec<u8>,
) -> anyhow::Result<usize> {
    let mut sent = 0;
    let pause = Duration::from_secs_f64(seconds * AT_ONCE as f64 / total.max(1) as f64);
    let mut ticks = tokio::time::interval(pause.max(Duration::from_micros(100)));
    for batch in 0..total.div_ceil(AT_ONCE) {
        ticks.tick().await;
        let socket = UdpSocket::bind((to.ip(), 0)).await?;
        for number in batch * AT_ONCE..total.min((batch + 1) * AT_ONCE) {
            sent += usize::from(socket.send_to(&make(number), to).await.is_ok());
        }
    }
    Ok(sent)
}

/// The same from where members are, so that nothing but what is in them speaks against them.
async fn strays(members: &[&Client], to: SocketAddr, total: usize, seconds: f64) -> usize {
    let mut sent = 0;
    let pause = Duration::from_secs_f64(seconds * AT_ONCE as f64 / total.max(1) as f64);
    let mut ticks = tokio::time::interval(pause.max(Duration::from_micros(100)));
    for batch in 0..total.div_ceil(AT_ONCE) {
        ticks.tick().await;
        for number in batch * AT_ONCE..total.min((batch + 1) * AT_ONCE) {
            let member = members[number % members.len()];
            let packet = if number % 4 < 2 { packet(rand::random(), number) } else { report(rand::random()) };
            sent += usize::from(member.stray(&packet, to));
        }
    }
    sent
}

/// Pages that join and offer what no call takes, one after the other. How often that was refused in words.
async fn descriptions(address: SocketAddr, own: Option<Own>, total: usize) -> anyhow::Result<usize> {
    let Some(Own { room, token }) = own else { return Ok(0) };
    let mut refused = 0;
    for number in 0..total {
        let sdp = match number % 3 {
            0 => "nonsense".to_owned(),
            1 => format!("v=0\r\n{}", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(5000)),
            _ => format!("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{}", "a=group:BUNDLE 0\r\n".repeat(5000)),
        };
        let url = format!("ws://{address}/api/v1/rooms/{room}/media?token={token}");
        let (mut socket, _) = connect_async(url).await.context("a page's socket")?;
        for message in [
            json!({"type": "join", "resume": null}),
            json!({"type": "offer", "neg": 1, "sdp": sdp, "sections": [{"mid": "0", "source": "microphone"}]}),
        ] {
            socket.send(Message::text(message.to_string())).await?;
        }
        let is_refused = async {
            while let Some(message) = socket.next().await {
                let Message::Text(text) = message? else { continue };
                let said: Value = serde_json::from_str(&text)?;
                if said["type"] == "refused" {
                    return anyhow::Ok(true);
                }
            }
            Ok(false)
        };
        refused += usize::from(tokio::time::timeout(PATIENCE, is_refused).await.unwrap_or(Ok(false))?);
        socket.send(Message::text(json!({"type": "leave"}).to_string())).await?;
    }
    Ok(refused)
}

/// A STUN binding request (RFC 8489) for a connection, signed with nothing.
fn check(fragment: &str, number: usize) -> Vec<u8> {
    let name = format!("{fragment}:x");
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    message.extend((number as u128).to_be_bytes()[4..].iter());
    message.extend([0, 6, 0, name.len() as u8]);
    message.extend(name.as_bytes());
    message.resize(message.len().next_multiple_of(4), 0);
    message.extend([0, 8, 0, 20]);
    message.extend([0; 20]);
    let len = (message.len() - 20) as u16;
    message[2..4].copy_from_slice(&len.to_be_bytes());
    message
}

/// RTP of a picture under somebody's SSRC, encrypted with nothing.
fn packet(ssrc: u32, number: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend((number as u16).to_be_bytes());
    packet.extend((number as u32).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.resize(1100, 0x10);
    packet
}

/// A report (RTCP) by somebody, encrypted with nothing.
fn report(ssrc: u32) -> Vec<u8> {
    let mut report = vec![0x8f, 205, 0, 8];
    report.extend(ssrc.to_be_bytes());
    report.resize(60, 0x1f);
    report
}
