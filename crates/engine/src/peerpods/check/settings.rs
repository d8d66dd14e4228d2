//! `peer-pods-cm` by itself: each key on its own.

use osc_api::peerpods::Provider;
use osc_api::peerpods::keys::{self, Key, Need};

use super::{Complaint, Data, SETTINGS, Setup, Severity, config, not_known, value, wrong_shape};
use crate::peerpods::config::Origin;

/// The provider and the settings; or why nothing else can be said.
pub fn provider(setup: &Setup) -> Result<(Provider, &Data), Complaint> {
    let blocks = |reason, what: String| Complaint::new(Severity::Blocks, reason, SETTINGS, what);
    let Some(data) = &setup.settings else {
        let told = blocks("SettingsMissing", "ConfigMap peer-pods-cm does not exist".to_owned());
        return Err(told
            .why("It says where pod VMs run. Nothing of peer pods is created without it.")
            .remedy("Create it: osc peerpods configure --provider aws|azure|gcp|libvirt prints one."));
    };
    let names = Provider::ALL.map(Provider::name);
    let all = names.join(", ");
    let remedy = format!("Set CLOUD_PROVIDER to one of {all}.");
    if let Some(provider) = config::provider(data, setup.credentials.as_ref()) {
        return Ok((provider, data));
    }
    let told = match value(data, "CLOUD_PROVIDER") {
        None => blocks("ProviderMissing", "CLOUD_PROVIDER is not set".to_owned()),
        Some(found) => {
            blocks("ProviderUnknown", format!("CLOUD_PROVIDER is {found:?}; expected one of {all}"))
        }
    };
    Err(told.why("It says where pod VMs run; without it nothing else can be checked.").remedy(remedy))
}

/// Missing, unknown and malformed keys.
pub fn check(provider: Provider, data: &Data, setup: &Setup) -> Vec<Complaint> {
    let mut found: Vec<Complaint> = Vec::new();
    let effective = config::effective(provider, data, setup.credentials.as_ref());
    for key in keys::settings(provider) {
        match effective.iter().find(|setting| setting.name == key.name) {
            None if key.need == Need::Required => found.push(missing(key)),
            None => {}
            Some(setting) => match setting.origin {
                Origin::Default => {}
                Origin::Settings => found.extend(wrong_shape(SETTINGS, key, key.name, &setting.value, false)),
                Origin::Alias(alias) => {
                    found.push(older_spelling(key, alias));
                    found.extend(wrong_shape(SETTINGS, key, alias, &setting.value, false));
                }
                Origin::Credentials => {
                    found.push(elsewhere(key));
                    // Those that the secret may have are looked at there.
                    if !keys::credentials(provider).iter().any(|own| own.name == key.name) {
                        found.extend(wrong_shape(super::CREDENTIALS, key, key.name, &setting.value, true));
                    }
                }
            },
        }
        found.extend(superseded(key, data));
    }
    found.extend(unknown(provider, data));
    found
}

fn missing(key: &Key) -> Complaint {
    let what = format!("{} is not set", key.name);
    Complaint::new(Severity::Blocks, "SettingMissing", SETTINGS, what)
        .why(format!("Its meaning: {}.", key.meaning))
        .remedy(format!(
            "Set {} in ConfigMap peer-pods-cm; osc peerpods configure tells how to find it.",
            key.name
        ))
}

fn older_spelling(key: &Key, alias: &str) -> Complaint {
    let what = format!("{alias} is an older spelling of {}", key.name);
    Complaint::new(Severity::Info, "OlderSpelling", SETTINGS, what)
        .why("It is understood, and other software may not understand it.")
        .remedy(format!("Rename it to {}.", key.name))
}

/// Both spellings are there.
fn superseded(key: &Key, data: &Data) -> Option<Complaint> {
    value(data, key.name)?;
    let alias = key.aliases.iter().find(|alias| value(data, alias).is_some())?;
    let what = format!("{alias} is set and so is {}, which it is an older spelling of", key.name);
    let told = Complaint::new(Severity::Warns, "SettingTwice", SETTINGS, what);
    Some(told.why(format!("{} counts.", key.name)).remedy(format!("Remove {alias}.")))
}

/// In the secret, where older documentation of libvirt has it; the provider's name belongs there, too.
fn elsewhere(key: &Key) -> Complaint {
    let what = format!("{} is in Secret peer-pods-secret and not in ConfigMap peer-pods-cm", key.name);
    let told = Complaint::new(Severity::Info, "OlderPlace", SETTINGS, what);
    told.why("It is understood there, as in older documentation.")
        .remedy(format!("Move {} to peer-pods-cm.", key.name))
}

/// Keys that nobody reads, or nobody of this provider.
fn unknown(provider: Provider, data: &Data) -> Vec<Complaint> {
    let known =
        |name: &str| keys::settings(provider).any(|key| key.name == name || key.aliases.contains(&name));
    let of_another = |name: &str| {
        let has = |key: &Key| key.name == name || key.aliases.contains(&name);
        Provider::ALL.into_iter().find(|other| keys::settings(*other).any(has))
    };
    let of_image = |name: &str| keys::image(provider).any(|key| key.name == name);
    // Told apart: see `credentials`.
    let secret = |name: &str| keys::credentials(provider).iter().any(|key| key.name == name);
    let strangers = data.keys().filter(|name| !known(name) && !secret(name));
    strangers
        .map(|name| match of_another(name) {
            _ if of_image(name) => {
                let map = provider.image_maps().first().copied().unwrap_or_default();
                let what = format!("{name} is for ConfigMap {map}");
                Complaint::new(Severity::Info, "OtherMap", SETTINGS, what)
                    .why("The image job reads both, and the other one counts where both have it.")
                    .remedy(format!("Move {name} to ConfigMap {map}."))
            }
            Some(other) => {
                let what =
                    format!("{name} is for {}, and CLOUD_PROVIDER is {}", other.title(), provider.name());
                Complaint::new(Severity::Warns, "OtherProvider", SETTINGS, what)
                    .why("It has no effect.")
                    .remedy(format!("Remove {name}, or correct CLOUD_PROVIDER."))
            }
            None => not_known(SETTINGS, name, keys::settings(provider)),
        })
        .collect()
}
