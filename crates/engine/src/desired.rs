//! The objects that we own, as they should be. Each holds what we set and nothing else.

use osc_api::names;
use serde_json::{Value, json};

use crate::catalog::ClassSpec;
use crate::delivery::ImageToInstall;
use crate::layout::Layout;
use crate::object::{Kind, ObjectId, holds};
use crate::observed::{KataConfigView, Observed, Settings};

/// An object with its name.
pub type Desired = (ObjectId, Value);

fn cluster(kind: Kind, name: &str, labels: &Value, body: Value) -> Desired {
    (ObjectId::cluster(kind, name), with_identity(kind, json!({"name": name, "labels": labels}), body))
}

pub(crate) fn with_identity(kind: Kind, metadata: Value, mut body: Value) -> Value {
    body["apiVersion"] = json!(kind.api_version());
    body["kind"] = json!(kind.name());
    body["metadata"] = metadata;
    body
}

/// Makes `kata_config` the controller of an object, so that it goes with it.
pub(crate) fn owned_by(kata_config: &KataConfigView, mut object: Value) -> Value {
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": Kind::KataConfig.api_version(),
        "kind": Kind::KataConfig.name(),
        "name": kata_config.name,
        "uid": kata_config.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    }]);
    object
}

/// The extension that brings Kata: a setting, else the one that is installed, else what the cluster's release is, else
/// what the own host runs.
pub fn extension<'a>(observed: &Observed, settings: &'a Settings) -> &'a str {
    if let Some(extension) = &settings.extension {
        return extension;
    }
    if let Some(extension) = installed_extension(observed) {
        return extension;
    }
    let version = observed.cluster_object(Kind::ClusterVersion, names::CLUSTER_VERSION);
    let image =
        version.and_then(|version| version["status"]["desired"]["image"].as_str()).unwrap_or_default();
    if image.contains(names::RELEASE_REPOSITORY_PRODUCT) {
        names::EXTENSION_PRODUCT
    } else if image.contains(names::RELEASE_REPOSITORY_OKD) {
        names::EXTENSION_OKD
    } else if settings.host_is_rhcos {
        names::EXTENSION_PRODUCT
    } else {
        names::EXTENSION_OKD
    }
}

/// The extension that was chosen at installation, by us or by the operator before: a guess must not change it, since nodes
/// would reboot for it.
fn installed_extension(observed: &Observed) -> Option<&'static str> {
    let ours = observed.cluster_object(Kind::MachineConfig, names::EXTENSION_MACHINE_CONFIG)?;
    let installed = ours["spec"]["extensions"][0].as_str()?;
    [names::EXTENSION_PRODUCT, names::EXTENSION_OKD].into_iter().find(|known| *known == installed)
}

/// The machine config that installs the extension.
pub fn machine_config(kata_config: &KataConfigView, layout: Layout, extension: &str) -> Desired {
    cluster(
        Kind::MachineConfig,
        names::EXTENSION_MACHINE_CONFIG,
        &json!({names::MACHINE_CONFIG_ROLE: layout.pool(), names::APP_LABEL: kata_config.name}),
        json!({"spec": {"config": {"ignition": {"version": "3.2.0"}}, "extensions": [extension]}}),
    )
}

/// The pool of the Kata nodes on a regular cluster.
pub fn pool() -> Desired {
    let pool_label = format!("{}{}", names::POOL_LABEL_PREFIX, names::KATA_POOL);
    cluster(
        Kind::MachineConfigPool,
        names::KATA_POOL,
        &json!({pool_label: ""}),
        json!({"spec": {
            "machineConfigSelector": {"matchExpressions": [{
                "key": names::MACHINE_CONFIG_ROLE,
                "operator": "In",
                "values": [names::KATA_POOL, names::WORKER_POOL],
            }]},
            "nodeSelector": {"matchLabels": {names::KATA_NODE_ROLE: ""}},
        }}),
    )
}

