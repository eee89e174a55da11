//! Who may do what: principals, roles and the capabilities that roles carry. Pure.
//!
//! It does not know how somebody proved who they are (that is `gateway`) nor what the thing acted
//! on looks like. Start with [`Authority::check`], the one question every effect asks first.

use std::sync::Arc;

use buildspaces_kernel::ids::PrincipalId;
use serde::{Deserialize, Serialize};

/// What kind of actor a principal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// Somebody in a browser or another client.
    Person,
    /// What programs in the room's sandbox wrote into the workspace.
    FileSystem,
    /// The server itself: templates, projections.
    System,
}

/// Somebody or something that acts. Every stored update names one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Principal {
    pub id: PrincipalId,
    pub kind: PrincipalKind,
    /// The name shown to others. Checked by the server when it was chosen.
    pub name: Arc<str>,
}

impl Principal {
    /// The server itself.
    pub fn system() -> Self {
        Self::fixed("system", PrincipalKind::System, "BuildSpaces")
    }

    /// The programs that run in the sandboxes.
    pub fn file_system() -> Self {
        Self::fixed("fs", PrincipalKind::FileSystem, "Workspace")
    }

    fn fixed(id: &str, kind: PrincipalKind, name: &str) -> Self {
        let id = PrincipalId::parse(id).expect("fixed principal ids are valid");
        Self { id, kind, name: name.into() }
    }
}

/// One thing that can be allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// Read the room's documents and see who is there.
    Read,
    /// Change shared documents.
    EditDocuments,
    /// Create, rename, move and delete files and folders.
    EditTree,
    /// Start and cancel runs.
    Run,
}

/// What a principal is in one room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Editor,
    Viewer,
}

impl Role {
    pub fn permits(self, capability: Capability) -> bool {
        match self {
            Self::Editor => true,
            Self::Viewer => matches!(capability, Capability::Read),
        }
    }
}

/// A principal together with its role in the room at hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authority {
    pub principal: Principal,
    pub role: Role,
}

/// The principal's role lacks the capability.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{role:?} may not do this: it needs {capability:?}")]
pub struct Denied {
    pub role: Role,
    pub capability: Capability,
}

impl Authority {
    /// May this principal do that now? Called at the moment of effect.
    pub fn check(&self, capability: Capability) -> Result<(), Denied> {
        if self.role.permits(capability) { Ok(()) } else { Err(Denied { role: self.role, capability }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_reads_and_nothing_else() {
        let authority = Authority { principal: Principal::system(), role: Role::Viewer };
        assert_eq!(authority.check(Capability::Read), Ok(()));
        for capability in [Capability::EditDocuments, Capability::EditTree, Capability::Run] {
            assert_eq!(authority.check(capability), Err(Denied { role: Role::Viewer, capability }));
        }
    }
}
