//! The feature gates: ConfigMap `osc-feature-gates`, read so that nothing in it can stop anything.
//!
//! A missing map and a missing key mean the default. A value that means nothing does, too, and is told.

use osc_api::names;
use serde_json::{Map, Value};

use crate::observed::{Observed, Settings};

/// Gate: confidential containers.
pub const CONFIDENTIAL: &str = "confidential";
/// Gate: how Kata comes to the nodes.
pub const DEPLOYMENT_MODE: &str = "deploymentMode";
/// Gate: Kata comes with an operating system image.
pub const LAYERED_IMAGE: &str = "layeredImageDeployment";
/// Gate: how the peer pods' DaemonSet is updated.
pub const CAA_UPDATE_STRATEGY: &str = "caaUpdateStrategy";
const KEYS: [&str; 4] = [CONFIDENTIAL, DEPLOYMENT_MODE, LAYERED_IMAGE, CAA_UPDATE_STRATEGY];

/// What the gate `deploymentMode` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedMode {
    /// Machine configs, whatever the cluster has.
    MachineConfig,
    /// A node agent, whatever the cluster has.
    DaemonSet,
    /// Machine configs where the Machine Config Operator is, else a node agent.
    DaemonSetFallback,
}

/// How the DaemonSet of peer pods is updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaaUpdateStrategy {
    /// One node after the other.
    #[default]
    RollingUpdate,
    /// Pods that somebody deletes come back in the new form.
    OnDelete,
}

/// The gates, and what is wrong with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureGates {
    /// Confidential containers.
    pub confidential: bool,
    /// How Kata comes to the nodes; nothing: the default, which depends on the cluster.
    pub deployment_mode: Option<RequestedMode>,
    /// Kata comes with an operating system image.
    pub layered_image: bool,
    /// How the DaemonSet of peer pods is updated.
    pub caa_update_strategy: CaaUpdateStrategy,
    /// Keys and values that mean nothing, each in a sentence with what is possible and what is used.
    pub complaints: Vec<String>,
}

/// Reads one value; on failure, words about what is possible and what is used instead.
struct Reader<'a> {
    map: String,
    data: Option<&'a Map<String, Value>>,
    complaints: Vec<String>,
}

impl Reader<'_> {
    fn read<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
        allowed: &str,
        default: &str,
    ) -> Option<T> {
        let text = self.data?.get(key)?.as_str().unwrap_or_default();
        let value = parse(text.trim());
        if value.is_none() {
            self.complaints.push(format!(
                "{}: {key} is {text:?}, which is none of {allowed}; the default is used: {default}",
                self.map
            ));
        }
        value
    }

    /// A key in other letters is taken for nobody's, and the person does not see why nothing happens.
    fn misspelt(&mut self) {
        for key in self.data.into_iter().flat_map(Map::keys) {
            let meant = KEYS.iter().find(|known| key.trim().eq_ignore_ascii_case(known) && key != *known);
            if let Some(meant) = meant {
                self.complaints.push(format!("{}: there is no key {key:?}; write {meant}", self.map));
            }
        }
    }
}

impl FeatureGates {
    /// The gates of the cluster.
    pub fn of(observed: &Observed, settings: &Settings) -> Self {
        Self::parse(observed.data(&settings.namespace, names::FEATURE_GATES), &settings.namespace)
    }

    /// Reads the map's data; `namespace` is for the words only.
    pub fn parse(data: Option<&Map<String, Value>>, namespace: &str) -> Self {
        let map = format!("ConfigMap {namespace}/{}", names::FEATURE_GATES);
        let mut reader = Reader { map, data, complaints: Vec::new() };
        let truth = "\"true\" and \"false\"";
        let confidential = reader.read(CONFIDENTIAL, boolean, truth, "false");
        let deployment_mode = reader.read(
            DEPLOYMENT_MODE,
            mode,
            "MachineConfig, DaemonSet and DaemonSetFallback",
            "MachineConfig, but DaemonSet on Kubernetes without OpenShift",
        );
        let layered_image = reader.read(LAYERED_IMAGE, boolean, truth, "false");
        let strategy =
            reader.read(CAA_UPDATE_STRATEGY, strategy, "RollingUpdate and OnDelete", "RollingUpdate");
        reader.misspelt();
        Self {
            confidential: confidential.unwrap_or_default(),
            deployment_mode,
            layered_image: layered_image.unwrap_or_default(),
            caa_update_strategy: strategy.unwrap_or_default(),
            complaints: reader.complaints,
        }
    }
}

