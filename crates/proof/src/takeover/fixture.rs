//! The installations that are taken over, and how the Go operator gets there.

use std::time::Duration;

use osc_devcluster::sim::topology::{Kind, Topology};
use serde_json::{Value, json};

use super::bed::Bed;
use super::go;

/// One installation.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// For people and for the command line: what is installed, then the release.
    pub name: &'static str,
    /// The cluster.
    pub topology: Topology,
    /// Which nodes are selected; all workers if none is named. They carry the label that the KataConfig selects by.
    pub selected: &'static [&'static str],
    /// Whether the KataConfig asks for eligible nodes.
    pub check_node_eligibility: bool,
    /// Log level of CRI-O.
    pub log_level: &'static str,
    /// Whether peer pods are enabled.
    pub peer_pods: bool,
    /// How Kata comes to the nodes.
    pub delivery: Delivery,
    /// The runtime classes of that release, in their order.
    pub classes: &'static [&'static str],
    /// What else there is: a file of `fixtures/takeover/`.
    pub others: &'static str,
    /// When we take over.
    pub moment: Moment,
    /// Whether the KataConfig, the constraints and the monitor are those of the first releases.
    pub first_releases: bool,
}

/// How Kata comes to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// By an extension of that name.
    Extension(&'static str),
    /// By an image of the operating system.
    LayeredImage,
    /// By packages that an agent installs.
    DaemonSets,
}

/// When we take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Everything is installed.
    Settled,
    /// One node is installed, the others are not.
    Installing,
    /// One node is rid of Kata, the others are not.
    Uninstalling,
    /// Removal was asked for, and pods use Kata.
    Blocked,
}

const CLASSES_1_12: &[&str] = &["kata", "kata-nvidia-gpu"];
const SELECTION: &str = "kata";

fn regular(name: &'static str) -> Fixture {
    Fixture {
        name,
        topology: Topology::default(),
        selected: &[],
        check_node_eligibility: false,
        log_level: "info",
        peer_pods: false,
        delivery: Delivery::Extension("sandboxed-containers"),
        classes: CLASSES_1_12,
        others: "",
        moment: Moment::Settled,
        first_releases: false,
    }
}

/// The same with the one class of release 1.11.
fn of_1_11(fixture: Fixture) -> Fixture {
    Fixture { classes: &["kata"], ..fixture }
}

/// Two of three workers are selected, all of them are eligible. No node has the labels that a GPU class asks for then.
fn selection(name: &'static str) -> Fixture {
    let eligible = ("feature.node.kubernetes.io/runtime.kata".to_owned(), "true".to_owned());
    Fixture {
        topology: Topology { worker_labels: [eligible].into(), ..Topology::default() },
        selected: &["worker-0", "worker-1"],
        check_node_eligibility: true,
        classes: &["kata"],
        ..regular(name)
    }
}

fn converged(name: &'static str, kind: Kind) -> Fixture {
    Fixture { topology: Topology { kind, workers: 0, ..Topology::default() }, ..regular(name) }
}

/// All of them.
pub fn all() -> Vec<Fixture> {
    let confidential_classes = &["kata-cc", "kata-cc-nvidia-gpu", "kata", "kata-nvidia-gpu"];
    let tdx = ("intel.feature.node.kubernetes.io/tdx".to_owned(), "true".to_owned());
    let compact = Kind::Compact;
    let single = Kind::SingleNode;
    vec![
        regular("regular-1.12"),
        of_1_11(regular("regular-1.11")),
        selection("selection-eligibility-1.12"),
        of_1_11(selection("selection-eligibility-1.11")),
        Fixture { log_level: "debug", ..regular("log-level-debug-1.12") },
        of_1_11(Fixture { log_level: "debug", ..regular("log-level-debug-1.11") }),
        converged("compact-1.12", compact),
        of_1_11(converged("compact-1.11", compact)),
        Fixture { log_level: "debug", ..converged("compact-log-level-debug-1.12", compact) },
        converged("single-node-1.12", single),
        of_1_11(converged("single-node-1.11", single)),
        Fixture {
            topology: Topology { product: false, ..Topology::default() },
            delivery: Delivery::Extension("kata-containers"),
            ..regular("okd-1.12")
        },
        Fixture {
            delivery: Delivery::LayeredImage,
            others: include_str!("../../fixtures/takeover/layered-image.yaml"),
            ..regular("layered-image-1.12")
        },
        Fixture {
            delivery: Delivery::LayeredImage,
            others: include_str!("../../fixtures/takeover/layered-image.yaml"),
            ..converged("layered-image-compact-1.12", compact)
        },
        Fixture {
            topology: Topology { worker_labels: [tdx].into(), ..Topology::default() },
            classes: confidential_classes,
            others: include_str!("../../fixtures/takeover/confidential.yaml"),
            ..regular("confidential-1.12")
        },
        Fixture {
            peer_pods: true,
            classes: &["kata", "kata-nvidia-gpu", "kata-remote"],
            others: include_str!("../../fixtures/takeover/peer-pods.yaml"),
            ..regular("peer-pods-1.12")
        },
        Fixture {
            delivery: Delivery::DaemonSets,
            others: include_str!("../../fixtures/takeover/daemon-set-mode.yaml"),
            ..regular("daemon-set-mode-1.12")
        },
        Fixture { moment: Moment::Installing, ..regular("installing-1.12") },
        Fixture { moment: Moment::Uninstalling, log_level: "debug", ..regular("uninstalling-1.12") },
        Fixture { moment: Moment::Blocked, ..regular("blocked-by-pods-1.12") },
        Fixture { first_releases: true, classes: &["kata"], ..regular("first-releases-1.0") },
    ]
}

