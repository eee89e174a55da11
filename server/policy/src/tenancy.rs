//! Of which kind a room is and whose, which decides what its sandbox may use. Pure.
//!
//! Both come from the token that creates the room, and nothing that anybody does in the room changes them. Only an operator makes a room one of
//! another kind.
//! What kinds and organisations there are is the operator's to say ([`Tenants`]); how much each may use is `sandbox`'s.

use std::collections::{BTreeMap, BTreeSet};

use buildspaces_kernel::ids::{OrganisationId, RoomKind};
use serde::{Deserialize, Serialize};

/// What a room is and whose.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tenancy {
    pub kind: RoomKind,
    pub organisation: Option<OrganisationId>,
}

/// The kinds and organisations that the configuration has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tenants {
    /// Besides the default kind, which there always is.
    pub kinds: BTreeSet<RoomKind>,
    /// With the kinds that each may have; `None`: all.
    pub organisations: BTreeMap<OrganisationId, Option<BTreeSet<RoomKind>>>,
}

/// The configuration has no such rooms. The sentence names the key that would have them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unknown {
    #[error("this server has no rooms of the kind {0}; the operator can add one as sandbox.kinds.{0}")]
    Kind(RoomKind),
    #[error("this server does not know the organisation {0}; the operator can add it as organisations.{0}")]
    Organisation(OrganisationId),
    #[error(
        "the organisation {organisation} has no rooms of the kind {kind}; the operator can allow it in organisations.{organisation}.kinds"
    )]
    NotTheirs { kind: RoomKind, organisation: OrganisationId },
}

impl Tenants {
    /// May there be such a room? Asked when one is created and again when it gets a sandbox, because configurations change. Where no
    /// organisations are configured, all are alike and none has a ceiling; where some are, one that is not among them is refused, so that a
    /// name spelt wrong does not lift a ceiling.
    pub fn check(&self, tenancy: &Tenancy) -> Result<(), Unknown> {
        let Tenancy { kind, organisation } = tenancy;
        if *kind != RoomKind::default() && !self.kinds.contains(kind) {
            return Err(Unknown::Kind(kind.clone()));
        }
        let Some(organisation) = organisation.as_ref().filter(|_| !self.organisations.is_empty()) else {
            return Ok(());
        };
        match self.organisations.get(organisation) {
            None => Err(Unknown::Organisation(organisation.clone())),
            Some(Some(kinds)) if !kinds.contains(kind) => {
                Err(Unknown::NotTheirs { kind: kind.clone(), organisation: organisation.clone() })
            }
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> RoomKind {
        RoomKind::parse(name).expect("valid")
    }

    fn organisation(name: &str) -> OrganisationId {
        OrganisationId::parse(name).expect("valid")
    }

    #[test]
    fn only_what_is_configured_is_known() {
        let tenants = Tenants {
            kinds: [kind("workshop"), kind("large")].into(),
            organisations: [(organisation("acme"), Some([kind("workshop")].into())), (organisation("globex"), None)]
                .into(),
        };
        let check = |name: &str, whose: Option<&str>| {
            let tenancy = Tenancy { kind: kind(name), organisation: whose.map(organisation) };
            tenants.check(&tenancy).map_err(|unknown| unknown.to_string())
        };
        for (name, whose, refusal) in [
            ("default", None, None),
            ("workshop", None, None),
            ("tiny", None, Some("sandbox.kinds.tiny")),
            ("workshop", Some("acme"), None),
            ("default", Some("acme"), Some("organisations.acme.kinds")),
            ("large", Some("acme"), Some("organisations.acme.kinds")),
            ("large", Some("globex"), None),
            ("default", Some("initech"), Some("organisations.initech")),
        ] {
            match (check(name, whose), refusal) {
                (Ok(()), None) => {}
                (Err(sentence), Some(key)) => assert!(sentence.ends_with(key), "{sentence}"),
                (found, _) => panic!("{name} of {whose:?}: {found:?}"),
            }
        }
        let nobody = Tenants::default();
        let anybody = Tenancy { kind: RoomKind::default(), organisation: Some(organisation("initech")) };
        assert_eq!(nobody.check(&anybody), Ok(()), "without ceilings nobody is told apart");
        assert_eq!(nobody.check(&Tenancy { kind: kind("workshop"), ..anybody }), Err(Unknown::Kind(kind("workshop"))));
    }
}
