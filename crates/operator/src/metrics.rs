//! What is told to Prometheus.

use std::sync::Arc;
use std::time::Duration;

use osc_api::KataConfigStatus;
use osc_engine::decide::oldest;
use osc_engine::{KataConfigView, Observed};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// All metrics of the operator. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<ResultLabel, Counter>,
    duration: Histogram,
    errors: Family<CategoryLabel, Counter>,
    queue: Gauge,
    writes: Family<WriteLabel, Counter>,
    watch_errors: Family<KindLabel, Counter>,
    nodes: Family<StateLabel, Gauge>,
    leader: Gauge,
    conditions: Family<ConditionLabel, Gauge>,
    installation_success: Gauge,
    setup: Family<SetupLabel, Gauge>,
    vms_released: Family<VmLabel, Counter>,
    strays: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VmLabel {
    provider: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CategoryLabel {
    category: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WriteLabel {
    verb: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConditionLabel {
    condition: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SetupLabel {
    setup_type: &'static str,
    cloud_provider: &'static str,
    tee_type: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        // From a millisecond to about eight seconds.
        let duration = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let mut metrics = Self {
            registry: Arc::default(),
            reconciles: Family::default(),
            duration,
            errors: Family::default(),
            queue: Gauge::default(),
            writes: Family::default(),
            watch_errors: Family::default(),
            nodes: Family::default(),
            leader: Gauge::default(),
            conditions: Family::default(),
            installation_success: Gauge::default(),
            setup: Family::default(),
            vms_released: Family::default(),
            strays: Gauge::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }
}

impl Metrics {
    fn register(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register("osc_reconcile", "Passes, by result", self.reconciles.clone());
        registry.register("osc_reconcile_duration_seconds", "Duration of passes", self.duration.clone());
        registry.register("osc_reconcile_errors", "Failed steps, by category", self.errors.clone());
        registry.register("osc_reconcile_queue", "Passes that wait to run: 0 or 1", self.queue.clone());
        registry.register("osc_writes", "Writes to the cluster, by verb and kind", self.writes.clone());
        registry.register("osc_watch_errors", "Failed watches, by kind", self.watch_errors.clone());
        registry.register("osc_nodes", "Nodes of the KataConfig, by state", self.nodes.clone());
        registry.register("osc_leader", "Whether this process does the work", self.leader.clone());
        registry.register(
            "osc_kata_config_condition",
            "Conditions of the KataConfig: 1 if true",
            self.conditions.clone(),
        );
        registry.register(
            "kata_config_installation_success",
            "1 if the KataConfig is not in progress, has nodes, and all of them are ready",
            self.installation_success.clone(),
        );
        registry.register(
            "osc_pod_vms_released",
            "Virtual machines of pods that are gone, by provider and by what came of their deletion",
            self.vms_released.clone(),
        );
        registry.register(
            "osc_pod_vms_unknown",
            "Virtual machines of this cluster that no PeerPod knows",
            self.strays.clone(),
        );
        registry.register("osc_setup_info", "What is set up; the value is 1", self.setup.clone());
        registry
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub(crate) fn reconciled(&self, result: &'static str, duration: Duration) {
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
        self.duration.observe(duration.as_secs_f64());
    }

    pub(crate) fn failed(&self, category: &'static str) {
        self.errors.get_or_create(&CategoryLabel { category }).inc();
    }

    pub(crate) fn vm_released(&self, provider: &'static str, result: &'static str) {
        self.vms_released.get_or_create(&VmLabel { provider, result }).inc();
    }

    pub(crate) fn strays(&self, count: usize) {
        self.strays.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn queued(&self, waiting: bool) {
        self.queue.set(i64::from(waiting));
    }

    pub(crate) fn write(&self, verb: &'static str, kind: &'static str) {
        self.writes.get_or_create(&WriteLabel { verb, kind }).inc();
    }

    pub(crate) fn watch_error(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&KindLabel { kind }).inc();
    }

    pub(crate) fn leading(&self, leading: bool) {
        self.leader.set(i64::from(leading));
    }

    /// Takes the values that describe the cluster from what was observed.
    pub(crate) fn observed(&self, observed: &Observed) {
        let first = oldest(&observed.kata_configs);
        let status = first.map(|view| view.status.clone()).unwrap_or_default();
        for (state, count) in states(&status) {
            self.nodes.get_or_create(&StateLabel { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for condition in ["InProgress", "Ready", "Degraded"] {
            let holds = status.condition(condition).is_some_and(|found| found.status == "True");
            self.conditions.get_or_create(&ConditionLabel { condition }).set(i64::from(holds));
        }
        self.installation_success.set(i64::from(first.is_some_and(succeeded)));
        let setup = SetupLabel { setup_type: "baremetal", cloud_provider: "none", tee_type: "none" };
        if status.runtime_classes.is_empty() {
            self.setup.clear();
        } else {
            self.setup.get_or_create(&setup).set(1);
        }
    }
}

fn states(status: &KataConfigStatus) -> [(&'static str, usize); 7] {
    let nodes = &status.kata_nodes;
    [
        ("installed", nodes.installed.len()),
        ("installing", nodes.installing.len()),
        ("waiting_to_install", nodes.waiting_to_install.len()),
        ("failed_to_install", nodes.failed_to_install.len()),
        ("uninstalling", nodes.uninstalling.len()),
        ("waiting_to_uninstall", nodes.waiting_to_uninstall.len()),
        ("failed_to_uninstall", nodes.failed_to_uninstall.len()),
    ]
}

fn succeeded(kata_config: &KataConfigView) -> bool {
    let nodes = &kata_config.status.kata_nodes;
    let in_progress =
        kata_config.status.condition("InProgress").is_none_or(|condition| condition.status == "True");
    !in_progress && nodes.node_count > 0 && nodes.node_count == nodes.ready_node_count
}

#[cfg(test)]
mod tests {
    use super::*;
    use osc_api::KataNodesStatus;
    use osc_api::kataconfig::StatusCondition;

    fn with(in_progress: &str, nodes: i64, ready: i64) -> Observed {
        let status = KataConfigStatus {
            conditions: vec![StatusCondition {
                type_: "InProgress".into(),
                status: in_progress.into(),
                last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                    jiff::Timestamp::UNIX_EPOCH,
                ),
                reason: String::new(),
                message: String::new(),
            }],
            kata_nodes: KataNodesStatus {
                node_count: nodes,
                ready_node_count: ready,
                ..KataNodesStatus::default()
            },
            ..KataConfigStatus::default()
        };
        let view = KataConfigView { status, ..KataConfigView::default() };
        Observed { kata_configs: vec![view.into()], ..Observed::default() }
    }

    #[test]
    fn success_is_told_only_when_all_nodes_are_ready() {
        let metrics = Metrics::default();
        for (observed, expected) in [
            (with("False", 2, 2), 1),
            (with("True", 2, 2), 0),
            (with("False", 2, 1), 0),
            (with("False", 0, 0), 0),
            (Observed::default(), 0),
        ] {
            metrics.observed(&observed);
            let text = metrics.text().unwrap();
            assert!(text.contains(&format!("kata_config_installation_success {expected}\n")), "{text}");
        }
    }

    #[test]
    fn counters_have_the_names_that_dashboards_use() {
        let metrics = Metrics::default();
        metrics.reconciled("success", Duration::from_millis(3));
        metrics.write("apply", "MachineConfig");
        let text = metrics.text().unwrap();
        assert!(text.contains("osc_reconcile_total{result=\"success\"} 1"), "{text}");
        assert!(text.contains("osc_writes_total{verb=\"apply\",kind=\"MachineConfig\"} 1"), "{text}");
    }
}
