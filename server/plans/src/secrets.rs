//! Keeps the secrets of rooms and hands them to steps.
//!
//! Values are stored under the operator's [`Key`] and opened only for a step, by [`Secrets::for_step`]; whoever may manage a room is asked by the
//! caller. A step names what it wants (its rule does), and is refused if it cannot have all of it. Beside that comes what its output is
//! searched for: every value of the room, named or not, because one step may leave what another prints.

use std::sync::Arc;

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::RoomId;
use buildspaces_policy::Principal;

use crate::Error;
use crate::git::words::Url;
use crate::ports::{SecretStore, StoreError, StoredSecret};
use crate::redact::Known;
use crate::secret::{self, Given, Key, Secret, SecretName, StepHeader, StepSecrets, Unreadable, Value};
use crate::skill;

/// Secrets of one room.
pub const MAX_SECRETS: usize = 32;

/// Bytes of all of them. What output is compared with grows with that.
const MAX_BYTES: usize = 64 << 10;

/// Secrets that one step may name.
pub const MAX_NAMED: usize = 16;

/// A cheap handle; clones share everything.
#[derive(Clone)]
pub struct Secrets {
    store: Arc<dyn SecretStore>,
    /// `None`: there are no secrets on this server.
    key: Option<Arc<Key>>,
}

/// A secret that is to be stored.
pub struct NewSecret {
    pub value: String,
    pub given: Given,
    /// The skills whose steps may have it; all if `None`.
    pub skills: Option<Vec<String>>,
}

/// What a step gets, and what its output is searched for.
#[derive(Clone, Default, Debug)]
pub struct Granted {
    pub secrets: StepSecrets,
    pub known: Known,
}

impl Secrets {
    pub fn new(store: Arc<dyn SecretStore>, key: Option<Key>) -> Self {
        Self { store, key: key.map(Arc::new) }
    }

    /// The room's secrets by name, without their values.
    pub async fn list(&self, room: &RoomId) -> Result<Vec<Secret>, Error> {
        self.key()?;
        Ok(self.store.secrets(room).await?.into_iter().map(|stored| stored.secret).collect())
    }

    /// Adds a secret or replaces it, value and all. Also says whether it is new.
    pub async fn put(
        &self,
        room: &RoomId,
        by: &Principal,
        name: &str,
        new: NewSecret,
        now: UnixMillis,
    ) -> Result<(Secret, bool), Error> {
        let key = self.key()?;
        let name = SecretName::try_from(name.to_owned()).map_err(Error::InvalidSecret)?;
        let NewSecret { value, given, skills } = new;
        secret::check(&value, &given).map_err(Error::InvalidSecret)?;
        let all = || skill::SKILLS.iter().map(|skill| skill.name.to_owned()).collect();
        let skills: Vec<String> = match given {
            Given::Git(_) => skills.unwrap_or_default(),
            Given::Env | Given::File | Given::Header(_) => skills.unwrap_or_else(all),
        };
        if matches!(given, Given::Git(_)) && !skills.is_empty() {
            return Err(Error::InvalidSecret("a secret for git is given to no step; leave skills out".to_owned()));
        }
        if let Some(unknown) = skills.iter().find(|name| skill::find(name).is_none()) {
            return Err(Error::InvalidSecret(format!("there is no skill {unknown:?}; there is {}", all().join(", "))));
        }
        let others = self.store.secrets(room).await?;
        let others = others.iter().filter(|other| other.secret.name != name);
        let (count, bytes) =
            others.fold((1, value.len()), |(count, bytes), other| (count + 1, bytes + other.sealed.len()));
        if count > MAX_SECRETS || bytes > MAX_BYTES {
            return Err(Error::TooManySecrets);
        }
        let sealed = key.seal(room, &name, &value);
        let secret = Secret {
            name,
            given,
            skills,
            set_by: by.id.clone(),
            set_by_name: by.name.as_ref().to_owned(),
            set_at: now,
            used_at: None,
        };
        let is_new = self.store.put_secret(room, &StoredSecret { secret: secret.clone(), sealed }).await?;
        tracing::info!(%room, secret = %secret.name, by = %by.id, is_new, "a secret was set");
        Ok((secret, is_new))
    }

    /// Steps that name it from now on are refused.
    pub async fn delete(&self, room: &RoomId, by: &Principal, name: &str) -> Result<(), Error> {
        self.key()?;
        let name = SecretName::parse(name).ok_or(Error::NoSuchSecret)?;
        if !self.store.delete_secret(room, &name).await? {
            return Err(Error::NoSuchSecret);
        }
        tracing::info!(%room, secret = %name, by = %by.id, "a secret was deleted");
        Ok(())
    }

    /// Whether steps of `skill` can have these secrets as things stand.
    pub async fn check(&self, room: &RoomId, names: &[SecretName], skill: &str) -> Result<(), Error> {
        if names.is_empty() {
            return Ok(());
        }
        self.key()?;
        if names.len() > MAX_NAMED {
            return Err(Error::InvalidSecret(format!("a rule may name {MAX_NAMED} secrets at most")));
        }
        let stored = self.store.secrets(room).await?;
        names.iter().try_for_each(|name| find(&stored, name, skill).map(|_| ()).map_err(Error::UnknownSecret))
    }

