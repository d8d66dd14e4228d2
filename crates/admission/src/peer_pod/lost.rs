//! What a pod does without in a pod VM, in words for the person who creates it.

use std::collections::BTreeSet;

use osc_api::peerpods::webhook::GPU_RESOURCE;
use serde_json::Value;

use super::{HALVES, LISTS, Options, SizeAnnotation, is_filled, kept};

/// Warnings of one pod: API servers cut off what is too much.
const MOST: usize = 5;

/// What is told: resources that are gone and do not become part of the VM's size, and values that containers will not
/// find where they look for them. A container that loses nothing is told nothing.
pub fn warnings(spec: &Value, options: &Options) -> Vec<String> {
    let loses = |resources: &Value| is_filled(resources) && *resources != kept(resources, &options.resource);
    let containers = LISTS.into_iter().flat_map(|list| spec[list].as_array().into_iter().flatten());
    let touched: Vec<&Value> = containers.filter(|container| loses(&container["resources"])).collect();
    let gone = touched
        .iter()
        .filter_map(|container| gone(&name(container), &container["resources"], options))
        .chain(gone("the pod", &spec["resources"], options));
    let by_volume = read_by_volumes(spec);
    let reads = |container: &&&Value| {
        reads_by_variables(container)
            || container["name"].as_str().is_some_and(|name| by_volume.contains(name))
    };
    let misled = touched.iter().filter(reads).map(|container| {
        let name = name(container);
        format!("{name} reads its resources by resourceFieldRef: it will find those of the worker node, not of the pod VM")
    });
    let mut warnings: Vec<String> = gone.chain(misled).collect();
    if warnings.len() > MOST {
        let more = warnings.len() - MOST;
        warnings.truncate(MOST);
        warnings.push(format!("and {more} more of this kind"));
    }
    warnings
}

fn name(container: &Value) -> String {
    format!("container {:?}", container["name"].as_str().unwrap_or_default())
}

fn gone(who: &str, resources: &Value, options: &Options) -> Option<String> {
    let becomes_size = |name: &str| match name {
        "cpu" | "memory" => true,
        GPU_RESOURCE => options.annotations.contains(&SizeAnnotation::Gpus),
        other => other == options.resource,
    };
    let mut gone: BTreeSet<&str> = HALVES
        .iter()
        .filter_map(|half| resources[*half].as_object())
        .flat_map(|half| half.keys().map(String::as_str))
        .filter(|name| !becomes_size(name))
        .collect();
    if resources["claims"].as_array().is_some_and(|claims| !claims.is_empty()) {
        gone.insert("claims");
    }
    let names = gone.into_iter().collect::<Vec<_>>().join(", ");
    (!names.is_empty())
        .then(|| format!("{who} goes without {names}: a pod VM has nothing of the worker node's"))
}

/// Whether environment variables of this container say what it may use.
fn reads_by_variables(container: &Value) -> bool {
    let mut variables = container["env"].as_array().into_iter().flatten();
    variables.any(|variable| !variable["valueFrom"]["resourceFieldRef"].is_null())
}

/// The containers about which files of a volume say what they may use.
fn read_by_volumes(spec: &Value) -> BTreeSet<&str> {
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let sources = volumes.flat_map(|volume| {
        let projected = volume["projected"]["sources"].as_array().into_iter().flatten();
        projected.chain([volume]).map(|source| &source["downwardAPI"]["items"])
    });
    let items = sources.flat_map(|items| items.as_array().into_iter().flatten());
    items.filter_map(|item| item["resourceFieldRef"]["containerName"].as_str()).collect()
}
