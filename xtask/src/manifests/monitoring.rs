//! What Prometheus scrapes and evaluates, and what the console shows.

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use osc_api::names;
use serde_json::{Value, json};

use super::operator::{METRICS_PORT, METRICS_PORT_NAME, POD_LABEL};
use super::typed;

/// The dashboard, as the console reads it.
const DASHBOARD: &str = include_str!("../../assets/dashboard.json");
/// Key of the dashboard; the Go operator's, so that a cluster taken over does not show two.
const DASHBOARD_KEY: &str = "kata-resources.json";

/// Service and ServiceMonitor of the operator.
pub fn operator() -> anyhow::Result<Vec<Value>> {
    let name = "controller-manager-metrics";
    scraped(name, name, POD_LABEL, METRICS_PORT)
}

/// Service and ServiceMonitor of kata-monitor.
pub fn kata_monitor() -> anyhow::Result<Vec<Value>> {
    scraped("metrics", names::MONITOR, ("name", names::MONITOR), 8090)
}

fn scraped(service: &str, monitor: &str, label: (&str, &str), port: u16) -> anyhow::Result<Vec<Value>> {
    let labels = json!({(label.0): label.1});
    let namespace = names::OPERATOR_NAMESPACE;
    let service = typed::<Service>(json!({
        "metadata": {"name": service, "namespace": namespace, "labels": labels},
        "spec": {
            "selector": labels,
            "ports": [{"name": METRICS_PORT_NAME, "port": port, "targetPort": port, "protocol": "TCP"}],
        },
    }))?;
    let monitor = json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": monitor, "namespace": namespace, "labels": labels},
        "spec": {
            "endpoints": [{"port": METRICS_PORT_NAME, "path": "/metrics"}],
            "namespaceSelector": {"matchNames": [namespace]},
            "selector": {"matchLabels": labels},
        },
    });
    Ok(vec![service, monitor])
}

/// Recording and alerting rules.
pub fn rules() -> Vec<Value> {
    let sum = json!({
        "record": "cluster:kata_monitor_running_shim_count:sum",
        "expr": "sum(kata_monitor_running_shim_count)",
    });
    vec![
        rule_object("prometheus-sandboxed-containers-rules", "kata_monitor_rules", &[sum]),
        rule_object("osc-alerts", "osc_operator_alerts", &alerts()),
    ]
}

fn rule_object(name: &str, group: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": name, "namespace": names::OPERATOR_NAMESPACE},
        "spec": {"groups": [{"name": group, "rules": rules}]},
    })
}

fn alerts() -> Vec<Value> {
    let look = "oc describe kataconfig";
    let logs = format!("oc logs -n {} deployment/controller-manager", names::OPERATOR_NAMESPACE);
    vec![
        alert(
            "KataInstallationStalled",
            // A node that drains and reboots for long changes no number either: hence the two hours.
            "max(kata_config_installation_success) == 0 and sum(osc_nodes) > 0 and \
             sum(changes(osc_nodes[10m])) == 0",
            "2h",
            "warning",
            "The installation of Kata is not finished and has made no progress for two hours.",
            &format!("The condition Degraded of the KataConfig says what holds it up: {look}"),
        ),
        alert(
            "KataConfigDegraded",
            "max(osc_kata_config_condition{condition=\"Degraded\"}) > 0",
            "30m",
            "warning",
            "Something has kept Kata from being installed or removed as asked for, for half an hour.",
            &format!("The condition Degraded of the KataConfig says what, and what to do: {look}"),
        ),
        alert(
            "KataNodeFailed",
            "sum by (state) (osc_nodes{state=~\"failed_to_install|failed_to_uninstall\"}) > 0",
            "15m",
            "warning",
            "{{ $value }} node(s) are in the state {{ $labels.state }}.",
            &format!(
                "The Machine Config Operator reports these nodes as degraded; their names and the reason: {look}"
            ),
        ),
        alert(
            "KataOperatorErrors",
            "sum by (category) (rate(osc_reconcile_errors_total{category!=\"conflict\"}[15m])) > 0",
            "30m",
            "warning",
            "The operator has failed to change the cluster for half an hour ({{ $labels.category }}).",
            &format!("It tries again every minute; its log tells what fails: {logs}"),
        ),
        alert(
            "KataOperatorWatchErrors",
            "sum by (kind) (rate(osc_watch_errors_total[15m])) > 0",
            "30m",
            "warning",
            "The operator has failed to watch objects of kind {{ $labels.kind }} for half an hour.",
            &format!("Nothing is decided on what cannot be read; its log tells why: {logs}"),
        ),
        alert(
            "KataOperatorAbsent",
            "absent(osc_leader) or max(osc_leader) == 0",
            "15m",
            "warning",
            "No operator of sandboxed containers has been at work for a quarter of an hour.",
            &format!("Nodes keep running as they are, but no change is carried out. Its log: {logs}"),
        ),
    ]
}

fn alert(name: &str, expr: &str, lasting: &str, severity: &str, summary: &str, description: &str) -> Value {
    json!({
        "alert": name,
        "expr": expr,
        "for": lasting,
        "labels": {"severity": severity, "namespace": names::OPERATOR_NAMESPACE},
        "annotations": {"summary": summary, "description": description},
    })
}

/// The dashboard; the operator copies it to where the console looks.
pub fn dashboard() -> anyhow::Result<Value> {
    typed::<ConfigMap>(json!({
        "metadata": {"name": names::DASHBOARD_CONFIG_MAP, "namespace": names::OPERATOR_NAMESPACE},
        "data": {DASHBOARD_KEY: DASHBOARD},
    }))
}