    /// What a step of `skill` gets that names these secrets; a sentence if it cannot have all of them.
    pub(crate) async fn for_step(&self, room: &RoomId, names: &[SecretName], skill: &str) -> Result<Granted, String> {
        let broken = |error: StoreError| {
            tracing::error!(%room, %error, "secrets cannot be read");
            "The room's secrets cannot be read from the database; the server's log says why.".to_owned()
        };
        let stored = self.store.secrets(room).await.map_err(broken)?;
        let opened: Vec<Result<Value, Why>> = stored.iter().map(|stored| self.open(room, stored)).collect();
        for (stored, opened) in stored.iter().zip(&opened) {
            if let Err(why) = opened {
                tracing::warn!(%room, secret = %stored.secret.name, %why, "a secret cannot be read, so it is not masked in output");
            }
        }
        let mut secrets = StepSecrets::default();
        for name in names {
            let at = find(&stored, name, skill)?;
            let value =
                opened[at].as_ref().map_err(|why| format!("The secret {name} cannot be given to this step: {why}."))?;
            let (name, value) = (name.clone(), value.clone());
            match &stored[at].secret.given {
                Given::Env => secrets.env.push((name, value)),
                Given::File => secrets.files.push((name, value)),
                Given::Header(header) => secrets.headers.push(StepHeader::new(name, header, value)),
                Given::Git(_) => return Err(for_git_alone(&name)),
            }
        }
        let values: Vec<&str> = opened.iter().flatten().map(Value::reveal).collect();
        // Some thousand bytes of values are some ten milliseconds of work.
        let bytes = values.iter().map(|value| value.len()).sum::<usize>();
        let known = buildspaces_kernel::tasks::lengthy(bytes > 2 << 10, || Known::new(values));
        Ok(Granted { secrets, known })
    }

    /// The same for a step that was given them at `since`, before a restart. Refused too if one of them was set anew: what the step prints of the
    /// former value could not be told any more.
    pub(crate) async fn for_step_since(
        &self,
        room: &RoomId,
        names: &[SecretName],
        skill: &str,
        since: UnixMillis,
    ) -> Result<Granted, String> {
        let granted = self.for_step(room, names, skill).await?;
        let stored = self.store.secrets(room).await.map_err(|error| error.to_string())?;
        let changed = stored.iter().find(|stored| names.contains(&stored.secret.name) && stored.secret.set_at >= since);
        match changed {
            Some(stored) => Err(format!("The secret {} was set anew while the step ran.", stored.secret.name)),
            None => Ok(granted),
        }
    }

    /// What git gets in its requests for `paths` to the server of the repository `url`, if the room has something for it; a sentence if that
    /// cannot be had. Of several secrets the one whose address is the longest, and then the newest.
    pub(crate) async fn for_git(
        &self,
        room: &RoomId,
        url: &Url,
        paths: Vec<String>,
    ) -> Result<Option<StepHeader>, String> {
        if self.key.is_none() {
            return Ok(None);
        }
        let stored = self.store.secrets(room).await.map_err(|error| {
            tracing::error!(%room, %error, "secrets cannot be read");
            "the room's secrets cannot be read from the database; the server's log says why".to_owned()
        })?;
        let covering = |stored: &StoredSecret| match &stored.secret.given {
            Given::Git(credential) => {
                let exactly = credential.covers(url.name(), url.port(), url.path())?;
                Some((exactly, stored.secret.set_at, credential.clone(), stored.clone()))
            }
            Given::Env | Given::File | Given::Header(_) => None,
        };
        let best = stored.iter().filter_map(covering).max_by_key(|(exactly, set_at, ..)| (*exactly, *set_at));
        let Some((_, _, credential, stored)) = best else { return Ok(None) };
        let name = stored.secret.name.clone();
        let value =
            self.open(room, &stored).map_err(|why| format!("the secret {name} cannot be given to git: {why}"))?;
        Ok(Some(StepHeader::git(name, &credential, value, paths)))
    }

    /// A step was given these secrets.
    pub(crate) async fn used(&self, room: &RoomId, names: &[SecretName], now: UnixMillis) {
        if names.is_empty() {
            return;
        }
        let list: Vec<&str> = names.iter().map(SecretName::as_str).collect();
        tracing::info!(%room, secrets = list.join(","), "a step is given secrets");
        if let Err(error) = self.store.secrets_used(room, names, now).await {
            tracing::error!(%room, %error, "when secrets were used is not stored");
        }
    }

    fn key(&self) -> Result<&Key, Error> {
        self.key.as_deref().ok_or(Error::SecretsOff)
    }

    fn open(&self, room: &RoomId, stored: &StoredSecret) -> Result<Value, Why> {
        let key = self.key.as_deref().ok_or(Why::NoKey)?;
        Ok(key.open(room, &stored.secret.name, &stored.sealed)?)
    }
}

/// Why a value is not at hand.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("this server has no key for secrets (secrets.key_file in its configuration)")]
    NoKey,
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Where the secret is; a sentence if steps of that skill cannot have it.
fn find(stored: &[StoredSecret], name: &SecretName, skill: &str) -> Result<usize, String> {
    let at = stored.iter().position(|stored| stored.secret.name == *name).ok_or_else(|| {
        format!("This room has no secret {name}, which the step asks for. A host of the room can add it under Secrets, or have the rule ask for it no more.")
    })?;
    if let Given::Git(_) = stored[at].secret.given {
        return Err(for_git_alone(name));
    }
    if stored[at].secret.skills.iter().any(|allowed| allowed == skill) {
        Ok(at)
    } else {
        Err(format!(
            "The secret {name} is not for steps of the skill {skill}. A host of the room can allow that under Secrets."
        ))
    }
}

fn for_git_alone(name: &SecretName) -> String {
    format!("The secret {name} is for git when the room pulls or pushes, not for steps.")
}

#[cfg(test)]
mod tests;
