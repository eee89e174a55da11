use std::sync::atomic::AtomicI64;

use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::revocation::TokenId;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Authority, Principal, PrincipalKind, Role};
use buildspaces_rooms::memory::MemoryStore;
use tokio::time::Instant;

use super::*;

const START: UnixMillis = 1_700_000_000_000;

struct Fixture {
    directory: Directory,
    tasks: Tasks,
    /// What somebody did to the wall clock.
    jump: Arc<AtomicI64>,
}

impl Fixture {
    fn new() -> Self {
        let begun = Instant::now();
        let jump = Arc::new(AtomicI64::new(0));
        let jumped = jump.clone();
        let clock = move || START + begun.elapsed().as_millis() as UnixMillis + jumped.load(Ordering::Relaxed);
        let (directory, tasks) = (Directory::new(Arc::new(clock)), Tasks::new());
        directory.start(&tasks);
        Self { directory, tasks, jump }
    }

    fn watch(&self, grant: &Grant, document: &str) -> Watch {
        self.directory.watch(grant, &name(document))
    }

    fn revoke(&self, subject: Subject, room: Option<&str>) -> usize {
        self.directory.revoke(&revocation(subject, room))
    }
}

/// It lasts an hour.
fn revocation(subject: Subject, room: Option<&str>) -> Revocation {
    Revocation {
        subject,
        room: room.map(str::to_owned),
        reason: "left the team".to_owned(),
        by: Principal::system().id,
        at: START,
        expires: Some(START + 3_600_000),
    }
}

fn name(text: &str) -> DocumentName {
    DocumentName::parse(text).expect("valid")
}

fn user(id: &str) -> Subject {
    Subject::User(PrincipalId::parse(id).expect("valid"))
}

fn grant(id: &str, expires: Option<UnixMillis>) -> Grant {
    let id = PrincipalId::parse(id).expect("valid");
    let principal = Principal { id, kind: PrincipalKind::Person, name: "Somebody".into() };
    let authority = Authority { principal, role: Role::Editor };
    Grant {
        authority,
        known: true,
        expires,
        token: Some(TokenId([7; 16])),
        limited: false,
        tenancy: Tenancy::default(),
    }
}

async fn is_live(watch: &mut Watch) -> bool {
    tokio::time::timeout(Duration::ZERO, watch.ended()).await.is_err()
}

fn revoked() -> End {
    End::Revoked("left the team".into())
}

