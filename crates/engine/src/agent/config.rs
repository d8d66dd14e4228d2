//! What the node agent is told: ConfigMap `osc-daemonset-config`, and what the cluster says about itself.

use osc_api::names;
use serde_json::Value;

use crate::object::Kind;
use crate::observed::{Observed, Settings};

/// How many nodes may have a turn at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxUnavailable {
    /// So many.
    Count(usize),
    /// So many of a hundred, at least one.
    Percent(usize),
}

impl MaxUnavailable {
    /// Of so many nodes.
    pub fn of(self, nodes: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (nodes * percent / 100).max(1),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent))?;
                Some(Self::Percent(percent))
            }
            None => text.parse().ok().filter(|count| *count > 0).map(Self::Count),
        }
    }
}

/// Everything that the agent's container is told, but for what every node has of its own. Empty text: not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// Image of the agent.
    pub image: Option<String>,
    /// Nodes that may have a turn at a time.
    pub max_unavailable: MaxUnavailable,
    /// Socket of the container runtime, for kata-monitor on Kubernetes without OpenShift.
    pub runtime_endpoint: String,
    /// Platform of the cluster, in lower case.
    pub cloud_provider: String,
    /// Image with the extensions of the operating system.
    pub extension_image: String,
    /// Image with `oc`.
    pub cli_image: String,
    /// Image with the kernel of IBM Secure Execution.
    pub addon_image: String,
    /// Where in it the kernel is.
    pub addon_kernel_path: String,
    /// Kata's static bundle: a path or a URL.
    pub bundle: String,
    /// Its digest.
    pub bundle_digest: String,
    /// What is wrong with the settings, each in a sentence.
    pub complaints: Vec<String>,
}

/// Where containerd listens, unless somebody says otherwise.
const CONTAINERD: &str = "/run/containerd/containerd.sock";

impl AgentConfig {
    /// Reads it.
    pub fn of(observed: &Observed, settings: &Settings) -> Self {
        let text = |namespace: &str, map: &str, key: &str| {
            let value = observed.data(namespace, map).and_then(|data| data.get(key)).and_then(Value::as_str);
            value.unwrap_or_default().trim().to_owned()
        };
        let own = |key: &str| text(&settings.namespace, names::DAEMON_SET_CONFIG_MAP, key);
        let addon = |key: &str| text(&settings.namespace, names::ADDON_CONFIG_MAP, key);
        let map = format!("ConfigMap {}/{}", settings.namespace, names::DAEMON_SET_CONFIG_MAP);
        let mut complaints = Vec::new();
        let max_unavailable = match own("maxUnavailable").as_str() {
            "" => MaxUnavailable::Count(1),
            found => MaxUnavailable::parse(found).unwrap_or_else(|| {
                complaints.push(format!(
                    "{map}: maxUnavailable is {found:?}; write a number of nodes, for instance 2, or a share of them, for \
                     instance 10%; the default is used: 1"
                ));
                MaxUnavailable::Count(1)
            }),
        };
        let bundle_digest = own("bundleDigest");
        if !bundle_digest.is_empty() && !is_digest(&bundle_digest) {
            complaints.push(format!(
                "{map}: bundleDigest is {bundle_digest:?}; write sha256: and 64 hexadecimal digits, as sha256sum prints them; \
                 nodes refuse the bundle until then"
            ));
        }
        let or = |first: String, second: &dyn Fn() -> String| if first.is_empty() { second() } else { first };
        Self {
            image: Some(own("image"))
                .filter(|image| !image.is_empty())
                .or_else(|| settings.agent_image.clone()),
            max_unavailable,
            runtime_endpoint: or(own("runtimeEndpoint"), &|| CONTAINERD.to_owned()),
            cloud_provider: cloud_provider(observed),
            extension_image: or(own("extensionImage"), &|| {
                text(names::MCO_NAMESPACE, names::OS_IMAGES_CONFIG_MAP, names::OS_EXTENSIONS_KEY)
            }),
            cli_image: own("cliImage"),
            addon_image: addon("addonImage"),
            addon_kernel_path: addon("kernelPath"),
            bundle: own("bundle"),
            bundle_digest,
            complaints,
        }
    }

    /// What has to be known before anything is begun and is not, with what to do about it.
    pub fn missing(&self, observed: &Observed, settings: &Settings) -> Option<(&'static str, String)> {
        let set = |key: &str, what: &str| {
            format!(
                "oc create configmap {map} -n {namespace} --from-literal={key}={what}, or, where the map exists, oc patch \
                 configmap {map} -n {namespace} --type merge -p '{{\"data\":{{\"{key}\":\"{what}\"}}}}'",
                map = names::DAEMON_SET_CONFIG_MAP,
                namespace = settings.namespace,
            )
        };
        if self.image.is_none() {
            let message = format!(
                "no image is known for the node agent, which installs Kata in DaemonSet mode: set RELATED_IMAGE_NODE_AGENT in \
                 the operator's Deployment, or the key image of ConfigMap {}: {}",
                names::DAEMON_SET_CONFIG_MAP,
                set("image", "IMAGE")
            );
            return Some(("NodeAgentImageMissing", message));
        }
        if observed.capabilities.openshift && self.extension_image.is_empty() && self.bundle.is_empty() {
            let message = format!(
                "DaemonSet mode on OpenShift installs packages from the release's image rhel-coreos-extensions, and which one \
                 that is could not be found: oc adm release info --image-for=rhel-coreos-extensions tells; then {}",
                set("extensionImage", "IMAGE")
            );
            return Some(("ExtensionImageUnknown", message));
        }
        None
    }
}

