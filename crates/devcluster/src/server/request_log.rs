//! A record of every request, so that a test can count what a client did.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::broadcast;

use super::route::{RequestInfo, Verb};

/// A record takes half a kilobyte or so.
const KEPT: usize = 200_000;
const SUBSCRIBER_BUFFER: usize = 4096;

/// One request and its outcome.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Simulated time at which the answer was decided (for a watch: at which it started).
    pub time: Timestamp,
    /// What was asked.
    pub request: Arc<RequestInfo>,
    /// HTTP status code; 0 when the connection was dropped instead of answered.
    pub code: u16,
}

impl RequestRecord {
    /// Whether this is a long-running watch.
    pub fn is_watch(&self) -> bool {
        self.request.verb == Verb::Watch
    }

    /// Whether this request asked to change objects (dry runs included).
    pub fn is_write(&self) -> bool {
        self.request.verb.is_write()
    }
}

/// Every request a server has seen. Cheap to clone; clones share the record.
#[derive(Clone, Debug)]
pub struct RequestLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    records: Mutex<VecDeque<RequestRecord>>,
    total: AtomicU64,
    writes: AtomicU64,
    feed: broadcast::Sender<RequestRecord>,
}

impl Default for RequestLog {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                records: Mutex::default(),
                total: AtomicU64::new(0),
                writes: AtomicU64::new(0),
                feed: broadcast::channel(SUBSCRIBER_BUFFER).0,
            }),
        }
    }
}

impl RequestLog {
    pub(super) fn push(&self, record: RequestRecord) {
        self.inner.total.fetch_add(1, Ordering::Relaxed);
        if record.is_write() && !record.request.dry_run {
            self.inner.writes.fetch_add(1, Ordering::Relaxed);
        }
        // Nobody listening is the usual case.
        let _ = self.inner.feed.send(record.clone());
        let mut records = self.records();
        if records.len() == KEPT {
            records.pop_front();
        }
        records.push_back(record);
    }

    fn records(&self) -> std::sync::MutexGuard<'_, VecDeque<RequestRecord>> {
        self.inner.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records kept (at most the last 200,000), oldest first.
    pub fn snapshot(&self) -> Vec<RequestRecord> {
        self.records().iter().cloned().collect()
    }

    /// Forgets the records and sets the counters to zero.
    pub fn clear(&self) {
        self.records().clear();
        self.inner.total.store(0, Ordering::Relaxed);
        self.inner.writes.store(0, Ordering::Relaxed);
    }

    /// How many records are kept.
    pub fn len(&self) -> usize {
        self.records().len()
    }

    /// Whether no record is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests since the start or the last [`clear`](Self::clear), also those no longer kept.
    pub fn total(&self) -> u64 {
        self.inner.total.load(Ordering::Relaxed)
    }

    /// Write requests (without dry runs) since the start or the last [`clear`](Self::clear); always exact.
    pub fn writes(&self) -> u64 {
        self.inner.writes.load(Ordering::Relaxed)
    }

    /// Records as they come. A receiver that lags loses the oldest ones.
    pub fn subscribe(&self) -> broadcast::Receiver<RequestRecord> {
        self.inner.feed.subscribe()
    }
}
