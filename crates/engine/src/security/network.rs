//! NetworkPolicies: nobody talks to the pods of this project who need not, and they talk to nobody they need not.
//!
//! Each group of pods is closed first, then opened for what it does. Where the network plugin knows no policies, they
//! have no effect.

use serde_json::{Value, json};

use super::webhooks;
use osc_api::names;
use osc_api::peerpods::webhook as peer_pods;

/// Port of kata-monitor's metrics with TLS.
pub const MONITOR_TLS_PORT: u16 = 8443;
/// Port of kata-monitor's metrics without TLS.
pub const MONITOR_PORT: u16 = 8090;
/// Port of the operator's health and metrics.
pub const OPERATOR_METRICS_PORT: u16 = 8080;

/// Policies that let somebody in carry this: traffic of the host network, where API server and Prometheus may be, is a
/// group of its own to OpenShift's network.
const HOST_NETWORK: &str = "policy-group.network.openshift.io/host-network";

/// Who is selected.
struct Pods {
    /// Prefix of the names of the policies.
    prefix: &'static str,
    label: (&'static str, &'static str),
}

const MONITOR: Pods = Pods { prefix: "kata-monitor", label: ("name", names::MONITOR) };
const OPERATOR: Pods = Pods { prefix: "operator", label: ("control-plane", "controller-manager") };
const PEER_PODS_WEBHOOK: Pods = Pods { prefix: "peer-pods-webhook", label: ("app", "peer-pods-webhook") };
const INSTALL: Pods = Pods { prefix: "kata-install", label: ("name", "osc-rpm-install") };
const UNINSTALL: Pods = Pods { prefix: "kata-uninstall", label: ("name", "osc-rpm-uninstall") };
const IMAGE_CREATION: Pods =
    Pods { prefix: "podvm-image-creation", label: ("job-name", "osc-podvm-image-creation") };
const IMAGE_DELETION: Pods =
    Pods { prefix: "podvm-image-deletion", label: ("job-name", "osc-podvm-image-deletion") };

impl Pods {
    fn policy(&self, suffix: &str, namespace: &str, ingress: bool, types: &[&str], rules: Value) -> Value {
        let (key, value) = self.label;
        let mut metadata = json!({"name": format!("{}-{suffix}", self.prefix), "namespace": namespace});
        if ingress {
            metadata["annotations"] = json!({HOST_NETWORK: ""});
        }
        let mut spec = json!({"podSelector": {"matchLabels": {key: value}}, "policyTypes": types});
        if let (Value::Object(spec), Value::Object(rules)) = (&mut spec, rules) {
            spec.extend(rules);
        }
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata,
            "spec": spec,
        })
    }

    fn deny_all(&self, namespace: &str) -> Value {
        self.policy("deny-all", namespace, false, &["Ingress", "Egress"], json!({}))
    }

    fn allow_in(&self, suffix: &str, namespace: &str, ports: &[u16]) -> Value {
        let ports: Vec<Value> = ports.iter().map(|port| json!({"protocol": "TCP", "port": port})).collect();
        self.policy(suffix, namespace, true, &["Ingress"], json!({"ingress": [{"ports": ports}]}))
    }

    /// The cluster's DNS: of OpenShift, and of Kubernetes as most install it.
    fn allow_dns(&self, namespace: &str) -> Value {
        let both = |port: u16| json!([{"protocol": "TCP", "port": port}, {"protocol": "UDP", "port": port}]);
        let of = |name: &str| json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]);
        let rules = json!({"egress": [
            {"ports": both(5353), "to": of("openshift-dns")},
            {"ports": both(53), "to": of("kube-system")},
        ]});
        self.policy("allow-dns-egress", namespace, false, &["Egress"], rules)
    }

    fn allow_out(&self, suffix: &str, namespace: &str) -> Value {
        self.policy(suffix, namespace, false, &["Egress"], json!({"egress": [{}]}))
    }
}

