//! The mutating webhook of peer pods: its objects, its variables, and which pods it is asked about.

/// Deployment of the webhook, and the value of the label `app` by which Deployment and Service find its pods.
pub const DEPLOYMENT: &str = "peer-pods-webhook";
/// Service in front of it; its one port has this name, too.
pub const SERVICE: &str = "peer-pods-webhook-svc";
/// Port of that Service.
pub const SERVICE_PORT: u16 = 443;
/// Secret with the serving certificate, which OpenShift's service CA fills.
pub const SECRET: &str = "peer-pods-webhook-svc-secret";
/// Volume with that Secret.
pub const VOLUME: &str = "webhook-cert";
/// Where it is mounted.
pub const CERTIFICATE_DIRECTORY: &str = "/tmp/k8s-webhook-server/serving-certs";
/// The MutatingWebhookConfiguration.
pub const CONFIGURATION: &str = "mutating-webhook-configuration";
/// Its one webhook.
pub const WEBHOOK: &str = "mwebhook.peerpods.io";
/// The webhook's path.
pub const PATH: &str = "/mutate-v1-pod";

/// Port of reviews, over HTTPS.
pub const PORT: u16 = 9443;
/// Port of `/healthz` and `/readyz`.
pub const HEALTH_PORT: u16 = 8081;
/// Port of `/metrics`.
pub const METRICS_PORT: u16 = 8080;

/// Variable with the runtime class of peer pods.
pub const CLASS_VARIABLE: &str = "TARGET_RUNTIMECLASS";
/// The name of that variable in older documentation.
pub const OLD_CLASS_VARIABLE: &str = "TARGET_RUNTIME_CLASS";
/// Variable with the extended resource that counts pod VMs.
pub const RESOURCE_VARIABLE: &str = "POD_VM_EXTENDED_RESOURCE";
/// Variable with the namespace of the operator and of the webhook.
pub const NAMESPACE_VARIABLE: &str = "PEERPODS_NAMESPACE";
/// Variable that says which annotations about the size of the VM a pod is given.
pub const SIZE_VARIABLE: &str = "POD_VM_SIZE_ANNOTATIONS";
/// Variable with the oldest version of TLS, as Go names them.
pub const TLS_VERSION_VARIABLE: &str = "TLS_MIN_VERSION";
/// Variable with the cipher suites, as Go names them, with commas.
pub const TLS_SUITES_VARIABLE: &str = "TLS_CIPHER_SUITES";

/// Annotation of a pod: virtual processors of its VM.
pub const DEFAULT_VCPUS: &str = "io.katacontainers.config.hypervisor.default_vcpus";
/// Annotation of a pod: memory of its VM in MiB.
pub const DEFAULT_MEMORY: &str = "io.katacontainers.config.hypervisor.default_memory";
/// Annotation of a pod: GPUs of its VM.
pub const DEFAULT_GPUS: &str = "io.katacontainers.config.hypervisor.default_gpus";
/// Annotation of a pod: the instance type of its VM, whatever its containers ask for.
pub const MACHINE_TYPE: &str = "io.katacontainers.config.hypervisor.machine_type";
/// Resource that becomes [`DEFAULT_GPUS`].
pub const GPU_RESOURCE: &str = "nvidia.com/gpu";

/// Name of [`MATCH_CONDITION`].
pub const MATCH_CONDITION_NAME: &str = "pods-of-the-peer-pod-class";
/// CEL: the pods that the webhook has to be asked about, so that no other pod waits for it. A condition that cannot be
/// evaluated keeps a pod from being created (`failurePolicy: Fail`): every step is checked before it is taken. API servers
/// know `matchConditions` from 1.28 on without a feature gate.
pub const MATCH_CONDITION: &str = "object != null && has(object.spec) && object.spec != null \
    && has(object.spec.runtimeClassName) && object.spec.runtimeClassName == 'kata-remote'";

/// Label with the name of a namespace, from Kubernetes 1.21 on.
pub const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// Namespaces whose pods are left alone, beside the operator's own: those of the cluster itself.
pub const EXCLUDED_NAMESPACES: &[&str] = &[
    "peer-pods-webhook-system",
    "kube-system",
    "kube-node-lease",
    "openshift",
    "openshift-apiserver",
    "openshift-apiserver-operator",
    "openshift-authentication",
    "openshift-authentication-operator",
    "openshift-cloud-controller-manager",
    "openshift-cloud-controller-manager-operator",
    "openshift-cloud-credential-operator",
    "openshift-cloud-network-config-controller",
    "openshift-cluster-csi-drivers",
    "openshift-cluster-machine-approver",
    "openshift-cluster-node-tuning-operator",
    "openshift-cluster-samples-operator",
    "openshift-cluster-storage-operator",
    "openshift-cluster-version",
    "openshift-config",
    "openshift-config-managed",
    "openshift-config-operator",
    "openshift-console",
    "openshift-console-operator",
    "openshift-console-user-settings",
    "openshift-controller-manager",
    "openshift-controller-manager-operator",
    "openshift-dns",
    "openshift-dns-operator",
    "openshift-etcd",
    "openshift-etcd-operator",
    "openshift-host-network",
    "openshift-image-registry",
    "openshift-infra",
    "openshift-ingress",
    "openshift-ingress-canary",
    "openshift-ingress-operator",
    "openshift-insights",
    "openshift-kni-infra",
    "openshift-kube-apiserver",
    "openshift-kube-apiserver-operator",
    "openshift-kube-controller-manager",
    "openshift-kube-proxy",
    "openshift-kube-scheduler",
    "openshift-kube-scheduler-operator",
    "openshift-kube-storage-version-migrator",
    "openshift-kube-storage-version-migrator-operator",
    "openshift-machine-api",
    "openshift-machine-config-operator",
    "openshift-marketplace",
    "openshift-monitoring",
    "openshift-multus",
    "openshift-network-diagnostics",
    "openshift-network-operator",
    "openshift-node",
    "openshift-nutanix-infra",
    "openshift-oauth-apiserver",
    "openshift-openstack-infra",
    "openshift-operator-lifecycle-manager",
    "openshift-operators",
    "openshift-ovirt-infra",
    "openshift-ovn-kubernetes",
    "openshift-route-controller-manager",
    "openshift-service-ca",
    "openshift-service-ca-operator",
    "openshift-user-workload-monitoring",
    "openshift-vsphere-infra",
];

/// All namespaces whose pods are left alone, `own` being the operator's.
pub fn excluded_namespaces(own: &str) -> impl Iterator<Item = &str> {
    EXCLUDED_NAMESPACES.iter().copied().filter(move |name| *name != own).chain([own])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_about_the_class_of_peer_pods() {
        assert!(MATCH_CONDITION.ends_with(&format!(" == '{}'", crate::names::REMOTE_RUNTIME_CLASS)));
    }

    #[test]
    fn each_namespace_is_excluded_once_and_those_of_people_are_not() {
        let mut all: Vec<_> = excluded_namespaces("openshift-sandboxed-containers-operator").collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), count), (67, 67));
        for people in ["default", "kube-public", "openshift-kube-controller-manager-operator", "shop"] {
            assert!(!all.contains(&people), "{people}");
        }
        assert_eq!(excluded_namespaces("openshift-operators").count(), count - 1);
    }
}
