//! The clusters that the demo can be played on.

use clap::ValueEnum;
use osc_devcluster::sim::topology::{Kind, Platform, Topology};

/// What kind of cluster, and what happens on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Three control-plane nodes and workers: everything from install to uninstall.
    Regular,
    /// The same, on OKD: the other extension.
    Okd,
    /// Three nodes that are control plane and workers at once.
    Compact,
    /// One node.
    SingleNode,
    /// A node fails during the installation and is mended.
    Degraded,
    /// The pool is paused during the installation, and the installation is given up.
    Paused,
    /// Kubernetes without the Machine Config Operator: agents install, and one of them fails at first.
    Daemonset,
    /// Nodes with confidential hardware, and the gate for it.
    Confidential,
    /// Pods in virtual machines of a cloud, which is in memory: image, webhook, limit, and what a failing adaptor leaves.
    Peerpods,
}

impl Scenario {
    /// The cluster.
    pub fn topology(self, workers: u32) -> Topology {
        let regular = Topology { workers, ..Topology::default() };
        match self {
            Self::Regular | Self::Degraded | Self::Paused => regular,
            Self::Daemonset => {
                Topology { kind: Kind::PlainKubernetes, version: "1.32.5".to_owned(), ..regular }
            }
            Self::Confidential => {
                let tdx = ("intel.feature.node.kubernetes.io/tdx".to_owned(), "true".to_owned());
                Topology { worker_labels: [tdx].into(), ..regular }
            }
            Self::Peerpods => Topology { platform: Platform::Aws, ..regular },
            Self::Okd => Topology { product: false, ..regular },
            Self::Compact => Topology { kind: Kind::Compact, workers: 0, ..regular },
            Self::SingleNode => Topology { kind: Kind::SingleNode, control_plane: 1, workers: 0, ..regular },
        }
    }

    /// Whether the control plane does the work.
    pub fn converged(self) -> bool {
        matches!(self, Self::Compact | Self::SingleNode)
    }

    /// The command that a person types there.
    pub fn tool(self) -> &'static str {
        if self == Self::Daemonset { "kubectl" } else { "oc" }
    }

    /// What the cluster is.
    pub fn product(self) -> &'static str {
        if self == Self::Daemonset { "Kubernetes" } else { "OpenShift" }
    }

    /// The cluster in a sentence.
    pub fn describe(self, workers: u32) -> String {
        match self {
            Self::Compact => "compact, 3 nodes that are control plane and workers at once".to_owned(),
            Self::SingleNode => "single-node".to_owned(),
            _ => format!("3 control-plane and {workers} worker nodes"),
        }
    }
}
