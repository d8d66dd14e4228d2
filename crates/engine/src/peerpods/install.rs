//! Peer pods are asked for: the way there, and keeping it. Any step may be the last one before a restart.

use osc_api::peerpods::{self, Provider};
use serde_json::{Value, json};

use super::adaptor::Adaptor;
use super::check::Complaint;
use super::conditions::ImageCondition;
use super::image::Image;
use super::progress::Progress;
use super::situation::{Situation, own};
use super::{adaptor, capacity, credentials, limit, removal, webhook};
use crate::agent;
use crate::gates::FeatureGates;
use crate::object::Kind;
use crate::observed::{KataConfigView, NodeView, Observed, Settings};
use crate::plan::Step;

/// What is looked at.
pub struct Request<'a> {
    /// The cluster.
    pub observed: &'a Observed,
    /// Settings of the operator.
    pub settings: &'a Settings,
    /// Whose peer pods they are.
    pub kata_config: &'a KataConfigView,
    /// The feature gates.
    pub gates: &'a FeatureGates,
    /// Labels of the nodes that may have peer pods.
    pub node_label: &'static str,
    /// Whether no node is being changed or about to be.
    pub calm: bool,
}

/// Makes it so. Without something to wait for in it, peer pods can be used.
pub fn plan(request: &Request<'_>) -> Progress {
    let situation = Situation::of(request.observed, request.settings, request.gates);
    let mut progress = Progress::default();
    if !request.observed.capabilities.peer_pods {
        progress.wait("the cluster does not serve PeerPodConfig and PeerPod");
        progress.trouble(
            "PeerPodsCrdMissing",
            "the definitions of PeerPodConfig and PeerPod (confidentialcontainers.org/v1alpha1) are missing: install them with \
             kubectl apply -k deploy/"
                .to_owned(),
        );
        return progress;
    }
    progress.troubles.extend(removal::stuck(request.observed, request.settings));
    if request.observed.capabilities.openshift {
        let copy = agent::pull_secret(request.observed, request.kata_config, request.settings);
        progress.steps.extend(copy);
    }
    let selector = json!({request.node_label: ""});
    let (limit, agreed) = limit::agreed(&situation, request.kata_config, &selector);
    progress.join(agreed);
    match situation.provider {
        Some(provider) => serve(request, &situation, provider, &selector, &mut progress),
        None => refuse(&situation.blocking(), &mut progress),
    }
    let selected = |node: &NodeView| node.has_label(request.node_label);
    let adaptor = adaptor::id(request.settings);
    progress.join(capacity::advertise(
        request.observed,
        &request.settings.peer_pods,
        &adaptor,
        &limit,
        selected,
    ));
    progress
}

/// What is wrong keeps new things from being made; what is there stays, since pods may be using it.
fn refuse(blocking: &[Complaint], progress: &mut Progress) {
    progress.wait("the settings of peer pods are wrong");
    let told: Vec<String> = blocking
        .iter()
        .map(|one| format!("{}: {}. {}", one.object, one.what, one.remedy.trim_end_matches('.')))
        .collect();
    progress.trouble(
        "PeerPodsMisconfigured",
        format!("peer pods cannot work like this: {}. osc peerpods check tells more", told.join("; ")),
    );
}

fn serve(
    request: &Request<'_>,
    situation: &Situation<'_>,
    provider: Provider,
    selector: &Value,
    progress: &mut Progress,
) {
    if let Some(step) = gate_decides(situation) {
        // Whoever reads the map begins when that is written.
        progress.steps.push(step);
        let makes = situation.image().is_none() && provider.makes_images();
        progress.image = makes.then_some(ImageCondition::Creating);
        return progress.wait("the settings are completed");
    }
    let given = credentials::ensure(situation, request.kata_config, provider);
    let asked = given.waiting.is_some();
    progress.join(given);
    // What is asked for is no mistake of anybody.
    let blocking = situation.blocking().into_iter();
    let blocking: Vec<Complaint> =
        blocking.filter(|one| !(asked && one.reason == "CredentialsMissing")).collect();
    if !blocking.is_empty() {
        return refuse(&blocking, progress);
    }
    if asked {
        return;
    }
    if situation.setup.credentials.is_none() {
        progress.wait("there are no credentials");
        return progress.trouble(
            "PeerPodsMisconfigured",
            format!(
                "Secret {}/{} does not exist, and the cluster has nobody to ask for credentials: create it; osc peerpods \
                 configure --with secret prints one",
                request.settings.namespace,
                peerpods::CREDENTIALS
            ),
        );
    }
    let image = Image { situation, kata_config: request.kata_config };
    let (there, made) = image.ensure(provider, request.calm);
    progress.join(made);
    if !there {
        return;
    }
    progress.join(webhook::ensure(situation, request.kata_config));
    let adaptor = Adaptor {
        situation,
        kata_config: request.kata_config,
        provider,
        node_selector: selector,
        strategy: request.gates.caa_update_strategy,
    };
    progress.join(adaptor.ensure());
}

/// Whether pod VMs are confidential is for the feature gate to say, and both readers of the map are to see the same.
fn gate_decides(situation: &Situation<'_>) -> Option<Step> {
    const KEY: &str = "DISABLECVM";
    let wanted = if situation.setup.confidential { "false" } else { "true" };
    let data = situation.data();
    if data.get(KEY).map(String::as_str) == Some(wanted) {
        return None;
    }
    Some(Step::Merge {
        id: own(situation.settings, Kind::ConfigMap, peerpods::SETTINGS),
        resource_version: None,
        patch: json!({"data": {KEY: wanted}}),
    })
}
