//! Applying the config map: only what is new or asked for, after showing it. No key is ever deleted.

use std::fmt::Write as _;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use osc_api::names::OPERATOR_NAMESPACE;
use osc_api::peerpods::SETTINGS;
use osc_engine::peerpods::config::Data;
use serde_json::json;

use super::known::Known;
use super::manifest::quoted;
use super::values::{Entry, From, says_something};
use crate::view::style;

/// Who writes.
const MANAGER: &str = "osc";

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The version of the config map that it is a change of; none: it is made.
    pub version: Option<String>,
    /// Key, value before (if any), value after.
    pub keys: Vec<(String, Option<String>, String)>,
}

/// What is to be changed on the cluster; values that are there and not asked for are not touched.
pub fn change(known: &Known, entries: &[Entry]) -> anyhow::Result<Change> {
    let missing: Vec<&Entry> = entries.iter().filter(|entry| entry.is_missing()).collect();
    ensure!(missing.is_empty(), "{}", words(&missing));
    let present = known.maps.get(SETTINGS);
    let none = Data::new();
    let data = present.map_or(&none, |(_, data)| data);
    let keys = entries.iter().filter_map(|entry| {
        let before = data.get(entry.key.name);
        let new = match entry.from {
            From::Kept => false,
            From::Asked => before != Some(&entry.value),
            // An empty value is as good as none, so that it is written only into a map that is made.
            _ => {
                before.is_none_or(|before| !says_something(before))
                    && (present.is_none() || !entry.value.is_empty())
            }
        };
        new.then(|| (entry.key.name.to_owned(), before.cloned(), entry.value.clone()))
    });
    Ok(Change { version: present.map(|(version, _)| version.clone()), keys: keys.collect() })
}

fn words(missing: &[&Entry]) -> String {
    let mut text = "nothing was applied: these values are not known; give them by --set KEY=VALUE".to_owned();
    for entry in missing {
        if let From::Missing(command) = &entry.from {
            let _ = write!(text, "\n  {} ({}):\n    {command}", entry.key.name, entry.key.meaning);
        }
    }
    text
}

impl Change {
    /// Line by line.
    pub fn lines(&self) -> Vec<String> {
        let title = format!("ConfigMap {OPERATOR_NAMESPACE}/{SETTINGS}");
        let mut lines = match (&self.version, self.keys.is_empty()) {
            (None, _) => vec![format!("{title} is made:")],
            (Some(_), false) => vec![format!("{title} is changed:")],
            (Some(_), true) => vec![format!("{title} has all of it already.")],
        };
        for (key, before, after) in &self.keys {
            if let Some(before) = before {
                lines.push(style::bad(&format!("  - {key}: {}", quoted(before))));
            }
            lines.push(style::good(&format!("  + {key}: {}", quoted(after))));
        }
        lines
    }

    /// Does it. A map that somebody else changed in the meantime is left alone.
    pub async fn apply(&self, client: &Client) -> anyhow::Result<()> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), OPERATOR_NAMESPACE);
        let data: Data = self.keys.iter().map(|(key, _, after)| (key.clone(), after.clone())).collect();
        let done = match &self.version {
            Some(_) if self.keys.is_empty() => return Ok(()),
            Some(version) => {
                let patch = json!({"metadata": {"resourceVersion": version}, "data": data});
                let params =
                    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
                api.patch(SETTINGS, &params, &Patch::Merge(&patch)).await
            }
            None => {
                let map = ConfigMap {
                    metadata: kube::api::ObjectMeta { name: Some(SETTINGS.to_owned()), ..Default::default() },
                    data: Some(data),
                    ..ConfigMap::default()
                };
                let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
                api.create(&params, &map).await
            }
        };
        match done {
            Ok(_) => Ok(()),
            Err(Error::Api(status)) if status.code == 409 => anyhow::bail!(
                "ConfigMap {SETTINGS} was changed by somebody else in the meantime; nothing was applied: run the command again"
            ),
            Err(Error::Api(status)) if status.code == 404 => anyhow::bail!(
                "namespace {OPERATOR_NAMESPACE} does not exist: install the operator first (oc apply -k deploy/)"
            ),
            Err(error) => Err(error).with_context(|| format!("cannot write ConfigMap {SETTINGS}")),
        }
    }
}
