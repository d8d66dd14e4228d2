//! Keeps a [`Store`] up to date from a watch that may break, be refused, or be about a kind that does not exist.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use kube::api::Api;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use super::store::Store;

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Feeds `store` for ever.
pub async fn feed<K>(client: Client, store: Arc<Store<K>>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let stream = watcher(Api::<K>::all(client), watcher::Config::default());
    pin_mut!(stream);
    let mut listed = Vec::new();
    let mut mark = 0;
    let mut backoff = FIRST_BACKOFF;
    while let Some(event) = stream.next().await {
        // The beginning of a try is no success yet.
        if event.as_ref().is_ok_and(|event| !matches!(event, Event::Init)) {
            backoff = FIRST_BACKOFF;
        }
        match event {
            Ok(Event::Init) => {
                listed.clear();
                mark = store.mark();
            }
            Ok(Event::InitApply(object)) => listed.push(object),
            Ok(Event::InitDone) => store.replace(std::mem::take(&mut listed), mark),
            Ok(Event::Apply(object)) => store.apply(object),
            Ok(Event::Delete(object)) => store.remove(&object),
            Err(error) => {
                if kind_is_missing(&error) {
                    // A cluster without this kind has no objects of it; it may come later.
                    debug!(kind = %K::kind(&()), "the cluster does not serve this kind");
                    store.replace(Vec::new(), store.mark());
                } else {
                    warn!(kind = %K::kind(&()), %error, "watch failed, will try again");
                }
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(LONGEST_BACKOFF);
            }
        }
    }
}

fn kind_is_missing(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}
