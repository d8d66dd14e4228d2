//! Faults on demand: what a client of an API server has to survive.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::route::{RequestInfo, Verb};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultAction {
    /// The request is not handled; this is the answer.
    Status {
        /// HTTP status code.
        code: u16,
        /// Reason of the `Status`, for instance `InternalError`.
        reason: String,
        /// Message of the `Status`.
        message: String,
        /// `Retry-After` in seconds.
        retry_after: Option<u32>,
    },
    /// The request is handled after this long (real time).
    Delay(Duration),
    /// The connection is reset before the request is handled.
    Drop,
    /// The request is handled, then the connection is reset before the answer is sent.
    DropAfter,
    /// A watch ends without a word. Running watches that match end at once.
    CutWatch,
    /// A watch ends with a 410 event. Running watches that match end at once.
    GoneWatch,
    /// A watch tells everything late, by this to twice this (real time): its client acts on what is past.
    LagWatch(Duration),
    /// The request is not handled and never answered.
    Hang,
}

impl FaultAction {
    /// Whether only a watch can be hit by it.
    fn is_for_watches(&self) -> bool {
        matches!(self, Self::CutWatch | Self::GoneWatch | Self::LagWatch(_))
    }
}

/// A condition beyond what the fields of [`Matcher`] express.
pub type Condition = Arc<dyn Fn(&RequestInfo) -> bool + Send + Sync>;

/// Which requests a fault hits. An empty matcher hits all.
#[derive(Clone, Default)]
pub struct Matcher {
    /// Verb.
    pub verb: Option<Verb>,
    /// API group; empty text for the core group.
    pub group: Option<String>,
    /// Plural resource name.
    pub resource: Option<String>,
    /// Subresource; empty text for the main resource.
    pub subresource: Option<String>,
    /// Namespace.
    pub namespace: Option<String>,
    /// Object name.
    pub name: Option<String>,
    /// Part of the user agent.
    pub user_agent: Option<String>,
    /// Anything else.
    pub condition: Option<Condition>,
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matcher")
            .field("verb", &self.verb)
            .field("group", &self.group)
            .field("resource", &self.resource)
            .field("subresource", &self.subresource)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("user_agent", &self.user_agent)
            .field("condition", &self.condition.is_some())
            .finish()
    }
}

impl Matcher {
    /// Requests for one verb and one resource.
    pub fn new(verb: Verb, resource: &str) -> Self {
        Self { verb: Some(verb), resource: Some(resource.to_owned()), ..Self::default() }
    }

    /// Whether a request is hit.
    pub fn matches(&self, request: &RequestInfo) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|w| w == found);
        self.verb.is_none_or(|verb| request.is_resource && verb == request.verb)
            && is(&self.group, &request.group)
            && is(&self.resource, &request.resource)
            && is(&self.subresource, &request.subresource)
            && is(&self.namespace, &request.namespace)
            && is(&self.name, &request.name)
            && self.user_agent.as_deref().is_none_or(|part| request.user_agent.contains(part))
            && self.condition.as_ref().is_none_or(|condition| condition(request))
    }
}

/// A fault waiting for its requests.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which requests.
    pub matcher: Matcher,
    /// How many of them; none for all.
    pub times: Option<u32>,
    /// What happens.
    pub action: FaultAction,
}

/// A schedule of faults: looks at a request and says what happens to it.
pub type Hook = Arc<dyn Fn(&RequestInfo) -> Option<FaultAction> + Send + Sync>;

/// How a running watch is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchEnd {
    /// The stream ends.
    Cut,
    /// A 410 event, then the stream ends.
    Gone,
    /// What has happened is still sent, then the stream ends.
    Finish,
}

struct Running {
    id: u64,
    request: Arc<RequestInfo>,
    end: mpsc::UnboundedSender<WatchEnd>,
}

#[derive(Default)]
struct Inner {
    faults: Mutex<Vec<Fault>>,
    hook: Mutex<Option<Hook>>,
    watches: Mutex<Vec<Running>>,
    next_watch: AtomicU64,
    paused: watch::Sender<bool>,
}

