//! A work queue: each key once, never twice at a time, later on demand, with back-off after failures.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
const CONFLICT_BACKOFF: Duration = Duration::from_millis(10);

/// What a worker returns: when to look at the key again without an event, in real time.
pub type Next = Result<Option<Duration>, kube::Error>;

/// The queue of one controller.
pub struct Queue<T> {
    name: &'static str,
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    /// Keys that wait, by due time. The number keeps keys of one instant in order.
    due: BTreeSet<(Instant, u64, T)>,
    /// Where to find a key in `due`.
    waiting: HashMap<T, (Instant, u64)>,
    /// Keys being worked on, with the time at which they are wanted again.
    running: HashMap<T, Option<Instant>>,
    failures: HashMap<T, u32>,
    counter: u64,
}

impl<T: Clone + Ord + Hash + std::fmt::Debug> Queue<T> {
    /// An empty queue; the name appears in logs.
    pub fn new(name: &'static str) -> Self {
        let state = State {
            due: BTreeSet::new(),
            waiting: HashMap::new(),
            running: HashMap::new(),
            failures: HashMap::new(),
            counter: 0,
        };
        Self { name, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Wants `key` worked on now.
    pub fn add(&self, key: T) {
        self.add_at(key, Instant::now());
    }

    /// Wants `key` worked on after a real duration. An earlier wish for the same key stands.
    pub fn add_after(&self, key: T, delay: Duration) {
        self.add_at(key, Instant::now() + delay);
    }

    fn add_at(&self, key: T, at: Instant) {
        self.lock().schedule(key, at);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on keys, at most `width` at a time, until cancelled.
    pub async fn run<F, Fut>(&self, width: usize, cancel: &CancellationToken, work: F)
    where
        F: Fn(T) -> Fut,
        Fut: Future<Output = Next>,
    {
        let mut workers = FuturesUnordered::new();
        loop {
            let mut next_due = None;
            while workers.len() < width {
                match self.lock().pop(Instant::now()) {
                    Popped::Key(key) => {
                        let result = work(key.clone());
                        workers.push(async move { (key, result.await) });
                    }
                    Popped::Later(at) => {
                        next_due = at;
                        break;
                    }
                }
            }
            // In this order, so that a simulation repeats exactly.
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                Some((key, result)) = workers.next() => self.finish(key, result),
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => {}
            }
        }
    }

    fn finish(&self, key: T, result: Next) {
        let mut state = self.lock();
        let delay = match result {
            Ok(delay) => {
                state.failures.remove(&key);
                delay
            }
            Err(error) => {
                let failures = state.failures.entry(key.clone()).or_default();
                *failures = failures.saturating_add(1);
                Some(self.delay_after(&key, &error, *failures))
            }
        };
        let wanted = state.running.remove(&key).flatten();
        let delayed = delay.map(|delay| Instant::now() + delay);
        if let Some(at) = [wanted, delayed].into_iter().flatten().min() {
            state.schedule(key, at);
        }
    }

    fn delay_after(&self, key: &T, error: &kube::Error, failures: u32) -> Duration {
        let code = if let kube::Error::Api(status) = error { status.code } else { 0 };
        let backoff = FIRST_BACKOFF.saturating_mul(1 << failures.min(10)).min(LONGEST_BACKOFF);
        match code {
            // Somebody else was faster; the cache is about to know.
            409 if failures < 10 => CONFLICT_BACKOFF,
            404 | 409 => {
                debug!(controller = self.name, ?key, %error, "gone or changed meanwhile");
                backoff
            }
            _ => {
                warn!(controller = self.name, ?key, %error, "will try again");
                backoff
            }
        }
    }
}

enum Popped<T> {
    Key(T),
    Later(Option<Instant>),
}

impl<T: Clone + Ord + Hash> State<T> {
    fn schedule(&mut self, key: T, at: Instant) {
        if let Some(wanted) = self.running.get_mut(&key) {
            *wanted = Some(wanted.map_or(at, |wanted| wanted.min(at)));
            return;
        }
        if let Some(&(present, number)) = self.waiting.get(&key) {
            if present <= at {
                return;
            }
            self.due.remove(&(present, number, key.clone()));
        }
        self.counter += 1;
        self.waiting.insert(key.clone(), (at, self.counter));
        self.due.insert((at, self.counter, key));
    }

    fn pop(&mut self, now: Instant) -> Popped<T> {
        match self.due.pop_first() {
            Some((at, _, key)) if at <= now => {
                self.waiting.remove(&key);
                self.running.insert(key.clone(), None);
                Popped::Key(key)
            }
            Some(later) => {
                let at = later.0;
                self.due.insert(later);
                Popped::Later(Some(at))
            }
            None => Popped::Later(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Runs a queue for `seconds` and returns what was worked on, with the second it happened in.
    async fn trace<F: Fn(&'static str, u32) -> Next>(
        queue: Arc<Queue<&'static str>>,
        seconds: u64,
        result: F,
    ) -> Vec<(&'static str, u64)> {
        let start = Instant::now();
        let seen = Mutex::new(Vec::new());
        let count = AtomicU32::new(0);
        let cancel = CancellationToken::new();
        let work = |key| {
            seen.lock().unwrap().push((key, start.elapsed().as_secs()));
            let next = result(key, count.fetch_add(1, Ordering::Relaxed));
            async move { next }
        };
        tokio::select! {
            () = queue.run(2, &cancel, work) => {}
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        }
        seen.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_the_earliest_wish_counts() {
        let queue = Arc::new(Queue::new("test"));
        queue.add_after("a", Duration::from_secs(5));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(9));
        queue.add("b");
        assert_eq!(trace(queue, 60, |_, _| Ok(None)).await, [("b", 0), ("a", 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_may_ask_for_another_round() {
        let queue = Arc::new(Queue::new("test"));
        queue.add("a");
        let again = |_, n| Ok((n < 2).then_some(Duration::from_secs(10)));
        assert_eq!(trace(queue, 60, again).await, [("a", 0), ("a", 10), ("a", 20)]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_but_never_beyond_five_seconds() {
        let queue = Arc::new(Queue::new("test"));
        queue.add("a");
        let seen = trace(queue, 60, |_, _| Err(kube::Error::LinesCodecMaxLineLengthExceeded)).await;
        assert!((12..25).contains(&seen.len()), "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_worked_on_twice_at_a_time() {
        let queue = Arc::new(Queue::new("test"));
        queue.add("a");
        let busy = AtomicU32::new(0);
        let rounds = AtomicU32::new(0);
        let cancel = CancellationToken::new();
        let work = |key| {
            let (busy, rounds, queue) = (&busy, &rounds, &queue);
            async move {
                assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0);
                if rounds.fetch_add(1, Ordering::SeqCst) < 3 {
                    queue.add(key);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                busy.fetch_sub(1, Ordering::SeqCst);
                Ok(None)
            }
        };
        tokio::select! {
            () = queue.run(4, &cancel, work) => {}
            () = tokio::time::sleep(Duration::from_mins(1)) => {}
        }
        assert_eq!(rounds.load(Ordering::SeqCst), 4);
    }
}
