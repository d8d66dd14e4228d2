//! Who may do what: exactly what the code does, and next to each rule the code that does it.
//!
//! Rules name objects wherever RBAC can tell them: `list` and `watch` with the field selector `metadata.name=...`,
//! which is how the operator reads single objects, and `create` where it is part of a server-side apply, whose
//! request carries the name. A plain `create` carries none, so that rules for those name nothing.

use std::fmt::Write;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use osc_api::names;
use osc_api::peerpods::{self, webhook};
use osc_engine::security::webhooks;
use serde_json::{Value, json};

use super::{HEADER_MARKDOWN, typed};

/// What may be done, and why.
pub struct Grant {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Resource, with its subresource if any.
    pub resource: &'static str,
    /// What may be done with it.
    pub verbs: &'static [&'static str],
    /// With which objects; empty: all.
    pub names: &'static [&'static str],
    /// Which code does it.
    pub reason: &'static str,
}

/// Grants that hold in one place.
pub struct Permissions {
    /// Name of the role and of its binding.
    pub name: &'static str,
    /// Where: in one namespace, or in the cluster.
    pub namespace: Option<&'static str>,
    /// What.
    pub grants: &'static [Grant],
}

const MCO: &str = "machineconfiguration.openshift.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const PEER_PODS: &str = "confidentialcontainers.org";
const READ: &[&str] = &["list", "watch"];
/// What watching, server-side apply and deletion of one object need.
const OWN: &[&str] = &["list", "watch", "create", "patch", "delete"];

const fn grant(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    names: &'static [&'static str],
    reason: &'static str,
) -> Grant {
    Grant { group, resource, verbs, names, reason }
}

/// What peer pods need in the operator's namespace.
const PEER_PODS_HERE: &[Grant] = &[
    grant("apps", "daemonsets", OWN, &[peerpods::ADAPTOR], "engine: peerpods/adaptor.rs daemon_set"),
    grant("apps", "deployments", OWN, &[webhook::DEPLOYMENT], "engine: peerpods/webhook.rs deployment"),
    grant("", "services", OWN, &[webhook::SERVICE], "engine: peerpods/webhook.rs service"),
    grant(
        "",
        "configmaps",
        &["get", "list", "watch", "patch"],
        &[peerpods::SETTINGS],
        "operator: peer_pods.rs account; engine: peerpods/situation.rs; peerpods/limit.rs, peerpods/image.rs and peerpods/install.rs write what they know",
    ),
    grant(
        "",
        "configmaps",
        &["list", "watch", "create", "patch"],
        &[
            "aws-podvm-image-cm",
            "azure-podvm-image-cm",
            "gcp-podvm-image-cm",
            "podvm-image-cm",
            "libvirt-podvm-image-cm",
        ],
        "engine: peerpods/situation.rs: what the image is made from; peerpods/job.rs image_map, where there is none",
    ),
    grant(
        "",
        "secrets",
        &["get", "list", "watch", "create", "patch", "delete"],
        &[peerpods::CREDENTIALS],
        "engine: peerpods/credentials.rs translated; operator: peer_pods.rs connect",
    ),
    grant(
        "",
        "secrets",
        &["get", "list", "watch"],
        &[peerpods::CLOUD_CREDENTIALS],
        "engine: peerpods/credentials.rs; operator: apply.rs CopySecret",
    ),
    grant(
        "",
        "secrets",
        READ,
        &[peerpods::SSH_KEYS],
        "engine: peerpods/situation.rs: whether there is a key",
    ),
    grant(
        "",
        "secrets",
        &["list", "watch", "create", "patch"],
        &[webhook::SECRET],
        "operator: webhook/keeper.rs store: the certificate of the webhook of peer pods, where there is no service CA",
    ),
    grant("batch", "jobs", OWN, &peerpods::IMAGE_JOBS, "engine: peerpods/image.rs, peerpods/job.rs"),
    grant(PEER_PODS, "peerpodconfigs", OWN, &[peerpods::PEER_POD_CONFIG], "engine: peerpods/limit.rs"),
    grant(
        "events.k8s.io",
        "events",
        &["create"],
        &[],
        "operator: apply.rs emit: events about the jobs belong there; each has a name of its own",
    ),
];

