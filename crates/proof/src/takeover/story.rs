//! What happens after we have taken over, and what must hold.

use std::collections::{BTreeMap, BTreeSet};

use osc_api::KataConfigStatus;
use serde_json::json;

use super::bed::{Bed, Write};
use super::fixture::{Delivery, Fixture, Moment};
use super::go;

/// What came of one fixture.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Machine configs and pools that we changed, or wrote, without being asked for anything.
    pub changed: BTreeSet<String>,
    /// What else was wrong; a line each.
    pub wrong: Vec<String>,
    /// What happened, in words.
    pub told: Vec<String>,
}

/// One fixture on its cluster.
struct Story<'a> {
    fixture: &'a Fixture,
    bed: &'a Bed,
    /// What was there before the Go operator came.
    bare: BTreeSet<String>,
    outcome: Outcome,
}

/// Plays a fixture: the Go operator installs, we take over, update, and remove.
pub async fn play(fixture: &Fixture, bed: &Bed) -> Outcome {
    let bare = bed.inventory().await;
    fixture.happen(bed).await;
    let mut story = Story { fixture, bed, bare, outcome: Outcome::default() };
    story.take_over().await;
    match (fixture.moment, fixture.delivery) {
        (_, Delivery::DaemonSets) => story.remove_by_agents().await,
        (Moment::Uninstalling, _) => {}
        (Moment::Blocked, _) => story.unblock().await,
        (Moment::Settled | Moment::Installing, _) => {
            story.update().await;
            story.remove().await;
        }
    }
    story.outcome
}

