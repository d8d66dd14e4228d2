//! The settings that hold: what people wrote, under which spelling and in which object, and what the rest defaults to.

use std::collections::BTreeMap;

use osc_api::peerpods::Provider;
use osc_api::peerpods::keys::{self, Key};

/// Data of a config map or secret.
pub type Data = BTreeMap<String, String>;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The config map, by the key's name.
    Settings,
    /// The config map, by an older spelling.
    Alias(&'static str),
    /// The secret, where older documentation has it.
    Credentials,
    /// Nobody said anything.
    Default,
}

/// A setting that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key.
    pub name: &'static str,
    /// Its value, never empty.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// The provider that is asked for: by its name in `CLOUD_PROVIDER` of the settings, or of the credentials, as libvirt's
/// documentation has it.
pub fn provider(settings: &Data, credentials: Option<&Data>) -> Option<Provider> {
    let named = value(settings, "CLOUD_PROVIDER");
    let named = named.or_else(|| value(credentials?, "CLOUD_PROVIDER"));
    Provider::by_name(named?)
}

/// A value that is there; an empty one counts as absent.
pub fn value<'a>(data: &'a Data, key: &str) -> Option<&'a str> {
    data.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// The settings that hold with that provider, in the order of the table of keys. Keys without value and default are left
/// out.
pub fn effective(provider: Provider, settings: &Data, credentials: Option<&Data>) -> Vec<Setting> {
    keys::settings(provider).filter_map(|key| effective_of(key, settings, credentials)).collect()
}

fn effective_of(key: &'static Key, settings: &Data, credentials: Option<&Data>) -> Option<Setting> {
    let found = |value: &str, origin| Setting { name: key.name, value: value.to_owned(), origin };
    if let Some(own) = value(settings, key.name) {
        return Some(found(own, Origin::Settings));
    }
    for alias in key.aliases {
        if let Some(older) = value(settings, alias) {
            return Some(found(older, Origin::Alias(alias)));
        }
    }
    if let Some(elsewhere) = credentials.and_then(|credentials| value(credentials, key.name)) {
        return Some(found(elsewhere, Origin::Credentials));
    }
    key.default.map(|default| found(default, Origin::Default))
}

/// What the adaptor's environment has to say beyond the config map itself, which it gets whole: aliases under their
/// names, and documented defaults that the adaptor does not have.
pub fn environment(
    provider: Provider,
    settings: &Data,
    credentials: Option<&Data>,
) -> Vec<(&'static str, String)> {
    effective(provider, settings, credentials)
        .into_iter()
        .filter(|setting| matches!(setting.origin, Origin::Alias(_) | Origin::Default))
        .map(|setting| (setting.name, setting.value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> Data {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn setting(settings: &Data, credentials: Option<&Data>, name: &str) -> Option<(String, Origin)> {
        let provider = provider(settings, credentials).unwrap();
        let all = effective(provider, settings, credentials);
        all.into_iter().find(|setting| setting.name == name).map(|setting| (setting.value, setting.origin))
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        let settings = data(&[("CLOUD_PROVIDER", "aws"), ("VXLAN_PORT", ""), ("PODVM_AMI_ID", "")]);
        assert_eq!(setting(&settings, None, "VXLAN_PORT"), Some(("9000".to_owned(), Origin::Default)));
        assert_eq!(setting(&settings, None, "PODVM_AMI_ID"), None);
    }

    #[test]
    fn the_name_wins_over_an_older_spelling() {
        let mut settings = data(&[("CLOUD_PROVIDER", "gcp"), ("GCP_IMAGE_NAME", "old")]);
        let found = setting(&settings, None, "PODVM_IMAGE_NAME");
        assert_eq!(found, Some(("old".to_owned(), Origin::Alias("GCP_IMAGE_NAME"))));
        settings.insert("PODVM_IMAGE_NAME".to_owned(), "new".to_owned());
        assert_eq!(setting(&settings, None, "PODVM_IMAGE_NAME"), Some(("new".to_owned(), Origin::Settings)));
    }

    #[test]
    fn libvirt_is_read_from_the_secret_where_older_documentation_has_it() {
        let credentials = data(&[("CLOUD_PROVIDER", "libvirt"), ("LIBVIRT_POOL", "pool")]);
        let found = setting(&Data::new(), Some(&credentials), "LIBVIRT_POOL");
        assert_eq!(found, Some(("pool".to_owned(), Origin::Credentials)));
    }

    #[test]
    fn ordinary_machines_are_the_default_with_libvirt_only() {
        for (provider, expected) in
            [("aws", "false"), ("azure", "false"), ("gcp", "false"), ("libvirt", "true")]
        {
            let settings = data(&[("CLOUD_PROVIDER", provider)]);
            assert_eq!(setting(&settings, None, "DISABLECVM").unwrap().0, expected, "{provider}");
        }
    }

    #[test]
    fn the_environment_has_what_the_map_does_not_say() {
        let settings =
            data(&[("CLOUD_PROVIDER", "gcp"), ("VXLAN_PORT", "9001"), ("GCP_IMAGE_NAME", "image")]);
        let environment: BTreeMap<_, _> = environment(Provider::Gcp, &settings, None).into_iter().collect();
        assert_eq!(environment.get("VXLAN_PORT"), None);
        assert_eq!(environment["PODVM_IMAGE_NAME"], "image");
        assert_eq!(environment["ROOT_VOLUME_SIZE"], "6");
    }
}
