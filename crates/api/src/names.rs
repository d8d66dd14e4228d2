//! Names, labels, annotations and finalizers: literal interfaces, in one place.

/// Namespace of the operator and of everything namespaced that it creates.
pub const OPERATOR_NAMESPACE: &str = "openshift-sandboxed-containers-operator";
/// Name of the operator's ServiceAccount, Deployment and field manager.
pub const OPERATOR_NAME: &str = "sandboxed-containers-operator";
/// Field manager of every server-side apply.
pub const FIELD_MANAGER: &str = "sandboxed-containers-operator";
/// Lease that elects the one working operator. Shared with the Go operator, so that the two exclude each other.
pub const LEADER_ELECTION_LEASE: &str = "290f4947.kataconfiguration.openshift.io";

/// API group of KataConfig.
pub const KATACONFIG_GROUP: &str = "kataconfiguration.openshift.io";
/// Name of the KataConfig CustomResourceDefinition.
pub const KATACONFIG_CRD: &str = "kataconfigs.kataconfiguration.openshift.io";
/// Finalizer of a KataConfig.
pub const KATACONFIG_FINALIZER: &str = "kataconfiguration.openshift.io/finalizer";
/// Finalizer that releases 1.0 put on a KataConfig; removed together with the present one.
pub const KATACONFIG_FINALIZER_1_0: &str = "finalizer.kataconfiguration.openshift.io";
/// Finalizer of a RuntimeClass that we created. Its domain differs on purpose: it is an interface.
pub const RUNTIME_CLASS_FINALIZER: &str = "kataconfig.openshift.io/runtime-class-cleanup";

/// Label key of a node's membership in the pool `kata-oc`: the one external mark of a Kata node.
pub const KATA_NODE_ROLE: &str = "node-role.kubernetes.io/kata-oc";
/// Label key of a worker node.
pub const WORKER_NODE_ROLE: &str = "node-role.kubernetes.io/worker";
/// Label key of a control-plane node, as the Machine Config Operator knows it.
pub const MASTER_NODE_ROLE: &str = "node-role.kubernetes.io/master";
/// Newer label key of a control-plane node.
pub const CONTROL_PLANE_NODE_ROLE: &str = "node-role.kubernetes.io/control-plane";
/// Prefix of all node role labels.
pub const NODE_ROLE_PREFIX: &str = "node-role.kubernetes.io/";
/// Label that says that a node can run Kata (by Node Feature Discovery or by hand).
pub const NODE_ELIGIBLE_LABEL: &str = "feature.node.kubernetes.io/runtime.kata";

/// MachineConfigPool of the Kata nodes on a regular cluster.
pub const KATA_POOL: &str = "kata-oc";
/// MachineConfigPool of the workers.
pub const WORKER_POOL: &str = "worker";
/// MachineConfigPool of the control plane.
pub const MASTER_POOL: &str = "master";
/// Label key that says which pool's role a MachineConfig is for.
pub const MACHINE_CONFIG_ROLE: &str = "machineconfiguration.openshift.io/role";
/// Prefix of the label by which a ContainerRuntimeConfig selects a pool.
pub const POOL_LABEL_PREFIX: &str = "pools.operator.machineconfiguration.openshift.io/";
/// Node annotation: what the Machine Config Daemon is doing: `Done`, `Working`, `Degraded`, ...
pub const MCO_STATE: &str = "machineconfiguration.openshift.io/state";
/// Node annotation: the rendered machine config that the node runs.
pub const MCO_CURRENT_CONFIG: &str = "machineconfiguration.openshift.io/currentConfig";
/// Node annotation: the rendered machine config that the node is to run.
pub const MCO_DESIRED_CONFIG: &str = "machineconfiguration.openshift.io/desiredConfig";
/// Node annotation: what the daemon asks the drain controller for: `drain-<config>` or `uncordon-<config>`.
pub const MCO_DESIRED_DRAIN: &str = "machineconfiguration.openshift.io/desiredDrain";
/// Node annotation: what the drain controller has done of it.
pub const MCO_LAST_APPLIED_DRAIN: &str = "machineconfiguration.openshift.io/lastAppliedDrain";
/// Node annotation: why the node is degraded.
pub const MCO_REASON: &str = "machineconfiguration.openshift.io/reason";

/// MachineConfig that installs the Kata extension.
pub const EXTENSION_MACHINE_CONFIG: &str = "50-enable-sandboxed-containers-extension";
/// MachineConfig of the Go operator that installs an operating system image with Kata in it.
pub const IMAGE_MACHINE_CONFIG: &str = "50-enable-sandboxed-containers-image";
/// RHCOS extension of the product.
pub const EXTENSION_PRODUCT: &str = "sandboxed-containers";
/// Extension of OKD's operating system.
pub const EXTENSION_OKD: &str = "kata-containers";
/// Release repository of the product, as it appears in ClusterVersion's image.
pub const RELEASE_REPOSITORY_PRODUCT: &str = "openshift-release-dev/ocp-release";
/// Release repository of OKD.
pub const RELEASE_REPOSITORY_OKD: &str = "okd/scos-release";
/// ContainerRuntimeConfig that carries the log level.
pub const CONTAINER_RUNTIME_CONFIG: &str = "kata-crio-config";
/// The one ClusterVersion.
pub const CLUSTER_VERSION: &str = "version";

