//! The TLS profile of an OpenShift cluster, as its components take it: a least version and names of cipher suites.

use serde_json::Value;

use crate::object::Kind;
use crate::observed::Observed;

/// Name of the one APIServer configuration.
pub const API_SERVER: &str = "cluster";

/// What connections have to be like. Empty: as the software that is told thinks best.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsProfile {
    /// `VersionTLS12` or `VersionTLS13`.
    pub min_version: String,
    /// Names as OpenSSL has them.
    pub ciphers: Vec<String>,
}

const TLS12: &str = "VersionTLS12";
const TLS13: &str = "VersionTLS13";

impl TlsProfile {
    /// The cluster's. Versions before 1.2 are never offered, whatever the profile says.
    pub fn of(observed: &Observed) -> Self {
        let profile = observed.cluster_object(Kind::ApiServer, API_SERVER);
        let Some(profile) = profile.map(|found| &found["spec"]["tlsSecurityProfile"]) else {
            return Self::default();
        };
        match profile["type"].as_str() {
            Some("Modern") => Self { min_version: TLS13.to_owned(), ciphers: Vec::new() },
            Some("Old" | "Intermediate") => Self { min_version: TLS12.to_owned(), ciphers: Vec::new() },
            Some("Custom") => Self::custom(&profile["custom"]),
            _ => Self::default(),
        }
    }

    fn custom(custom: &Value) -> Self {
        let min_version = if custom["minTLSVersion"] == TLS13 { TLS13 } else { TLS12 };
        let ciphers = custom["ciphers"].as_array().into_iter().flatten();
        Self {
            min_version: min_version.to_owned(),
            ciphers: ciphers.filter_map(|cipher| cipher.as_str().map(str::to_owned)).collect(),
        }
    }

    /// As variables of a container.
    pub fn variables(&self) -> Vec<(String, String)> {
        let all =
            [("TLS_MIN_VERSION", self.min_version.clone()), ("TLS_CIPHER_SUITES", self.ciphers.join(","))];
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectId;
    use rstest::rstest;
    use serde_json::json;
    use std::sync::Arc;

    #[rstest]
    #[case::none(json!({}), &[])]
    #[case::modern(json!({"type": "Modern"}), &[("TLS_MIN_VERSION", "VersionTLS13")])]
    #[case::intermediate(json!({"type": "Intermediate"}), &[("TLS_MIN_VERSION", "VersionTLS12")])]
    #[case::old_is_not_that_old(json!({"type": "Old"}), &[("TLS_MIN_VERSION", "VersionTLS12")])]
    #[case::custom(
        json!({"type": "Custom", "custom": {"minTLSVersion": "VersionTLS11", "ciphers": ["A", "B"]}}),
        &[("TLS_MIN_VERSION", "VersionTLS12"), ("TLS_CIPHER_SUITES", "A,B")]
    )]
    #[case::unknown(json!({"type": "Future"}), &[])]
    fn the_profile_becomes_variables(#[case] profile: Value, #[case] expected: &[(&str, &str)]) {
        let mut observed = Observed::default();
        let id = ObjectId::cluster(Kind::ApiServer, API_SERVER);
        observed.objects.insert(id, Arc::new(json!({"spec": {"tlsSecurityProfile": profile}})));
        let found = TlsProfile::of(&observed).variables();
        let found: Vec<(&str, &str)> =
            found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected);
    }
}
