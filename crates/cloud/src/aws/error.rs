//! What AWS refuses, and what to do about it.

use std::fmt;

use crate::SettingError;

/// Result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// The longest message of AWS that is passed on: some carry kilobytes of encoded policy.
const LONGEST: usize = 300;

/// Codes by which AWS asks for patience.
const THROTTLING: [&str; 9] = [
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "SlowDown",
    "EC2ThrottledException",
];
/// Codes that say that the service is at fault, and that it may work next time.
const PASSING: [&str; 5] =
    ["InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout"];

/// Why AWS was not asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting or credential is missing or wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// AWS answered that it will not.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// No answer.
    #[error("{service} cannot be reached at {address} for {action}: {why}")]
    Unreachable {
        /// Service, for people.
        service: &'static str,
        /// Where it was sought.
        address: String,
        /// What was asked for.
        action: String,
        /// What the connection said.
        why: String,
    },
    /// An answer that makes no sense.
    #[error("{service} answered {action} with something else than expected: {why}")]
    Answer {
        /// Service, for people.
        service: &'static str,
        /// What was asked for.
        action: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A refusal of AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Service, for people.
    pub service: &'static str,
    /// What was asked for.
    pub action: String,
    /// HTTP status.
    pub status: u16,
    /// AWS's own code.
    pub code: String,
    /// AWS's own message, shortened.
    pub message: String,
}

impl Refusal {
    /// A refusal, its message cut to what a person reads.
    pub fn new(service: &'static str, action: &str, status: u16, code: &str, message: &str) -> Self {
        // "Encoded authorization failure message: ..." is for the account's own tools.
        let message = message.split("Encoded authorization").next().unwrap_or_default().trim();
        let message: String = message.chars().take(LONGEST).collect();
        Self { service, action: action.to_owned(), status, code: code.to_owned(), message }
    }

    /// What a person can do about it.
    fn todo(&self) -> Option<String> {
        let action = &self.action;
        Some(match self.code.as_str() {
            "AuthFailure" | "InvalidClientTokenId" | "InvalidAccessKeyId" => {
                "AWS does not know the access key: check AWS_ACCESS_KEY_ID of secret peer-pods-secret, and that the \
                 key is active"
                    .to_owned()
            }
            "SignatureDoesNotMatch" => "the secret does not belong to the access key: check AWS_SECRET_ACCESS_KEY \
                                        of secret peer-pods-secret"
                .to_owned(),
            "RequestExpired" | "RequestTimeTooSkewed" => {
                "the clock of this machine differs from AWS's: check its time service".to_owned()
            }
            "ExpiredToken" | "ExpiredTokenException" => {
                "the session is over: renew AWS_SESSION_TOKEN and its keys in secret peer-pods-secret".to_owned()
            }
            "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
                let service = self.service.to_lowercase();
                format!("allow {service}:{action} to the credentials of secret peer-pods-secret")
            }
            "OptInRequired" => "the account is not signed up for this service or region".to_owned(),
            "IllegalLocationConstraintException" | "AuthorizationHeaderMalformed" | "PermanentRedirect" => {
                "the bucket is in another region than AWS_REGION of config map peer-pods-cm".to_owned()
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused {} with {}", self.service, self.action, self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message.trim_end_matches('.'))?;
        }
        self.todo().map_or(Ok(()), |todo| write!(f, "; {todo}"))
    }
}

impl std::error::Error for Refusal {}

impl Error {
    /// The code of a refusal; empty for everything else.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.code,
            _ => "",
        }
    }

    /// What was asked about is not there.
    pub fn is_not_found(&self) -> bool {
        let Self::Refused(refusal) = self else { return false };
        refusal.code.ends_with(".NotFound")
            || ["NoSuchKey", "NoSuchBucket", "NoSuchUpload", "InvalidAMIID.Unavailable"]
                .contains(&refusal.code.as_str())
            || (refusal.status == 404 && refusal.service == "S3")
    }

    /// An identifier that is none.
    pub fn is_malformed(&self) -> bool {
        self.code().ends_with(".Malformed")
    }

    /// AWS asks for patience.
    pub fn is_throttling(&self) -> bool {
        THROTTLING.contains(&self.code())
    }

    /// The same request may work a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                self.is_throttling() || PASSING.contains(&refusal.code.as_str()) || refusal.status >= 500
            }
            Self::Unreachable { .. } => true,
            Self::Setting(_) | Self::Answer { .. } => false,
        }
    }

    /// The credentials ran out while they were used.
    pub fn is_expired(&self) -> bool {
        ["ExpiredToken", "ExpiredTokenException", "RequestExpired"].contains(&self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn refused(code: &str, status: u16) -> Error {
        Error::Refused(Box::new(Refusal::new("EC2", "RunInstances", status, code, "Words.")))
    }

    #[rstest]
    #[case("RequestLimitExceeded", 503, true, false, false)]
    #[case("SlowDown", 503, true, false, false)]
    #[case("InternalError", 500, true, false, false)]
    #[case("InvalidInstanceID.NotFound", 400, false, true, false)]
    #[case("InvalidSnapshot.NotFound", 400, false, true, false)]
    #[case("InvalidAMIID.Unavailable", 400, false, true, false)]
    #[case("InvalidInstanceID.Malformed", 400, false, false, true)]
    #[case("UnauthorizedOperation", 403, false, false, false)]
    fn codes_are_told_apart(
        #[case] code: &str,
        #[case] status: u16,
        #[case] passing: bool,
        #[case] gone: bool,
        #[case] malformed: bool,
    ) {
        let error = refused(code, status);
        assert_eq!(
            (error.is_passing(), error.is_not_found(), error.is_malformed()),
            (passing, gone, malformed)
        );
    }

    #[test]
    fn a_refusal_says_what_to_do_and_carries_no_policy() {
        let message = "You are not authorized. Encoded authorization failure message: abcdef";
        let refusal = Refusal::new("EC2", "RunInstances", 403, "UnauthorizedOperation", message);
        assert_eq!(
            refusal.to_string(),
            "EC2 refused RunInstances with UnauthorizedOperation: You are not authorized; allow ec2:RunInstances to \
             the credentials of secret peer-pods-secret"
        );
    }
}
