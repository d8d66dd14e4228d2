//! Checks of what is asked for, and of what is there already: KataConfigs, runtime classes, other installations.

use osc_api::{DeploymentMode, names};
use osc_engine::delivery::AgentTraces;
use osc_engine::runtime_class::is_ours;
use osc_engine::{Kind, Settings};

use super::finding::Finding;
use super::situation::{Intent, Situation, oldest};

/// The specification itself.
pub fn specification(situation: &Situation<'_>) -> Vec<Finding> {
    let Intent::Apply(kata_config) = situation.intent else { return Vec::new() };
    let mut found = Vec::new();
    let name = kata_config.metadata.name.clone().unwrap_or_default();
    if let Some(Err(complaints)) = &situation.spec {
        found.extend(complaints.iter().map(|complaint| {
            Finding::blocks("InvalidConfiguration", complaint.clone())
                .at(format!("KataConfig {name}"))
                .why("The operator changes nothing for a KataConfig that it cannot understand.")
                .remedy("Correct the field.")
                .command("oc explain kataconfig.spec")
        }));
    }
    if situation.valid().is_some_and(|spec| spec.peer_pods) {
        found.push(
            Finding::info("PeerPods", "spec.enablePeerPods is true")
                .at(format!("KataConfig {name}"))
                .why("Peer pods need settings and credentials, which are not looked at here.")
                .remedy("Check them before.")
                .command("osc peerpods check"),
        );
    }
    found
}

/// Other KataConfigs, and one that is on its way out.
pub fn present(situation: &Situation<'_>) -> Vec<Finding> {
    let present = oldest(situation.snapshot);
    let Some(present) = present else {
        return match situation.intent {
            Intent::Apply(_) => Vec::new(),
            Intent::Delete => vec![
                Finding::info("NothingToDelete", "there is no KataConfig on this cluster")
                    .why("There is nothing to remove.")
                    .remedy("Look whether this is the cluster that you mean.")
                    .command("oc config current-context"),
            ],
        };
    };
    let name = present.metadata.name.clone().unwrap_or_default();
    let mut found = Vec::new();
    if situation.intent.name().is_some_and(|asked| asked != name) {
        found.push(
            Finding::blocks("SecondKataConfig", format!("there is a KataConfig already: {name}"))
                .at(format!("KataConfig {name}"))
                .why("A cluster has one. The operator goes by the first that was made and ignores every other.")
                .remedy("Change that one, or delete it first.")
                .command(format!("oc edit kataconfig {name}")),
        );
    }
    if present.metadata.deletion_timestamp.is_some() && matches!(situation.intent, Intent::Apply(_)) {
        found.push(
            Finding::blocks("KataConfigDeleting", format!("KataConfig {name} is being deleted"))
                .at(format!("KataConfig {name}"))
                .why("Deletion cannot be taken back: it goes on to its end, whatever is applied meanwhile.")
                .remedy("Wait until it is gone, then apply.")
                .command(format!("oc wait kataconfig/{name} --for=delete --timeout=24h")),
        );
    }
    found
}

/// A class `kata` that is not ours.
pub fn runtime_class(situation: &Situation<'_>) -> Vec<Finding> {
    let name = names::KATA_RUNTIME_CLASS;
    let class = situation.observed.cluster_object(Kind::RuntimeClass, name).filter(|class| !is_ours(class));
    let (Some(class), Intent::Apply(_)) = (class, situation.intent) else { return Vec::new() };
    let handler = class["handler"].as_str().unwrap_or_default();
    let finding = if handler == name {
        Finding::info("RuntimeClassForeign", format!("somebody else made a RuntimeClass {name}"))
            .why("It has the right handler and is used as it is; it stays when Kata is removed.")
            .remedy("Nothing, or delete it, then it is made anew and looked after.")
    } else {
        Finding::blocks(
            "RuntimeClassCollision",
            format!("somebody else made a RuntimeClass {name}, with handler {handler:?}"),
        )
        .why("Pods that ask for it get that handler, not Kata. The operator does not touch what is not its own.")
        .remedy("Give it another name, then it is made anew.")
    };
    vec![finding.at(format!("RuntimeClass {name}")).command(format!("oc get runtimeclass {name} -o yaml"))]
}

/// Node agents install, or have installed: another way, without the drains and reboots of the Machine Config Operator.
pub fn daemon_set_mode(situation: &Situation<'_>) -> Vec<Finding> {
    let settings = Settings::default();
    if situation.mode != DeploymentMode::DaemonSet {
        return Vec::new();
    }
    let found = AgentTraces::find(situation.observed, &settings);
    let found = found.unwrap_or(AgentTraces { nodes: Vec::new(), daemon_sets: Vec::new() });
    vec![
        Finding::info("DaemonSetMode", "node agents bring Kata to the nodes, in DaemonSet mode")
            .at_all(found.nodes.iter().map(|node| format!("Node {node}")))
            .at_all(found.daemon_sets.iter().map(|name| format!("DaemonSet {}/{name}", settings.namespace)))
            .why(
                "No node is drained or rebooted by the operator; the container runtime of one node after the other is \
                 restarted. What the Machine Config Operator would do is not checked.",
            )
            .remedy("Nothing; nodes whose operating system needs a reboot are told in the condition Degraded.")
            .command("kubectl get nodes -L kataconfiguration.openshift.io/kata-ds-rpm-install"),
    ]
}
