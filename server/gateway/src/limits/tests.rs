use super::*;

fn config() -> LimitsConfig {
    LimitsConfig {
        messages_per_second: 10,
        messages_burst: 20,
        bytes_per_second: 1_000,
        bytes_burst: 4_000,
        connections_per_address: 2,
        connections_per_user: 2,
        unauthenticated: Duration::from_secs(5),
        unauthenticated_bytes: 100,
        documents_per_socket: 2,
        waiting_bytes: 100,
        waiting_messages: 3,
        waiting_documents: 2,
        body_bytes: 100,
        http_connections: 2,
        request: Duration::from_secs(5),
        behind_proxy: false,
    }
}

fn unlimited() -> LimitsConfig {
    LimitsConfig {
        messages_per_second: 0,
        bytes_per_second: 0,
        connections_per_address: 0,
        connections_per_user: 0,
        unauthenticated: Duration::ZERO,
        unauthenticated_bytes: 0,
        documents_per_socket: 0,
        waiting_bytes: 0,
        waiting_messages: 0,
        waiting_documents: 0,
        ..config()
    }
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

/// How many messages of `bytes` are taken at one moment.
fn taken(limit: &mut RateLimit, now: Instant, bytes: usize) -> (usize, Option<Exceeded>) {
    for count in 0..1_000_000 {
        if let Err(exceeded) = limit.take(now, bytes) {
            return (count, Some(exceeded));
        }
    }
    (1_000_000, None)
}

#[test]
fn a_burst_is_taken_and_then_the_rate() {
    let start = Instant::now();
    let after = |millis| start + Duration::from_millis(millis);
    let mut limit = RateLimit::new(&config(), start);
    assert_eq!(taken(&mut limit, start, 1), (20, Some(Exceeded::MessageRate)));
    assert_eq!(taken(&mut limit, after(99), 1).0, 0);
    assert_eq!(taken(&mut limit, after(100), 1).0, 1);
    assert_eq!(taken(&mut limit, after(1_100), 1).0, 10);
    assert_eq!(taken(&mut limit, after(3_600_000), 1).0, 20, "what was not used is not saved up for ever");
}

#[test]
fn bytes_are_counted_beside_messages() {
    let start = Instant::now();
    let mut limit = RateLimit::new(&config(), start);
    assert_eq!(taken(&mut limit, start, 1_000), (4, Some(Exceeded::ByteRate)));
    assert_eq!(taken(&mut limit, start + Duration::from_secs(2), 1_000), (2, Some(Exceeded::ByteRate)));
}

#[test]
fn one_large_message_after_a_pause_is_taken_and_paid_for() {
    let start = Instant::now();
    let mut limit = RateLimit::new(&config(), start);
    assert_eq!(limit.take(start, 10_000), Ok(()));
    assert_eq!(limit.take(start + Duration::from_secs(5), 1_000), Err(Exceeded::ByteRate));
    assert_eq!(limit.take(start + Duration::from_secs(7), 1_000), Ok(()));
}

#[test]
fn a_refused_message_costs_nothing() {
    let start = Instant::now();
    let mut limit = RateLimit::new(&config(), start);
    taken(&mut limit, start, 1_000);
    for _ in 0..1_000 {
        assert!(limit.take(start, 1_000).is_err());
    }
    assert_eq!(limit.take(start + Duration::from_secs(1), 1_000), Ok(()));
}

#[test]
fn a_clock_that_stands_still_or_goes_back_gives_nothing_away() {
    let start = Instant::now() + Duration::from_secs(100);
    let mut limit = RateLimit::new(&config(), start);
    taken(&mut limit, start, 1);
    assert!(limit.take(start - Duration::from_secs(50), 1).is_err());
}

#[test]
fn zero_means_no_limit() {
    let now = Instant::now();
    let config = unlimited();
    let mut limit = RateLimit::new(&config, now);
    assert_eq!(taken(&mut limit, now, usize::MAX >> 1), (1_000_000, None));
    let mut before = Unauthenticated::new(&config, now);
    assert_eq!(before.deadline(), None);
    assert_eq!(before.take(now + Duration::from_secs(1 << 30), 1 << 40), Ok(()));
    assert_eq!(Budget::documents(&config).take(1 << 40), Ok(()));
    let mut waiting = Waiting::new(&config);
    assert_eq!((waiting.take(1 << 40), waiting.document(1 << 20)), (Ok(()), Ok(())));
    let limits = ConnectionLimits::new(&config, 0);
    let ada = PrincipalId::random();
    let all: Vec<_> = (0..5_000).map(|_| (limits.connect(address("203.0.113.7")), limits.identify(&ada))).collect();
    assert!(all.iter().all(|(connection, user)| connection.is_ok() && user.is_ok()));
}

#[test]
fn who_says_nothing_has_little_time_and_few_bytes() {
    let start = Instant::now();
    let mut before = Unauthenticated::new(&config(), start);
    assert_eq!(before.deadline(), Some(start + Duration::from_secs(5)));
    assert_eq!(before.take(start, 60), Ok(()));
    assert_eq!(before.take(start, 60), Err(Exceeded::UnauthenticatedBytes));
    assert_eq!(before.take(start + Duration::from_secs(5), 1), Err(Exceeded::UnauthenticatedTime));
}

#[test]
fn a_budget_is_given_back() {
    let mut documents = Budget::documents(&config());
    assert_eq!((documents.take(1), documents.take(1)), (Ok(()), Ok(())));
    assert_eq!(documents.take(1), Err(Exceeded::Documents));
    documents.give(1);
    assert_eq!(documents.take(1), Ok(()));
}

#[test]
fn what_waits_is_bounded_by_bytes_messages_and_documents() {
    let mut waiting = Waiting::new(&config());
    assert_eq!((waiting.take(60), waiting.take(60)), (Ok(()), Err(Exceeded::Waiting)));
    let mut waiting = Waiting::new(&config());
    assert!((0..3).all(|_| waiting.take(1).is_ok()));
    assert_eq!(waiting.take(1), Err(Exceeded::Waiting));
    waiting.give(1);
    assert_eq!(waiting.take(1), Ok(()));
    assert_eq!((waiting.document(1), waiting.document(2)), (Ok(()), Err(Exceeded::Waiting)));
}

#[test]
fn connections_are_counted_until_they_end() {
    let limits = ConnectionLimits::new(&config(), 4);
    let connect = |from| limits.connect(address(from));
    let (a, b) = (connect("203.0.113.7").ok(), connect("203.0.113.7").ok());
    assert!(a.is_some() && b.is_some());
    assert_eq!(connect("203.0.113.7").err(), Some(Exceeded::ConnectionsOfAddress));
    assert_eq!(connect("::ffff:203.0.113.7").err(), Some(Exceeded::ConnectionsOfAddress), "the same in IPv6's clothes");
    let c = connect("2001:db8::1").ok();
    let d = connect("2001:db8::2").ok();
    assert!(c.is_some() && d.is_some());
    assert_eq!(connect("198.51.100.1").err(), Some(Exceeded::Connections));
    drop(c);
    let e = connect("2001:db8::3").ok();
    assert!(e.is_some());
    drop(a);
    assert_eq!(connect("2001:db8::4").err(), Some(Exceeded::ConnectionsOfAddress), "one network counts together");
    assert!(connect("203.0.113.7").is_ok());
    drop((b, d, e));
    let counts = limits.lock();
    assert_eq!((counts.all, counts.addresses.len()), (0, 0));
}

#[test]
fn this_machine_is_not_counted_by_address() {
    let limits = ConnectionLimits::new(&config(), 100);
    let all: Vec<_> = (0..50).map(|_| limits.connect(address("127.0.0.1"))).collect();
    assert!(all.iter().all(Result::is_ok));
}

#[test]
fn a_user_is_counted_whatever_they_connect_from() {
    let limits = ConnectionLimits::new(&config(), 100);
    let (ada, bo) = (PrincipalId::random(), PrincipalId::random());
    let (first, second) = (limits.identify(&ada), limits.identify(&ada));
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(limits.identify(&ada).err(), Some(Exceeded::ConnectionsOfUser));
    assert!(limits.identify(&bo).is_ok());
    drop(first);
    assert!(limits.identify(&ada).is_ok());
    drop(second);
    assert!(limits.lock().users.is_empty());
}

#[test]
fn only_a_proxy_of_ours_says_where_somebody_is() {
    let peer: IpAddr = "10.0.0.1".parse().expect("an address");
    let list = Some("1.2.3.4, 203.0.113.7");
    let behind = LimitsConfig { behind_proxy: true, ..config() };
    assert_eq!(client_address(&config(), peer, list), peer);
    assert_eq!(client_address(&behind, peer, list).to_string(), "203.0.113.7");
    assert_eq!(client_address(&behind, peer, Some("rubbish")), peer);
    assert_eq!(client_address(&behind, peer, None), peer);
}

#[test]
fn what_is_exceeded_has_a_code_of_the_right_band() {
    let codes = [
        (Exceeded::MessageRate, 1008),
        (Exceeded::ByteRate, 1008),
        (Exceeded::UnauthenticatedTime, 4408),
        (Exceeded::UnauthenticatedBytes, 4205),
        (Exceeded::Waiting, 4205),
        (Exceeded::Connections, 4529),
        (Exceeded::ConnectionsOfAddress, 4529),
        (Exceeded::ConnectionsOfUser, 4529),
    ];
    for (exceeded, code) in codes {
        assert_eq!(exceeded.close().0, code);
        assert!(exceeded.close().1.len() <= 123, "a close frame has no room for more");
    }
}

#[test]
fn few_connections_are_told_at_once_and_many_in_the_time_there_is() {
    let most = Duration::from_secs(3);
    for (connections, millis) in [(0, 0), (1, 1), (500, 500), (10_000, 3_000), (u32::MAX, 3_000)] {
        assert_eq!(spread_of(connections, most), Duration::from_millis(millis), "{connections}");
    }
}
