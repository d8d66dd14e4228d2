//! How Kata comes to the nodes: by machine configs or by a node agent. Chosen once, by the first installation.

use osc_api::{DeploymentMode, names};

use crate::delivery::{self, AgentTraces};
use crate::gates::{DEPLOYMENT_MODE, FeatureGates, RequestedMode};
use crate::observed::{Capabilities, KataConfigView, Observed, Settings};
use crate::trouble::Trouble;

/// The mode in which Kata was installed, or is being installed: told by the status, and where an operator that knows
/// nothing of it was at work, by what it left.
pub fn installed(
    observed: &Observed,
    settings: &Settings,
    kata_config: &KataConfigView,
) -> Option<DeploymentMode> {
    if let Some(mode) = kata_config.status.deployment_mode {
        return Some(mode);
    }
    if delivery::exists(observed) || observed.pool(names::KATA_POOL).is_some() {
        return Some(DeploymentMode::MachineConfig);
    }
    AgentTraces::find(observed, settings).map(|_| DeploymentMode::DaemonSet)
}

/// The mode in which a removal goes. Where nothing tells, there is nothing to remove but what both ways remove.
pub fn of_removal(observed: &Observed, settings: &Settings, kata_config: &KataConfigView) -> DeploymentMode {
    installed(observed, settings, kata_config).unwrap_or(if observed.capabilities.machine_config {
        DeploymentMode::MachineConfig
    } else {
        DeploymentMode::DaemonSet
    })
}

/// The mode that the gates ask for on a cluster with these APIs.
///
/// Without a word of the person it is `MachineConfig`, as the documentation has it. On Kubernetes without OpenShift that could
/// never work, and the documentation says nothing: there the node agent installs.
pub fn requested(gates: &FeatureGates, capabilities: Capabilities) -> DeploymentMode {
    let falls_back = match gates.deployment_mode {
        Some(RequestedMode::MachineConfig) => false,
        Some(RequestedMode::DaemonSet) => return DeploymentMode::DaemonSet,
        Some(RequestedMode::DaemonSetFallback) => true,
        None => !capabilities.openshift,
    };
    if falls_back && !capabilities.machine_config {
        DeploymentMode::DaemonSet
    } else {
        DeploymentMode::MachineConfig
    }
}

/// What is wrong with the gates, and with asking for another mode than the one in which Kata is installed.
pub fn troubles(
    installed: DeploymentMode,
    gates: &FeatureGates,
    observed: &Observed,
    settings: &Settings,
    kata_config: &KataConfigView,
) -> Vec<Trouble> {
    let change = refused_change(installed, gates, observed, settings, &kata_config.name)
        .map(|message| Trouble { reason: "DeploymentModeFixed", message });
    let complaints = gates.complaints.iter().cloned();
    let complaints = complaints.map(|message| Trouble { reason: "InvalidFeatureGate", message });
    change.into_iter().chain(complaints).collect()
}

/// What is told when the gates ask for another mode than the one in which Kata is installed.
fn refused_change(
    installed: DeploymentMode,
    gates: &FeatureGates,
    observed: &Observed,
    settings: &Settings,
    kata_config: &str,
) -> Option<String> {
    let requested = requested(gates, observed.capabilities);
    let map = format!("ConfigMap {}/{}", settings.namespace, names::FEATURE_GATES);
    // Without a word of the person nothing was asked for, and what is installed stays.
    gates.deployment_mode.filter(|_| requested != installed).map(|_| {
        format!(
            "{DEPLOYMENT_MODE} in {map} asks for {}, but Kata is installed by {}: the mode does not change while there is a \
             KataConfig. Set it back, or remove Kata first (oc delete kataconfig {kata_config}) and install it anew",
            requested.name(),
            installed.name(),
        )
    })
}

/// What is told when machine configs are asked for and the cluster has none.
pub fn unavailable(settings: &Settings) -> String {
    format!(
        "deployment mode is set to MachineConfig, but it's not available: the cluster does not serve \
         machineconfiguration.openshift.io/v1 MachineConfig and MachineConfigPool. To install by a node agent, set \
         {DEPLOYMENT_MODE} to DaemonSetFallback: oc create configmap {map} -n {namespace} \
         --from-literal={DEPLOYMENT_MODE}=DaemonSetFallback, or, where the map exists, oc patch configmap {map} -n \
         {namespace} --type merge -p '{{\"data\":{{\"{DEPLOYMENT_MODE}\":\"DaemonSetFallback\"}}}}'",
        map = names::FEATURE_GATES,
        namespace = settings.namespace,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeploymentMode::{DaemonSet, MachineConfig};
    use rstest::rstest;

    #[rstest]
    #[case::default_with_mco(None, true, true, MachineConfig)]
    #[case::default_on_openshift_without_mco(None, false, true, MachineConfig)]
    #[case::default_on_kubernetes(None, false, false, DaemonSet)]
    #[case::machine_config(Some(RequestedMode::MachineConfig), true, true, MachineConfig)]
    #[case::machine_config_that_cannot_be(Some(RequestedMode::MachineConfig), false, false, MachineConfig)]
    #[case::forced(Some(RequestedMode::DaemonSet), true, true, DaemonSet)]
    #[case::forced_on_kubernetes(Some(RequestedMode::DaemonSet), false, false, DaemonSet)]
    #[case::fallback_not_needed(Some(RequestedMode::DaemonSetFallback), true, true, MachineConfig)]
    #[case::fallback_on_openshift(Some(RequestedMode::DaemonSetFallback), false, true, DaemonSet)]
    #[case::fallback_on_kubernetes(Some(RequestedMode::DaemonSetFallback), false, false, DaemonSet)]
    fn the_mode_follows_gate_and_cluster(
        #[case] gate: Option<RequestedMode>,
        #[case] machine_config: bool,
        #[case] openshift: bool,
        #[case] expected: DeploymentMode,
    ) {
        let gates = FeatureGates { deployment_mode: gate, ..FeatureGates::default() };
        let capabilities = Capabilities { machine_config, openshift, ..Capabilities::default() };
        assert_eq!(requested(&gates, capabilities), expected);
    }

    #[rstest]
    #[case::same(MachineConfig, Some(RequestedMode::MachineConfig), false)]
    #[case::fallback_means_the_same_here(MachineConfig, Some(RequestedMode::DaemonSetFallback), false)]
    #[case::nobody_asked(DaemonSet, None, false)]
    #[case::other(MachineConfig, Some(RequestedMode::DaemonSet), true)]
    #[case::back(DaemonSet, Some(RequestedMode::MachineConfig), true)]
    #[case::back_by_fallback(DaemonSet, Some(RequestedMode::DaemonSetFallback), true)]
    fn a_change_is_refused(
        #[case] installed: DeploymentMode,
        #[case] gate: Option<RequestedMode>,
        #[case] refused: bool,
    ) {
        let gates = FeatureGates { deployment_mode: gate, ..FeatureGates::default() };
        let capabilities = Capabilities { machine_config: true, openshift: true, ..Capabilities::default() };
        let observed = Observed { capabilities, ..Observed::default() };
        let told = refused_change(installed, &gates, &observed, &Settings::default(), "k");
        assert_eq!(told.is_some(), refused, "{told:?}");
    }
}
