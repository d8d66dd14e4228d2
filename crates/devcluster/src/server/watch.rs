//! Watches: a cursor into a collection's history for each client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::call::{Call, State};
use super::convert;
use super::faults::{WatchEnd, WatchGuard};
use super::registry::Resource;
use super::select::Selection;
use super::status::ApiError;
use super::store::{Change, Compacted};

/// Real time between bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_mins(1);
/// How long a watch lasts if the client does not say.
const DEFAULT_TIMEOUT: u64 = 30 * 60;

/// One event of a watch.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The object is new, or newly selected.
    Added(Arc<Value>),
    /// The object changed.
    Modified(Arc<Value>),
    /// The object is gone, or no longer selected.
    Deleted(Arc<Value>),
    /// Everything up to this revision has been sent; the flag marks the end of the initial events.
    Bookmark(u64, bool),
    /// A `Status`; the last event of the stream.
    Error(Value),
}

/// The events of one watch.
pub type EventStream = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// What a client asked for.
pub struct Options {
    pub selection: Selection,
    /// Resource version to start after; none for the present state.
    pub since: Option<u64>,
    /// `sendInitialEvents`, if given.
    pub initial: Option<bool>,
    pub bookmarks: bool,
    /// Seconds.
    pub timeout: Option<u64>,
    /// Only the object of this name (a watch on the path of one object).
    pub name: Option<String>,
}

struct Watcher {
    state: Arc<State>,
    resource: Arc<Resource>,
    namespace: String,
    options: Options,
    cursor: u64,
    signal: watch::Receiver<u64>,
    queue: VecDeque<Event>,
    ends: mpsc::UnboundedReceiver<WatchEnd>,
    deadline: Instant,
    next_bookmark: Instant,
    finished: bool,
    _guard: WatchGuard,
}

/// Starts a watch. Its first events are decided before this returns, so nothing can be missed.
pub fn stream(call: &Call, options: Options) -> EventStream {
    let (guard, ends) = call.state.faults.register(call.info.clone());
    let now = Instant::now();
    let timeout = Duration::from_secs(options.timeout.filter(|t| *t > 0).unwrap_or(DEFAULT_TIMEOUT));
    let mut watcher = Watcher {
        signal: call.state.store.signal(&call.resource.collection),
        state: call.state.clone(),
        resource: call.resource.clone(),
        namespace: call.info.namespace.clone(),
        cursor: 0,
        queue: VecDeque::new(),
        ends,
        deadline: now + timeout,
        next_bookmark: now + BOOKMARK_EVERY,
        finished: false,
        _guard: guard,
        options,
    };
    watcher.start();
    Box::pin(futures::stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((event, watcher))
    }))
}

/// The event that tells a client to list again.
fn gone(message: String) -> Event {
    Event::Error(ApiError::expired(message).to_value())
}

impl Watcher {
    fn start(&mut self) {
        let wants_initial = self.options.initial.unwrap_or(self.options.since.is_none());
        match self.options.since {
            Some(since) if !wants_initial => self.cursor = since,
            _ => {
                let (objects, revision) = self.state.store.list(&self.resource.collection, &self.namespace);
                self.cursor = revision;
                if wants_initial {
                    for object in &objects {
                        let seen = convert::seen(&self.resource, object);
                        if self.selects(&seen) {
                            self.queue.push_back(Event::Added(seen));
                        }
                    }
                }
                if self.options.initial == Some(true) && self.options.bookmarks {
                    self.queue.push_back(Event::Bookmark(revision, true));
                }
            }
        }
    }

    fn selects(&self, object: &Value) -> bool {
        self.options.name.as_deref().is_none_or(|name| object["metadata"]["name"] == name)
            && self.options.selection.matches(object)
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.finished {
                return self.queue.pop_front();
            }
            if let Ok(end) = self.ends.try_recv() {
                self.end(end);
                continue;
            }
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            self.signal.mark_unchanged();
            self.read();
            if !self.queue.is_empty() || self.finished {
                continue;
            }
            self.wait().await;
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            biased;
            end = self.ends.recv() => self.end(end.unwrap_or(WatchEnd::Cut)),
            changed = self.signal.changed() => self.finished = changed.is_err(),
            () = tokio::time::sleep_until(self.deadline) => {
                self.finished = true;
                self.bookmark();
            }
            () = tokio::time::sleep_until(self.next_bookmark), if self.options.bookmarks => self.bookmark(),
            () = self.state.shutdown.cancelled() => self.finished = true,
        }
    }

    fn end(&mut self, end: WatchEnd) {
        match end {
            WatchEnd::Finish => self.read(),
            WatchEnd::Cut => self.queue.clear(),
            WatchEnd::Gone => {
                self.queue.clear();
                self.queue.push_back(gone(format!("too old resource version: {}", self.cursor)));
            }
        }
        self.finished = true;
    }

    fn bookmark(&mut self) {
        self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
        if self.options.bookmarks {
            self.read();
            self.queue.push_back(Event::Bookmark(self.cursor, false));
        }
    }

    /// Moves what happened since the cursor into the queue.
    fn read(&mut self) {
        match self.state.store.changes_since(&self.resource.collection, self.cursor) {
            Ok((changes, revision)) => {
                for change in changes {
                    if let Some(event) = self.event(&change) {
                        self.queue.push_back(event);
                    }
                }
                self.cursor = self.cursor.max(revision);
            }
            Err(Compacted(oldest)) => {
                self.finished = true;
                self.queue.push_back(gone(format!("too old resource version: {} ({oldest})", self.cursor)));
            }
        }
    }

    fn event(&self, change: &Change) -> Option<Event> {
        if !self.namespace.is_empty() && change.key.namespace != self.namespace {
            return None;
        }
        let before = change.before.as_ref().map(|object| convert::seen(&self.resource, object));
        let selected_before = before.as_ref().is_some_and(|object| self.selects(object));
        let object = convert::seen(&self.resource, &change.object);
        if change.deleted {
            return selected_before.then_some(Event::Deleted(object));
        }
        match (selected_before, self.selects(&object)) {
            (true, true) => Some(Event::Modified(object)),
            (false, true) => Some(Event::Added(object)),
            (true, false) => {
                // The client knows the object as it was, so that is what it loses.
                let mut last = before.map(|object| (*object).clone())?;
                last["metadata"]["resourceVersion"] = json!(change.revision.to_string());
                Some(Event::Deleted(Arc::new(last)))
            }
            (false, false) => None,
        }
    }
}
