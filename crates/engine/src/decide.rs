//! From what is observed to what is to be done.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use osc_api::DeploymentMode;

use crate::gates::FeatureGates;
use crate::observed::{KataConfigView, Observed, Settings};
use crate::plan::{Plan, Step};
use crate::status::Report;
use crate::{agent, install, mode, runtime_class, spec, uninstall};

/// Decides what to do about the cluster.
pub fn decide(observed: &Observed, settings: &Settings) -> Plan {
    let mut plan = Plan::default();
    plan.steps.extend(runtime_class::releases(observed));
    let Some(first) = oldest(&observed.kata_configs) else { return plan };
    for other in observed.kata_configs.iter().filter(|other| other.uid != first.uid) {
        plan.steps.extend(duplicate(observed, other, first));
    }
    let own = decide_one(observed, settings, first);
    plan.wake_by(own.wake_at);
    plan.steps.extend(own.steps);
    plan
}

/// Which KataConfig counts: there is to be one, and the least of these does. The first one created wins; one that is being
/// deleted and that only somebody else's finalizer still holds does not stand in the way of the next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    is_done: bool,
    created: Option<Timestamp>,
    name: String,
}

impl Precedence {
    /// Of a KataConfig as the engine sees it.
    pub fn of(kata_config: &KataConfigView) -> Self {
        Self {
            is_done: kata_config.deleting && uninstall::let_go(kata_config).is_none(),
            created: kata_config.created,
            name: kata_config.name.clone(),
        }
    }

    /// Of a KataConfig as the API has it.
    pub fn of_metadata(metadata: &ObjectMeta) -> Self {
        Self::of(&KataConfigView {
            name: metadata.name.clone().unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            deleting: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
            ..KataConfigView::default()
        })
    }
}

/// The KataConfig that counts.
pub fn oldest(kata_configs: &[Arc<KataConfigView>]) -> Option<&KataConfigView> {
    kata_configs.iter().map(AsRef::as_ref).min_by_key(|kata_config| Precedence::of(kata_config))
}

fn decide_one(observed: &Observed, settings: &Settings, kata_config: &KataConfigView) -> Plan {
    if !observed.unreadable.is_empty() {
        return refuse(observed, kata_config, "ClusterUnreadable", unreadable(observed));
    }
    if kata_config.deleting {
        return uninstall::plan(observed, settings, kata_config);
    }
    let spec = match spec::validate(kata_config) {
        Ok(spec) => spec,
        Err(complaints) => {
            return refuse(observed, kata_config, "InvalidConfiguration", complaints.join("; "));
        }
    };
    let gates = FeatureGates::of(observed, settings);
    let mode = mode::installed(observed, settings, kata_config)
        .unwrap_or_else(|| mode::requested(&gates, observed.capabilities));
    match mode {
        DeploymentMode::DaemonSet => agent::plan(observed, settings, kata_config, &spec, &gates),
        DeploymentMode::MachineConfig if observed.capabilities.machine_config => {
            install::plan(observed, settings, kata_config, &spec, &gates)
        }
        DeploymentMode::MachineConfig => {
            let told: Vec<String> =
                std::iter::once(mode::unavailable(settings)).chain(gates.complaints).collect();
            refuse(observed, kata_config, "MachineConfigOperatorAbsent", told.join("; "))
        }
    }
}

/// Nothing is done, and the person is told why.
fn refuse(observed: &Observed, kata_config: &KataConfigView, reason: &'static str, message: String) -> Plan {
    let report = Report::refusal(kata_config, reason, message);
    Plan { steps: report.steps(kata_config, observed.now), wake_at: None }
}

fn unreadable(observed: &Observed) -> String {
    let errors: Vec<String> =
        observed.unreadable.iter().map(|(kind, error)| format!("cannot read {kind}: {error}")).collect();
    format!("{}; nothing is changed until that works", errors.join("; "))
}

/// Tells a second KataConfig that the first one counts. It is let go at once if it was held.
fn duplicate(observed: &Observed, other: &KataConfigView, first: &KataConfigView) -> Vec<Step> {
    if other.deleting {
        return uninstall::let_go(other).into_iter().collect();
    }
    let message = format!(
        "A KataConfig instance already exists: {:?}. This one is ignored; change the first one, or delete one of the two: \
         oc delete kataconfig {}",
        first.name, other.name
    );
    Report::refusal(other, "KataConfigAlreadyExists", message).steps(other, observed.now)
}
