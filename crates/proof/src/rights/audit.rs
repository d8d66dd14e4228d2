//! What somebody did, from the API server's audit log.

use std::collections::BTreeSet;
use std::fmt;
use std::io::BufRead;

use serde::Deserialize;

/// One use of a right.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// What was done.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Resource, with its subresource if any.
    pub resource: String,
    /// Namespace; empty for the whole cluster.
    pub namespace: String,
    /// Name of the object; empty if the request named none.
    pub name: String,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{} {}{dot}{}", self.verb, self.resource, self.group)?;
        let object = [self.namespace.as_str(), self.name.as_str()];
        let object: Vec<&str> = object.into_iter().filter(|part| !part.is_empty()).collect();
        if object.is_empty() { Ok(()) } else { write!(f, " {}", object.join("/")) }
    }
}

/// What one user did, and what it was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Requests that were allowed.
    pub uses: BTreeSet<Use>,
    /// Requests that were forbidden.
    pub refused: BTreeSet<Use>,
}

impl Evidence {
    /// Adds what another log shows.
    pub fn merge(&mut self, other: Self) {
        self.uses.extend(other.uses);
        self.refused.extend(other.refused);
    }
}

/// The parts of an audit event that tell what was asked for, and the answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<ObjectReference>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectReference {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// Reads one user's part of an audit log. Requests that are about no object (discovery, health) ask for no right here.
/// A line that the API server is still writing is left for the next look.
pub fn read(mut log: impl BufRead, user: &str) -> Evidence {
    let mut evidence = Evidence::default();
    let mut line = String::new();
    while log.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        let event: Event =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("audit log: {error}: {line}"));
        // A watch is answered when it starts; it may never complete.
        let answered = matches!(event.stage.as_str(), "ResponseStarted" | "ResponseComplete");
        if event.user.username == user && answered {
            evidence.add(event);
        }
        line.clear();
    }
    evidence
}

impl Evidence {
    fn add(&mut self, event: Event) {
        let Some(object) = event.object_ref else { return };
        let resource = if object.subresource.is_empty() {
            object.resource
        } else {
            format!("{}/{}", object.resource, object.subresource)
        };
        let (namespace, name) = (object.namespace, object.name);
        let one = Use { verb: event.verb, group: object.api_group, resource, namespace, name };
        let code = event.response_status.map_or(0, |status| status.code);
        if code == 403 {
            self.refused.insert(one);
            return;
        }
        // Server-side apply of what does not exist needs, and uses, the right to create.
        if one.verb == "patch" && code == 201 {
            self.uses.insert(Use { verb: "create".to_owned(), ..one.clone() });
        }
        self.uses.insert(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(user: &str, verb: &str, stage: &str, code: u16) -> String {
        let event = json!({
            "stage": stage, "verb": verb, "user": {"username": user, "groups": []},
            "objectRef": {"apiGroup": "apps", "resource": "daemonsets", "namespace": "here", "name": "monitor"},
            "responseStatus": {"metadata": {}, "code": code}
        });
        event.to_string()
    }

    fn verbs(uses: &BTreeSet<Use>) -> Vec<&str> {
        uses.iter().map(|one| one.verb.as_str()).collect()
    }

    #[test]
    fn a_patch_that_creates_uses_both_rights() {
        let log =
            [line("me", "patch", "ResponseComplete", 201), line("other", "delete", "ResponseComplete", 200)];
        let found = read((log.join("\n") + "\n").as_bytes(), "me");
        assert_eq!(verbs(&found.uses), ["create", "patch"]);
        assert_eq!(found.uses.first().unwrap().to_string(), "create daemonsets.apps here/monitor");
    }

    #[test]
    fn a_refusal_is_no_use_and_a_started_watch_is_one() {
        let log = [
            line("me", "delete", "ResponseComplete", 403),
            line("me", "watch", "ResponseStarted", 200),
            line("me", "list", "RequestReceived", 0),
        ];
        let found = read((log.join("\n") + "\n").as_bytes(), "me");
        assert_eq!((verbs(&found.uses), verbs(&found.refused)), (vec!["watch"], vec!["delete"]));
    }

    #[test]
    fn what_is_about_no_object_asks_for_no_right() {
        let log = r#"{"stage": "ResponseComplete", "verb": "get", "user": {"username": "me"}, "requestURI": "/readyz"}"#;
        assert_eq!(read(format!("{log}\n").as_bytes(), "me"), Evidence::default());
    }

    #[test]
    fn a_line_that_is_still_being_written_waits() {
        let whole = line("me", "delete", "ResponseComplete", 403);
        let log = format!("{whole}\n{}", &whole[..whole.len() / 2]);
        assert_eq!(read(log.as_bytes(), "me").refused.len(), 1);
    }
}
