//! The search can fail: decisions that are spoilt on purpose break the property that they are to break.

use osc_api::names;
use osc_engine::{Kind, ObjectId, Observed, Plan, Settings, Step, decide};
use osc_proof::explore::cluster::Level;
use osc_proof::explore::model::Model;
use osc_proof::explore::properties::Property;
use osc_proof::explore::scope::{Scope, Selected, Wish};
use osc_proof::explore::search::explore;
use serde_json::json;

use crate::{LIMIT, words};

/// Explores a world with spoilt decisions; tells the trace to the property that has to break.
fn broken_by(property: Property, spoil: impl Fn(&Observed, &mut Plan) + 'static) -> Vec<String> {
    let wishes = vec![Wish { nodes: Selected::All, level: Level::Debug }];
    let scope = Scope { wishes, nodes: 1, ..Scope::small("spoilt") };
    let spoilt = move |observed: &Observed, settings: &Settings| {
        let mut plan = decide(observed, settings);
        spoil(observed, &mut plan);
        plan
    };
    let exploration = explore(&mut Model::new(scope, Box::new(spoilt)), LIMIT);
    assert!(exploration.complete);
    assert!(exploration.breaks(property), "{property:?} holds; broken: {}", words(&exploration));
    let found = exploration.violations.into_iter().find(|found| found.broken.property == property);
    found.map(|found| found.trace).unwrap_or_default()
}

fn deleting(observed: &Observed) -> bool {
    observed.kata_configs.iter().any(|kata_config| kata_config.deleting)
}

#[test]
fn unspoilt_nothing_breaks() {
    let scope = Scope { nodes: 1, ..Scope::small("unspoilt") };
    let scope = Scope { wishes: vec![Wish { nodes: Selected::All, level: Level::Debug }], ..scope };
    let exploration = explore(&mut Model::new(scope, Box::new(decide)), LIMIT);
    assert!(exploration.complete && exploration.violations.is_empty(), "{}", words(&exploration));
}

#[test]
fn a_pool_that_is_removed_early_is_found() {
    let id = ObjectId::cluster(Kind::MachineConfigPool, names::KATA_POOL);
    let trace = broken_by(Property::PoolOutlivesItsMembers, move |observed, plan| {
        if deleting(observed) && observed.objects.contains_key(&id) {
            plan.steps.insert(0, Step::Delete { id: id.clone() });
        }
    });
    let last = trace.last().unwrap();
    assert!(last.ends_with("delete MachineConfigPool kata-oc"), "{last}");
    assert!(trace.iter().any(|line| line.contains("deletes example-kataconfig")), "{trace:?}");
}

#[test]
fn a_finalizer_that_goes_first_is_found() {
    broken_by(Property::FinalizerHolds, |observed, plan| {
        let held = observed.kata_configs.iter().find(|found| found.deleting && !found.finalizers.is_empty());
        if let Some(kata_config) = held {
            plan.steps.insert(
                0,
                Step::SetFinalizers {
                    id: ObjectId::cluster(Kind::KataConfig, &kata_config.name),
                    resource_version: kata_config.resource_version.clone(),
                    finalizers: Vec::new(),
                },
            );
        }
    });
}

#[test]
fn roles_before_the_pool_is_rendered_are_found() {
    broken_by(Property::RebootsOnlyForChanges, |observed, plan| {
        let wanted = !deleting(observed) && !observed.kata_configs.is_empty();
        let pool = observed.pool(names::KATA_POOL).is_some();
        for node in observed.nodes.iter().filter(|node| wanted && pool && !node.has_kata_role()) {
            let (node, key) = (node.name.clone(), names::KATA_NODE_ROLE);
            plan.steps.insert(0, Step::LabelNode { node, key, value: Some("") });
        }
    });
}

#[test]
fn a_class_that_no_node_serves_is_found() {
    let id = ObjectId::cluster(Kind::RuntimeClass, names::KATA_RUNTIME_CLASS);
    broken_by(Property::ClassOnlyWhereServed, move |observed, plan| {
        if !deleting(observed) && !observed.kata_configs.is_empty() && !observed.objects.contains_key(&id) {
            let object = json!({"metadata": {"name": id.name}, "handler": "kata"});
            plan.steps.push(Step::Create { id: id.clone(), object });
        }
    });
}

#[test]
fn an_installation_that_forgets_the_roles_is_found() {
    broken_by(Property::ReachesTheWish, |_, plan| {
        plan.steps.retain(|step| !matches!(step, Step::LabelNode { value: Some(_), .. }));
    });
}

#[test]
fn a_removal_that_forgets_the_roles_is_found() {
    broken_by(Property::RemovalIsNeverStuck, |_, plan| {
        plan.steps.retain(|step| !matches!(step, Step::LabelNode { value: None, .. }));
    });
}

#[test]
fn a_status_that_is_written_for_ever_is_found() {
    broken_by(Property::RestIsQuiet, |observed, plan| {
        if let (true, Some(kata_config)) = (plan.steps.is_empty(), observed.kata_configs.first()) {
            let mut status = kata_config.status.clone();
            status.waiting_for_mco_to_start ^= true;
            plan.steps.push(Step::PatchStatus { name: kata_config.name.clone(), status });
        }
    });
}
