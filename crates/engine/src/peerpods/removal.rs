//! Peer pods go: switched off, or with their KataConfig. The runtime class is gone by then, and so is every pod that used it.
//!
//! ```text
//! nobody is asked about pods any more -> virtual machines (the adaptor, and what it forgot by their PeerPods)
//!   -> room on nodes, adaptor, webhook -> pod VM image (a job) -> credentials, limit
//! ```

use osc_api::names;
use osc_api::peerpods::{PEER_POD_CONFIG, PEER_POD_FINALIZER};

use super::image::Image;
use super::progress::Progress;
use super::situation::{Situation, own};
use super::{adaptor, capacity, credentials, webhook};
use serde_json::Value;

use crate::gates::FeatureGates;
use crate::object::{Kind, ObjectId, is_deleted};
use crate::observed::{KataConfigView, Observed, PeerPodView, Settings};
use crate::plan::Step;
use crate::trouble::{NAMES_TOLD, Trouble, list};

/// Takes everything back. Without something to wait for in it, nothing is left.
pub fn plan(
    observed: &Observed,
    settings: &Settings,
    kata_config: &KataConfigView,
    gates: &FeatureGates,
) -> Progress {
    let mut progress = Progress::default();
    if observed.cluster_object(Kind::RuntimeClass, names::REMOTE_RUNTIME_CLASS).is_some()
        && crate::runtime_class::is_kata(observed, names::REMOTE_RUNTIME_CLASS)
    {
        progress.wait("pods that use kata-remote are to go first");
        return progress;
    }
    let (steps, asked) = webhook::withdraw_question(observed, settings);
    progress.steps.extend(steps);
    if asked {
        progress.wait("the webhook is removed");
        return progress;
    }
    // Without an adaptor of ours, they are those of somebody else.
    let adaptor =
        observed.objects.get(&adaptor::id(settings)).is_some_and(|found| is_of_a_kata_config(found));
    if adaptor && !observed.peer_pods.is_empty() {
        // No pod uses them any more. Most are on their way out already; those that no pod owns are asked to go.
        let staying = observed.peer_pods.iter().filter(|one| one.deleted.is_none());
        progress.steps.extend(
            staying.map(|one| Step::Delete {
                id: ObjectId::namespaced(Kind::PeerPod, &one.namespace, &one.name),
            }),
        );
        progress.wait(format!("{} virtual machines of peer pods are deleted", observed.peer_pods.len()));
        progress.troubles.extend(stuck(observed, settings));
        progress.wake_by(next_stuck(observed, settings));
        return progress;
    }
    if adaptor && !observed.strays.is_empty() {
        // After this nobody would know of them, or could log in to delete them.
        progress.wait("virtual machines that no PeerPod knows are deleted");
        progress.troubles.extend(stuck(observed, settings));
        return progress;
    }
    if adaptor {
        progress.steps.extend(capacity::withdraw(observed));
    }
    let [deployment, service] = webhook::server_ids(settings);
    for id in [adaptor::id(settings), deployment, service, adaptor::scc_id()] {
        delete(observed, id, &mut progress);
    }
    let situation = Situation::of(observed, settings, gates);
    let (gone, image) = Image { situation: &situation, kata_config }.remove();
    progress.join(image);
    if !gone {
        progress.wait("the pod VM image is deleted");
        return progress;
    }
    progress.steps.extend(credentials::withdraw(observed, settings));
    for id in credentials::request_ids() {
        if observed.objects.contains_key(&id) {
            progress.wait("credentials are given back");
        }
    }
    let limit = own(settings, Kind::PeerPodConfig, PEER_POD_CONFIG);
    // One that a person made is theirs.
    if observed.objects.get(&limit).is_some_and(|found| is_of_a_kata_config(found)) {
        delete(observed, limit, &mut progress);
    }
    progress
}

/// Whether an object was made for a KataConfig.
fn is_of_a_kata_config(object: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().any(|owner| owner["kind"] == Kind::KataConfig.name())
}

/// Deletes an object, and waits until it is gone.
fn delete(observed: &Observed, id: ObjectId, progress: &mut Progress) {
    let Some(found) = observed.objects.get(&id) else { return };
    progress.wait(format!("{id} is removed"));
    if !is_deleted(found) {
        progress.steps.push(Step::Delete { id });
    }
}

fn overdue(observed: &Observed, settings: &Settings, one: &PeerPodView) -> bool {
    let deadline = one.deleted.and_then(|since| since.checked_add(settings.peer_pods.deletion_deadline).ok());
    deadline.is_some_and(|deadline| observed.now >= deadline)
}

fn next_stuck(observed: &Observed, settings: &Settings) -> Option<jiff::Timestamp> {
    let deadlines = observed.peer_pods.iter().filter_map(|one| {
        let deadline = one.deleted?.checked_add(settings.peer_pods.deletion_deadline).ok()?;
        (deadline > observed.now).then_some(deadline)
    });
    deadlines.min()
}

/// Virtual machines that cannot be deleted, or take long for it.
pub fn stuck(observed: &Observed, settings: &Settings) -> Vec<Trouble> {
    let bad: Vec<&PeerPodView> = observed
        .peer_pods
        .iter()
        .filter(|one| one.error.is_some() || overdue(observed, settings, one))
        .collect();
    let mut troubles: Vec<Trouble> = bad
        .iter()
        .take(NAMES_TOLD)
        .map(|one| {
            let why = one.error.as_deref().unwrap_or("nobody has deleted it so far").trim_end_matches('.');
            let message = format!(
                "virtual machine {} of PeerPod {namespace}/{name} ({}) is still there: {why}. Mend that, then it is tried \
                 again; if it was deleted by hand, take finalizer {PEER_POD_FINALIZER} away: oc patch peerpod {name} -n \
                 {namespace} --type merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'",
                one.instance,
                one.provider,
                namespace = one.namespace,
                name = one.name,
            );
            Trouble { reason: "PeerPodStuck", message }
        })
        .collect();
    if bad.len() > NAMES_TOLD {
        let message =
            format!("{} more virtual machines of peer pods are still there", bad.len() - NAMES_TOLD);
        troubles.push(Trouble { reason: "PeerPodStuck", message });
    }
    if !observed.strays.is_empty() {
        let message = format!(
            "virtual machines of this cluster that no PeerPod knows run, and cost: {}. Delete them by the cloud's own tools, or \
             let the operator do it: set OSC_UNKNOWN_VMS to delete in its Deployment; if they are meant to stay, set it to off",
            list(observed.strays.iter().map(String::as_str))
        );
        troubles.push(Trouble { reason: "UnknownVirtualMachines", message });
    }
    troubles
}
