//! Pools and machine configs as a new OpenShift cluster has them.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use osc_api::names;
use osc_api::openshift::{MachineConfigPool, MachineConfigSpec};
use serde_json::{Map, Value, json};

use super::openshift::seconds;
use super::{Topology, typed};
use crate::sim::machine_config::pool_status::{Observed, compute};
use crate::sim::machine_config::render::{Rendered, configuration, object, render};
use crate::sim::options::hex;

const API_VERSION: &str = "machineconfiguration.openshift.io/v1";

/// Everything.
pub fn objects(topology: &Topology, now: Timestamp) -> Vec<Value> {
    let mut objects = Vec::new();
    let mut pools = Vec::new();
    let members = [(names::MASTER_POOL, topology.masters()), (names::WORKER_POOL, topology.own_workers())];
    for (role, machines) in members {
        for (name, spec) in sources(topology, role) {
            objects.push(json!({
                "apiVersion": API_VERSION,
                "kind": "MachineConfig",
                "metadata": {
                    "name": name,
                    "labels": {names::MACHINE_CONFIG_ROLE: role},
                    "creationTimestamp": seconds(created(now)),
                },
                "spec": spec,
            }));
        }
        let rendered = rendered(topology, role);
        let config = object(&MachineConfigPool::default(), &rendered);
        objects.push(typed(API_VERSION, "MachineConfig", &config));
        pools.push(pool(role, &rendered, machines, now));
    }
    objects.extend(pools);
    objects
}

/// The config that the nodes of a base pool run.
pub fn rendered(topology: &Topology, role: &str) -> Rendered {
    render(role, &sources(topology, role))
}

fn created(now: Timestamp) -> Timestamp {
    now - Duration::from_hours(6)
}

fn pool(role: &str, rendered: &Rendered, machines: u32, now: Timestamp) -> Value {
    let node_role = format!("{}{role}", names::NODE_ROLE_PREFIX);
    let mut pool = json!({
        "apiVersion": API_VERSION,
        "kind": "MachineConfigPool",
        "metadata": {
            "name": role,
            "creationTimestamp": seconds(created(now)),
            "labels": {
                format!("{}{role}", names::POOL_LABEL_PREFIX): "",
                "machineconfiguration.openshift.io/mco-built-in": "",
            },
        },
        "spec": {
            "configuration": configuration(rendered),
            "machineConfigSelector": {"matchLabels": {names::MACHINE_CONFIG_ROLE: role}},
            "nodeSelector": {"matchLabels": {node_role: ""}},
            "paused": false,
        },
    });
    let spec = serde_json::from_value(pool["spec"].clone()).unwrap_or_default();
    let settled =
        Time(Timestamp::from_second((created(now) + Duration::from_mins(30)).as_second()).unwrap_or(now));
    let observed = Observed {
        spec: &spec,
        generation: Some(1),
        status: None,
        nodes: &[],
        conflicts: &[],
        render_error: None,
    };
    let mut status = compute(&observed, &settled);
    let machines = i32::try_from(machines).unwrap_or(i32::MAX);
    status.machine_count = machines;
    status.updated_machine_count = machines;
    status.ready_machine_count = machines;
    pool["status"] = serde_json::to_value(status).unwrap_or_default();
    pool
}

/// The machine configs of one role, much shortened.
fn sources(topology: &Topology, role: &str) -> Vec<(String, MachineConfigSpec)> {
    let os_image = format!(
        "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:{}",
        hex(&["os", &topology.version, &topology.product.to_string()], 64)
    );
    let base = MachineConfigSpec {
        os_image_url: Some(os_image),
        ..ignition(&[("/etc/systemd/system.conf.d/10-default-env-godebug.conf", "[Manager]\n")], &[])
    };
    vec![
        (format!("00-{role}"), base),
        (
            format!("01-{role}-container-runtime"),
            ignition(
                &[("/etc/crio/crio.conf.d/00-default", "[crio.runtime]\nlog_level = \"info\"\n")],
                &["crio"],
            ),
        ),
        (
            format!("01-{role}-kubelet"),
            ignition(&[("/etc/kubernetes/kubelet.conf", "kind: KubeletConfiguration\n")], &["kubelet"]),
        ),
        (
            format!("99-{role}-generated-registries"),
            ignition(&[("/etc/containers/registries.conf", "unqualified-search-registries = []\n")], &[]),
        ),
        (format!("99-{role}-ssh"), ignition(&[], &[])),
    ]
}

fn ignition(files: &[(&str, &str)], units: &[&str]) -> MachineConfigSpec {
    let file = |(path, text): &(&str, &str)| {
        let source = format!("data:text/plain;charset=utf-8;base64,{}", BASE64_STANDARD.encode(text));
        json!({"path": path, "mode": 420, "overwrite": true, "contents": {"source": source}})
    };
    let unit = |name: &&str| json!({"name": format!("{name}.service"), "enabled": true});
    let mut config = Map::new();
    config.insert("ignition".to_owned(), json!({"version": "3.4.0"}));
    if !files.is_empty() {
        config.insert("storage".to_owned(), json!({"files": files.iter().map(file).collect::<Vec<_>>()}));
    }
    if !units.is_empty() {
        config.insert("systemd".to_owned(), json!({"units": units.iter().map(unit).collect::<Vec<_>>()}));
    }
    MachineConfigSpec { config, ..MachineConfigSpec::default() }
}
