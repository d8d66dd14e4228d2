//! The manifests, as text with comments.

use std::fmt::Write as _;

use osc_api::names::OPERATOR_NAMESPACE;
use osc_api::peerpods::keys;
use osc_api::peerpods::{Provider, SETTINGS};

use super::known::Known;
use super::values::{Entry, From};

/// How a value that is left to a person is marked.
pub const MARK: &str = "TO FILL IN";

/// A text as YAML has it in double quotes: JSON's strings are a part of that.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn head(provider: Provider, known: &Known, cloud: &str, entries: &[Entry]) -> String {
    let mut text = format!("# Settings of peer pods on {}.\n", provider.title());
    match &known.address {
        Some(address) => {
            let _ = writeln!(text, "# For the cluster at {address}");
        }
        None => text.push_str("# No cluster was asked.\n"),
    }
    let _ = writeln!(text, "# {cloud}");
    for (object, why) in &known.unreadable {
        let _ = writeln!(text, "# {object} could not be read: {}", why.replace('\n', " "));
    }
    let missing = entries.iter().filter(|entry| matches!(entry.from, From::Missing(_))).count();
    let _ = match missing {
        0 => Ok(()),
        1 => writeln!(text, "# One value is marked {MARK}. Then ask: osc peerpods check -f FILE"),
        missing => {
            writeln!(text, "# {missing} values are marked {MARK}. Then ask: osc peerpods check -f FILE")
        }
    };
    text
}

/// The config map. `cloud`: whether the cloud was asked, a sentence.
pub fn settings(provider: Provider, known: &Known, cloud: &str, entries: &[Entry]) -> String {
    let mut text = head(provider, known, cloud, entries);
    let _ = write!(
        text,
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {SETTINGS}\n  namespace: {OPERATOR_NAMESPACE}\ndata:\n"
    );
    for entry in entries {
        comment(&mut text, entry);
        let _ = writeln!(text, "  {}: {}", entry.key.name, quoted(&entry.value));
    }
    text.push_str(&others(provider, known, entries));
    text
}

fn comment(text: &mut String, entry: &Entry) {
    let meaning = entry.key.meaning;
    let _ = match &entry.from {
        From::Asked => writeln!(text, "  # {meaning} (asked for)"),
        From::Kept => writeln!(text, "  # {meaning} (kept as it is)"),
        From::Cluster(source) | From::Cloud(source) => writeln!(text, "  # {meaning} (from {source})"),
        From::Documented => writeln!(text, "  # {meaning}"),
        From::Job => writeln!(text, "  # {meaning}; left empty, the image job fills it in"),
        From::Missing(command) => writeln!(text, "  # {MARK}: {meaning}. This finds it:\n  #   {command}"),
    };
}

/// Keys of the map on the cluster that nobody knows; one's own are never lost. What should be secret is not printed.
fn others(provider: Provider, known: &Known, entries: &[Entry]) -> String {
    let mut text = String::new();
    let written =
        |name: &str| entries.iter().any(|entry| entry.key.name == name || entry.key.aliases.contains(&name));
    for (name, value) in known.settings().into_iter().flatten().filter(|(name, _)| !written(name)) {
        let secret = Provider::ALL
            .into_iter()
            .flat_map(keys::credentials)
            .any(|key| key.name == name && !keys::settings(provider).any(|setting| setting.name == name));
        let _ = if secret {
            writeln!(
                text,
                "  # {name} is on the cluster, too. It is a credential and belongs into peer-pods-secret."
            )
        } else {
            writeln!(text, "  # on the cluster already\n  {name}: {}", quoted(value))
        };
    }
    text
}