/// Whether a pool does what ours is for. One to which somebody added roles does, and is left as it is: a change would
/// reboot its nodes.
pub fn pool_serves(found: &Value) -> bool {
    let (_, mut wanted) = pool();
    let requirement = "/spec/machineConfigSelector/matchExpressions/0/values";
    let roles = |object: &Value| -> Vec<Value> {
        object.pointer(requirement).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let found_roles = roles(found);
    let all_there = roles(&wanted).iter().all(|role| found_roles.contains(role));
    if let Some(values) = wanted.pointer_mut(requirement) {
        *values = Value::Array(found_roles);
    }
    all_there && holds(&wanted, found)
}

/// The log level of CRI-O for the pool's nodes.
pub fn container_runtime_config(kata_config: &KataConfigView, layout: Layout, log_level: &str) -> Desired {
    let pool_label = format!("{}{}", names::POOL_LABEL_PREFIX, layout.pool());
    cluster(
        Kind::ContainerRuntimeConfig,
        names::CONTAINER_RUNTIME_CONFIG,
        &json!({names::APP_LABEL: kata_config.name}),
        json!({"spec": {
            "machineConfigPoolSelector": {"matchLabels": {pool_label: ""}},
            "containerRuntimeConfig": {"logLevel": log_level},
        }}),
    )
}

/// The machine config that installs an image of the operating system with Kata in it.
pub fn image_machine_config(kata_config: &KataConfigView, layout: Layout, image: &ImageToInstall) -> Desired {
    cluster(
        Kind::MachineConfig,
        names::IMAGE_MACHINE_CONFIG,
        &json!({names::MACHINE_CONFIG_ROLE: layout.pool(), names::APP_LABEL: kata_config.name}),
        json!({"spec": {
            "config": {"ignition": {"version": "3.2.0"}},
            "osImageURL": image.url,
            "kernelArguments": image.kernel_arguments,
        }}),
    )
}

/// The nodes that a pod of the class can land on.
pub fn runtime_class_selector(layout: Layout, class: &ClassSpec, check_node_eligibility: bool) -> Value {
    let mut selector = json!({layout.node_label(): ""});
    for (key, value) in class.labels.iter().filter(|_| check_node_eligibility) {
        selector[*key] = json!(value);
    }
    selector
}

/// A runtime class, as it is created. Its overhead is for people to change afterwards.
pub fn runtime_class(kata_config: &KataConfigView, class: &ClassSpec, node_selector: &Value) -> Desired {
    let mut overhead = json!({"cpu": class.cpu, "memory": class.memory});
    if let Some(resource) = class.resource {
        overhead[resource] = json!("1");
    }
    let (id, object) = cluster(
        Kind::RuntimeClass,
        class.name,
        &json!({names::APP_LABEL: kata_config.name}),
        json!({
            "handler": class.handler,
            "overhead": {"podFixed": overhead},
            "scheduling": {"nodeSelector": node_selector},
        }),
    );
    let mut object = owned_by(kata_config, object);
    object["metadata"]["finalizers"] = json!([names::RUNTIME_CLASS_FINALIZER]);
    (id, object)
}

/// What kata-monitor's pods may do. SELinux `RunAsAny` also mends what releases before 1.3 left (`MustRunAs`).
pub fn scc(kata_config: &KataConfigView, settings: &Settings) -> Desired {
    let user = format!("system:serviceaccount:{}:{}", settings.namespace, names::MONITOR_SERVICE_ACCOUNT);
    let (id, object) = cluster(
        Kind::SecurityContextConstraints,
        names::MONITOR_SCC,
        &json!({names::APP_LABEL: kata_config.name}),
        json!({
            "allowHostDirVolumePlugin": true,
            "allowHostIPC": false,
            "allowHostNetwork": false,
            "allowHostPID": false,
            "allowHostPorts": false,
            "allowPrivilegeEscalation": false,
            "allowPrivilegedContainer": false,
            "allowedCapabilities": ["DAC_READ_OVERRIDE"],
            "readOnlyRootFilesystem": false,
            "requiredDropCapabilities": ["MKNOD", "FSETID", "KILL", "FOWNER"],
            "runAsUser": {"type": "MustRunAsNonRoot"},
            "seLinuxContext": {"type": "RunAsAny"},
            "users": [user],
            "volumes": ["*"],
        }),
    );
    (id, owned_by(kata_config, object))
}

/// Where kata-monitor asks the container runtime, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorHost {
    /// Socket of the container runtime.
    pub socket: String,
    /// Whether the nodes have the SELinux type that comes with the product's packages, and let its user to the socket.
    pub confined: bool,
}

impl MonitorHost {
    /// OpenShift's nodes.
    pub fn openshift() -> Self {
        Self { socket: "/run/crio/crio.sock".to_owned(), confined: true }
    }

    /// The directory of the socket, with a slash at its end.
    fn directory(&self) -> &str {
        self.socket.rfind('/').map_or("/", |at| &self.socket[..=at])
    }
}

/// kata-monitor on every Kata node.
pub fn monitor(
    kata_config: &KataConfigView,
    settings: &Settings,
    layout: Layout,
    host: &MonitorHost,
    image: &str,
) -> Desired {
    let labels = json!({"name": names::MONITOR});
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    let volume = |name: &str, path: &str| json!({"name": name, "hostPath": {"path": path, "type": ""}});
    let user = if host.confined { 1001 } else { 0 };
    let mut container = json!({
        "name": "kata-monitor",
        "image": image,
        "imagePullPolicy": "Always",
        "command": [
            "/usr/bin/kata-monitor",
            "--listen-address=:8090",
            "--log-level=debug",
            format!("--runtime-endpoint={}", host.socket),
        ],
        "securityContext": {
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "runAsUser": user,
            "runAsGroup": user,
        },
        "volumeMounts": [mount("crio-sock", host.directory()), mount("sbs", "/run/vc/sbs/")],
    });
    if host.confined {
        container["securityContext"]["seLinuxOptions"] = json!({"type": "osc_monitor.process"});
    }
    let spec = json!({
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "serviceAccountName": names::MONITOR_SERVICE_ACCOUNT,
                "nodeSelector": {layout.node_label(): ""},
                "tolerations": [{"operator": "Exists"}],
                "containers": [container],
                "volumes": [volume("crio-sock", host.directory()), volume("sbs", "/run/vc/sbs/")],
            },
        },
    });
    let metadata = json!({
        "name": names::MONITOR,
        "namespace": settings.namespace,
        "labels": {"name": names::MONITOR, names::APP_LABEL: kata_config.name},
    });
    let object = with_identity(Kind::DaemonSet, metadata, json!({"spec": spec}));
    (
        ObjectId::namespaced(Kind::DaemonSet, &settings.namespace, names::MONITOR),
        owned_by(kata_config, object),
    )
}

