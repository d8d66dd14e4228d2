//! What the operator did, from the API server's audit log, held against what it may do.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

/// One use of a right: verb, group, resource (with subresource), and the object's name where there is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    verb: String,
    group: String,
    resource: String,
    name: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What that user did, and what it was refused.
pub fn uses(log: &[Value], user: &str) -> (BTreeSet<Use>, Vec<String>) {
    let mut found = BTreeSet::new();
    let mut refused = Vec::new();
    let finished =
        |entry: &&Value| matches!(entry["stage"].as_str(), Some("ResponseComplete" | "ResponseStarted"));
    for entry in log.iter().filter(|entry| entry["user"]["username"] == user).filter(finished) {
        let object = &entry["objectRef"];
        if object.is_null() {
            continue;
        }
        let mut resource = text(&object["resource"]);
        if let Some(subresource) = object["subresource"].as_str() {
            resource = format!("{resource}/{subresource}");
        }
        let one = Use {
            verb: text(&entry["verb"]),
            group: text(&object["apiGroup"]),
            resource,
            name: text(&object["name"]),
        };
        if entry["responseStatus"]["code"] == 403 {
            refused.push(format!("{one:?}: {}", text(&entry["responseStatus"]["message"])));
        }
        // Server-side apply of what does not exist needs, and uses, the right to create.
        if one.verb == "patch" && entry["responseStatus"]["code"] == 201 {
            found.insert(Use { verb: "create".to_owned(), ..one.clone() });
        }
        found.insert(one);
    }
    refused.dedup();
    (found, refused)
}

/// The rights of the rules that no use needed, as `verb resource.group`.
pub fn unused(rules: &[PolicyRule], uses: &BTreeSet<Use>) -> BTreeSet<String> {
    let mut unused = BTreeSet::new();
    for rule in rules {
        let names = rule.resource_names.clone().unwrap_or_default();
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    let needed = uses.iter().any(|used| {
                        used.verb == *verb
                            && used.group == *group
                            && used.resource == *resource
                            && (names.is_empty() || used.name.is_empty() || names.contains(&used.name))
                    });
                    if !needed {
                        unused.insert(format!("{verb} {resource}.{group} {names:?}"));
                    }
                }
            }
        }
    }
    unused
}
