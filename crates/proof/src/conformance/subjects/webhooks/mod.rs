//! Admission webhooks: who is asked what, and what becomes of the answer.

mod changes;
mod failures;
mod matching;
mod verdicts;

use std::time::Duration;

use serde_json::{Value, json};

use crate::conformance::case::Case;
use crate::conformance::trial::Trial;
use crate::conformance::webhook_server::{WebhookServer, allow, deny};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

pub fn cases() -> Vec<Case> {
    [verdicts::cases(), changes::cases(), matching::cases(), failures::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// The webhooks of one case on one side.
struct Hooks {
    server: WebhookServer,
    t: Trial,
}

/// A field of an object, changed.
fn with(mut object: Value, field: &str, value: Value) -> Value {
    object[field] = value;
    object
}

impl Hooks {
    async fn start(t: &Trial) -> Self {
        let server = WebhookServer::start().await;
        t.hide(&server.address.to_string(), "webhook-server");
        t.hide(&server.authority, "authority");
        Self { server, t: t.clone() }
    }

    /// A webhook at `/path` that is asked about everything that happens to some resources in the case's namespace.
    fn webhook(&self, path: &str, resources: &[&str]) -> Value {
        json!({
            "name": format!("{path}.hooks.example.com"), "clientConfig": self.server.client(path),
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "namespaceSelector": { "matchLabels": { "case": self.t.id } },
            "rules": [{ "operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": ["*"], "apiVersions": ["*"],
                "resources": resources }],
        })
    }

    async fn validating(&self, name: &str, webhooks: &[Value]) {
        self.install("Validating", name, webhooks).await;
    }

    async fn mutating(&self, name: &str, webhooks: &[Value]) {
        self.install("Mutating", name, webhooks).await;
    }

    /// Makes a configuration and waits until the server follows it: one more webhook tells so to those who ask.
    async fn install(&self, kind: &str, name: &str, webhooks: &[Value]) {
        let quiet = self.t.unrecorded();
        let ready = format!("ready.{name}.example.com");
        self.server.on("ready", |_| deny(json!({ "message": "it is" })));
        let probed = json!([{ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["endpoints"] }]);
        let probe = with(self.webhook("ready", &[]), "rules", probed);
        let probe = with(
            with(probe, "name", json!(ready)),
            "objectSelector",
            json!({ "matchLabels": { "probe": name } }),
        );
        let webhooks: Vec<Value> = webhooks.iter().cloned().chain([probe]).collect();
        let object = json!({ "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": format!("{kind}WebhookConfiguration"),
            "metadata": { "name": format!("{}-{name}", self.t.id) }, "webhooks": webhooks });
        quiet.post(&format!("{GROUP}/{}webhookconfigurations", kind.to_lowercase()), object).await.is(201);
        for _ in 0..200 {
            let probe = json!({ "apiVersion": "v1", "kind": "Endpoints",
                "metadata": { "name": "probe", "labels": { "probe": name } } });
            let answer = quiet.post("endpoints?dryRun=All", probe).await;
            if answer.body["message"].as_str().is_some_and(|message| message.contains(&ready)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not call the webhooks of {name}");
    }

    /// Waits until the server's cache knows the newest state of an object. The real server tries an update or a
    /// deletion with what its cache has, and asks the webhooks again when that was old.
    async fn settle(&self, path: &str) {
        let quiet = self.t.unrecorded();
        let newest = quiet.get(path).await.is(200).version();
        for _ in 0..200 {
            if quiet.get(&format!("{path}?resourceVersion=0")).await.version() == newest {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{path} never appears in the server's cache");
    }

    /// How often a webhook was asked.
    fn count(&self, path: &str) -> usize {
        self.asked(path).len()
    }

    /// What a webhook was asked, oldest first. The real server asks again what was refused, for its cache may have
    /// been old: the same question counts once.
    fn asked(&self, path: &str) -> Vec<Value> {
        let mut requests = self.server.seen(path);
        requests.retain(|request| request["resource"]["resource"] != "endpoints");
        requests.dedup_by_key(|request| {
            let mut question = request.clone();
            question["uid"] = Value::Null;
            question["object"]["metadata"]["managedFields"] = Value::Null;
            question
        });
        requests
    }

    /// Writes down what a webhook was asked.
    fn note(&self, path: &str) {
        let mut requests = self.asked(path);
        for request in requests.iter_mut().filter_map(Value::as_object_mut) {
            request.remove("uid");
            for object in ["object", "oldObject"] {
                if let Some(metadata) = request[object]["metadata"].as_object_mut() {
                    // Go writes a time that is not there as null.
                    metadata.retain(|_, value| !value.is_null());
                }
            }
            // Since 1.22 a new object has its namespace before the first webhook sees it.
            if request["operation"] == "CREATE"
                && let Some(metadata) = request["object"]["metadata"].as_object_mut()
            {
                metadata.remove("namespace");
            }
        }
        self.t.note(format!("what {path} was asked"), Value::Array(requests));
    }

    /// Allows everything at `/path`.
    fn allow(&self, path: &str) {
        self.server.on(path, |_| allow());
    }

    /// Refuses everything at `/path`.
    fn deny(&self, path: &str, status: Value) {
        self.server.on(path, move |_| deny(status.clone()));
    }
}