/// The copy of the dashboard where the console looks for it, if there is one to copy.
pub fn dashboard(observed: &Observed, settings: &Settings) -> Option<Desired> {
    let source =
        observed.namespaced_object(Kind::ConfigMap, &settings.namespace, names::DASHBOARD_CONFIG_MAP)?;
    let metadata = json!({
        "name": names::DASHBOARD_CONFIG_MAP,
        "namespace": names::DASHBOARD_NAMESPACE,
        "labels": {names::DASHBOARD_LABEL: "true"},
    });
    let object = with_identity(Kind::ConfigMap, metadata, json!({"data": source["data"]}));
    Some((dashboard_id(), object))
}

/// The name of that copy.
pub fn dashboard_id() -> ObjectId {
    ObjectId::namespaced(Kind::ConfigMap, names::DASHBOARD_NAMESPACE, names::DASHBOARD_CONFIG_MAP)
}

/// The labels that the operator's namespace needs: monitoring, and pods with host paths.
pub fn namespace(settings: &Settings) -> Desired {
    cluster(Kind::Namespace, &settings.namespace, &crate::security::namespace_labels(), json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::sync::Arc;

    fn kata_config() -> KataConfigView {
        KataConfigView { name: "example-kataconfig".into(), uid: "6f1c".into(), ..KataConfigView::default() }
    }

    #[rstest]
    #[case::setting(Some("mine"), "quay.io/openshift-release-dev/ocp-release@sha256:1", false, "mine")]
    #[case::product(
        None,
        "quay.io/openshift-release-dev/ocp-release@sha256:1",
        false,
        "sandboxed-containers"
    )]
    #[case::okd(None, "quay.io/okd/scos-release@sha256:1", true, "kata-containers")]
    #[case::mirror_on_rhcos(None, "mirror.example/release@sha256:1", true, "sandboxed-containers")]
    #[case::mirror_elsewhere(None, "mirror.example/release@sha256:1", false, "kata-containers")]
    #[case::no_cluster_version(None, "", false, "kata-containers")]
    fn the_extension_follows_the_release(
        #[case] setting: Option<&str>,
        #[case] image: &str,
        #[case] host_is_rhcos: bool,
        #[case] expected: &str,
    ) {
        let settings =
            Settings { extension: setting.map(str::to_owned), host_is_rhcos, ..Settings::default() };
        let mut observed = Observed::default();
        let id = ObjectId::cluster(Kind::ClusterVersion, names::CLUSTER_VERSION);
        observed.objects.insert(id, Arc::new(json!({"status": {"desired": {"image": image}}})));
        assert_eq!(extension(&observed, &settings), expected);
    }

    #[rstest]
    #[case::ours(&["kata-oc", "worker"], true)]
    #[case::somebody_added_a_role(&["kata-oc", "worker", "gpu"], true)]
    #[case::our_role_is_missing(&["worker"], false)]
    fn a_pool_with_more_roles_still_serves(#[case] roles: &[&str], #[case] expected: bool) {
        let (_, mut found) = pool();
        found["spec"]["machineConfigSelector"]["matchExpressions"][0]["values"] = json!(roles);
        assert_eq!(pool_serves(&found), expected);
    }

    #[test]
    fn a_mirrored_release_does_not_change_the_extension_that_is_installed() {
        let mut observed = Observed::default();
        let (id, ours) = machine_config(&kata_config(), Layout::Regular, names::EXTENSION_PRODUCT);
        observed.objects.insert(id, Arc::new(ours));
        assert_eq!(extension(&observed, &Settings::default()), names::EXTENSION_PRODUCT);
    }

    #[test]
    fn the_objects_are_the_documented_ones() {
        let kata_config = kata_config();
        let settings = Settings::default();
        let kata = ClassSpec::kata();
        let selector = runtime_class_selector(Layout::Regular, &kata, true);
        let objects: Vec<Value> = [
            machine_config(&kata_config, Layout::Regular, "sandboxed-containers"),
            pool(),
            container_runtime_config(&kata_config, Layout::Converged, "debug"),
            runtime_class(&kata_config, &kata, &selector),
            scc(&kata_config, &settings),
            monitor(&kata_config, &settings, Layout::Regular, &MonitorHost::openshift(), "monitor@sha256:0"),
            namespace(&settings),
        ]
        .into_iter()
        .map(|(_, object)| object)
        .collect();
        insta::assert_yaml_snapshot!(objects);
    }
}
