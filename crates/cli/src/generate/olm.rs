//! What makes the Operator Lifecycle Manager install the operator.

use anyhow::{bail, ensure};
use osc_api::names;

use super::cluster::Known;

/// Flags of `osc generate subscription`.
#[derive(clap::Args, Clone, Debug)]
pub struct Flags {
    /// Channel of the catalog.
    #[arg(long, default_value = "stable")]
    pub channel: String,

    /// Catalog that has the operator.
    #[arg(long, default_value = "redhat-operators")]
    pub source: String,

    /// Namespace of the catalog.
    #[arg(long, default_value = "openshift-marketplace")]
    pub source_namespace: String,

    /// Version to begin with.
    #[arg(long, default_value = "sandboxed-containers-operator.v1.12.0", value_name = "CSV")]
    pub starting_csv: String,

    /// Ask before each installation and update.
    #[arg(long)]
    pub manual: bool,
}

/// Namespace, OperatorGroup and Subscription.
pub fn subscription(flags: &Flags, known: &Known) -> anyhow::Result<String> {
    if let Some(cluster) = &known.cluster
        && !cluster.olm
    {
        bail!(
            "the cluster at {} has no Operator Lifecycle Manager; install the operator with oc apply -k deploy/, or use \
             --offline for another cluster",
            cluster.address
        );
    }
    for (flag, value) in [
        ("--channel", &flags.channel),
        ("--source", &flags.source),
        ("--source-namespace", &flags.source_namespace),
        ("--starting-csv", &flags.starting_csv),
    ] {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let begins = value.starts_with(|c: char| c.is_ascii_alphabetic());
        ensure!(
            begins && value.len() <= 253 && value.chars().all(fits),
            "{flag} is {value:?}; write a name of letters, digits, '-', '.' and '_' that begins with a letter"
        );
    }
    let namespace = names::OPERATOR_NAMESPACE;
    let name = names::OPERATOR_NAME;
    let approval = if flags.manual { "Manual" } else { "Automatic" };
    let Flags { channel, source, source_namespace, starting_csv, .. } = flags;
    let head = known.head(&["Installs the operator from a catalog. No node is touched yet.".to_owned()]);
    Ok(format!(
        "{head}apiVersion: v1
kind: Namespace
metadata:
  name: {namespace}
---
# The operator looks after its own namespace; KataConfigs have none.
apiVersion: operators.coreos.com/v1
kind: OperatorGroup
metadata:
  name: sandboxed-containers-operator-group
  namespace: {namespace}
spec:
  targetNamespaces:
    - {namespace}
---
apiVersion: operators.coreos.com/v1alpha1
kind: Subscription
metadata:
  name: {name}
  namespace: {namespace}
spec:
  name: {name}
  channel: {channel}
  # Automatic, or Manual: somebody approves each InstallPlan.
  installPlanApproval: {approval}
  source: {source}
  sourceNamespace: {source_namespace}
  startingCSV: {starting_csv}
"
    ))
}
