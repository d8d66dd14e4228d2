//! Node feature rules: how nodes are told apart that can run Kata, and by which TEE.

use std::collections::BTreeSet;

use clap::ValueEnum;

use super::cluster::{Known, Served};

/// Flags of `osc generate nfd-rule`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Flags {
    /// TEEs that are to be found, with commas between them; without it, all.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub tee: Vec<Tee>,
}

/// A trusted execution environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Tee {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX, and SGX, which its attestation uses.
    Tdx,
    /// IBM Secure Execution, on s390x.
    Se,
    /// None: only whether a node can run virtual machines.
    None,
}

const KATA: &str = r#"    # Virtual machines: instructions of the processor and KVM's modules, Intel's or AMD's.
    - name: runtime.kata
      labels:
        feature.node.kubernetes.io/runtime.kata: "true"
      matchAny:
        - matchFeatures:
            - feature: cpu.cpuid
              matchExpressions:
                SSE42: {op: Exists}
                VMX: {op: Exists}
            - feature: kernel.loadedmodule
              matchExpressions:
                kvm: {op: Exists}
                kvm_intel: {op: Exists}
        - matchFeatures:
            - feature: cpu.cpuid
              matchExpressions:
                SSE42: {op: Exists}
                SVM: {op: Exists}
            - feature: kernel.loadedmodule
              matchExpressions:
                kvm: {op: Exists}
                kvm_amd: {op: Exists}
"#;

const SNP: &str = r#"    # AMD SEV-SNP. The extended resource counts the encrypted virtual machines that the node can hold.
    - name: amd.sev-snp
      labels:
        amd.feature.node.kubernetes.io/snp: "true"
      extendedResources:
        sev-snp.amd.com/esids: "@cpu.security.sev.encrypted_state_ids"
      matchFeatures:
        - feature: cpu.cpuid
          matchExpressions:
            SVM: {op: Exists}
        - feature: cpu.security
          matchExpressions:
            sev.snp.enabled: {op: Exists}
"#;

const TDX: &str = r#"    # Intel SGX, which the attestation of TDX uses.
    - name: intel.sgx
      labels:
        intel.feature.node.kubernetes.io/sgx: "true"
      extendedResources:
        sgx.intel.com/epc: "@cpu.security.sgx.epc"
      matchFeatures:
        - feature: cpu.cpuid
          matchExpressions:
            SGX: {op: Exists}
            SGXLC: {op: Exists}
        - feature: cpu.security
          matchExpressions:
            sgx.enabled: {op: IsTrue}
        - feature: kernel.config
          matchExpressions:
            X86_SGX: {op: Exists}
    # Intel TDX. The extended resource counts the keys, one for each virtual machine.
    - name: intel.tdx
      labels:
        intel.feature.node.kubernetes.io/tdx: "true"
      extendedResources:
        tdx.intel.com/keys: "@cpu.security.tdx.total_keys"
      matchFeatures:
        - feature: cpu.cpuid
          matchExpressions:
            VMX: {op: Exists}
        - feature: cpu.security
          matchExpressions:
            tdx.enabled: {op: Exists}
"#;

const SE: &str = r#"    # IBM Secure Execution.
    - name: ibm.se.enabled
      labels:
        ibm.feature.node.kubernetes.io/se: "true"
      matchFeatures:
        - feature: cpu.security
          matchExpressions:
            se.enabled: {op: IsTrue}
"#;

/// The rule, for the version that is served.
pub fn rule(flags: &Flags, known: &Known) -> anyhow::Result<String> {
    let chosen: BTreeSet<Tee> = flags.tee.iter().copied().collect();
    anyhow::ensure!(
        !chosen.contains(&Tee::None) || chosen.len() == 1,
        "--tee none stands alone: it says that no TEE is to be found"
    );
    let wanted = |tee: Tee| chosen.is_empty() || chosen.contains(&tee);
    let documented = || Served { api_version: "nfd.openshift.io/v1alpha1".to_owned(), namespaced: true };
    let mut head = vec![
        "Labels the nodes that can run Kata, and those with a TEE. Nodes get their labels within a minute."
            .to_owned(),
    ];
    let served = match &known.cluster {
        None => documented(),
        Some(cluster) => cluster.node_feature_rules.clone().unwrap_or_else(|| {
            head.push(
                "This cluster does not know NodeFeatureRules yet: install the Node Feature Discovery Operator first, and \
                 generate this once more."
                    .to_owned(),
            );
            documented()
        }),
    };
    let openshift = served.api_version.starts_with("nfd.openshift.io/");
    let namespace = if openshift { "openshift-nfd" } else { "node-feature-discovery" };
    let namespace = if served.namespaced { format!("  namespace: {namespace}\n") } else { String::new() };
    let rules: String = [(Tee::Snp, SNP), (Tee::Tdx, TDX), (Tee::Se, SE)]
        .into_iter()
        .filter(|(tee, _)| wanted(*tee))
        .map(|(_, text)| text)
        .collect();
    Ok(format!(
        "{}apiVersion: {}\nkind: NodeFeatureRule\nmetadata:\n  name: consolidated-hardware-features\n{namespace}spec:\n  \
         rules:\n{KATA}{rules}",
        known.head(&head),
        served.api_version,
    ))
}
