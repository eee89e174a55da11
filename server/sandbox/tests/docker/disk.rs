//! A full disk on a real engine: who fills it is stopped and told why; neighbours do not notice.

use buildspaces_kernel::ids::RoomId;
use buildspaces_plans::ports::{Exit, StepEvent};

use crate::world::{PATIENCE, finish, read_until};

#[tokio::test(flavor = "multi_thread")]
async fn who_fills_the_disk_is_stopped_with_that_reason_and_can_tidy_up() {
    let mut world = world!();
    world.limits.disk = 32 << 20;
    let containers = world.open().await;
    let neighbour = RoomId::random();
    let mut beside = world
        .try_start(&containers, &neighbour, "n", "echo here; sleep 6; echo fine", PATIENCE)
        .await
        .expect("it starts");
    read_until(&mut beside, "here").await;

    let fill = "for n in 1 2 3 4 5 6; do head -c 10000000 /dev/zero > $n; done; echo filled; sleep 900";
    let (text, end) = world.run(&containers, "a", fill).await;
    assert_eq!(text, "filled\n");
    let StepEvent::Exited(Exit::OverLimit(reason)) = end else { panic!("{end:?}") };
    assert!(reason.starts_with("The workspace takes more than 32 MiB of disk"), "{reason}");
    let (text, end) = finish(&mut beside).await;
    assert_eq!((text.as_str(), end), ("fine\n", StepEvent::Exited(Exit::Code(0))));

    // It was too large before this one began, which may therefore run for long enough to make it smaller.
    let (text, end) = world.run(&containers, "b", "ls; sleep 5; rm -f [1-6]; echo tidied").await;
    assert_eq!((text.as_str(), end), ("1\n2\n3\n4\n5\n6\ntidied\n", StepEvent::Exited(Exit::Code(0))));
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_and_still_open_counts_too() {
    let mut world = world!();
    world.limits.disk = 32 << 20;
    let containers = world.open().await;
    let fill = "exec 3>a; head -c 24000000 /dev/zero >&3; rm a; exec 4>b; head -c 24000000 /dev/zero >&4; rm b; \
                echo filled; sleep 900";
    let (text, end) = world.run(&containers, "a", fill).await;
    assert_eq!(text, "filled\n");
    let StepEvent::Exited(Exit::OverLimit(reason)) = end else { panic!("{end:?}") };
    assert!(reason.contains("32 MiB of disk with what is deleted and still open"), "{reason}");
    containers.shutdown().await;
}
