//! Why an image was not made, in words for whoever reads the job's last lines.

use std::path::Path;

use crate::SettingError;

/// Result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong: what was found, and what to do. No text contains a credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is missing or cannot be used.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// This release cannot do that.
    #[error("{0}")]
    Unsupported(String),
    /// It is there, and it is not ours: it is neither replaced nor deleted.
    #[error("{0}")]
    Foreign(String),
    /// The registry does not give the image.
    #[error("image {image} cannot be pulled: {why}")]
    Registry {
        /// The image.
        image: String,
        /// Why, and what to do.
        why: String,
    },
    /// What came is not what was announced.
    #[error("{what} is damaged: {why}; nothing was made of it")]
    Damaged {
        /// What.
        what: String,
        /// How it shows.
        why: String,
    },
    /// What is in the image is no image of a pod VM.
    #[error("{what} cannot be used: {why}")]
    Unfit {
        /// What.
        what: String,
        /// Why, and what to do.
        why: String,
    },
    /// The job's own disk.
    #[error("{place} {why}")]
    Disk {
        /// Where.
        place: String,
        /// What is the matter.
        why: String,
    },
    /// A program that is needed is missing or failed.
    #[error("{program} {why}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What it did.
        why: String,
    },
    /// The cloud refuses, or does not do what it should.
    #[error("{0}")]
    Cloud(String),
}

impl Error {
    /// A setting.
    pub fn setting(key: &str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        SettingError::new(key, found, todo).into()
    }

    /// A file of the job.
    pub fn disk(place: &Path, error: &std::io::Error) -> Self {
        let place = place.display().to_string();
        if error.kind() == std::io::ErrorKind::StorageFull {
            let why =
                "is full; give the volume at /store of the image job more space, or use a smaller image"
                    .to_owned();
            return Self::Disk { place, why };
        }
        Self::Disk { place, why: format!("cannot be used: {error}") }
    }

    /// The exit status that says what kind of failure it is.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unsupported(_) => 3,
            Self::Foreign(_) => 4,
            _ => 1,
        }
    }
}

impl From<crate::aws::Error> for Error {
    fn from(error: crate::aws::Error) -> Self {
        match error {
            crate::aws::Error::Setting(setting) => Self::Setting(setting),
            other => Self::Cloud(other.to_string()),
        }
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Cloud(error.to_string())
    }
}
