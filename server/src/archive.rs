//! `buildspaces export` and `buildspaces import`: a room as one file, from and into a data folder that no server uses.
//!
//! While a server runs, the same is had over REST (`/api/v1/rooms/{room}/archive`).

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use buildspaces_kernel::ids::RoomId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_rooms::Rooms;
use buildspaces_rooms::archive::{self, Import};
use buildspaces_storage::{Database, Documents};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::app::lock_data_folder;
use crate::config::Config;
use crate::say;
use crate::token::TenancyArgs;

/// Pieces of the archive that wait to be written to the file.
const PIECES: usize = 2;

/// Bytes that are read from the file at a time.
const READ: usize = 1 << 20;

/// Writes a room into a file that must not exist.
pub(crate) fn export(config: &Config, room: &str, file: &Path) -> Result<ExitCode> {
    let room = RoomId::parse(room)
        .ok_or_else(|| anyhow!("{room:?} is not a room's id; it is what follows /r/ in its link"))?;
    run(config, async |rooms, tasks| {
        let target = tokio::fs::File::create_new(file).await;
        let mut target = target.with_context(|| format!("cannot create {}; choose another name", file.display()))?;
        let (out, mut pieces) = mpsc::channel(PIECES);
        let exporting = rooms.clone();
        tasks.spawn("export", async move { archive::export(&exporting, &room, out).await });
        while let Some(piece) = pieces.recv().await {
            let written = match piece {
                Ok(piece) => target.write_all(&piece).await.map_err(anyhow::Error::from),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = written {
                // Half an archive would look like one.
                let _ = tokio::fs::remove_file(file).await;
                return Err(error.context(format!("cannot write {}", file.display())));
            }
        }
        target.sync_all().await.with_context(|| format!("cannot write {}", file.display()))?;
        say(&format!("The room is in {}.", file.display()));
        Ok(())
    })
}

/// Creates a room from a file, of that kind and organisation.
pub(crate) fn import(config: &Config, file: &Path, tenancy: TenancyArgs) -> Result<ExitCode> {
    let tenancy = tenancy.tenancy(config)?;
    run(config, async |rooms, _| {
        let cannot = || format!("cannot read {}", file.display());
        let mut source = tokio::fs::File::open(file).await.with_context(cannot)?;
        let mut import = Import::begin(rooms, tenancy)?;
        let mut buffer = vec![0; READ];
        let result = async {
            loop {
                let len = source.read(&mut buffer).await.with_context(cannot)?;
                if len == 0 {
                    return Ok::<RoomId, anyhow::Error>(import.finish().await?);
                }
                import.push(&buffer[..len]).await?;
            }
        }
        .await;
        match result {
            Ok(room) => say(&format!("The room is /r/{room}.")),
            Err(error) => {
                import.abandon().await;
                return Err(error);
            }
        }
        Ok(())
    })
}

/// Opens the data folder, does something, and closes it.
pub(crate) fn run(config: &Config, work: impl AsyncFnOnce(&Rooms, &Tasks) -> Result<()>) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(crate::app::STACK_BYTES).build()?;
    runtime.block_on(async {
        let _lock = lock_data_folder(&config.data_dir)?;
        let database = Database::open(&config.data_dir.join("buildspaces.db"), config.durability.into()).await?;
        let (tasks, log_tasks) = (Tasks::new(), Tasks::new());
        let rooms = Rooms::with_config(Arc::new(Documents::new(&database, &log_tasks)), tasks.clone(), &config.rooms);
        let result = work(&rooms, &tasks).await;
        tasks.shutdown(config.stop_grace).await;
        log_tasks.shutdown(config.stop_grace).await;
        database.close().await;
        result.map(|()| ExitCode::SUCCESS)
    })
}
