//! With which versions and suites of TLS the server speaks.
//!
//! OpenShift has a TLS profile for the cluster, which operators hand to their programs by the names that Go has. Versions
//! before 1.2 and suites without forward secrecy are not spoken, whatever the profile says.

use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

static NEWEST: [&SupportedProtocolVersion; 1] = [&TLS13];
static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Versions and suites.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    suites: Vec<SupportedCipherSuite>,
}

impl Default for Profile {
    /// All that is spoken.
    fn default() -> Self {
        Self { suites: ring::ALL_CIPHER_SUITES.to_vec() }
    }
}

impl Profile {
    /// By what Go calls the oldest version and the suites, with commas. Empty means all. What cannot be followed is told,
    /// and the rest is followed: a pod must not fail to be created since a profile has one suite too many.
    pub fn parse(oldest: &str, suites: &str) -> (Self, Vec<String>) {
        let mut told = Vec::new();
        let only_newest = only_newest(oldest.trim(), &mut told);
        let wanted = wanted(suites, &mut told);
        let chosen = |suite: &SupportedCipherSuite| {
            // As in Go: suites of 1.3 are all spoken unless some of them are named.
            let of_version: Vec<_> = wanted.iter().filter(|other| is_new(other) == is_new(suite)).collect();
            let all = of_version.is_empty() && (is_new(suite) || wanted.is_empty());
            (all || of_version.contains(&suite)) && (is_new(suite) || !only_newest)
        };
        let suites = ring::ALL_CIPHER_SUITES.iter().copied().filter(chosen).collect();
        let profile = Self { suites };
        if !only_newest && profile.versions().len() == 1 {
            told.push(
                "none of the cipher suites is one of TLS 1.2, so that only TLS 1.3 is spoken".to_owned(),
            );
        }
        (profile, told)
    }

    /// The versions for which there are suites.
    pub fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        if self.suites.iter().all(is_new) { &NEWEST } else { &BOTH }
    }

    /// The crypto provider, limited to the suites.
    pub fn provider(&self) -> CryptoProvider {
        CryptoProvider { cipher_suites: self.suites.clone(), ..ring::default_provider() }
    }
}

fn is_new(suite: &SupportedCipherSuite) -> bool {
    suite.tls13().is_some()
}

/// Whether only 1.3 is to be spoken.
fn only_newest(oldest: &str, told: &mut Vec<String>) -> bool {
    match oldest {
        "VersionTLS13" => return true,
        "" | "VersionTLS12" => {}
        "VersionTLS10" | "VersionTLS11" | "VersionSSL30" => {
            told.push(format!("the oldest version of TLS is {oldest}, which is not safe; VersionTLS12 is used instead"));
        }
        _ => told.push(format!(
            "the oldest version of TLS is {oldest:?}, which is unknown; write VersionTLS12 or VersionTLS13; VersionTLS12 is used \
             until then"
        )),
    }
    false
}

/// The suites that are named and spoken.
fn wanted(names: &str, told: &mut Vec<String>) -> Vec<SupportedCipherSuite> {
    let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let by_name = |name: &str| {
        let mut spoken = ring::ALL_CIPHER_SUITES.iter().copied();
        spoken.find(|suite| go_names(suite).iter().any(|go| go == name))
    };
    let known: Vec<_> = names.iter().filter_map(|name| by_name(name)).collect();
    let unknown: Vec<_> = names.iter().copied().filter(|name| by_name(name).is_none()).collect();
    if !unknown.is_empty() {
        let rest =
            if known.is_empty() { "all that are spoken are offered" } else { "the others are offered" };
        let unknown = unknown.join(", ");
        told.push(format!(
            "cipher suites that are unknown or not spoken, as they are not safe: {unknown}; {rest}"
        ));
    }
    known
}

/// What Go calls a suite: the name of the standard, for two of them also without the hash, as in older versions. rustls
/// says `TLS13_` where they say `TLS_`.
fn go_names(suite: &SupportedCipherSuite) -> [String; 2] {
    let standard = format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1);
    let older = standard.replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305");
    [standard, older]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const NEW: [&str; 3] =
        ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];
    const SOME: &str = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";

    fn names(profile: &Profile) -> Vec<String> {
        profile.suites.iter().map(|suite| go_names(suite)[0].clone()).collect()
    }

    #[rstest]
    #[case::nothing("", "", 9, 2, "")]
    #[case::oldest("VersionTLS12", "", 9, 2, "")]
    #[case::newest("VersionTLS13", "", 3, 1, "")]
    #[case::newest_and_suites_of_both(
        "VersionTLS13",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384",
        1,
        1,
        ""
    )]
    #[case::some(" VersionTLS12 ", SOME, 4, 2, "")]
    #[case::some_of_each("", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256", 2, 2, "")]
    #[case::only_new_ones("", NEW[2], 1, 1, "none of the cipher suites is one of TLS 1.2, so that only TLS 1.3 is spoken")]
    #[case::older_name("", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", 4, 2, "")]
    #[case::old_version(
        "VersionTLS10",
        "",
        9,
        2,
        "the oldest version of TLS is VersionTLS10, which is not safe; VersionTLS12 is used instead"
    )]
    #[case::unknown_version(
        "1.3",
        "",
        9,
        2,
        "the oldest version of TLS is \"1.3\", which is unknown; write VersionTLS12 or VersionTLS13; VersionTLS12 is used until then"
    )]
    #[case::one_too_many(
        "",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA",
        4,
        2,
        "cipher suites that are unknown or not spoken, as they are not safe: TLS_RSA_WITH_AES_128_CBC_SHA; the others are offered"
    )]
    #[case::none_that_is_known(
        "",
        "AES,DES",
        9,
        2,
        "cipher suites that are unknown or not spoken, as they are not safe: AES, DES; all that are spoken are offered"
    )]
    fn a_profile_is_followed_as_far_as_it_is_safe(
        #[case] oldest: &str,
        #[case] suites: &str,
        #[case] count: usize,
        #[case] versions: usize,
        #[case] expected: &str,
    ) {
        let (profile, told) = Profile::parse(oldest, suites);
        assert_eq!(
            (profile.suites.len(), profile.versions().len()),
            (count, versions),
            "{:?}",
            names(&profile)
        );
        assert_eq!(told.join("\n"), expected);
    }

    #[test]
    fn all_suites_have_the_names_of_the_standard() {
        let found = names(&Profile::default());
        assert_eq!(found[..3], NEW);
        let of_1_2 = found[3..].iter().all(|name| name.starts_with("TLS_ECDHE_"));
        assert!(of_1_2, "{found:?}");
    }
}