/// The faults of one server. Cheap to clone; clones share the state.
#[derive(Clone, Default)]
pub struct Faults {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").field("pending", &*self.faults()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        lock(&self.inner.faults)
    }

    /// Adds a fault. The first fault added that matches a request is the one that happens to it.
    pub fn inject(&self, mut fault: Fault) {
        let end = match fault.action {
            FaultAction::CutWatch => Some(WatchEnd::Cut),
            FaultAction::GoneWatch => Some(WatchEnd::Gone),
            _ => None,
        };
        if let Some(end) = end {
            let hit = self.end_watches(&fault.matcher, end, fault.times);
            fault.times = fault.times.map(|times| times.saturating_sub(hit));
        }
        if fault.times != Some(0) {
            self.faults().push(fault);
        }
    }

    /// Ends running watches that match, without effect on later ones. Says how many.
    pub fn cut_watches(&self, matcher: &Matcher) -> u32 {
        self.end_watches(matcher, WatchEnd::Cut, None)
    }

    /// Ends running watches that match with a 410 event, without effect on later ones. Says how many.
    pub fn expire_watches(&self, matcher: &Matcher) -> u32 {
        self.end_watches(matcher, WatchEnd::Gone, None)
    }

    pub(super) fn end_watches(&self, matcher: &Matcher, end: WatchEnd, times: Option<u32>) -> u32 {
        let mut hit = 0;
        for running in lock(&self.inner.watches).iter().filter(|w| matcher.matches(&w.request)) {
            if times.is_some_and(|times| hit >= times) {
                break;
            }
            // A watch that is just ending by itself no longer listens.
            if running.end.send(end).is_ok() {
                hit += 1;
            }
        }
        hit
    }

    /// Removes all faults and the hook. Does not end a pause.
    pub fn clear(&self) {
        self.faults().clear();
        *lock(&self.inner.hook) = None;
    }

    /// Asks `hook` about every request that no injected fault matches.
    pub fn set_hook(&self, hook: Hook) {
        *lock(&self.inner.hook) = Some(hook);
    }

    /// Makes the server unreachable: connections are cut and new ones closed at once, until resumed.
    pub fn pause_all(&self) {
        self.inner.paused.send_replace(true);
    }

    /// Ends a pause.
    pub fn resume_all(&self) {
        self.inner.paused.send_replace(false);
    }

    pub(super) fn paused(&self) -> watch::Receiver<bool> {
        self.inner.paused.subscribe()
    }

    /// What happens to this request; uses up one of the fault's times.
    pub(super) fn decide(&self, request: &RequestInfo) -> Option<FaultAction> {
        let is_watch = request.verb == Verb::Watch;
        let mut faults = self.faults();
        let position = faults
            .iter()
            .position(|fault| (is_watch || !fault.action.is_for_watches()) && fault.matcher.matches(request));
        if let Some(index) = position {
            let action = faults[index].action.clone();
            if let Some(times) = &mut faults[index].times {
                *times -= 1;
                if *times == 0 {
                    faults.remove(index);
                }
            }
            return Some(action);
        }
        drop(faults);
        let hook = lock(&self.inner.hook).clone();
        hook.and_then(|hook| hook(request))
    }

    /// Registers a running watch; it unregisters when the guard is dropped.
    pub(super) fn register(
        &self,
        request: Arc<RequestInfo>,
    ) -> (WatchGuard, mpsc::UnboundedReceiver<WatchEnd>) {
        let (end, ends) = mpsc::unbounded_channel();
        let id = self.inner.next_watch.fetch_add(1, Ordering::Relaxed);
        lock(&self.inner.watches).push(Running { id, request, end });
        (WatchGuard { faults: self.clone(), id }, ends)
    }
}

/// Keeps a watch registered while it runs.
pub(super) struct WatchGuard {
    faults: Faults,
    id: u64,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        lock(&self.faults.inner.watches).retain(|running| running.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: Verb, resource: &str) -> RequestInfo {
        RequestInfo { verb, resource: resource.to_owned(), is_resource: true, ..RequestInfo::default() }
    }

    #[test]
    fn a_fault_hits_as_often_as_it_says_and_only_what_matches() {
        let faults = Faults::default();
        faults.inject(Fault {
            matcher: Matcher::new(Verb::Patch, "nodes"),
            times: Some(2),
            action: FaultAction::Drop,
        });
        assert_eq!(faults.decide(&request(Verb::Get, "nodes")), None);
        assert_eq!(faults.decide(&request(Verb::Patch, "nodes")), Some(FaultAction::Drop));
        assert_eq!(faults.decide(&request(Verb::Patch, "nodes")), Some(FaultAction::Drop));
        assert_eq!(faults.decide(&request(Verb::Patch, "nodes")), None);
    }

    #[test]
    fn a_running_watch_uses_up_a_cut() {
        let faults = Faults::default();
        let (_guard, mut ends) = faults.register(Arc::new(request(Verb::Watch, "pods")));
        faults.inject(Fault { matcher: Matcher::default(), times: Some(1), action: FaultAction::CutWatch });
        assert_eq!(ends.try_recv(), Ok(WatchEnd::Cut));
        assert_eq!(faults.decide(&request(Verb::Watch, "pods")), None);
    }
}
