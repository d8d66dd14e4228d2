//! OpenAPI documents: what `kubectl explain` prints, and where `kubectl` looks up which parameters are understood.
//!
//! Strategic merge patches are left out of the documents on purpose: `kubectl apply` then falls back to the merge
//! keys it was built with, which is what it did before servers published them.

use ::http::header::ACCEPT;
use ::http::{HeaderMap, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::call::State;
use super::output::{self, ResponseBody};
use super::registry::{Resource, api_version};
use super::route::RequestInfo;

const OPENAPI_V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Answers paths of OpenAPI; none for others.
pub fn answer(state: &State, info: &RequestInfo, headers: &HeaderMap) -> Option<Response<ResponseBody>> {
    let path = info.path.trim_end_matches('/');
    match path {
        "/openapi/v3" => Some(output::json(200, &index(state))),
        "/openapi/v2" => {
            let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
            // kubectl before 1.27 wants this document in Protobuf, and cannot do without it. An empty one is valid, has
            // zero bytes, and makes it leave validation to the server.
            if !accept.contains("json") && !accept.contains("*/*") {
                return Some(output::bytes(200, OPENAPI_V2_PROTOBUF, Bytes::new()));
            }
            Some(output::json(
                200,
                &json!({
                    "swagger": "2.0", "info": info_object(state), "paths": {}, "definitions": {},
                }),
            ))
        }
        _ => {
            let (group, version) = match path.strip_prefix("/openapi/v3/")?.split('/').collect::<Vec<_>>()[..]
            {
                ["api", version] => ("", version),
                ["apis", group, version] => (group, version),
                _ => return None,
            };
            let document = document(state, group, version)?;
            Some(output::json(200, &document))
        }
    }
}

fn info_object(state: &State) -> Value {
    json!({ "title": "Kubernetes", "version": state.version.git_version })
}

fn index(state: &State) -> Value {
    let registry = state.registry();
    let mut paths = Map::new();
    for resource in registry.all() {
        let prefix = if resource.group.is_empty() { "api" } else { "apis" };
        let path = format!("{prefix}/{}", resource.api_version());
        // The hash is a cache key; documents of definitions change when those do.
        let hash = state.store.revision();
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": paths })
}

fn document(state: &State, group: &str, version: &str) -> Option<Value> {
    let registry = state.registry();
    let resources: Vec<&Resource> = registry.of_version(group, version).map(|r| &**r).collect();
    if resources.is_empty() {
        return None;
    }
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for resource in resources {
        add_schema(state, resource, &mut schemas);
        add_paths(resource, &mut paths);
    }
    Some(json!({
        "openapi": "3.0.0", "info": info_object(state), "paths": paths, "components": { "schemas": schemas },
    }))
}

fn kind_of(resource: &Resource) -> Value {
    json!({ "group": resource.group, "version": resource.version, "kind": resource.kind })
}

fn add_schema(state: &State, resource: &Resource, schemas: &mut Map<String, Value>) {
    if let Some(custom) = &resource.custom {
        let mut schema = (*custom.openapi).clone();
        if !schema.is_object() {
            schema = json!({ "type": "object" });
        }
        let metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        for (field, description) in [
            ("apiVersion", "APIVersion defines the versioned schema of this representation of an object."),
            ("kind", "Kind is a string value representing the REST resource this object represents."),
        ] {
            schema["properties"][field] = json!({ "type": "string", "description": description });
        }
        schema["properties"]["metadata"] = json!({
            "description": "Standard object's metadata.",
            "allOf": [{ "$ref": format!("#/components/schemas/{metadata}") }],
        });
        schema["x-kubernetes-group-version-kind"] = json!([kind_of(resource)]);
        let reversed: Vec<&str> = resource.group.rsplit('.').collect();
        schemas.insert(format!("{}.{}.{}", reversed.join("."), resource.version, resource.kind), schema);
        add_references(state, metadata, schemas);
        return;
    }
    let Some(name) = state.schemas.definition_name(resource) else { return };
    add_references(state, name, schemas);
    if let Some(schema) = schemas.get_mut(name) {
        schema["x-kubernetes-group-version-kind"] = json!([kind_of(resource)]);
    }
}

/// Adds a definition and everything it refers to.
fn add_references(state: &State, name: &str, schemas: &mut Map<String, Value>) {
    if schemas.contains_key(name) {
        return;
    }
    let Some(definition) = state.schemas.definitions().get(name) else { return };
    let mut definition = definition.clone();
    wrap_references(&mut definition);
    schemas.insert(name.to_owned(), definition.clone());
    let mut names = Vec::new();
    references(&definition, &mut names);
    for name in names {
        add_references(state, &name, schemas);
    }
}

/// OpenAPI 3.0 ignores what stands next to `$ref`, so a description needs `allOf` around the reference.
fn wrap_references(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.len() > 1
                && let Some(reference) = map.get("$ref").filter(|r| r.is_string()).cloned()
            {
                map.remove("$ref");
                map.insert("allOf".into(), json!([{ "$ref": reference }]));
            }
            map.values_mut().for_each(wrap_references);
        }
        Value::Array(items) => items.iter_mut().for_each(wrap_references),
        _ => {}
    }
}

fn references(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let reference = map.get("$ref").and_then(Value::as_str);
            names.extend(reference.and_then(|r| r.strip_prefix("#/components/schemas/")).map(str::to_owned));
            map.values().for_each(|value| references(value, names));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, names)),
        _ => {}
    }
}

fn add_paths(resource: &Resource, paths: &mut Map<String, Value>) {
    let prefix = if resource.group.is_empty() { "/api" } else { "/apis" };
    let base = format!("{prefix}/{}", api_version(&resource.group, &resource.version));
    let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{base}{scope}/{}", resource.plural);
    let parameter = |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } });
    let parameters: Vec<Value> =
        ["dryRun", "fieldManager", "fieldValidation"].into_iter().map(parameter).collect();
    let operation = |action: &str| {
        json!({
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind_of(resource),
            "parameters": parameters, "responses": { "200": { "description": "OK" } },
        })
    };
    let has = |verb: &str| resource.verbs.contains(&verb);
    let mut many = Map::new();
    if has("list") {
        many.insert("get".into(), operation("list"));
    }
    many.insert("post".into(), operation("post"));
    paths.insert(collection.clone(), Value::Object(many));
    if has("get") {
        let mut patch = operation("patch");
        let content = json!({ "schema": { "type": "object" } });
        patch["requestBody"] = json!({ "content": {
            "application/json-patch+json": content, "application/merge-patch+json": content,
            "application/apply-patch+yaml": content,
        } });
        let one = json!({
            "get": operation("get"), "put": operation("put"), "patch": patch, "delete": operation("delete"),
        });
        paths.insert(format!("{collection}/{{name}}"), one);
    }
}