#[tokio::test(start_paused = true)]
async fn each_grant_ends_at_its_own_time_and_others_go_on() {
    let f = Fixture::new();
    let begun = Instant::now();
    let mut forever = f.watch(&grant("ada", None), "notes");
    let mut long = f.watch(&grant("ada", Some(START + 90_000)), "notes");
    let mut short = f.watch(&grant("bo", Some(START + 1_500)), "notes");
    assert_eq!(short.ended().await, End::Expired);
    assert_eq!(begun.elapsed().as_millis(), 1_500);
    assert!(is_live(&mut long).await);
    assert_eq!(long.ended().await, End::Expired);
    assert_eq!(begun.elapsed().as_millis(), 90_000);
    assert!(is_live(&mut forever).await);
    assert_eq!(f.tasks.shutdown(Duration::from_secs(1)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_grant_whose_time_is_over_already_ends_at_once() {
    let f = Fixture::new();
    let late = grant("ada", Some(START - 1));
    assert_eq!(f.watch(&late, "notes").ended().await, End::Expired);
    assert_eq!(f.directory.refused(&late, Some("notes")), Some(End::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ahead_is_noticed() {
    let f = Fixture::new();
    let begun = Instant::now();
    let mut watch = f.watch(&grant("ada", Some(START + 3_600_000)), "notes");
    assert!(is_live(&mut watch).await);
    f.jump.store(7_200_000, Ordering::Relaxed);
    assert_eq!(watch.ended().await, End::Expired);
    assert!(begun.elapsed() <= LONGEST_NAP + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_ends_what_it_concerns_and_nothing_else() {
    let (ada, bo) = (grant("ada", None), Grant { token: Some(TokenId([8; 16])), ..grant("bo", None) });
    let documents = ["r1/tree:main", "r1/file:n1", "r2/tree:main"];
    let check = async |subject: Subject, room: Option<&str>, expected: [bool; 6]| {
        let f = Fixture::new();
        let mut watches: Vec<Watch> =
            [&ada, &bo].iter().flat_map(|who| documents.map(|document| f.watch(who, document))).collect();
        assert_eq!(f.revoke(subject.clone(), room), expected.iter().filter(|ends| **ends).count());
        for (watch, ends) in watches.iter_mut().zip(expected) {
            assert_eq!(is_live(watch).await, !ends, "{subject:?} {room:?}");
        }
    };
    check(user("ada"), None, [true, true, true, false, false, false]).await;
    check(user("ada"), Some("r1"), [true, true, false, false, false, false]).await;
    check(Subject::Token(TokenId([8; 16])), None, [false, false, false, true, true, true]).await;
    check(Subject::Token(TokenId([8; 16])), Some("r2"), [false, false, false, false, false, true]).await;
    check(Subject::Document("r1/file:n1".into()), None, [false, true, false, false, true, false]).await;
    check(Subject::Document("r1/file:n1".into()), Some("r2"), [false; 6]).await;
    check(user("eve"), None, [false; 6]).await;
}

#[tokio::test(start_paused = true)]
async fn who_was_revoked_does_not_come_back_until_it_is_over() {
    let f = Fixture::new();
    let (ada, bo) = (grant("ada", None), grant("bo", None));
    f.revoke(user("ada"), Some("r1"));
    assert_eq!(f.directory.refused(&ada, Some("r1")), Some(revoked()));
    assert_eq!(f.directory.refused(&ada, Some("r2")), None);
    assert_eq!(f.directory.refused(&bo, Some("r1")), None);
    // Admitted just before: the watch finds out.
    assert_eq!(f.watch(&ada, "r1/tree:main").ended().await, revoked());
    tokio::time::advance(Duration::from_secs(3_601)).await;
    assert_eq!(f.directory.refused(&ada, Some("r1")), None);
}

#[tokio::test(start_paused = true)]
async fn a_documents_connections_end_once_and_may_come_back() {
    let f = Fixture::new();
    let ada = grant("ada", None);
    let mut watch = f.watch(&ada, "notes");
    f.revoke(Subject::Document("notes".into()), None);
    assert_eq!(watch.ended().await, revoked());
    assert_eq!(f.directory.refused(&ada, Some("notes")), None);
    assert!(is_live(&mut f.watch(&ada, "notes")).await);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_and_what_is_dropped_is_forgotten() {
    let f = Fixture::new();
    let mut watch = f.watch(&grant("ada", Some(START + 9_000)), "notes");
    let tasks = Tasks::new();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    tasks.spawn("waiting", async move {
        let _ = sender.send(watch.ended().await);
    });
    tokio::task::yield_now().await;
    f.revoke(user("ada"), None);
    assert_eq!(receiver.await, Ok(revoked()));
    tasks.shutdown(Duration::from_secs(1)).await;
    let state = f.directory.lock();
    assert_eq!((state.slots.len(), state.expiries.len(), state.reasons.len()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_back_is_known_though_the_clock_stood_in_the_future_at_the_start() {
    let (f, store) = (Fixture::new(), MemoryStore::default());
    store.revoke(&revocation(user("ada"), None)).await.expect("stored");
    let days = |days: i64| days * 24 * 3_600_000;
    f.jump.store(days(6), Ordering::Relaxed);
    f.directory.learn(&store).await.expect("read");
    assert_eq!(f.directory.refused(&grant("ada", None), Some("notes")), None, "it is over by this clock");
    f.jump.store(0, Ordering::Relaxed);
    assert_eq!(f.directory.refused(&grant("ada", None), Some("notes")), Some(revoked()));
}

#[test]
fn revocations_are_bounded() {
    let mut state = State::default();
    for id in 0..10 {
        let revoked = Revoked { reason: "".into(), expires: Some(START + id) };
        state.revoked.insert((user(&format!("u{id}")), None), revoked);
    }
    state.forget_above((4, 2), None, START + 3);
    let left = |state: &State| {
        let mut left: Vec<UnixMillis> = state.revoked.values().filter_map(|revoked| revoked.expires).collect();
        left.sort_unstable();
        left.iter().map(|at| at - START).collect::<Vec<_>>()
    };
    assert_eq!(left(&state), [6, 7, 8, 9]);
    // A room's host pushes out their own, and nothing that holds everywhere.
    for id in 100..105 {
        let revoked = Revoked { reason: "".into(), expires: Some(START + id) };
        state.revoked.insert((user(&format!("u{id}")), Some("room".to_owned())), revoked);
        state.forget_above((6, 2), Some("room"), START + 3);
    }
    assert_eq!(left(&state), [6, 7, 8, 9, 103, 104]);
    state.forget_above((4, 2), None, START + 3);
    assert_eq!(left(&state), [6, 7, 8, 9]);
}

#[test]
fn an_idle_connection_costs_little() {
    // With the counts of its two owners, and its place in the slab.
    let kept = size_of::<Slot>() + 2 * size_of::<usize>() + 2 * size_of::<usize>();
    assert!(size_of::<Watch>() <= 24, "{}", size_of::<Watch>());
    assert!(kept <= 112, "{kept}");
}
