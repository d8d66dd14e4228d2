//! Which questions the API server asks this project, and where.

use osc_api::names;
use serde_json::{Value, json};

/// Service in front of the operator's webhook server.
pub const SERVICE: &str = "webhook-service";
/// Port of that Service.
pub const SERVICE_PORT: u16 = 443;
/// Port of the webhook server.
pub const PORT: u16 = 9443;
/// Name of that port.
pub const PORT_NAME: &str = "webhook-server";
/// Secret with the serving certificate, which OpenShift's service CA fills.
pub const CERTIFICATE_SECRET: &str = "webhook-server-cert";
/// Secret with the operator's own authority, where there is no service CA.
pub const AUTHORITY_SECRET: &str = "osc-webhook-certificates";
/// Where the first of these is mounted.
pub const CERTIFICATE_DIRECTORY: &str = "/tmp/k8s-webhook-server/serving-certs";

/// Configuration of the webhooks that validate KataConfigs.
pub const VALIDATING: &str = "validating-webhook-configuration";
/// Path of the validation of KataConfigs.
pub const KATA_CONFIG_PATH: &str = "/validate-kataconfiguration-openshift-io-v1-kataconfig";
/// Webhook that is asked when a KataConfig is created.
pub const KATA_CONFIG_CREATE: &str = "vkataconfig.kb.io";
/// Webhook that is asked when one is changed.
pub const KATA_CONFIG_UPDATE: &str = "vkataconfig-update.kb.io";

/// Configuration of the webhook that gives pods a memory overhead. It exists only while that is asked for.
pub const MEMORY_OVERHEAD: &str = "osc-memory-overhead";
/// Its webhook.
pub const MEMORY_OVERHEAD_WEBHOOK: &str = "mpods.kb.io";
/// Its path.
pub const MEMORY_OVERHEAD_PATH: &str = "/mutate-pods-v1";

/// Key of the feature gates that asks for a memory overhead.
pub const MEMORY_OVERHEAD_KEY: &str = "memoryOverheadMB";

/// Makes OpenShift's service CA issue the serving certificate.
pub const SERVING_CERTIFICATE: &str = "service.beta.openshift.io/serving-cert-secret-name";
/// Makes OpenShift's service CA tell the API server whom to trust.
pub const INJECT_BUNDLE: &str = "service.beta.openshift.io/inject-cabundle";

/// How the API server reaches the webhook server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// By the Service in this namespace.
    Service {
        /// The operator's namespace.
        namespace: String,
    },
    /// By this URL, without a slash at its end: an operator outside of the cluster.
    Url(String),
}

/// `clientConfig` of a webhook. `bundle` is whom to trust, in base64; without one somebody else fills it in.
pub fn client_config(place: &Place, path: &str, bundle: Option<&str>) -> Value {
    let mut config = match place {
        Place::Service { namespace } => json!({
            "service": {"namespace": namespace, "name": SERVICE, "port": SERVICE_PORT, "path": path},
        }),
        Place::Url(url) => json!({"url": format!("{url}{path}")}),
    };
    if let Some(bundle) = bundle {
        config["caBundle"] = json!(bundle);
    }
    config
}

/// The path of each webhook of [`VALIDATING`].
pub const VALIDATING_PATHS: [(&str, &str); 2] =
    [(KATA_CONFIG_CREATE, KATA_CONFIG_PATH), (KATA_CONFIG_UPDATE, KATA_CONFIG_PATH)];

