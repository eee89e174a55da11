//! The port's contract on a real file, and what only a file can get wrong.

use super::*;
use crate::Durability;

#[tokio::test]
async fn the_store_keeps_the_contract_whatever_an_acknowledgement_means() {
    for durability in [Durability::Full, Durability::Os, Durability::Off] {
        let dir = tempfile::tempdir().expect("temp dir");
        let database = Database::open(&dir.path().join("test.db"), durability).await.expect("open");
        let tasks = Tasks::new();
        buildspaces_rooms::contract::run(&Documents::new(&database, &tasks)).await;
    }
}
