//! One run of a case on one side: sends requests and writes down what comes back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use http::{Method, Request};
use kube::client::Body;
use serde_json::{Value, json};

use super::normalise;
use super::sides::Side;
use super::stream::Watch;

/// One thing that was observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The request, or what else was looked at.
    pub what: String,
    /// What came back.
    pub seen: Value,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The request, for complaints.
    pub request: String,
    /// HTTP status.
    pub code: u16,
    /// HTTP headers.
    pub headers: HeaderMap,
    /// The body; a string if it is no JSON.
    pub body: Value,
}

/// One run. Clones share what was observed.
#[derive(Clone)]
pub struct Trial {
    /// Namespace of the case, and part of the name of what has no namespace.
    pub id: String,
    /// The server.
    pub side: Arc<Side>,
    steps: Arc<Mutex<Vec<Step>>>,
    hidden: Arc<Mutex<Vec<(String, String)>>>,
    recorded: bool,
}

impl Answer {
    /// Asserts the code.
    #[track_caller]
    pub fn is(self, code: u16) -> Self {
        assert_eq!(self.code, code, "{} was answered with {}", self.request, self.body);
        self
    }

    /// Asserts code and reason of a refusal.
    #[track_caller]
    pub fn refused(self, code: u16, reason: &str) -> Self {
        let found = (self.code, self.body["reason"].as_str().unwrap_or_default());
        assert_eq!(found, (code, reason), "{} was answered with {}", self.request, self.body);
        self
    }

    /// Asserts that the refusal names a field among its causes.
    #[track_caller]
    pub fn names(self, field: &str) -> Self {
        let causes = self.body["details"]["causes"].as_array().cloned().unwrap_or_default();
        let found = causes.iter().any(|cause| cause["field"] == field);
        assert!(found, "{} does not complain about {field}: {}", self.request, self.body);
        self
    }

    /// Asserts the value at a JSON pointer; null stands for absent.
    #[track_caller]
    #[allow(clippy::needless_pass_by_value)] // json!() at the call reads better without an ampersand
    pub fn has(self, pointer: &str, wanted: Value) -> Self {
        let found = self.body.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(*found, wanted, "{pointer} of the answer to {}: {}", self.request, self.body);
        self
    }

    /// A text field of the metadata.
    pub fn metadata(&self, field: &str) -> String {
        self.body["metadata"][field].as_str().unwrap_or_default().to_owned()
    }

    /// The resource version.
    pub fn version(&self) -> String {
        self.metadata("resourceVersion")
    }

    /// The uid.
    pub fn uid(&self) -> String {
        self.metadata("uid")
    }

