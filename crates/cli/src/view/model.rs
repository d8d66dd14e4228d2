//! What the live view shows: pure, from objects to news.

use std::collections::BTreeMap;

use osc_api::{KataConfig, names};
use osc_engine::Precedence;

use super::NodeView;

/// The cluster as far as the live view needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// KataConfigs by name.
    pub kata_configs: BTreeMap<String, KataConfig>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, NodeView>,
}

/// How far one node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Name.
    pub name: String,
    /// `installed`, `installing`, `waiting to install`, ...; `no kata` if Kata is not there and not asked for.
    pub state: &'static str,
    /// `draining`, `rebooting` or `applying` while it is being changed.
    pub phase: Option<&'static str>,
    /// From 0 (no Kata) to 100 (installed).
    pub percent: u64,
}

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A node is further, or elsewhere.
    Node(NodeRow),
    /// A condition of a KataConfig changed.
    Condition {
        /// Name of the KataConfig.
        kata_config: String,
        /// `InProgress` or `Degraded`.
        type_: String,
        /// `True` or `False`.
        status: String,
        /// One word, or empty.
        reason: String,
        /// For people.
        message: String,
    },
    /// A KataConfig is gone.
    Gone {
        /// Its name.
        kata_config: String,
    },
}

impl Snapshot {
    /// The KataConfig that counts, as the operator sees it.
    pub fn kata_config(&self) -> Option<&KataConfig> {
        self.kata_configs.values().min_by_key(|kata_config| Precedence::of_metadata(&kata_config.metadata))
    }

    /// The rows of the nodes that have Kata, are to have it, or could have it.
    pub fn rows(&self) -> Vec<NodeRow> {
        let status =
            self.kata_config().and_then(|kata_config| kata_config.status.clone()).unwrap_or_default();
        let nodes = &status.kata_nodes;
        let lists: [(&str, &Vec<String>); 7] = [
            ("installed", &nodes.installed),
            ("installing", &nodes.installing),
            ("waiting to install", &nodes.waiting_to_install),
            ("failed to install", &nodes.failed_to_install),
            ("uninstalling", &nodes.uninstalling),
            ("waiting to uninstall", &nodes.waiting_to_uninstall),
            ("failed to uninstall", &nodes.failed_to_uninstall),
        ];
        let state =
            |name: &String| lists.iter().find(|(_, list)| list.contains(name)).map(|(state, _)| *state);
        self.nodes
            .iter()
            .filter(|(name, node)| node.labels.contains_key(names::WORKER_NODE_ROLE) || state(name).is_some())
            .map(|(name, node)| row(name, node, state(name).unwrap_or("no kata")))
            .collect()
    }

    /// What is new since `before`, nodes last.
    pub fn news(&self, before: &Self) -> Vec<News> {
        let mut news = Vec::new();
        for (name, kata_config) in &self.kata_configs {
            let old = before.kata_configs.get(name).and_then(|old| old.status.clone()).unwrap_or_default();
            let new = kata_config.status.clone().unwrap_or_default();
            for type_ in ["InProgress", "Degraded"] {
                let told = |status: &osc_api::KataConfigStatus| {
                    status.condition(type_).map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
                };
                let now = told(&new);
                let quiet = type_ == "Degraded" && told(&old).is_none_or(|(status, ..)| status == "False");
                let Some((status, reason, message)) = now.filter(|now| Some(now) != told(&old).as_ref())
                else {
                    continue;
                };
                if quiet && status == "False" {
                    continue;
                }
                news.push(News::Condition {
                    kata_config: name.clone(),
                    type_: type_.to_owned(),
                    status,
                    reason,
                    message,
                });
            }
        }
        let gone = before.kata_configs.keys().filter(|name| !self.kata_configs.contains_key(*name));
        news.extend(gone.map(|name| News::Gone { kata_config: name.clone() }));
        let old: BTreeMap<String, NodeRow> =
            before.rows().into_iter().map(|row| (row.name.clone(), row)).collect();
        news.extend(self.rows().into_iter().filter(|row| old.get(&row.name) != Some(row)).map(News::Node));
        news
    }

