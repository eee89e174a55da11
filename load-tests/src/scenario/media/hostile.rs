//! Somebody wants to spoil a call for others: strangers by packets, a member by what it sends. Nothing may be missing at the others.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio::net::UdpSocket;

use super::forward::audience;
use super::{count, counted};
use crate::lab::Lab;
use crate::media::client::Studio;
use crate::media::picture::{Shape, Source, Stream};
use crate::media::site::Site;
use crate::scenario::Outcome;
use crate::servers::Server;

/// A call beside strangers' checks and packets, a member's flood, and a member who sends under others' SSRCs
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
    /// Packets in a second that a member sends.
    #[arg(long, default_value_t = 6000)]
    pub flood: u16,
}

impl Default for Hostile {
    fn default() -> Self {
        Self { subscribers: 10, seconds: 5.0, checks: 10_000, packets: 20_000, flood: 6000 }
    }
}

/// Frames in a second of the flood.
const FRAMES: u16 = 50;

/// Strangers' packets that leave before others have their turn.
const AT_ONCE: usize = 20;

pub async fn run(lab: &Lab, studio: &Studio, server: &Server, plan: &Hostile) -> anyhow::Result<Outcome> {
    let site = Site::open(server).await?;
    let camera = |publisher| Source::new(publisher, 0, true, &[(Stream::High, Shape::FULL)]);
    let publisher = site.publish(studio, camera(0), false).await?;
    let subscribers = audience(studio, &site, plan.subscribers).await?;
    // Those whom nobody watches: what they send is not counted, so they belong to a studio of their own.
    let elsewhere = Studio::new(lab.clock, studio.ip);
    let flood = Shape { frames_per_second: FRAMES.into(), packets: plan.flood / FRAMES, bytes: 200 };
    let flood = Source::new(1, 0, false, &[(Stream::High, flood)]);
    let _flooding = site.publish(&elsewhere, flood, false).await?;
    let names = publisher.client.names();
    let _posing = site.publish_as(&elsewhere, camera(2), &names).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let address = server.target.address;
    let fragment = publisher.fragment.clone();
    let name = names.last().map_or(0, |name| **name);
    let seconds = plan.seconds;
    let dropped_before = super::call::dropped(server).await.unwrap_or(0);
    let (spent, checks, packets) = tokio::join!(
        count(studio, server, seconds),
        stranger(address, plan.checks, seconds, |number| {
            check(if number % 2 == 0 { "nobody" } else { &fragment }, number)
        }),
        stranger(address, plan.packets, seconds, |number| packet(name, number)),
    );
    let (checks, packets) = (checks?, packets?);
    let deliveries = &studio.deliveries;
    let expected = deliveries.sent.get() * plan.subscribers as u64;
    let ended = subscribers.iter().chain([&publisher]).filter_map(|guest| guest.client.ended()).next();
    let outcome = counted(studio, spent)
        .with("expected", expected)
        .with("lost", expected.saturating_sub(deliveries.delivered.get()))
        .with("checks", checks)
        .with("packets", packets)
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