/// Everything that the operator may do.
pub const OPERATOR: &[Permissions] = &[
    Permissions {
        name: names::OPERATOR_NAME,
        namespace: None,
        grants: &[
            grant(
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                READ,
                &[],
                "operator: cache/watch.rs, watch_definitions: which optional APIs there are",
            ),
            grant(
                names::KATACONFIG_GROUP,
                "kataconfigs",
                &["list", "watch", "patch"],
                &[],
                "operator: cache/watch.rs, KataConfigs; engine: install.rs finalizer and uninstall.rs let_go",
            ),
            grant(
                names::KATACONFIG_GROUP,
                "kataconfigs/status",
                &["patch"],
                &[],
                "engine: status.rs, PatchStatus",
            ),
            grant(
                names::KATACONFIG_GROUP,
                "kataconfigs/finalizers",
                &["update"],
                &[],
                "engine: desired.rs owned_by sets blockOwnerDeletion; admission OwnerReferencesPermissionEnforcement",
            ),
            grant(
                "",
                "nodes",
                &["list", "watch", "patch"],
                &[],
                "operator: cache/watch.rs, Nodes; engine: install.rs and uninstall.rs roles, agent/turns.rs, LabelNode",
            ),
            grant(
                "",
                "nodes/status",
                &["patch"],
                &[],
                "engine: peerpods/capacity.rs, Advertise: how many pod VMs a node may have",
            ),
            grant(
                "",
                "pods",
                READ,
                &[],
                "operator: cache/watch.rs, watch_pods: pods that block a removal; watch_adaptor_pods, watch_image_pods",
            ),
            grant(
                PEER_PODS,
                "peerpods",
                &["list", "watch", "patch", "delete"],
                &[],
                "operator: cache/watch.rs, PeerPods; peer_pods.rs: those whose pods are gone are let go",
            ),
            grant(
                "",
                "namespaces",
                &["list", "watch", "patch"],
                &[names::OPERATOR_NAMESPACE],
                "engine: desired.rs namespace, applied only where it exists",
            ),
            grant(
                "",
                "namespaces",
                READ,
                &["kube-system"],
                "engine: peerpods/identity.rs: which cluster this is",
            ),
            grant(
                MCO,
                "machineconfigs",
                &["get"],
                &[],
                "operator: reconcile.rs read_rendered: rendered machine configs, whose names are not known beforehand",
            ),
            grant(
                MCO,
                "machineconfigs",
                OWN,
                &[names::EXTENSION_MACHINE_CONFIG],
                "engine: desired.rs machine_config",
            ),
            grant(
                MCO,
                "machineconfigs",
                OWN,
                &[names::IMAGE_MACHINE_CONFIG],
                "engine: desired.rs image_machine_config; delivery.rs layered_image: what the Go operator installed by an image",
            ),
            grant(MCO, "machineconfigpools", READ, &[], "operator: cache/watch.rs, Pools"),
            grant(
                MCO,
                "machineconfigpools",
                &["create", "patch", "delete"],
                &[names::KATA_POOL],
                "engine: desired.rs pool",
            ),
            grant(
                MCO,
                "containerruntimeconfigs",
                OWN,
                &[names::CONTAINER_RUNTIME_CONFIG],
                "engine: desired.rs container_runtime_config",
            ),
            grant(
                "node.k8s.io",
                "runtimeclasses",
                &["list", "watch", "create", "patch", "delete"],
                &[],
                "engine: workload.rs class, a plain create; runtime_class.rs: all that an operator made for a \
                 KataConfig, told by owner or finalizer whatever their names, and never one of somebody else",
            ),
            grant(
                "security.openshift.io",
                "securitycontextconstraints",
                OWN,
                &[names::MONITOR_SCC, names::AGENT_SCC, peerpods::ADAPTOR_SCC],
                "engine: desired.rs scc; agent/desired.rs scc; peerpods/adaptor.rs scc",
            ),
            grant(
                "config.openshift.io",
                "clusterversions",
                READ,
                &[names::CLUSTER_VERSION],
                "engine: desired.rs extension",
            ),
            grant(
                ADMISSION,
                "validatingwebhookconfigurations",
                &["list", "watch", "patch"],
                &[webhooks::VALIDATING],
                "operator: webhook/keeper.rs tell: whom to trust, where OpenShift's service CA does not",
            ),
            grant(
                ADMISSION,
                "mutatingwebhookconfigurations",
                OWN,
                &[webhooks::MEMORY_OVERHEAD, webhook::CONFIGURATION],
                "operator: webhook/overhead.rs: there while the feature gate asks for it; engine: peerpods/webhook.rs",
            ),
            grant(
                "config.openshift.io",
                "infrastructures",
                READ,
                &[names::INFRASTRUCTURE],
                "engine: agent/config.rs: the platform, which the node agents are told; peerpods/situation.rs",
            ),
            grant(
                "config.openshift.io",
                "apiservers",
                READ,
                &[osc_engine::peerpods::tls::API_SERVER],
                "engine: peerpods/tls.rs: which TLS the cluster asks for",
            ),
        ],
    },
    Permissions {
        name: names::OPERATOR_NAME,
        namespace: Some(names::OPERATOR_NAMESPACE),
        grants: &[
            grant("apps", "daemonsets", OWN, &[names::MONITOR], "engine: desired.rs monitor"),
            grant(
                "apps",
                "daemonsets",
                OWN,
                &names::DAEMON_SET_MODE_DAEMON_SETS,
                "engine: agent/desired.rs daemon_set: the node agents of DaemonSet mode",
            ),
            grant(
                "",
                "configmaps",
                READ,
                &[
                    names::FEATURE_GATES,
                    names::LAYERED_IMAGE_CONFIG_MAP,
                    names::DAEMON_SET_CONFIG_MAP,
                    names::ADDON_CONFIG_MAP,
                    names::DASHBOARD_CONFIG_MAP,
                ],
                "engine: gates.rs, delivery.rs ImageToInstall, agent/config.rs; operator: webhook/overhead.rs; engine: desired.rs dashboard: the source of the copy",
            ),
            grant(
                "",
                "secrets",
                &["list", "watch", "create", "patch"],
                &[names::AUTH_SECRET],
                "engine: agent/desired.rs pull_secret: the copy that the node agents read",
            ),
            grant(
                "events.k8s.io",
                "events",
                &["create"],
                &[],
                "operator: webhook/overhead.rs tell: on the config map with the feature gates; each has a name of its own",
            ),
            grant(
                "",
                "secrets",
                &["list", "watch", "create", "patch"],
                &[webhooks::AUTHORITY_SECRET],
                "operator: webhook/keeper.rs store: the authority of the webhooks, where there is no service CA",
            ),
        ],
    },
    Permissions {
        name: "sandboxed-containers-operator-peer-pods",
        namespace: Some(names::OPERATOR_NAMESPACE),
        grants: PEER_PODS_HERE,
    },
    Permissions {
        name: "sandboxed-containers-operator-credentials-requests",
        namespace: Some(peerpods::CREDENTIALS_REQUEST_NAMESPACE),
        grants: &[grant(
            "cloudcredential.openshift.io",
            "credentialsrequests",
            OWN,
            &["openshift-sandboxed-containers-aws", "openshift-sandboxed-containers-azure"],
            "engine: peerpods/credentials.rs request",
        )],
    },
    Permissions {
        name: "sandboxed-containers-operator-leader-election",
        namespace: Some(names::OPERATOR_NAMESPACE),
        grants: &[
            grant(
                "coordination.k8s.io",
                "leases",
                &["create"],
                &[],
                "operator: leader.rs, elect: a plain create",
            ),
            grant(
                "coordination.k8s.io",
                "leases",
                &["get", "patch"],
                &[names::LEADER_ELECTION_LEASE],
                "operator: leader.rs, elect; the Lease is read, and written by patches only",
            ),
        ],
    },
    Permissions {
        name: "sandboxed-containers-operator-dashboard",
        namespace: Some(names::DASHBOARD_NAMESPACE),
        grants: &[grant(
            "",
            "configmaps",
            OWN,
            &[names::DASHBOARD_CONFIG_MAP],
            "engine: desired.rs dashboard: the copy that the console shows",
        )],
    },
    Permissions {
        name: "sandboxed-containers-operator-pull-secret",
        namespace: Some(names::PULL_SECRET_NAMESPACE),
        grants: &[grant(
            "",
            "secrets",
            &["get", "list", "watch"],
            &[names::PULL_SECRET],
            "operator: apply.rs CopySecret; only digests of its values are kept in memory",
        )],
    },
    Permissions {
        name: "sandboxed-containers-operator-os-images",
        namespace: Some(names::MCO_NAMESPACE),
        grants: &[grant(
            "",
            "configmaps",
            READ,
            &[names::OS_IMAGES_CONFIG_MAP],
            "engine: agent/config.rs: the image with the extensions of the operating system, for DaemonSet mode on OpenShift",
        )],
    },
    Permissions {
        name: "sandboxed-containers-operator-events",
        namespace: Some("default"),
        grants: &[grant(
            "events.k8s.io",
            "events",
            &["create"],
            &[],
            "operator: apply.rs emit: events about cluster-scoped objects belong there; each has a name of its own",
        )],
    },
];

