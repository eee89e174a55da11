//! What one participant, or one viewer, has beside their place in the call: their tasks, and the ways to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::ids::{ConnectionId, ParticipantId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::Principal;
use tokio::sync::{mpsc, watch};

use super::actor::Command;
use super::forwarder::Forwarder;
use super::publisher::{OFFERS, Offer, Publishing};
use super::subscriber::{ANSWERS, AllWanted, Subscribing, ToSubscriber};
use super::traffic::Traffic;
use crate::call::Source;
use crate::ports::Transport;
use crate::router::Layer;
use crate::viewer::Viewer;

/// How long somebody without a page may take to connect: nothing else says that they are there.
pub(super) const CONNECTED_WITHIN: Duration = Duration::from_secs(20);

/// Dropping it ends their tasks and connections.
pub(super) struct Peer {
    pub(super) page: Option<ConnectionId>,
    pub(super) role: Role,
    pub(super) principal: Principal,
    /// The hash of what their page may come back with, so that how long comparing takes says nothing. Empty: nobody comes back.
    pub(super) secret: Vec<u8>,
    pub(super) forwarders: BTreeMap<Source, Forwarder>,
    pub(super) offers: mpsc::Sender<Offer>,
    pub(super) wanted: watch::Sender<AllWanted>,
    /// What its page was told that others need.
    pub(super) needed: BTreeMap<Source, Option<Layer>>,
    pub(super) to_subscriber: mpsc::Sender<ToSubscriber>,
}

pub(super) enum Role {
    Page,
    Stream,
    /// Has no place in the call but looks on.
    Viewer(Viewer),
}

/// What the tasks of all peers of one call share.
pub(super) struct Around<'a> {
    /// Weak: they must not keep the call alive.
    pub(super) call: &'a mpsc::WeakSender<Command>,
    pub(super) tasks: &'a Tasks,
    pub(super) transport: &'a Arc<dyn Transport>,
    pub(super) traffic: &'a Arc<Traffic>,
}

impl Peer {
    pub(super) fn start(
        id: &ParticipantId,
        page: ConnectionId,
        role: Role,
        principal: Principal,
        secret: Vec<u8>,
        around: &Around<'_>,
    ) -> Self {
        let (offers, waiting_offers) = mpsc::channel(OFFERS);
        let (wanted, wants) = watch::channel(AllWanted::default());
        let (to_subscriber, messages) = mpsc::channel(ANSWERS);
        let tasks = around.tasks;
        let (call, participant) = (around.call.clone(), id.clone());
        let patience = matches!(role, Role::Stream).then_some(CONNECTED_WITHIN);
        let (tasks_of_tracks, traffic) = (tasks.clone(), around.traffic.clone());
        let publishing =
            Publishing { participant, offers: waiting_offers, call, tasks: tasks_of_tracks, patience, traffic };
        let (call, participant) = (around.call.clone(), id.clone());
        let lines = if let Role::Viewer(viewer) = &role { viewer.lines().to_vec() } else { Vec::new() };
        let subscribing = Subscribing { participant, wanted: wants, messages, call, lines };
        let transport = around.transport.clone();
        tasks.spawn("media publisher", async move { publishing.run(transport.as_ref()).await });
        let transport = around.transport.clone();
        tasks.spawn("media subscriber", async move { subscribing.run(transport.as_ref()).await });
        let (forwarders, needed) = (BTreeMap::new(), BTreeMap::new());
        Self { page: Some(page), role, principal, secret, forwarders, offers, wanted, needed, to_subscriber }
    }
}
