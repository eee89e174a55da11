use super::*;
use crate::memory::wire::{self, Inbox};
use buildspaces_crdt::Replica;
use yrs::Text;

fn lane() -> (Lane, Inbox) {
    let (outbox, inbox) = wire::outbox();
    (outbox.lane(Bytes::new()), inbox)
}

fn frame(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn all(inbox: &mut Inbox) -> Vec<Bytes> {
    std::iter::from_fn(|| inbox.try_next()).collect()
}

/// Updates that append one character each.
fn typed(count: usize) -> (Replica, Vec<Bytes>) {
    let mut replica = Replica::new();
    let root = replica.doc().get_or_insert_text("text");
    let updates =
        (0..count).map(|_| protocol::update(&replica.edit(|txn| root.push(txn, "x")).expect("changed"))).collect();
    (replica, updates)
}

#[test]
fn a_turns_frames_leave_in_one_system_call_and_in_order() {
    let (lane, mut inbox) = lane();
    for text in ["a", "b", "c"] {
        lane.message(frame(text)).expect("room");
    }
    assert_eq!(inbox.calls(), 0);
    lane.flush();
    assert_eq!((inbox.calls(), all(&mut inbox)), (1, vec![frame("a"), frame("b"), frame("c")]));
}

#[test]
fn an_address_stands_before_each_frame_of_its_document() {
    let (outbox, mut inbox) = wire::outbox();
    let (one, other) = (outbox.lane(frame("1:")), outbox.lane(frame("2:")));
    one.message(frame("a")).expect("room");
    other.message(frame("b")).expect("room");
    one.flush();
    assert_eq!(all(&mut inbox), [frame("1:a"), frame("2:b")]);
}

#[test]
fn whatever_a_socket_takes_at_a_time_the_bytes_come_whole() {
    for step in 1..20 {
        let (lane, mut inbox) = lane();
        inbox.set_room(Some(0));
        for text in ["first", "", "second frame", "3"] {
            lane.message(frame(text)).expect("room");
        }
        lane.flush();
        for _ in 0..60 {
            inbox.set_room(Some(step));
            inbox.drain();
        }
        assert_eq!(all(&mut inbox), [frame("first"), frame(""), frame("second frame"), frame("3")], "{step} at a time");
        assert_eq!(lane.outbox.lock().bytes, 0);
    }
}

#[test]
fn updates_behind_a_full_socket_become_one_and_others_keep_their_place() {
    let (lane, mut inbox) = lane();
    inbox.set_room(Some(0));
    lane.message(frame("stuck")).expect("room");
    lane.flush();
    let (written, updates) = typed(40);
    for update in &updates[..20] {
        lane.update(update.clone()).expect("room");
    }
    lane.message(frame("between")).expect("room");
    for update in &updates[20..] {
        lane.update(update.clone()).expect("room");
    }
    inbox.set_room(None);
    assert_eq!(inbox.drain(), Drained::Empty);
    let frames = all(&mut inbox);
    assert_eq!(frames.len(), 4);
    assert_eq!((&frames[0], &frames[2]), (&frame("stuck"), &frame("between")));
    let mut reader = Replica::new();
    for at in [1, 3] {
        let [protocol::Message::Update(update)] = &protocol::decode(&frames[at]).expect("a message")[..] else {
            panic!("an update")
        };
        reader.apply(update).expect("valid");
    }
    assert_eq!(reader.state_vector(), written.state_vector());
    assert_eq!(lane.outbox.lock().bytes, 0);
}

#[test]
fn updates_that_wait_make_room_for_more_by_becoming_one() {
    let (lane, mut inbox) = lane();
    inbox.set_room(Some(0));
    lane.message(frame("stuck")).expect("room");
    lane.flush();
    let (written, updates) = typed(5000);
    let bytes: usize = updates.iter().map(Bytes::len).sum();
    for update in &updates {
        lane.update(update.clone()).expect("room");
    }
    let waiting = lane.outbox.lock().bytes;
    assert!(waiting < bytes / 2, "{waiting} of {bytes}");
    inbox.set_room(None);
    assert_eq!(inbox.drain(), Drained::Empty);
    let mut reader = Replica::new();
    for frame in &all(&mut inbox)[1..] {
        let [protocol::Message::Update(update)] = &protocol::decode(frame).expect("a message")[..] else {
            panic!("an update")
        };
        reader.apply(update).expect("valid");
    }
    assert_eq!(reader.state_vector(), written.state_vector());
    assert_eq!(lane.outbox.lock().bytes, 0);
}

#[test]
fn of_presence_only_the_latest_waits() {
    let (lane, mut inbox) = lane();
    inbox.set_room(Some(0));
    lane.message(frame("stuck")).expect("room");
    lane.flush();
    let says = |client, clock| {
        let entry = awareness::Entry { client, clock, state: Some(format!("{{\"clock\":{clock}}}")) };
        protocol::awareness(&awareness::encode([&entry].into_iter()))
    };
    for clock in 1..100 {
        lane.presence(&says(1, clock)).expect("room");
        lane.presence(&says(2, clock)).expect("room");
    }
    inbox.set_room(None);
    inbox.drain();
    let frames = all(&mut inbox);
    assert_eq!(frames.len(), 2);
    let payload = protocol::awareness_payload(&frames[1]).expect("awareness");
    let clocks: Vec<_> = awareness::decode(&payload).expect("valid").iter().map(|e| (e.client, e.clock)).collect();
    assert_eq!(clocks, [(1, 99), (2, 99)]);
}

#[test]
fn small_frames_weigh_what_holds_them() {
    let (lane, inbox) = lane();
    inbox.set_room(Some(0));
    let taken = (0..wire::MAX_BYTES).take_while(|_| lane.message(frame("abc")).is_ok()).count();
    assert!(taken <= wire::MAX_BYTES / FRAME_OVERHEAD + 1, "{taken}");
    lane.outbox.abandon();
    assert_eq!(lane.outbox.lock().bytes, 0);
}

#[test]
fn a_bound_holds_and_one_large_frame_passes() {
    let (lane, inbox) = lane();
    inbox.set_room(Some(0));
    lane.message(Bytes::from(vec![0; wire::MAX_BYTES + 1])).expect("alone");
    assert_eq!(lane.message(frame("x")), Err(Full));
    assert_eq!(lane.update(frame("x")), Err(Full));
}

#[test]
fn a_state_of_any_size_passes_and_a_second_one_must_wait_for_the_first() {
    let (lane, mut inbox) = lane();
    inbox.set_room(Some(10));
    let parts = || (0..8).map(|_| Bytes::from(vec![7; wire::MAX_BYTES / 2]));
    lane.state(parts()).expect("alone");
    lane.flush();
    lane.message(frame("a change meanwhile")).expect("room");
    assert_eq!(lane.state(parts()), Err(Full));
    inbox.set_room(None);
    inbox.drain();
    assert_eq!(all(&mut inbox).len(), 9);
    lane.state(parts()).expect("alone again");
}

#[test]
fn a_drain_stops_at_its_budget() {
    let (lane, mut inbox) = lane();
    inbox.set_room(Some(0));
    lane.message(Bytes::from(vec![0; 1000])).expect("room");
    lane.flush();
    inbox.set_room(None);
    assert_eq!(lane.outbox.drain(300), Drained::More);
    assert!(lane.outbox.condition().is_blocked && inbox.try_next().is_none());
    assert_eq!(lane.outbox.drain(usize::MAX), Drained::Empty);
    assert_eq!(all(&mut inbox).len(), 1);
}

#[tokio::test]
async fn why_a_document_ended_comes_after_what_was_sent() {
    let (lane, mut inbox) = lane();
    lane.message(frame("last")).expect("room");
    lane.flush();
    lane.close(CloseReason::Gone);
    assert_eq!(inbox.next().await, Ok(frame("last")));
    assert_eq!(inbox.next().await, Err(CloseReason::Gone));
}

#[tokio::test]
async fn an_actor_that_is_gone_ends_its_connections() {
    let (gone, mut inbox) = lane();
    drop(gone);
    assert_eq!(inbox.next().await, Err(CloseReason::Failed));
    let (left, inbox) = lane();
    let outbox = left.outbox.clone();
    left.leave();
    assert_eq!(outbox.take_closed(), []);
    drop(inbox);
}

#[test]
fn what_waits_is_measured_until_it_has_left_or_is_abandoned() {
    let (lane, inbox) = lane();
    let measured = |lane: &Lane| lane.outbox.lock().measured;
    lane.message(frame("a")).expect("room");
    lane.flush();
    assert_eq!(measured(&lane), 0, "it left at once");
    inbox.set_room(Some(0));
    lane.message(frame("abc")).expect("room");
    lane.state([frame("state")].into_iter()).expect("room");
    lane.flush();
    assert_eq!(measured(&lane), 3 + 5 + 2 * FRAME_OVERHEAD);
    inbox.set_room(None);
    inbox.drain();
    assert_eq!(measured(&lane), 0);
    inbox.set_room(Some(0));
    lane.message(frame("abc")).expect("room");
    lane.flush();
    lane.outbox.abandon();
    assert_eq!(measured(&lane), 0);
}
