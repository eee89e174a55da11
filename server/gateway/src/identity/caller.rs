//! Who sends a REST request: the same tokens and the same decisions as for documents.

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, header, request::Parts};
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::ids::RoomId;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Authority, Capability, Principal, Role};
use buildspaces_rooms::RoomHandle;

use super::{Grant, Refusal, Sight, Watch, admit, identify};
use crate::Gateway;
use crate::error::ApiError;
use crate::schema::Wishes;

/// What a request brought to say who sends it. Nothing of it is checked before somebody asks.
pub(crate) struct Caller {
    token: Option<String>,
    origin: Option<String>,
    host: Option<String>,
}

impl FromRequestParts<Gateway> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Gateway) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.headers))
    }
}

impl Caller {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let token = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let own = |text: Option<&str>| text.map(str::to_owned);
        Self { token: own(token), origin: own(text(header::ORIGIN)), host: own(text(header::HOST)) }
    }

    /// Opens a room if the caller has `capability` there. Returns who they are too, for whatever they do next.
    pub(crate) async fn open(
        &self,
        gateway: &Gateway,
        room: &str,
        capability: Capability,
    ) -> Result<(RoomHandle, Principal), ApiError> {
        let (room, grant) = self.granted(gateway, room, capability).await?;
        Ok((room, grant.authority.principal))
    }

    /// The same for what shows terminals, and so not by a token for single documents: every file of the room lies open there.
    pub(crate) async fn may_watch_terminals(&self, gateway: &Gateway, room: &str) -> Result<RoomHandle, ApiError> {
        let (room, grant) = self.granted(gateway, room, Capability::Read).await?;
        if grant.limited { Err(ApiError::forbidden("denied", super::NO_TERMINALS)) } else { Ok(room) }
    }

    /// And for what the workspace holds besides.
    pub(crate) async fn may_see_workspace(&self, gateway: &Gateway, room: &str) -> Result<RoomHandle, ApiError> {
        let (room, grant) = self.granted(gateway, room, Capability::Read).await?;
        if grant.limited { Err(ApiError::forbidden("denied", super::NO_WORKSPACE)) } else { Ok(room) }
    }

    /// And for what was recorded of calls, which are the whole room's.
    pub(crate) async fn may_watch_calls(&self, gateway: &Gateway, room: &str) -> Result<RoomHandle, ApiError> {
        let (room, grant) = self.granted(gateway, room, Capability::Read).await?;
        if grant.limited { Err(ApiError::forbidden("denied", super::NO_CALLS)) } else { Ok(room) }
    }

    /// The same, with something that ends when the caller's access does.
    pub(crate) async fn watched(
        &self,
        gateway: &Gateway,
        room: &str,
        capability: Capability,
    ) -> Result<(RoomHandle, Watch, Principal), ApiError> {
        let (room, grant) = self.granted(gateway, room, capability).await?;
        let watch = gateway.identity.watch(&grant, &DocumentName::tree(room.id().as_str()));
        Ok((room, watch, grant.authority.principal))
    }

    async fn granted(
        &self,
        gateway: &Gateway,
        room: &str,
        capability: Capability,
    ) -> Result<(RoomHandle, Grant), ApiError> {
        let id = RoomId::parse(room).ok_or_else(ApiError::no_such_room)?;
        let grant = self.admit(gateway, &DocumentName::tree(id.as_str())).await?;
        grant.authority.check(capability)?;
        match capability {
            Capability::Terminal if grant.limited => Err(ApiError::forbidden("denied", super::NO_TERMINALS)),
            Capability::Git if grant.limited => Err(ApiError::forbidden("denied", super::NO_GIT)),
            Capability::Preview if grant.limited => Err(ApiError::forbidden("denied", super::NO_PREVIEWS)),
            _ => Ok((gateway.rooms.room(&id).await?, grant)),
        }
    }

    /// What the caller may do in a document. Whatever hands out a document's content asks this about that document, because a
    /// token may be for some of a room's documents only.
    pub(crate) async fn admit(&self, gateway: &Gateway, document: &DocumentName) -> Result<Grant, Refusal> {
        admit(gateway, self.token.as_deref(), self.origin.as_deref(), document).await
    }

    /// Who this is, for what is about no room.
    pub(crate) async fn identify(&self, gateway: &Gateway) -> Result<Principal, ApiError> {
        Ok(self.somebody(gateway).await?.grant.authority.principal)
    }

    /// Which documents a list may show them.
    pub(crate) async fn sight(&self, gateway: &Gateway) -> Result<Sight, ApiError> {
        let super::Somebody { grant, may_see, .. } = self.somebody(gateway).await?;
        Ok(Sight { grant, may_see })
    }

    /// Whoever began a session here and may change its name.
    pub(crate) async fn has_session(&self, gateway: &Gateway) -> Result<Principal, ApiError> {
        let somebody = self.somebody(gateway).await?;
        if !somebody.has_session {
            return Err(ApiError::forbidden("denied", "your name comes with your token and cannot be changed here"));
        }
        Ok(somebody.grant.authority.principal)
    }

    /// Whoever may do `capability` in every room, rooms to come included.
    pub(crate) async fn in_any_room(&self, gateway: &Gateway, capability: Capability) -> Result<Authority, ApiError> {
        Self::anywhere(self.somebody(gateway).await?, capability)
    }

    fn anywhere(somebody: super::Somebody, capability: Capability) -> Result<Authority, ApiError> {
        if !somebody.any_room {
            return Err(ApiError::forbidden("denied", "your token is for one room, and this is not about that room"));
        }
        somebody.grant.authority.check(capability)?;
        Ok(somebody.grant.authority)
    }

    /// Whoever may create rooms, and what these become: what the caller's token says. Where nobody needs a token, and for the administrator, it
    /// is what the request `wishes`.
    pub(crate) async fn creates(&self, gateway: &Gateway, wishes: Wishes) -> Result<(Authority, Tenancy), ApiError> {
        let somebody = self.somebody(gateway).await?;
        let granted = somebody.grant.tenancy.clone();
        let authority = Self::anywhere(somebody, Capability::EditTree)?;
        let wished = wishes.over(granted.clone())?;
        let may_choose = gateway.config.auth.is_open() || self.is_admin(gateway);
        if wished != granted && !may_choose {
            let message = "kind and organisation come with a token, and yours does not say this; leave them out";
            return Err(ApiError::forbidden("not_by_your_token", message));
        }
        gateway.config.tenants.check(&wished)?;
        Ok((authority, wished))
    }

    pub(crate) fn is_admin(&self, gateway: &Gateway) -> bool {
        self.token.as_deref().is_some_and(|token| gateway.identity.is_admin(token))
    }

    /// What the caller may hand on of `room`: their grant, if it allows to share `role`.
    pub(crate) async fn share(&self, gateway: &Gateway, room: &RoomId, role: Role) -> Result<Grant, ApiError> {
        let grant = self.admit(gateway, &DocumentName::tree(room.as_str())).await?;
        grant.authority.check(Capability::Share)?;
        if !grant.authority.role.may_grant(role) {
            let own = grant.authority.role.as_str();
            return Err(ApiError::forbidden("denied", format!("somebody with the role {own} may not hand out more")));
        }
        if grant.limited {
            let message = "your token is for single documents and cannot be handed on for the whole room";
            return Err(ApiError::forbidden("denied", message));
        }
        Ok(grant)
    }

    /// The address under which the caller reached this server, if no other is configured for links.
    pub(crate) fn base_url(&self, gateway: &Gateway) -> String {
        let configured = gateway.config.public_url.clone();
        let origin = || self.origin.clone().filter(|origin| origin.starts_with("http"));
        let host = || format!("http://{}", self.host.as_deref().unwrap_or("localhost"));
        configured.or_else(origin).unwrap_or_else(host)
    }

    async fn somebody(&self, gateway: &Gateway) -> Result<super::Somebody, Refusal> {
        identify(gateway, self.token.as_deref(), self.origin.as_deref()).await
    }
}
