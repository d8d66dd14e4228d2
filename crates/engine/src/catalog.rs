//! The runtime classes that there can be, as the documentation has them.

use osc_api::names;

use crate::observed::NodeView;

/// A kind of trusted execution environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tee {
    /// Intel TDX.
    Tdx,
    /// AMD SEV-SNP.
    Snp,
    /// IBM Secure Execution.
    Se,
}

impl Tee {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tdx, Self::Snp, Self::Se];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tdx => "Intel TDX",
            Self::Snp => "AMD SEV-SNP",
            Self::Se => "IBM Secure Execution",
        }
    }

    /// The label of nodes that have it, with value `true`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Tdx => "intel.feature.node.kubernetes.io/tdx",
            Self::Snp => "amd.feature.node.kubernetes.io/snp",
            Self::Se => "ibm.feature.node.kubernetes.io/se",
        }
    }

    /// Whether a node has it.
    pub fn is_on(self, node: &NodeView) -> bool {
        carries(node, (self.label(), "true"))
    }

    fn handler(self) -> &'static str {
        match self {
            Self::Tdx => "kata-tdx",
            Self::Snp => "kata-snp",
            Self::Se => "kata-se",
        }
    }

    /// Secure Execution has no GPUs.
    fn gpu_handler(self) -> Option<&'static str> {
        match self {
            Self::Tdx => Some("kata-tdx-nvidia-gpu"),
            Self::Snp => Some("kata-snp-nvidia-gpu"),
            Self::Se => None,
        }
    }

    /// The extended resource of which a sandbox takes one.
    fn resource(self) -> Option<&'static str> {
        match self {
            Self::Tdx => Some("tdx.intel.com/keys"),
            Self::Snp => Some("sev-snp.amd.com/esids"),
            Self::Se => None,
        }
    }
}

/// A label that a node is to carry.
pub type Label = (&'static str, &'static str);

const KATA: Label = (names::NODE_ELIGIBLE_LABEL, "true");
const GPU: [Label; 3] = [
    ("nvidia.com/gpu.present", "true"),
    ("nvidia.com/gpu.deploy.vfio-manager", "true"),
    ("nvidia.com/gpu.deploy.kata-sandbox-device-plugin", "true"),
];
const GPU_NOT_CONFIDENTIAL: [Label; 2] =
    [("nvidia.com/cc.mode.state", "off"), ("nvidia.com/cc.ready.state", "false")];
const GPU_CONFIDENTIAL: [Label; 3] = [
    ("nvidia.com/cc.mode.state", "on"),
    ("nvidia.com/cc.ready.state", "true"),
    ("nvidia.com/gpu.deploy.cc-manager", "true"),
];

/// A runtime class as it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSpec {
    /// Its name.
    pub name: &'static str,
    /// The handler of the container runtime.
    pub handler: &'static str,
    /// CPU that a sandbox takes beside its containers.
    pub cpu: &'static str,
    /// Memory that a sandbox takes beside its containers.
    pub memory: &'static str,
    /// Extended resource of which a sandbox takes one.
    pub resource: Option<&'static str>,
    /// Labels of the nodes that can run it; asked for where eligibility is checked.
    pub labels: Vec<Label>,
}

impl ClassSpec {
    /// Kata, as it is.
    pub fn kata() -> Self {
        Self {
            name: names::KATA_RUNTIME_CLASS,
            handler: "kata",
            cpu: "250m",
            memory: "350Mi",
            resource: None,
            labels: vec![KATA],
        }
    }

    /// Kata with a GPU.
    pub fn gpu() -> Self {
        Self {
            name: names::GPU_RUNTIME_CLASS,
            handler: "kata-nvidia-gpu",
            cpu: "1",
            memory: "4096Mi",
            resource: None,
            labels: [&[KATA][..], &GPU, &GPU_NOT_CONFIDENTIAL].concat(),
        }
    }

    /// Peer pods: on the node there is only what leads to their virtual machine.
    pub fn remote() -> Self {
        Self {
            name: names::REMOTE_RUNTIME_CLASS,
            handler: "kata-remote",
            memory: "120Mi",
            labels: Vec::new(),
            ..Self::kata()
        }
    }

    /// Confidential containers.
    pub fn confidential(tee: Tee) -> Self {
        Self {
            name: names::CONFIDENTIAL_RUNTIME_CLASS,
            handler: tee.handler(),
            resource: tee.resource(),
            labels: vec![KATA, (tee.label(), "true")],
            ..Self::kata()
        }
    }

    /// Confidential containers with a GPU, where there can be such.
    pub fn confidential_gpu(tee: Tee) -> Option<Self> {
        Some(Self {
            name: names::CONFIDENTIAL_GPU_RUNTIME_CLASS,
            handler: tee.gpu_handler()?,
            resource: tee.resource(),
            labels: [&[KATA][..], &GPU, &GPU_CONFIDENTIAL, &[(tee.label(), "true")]].concat(),
            ..Self::kata()
        })
    }

    /// Whether a node carries all labels.
    pub fn fits(&self, node: &NodeView) -> bool {
        self.labels.iter().all(|label| carries(node, *label))
    }
}

fn carries(node: &NodeView, (key, value): Label) -> bool {
    node.labels.get(key).is_some_and(|found| found == value)
}
