//! Who sends a REST request: the same tokens and the same decisions as for documents.

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, header, request::Parts};
use buildspaces_crdt::DocumentName;
use buildspaces_kernel::ids::RoomId;
use buildspaces_policy::{Capability, Principal};
use buildspaces_rooms::RoomHandle;

use super::{Grant, Refusal, admit};
use crate::error::ApiError;
use crate::{Gateway, sessions};

/// What a request brought to say who sends it. Nothing of it is checked before somebody asks.
pub(crate) struct Caller {
    token: Option<String>,
    origin: Option<String>,
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
        Self { token: token.map(str::to_owned), origin: text(header::ORIGIN).map(str::to_owned) }
    }

    /// Opens a room if the caller has `capability` there. Returns who they are too, for whatever they do next.
    pub(crate) async fn open(
        &self,
        gateway: &Gateway,
        room: &str,
        capability: Capability,
    ) -> Result<(RoomHandle, Principal), ApiError> {
        let id = RoomId::parse(room).ok_or_else(ApiError::no_such_room)?;
        let grant = self.admit(gateway, &DocumentName::tree(id.as_str())).await?;
        grant.authority.check(capability)?;
        Ok((gateway.rooms.room(&id).await?, grant.authority.principal))
    }

    /// What the caller may do in a document.
    pub(crate) async fn admit(&self, gateway: &Gateway, document: &DocumentName) -> Result<Grant, Refusal> {
        admit(gateway, self.token.as_deref(), self.origin.as_deref(), document).await
    }

    /// Who this is, for what is about no room.
    pub(crate) async fn identify(&self, gateway: &Gateway) -> Result<Principal, ApiError> {
        let token = self.token.as_deref().ok_or_else(ApiError::unauthorized)?;
        sessions::find(gateway, token).await.map_err(ApiError::internal)?.ok_or_else(ApiError::unauthorized)
    }
}
