//! The events of a watch.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::Request;
use http::header::ACCEPT;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use super::normalise;
use super::trial::Trial;

/// Long enough for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running watch.
pub struct Watch {
    trial: Trial,
    what: String,
    chunks: BoxStream<'static, Vec<u8>>,
    buffer: Vec<u8>,
    /// HTTP status of the answer.
    pub code: u16,
}

impl Watch {
    /// Sends the request and waits for the head of the answer.
    pub async fn start(trial: Trial, path: &str, accept: &str) -> Self {
        let request = Request::get(path).header(ACCEPT, accept).body(Body::empty()).unwrap();
        let what = normalise::request(&http::Method::GET, path, &[("accept", accept)]);
        let sent = tokio::time::timeout(PATIENCE, trial.side.client.send(request)).await;
        let sent = sent.unwrap_or_else(|_| panic!("{what} was not answered within {PATIENCE:?}"));
        let response = sent.unwrap_or_else(|error| panic!("{what}: {error}"));
        let code = response.status().as_u16();
        let chunks = response.into_body().into_data_stream();
        let chunks = chunks.take_while(|chunk| std::future::ready(chunk.is_ok()));
        let chunks = chunks.map(|chunk| chunk.map(|bytes| bytes.to_vec()).unwrap_or_default());
        Self { trial, what, chunks: chunks.boxed(), buffer: Vec::new(), code }
    }

    async fn read(&mut self, patience: Duration) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            match tokio::time::timeout(patience, self.chunks.next()).await {
                Ok(Some(bytes)) => self.buffer.extend(bytes),
                Ok(None) if self.buffer.is_empty() => return None,
                Ok(None) => return serde_json::from_slice(&std::mem::take(&mut self.buffer)).ok(),
                Err(_) => panic!("{}: nothing came within {patience:?}", self.what),
            }
        }
    }

    /// The next event, which has to come.
    pub async fn event(&mut self) -> Value {
        let event = self.read(PATIENCE).await.unwrap_or_else(|| panic!("{} ended", self.what));
        self.trial.note(format!("event of {}", self.what), event.clone());
        event
    }

    /// The next events as `TYPE name`.
    pub async fn events(&mut self, count: usize) -> Vec<String> {
        let mut list = Vec::new();
        for _ in 0..count {
            let event = self.event().await;
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
            list.push(format!("{} {name}", event["type"].as_str().unwrap_or_default()));
        }
        list
    }

    /// Everything until the server ends the watch; bookmarks, which come when they come, count as one.
    pub async fn rest(&mut self) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        while let Some(event) = self.read(PATIENCE).await {
            if event["type"] == "BOOKMARK" && events.last().is_some_and(|last| last["type"] == "BOOKMARK") {
                events.pop();
            }
            events.push(event);
        }
        self.trial.note(format!("rest of {}", self.what), json!({ "code": self.code, "events": events }));
        events
    }
}