/// All of them, by the pods that they are about.
pub fn policies(namespace: &str) -> Vec<Value> {
    let mut all = vec![
        MONITOR.deny_all(namespace),
        MONITOR.allow_in("allow-metrics-ingress", namespace, &[MONITOR_TLS_PORT, MONITOR_PORT]),
        MONITOR.allow_dns(namespace),
        // The operator talks to the API server, whose address no selector can tell.
        OPERATOR.deny_all(namespace),
        OPERATOR.allow_in("allow-webhook-ingress", namespace, &[webhooks::PORT]),
        OPERATOR.allow_in("allow-metrics-ingress", namespace, &[OPERATOR_METRICS_PORT]),
        OPERATOR.allow_dns(namespace),
        OPERATOR.allow_out("allow-apiserver-egress", namespace),
        PEER_PODS_WEBHOOK.deny_all(namespace),
        PEER_PODS_WEBHOOK.allow_in("allow-webhook-ingress", namespace, &[peer_pods::PORT]),
        PEER_PODS_WEBHOOK.allow_in("allow-metrics-ingress", namespace, &[peer_pods::METRICS_PORT]),
        PEER_PODS_WEBHOOK.allow_dns(namespace),
        PEER_PODS_WEBHOOK.allow_out("allow-apiserver-egress", namespace),
    ];
    // Node agent and jobs fetch images and packages, and talk to clouds: whereto is not known here.
    for pods in [INSTALL, UNINSTALL, IMAGE_CREATION, IMAGE_DELETION] {
        all.push(pods.deny_all(namespace));
        all.push(pods.allow_out("allow-egress", namespace));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn policy(name: &str) -> Value {
        let found = policies("home").into_iter().find(|policy| policy["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no policy {name}"))
    }

    const CLOSED: &[u16] = &[];

    /// Selected label, whether it lets in, the ports that it opens for that, and whether it lets out anywhere.
    #[rstest]
    #[case("kata-monitor-deny-all", "name=openshift-sandboxed-containers-monitor", CLOSED, false)]
    #[case("kata-monitor-allow-metrics-ingress", "name=openshift-sandboxed-containers-monitor", &[8443, 8090], false)]
    #[case("operator-deny-all", "control-plane=controller-manager", CLOSED, false)]
    #[case("operator-allow-webhook-ingress", "control-plane=controller-manager", &[9443], false)]
    #[case("operator-allow-metrics-ingress", "control-plane=controller-manager", &[8080], false)]
    #[case("operator-allow-apiserver-egress", "control-plane=controller-manager", CLOSED, true)]
    #[case("peer-pods-webhook-deny-all", "app=peer-pods-webhook", CLOSED, false)]
    #[case("peer-pods-webhook-allow-webhook-ingress", "app=peer-pods-webhook", &[9443], false)]
    #[case("peer-pods-webhook-allow-metrics-ingress", "app=peer-pods-webhook", &[8080], false)]
    #[case("peer-pods-webhook-allow-apiserver-egress", "app=peer-pods-webhook", CLOSED, true)]
    #[case("kata-install-deny-all", "name=osc-rpm-install", CLOSED, false)]
    #[case("kata-install-allow-egress", "name=osc-rpm-install", CLOSED, true)]
    #[case("kata-uninstall-deny-all", "name=osc-rpm-uninstall", CLOSED, false)]
    #[case("kata-uninstall-allow-egress", "name=osc-rpm-uninstall", CLOSED, true)]
    #[case("podvm-image-creation-deny-all", "job-name=osc-podvm-image-creation", CLOSED, false)]
    #[case("podvm-image-creation-allow-egress", "job-name=osc-podvm-image-creation", CLOSED, true)]
    #[case("podvm-image-deletion-deny-all", "job-name=osc-podvm-image-deletion", CLOSED, false)]
    #[case("podvm-image-deletion-allow-egress", "job-name=osc-podvm-image-deletion", CLOSED, true)]
    fn a_policy_selects_these_pods_and_opens_these_ports(
        #[case] name: &str,
        #[case] label: &str,
        #[case] ports: &[u16],
        #[case] out: bool,
    ) {
        let policy = policy(name);
        let (key, value) = label.split_once('=').unwrap();
        let spec = &policy["spec"];
        assert_eq!(policy["metadata"]["namespace"], "home");
        assert_eq!(spec["podSelector"], json!({"matchLabels": {key: value}}));
        let expected: Vec<Value> =
            ports.iter().map(|port| json!({"protocol": "TCP", "port": port})).collect();
        let ingress = if ports.is_empty() { Value::Null } else { json!([{"ports": expected}]) };
        assert_eq!(spec["ingress"], ingress);
        assert_eq!(spec["egress"], if out { json!([{}]) } else { Value::Null });
        let annotations = &policy["metadata"]["annotations"];
        let host_network = if ports.is_empty() { Value::Null } else { json!({HOST_NETWORK: ""}) };
        assert_eq!(*annotations, host_network);
        let types = match (ports.is_empty(), out) {
            (false, _) => json!(["Ingress"]),
            (true, true) => json!(["Egress"]),
            (true, false) => json!(["Ingress", "Egress"]),
        };
        assert_eq!(spec["policyTypes"], types);
    }

    #[rstest]
    #[case("kata-monitor-allow-dns-egress")]
    #[case("operator-allow-dns-egress")]
    #[case("peer-pods-webhook-allow-dns-egress")]
    fn dns_is_reached_on_openshift_and_elsewhere(#[case] name: &str) {
        let egress = policy(name)["spec"]["egress"].clone();
        let to = |index: usize| egress[index]["to"][0]["namespaceSelector"]["matchLabels"].clone();
        assert_eq!(to(0), json!({"kubernetes.io/metadata.name": "openshift-dns"}));
        let ports = json!([{"protocol": "TCP", "port": 5353}, {"protocol": "UDP", "port": 5353}]);
        assert_eq!(egress[0]["ports"], ports);
        assert_eq!(to(1), json!({"kubernetes.io/metadata.name": "kube-system"}));
        assert_eq!(egress.as_array().unwrap().len(), 2);
    }

    #[test]
    fn whoever_is_opened_is_closed_first_and_no_name_is_there_twice() {
        let all = policies("home");
        let names: Vec<&str> =
            all.iter().map(|policy| policy["metadata"]["name"].as_str().unwrap()).collect();
        for policy in &all {
            let selector = &policy["spec"]["podSelector"];
            let closed = |other: &&Value| {
                let name = other["metadata"]["name"].as_str().unwrap();
                name.ends_with("-deny-all") && other["spec"]["podSelector"] == *selector
            };
            assert_eq!(all.iter().filter(closed).count(), 1, "{policy}");
        }
        let unique: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!((unique.len(), names.len()), (21, 21));
    }
}