/// ConfigMap with the feature gates, in the operator's namespace.
pub const FEATURE_GATES: &str = "osc-feature-gates";
/// ConfigMap that says which operating system image the gate `layeredImageDeployment` installs.
pub const LAYERED_IMAGE_CONFIG_MAP: &str = "layered-image-deploy-cm";
/// ConfigMap with the kernel of IBM Secure Execution.
pub const ADDON_CONFIG_MAP: &str = "kata-addon-artifacts";

/// Node label by which the node agent of DaemonSet mode tells how far it is.
pub const DAEMON_SET_MODE_LABEL: &str = "kataconfiguration.openshift.io/kata-ds-rpm-install";
/// Node annotation of the node agent: why it failed, in a sentence.
pub const AGENT_FAILURE: &str = "kataconfiguration.openshift.io/kata-ds-rpm-install-failure";
/// Node annotation of the node agent: what it has installed.
pub const AGENT_VERSION: &str = "kataconfiguration.openshift.io/kata-ds-version";
/// DaemonSet of the node agent that installs.
pub const INSTALL_DAEMON_SET: &str = "osc-rpm-install";
/// DaemonSet of the node agent that removes.
pub const UNINSTALL_DAEMON_SET: &str = "osc-rpm-uninstall";
/// DaemonSets that run that agent.
pub const DAEMON_SET_MODE_DAEMON_SETS: [&str; 2] = [INSTALL_DAEMON_SET, UNINSTALL_DAEMON_SET];
/// ServiceAccount of the node agent, and its container.
pub const AGENT_SERVICE_ACCOUNT: &str = "kata-install";
/// SecurityContextConstraints of the node agent.
pub const AGENT_SCC: &str = "kata-install-scc";
/// ConfigMap with the settings of DaemonSet mode, in the operator's namespace.
pub const DAEMON_SET_CONFIG_MAP: &str = "osc-daemonset-config";
/// Namespace of OpenShift's global pull secret.
pub const PULL_SECRET_NAMESPACE: &str = "openshift-config";
/// OpenShift's global pull secret.
pub const PULL_SECRET: &str = "pull-secret";
/// Its key.
pub const PULL_SECRET_KEY: &str = ".dockerconfigjson";
/// The copy of the pull secret that the node agent reads.
pub const AUTH_SECRET: &str = "auth-json-secret";
/// Its key.
pub const AUTH_SECRET_KEY: &str = "auth.json";
/// Namespace of the Machine Config Operator.
pub const MCO_NAMESPACE: &str = "openshift-machine-config-operator";
/// ConfigMap in which the Machine Config Operator keeps the images of the release's operating system.
pub const OS_IMAGES_CONFIG_MAP: &str = "machine-config-osimageurl";
/// Its key for the image with the operating system's extensions.
pub const OS_EXTENSIONS_KEY: &str = "baseOSExtensionsContainerImage";
/// The one Infrastructure.
pub const INFRASTRUCTURE: &str = "cluster";

/// Runtime class of Kata on the node.
pub const KATA_RUNTIME_CLASS: &str = "kata";
/// Runtime class of Kata with a GPU.
pub const GPU_RUNTIME_CLASS: &str = "kata-nvidia-gpu";
/// Runtime class of peer pods.
pub const REMOTE_RUNTIME_CLASS: &str = "kata-remote";
/// Runtime class of confidential containers.
pub const CONFIDENTIAL_RUNTIME_CLASS: &str = "kata-cc";
/// Runtime class of confidential containers with a GPU.
pub const CONFIDENTIAL_GPU_RUNTIME_CLASS: &str = "kata-cc-nvidia-gpu";
/// All runtime classes that there are for a KataConfig.
pub const RUNTIME_CLASSES: [&str; 5] = [
    KATA_RUNTIME_CLASS,
    GPU_RUNTIME_CLASS,
    REMOTE_RUNTIME_CLASS,
    CONFIDENTIAL_RUNTIME_CLASS,
    CONFIDENTIAL_GPU_RUNTIME_CLASS,
];
/// Label with the name of the KataConfig on objects that we create.
pub const APP_LABEL: &str = "app";

/// DaemonSet, label value and ServiceMonitor of kata-monitor.
pub const MONITOR: &str = "openshift-sandboxed-containers-monitor";
/// ServiceAccount of kata-monitor.
pub const MONITOR_SERVICE_ACCOUNT: &str = "monitor";
/// SecurityContextConstraints of kata-monitor.
pub const MONITOR_SCC: &str = "sandboxed-containers-operator-scc";
/// ConfigMap with the dashboard, in the operator's namespace and, copied, in [`DASHBOARD_NAMESPACE`].
pub const DASHBOARD_CONFIG_MAP: &str = "grafana-dashboard-sandboxed-containers";
/// Where the console looks for dashboards.
pub const DASHBOARD_NAMESPACE: &str = "openshift-config-managed";
/// Label that makes the console show a dashboard.
pub const DASHBOARD_LABEL: &str = "console.openshift.io/dashboard";

/// Log levels of CRI-O, in its own order.
pub const LOG_LEVELS: [&str; 7] = ["fatal", "panic", "error", "warn", "info", "debug", "trace"];
/// Log level when none is given.
pub const DEFAULT_LOG_LEVEL: &str = "info";
