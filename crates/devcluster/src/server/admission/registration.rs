//! Rules for webhook configurations.

use serde_json::{Value, json};

use super::conditions::compile;
use crate::object::selector::LabelSelector;
use crate::server::names;
use crate::server::status::Cause;

/// Every complaint about a configuration that a client is about to store.
pub fn complaints(configuration: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, webhook) in configuration["webhooks"].as_array().into_iter().flatten().enumerate() {
        let path = format!("webhooks[{index}]");
        let name = webhook["name"].as_str().unwrap_or_default();
        if seen.contains(&name) {
            let message = format!("Duplicate value: {name:?}");
            causes.push(Cause::new("FieldValueDuplicate", format!("{path}.name"), message));
        }
        seen.push(name);
        causes.extend(one(&path, webhook));
    }
    causes
}

fn one(path: &str, webhook: &Value) -> Vec<Cause> {
    let mut causes = full_name(&format!("{path}.name"), &webhook["name"]);
    for (index, rule) in webhook["rules"].as_array().into_iter().flatten().enumerate() {
        causes.extend(self::rule(&format!("{path}.rules[{index}]"), rule));
    }
    for (field, supported) in [
        ("failurePolicy", &["Fail", "Ignore"]),
        ("matchPolicy", &["Equivalent", "Exact"]),
        ("reinvocationPolicy", &["IfNeeded", "Never"]),
    ] {
        causes.extend(one_of(&format!("{path}.{field}"), &webhook[field], supported));
    }
    if webhook["sideEffects"].is_null() {
        causes.push(Cause::required(format!("{path}.sideEffects"), "must specify one of None, NoneOnDryRun"));
    }
    causes.extend(one_of(&format!("{path}.sideEffects"), &webhook["sideEffects"], &["None", "NoneOnDryRun"]));
    if webhook["timeoutSeconds"].as_i64().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        causes.push(Cause::invalid(format!("{path}.timeoutSeconds"), &webhook["timeoutSeconds"], why));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        if let Err(why) = LabelSelector::from_value(&webhook[field]) {
            causes.push(Cause::invalid(format!("{path}.{field}"), &webhook[field], &why));
        }
    }
    causes.extend(review_versions(&format!("{path}.admissionReviewVersions"), webhook));
    causes.extend(client(&format!("{path}.clientConfig"), &webhook["clientConfig"]));
    causes.extend(conditions(&format!("{path}.matchConditions"), &webhook["matchConditions"]));
    causes
}

/// The API allows so many.
const MOST_CONDITIONS: usize = 64;

fn conditions(path: &str, conditions: &Value) -> Vec<Cause> {
    let list = conditions.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut causes = Vec::new();
    if list.len() > MOST_CONDITIONS {
        let message = format!("Too many: {}: must have at most {MOST_CONDITIONS} items", list.len());
        causes.push(Cause::new("FieldValueTooMany", path.to_owned(), message));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, condition) in list.iter().enumerate() {
        let (name, expression) = (&condition["name"], &condition["expression"]);
        let path = format!("{path}[{index}]");
        match expression.as_str().map(str::trim).unwrap_or_default() {
            "" => causes.push(Cause::required(format!("{path}.expression"), "")),
            text => causes.extend(
                compile(text).err().map(|why| Cause::invalid(format!("{path}.expression"), expression, &why)),
            ),
        }
        let name = name.as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        } else if seen.contains(&name) {
            let message = format!("Duplicate value: {name:?}");
            causes.push(Cause::new("FieldValueDuplicate", format!("{path}.name"), message));
        }
        seen.push(name);
    }
    causes
}

fn full_name(path: &str, name: &Value) -> Vec<Cause> {
    let text = name.as_str().unwrap_or_default();
    if text.is_empty() {
        return vec![Cause::required(path, "")];
    }
    let complaints = names::subdomain(text);
    if complaints.is_empty() && text.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        return vec![Cause::invalid(path, name, why)];
    }
    complaints.iter().map(|why| Cause::invalid(path, name, why)).collect()
}

