//! Is the server's document right? A fresh client fetches it and puts it together with yrs.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use yrs::block::ClientID;
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, ReadTxn, Transact, Update};

use crate::lab::Lab;
use crate::member::{Member, Plan, Target};
use crate::room::Room;
use crate::tally::Tally;
use crate::updates::ROOT;

/// How long a server may take to bring what is missing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Puts together what a member received.
pub fn document(member: &Member) -> anyhow::Result<Doc> {
    let doc = Doc::new();
    for update in member.received.borrow().iter() {
        let update = Update::decode_v1(update).context("the server sent what is no update")?;
        doc.transact_mut().apply_update(update).context("the server sent what cannot be integrated")?;
    }
    Ok(doc)
}

/// Fetches a document as somebody who was never there.
pub async fn fetch(lab: &Lab, target: Target, room: &Rc<Room>) -> anyhow::Result<Rc<Member>> {
    let plan = Plan { keeps: true, longest: usize::MAX, ..Plan::reader(room, &Rc::new(Tally::default())) };
    let member = lab.connect(target, plan).await?;
    tokio::time::timeout(PATIENCE, member.synced()).await.context("the server did not send the document")??;
    Ok(member)
}

/// Every keystroke of every writer is in the document, once.
pub async fn converged(lab: &Lab, target: Target, room: &Rc<Room>) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let member = fetch(lab, target, room).await?;
        let doc = document(&member)?;
        member.disconnect();
        let missing = missing(&doc, room);
        if missing == 0 {
            let text = doc.get_or_insert_text(ROOT);
            let len = text.get_string(&doc.transact()).len();
            let expected: usize = (0..room.writers()).map(|writer| room.clocks(writer)).sum();
            anyhow::ensure!(len == expected, "{} has {len} characters instead of {expected}", room.document);
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            bail!("{missing} characters are missing in {}", room.document);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Characters that were sent and are not in the document.
pub fn missing(doc: &Doc, room: &Room) -> usize {
    let lacks = |writer| room.clocks(writer).saturating_sub(clocks(doc, room, writer) as usize);
    (0..room.writers()).map(lacks).sum()
}

/// Clocks of a writer that a document has.
pub fn clocks(doc: &Doc, room: &Room, writer: usize) -> u32 {
    doc.transact().state_vector().get(&ClientID::new(room.client(writer)))
}
