//! What can go wrong with a cloud, in sentences for the person who has the settings.

use crate::{Instance, Kind};

/// Why something could not be done in a cloud. No text contains a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A setting or credential is missing or cannot be used.
    #[error("{key} {problem}")]
    Setting {
        /// Its key.
        key: &'static str,
        /// What is wrong with it and what to do, the rest of a sentence.
        problem: String,
    },
    /// The cloud does not accept the credentials.
    #[error("{} does not accept the credentials: {message}", .kind.title())]
    Unauthorized {
        /// Which cloud.
        kind: Kind,
        /// What it said, and which key to change.
        message: String,
    },
    /// The cloud cannot be reached, or the connection broke.
    #[error("{} cannot be reached: {message}", .kind.title())]
    Unreachable {
        /// Which cloud.
        kind: Kind,
        /// Why.
        message: String,
    },
    /// The cloud is busy, limits requests or has no room at the moment.
    #[error("{} has no time or room for it now: {message}", .kind.title())]
    Busy {
        /// Which cloud.
        kind: Kind,
        /// What it said.
        message: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not come within {seconds} s; {hint}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// Where to look.
        hint: String,
    },
    /// Something that the settings name is not there.
    #[error("{what} {name} is not there; create it, or change {key}")]
    Missing {
        /// What it is: `storage pool`, `network`, ...
        what: &'static str,
        /// Its name, with where it was looked for.
        name: String,
        /// The key that names it.
        key: &'static str,
    },
    /// Something of that name is there and is not ours.
    #[error("{what} {name} is there already and is not of this pod: {owner}; it was left as it is")]
    Taken {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
        /// Whose it is, in words.
        owner: String,
    },
    /// An identifier that can never have been one of that cloud.
    #[error(
        "{id:?} is no identifier of {}, which are {expected}; it is not tried again: delete the machine by hand if there \
         is one, then remove the finalizer of the object that names it",
        .kind.title()
    )]
    MalformedId {
        /// Which cloud.
        kind: Kind,
        /// What was found.
        id: String,
        /// What one looks like.
        expected: &'static str,
    },
    /// What arrived is not what was sent.
    #[error(
        "{what} does not have the expected content: SHA-256 {expected} was expected and {found} found; {hint}"
    )]
    Checksum {
        /// What was compared.
        what: String,
        /// The digest that it should have.
        expected: String,
        /// The digest that it has.
        found: String,
        /// What was done about it, and what to do.
        hint: String,
    },
    /// The cloud refuses, and would refuse again.
    #[error("{} refuses to {action}: {message}", .kind.title())]
    Refused {
        /// Which cloud.
        kind: Kind,
        /// What was tried: `create domain podvm-a`, ...
        action: String,
        /// What it said.
        message: String,
    },
    /// This release cannot do that.
    #[error("{0}")]
    Unsupported(String),
    /// Whoever asked for it gave up waiting; what had been made was taken back.
    #[error("{0} was given up, because nobody waits for it any more")]
    Cancelled(String),
}

impl Error {
    /// Whether the same may succeed later without anyone changing anything.
    ///
    /// Wrong credentials are not transient by themselves, but people mend them: whoever retries does so with long pauses.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Busy { .. }
                | Self::Late { .. }
                | Self::Checksum { .. }
                | Self::Cancelled(_)
        )
    }

    /// Whether no change of settings, credentials or cloud can ever make it succeed.
    pub fn is_hopeless(&self) -> bool {
        matches!(self, Self::MalformedId { .. })
    }
}

/// A setting or credential that is missing or wrong, apart from what to do about it. No text contains a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {found}; {todo}")]
pub struct SettingError {
    /// Its key.
    pub key: String,
    /// What was found.
    pub found: String,
    /// What to do.
    pub todo: String,
}

impl SettingError {
    /// A setting, what was found, and what to do.
    pub fn new(key: &str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { key: key.to_owned(), found: found.into(), todo: todo.into() }
    }
}

/// Why a virtual machine was not created, and what is left of the try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}{}", self.left_words())]
pub struct CreateError {
    /// Why.
    pub error: Error,
    /// What is there nevertheless, because it could not be taken back: to be recorded, and deleted later by its identifier.
    pub left: Option<Box<Instance>>,
}

impl CreateError {
    /// Nothing is left of it.
    pub fn clean(error: Error) -> Self {
        Self { error, left: None }
    }

    /// That is left of it.
    pub fn with(error: Error, left: Instance) -> Self {
        Self { error, left: Some(Box::new(left)) }
    }

    fn left_words(&self) -> String {
        self.left.as_ref().map_or_else(String::new, |left| {
            format!("; {} ({}) could not be taken back and has to be deleted", left.name, left.id)
        })
    }
}

impl From<Error> for CreateError {
    fn from(error: Error) -> Self {
        Self::clean(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tags;

    #[test]
    fn only_what_may_pass_by_itself_is_transient() {
        let message = || "why".to_owned();
        let kind = Kind::Libvirt;
        for (error, transient) in [
            (Error::Unreachable { kind, message: message() }, true),
            (Error::Busy { kind, message: message() }, true),
            (Error::Unauthorized { kind, message: message() }, false),
            (Error::Setting { key: "LIBVIRT_URI", problem: message() }, false),
            (Error::MalformedId { kind, id: message(), expected: "UUIDs" }, false),
            (Error::Refused { kind, action: message(), message: message() }, false),
        ] {
            assert_eq!(error.is_transient(), transient, "{error}");
        }
    }

    #[test]
    fn what_is_left_is_told() {
        let left = Instance {
            id: "i-1".into(),
            name: "podvm-a-01234567".into(),
            tags: Tags::default(),
            addresses: vec![],
            created: None,
        };
        let error = CreateError::with(Error::Cancelled("podvm-a-01234567".into()), left);
        assert_eq!(
            error.to_string(),
            "podvm-a-01234567 was given up, because nobody waits for it any more; podvm-a-01234567 (i-1) could not be taken \
             back and has to be deleted"
        );
    }
}
