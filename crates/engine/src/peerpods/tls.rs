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
    /// Names as Go has them, which are those of the standard.
    pub ciphers: Vec<String>,
}

/// What profiles name as OpenSSL does, and the names of the standard. Whatever else a profile may allow is weaker than what
/// anything here would offer.
const CIPHERS: [(&str, &str); 6] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

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
        let asked = custom["ciphers"].as_array();
        let is_asked = |name: &str| asked.into_iter().flatten().any(|cipher| cipher == name);
        let ciphers = CIPHERS.iter().filter(|(name, _)| is_asked(name));
        Self {
            min_version: min_version.to_owned(),
            ciphers: ciphers.map(|(_, standard)| (*standard).to_owned()).collect(),
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
        json!({"type": "Custom", "custom": {"minTLSVersion": "VersionTLS11", "ciphers": [
            "ECDHE-RSA-AES128-GCM-SHA256", "DES-CBC3-SHA", "ECDHE-ECDSA-CHACHA20-POLY1305",
        ]}}),
        &[("TLS_MIN_VERSION", "VersionTLS12"), ("TLS_CIPHER_SUITES", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
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
