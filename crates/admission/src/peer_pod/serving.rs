//! The webhook as a server: what its process has in common with whoever plays it elsewhere.

use osc_api::peerpods::webhook;

use super::{Options, Unusable, review};
use crate::Server;
use crate::certificate::Current;
use crate::tls::Profile;

/// Everything that its environment says.
#[derive(Debug)]
pub struct Settings {
    /// What it goes by.
    pub options: Options,
    /// With which TLS.
    pub profile: Profile,
    /// What a person should know about the environment.
    pub told: Vec<String>,
}

impl Settings {
    /// Reads the environment.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Unusable> {
        let (options, mut told) = Options::of_environment(&variable)?;
        let text = |name: &str| variable(name).unwrap_or_default();
        let (profile, told_of_tls) =
            Profile::parse(&text(webhook::TLS_VERSION_VARIABLE), &text(webhook::TLS_SUITES_VARIABLE));
        told.extend(told_of_tls);
        Ok(Self { options, profile, told })
    }

    /// A server that answers reviews of pods.
    pub fn server(self, certificate: Current) -> Server {
        let options = self.options;
        Server::new(certificate)
            .profile(self.profile)
            .route(webhook::PATH, move |request| std::future::ready(review(&request, &options)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_told_comes_from_both_halves() {
        let find = |name: &str| match name {
            webhook::OLD_CLASS_VARIABLE => Some("kata-remote".to_owned()),
            webhook::TLS_SUITES_VARIABLE => Some("TLS_OF_TOMORROW".to_owned()),
            _ => None,
        };
        let told = Settings::of_environment(find).unwrap().told.join("; ");
        assert!(told.contains("older name") && told.contains("TLS_OF_TOMORROW"), "{told}");
        let wrong = |name: &str| (name == webhook::CLASS_VARIABLE).then(|| "-".to_owned());
        assert!(Settings::of_environment(wrong).is_err());
    }
}