/// The validation of KataConfigs.
///
/// One that is created waits for the operator: who creates is there to read the answer. One that is changed does not: a
/// KataConfig whose operator is gone must stay removable, finalizers and all, and what is wrong in a change the operator
/// tells in its status, too.
pub fn validating(namespace: &str) -> Value {
    let place = Place::Service { namespace: namespace.to_owned() };
    let webhook = |name: &str, operation: &str, failure_policy: &str, timeout: u8| {
        json!({
            "name": name,
            "clientConfig": client_config(&place, KATA_CONFIG_PATH, None),
            "rules": [{
                "apiGroups": [names::KATACONFIG_GROUP],
                "apiVersions": ["v1"],
                "operations": [operation],
                "resources": ["kataconfigs"],
                "scope": "Cluster",
            }],
            "failurePolicy": failure_policy,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": timeout,
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": VALIDATING, "annotations": {INJECT_BUNDLE: "true"}},
        "webhooks": [
            webhook(KATA_CONFIG_CREATE, "CREATE", "Fail", 10),
            webhook(KATA_CONFIG_UPDATE, "UPDATE", "Ignore", 5),
        ],
    })
}

/// Namespaces whose pods are none of this project's business: those that keep the cluster itself running, and the
/// operator's own.
pub fn is_system_namespace(namespace: &str, own: &str) -> bool {
    namespace == own
        || namespace == "openshift"
        || namespace.starts_with("openshift-")
        || namespace.starts_with("kube-")
}

/// The memory overhead webhook. Without a `bundle`, OpenShift's service CA fills it in.
///
/// A pod that is created while the operator does not answer goes without the annotation. Selectors cannot tell prefixes,
/// so that the webhook itself passes over what [`is_system_namespace`] says and the selector does not.
pub fn memory_overhead(namespace: &str, place: &Place, bundle: Option<&str>) -> Value {
    let mut metadata = json!({"name": MEMORY_OVERHEAD});
    if bundle.is_none() {
        metadata["annotations"] = json!({INJECT_BUNDLE: "true"});
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": metadata,
        "webhooks": [{
            "name": MEMORY_OVERHEAD_WEBHOOK,
            "clientConfig": client_config(place, MEMORY_OVERHEAD_PATH, bundle),
            "rules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "Namespaced",
            }],
            "namespaceSelector": {"matchExpressions": [
                {
                    "key": "kubernetes.io/metadata.name",
                    "operator": "NotIn",
                    "values": [namespace, "kube-system", "kube-public", "kube-node-lease"],
                },
                // OpenShift marks with it what must run before everything else.
                {"key": "openshift.io/run-level", "operator": "NotIn", "values": ["0", "1"]},
            ]},
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "Never",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 2,
        }],
    })
}

/// The Service in front of the webhook server.
pub fn service(namespace: &str, pods: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": SERVICE,
            "namespace": namespace,
            "annotations": {SERVING_CERTIFICATE: CERTIFICATE_SECRET},
        },
        "spec": {
            "selector": pods,
            "ports": [{
                "name": PORT_NAME, "port": SERVICE_PORT, "targetPort": PORT_NAME, "protocol": "TCP",
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "vkataconfig.kb.io", "CREATE", "Fail")]
    #[case(1, "vkataconfig-update.kb.io", "UPDATE", "Ignore")]
    fn a_webhook_is_the_documented_one(
        #[case] index: usize,
        #[case] name: &str,
        #[case] operation: &str,
        #[case] failure_policy: &str,
    ) {
        let configuration = validating("home");
        assert_eq!(configuration["metadata"]["name"], "validating-webhook-configuration");
        let webhook = &configuration["webhooks"][index];
        assert_eq!(
            (webhook["name"].as_str(), webhook["failurePolicy"].as_str()),
            (Some(name), Some(failure_policy))
        );
        assert_eq!(webhook["rules"][0]["operations"], json!([operation]));
        assert_eq!(webhook["sideEffects"], "None");
        assert_eq!(webhook["admissionReviewVersions"], json!(["v1"]));
        let service = json!({"namespace": "home", "name": "webhook-service", "port": 443,
            "path": "/validate-kataconfiguration-openshift-io-v1-kataconfig"});
        assert_eq!(webhook["clientConfig"], json!({"service": service}));
        assert_eq!(VALIDATING_PATHS[index].0, name);
    }

    #[rstest]
    #[case("default", false)]
    #[case("my-openshift", false)]
    #[case("kubernetes-dashboard", false)]
    #[case("home", true)]
    #[case("kube-system", true)]
    #[case("openshift", true)]
    #[case("openshift-dns", true)]
    fn system_namespaces_are_told(#[case] namespace: &str, #[case] expected: bool) {
        assert_eq!(is_system_namespace(namespace, "home"), expected);
    }

    #[test]
    fn pods_are_never_kept_from_being_created() {
        let place = Place::Url("https://127.0.0.1:9443".to_owned());
        let configuration = memory_overhead("home", &place, Some("Zm9v"));
        let webhook = &configuration["webhooks"][0];
        assert_eq!(webhook["failurePolicy"], "Ignore");
        let config = json!({"url": "https://127.0.0.1:9443/mutate-pods-v1", "caBundle": "Zm9v"});
        assert_eq!(webhook["clientConfig"], config);
        assert_eq!(configuration["metadata"]["annotations"], Value::Null);
        let by_service_ca = memory_overhead("home", &place, None);
        assert_eq!(by_service_ca["metadata"]["annotations"], json!({INJECT_BUNDLE: "true"}));
        let excluded = &webhook["namespaceSelector"]["matchExpressions"][0]["values"];
        for namespace in excluded.as_array().unwrap() {
            assert!(is_system_namespace(namespace.as_str().unwrap(), "home"));
        }
    }
}
