//! What a person sets: `--set KEY=VALUE`.

use anyhow::{bail, ensure};
use osc_api::peerpods::Provider;
use osc_api::peerpods::keys::{self, Key};
use osc_engine::peerpods::{check, shape};

/// A setting that a person asks for.
pub type Asked = (&'static Key, String);

/// Reads them against the schema of that provider. What is wrong is told without values of credentials.
pub fn read(provider: Provider, texts: &[String]) -> anyhow::Result<Vec<Asked>> {
    let mut asked: Vec<Asked> = Vec::new();
    for text in texts {
        let Some((name, value)) = text.split_once('=') else {
            bail!("--set {text} is no KEY=VALUE");
        };
        let key = key(provider, name)?;
        ensure!(!asked.iter().any(|(other, _)| other.name == key.name), "--set {name} is given twice");
        if key.name == "CLOUD_PROVIDER" {
            ensure!(
                value == provider.name(),
                "--set CLOUD_PROVIDER={value} and the provider {}: choose one of the two, by --provider",
                provider.name()
            );
        }
        if !value.is_empty()
            && let Err(expected) = shape::check(key.shape, value)
        {
            bail!("--set {name}: found {value:?}, expected {expected} ({})", key.meaning);
        }
        asked.push((key, value.to_owned()));
    }
    Ok(asked)
}

fn key(provider: Provider, name: &str) -> anyhow::Result<&'static Key> {
    if let Some(key) = keys::settings(provider).find(|key| key.name == name) {
        return Ok(key);
    }
    if let Some(key) = keys::settings(provider).find(|key| key.aliases.contains(&name)) {
        bail!("--set {name}: that is an older spelling; write {}", key.name);
    }
    if keys::credentials(provider).iter().any(|key| key.name == name) {
        bail!(
            "--set {name}: that is a credential and belongs into Secret peer-pods-secret, not into a config map or on a \
             command line; --with secret prints a template"
        );
    }
    let elsewhere =
        |other: &Provider| *other != provider && keys::settings(*other).any(|key| key.name == name);
    if let Some(other) = Provider::ALL.iter().find(|other| elsewhere(other)) {
        bail!("--set {name}: that is a key of {}, and the provider is {}", other.title(), provider.name());
    }
    match check::nearest(name, keys::settings(provider)) {
        Some(near) => bail!("--set {name}: there is no such key; {} is one ({})", near.name, near.meaning),
        None => bail!(
            "--set {name}: there is no such key; the guide has a table of all keys of {}",
            provider.name()
        ),
    }
}