/// As lenient as the Go operator; the documentation promises `true` and `false` only.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn mode(text: &str) -> Option<RequestedMode> {
    match text {
        "MachineConfig" => Some(RequestedMode::MachineConfig),
        "DaemonSet" => Some(RequestedMode::DaemonSet),
        "DaemonSetFallback" => Some(RequestedMode::DaemonSetFallback),
        _ => None,
    }
}

fn strategy(text: &str) -> Option<CaaUpdateStrategy> {
    match text {
        "RollingUpdate" => Some(CaaUpdateStrategy::RollingUpdate),
        "OnDelete" => Some(CaaUpdateStrategy::OnDelete),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn parse(data: &Value) -> FeatureGates {
        FeatureGates::parse(data.as_object(), "ns")
    }

    #[rstest]
    #[case::no_map(Value::Null)]
    #[case::empty_map(json!({}))]
    #[case::unknown_key(json!({"memoryOverheadMB": "350", "x": "y"}))]
    #[case::said(json!({"confidential": "false", "layeredImageDeployment": "0", "caaUpdateStrategy": "RollingUpdate"}))]
    fn defaults_hold(#[case] data: Value) {
        assert_eq!(parse(&data), FeatureGates::default());
    }

    #[rstest]
    #[case("true", true)]
    #[case("1", true)]
    #[case("t", true)]
    #[case("T", true)]
    #[case("True", true)]
    #[case("TRUE", true)]
    #[case(" true\n", true)]
    #[case("false", false)]
    #[case("0", false)]
    #[case("f", false)]
    #[case("F", false)]
    #[case("False", false)]
    #[case("FALSE", false)]
    fn booleans_are_read_leniently(#[case] text: &str, #[case] expected: bool) {
        let gates = parse(&json!({"confidential": text, "layeredImageDeployment": text}));
        assert_eq!((gates.confidential, gates.layered_image), (expected, expected));
        assert!(gates.complaints.is_empty());
    }

    #[rstest]
    #[case("MachineConfig", RequestedMode::MachineConfig)]
    #[case("DaemonSet", RequestedMode::DaemonSet)]
    #[case("DaemonSetFallback", RequestedMode::DaemonSetFallback)]
    fn modes_are_read(#[case] text: &str, #[case] expected: RequestedMode) {
        assert_eq!(parse(&json!({"deploymentMode": text})).deployment_mode, Some(expected));
    }

    #[test]
    fn strategies_are_read() {
        let gates = parse(&json!({"caaUpdateStrategy": "OnDelete"}));
        assert_eq!(gates.caa_update_strategy, CaaUpdateStrategy::OnDelete);
    }

    #[rstest]
    #[case(
        json!({"confidential": "yes"}),
        "ConfigMap ns/osc-feature-gates: confidential is \"yes\", which is none of \"true\" and \"false\"; the default is \
         used: false"
    )]
    #[case(
        json!({"confidential": ""}),
        "ConfigMap ns/osc-feature-gates: confidential is \"\", which is none of \"true\" and \"false\"; the default is \
         used: false"
    )]
    #[case(
        json!({"layeredImageDeployment": "on"}),
        "ConfigMap ns/osc-feature-gates: layeredImageDeployment is \"on\", which is none of \"true\" and \"false\"; the \
         default is used: false"
    )]
    #[case(
        json!({"deploymentMode": "daemonset"}),
        "ConfigMap ns/osc-feature-gates: deploymentMode is \"daemonset\", which is none of MachineConfig, DaemonSet and \
         DaemonSetFallback; the default is used: MachineConfig, but DaemonSet on Kubernetes without OpenShift"
    )]
    #[case(
        json!({"caaUpdateStrategy": "ondelete"}),
        "ConfigMap ns/osc-feature-gates: caaUpdateStrategy is \"ondelete\", which is none of RollingUpdate and OnDelete; \
         the default is used: RollingUpdate"
    )]
    #[case(
        json!({"Confidential": "true"}),
        "ConfigMap ns/osc-feature-gates: there is no key \"Confidential\"; write confidential"
    )]
    fn what_means_nothing_is_told_and_the_default_holds(#[case] data: Value, #[case] complaint: &str) {
        let gates = parse(&data);
        assert_eq!(gates, FeatureGates { complaints: vec![complaint.to_owned()], ..FeatureGates::default() });
    }

    #[test]
    fn one_bad_value_does_not_spoil_the_others() {
        let gates = parse(&json!({"confidential": "true", "deploymentMode": "?", "caaUpdateStrategy": "?"}));
        assert!(gates.confidential);
        assert_eq!(gates.complaints.len(), 2);
    }
}
