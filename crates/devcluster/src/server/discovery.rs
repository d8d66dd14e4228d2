//! What is served: `/version`, health, and discovery in its old and its aggregated form.

use ::http::header::ACCEPT;
use ::http::{HeaderMap, Response};
use serde_json::{Value, json};

use super::call::State;
use super::output::{self, ResponseBody};
use super::registry::{Registry, Resource, api_version};
use super::route::RequestInfo;
use super::verbs::scale;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers paths of discovery and health; none for others.
pub fn answer(state: &State, info: &RequestInfo, headers: &HeaderMap) -> Option<Response<ResponseBody>> {
    let registry = state.registry();
    let aggregated = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.split(',').any(is_aggregated));
    let segments: Vec<&str> = info.path.split('/').filter(|s| !s.is_empty()).collect();
    let value = match segments.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => return Some(output::bytes(200, "text/plain", "ok")),
        ["version"] => version(state),
        ["api"] if aggregated => {
            return Some(discovery_list(&registry, &[(String::new(), vec!["v1".into()])]));
        }
        ["apis"] if aggregated => return Some(discovery_list(&registry, &registry.groups())),
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1" }],
        }),
        ["apis"] => {
            let groups: Vec<Value> = registry.groups().iter().map(|(name, v)| group(name, v)).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        ["apis", name] => {
            let groups = registry.groups();
            let (name, versions) = groups.iter().find(|(group, _)| group == name)?;
            let mut group = group(name, versions);
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            group
        }
        ["api", version] => resources(&registry, "", version)?,
        ["apis", group, version] => resources(&registry, group, version)?,
        [] => {
            json!({ "paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"] })
        }
        _ => return None,
    };
    Some(output::json(200, &value))
}

fn is_aggregated(entry: &str) -> bool {
    let has = |wanted: &str| entry.split(';').any(|part| part.trim() == wanted);
    has("g=apidiscovery.k8s.io") && has("v=v2") && has("as=APIGroupDiscoveryList")
}

fn version(state: &State) -> Value {
    let version = &state.version;
    json!({
        "major": version.major, "minor": version.minor, "gitVersion": version.git_version,
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": version.platform,
    })
}

fn group(name: &str, versions: &[String]) -> Value {
    let entry = |version: &String| json!({ "groupVersion": api_version(name, version), "version": version });
    let list: Vec<Value> = versions.iter().map(entry).collect();
    json!({ "name": name, "versions": list, "preferredVersion": list.first() })
}

/// Subresources with their kind, API group and version, and verbs.
fn subresources(resource: &Resource) -> Vec<(&'static str, [&str; 3], &'static [&'static str])> {
    const CHANGE: &[&str] = &["get", "patch", "update"];
    const CREATE: &[&str] = &["create"];
    let own = [resource.kind.as_str(), resource.group.as_str(), resource.version.as_str()];
    let mut list = Vec::new();
    if resource.status {
        list.push(("status", own, CHANGE));
    }
    if scale::is_offered(resource) {
        list.push(("scale", ["Scale", "autoscaling", "v1"], CHANGE));
    }
    if resource.is("", "pods") {
        list.push(("binding", ["Binding", "", "v1"], CREATE));
        list.push(("eviction", ["Eviction", "policy", "v1"], CREATE));
        list.push(("log", own, &["get"]));
    }
    if resource.is("", "namespaces") {
        list.push(("finalize", own, &["update"]));
    }
    list
}

fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut list: Vec<Value> = Vec::new();
    for resource in registry.of_version(group, version) {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": resource.verbs,
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        list.push(entry);
        for (name, [kind, group, version], verbs) in subresources(resource) {
            let mut entry = json!({
                "name": format!("{}/{name}", resource.plural), "singularName": "",
                "namespaced": resource.namespaced, "kind": kind, "verbs": verbs,
            });
            if group != resource.group {
                entry["group"] = json!(group);
                entry["version"] = json!(version);
            }
            list.push(entry);
        }
    }
    (!list.is_empty()).then(|| {
        json!({
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": api_version(group, version), "resources": list,
        })
    })
}

fn discovery_list(registry: &Registry, groups: &[(String, Vec<String>)]) -> Response<ResponseBody> {
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> =
                        registry.of_version(group, version).map(|r| aggregated(r)).collect();
                    json!({ "version": version, "resources": resources, "freshness": "Current" })
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    output::bytes(200, AGGREGATED, list.to_string())
}

fn aggregated(resource: &Resource) -> Value {
    let kind =
        |[kind, group, version]: [&str; 3]| json!({ "group": group, "version": version, "kind": kind });
    let own = [resource.kind.as_str(), resource.group.as_str(), resource.version.as_str()];
    let subresources: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(name, of, verbs)| json!({ "subresource": name, "responseKind": kind(of), "verbs": verbs }))
        .collect();
    let mut entry = json!({
        "resource": resource.plural, "responseKind": kind(own), "singularResource": resource.singular,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" }, "verbs": resource.verbs,
    });
    for (field, list) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !list.is_empty() {
            entry[field] = json!(list);
        }
    }
    if !subresources.is_empty() {
        entry["subresources"] = json!(subresources);
    }
    entry
}