impl Story<'_> {
    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.outcome.wrong.push(otherwise());
        }
    }

    async fn take_over(&mut self) {
        let before = self.bed.machine_configuration().await;
        let reboots = self.bed.reboots().await;
        if self.fixture.first_releases {
            // Our definition replaces the one under which the object was stored.
            self.bed.install_manifests().await;
        }
        self.bed.start_operator().await;
        self.rest("after taking over").await;
        let after = self.bed.machine_configuration().await;
        self.compare(&before, &after);
        let still_to_come = match self.fixture.moment {
            Moment::Installing | Moment::Uninstalling => self.fixture.nodes().len() - 1,
            Moment::Settled | Moment::Blocked => 0,
        };
        self.count_reboots("taken over", &reboots, Expected::Total(still_to_come)).await;
        match self.fixture.moment {
            Moment::Uninstalling => self.nothing_is_left().await,
            Moment::Blocked => self.told_of_pods().await,
            Moment::Settled | Moment::Installing => self.converged().await,
        }
        if self.fixture.first_releases {
            self.old_fields_are_gone().await;
        }
    }

    /// What was stored under the definition of the first releases is read as far as it goes; what nobody knows any more
    /// is no reason for an error, and goes.
    async fn old_fields_are_gone(&mut self) {
        let Some(kata_config) = self.bed.kata_configs().get_opt(go::NAME).await.unwrap() else { return };
        let old = [
            ("spec", "kataMonitorImage"),
            ("status", "runtimeClass"),
            ("status", "totalNodesCount"),
            ("status", "installationStatus"),
            ("status", "upgradeStatus"),
        ];
        for (part, field) in old {
            let found = &kata_config.data[part][field];
            self.expect(found.is_null(), || format!("{part}.{field} is left: {found}"));
        }
        let finalizers = kata_config.metadata.finalizers.unwrap_or_default();
        let both = ["finalizer.kataconfiguration.openshift.io", go::FINALIZER];
        self.expect(finalizers == both, || format!("finalizers are {finalizers:?}"));
    }

    async fn rest(&mut self, when: &str) {
        let rests = self.bed.rest().await;
        self.expect(rests, || format!("no rest {when}"));
    }

    /// Nothing may be different, and nothing may have been written: but for the pool that goes with a removal, and what
    /// the Machine Config Operator itself renders.
    fn compare(
        &mut self,
        before: &BTreeMap<String, serde_json::Value>,
        after: &BTreeMap<String, serde_json::Value>,
    ) {
        let goes =
            |name: &str| self.fixture.moment == Moment::Uninstalling && name == "MachineConfigPool kata-oc";
        // Log levels become machine configs by the Machine Config Operator's hand.
        let generated = |name: &str| {
            self.fixture.moment == Moment::Uninstalling && name.ends_with("-generated-containerruntime")
        };
        let rendered = |name: &str| name.starts_with("MachineConfig rendered-");
        let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let different = all
            .into_iter()
            .filter(|name| before.get(*name) != after.get(*name))
            .filter(|name| !goes(name) && !generated(name) && !rendered(name));
        let mut changed: BTreeSet<String> = different.cloned().collect();
        for (verb, resource, name) in self.bed.operator_writes() {
            let kind = match resource.as_str() {
                "machineconfigs" => "MachineConfig",
                "machineconfigpools" => "MachineConfigPool",
                _ => continue,
            };
            let object = format!("{kind} {name}");
            if !(verb == "delete" && goes(&object)) {
                changed.insert(object);
            }
        }
        self.outcome.changed.extend(changed);
    }

    /// Each of these nodes rebooted once since, and no other.
    async fn count_reboots(&mut self, what: &str, before: &BTreeMap<String, u32>, expected: Expected<'_>) {
        let after = self.bed.reboots().await;
        let since: BTreeMap<String, u32> = after
            .iter()
            .map(|(node, count)| (node.clone(), count - before.get(node).copied().unwrap_or_default()))
            .filter(|(_, count)| *count > 0)
            .collect();
        let total: u32 = since.values().sum();
        self.outcome.told.push(format!("{what} with {total} reboots"));
        let fits = match expected {
            Expected::Nodes(nodes) => since == nodes.iter().map(|node| (node.clone(), 1)).collect(),
            Expected::Total(count) => since.len() == count && since.values().all(|count| *count == 1),
        };
        self.expect(fits, || format!("{what}: reboots were {since:?}, expected {expected:?}"));
    }

    async fn status(&self) -> KataConfigStatus {
        self.bed.status().await.unwrap_or_default()
    }

    /// The status says that everything is as it should be.
    async fn converged(&mut self) {
        let status = self.status().await;
        let nodes = self.fixture.nodes();
        let count = i64::try_from(nodes.len()).unwrap();
        let found = &status.kata_nodes;
        let lists = osc_api::KataNodesStatus {
            node_count: count,
            ready_node_count: count,
            installed: nodes,
            ..osc_api::KataNodesStatus::default()
        };
        self.expect(*found == lists, || format!("status.kataNodes is {found:?}"));
        self.condition(&status, "InProgress", "False", "");
        if self.fixture.peer_pods {
            // What the fixture has of them is not enough to go on with, and is left as it is.
            self.condition(&status, "Ready", "False", "PeerPods");
            self.condition(&status, "Degraded", "True", "PeerPodsMisconfigured");
        } else {
            self.condition(&status, "Ready", "True", "Installed");
            self.condition(&status, "Degraded", "False", "AsExpected");
        }
        let classes: BTreeSet<&str> = status.runtime_classes.iter().map(String::as_str).collect();
        // Without the check for labels there is always a class for GPUs.
        let always: &[&str] =
            if self.fixture.check_node_eligibility { &[] } else { &["kata", "kata-nvidia-gpu"] };
        let found = if self.fixture.moment == Moment::Installing { &["kata"] } else { self.fixture.classes };
        let expected: BTreeSet<&str> = always.iter().chain(found).copied().collect();
        self.expect(classes == expected, || format!("status.runtimeClasses is {:?}", status.runtime_classes));
        self.expect(!status.waiting_for_mco_to_start, || "status.waitingForMcoToStart is true".to_owned());
    }

    fn condition(&mut self, status: &KataConfigStatus, type_: &str, value: &str, reason: &str) {
        let found = status.condition(type_);
        let holds = found.is_some_and(|found| found.status == value && found.reason == reason);
        self.expect(holds, || format!("{type_} is {found:?}, expected {value} {reason}"));
    }

    async fn until(&mut self, what: &str, wished: impl Fn(&KataConfigStatus) -> bool) {
        let arrived = self.bed.eventually(|| async { wished(&self.status().await) }).await;
        if !arrived {
            let status = self.status().await;
            self.outcome.wrong.push(format!("waited in vain until {what}: {status:?}"));
        }
    }

    async fn update(&mut self) {
        let before = self.bed.reboots().await;
        let level = if self.fixture.log_level == "info" { "debug" } else { "info" };
        self.bed.change(json!({"logLevel": level})).await;
        self.until("the log level changes", |status| is(status, "InProgress", "True", "Updating")).await;
        let ready = if self.fixture.peer_pods { ("False", "PeerPods") } else { ("True", "Installed") };
        self.until("it has changed", |status| {
            is(status, "InProgress", "False", "") && is(status, "Ready", ready.0, ready.1)
        })
        .await;
        self.rest("after the log level").await;
        let nodes = self.fixture.nodes();
        self.count_reboots("log level", &before, Expected::Nodes(&nodes)).await;
        self.converged().await;
        if !self.fixture.selected.is_empty() {
            self.select().await;
        }
    }

    /// One node leaves, one enters, one stays.
    async fn select(&mut self) {
        let before = self.bed.reboots().await;
        let names =
            json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["worker-1", "worker-2"]});
        let selector = json!({"matchLabels": null, "matchExpressions": [names]});
        self.bed.change(json!({"kataConfigPoolSelector": selector})).await;
        self.until("the selection changes", |status| {
            status.kata_nodes.installed == ["worker-1", "worker-2"]
                && is(status, "Ready", "True", "Installed")
        })
        .await;
        self.rest("after the selection").await;
        let moved = ["worker-0", "worker-2"].map(str::to_owned);
        self.count_reboots("selection", &before, Expected::Nodes(&moved)).await;
    }

    async fn remove(&mut self) {
        let before = self.bed.reboots().await;
        let nodes = self.status().await.kata_nodes.installed;
        self.bed.delete("kataconfiguration.openshift.io/v1", "KataConfig", None, go::NAME).await;
        self.until_gone().await;
        self.count_reboots("removed", &before, Expected::Nodes(&nodes)).await;
        self.nothing_is_left().await;
    }

    async fn until_gone(&mut self) {
        let gone = self.bed.eventually(|| async { self.bed.status().await.is_none() }).await;
        let status = self.bed.status().await;
        self.expect(gone, || format!("the KataConfig does not go: {status:?}"));
        self.rest("after the removal").await;
    }

    async fn nothing_is_left(&mut self) {
        let gone = self.bed.status().await.is_none();
        self.expect(gone, || "the KataConfig is left".to_owned());
        let left: Vec<String> = self.bed.inventory().await.difference(&self.bare).cloned().collect();
        self.expect(left.is_empty(), || format!("left: {}", left.join(", ")));
        self.outcome.told.push(format!("{} left", if left.is_empty() { "nothing" } else { "something" }));
    }

    async fn told_of_pods(&mut self) {
        let status = self.status().await;
        self.condition(&status, "InProgress", "False", "BlockedByExistingKataPods");
        let ready = status.condition("Ready").map(|ready| ready.message.clone()).unwrap_or_default();
        for class in self.fixture.classes {
            let pod = format!("default/uses-{class}");
            self.expect(ready.contains(&pod), || format!("Ready does not name {pod}: {ready}"));
        }
        self.only_words("while pods block");
    }

    async fn unblock(&mut self) {
        let before = self.bed.reboots().await;
        for class in self.fixture.classes {
            self.bed.delete("v1", "Pod", Some("default"), &format!("uses-{class}")).await;
        }
        self.until_gone().await;
        self.count_reboots("removed", &before, Expected::Nodes(&self.fixture.nodes())).await;
        self.nothing_is_left().await;
    }

    /// Nothing but the KataConfig's status was written.
    fn only_words(&mut self, when: &str) {
        let others: Vec<Write> = self
            .bed
            .operator_writes()
            .into_iter()
            .filter(|(_, resource, _)| resource != "kataconfigs")
            .collect();
        self.expect(others.is_empty(), || format!("written {when}: {others:?}"));
    }

    /// Agents remove what agents installed: without a reboot.
    async fn remove_by_agents(&mut self) {
        let before = self.bed.reboots().await;
        self.bed.delete("kataconfiguration.openshift.io/v1", "KataConfig", None, go::NAME).await;
        self.until_gone().await;
        self.count_reboots("removed", &before, Expected::Nodes(&[])).await;
        self.nothing_is_left().await;
    }
}

/// How many reboots there are to be.
#[derive(Clone, Copy, Debug)]
enum Expected<'a> {
    /// One on each of these nodes.
    Nodes(&'a [String]),
    /// As many as that together, at most one on a node.
    Total(usize),
}

fn is(status: &KataConfigStatus, type_: &str, value: &str, reason: &str) -> bool {
    status.condition(type_).is_some_and(|found| found.status == value && found.reason == reason)
}