fn one_of(path: &str, value: &Value, supported: &[&str]) -> Option<Cause> {
    let fits = value.is_null() || value.as_str().is_some_and(|text| supported.contains(&text));
    (!fits).then(|| Cause::unsupported(path, value, supported))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn rule(path: &str, rule: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in ["operations", "apiGroups", "apiVersions", "resources"] {
        let list = texts(&rule[field]);
        let path = format!("{path}.{field}");
        if list.is_empty() {
            causes.push(Cause::required(&path, ""));
        }
        if list.len() > 1 && list.contains(&"*") && field != "resources" {
            let why = "if '*' is present, must not specify other values";
            causes.push(Cause::invalid(&path, &rule[field], why));
        }
    }
    let operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for (index, operation) in texts(&rule["operations"]).iter().enumerate() {
        causes.extend(one_of(&format!("{path}.operations[{index}]"), &json!(operation), &operations));
    }
    causes.extend(one_of(&format!("{path}.scope"), &rule["scope"], &["*", "Cluster", "Namespaced"]));
    causes
}

fn review_versions(path: &str, webhook: &Value) -> Option<Cause> {
    let versions = texts(&webhook["admissionReviewVersions"]);
    if versions.is_empty() {
        return Some(Cause::required(path, "must specify one of v1, v1beta1"));
    }
    let known = versions.iter().any(|version| matches!(*version, "v1" | "v1beta1"));
    let why = "must include at least one of v1, v1beta1";
    (!known).then(|| Cause::invalid(path, &webhook["admissionReviewVersions"], why))
}

fn client(path: &str, config: &Value) -> Vec<Cause> {
    match (config["url"].as_str(), config["service"].is_object()) {
        (Some(text), false) => url(&format!("{path}.url"), text),
        (None, true) => Vec::new(),
        _ => vec![Cause::required(path, "exactly one of url or service is required")],
    }
}

fn url(path: &str, text: &str) -> Vec<Cause> {
    const FORM: &str = "; desired format: https://host[/path]";
    let complaint = |why: String| vec![Cause::invalid(path, &text.into(), &why)];
    let url = match url::Url::parse(text) {
        Ok(url) => url,
        Err(error) => return complaint(format!("url must be a valid URL: {error}{FORM}")),
    };
    let mut causes = Vec::new();
    if url.scheme() != "https" {
        causes.extend(complaint(format!("'https' is the only allowed URL scheme{FORM}")));
    }
    if url.host_str().unwrap_or_default().is_empty() {
        causes.extend(complaint(format!("host must be specified{FORM}")));
    }
    for (found, what) in [
        (!url.username().is_empty() || url.password().is_some(), "user information"),
        (url.fragment().is_some(), "fragments"),
        (url.query().is_some(), "query parameters"),
    ] {
        if found {
            causes.extend(complaint(format!("{what} are not permitted in the URL")));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(field: &str, value: Value) -> Vec<String> {
        let mut webhook = json!({ "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": { "url": "https://localhost/x" },
            "rules": [{ "operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"] }] });
        webhook[field] = value;
        let causes = complaints(&json!({ "webhooks": [webhook] }));
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn what_is_held_against_a_configuration() {
        assert_eq!(with("timeoutSeconds", json!(10)), Vec::<String>::new());
        let fine = json!([{ "name": "x", "expression": "object.spec.x == 'y'" }]);
        assert_eq!(with("matchConditions", fine), Vec::<String>::new());
        for (field, value, field_named) in [
            ("name", json!("a.b"), "webhooks[0].name"),
            ("sideEffects", json!("Some"), "webhooks[0].sideEffects"),
            ("sideEffects", json!(null), "webhooks[0].sideEffects"),
            ("timeoutSeconds", json!(31), "webhooks[0].timeoutSeconds"),
            ("admissionReviewVersions", json!([]), "webhooks[0].admissionReviewVersions"),
            ("admissionReviewVersions", json!(["v2"]), "webhooks[0].admissionReviewVersions"),
            ("clientConfig", json!({}), "webhooks[0].clientConfig"),
            ("clientConfig", json!({ "url": "http://localhost/" }), "webhooks[0].clientConfig.url"),
            ("clientConfig", json!({ "url": "https://localhost/?x=y" }), "webhooks[0].clientConfig.url"),
            (
                "matchConditions",
                json!([{ "name": "x", "expression": "object.x ==" }]),
                "webhooks[0].matchConditions[0].expression",
            ),
            ("matchConditions", json!([{ "name": "x" }]), "webhooks[0].matchConditions[0].expression"),
            ("matchConditions", json!([{ "expression": "true" }]), "webhooks[0].matchConditions[0].name"),
            (
                "matchConditions",
                json!([{ "name": "x", "expression": "true" }, { "name": "x", "expression": "true" }]),
                "webhooks[0].matchConditions[1].name",
            ),
            (
                "matchConditions",
                json!([{ "name": "x", "expression": "authorizer.path('/').check('get').allowed()" }]),
                "webhooks[0].matchConditions[0].expression",
            ),
            ("failurePolicy", json!("Maybe"), "webhooks[0].failurePolicy"),
        ] {
            let found = with(field, value.clone());
            assert!(found.len() == 1 && found[0].starts_with(field_named), "{field} {value}: {found:?}");
        }
    }
}
