//! Who asks: keys of a user, or a role taken on with the token of a service account.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;

use super::error::{Error, Result};
use crate::SettingError;

/// Keys of a role are renewed this long before they end.
const EARLY: Duration = Duration::from_mins(5);

/// How to log in.
#[derive(Clone)]
pub enum Login {
    /// Keys of a user, or of a session.
    Keys {
        /// Access key.
        id: String,
        /// Its secret.
        secret: String,
        /// Session of temporary keys.
        session: Option<String>,
    },
    /// A role that trusts the issuer of a token.
    WebIdentity {
        /// The role.
        role: String,
        /// File of the token; it is renewed by the kubelet, so it is read each time.
        token_file: String,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { .. } => f.write_str("Keys"),
            Self::WebIdentity { role, .. } => write!(f, "WebIdentity({role})"),
        }
    }
}

impl Login {
    /// From the keys of `peer-pods-secret`. An empty value is no value.
    pub fn from_settings(settings: &BTreeMap<String, String>) -> std::result::Result<Self, SettingError> {
        let get = |key: &str| settings.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let keys = (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"));
        let role = (get("AWS_ROLE_ARN"), get("AWS_WEB_IDENTITY_TOKEN_FILE"));
        let half = |missing: &str, present: &str| {
            let found = format!("not set, but {present} is");
            SettingError::new(missing, found, "set both of them in secret peer-pods-secret")
        };
        match (keys, role) {
            ((Some(id), Some(secret)), _) => Ok(Self::Keys {
                id: id.to_owned(),
                secret: secret.to_owned(),
                session: get("AWS_SESSION_TOKEN").map(str::to_owned),
            }),
            ((Some(_), None), _) => Err(half("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
            ((None, Some(_)), _) => Err(half("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
            (_, (Some(role), Some(token_file))) => {
                Ok(Self::WebIdentity { role: role.to_owned(), token_file: token_file.to_owned() })
            }
            (_, (Some(_), None)) => Err(half("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")),
            (_, (None, Some(_))) => Err(half("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")),
            ((None, None), (None, None)) => Err(SettingError::new(
                "AWS_ACCESS_KEY_ID",
                "secret peer-pods-secret has no credentials",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_ROLE_ARN and \
                 AWS_WEB_IDENTITY_TOKEN_FILE",
            )),
        }
    }
}

/// Keys with an end, as a role has them.
pub struct Session {
    /// The keys.
    pub keys: Credentials,
    /// When they end.
    pub until: SystemTime,
}

/// Keys as they are now.
pub struct Source {
    login: Login,
    session: Mutex<Option<Session>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.login.fmt(f)
    }
}

impl Source {
    /// Nothing is asked for yet.
    pub fn new(login: Login) -> Self {
        Self { login, session: Mutex::new(None) }
    }

    /// Keys to sign with. `assume` takes on a role: role and token in, keys out.
    pub fn keys(
        &self,
        now: SystemTime,
        assume: impl Fn(&str, &str) -> Result<Session>,
    ) -> Result<Credentials> {
        let (role, token_file) = match &self.login {
            Login::Keys { id, secret, session } => {
                return Ok(Credentials::new(id, secret, session.clone(), None, "peer-pods-secret"));
            }
            Login::WebIdentity { role, token_file } => (role, token_file),
        };
        let mut held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = held.as_ref().filter(|session| session.until > now + EARLY) {
            return Ok(session.keys.clone());
        }
        match token(token_file).map_err(Error::from).and_then(|token| assume(role, &token)) {
            Ok(session) => {
                let keys = session.keys.clone();
                *held = Some(session);
                Ok(keys)
            }
            // Renewal is tried early; until the end there is time to try again.
            Err(error) => match held.as_ref().filter(|session| session.until > now) {
                Some(session) => {
                    tracing::warn!(%error, role, "the keys of the role are not renewed yet");
                    Ok(session.keys.clone())
                }
                None => Err(error),
            },
        }
    }

    /// The keys were refused as too old.
    pub fn forget(&self) -> bool {
        let mut held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        held.take().is_some()
    }
}

fn token(file: &str) -> std::result::Result<String, SettingError> {
    let wrong = |found: String| {
        let todo = "the token of the service account has to be mounted there";
        SettingError::new("AWS_WEB_IDENTITY_TOKEN_FILE", found, todo)
    };
    let token =
        std::fs::read_to_string(file).map_err(|error| wrong(format!("{file} cannot be read: {error}")))?;
    let token = token.trim();
    if token.is_empty() {
        return Err(wrong(format!("{file} is empty")));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::cell::Cell;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[rstest]
    #[case(&[], "AWS_ACCESS_KEY_ID: secret peer-pods-secret has no credentials")]
    #[case(&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", " ")], "has no credentials")]
    #[case(&[("AWS_ACCESS_KEY_ID", "a")], "AWS_SECRET_ACCESS_KEY: not set, but AWS_ACCESS_KEY_ID is")]
    #[case(&[("AWS_SECRET_ACCESS_KEY", "hush")], "AWS_ACCESS_KEY_ID: not set")]
    #[case(&[("AWS_ROLE_ARN", "a")], "AWS_WEB_IDENTITY_TOKEN_FILE: not set")]
    #[case(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], "AWS_ROLE_ARN: not set")]
    fn half_a_login_is_refused(#[case] pairs: &[(&str, &str)], #[case] words: &str) {
        let error = Login::from_settings(&settings(pairs)).err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains(words) && !error.contains("hush"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let pairs = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hush")];
        let login = Login::from_settings(&settings(&pairs)).unwrap();
        assert!(!format!("{login:?} {:?}", Source::new(login.clone())).contains("hush"));
    }

    fn session(until: SystemTime) -> Session {
        Session { keys: Credentials::new("role", "secret", None, None, "test"), until }
    }

    fn failure() -> Error {
        SettingError::new("role", "refused", "nothing").into()
    }

    #[test]
    fn keys_of_a_role_are_held_until_shortly_before_their_end_and_the_token_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "first\n").unwrap();
        let token_file = file.display().to_string();
        let source = Source::new(Login::WebIdentity { role: "arn".to_owned(), token_file });
        let start = SystemTime::now();
        let asked = Cell::new(0);
        let assume = |_: &str, token: &str| {
            asked.set(asked.get() + 1);
            assert_eq!(token, if asked.get() == 1 { "first" } else { "second" });
            Ok(session(start + Duration::from_hours(1)))
        };
        source.keys(start, assume).unwrap();
        std::fs::write(&file, "second").unwrap();
        source.keys(start + Duration::from_mins(50), assume).unwrap();
        assert_eq!(asked.get(), 1);
        source.keys(start + Duration::from_mins(56), assume).unwrap();
        assert_eq!(asked.get(), 2);
        // A failed renewal matters only at the end.
        let fail = |_: &str, _: &str| Err(failure());
        assert!(source.keys(start + Duration::from_mins(58), fail).is_ok());
        assert!(source.keys(start + Duration::from_mins(61), fail).is_err());
    }
}