impl Grant {
    fn rule(&self) -> Value {
        let mut rule = json!({"apiGroups": [self.group], "resources": [self.resource], "verbs": self.verbs});
        if !self.names.is_empty() {
            rule["resourceNames"] = json!(self.names);
        }
        rule
    }
}

impl Permissions {
    /// The role and its binding to a ServiceAccount.
    fn objects(&self, account: &str, account_namespace: &str) -> anyhow::Result<[Value; 2]> {
        let rules: Vec<Value> = self.grants.iter().map(Grant::rule).collect();
        let subjects = json!([{"kind": "ServiceAccount", "name": account, "namespace": account_namespace}]);
        let reference =
            |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": self.name});
        Ok(match self.namespace {
            None => {
                let metadata = json!({"name": self.name});
                [
                    typed::<ClusterRole>(json!({"metadata": metadata, "rules": rules}))?,
                    typed::<ClusterRoleBinding>(json!({
                        "metadata": metadata, "roleRef": reference("ClusterRole"), "subjects": subjects,
                    }))?,
                ]
            }
            Some(namespace) => {
                let metadata = json!({"name": self.name, "namespace": namespace});
                [
                    typed::<Role>(json!({"metadata": metadata, "rules": rules}))?,
                    typed::<RoleBinding>(json!({
                        "metadata": metadata, "roleRef": reference("Role"), "subjects": subjects,
                    }))?,
                ]
            }
        })
    }
}