fn cloud_provider(observed: &Observed) -> String {
    let infrastructure = observed.cluster_object(Kind::Infrastructure, names::INFRASTRUCTURE);
    let platform = infrastructure.and_then(|found| found["status"]["platform"].as_str()).unwrap_or_default();
    match platform {
        "None" => "libvirt".to_owned(),
        platform => platform.to_lowercase(),
    }
}

fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectId;
    use crate::observed::Capabilities;
    use rstest::rstest;
    use serde_json::json;
    use std::sync::Arc;

    fn observed(maps: &[(&str, &str, Value)]) -> Observed {
        let objects = maps.iter().map(|(namespace, name, data)| {
            let id = ObjectId::namespaced(Kind::ConfigMap, namespace, name);
            (id, Arc::new(json!({"data": data})))
        });
        Observed { objects: objects.collect(), ..Observed::default() }
    }

    fn config(data: Value) -> AgentConfig {
        let map = (names::OPERATOR_NAMESPACE, names::DAEMON_SET_CONFIG_MAP, data);
        AgentConfig::of(&observed(&[map]), &Settings::default())
    }

    #[rstest]
    #[case::default(json!({}), 7, 1)]
    #[case::count(json!({"maxUnavailable": "3"}), 7, 3)]
    #[case::percent(json!({"maxUnavailable": "50%"}), 7, 3)]
    #[case::small_percent(json!({"maxUnavailable": "10%"}), 7, 1)]
    #[case::all(json!({"maxUnavailable": "100%"}), 7, 7)]
    fn so_many_nodes_have_a_turn(#[case] data: Value, #[case] nodes: usize, #[case] expected: usize) {
        let config = config(data);
        assert_eq!((config.max_unavailable.of(nodes), config.complaints.len()), (expected, 0));
    }

    #[rstest]
    #[case("0")]
    #[case("-1")]
    #[case("0%")]
    #[case("101%")]
    #[case("many")]
    #[case("1.5")]
    fn a_senseless_number_is_told_and_one_is_used(#[case] text: &str) {
        let config = config(json!({"maxUnavailable": text}));
        assert_eq!(config.max_unavailable, MaxUnavailable::Count(1));
        let told = &config.complaints[0];
        assert!(told.contains(&format!("maxUnavailable is {text:?}; write a number of nodes")), "{told}");
    }

    #[rstest]
    #[case("sha256:0123", false)]
    #[case("md5:9e107d9d372bb6826bd81d3542a419d6", false)]
    #[case("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", true)]
    fn a_digest_that_is_none_is_told(#[case] digest: &str, #[case] fine: bool) {
        assert_eq!(config(json!({"bundleDigest": digest})).complaints.is_empty(), fine);
    }

    #[rstest]
    #[case("AWS", "aws")]
    #[case("IBMCloud", "ibmcloud")]
    #[case("None", "libvirt")]
    #[case("", "")]
    fn the_platform_is_told_in_lower_case(#[case] platform: &str, #[case] expected: &str) {
        let mut observed = observed(&[]);
        let id = ObjectId::cluster(Kind::Infrastructure, names::INFRASTRUCTURE);
        observed.objects.insert(id, Arc::new(json!({"status": {"platform": platform}})));
        assert_eq!(AgentConfig::of(&observed, &Settings::default()).cloud_provider, expected);
    }

    #[test]
    fn the_key_goes_before_what_the_machine_config_operator_says() {
        let release = json!({"baseOSExtensionsContainerImage": "release@sha256:1"});
        let mco = (names::MCO_NAMESPACE, names::OS_IMAGES_CONFIG_MAP, release);
        let found = AgentConfig::of(&observed(std::slice::from_ref(&mco)), &Settings::default());
        assert_eq!(found.extension_image, "release@sha256:1");
        let own = json!({"extensionImage": "mine"});
        let own = (names::OPERATOR_NAMESPACE, names::DAEMON_SET_CONFIG_MAP, own);
        let found = AgentConfig::of(&observed(&[mco, own]), &Settings::default());
        assert_eq!(found.extension_image, "mine");
    }

    #[rstest]
    #[case::nothing(json!({}), false, Some("NodeAgentImageMissing"))]
    #[case::kubernetes(json!({"image": "i"}), false, None)]
    #[case::openshift(json!({"image": "i"}), true, Some("ExtensionImageUnknown"))]
    #[case::openshift_with_extensions(json!({"image": "i", "extensionImage": "e"}), true, None)]
    #[case::openshift_with_a_bundle(json!({"image": "i", "bundle": "/b"}), true, None)]
    fn what_is_missing_is_told_before_anything_is_begun(
        #[case] data: Value,
        #[case] openshift: bool,
        #[case] expected: Option<&str>,
    ) {
        let observed = Observed {
            capabilities: Capabilities { openshift, ..Capabilities::default() },
            ..Observed::default()
        };
        let missing = config(data).missing(&observed, &Settings::default());
        assert_eq!(missing.as_ref().map(|(reason, _)| *reason), expected);
    }
}
