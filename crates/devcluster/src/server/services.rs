//! What stands for Services: there is no network behind them here, so whoever answers for one says where it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::config::ServicePort;

/// The endpoints of Services, for webhooks that are named by their Service. Copies share them.
#[derive(Clone, Debug, Default)]
pub struct Services(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    endpoints: RwLock<BTreeMap<ServicePort, Vec<(usize, SocketAddr)>>>,
    counter: AtomicUsize,
}

/// An endpoint for as long as this exists.
#[derive(Debug)]
#[must_use = "the endpoint is gone when this is dropped"]
pub struct Endpoint {
    services: Services,
    port: ServicePort,
    serial: usize,
}

impl Services {
    /// Says that a server at this address answers for a port of a Service. The Service itself has to be there, too.
    pub fn register(&self, port: ServicePort, address: SocketAddr) -> Endpoint {
        let serial = self.0.counter.fetch_add(1, Ordering::Relaxed);
        let mut endpoints = self.0.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        endpoints.entry(port.clone()).or_default().push((serial, address));
        drop(endpoints);
        Endpoint { services: self.clone(), port, serial }
    }

    /// One of the endpoints, by turns.
    pub(super) fn pick(&self, port: &ServicePort) -> Option<SocketAddr> {
        let endpoints = self.0.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        let all = endpoints.get(port).filter(|all| !all.is_empty())?;
        let turn = self.0.counter.fetch_add(1, Ordering::Relaxed);
        all.get(turn % all.len()).map(|(_, address)| *address)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let mut endpoints = self.services.0.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = endpoints.get_mut(&self.port) {
            all.retain(|(serial, _)| *serial != self.serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_take_turns_and_leave() {
        let services = Services::default();
        let port = ServicePort { namespace: "n".into(), name: "s".into(), port: 443 };
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(services.pick(&port), None);
        let one = services.register(port.clone(), at(1));
        let two = services.register(port.clone(), at(2));
        let picked: std::collections::BTreeSet<_> = (0..4).filter_map(|_| services.pick(&port)).collect();
        assert_eq!(picked.len(), 2);
        drop(one);
        assert_eq!(services.pick(&port), Some(at(2)));
        assert_eq!(services.pick(&ServicePort { port: 80, ..port.clone() }), None);
        drop(two);
        assert_eq!(services.pick(&port), None);
    }
}
