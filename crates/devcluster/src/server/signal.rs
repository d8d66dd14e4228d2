//! A value that others wait for.
//!
//! Like tokio's watch channel, but those who wait wake up in the order in which they came: that one wakes them in a
//! random order, and a simulation would not repeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Cheap to clone; clones share the value. It begins as 0.
#[derive(Clone, Debug, Default)]
pub struct Signal {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    value: AtomicU64,
    changed: Notify,
}

impl Signal {
    /// The value.
    pub fn get(&self) -> u64 {
        self.inner.value.load(Ordering::Acquire)
    }

    /// Sets the value and wakes everyone who waits.
    pub fn set(&self, value: u64) {
        self.inner.value.store(value, Ordering::Release);
        self.inner.changed.notify_waiters();
    }

    /// Waits until the value is as wished, and tells it. At once if it is.
    pub async fn until(&self, wished: impl Fn(u64) -> bool) -> u64 {
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let value = self.get();
            if wished(value) {
                return value;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn everyone_wakes_in_the_order_of_coming() {
        let signal = Signal::default();
        let woken = Arc::new(Mutex::new(Vec::new()));
        let waiters: Vec<_> = (0..100)
            .map(|number| {
                let (signal, woken) = (signal.clone(), woken.clone());
                tokio::spawn(async move {
                    signal.until(|value| value == 7).await;
                    woken.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        signal.set(3);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(woken.lock().unwrap().is_empty());
        signal.set(7);
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), (0..100).collect::<Vec<_>>());
        assert_eq!(signal.until(|value| value > 6).await, 7);
    }
}
