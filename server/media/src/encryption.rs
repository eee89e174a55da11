//! Whether a room's calls are end-to-end encrypted. Pure.
//!
//! Pages encrypt frames with a key that never comes here ([docs/architecture.md], "End-to-end encryption"), so to the server packets
//! are as opaque as before. What it holds to is who takes part: pages that encrypt, and nobody who would have to look into media.
//! [`crate::call::Call::lets_look_in`] is what streams, viewers and whatever else needs what frames contain must ask first.
//!
//! [docs/architecture.md]: ../../../docs/architecture.md

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::PrincipalId;

/// Who turned it on in a room, and when. Without one it is off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encryption {
    pub by: PrincipalId,
    pub by_name: String,
    pub since: UnixMillis,
}