    /// Names of the items of a list.
    pub fn items(&self) -> Vec<String> {
        let items = self.body["items"].as_array().into_iter().flatten();
        items.map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Trial {
    /// A run that has not begun.
    pub fn new(side: Arc<Side>, id: &str) -> Self {
        Self { id: id.to_owned(), side, steps: Arc::default(), hidden: Arc::default(), recorded: true }
    }

    /// Makes the namespace of the case, labelled with its name so that webhooks can be kept to it.
    pub async fn prepare(&self) {
        let object = json!({ "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": self.id, "labels": { "case": self.id } } });
        self.unrecorded().post("/api/v1/namespaces", object).await.is(201);
    }

    /// The same run, without writing down what follows.
    pub fn unrecorded(&self) -> Self {
        Self { recorded: false, ..self.clone() }
    }

    /// What was observed, with placeholders for what no two servers share.
    pub fn steps(&self) -> Vec<Step> {
        normalise::steps(&locked(&self.steps), &locked(&self.hidden))
    }

    /// Writes something down.
    pub fn note(&self, what: impl Into<String>, seen: Value) {
        if self.recorded {
            locked(&self.steps).push(Step { what: what.into(), seen });
        }
    }

    /// Has a text that differs from server to server replaced wherever it appears.
    pub fn hide(&self, text: &str, placeholder: &str) {
        assert!(!text.is_empty(), "nothing to be called {placeholder}");
        locked(&self.hidden).push((text.to_owned(), placeholder.to_owned()));
    }

    /// The path of a resource. `configmaps/a` is of the core group, `apps/v1:deployments/a` of another, both in the
    /// case's namespace; a path with a leading slash is taken as it is.
    pub fn path(&self, short: &str) -> String {
        if short.starts_with('/') {
            return short.replace("{id}", &self.id);
        }
        let head = short.split(['/', '?']).next().unwrap_or_default();
        match short.split_once(':') {
            Some((version, rest))
                if !head.contains('?') && short.find(':') < short.find('?').or(Some(usize::MAX)) =>
            {
                format!("/apis/{version}/namespaces/{}/{rest}", self.id)
            }
            _ => format!("/api/v1/namespaces/{}/{short}", self.id),
        }
        .replace("{id}", &self.id)
    }

    /// Sends a request and writes it and its answer down.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let path = self.path(path);
        let mut request = Request::builder().method(method.clone()).uri(&path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let what = normalise::request(&method, &path, headers);
        let sent = self.side.client.send(request).await;
        let (head, body) = sent.unwrap_or_else(|error| panic!("{what}: {error}")).into_parts();
        let bytes = body.collect_bytes().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()));
        let answer = Answer { request: what, code: head.status.as_u16(), headers: head.headers, body };
        self.note(&answer.request, json!({ "code": answer.code, "body": answer.body }));
        answer
    }

    async fn send_json(&self, method: Method, path: &str, media_type: &str, body: &Value) -> Answer {
        self.send(method, path, &[(CONTENT_TYPE.as_str(), media_type)], body.to_string().into_bytes()).await
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    /// GET in a form of the client's choice.
    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send(Method::GET, path, &[(ACCEPT.as_str(), accept)], Vec::new()).await
    }

    /// GET as rows for people.
    pub async fn table(&self, path: &str) -> Answer {
        self.get_as(path, "application/json;as=Table;v=v1;g=meta.k8s.io").await
    }

    /// POST.
    #[allow(clippy::needless_pass_by_value)] // as of all writes below: bodies are made for one request
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::POST, path, "application/json", &body).await
    }

    /// PUT.
    #[allow(clippy::needless_pass_by_value)]
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::PUT, path, "application/json", &body).await
    }

    /// DELETE without options.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Vec::new()).await
    }

    /// DELETE with options.
    #[allow(clippy::needless_pass_by_value)]
    pub async fn delete_with(&self, path: &str, options: Value) -> Answer {
        self.send_json(Method::DELETE, path, "application/json", &options).await
    }

    /// JSON patch.
    #[allow(clippy::needless_pass_by_value)]
    pub async fn json_patch(&self, path: &str, patch: Value) -> Answer {
        self.send_json(Method::PATCH, path, "application/json-patch+json", &patch).await
    }

    /// Merge patch.
    #[allow(clippy::needless_pass_by_value)]
    pub async fn merge(&self, path: &str, patch: Value) -> Answer {
        self.send_json(Method::PATCH, path, "application/merge-patch+json", &patch).await
    }

    /// Strategic merge patch.
    #[allow(clippy::needless_pass_by_value)]
    pub async fn strategic(&self, path: &str, patch: Value) -> Answer {
        self.send_json(Method::PATCH, path, "application/strategic-merge-patch+json", &patch).await
    }

    /// Server-side apply by a manager.
    pub async fn apply(&self, path: &str, manager: &str, config: Value) -> Answer {
        self.apply_raw(&format!("{path}?fieldManager={manager}"), config).await
    }

    /// Server-side apply that takes fields over from others.
    pub async fn apply_forced(&self, path: &str, manager: &str, config: Value) -> Answer {
        self.apply_raw(&format!("{path}?fieldManager={manager}&force=true"), config).await
    }

    /// Server-side apply with parameters as they are in the path.
    #[allow(clippy::needless_pass_by_value)]
    pub async fn apply_raw(&self, path: &str, config: Value) -> Answer {
        self.send_json(Method::PATCH, path, "application/apply-patch+yaml", &config).await
    }

    /// Starts a watch.
    pub async fn watch(&self, path: &str) -> Watch {
        self.watch_as(path, "application/json").await
    }

    /// Starts a watch in a form of the client's choice.
    pub async fn watch_as(&self, path: &str, accept: &str) -> Watch {
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = self.path(&format!("{path}{separator}watch=true"));
        Watch::start(self.clone(), &path, accept).await
    }

    /// Asks until the answer is as wanted, and writes that one down.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        for _ in 0..400 {
            let answer = self.unrecorded().get(path).await;
            if wanted(&answer) {
                self.note(
                    format!("{} at last", answer.request),
                    json!({ "code": answer.code, "body": answer.body }),
                );
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let answer = self.unrecorded().get(path).await;
        panic!("{} never became as expected: {} {}", answer.request, answer.code, answer.body);
    }

    /// Waits until an object is gone.
    pub async fn until_gone(&self, path: &str) {
        self.until(path, |answer| answer.code == 404).await;
    }
}
