//! Sandboxes on a real engine do what all sandboxes must.

use buildspaces_plans::contract;

use crate::git::Place;

#[tokio::test(flavor = "multi_thread")]
async fn containers_keep_the_contract() {
    let place = Place::new(world!(), &[contract::sandboxes::FILE]).await;
    contract::sandboxes(&place.sandboxes, place.room.id()).await;
    place.end().await;
}
