//! Who may do what: principals, roles and the capabilities that roles carry. Pure.
//!
//! It does not know how somebody proved who they are (that is `gateway`) nor what the thing acted
//! on looks like. Start with [`Authority::check`], the one question every effect asks first;
//! [`revocation`] is how it is taken back. [`tenancy`] is of which kind a room is, and whose.

pub mod revocation;
pub mod tenancy;

use std::sync::Arc;

use buildspaces_kernel::ids::PrincipalId;
use serde::{Deserialize, Serialize};

/// What kind of actor a principal is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// Somebody in a browser or another client.
    Person,
    /// A program that acts in the room by a token of its own, such as a coding agent. What it wrote can be told from
    /// what people wrote.
    Agent,
    /// What programs in the room's sandbox wrote into the workspace.
    FileSystem,
    /// The server itself: templates, projections.
    System,
}

impl PrincipalKind {
    /// Somebody who came in from outside and acts on purpose, unlike what a run leaves on the disk.
    pub fn is_user(self) -> bool {
        matches!(self, Self::Person | Self::Agent)
    }
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
    /// Read the room's documents, see who is there and be seen.
    Read,
    /// Change shared documents.
    EditDocuments,
    /// Create, rename, move and delete files and folders.
    EditTree,
    /// Start and cancel runs.
    Run,
    /// Open and close terminals, and type in them.
    Terminal,
    /// Use git in the room's workspace: see changes, commit, switch branches, fetch repositories. All of it starts the sandbox.
    Git,
    /// Look at what programs in the sandbox serve, and use it.
    Preview,
    /// Be heard in the room's call. Hearing and seeing others there is [`Capability::Read`].
    PublishAudio,
    /// Be seen in the room's call by a camera.
    PublishVideo,
    /// Show one's screen in the room's call.
    ShareScreen,
    /// Mute others in the room's call, and ask them to speak.
    Moderate,
    /// Have the room's call recorded.
    Record,
    /// Hand out links with no more than one's own role.
    Share,
    /// Revoke access, export and delete, keep secrets, say whether terminals are recorded and calls encrypted.
    Manage,
}

impl Capability {
    pub const ALL: [Self; 14] = [
        Self::Read,
        Self::EditDocuments,
        Self::EditTree,
        Self::Run,
        Self::Terminal,
        Self::Git,
        Self::Preview,
        Self::PublishAudio,
        Self::PublishVideo,
        Self::ShareScreen,
        Self::Moderate,
        Self::Record,
        Self::Share,
        Self::Manage,
    ];

    /// What it allows, to stand after "may not".
    fn described(self) -> &'static str {
        match self {
            Self::Read => "read this",
            Self::EditDocuments => "change documents",
            Self::EditTree => "change files and folders",
            Self::Run => "start or cancel runs",
            Self::Terminal => "use terminals",
            Self::Git => "use git",
            Self::Preview => "open previews",
            Self::PublishAudio => "speak in the call",
            Self::PublishVideo => "show a camera in the call",
            Self::ShareScreen => "share a screen",
            Self::Moderate => "mute others",
            Self::Record => "record the call",
            Self::Share => "hand out links",
            Self::Manage => {
                "revoke access, export, delete, keep secrets, or say whether terminals are recorded and calls encrypted"
            }
        }
    }
}

/// What a principal is in one room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Host,
    /// Everything but [`Capability::Manage`], [`Capability::Moderate`] and [`Capability::Record`].
    Editor,
    /// Reads, is seen, and takes part in the call. Comments have no documents of their own yet.
    Commenter,
    /// Reads and is seen; in the call it looks on.
    Viewer,
    /// Works like an editor but hands nothing on, and has a voice but no camera. Its principal is a [`PrincipalKind::Agent`].
    Agent,
}

impl Role {
    pub const ALL: [Self; 5] = [Self::Host, Self::Editor, Self::Commenter, Self::Viewer, Self::Agent];

    pub fn permits(self, capability: Capability) -> bool {
        use Capability::{
            EditDocuments, EditTree, Git, Manage, Moderate, Preview, PublishAudio, PublishVideo, Read, Record, Run,
            Share, ShareScreen, Terminal,
        };
        match self {
            Self::Host => true,
            Self::Editor => !matches!(capability, Manage | Moderate | Record),
            Self::Commenter => matches!(capability, Read | PublishAudio | PublishVideo),
            Self::Viewer => matches!(capability, Read),
            Self::Agent => match capability {
                Read | EditDocuments | EditTree | Run | Terminal | Git | Preview | PublishAudio => true,
                PublishVideo | ShareScreen | Moderate | Record | Share | Manage => false,
            },
        }
    }

    /// May somebody with this role hand out `other`? Nobody gives more than they have.
    pub fn may_grant(self, other: Self) -> bool {
        let covers = |capability| !other.permits(capability) || self.permits(capability);
        self.permits(Capability::Share) && Capability::ALL.into_iter().all(covers)
    }

    /// The role of that name, as tokens and the command line write it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Editor => "editor",
            Self::Commenter => "commenter",
            Self::Viewer => "viewer",
            Self::Agent => "agent",
        }
    }

    /// What kind of actor has this role.
    pub fn kind(self) -> PrincipalKind {
        match self {
            Self::Agent => PrincipalKind::Agent,
            Self::Host | Self::Editor | Self::Commenter | Self::Viewer => PrincipalKind::Person,
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
#[error("somebody with the role {} may not {}", role.as_str(), capability.described())]
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
    fn roles_carry_what_the_table_says() {
        use Capability::{
            EditDocuments, EditTree, Git, Preview, PublishAudio, PublishVideo, Read, Run, Share, ShareScreen, Terminal,
        };
        let editor = [
            Read,
            EditDocuments,
            EditTree,
            Run,
            Terminal,
            Git,
            Preview,
            PublishAudio,
            PublishVideo,
            ShareScreen,
            Share,
        ];
        let table: [(Role, &[Capability]); 5] = [
            (Role::Host, &Capability::ALL),
            (Role::Editor, &editor),
            (Role::Commenter, &[Read, PublishAudio, PublishVideo]),
            (Role::Viewer, &[Read]),
            (Role::Agent, &[Read, EditDocuments, EditTree, Run, Terminal, Git, Preview, PublishAudio]),
        ];
        for (role, capabilities) in table {
            let authority = Authority { principal: Principal::system(), role };
            for capability in Capability::ALL {
                let expected =
                    if capabilities.contains(&capability) { Ok(()) } else { Err(Denied { role, capability }) };
                assert_eq!(authority.check(capability), expected, "{role:?} {capability:?}");
            }
        }
    }

    #[test]
    fn nobody_hands_out_more_than_they_have() {
        let granted =
            |role: Role| Role::ALL.into_iter().filter(move |other| role.may_grant(*other)).collect::<Vec<_>>();
        assert_eq!(granted(Role::Host), Role::ALL);
        assert_eq!(granted(Role::Editor), [Role::Editor, Role::Commenter, Role::Viewer, Role::Agent]);
        for role in [Role::Commenter, Role::Viewer, Role::Agent] {
            assert_eq!(granted(role), []);
        }
    }

    #[test]
    fn names_of_roles_are_read_back() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            assert_eq!(serde_json::to_value(role).expect("JSON"), role.as_str());
        }
        assert_eq!(Role::parse("admin"), None);
    }

    #[test]
    fn a_refusal_says_what_may_not_be_done() {
        let denied = Denied { role: Role::Viewer, capability: Capability::EditDocuments };
        assert_eq!(denied.to_string(), "somebody with the role viewer may not change documents");
    }
}
