//! `buildspaces room`: what an operator changes of a room in a data folder that no server uses.
//!
//! While a server runs, its administrator does the same over REST (`PUT /api/v1/rooms/{room}/kind`).

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use buildspaces_kernel::ids::{RoomId, RoomKind};
use buildspaces_policy::Principal;
use buildspaces_policy::tenancy::Tenancy;

use crate::config::Config;
use crate::{archive, say};

/// Makes it a room of that kind, which the configuration has.
pub(crate) fn change_kind(config: &Config, room: &str, kind: RoomKind) -> Result<ExitCode> {
    let id = RoomId::parse(room)
        .ok_or_else(|| anyhow!("{room:?} is not a room's id; it is what follows /r/ in its link"))?;
    archive::run(config, async |rooms, _| {
        let room = rooms.room(&id).await.with_context(|| format!("cannot open the room {id}"))?;
        let before = room.record().tenancy;
        let wished = Tenancy { kind, ..before.clone() };
        config.sandbox.allowances.tenants.check(&wished)?;
        room.change_kind(wished.kind.clone(), &Principal::system()).await?;
        say(&format!(
            "The room {id} is of the kind {}; it was {}. Its next sandbox has what that kind says.",
            wished.kind, before.kind
        ));
        Ok(())
    })
}