impl Fixture {
    fn is_converged(&self) -> bool {
        self.topology.kind != Kind::Regular
    }

    fn pool(&self) -> &'static str {
        if self.is_converged() { "master" } else { "kata-oc" }
    }

    fn node_label(&self) -> &'static str {
        if self.is_converged() { "node-role.kubernetes.io/master" } else { go::KATA_ROLE }
    }

    /// The nodes that have Kata, or are to have it, by name.
    pub fn nodes(&self) -> Vec<String> {
        let name = |role: &str, count| (0..count).map(|index| format!("{role}-{index}")).collect();
        match self.topology.kind {
            Kind::SingleNode => name("master", 1),
            Kind::Compact => name("master", self.topology.control_plane),
            _ if self.selected.is_empty() => name("worker", self.topology.workers),
            _ => self.selected.iter().map(|node| (*node).to_owned()).collect(),
        }
    }

    fn selector(&self) -> Value {
        if self.selected.is_empty() { Value::Null } else { json!({"matchLabels": {SELECTION: "yes"}}) }
    }

    /// Lets the Go operator work until we take over.
    pub async fn happen(&self, bed: &Bed) {
        self.configure(bed).await;
        if self.delivery != Delivery::DaemonSets {
            self.wait(bed, "installed", self.moment != Moment::Installing, |config| self.has_kata(config))
                .await;
        }
        if self.moment != Moment::Installing {
            self.finish(bed).await;
        }
        match self.moment {
            Moment::Settled if self.first_releases => {}
            Moment::Settled => bed.go_tells(self.settled()).await,
            Moment::Installing => bed.go_tells(self.installing(bed).await).await,
            Moment::Uninstalling => self.begin_removal(bed).await,
            Moment::Blocked => self.be_blocked(bed).await,
        }
    }

    /// KataConfig, machine config, log level, pool, roles of nodes.
    async fn configure(&self, bed: &Bed) {
        for node in self.selected {
            bed.label(node, json!({SELECTION: "yes"})).await;
        }
        if self.first_releases {
            bed.go_creates(yaml(include_str!("../../fixtures/takeover/first-releases-crd.yaml")).remove(0))
                .await;
            bed.go_creates(of_first_releases("KataConfig")).await;
        } else {
            bed.install_manifests().await;
            let (check, level) = (self.check_node_eligibility, self.log_level);
            bed.go_creates(go::kata_config(&self.selector(), check, level, self.peer_pods)).await;
        }
        match self.delivery {
            Delivery::Extension(extension) => {
                bed.go_creates(go::machine_config(self.pool(), extension)).await;
            }
            Delivery::LayeredImage => bed.go_creates(go::image_machine_config(self.pool())).await,
            Delivery::DaemonSets => {}
        }
        if self.delivery != Delivery::DaemonSets && !self.is_converged() {
            bed.go_creates(go::pool()).await;
        }
        if self.log_level != "info" {
            bed.go_creates(go::container_runtime_config(self.pool(), self.log_level)).await;
        }
        // The pool is rendered with all of it before nodes enter, so that each reboots once.
        bed.sleep(Duration::from_mins(5)).await;
        if !self.is_converged() {
            for node in self.nodes() {
                bed.label(&node, json!({go::KATA_ROLE: ""})).await;
            }
        }
        for object in yaml(self.others) {
            bed.go_creates(object).await;
        }
        if self.delivery == Delivery::DaemonSets {
            for node in self.nodes() {
                bed.label(&node, json!({go::AGENT_LABEL: "installed"})).await;
            }
        }
    }

    /// What the Go operator creates when the nodes have Kata.
    async fn finish(&self, bed: &Bed) {
        for class in self.classes {
            bed.go_creates(go::runtime_class(class, self.node_label(), self.check_node_eligibility)).await;
        }
        if self.first_releases {
            bed.go_creates(of_first_releases("SecurityContextConstraints")).await;
            bed.go_creates(of_first_releases("DaemonSet")).await;
        } else {
            bed.go_creates(go::scc()).await;
            bed.go_creates(go::monitor(self.node_label())).await;
            bed.go_creates(go::dashboard()).await;
        }
    }

    fn settled(&self) -> Value {
        go::status(("False", "", ""), &[("installed", self.nodes())], self.classes)
    }

    async fn installing(&self, bed: &Bed) -> Value {
        let configurations = bed.configurations().await;
        let (done, others): (Vec<_>, Vec<_>) =
            self.nodes().into_iter().partition(|node| self.has_kata(&configurations[node][1]));
        let message = "Performing initial installation of kata on cluster";
        go::status(("True", "Installing", message), &[("installed", done), ("waitingToInstall", others)], &[])
    }

    /// The Go operator begins with the nodes, while the classes and everything else still exist.
    async fn begin_removal(&self, bed: &Bed) {
        bed.go_tells(self.settled()).await;
        bed.delete("kataconfiguration.openshift.io/v1", "KataConfig", None, go::NAME).await;
        for node in self.nodes() {
            bed.label(&node, json!({go::KATA_ROLE: null})).await;
        }
        let name = "50-enable-sandboxed-containers-extension";
        bed.delete("machineconfiguration.openshift.io/v1", "MachineConfig", None, name).await;
        self.wait(bed, "rid of Kata", false, |config| config.starts_with("rendered-worker-")).await;
        let configurations = bed.configurations().await;
        let left: Vec<String> =
            self.nodes().into_iter().filter(|node| self.has_kata(&configurations[node][1])).collect();
        let lists = [("waitingToUninstall", left)];
        let condition = ("True", "Uninstalling", "Removing kata from cluster");
        bed.go_tells(go::status(condition, &lists, self.classes)).await;
    }

    async fn be_blocked(&self, bed: &Bed) {
        for class in self.classes {
            bed.go_creates(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("uses-{class}"), "namespace": "default"},
                "spec": {
                    "runtimeClassName": class, "automountServiceAccountToken": false,
                    "containers": [{"name": "c", "image": "i"}],
                },
            }))
            .await;
        }
        bed.delete("kataconfiguration.openshift.io/v1", "KataConfig", None, go::NAME).await;
        let message = "existing pods using \"kata\" RuntimeClass found. Please delete the pods manually for KataConfig \
                       deletion to proceed";
        let condition = ("False", "BlockedByExistingKataPods", message);
        bed.go_tells(go::status(condition, &[("installed", self.nodes())], self.classes)).await;
    }

    /// Whether a node with that configuration has Kata, as far as these fixtures go: converged clusters were rendered anew
    /// once.
    fn has_kata(&self, config: &str) -> bool {
        config.starts_with(&format!("rendered-{}-", self.pool()))
    }

    /// Waits until the Machine Config Operator has brought all nodes, or one, to where they are to be.
    async fn wait(&self, bed: &Bed, what: &str, all: bool, reached: impl Fn(&str) -> bool) {
        let nodes = self.nodes();
        let arrived = bed.eventually(|| async {
            let configurations = bed.configurations().await;
            let reboots = bed.reboots().await;
            let done = |node: &&String| {
                let [state, current, desired] = &configurations[*node];
                state == "Done" && current == desired && reached(current) && reboots[*node] > 0
            };
            let count = nodes.iter().filter(done).count();
            if all { count == nodes.len() } else { count == 1 }
        });
        assert!(arrived.await, "{}: the nodes were never {what}", self.name);
    }
}

/// What the first releases wrote otherwise.
fn of_first_releases(kind: &str) -> Value {
    let objects = yaml(include_str!("../../fixtures/takeover/first-releases.yaml"));
    objects.into_iter().find(|object| object["kind"] == kind).expect("it is in the file")
}

/// The objects of a file.
fn yaml(text: &str) -> Vec<Value> {
    if text.is_empty() {
        return Vec::new();
    }
    serde_saphyr::from_multiple(text).expect("a fixture is YAML")
}