/// The operator's roles and bindings.
pub fn operator() -> anyhow::Result<Vec<Value>> {
    let objects = OPERATOR
        .iter()
        .map(|permissions| permissions.objects(names::OPERATOR_NAME, names::OPERATOR_NAMESPACE))
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(objects.into_iter().flatten().collect())
}

/// The same for people who review it.
pub fn table() -> anyhow::Result<String> {
    let mut text = format!(
        "{HEADER_MARKDOWN}\n# What the operator may do, and why\n\n\
         | Where | Resource | Verbs | Objects | Used by |\n|---|---|---|---|---|\n"
    );
    for permissions in OPERATOR {
        let place = permissions.namespace.unwrap_or("cluster");
        for grant in permissions.grants {
            let dot = if grant.group.is_empty() { "" } else { "." };
            let objects = if grant.names.is_empty() { "all".to_owned() } else { grant.names.join(", ") };
            writeln!(
                text,
                "| {place} | {}{dot}{} | {} | {objects} | {} |",
                grant.resource,
                grant.group,
                grant.verbs.join(", "),
                grant.reason,
            )?;
        }
    }
    Ok(text)
}

/// Roles for people. Viewing joins the cluster's `view`; changing reboots nodes, so that it joins only `admin`.
pub fn users() -> anyhow::Result<Vec<Value>> {
    let view = ["get", "list", "watch"];
    let role = |name: &str, joins: &[&str], verbs: &[&str]| {
        let labels: serde_json::Map<String, Value> = joins
            .iter()
            .map(|role| (format!("rbac.authorization.k8s.io/aggregate-to-{role}"), json!("true")))
            .collect();
        typed::<ClusterRole>(json!({
            "metadata": {"name": name, "labels": labels},
            "rules": [
                {"apiGroups": [names::KATACONFIG_GROUP], "resources": ["kataconfigs"], "verbs": verbs},
                {"apiGroups": [names::KATACONFIG_GROUP], "resources": ["kataconfigs/status"], "verbs": ["get"]},
                {"apiGroups": [PEER_PODS], "resources": ["peerpodconfigs"], "verbs": verbs},
                {"apiGroups": [PEER_PODS], "resources": ["peerpods"], "verbs": view},
            ],
        }))
    };
    let edit = ["create", "delete", "get", "list", "patch", "update", "watch"];
    Ok(vec![
        role("kataconfig-viewer-role", &["view", "cluster-reader"], &view)?,
        role("kataconfig-editor-role", &["admin"], &edit)?,
    ])
}

/// Lets the cluster's Prometheus find what it is to scrape.
pub fn prometheus() -> anyhow::Result<Vec<Value>> {
    let namespace = names::OPERATOR_NAMESPACE;
    Ok(vec![
        typed::<Role>(json!({
            "metadata": {"name": "monitor-role", "namespace": namespace},
            "rules": [{
                "apiGroups": [""],
                "resources": ["services", "endpoints", "pods"],
                "verbs": ["get", "list", "watch"],
            }],
        }))?,
        typed::<RoleBinding>(json!({
            "metadata": {"name": "monitor-rolebinding", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "monitor-role"},
            "subjects": [
                {"kind": "ServiceAccount", "name": "prometheus-k8s", "namespace": "openshift-monitoring"},
            ],
        }))?,
    ])
}