    /// Whether a KataConfig exists and nothing is in progress; `Some(message)` if somebody should look.
    pub fn settled(&self) -> bool {
        self.kata_config().and_then(|kata_config| kata_config.status.as_ref()).is_some_and(|status| {
            status.condition("InProgress").is_some_and(|c| c.status == "False" && c.reason.is_empty())
        })
    }

    /// Status, reason and message of a condition of the KataConfig that counts.
    pub fn condition(&self, type_: &str) -> Option<(String, String, String)> {
        let condition = self.kata_config()?.status.as_ref()?.condition(type_)?;
        Some((condition.status.clone(), condition.reason.clone(), condition.message.clone()))
    }
}

fn row(name: &str, node: &NodeView, state: &'static str) -> NodeRow {
    let (phase, percent) = match state {
        "installed" | "waiting to uninstall" | "failed to uninstall" => (None, 100),
        "installing" | "uninstalling" => {
            let (phase, percent) = match (node.ready, node.draining) {
                (true, true) => ("draining", 20),
                (true, false) => ("applying", 40),
                (false, _) => ("rebooting", 70),
            };
            (Some(phase), if state == "installing" { percent } else { 100 - percent })
        }
        _ => (None, 0),
    };
    NodeRow { name: name.to_owned(), state, phase, percent }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn snapshot(in_progress: &str, installing: &[&str], ready: bool) -> Snapshot {
        let kata_config = serde_json::from_value(json!({
            "metadata": {"name": "k"},
            "status": {
                "conditions": [
                    {"type": "InProgress", "status": in_progress, "reason": "", "message": "m",
                     "lastTransitionTime": "2026-01-01T00:00:00Z"},
                    {"type": "Degraded", "status": "False", "reason": "AsExpected", "message": "",
                     "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "kataNodes": {"nodeCount": 1, "readyNodeCount": 0, "installing": installing}
            }
        }))
        .unwrap();
        let node = NodeView {
            labels: [(names::WORKER_NODE_ROLE.to_owned(), String::new())].into(),
            ready,
            draining: !installing.is_empty(),
        };
        Snapshot {
            kata_configs: [("k".to_owned(), kata_config)].into(),
            nodes: [("w0".to_owned(), node)].into(),
        }
    }

    #[test]
    fn news_are_what_changed_and_a_healthy_start_is_none() {
        let before = snapshot("False", &[], true);
        let after = snapshot("True", &["w0"], true);
        let news = after.news(&before);
        assert_eq!(news.len(), 2, "{news:?}");
        assert!(
            matches!(&news[0], News::Condition { type_, status, .. } if type_ == "InProgress" && status == "True")
        );
        let row = NodeRow { name: "w0".into(), state: "installing", phase: Some("draining"), percent: 20 };
        assert_eq!(news[1], News::Node(row));
        assert_eq!(after.news(&after), []);
    }

    #[test]
    fn a_node_that_is_down_reboots() {
        let rows = snapshot("True", &["w0"], false).rows();
        assert_eq!((rows[0].phase, rows[0].percent), (Some("rebooting"), 70));
    }

    #[test]
    fn a_kata_config_that_went_is_news() {
        let before = snapshot("False", &[], true);
        let after = Snapshot { nodes: before.nodes.clone(), ..Snapshot::default() };
        assert_eq!(after.news(&before)[0], News::Gone { kata_config: "k".into() });
    }

    /// What the operator goes on with, and not what is merely older.
    #[test]
    fn a_kata_config_that_only_others_hold_does_not_count() {
        let mut both = snapshot("False", &[], true);
        let newer = serde_json::from_value(json!({
            "metadata": {"name": "newer", "creationTimestamp": "2026-01-02T00:00:00Z"}
        }));
        both.kata_configs.insert("newer".to_owned(), newer.unwrap());
        assert_eq!(both.kata_config().unwrap().metadata.name.as_deref(), Some("k"));
        let left = json!({"metadata": {
            "name": "k", "deletionTimestamp": "2026-01-03T00:00:00Z", "finalizers": ["example.com/hold"],
        }});
        both.kata_configs.insert("k".to_owned(), serde_json::from_value(left).unwrap());
        assert_eq!(both.kata_config().unwrap().metadata.name.as_deref(), Some("newer"));
    }
}
