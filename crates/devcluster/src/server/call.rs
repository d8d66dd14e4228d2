//! What every verb works with: the server's state, one request and its answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::admission::conditions::Expressions;
use super::builtin_schema::BuiltinSchemas;
use super::config::{ServicePort, VersionInfo};
use super::faults::{Faults, Matcher, WatchEnd};
use super::registry::{Registry, Resource, builtins};
use super::request_log::RequestLog;
use super::route::RequestInfo;
use super::services::Services;
use super::status::ApiError;
use super::store::{Feed, Key, Store};
use crate::Clock;

/// Collection of CustomResourceDefinitions.
pub const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";
/// Collection of namespaces.
pub const NAMESPACES: &str = "/namespaces";
/// Collection of pods.
pub const PODS: &str = "/pods";

/// Everything a running server consists of.
pub struct State {
    pub clock: Clock,
    pub version: VersionInfo,
    pub token: Option<String>,
    pub store: Store,
    pub faults: Faults,
    pub requests: RequestLog,
    pub schemas: BuiltinSchemas,
    /// Where services are.
    pub services: BTreeMap<ServicePort, SocketAddr>,
    /// Where others say that services are.
    pub endpoints: Services,
    /// Conditions of webhooks.
    pub expressions: Expressions,
    pub shutdown: CancellationToken,
    /// Held while objects are loaded: an owner may come after what it owns.
    pub loading: Mutex<()>,
    /// Held while a disruption budget is weighed and spent.
    pub evicting: Mutex<()>,
    builtins: Vec<Arc<Resource>>,
    registry: RwLock<Arc<Registry>>,
}

impl State {
    pub fn new(config: &super::ServerConfig) -> (Self, tokio::sync::mpsc::UnboundedReceiver<Feed>) {
        let (store, feed) = Store::new(config.watch_history);
        let builtins = builtins();
        let registry = Registry::new(&builtins, std::iter::empty());
        let state = Self {
            clock: config.clock.clone(),
            version: config.version.clone(),
            token: config.token.clone(),
            store,
            faults: Faults::default(),
            requests: RequestLog::default(),
            schemas: BuiltinSchemas::default(),
            services: config.services.clone(),
            endpoints: config.endpoints.clone(),
            expressions: Expressions::default(),
            shutdown: CancellationToken::new(),
            loading: Mutex::default(),
            evicting: Mutex::default(),
            builtins,
            registry: RwLock::new(Arc::new(registry)),
        };
        (state, feed)
    }

    /// What is served now.
    pub fn registry(&self) -> Arc<Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the CustomResourceDefinitions again.
    pub fn refresh_registry(&self) {
        // Under the lock, so that two changes cannot overtake each other.
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        let (definitions, _) = self.store.list(DEFINITIONS, "");
        let next = Arc::new(Registry::new(&self.builtins, definitions.iter().map(|d| &**d)));
        let before = std::mem::replace(&mut *registry, next.clone());
        drop(registry);
        for gone in before.all().filter(|r| next.find(&r.group, &r.version, &r.plural).is_none()) {
            self.end_watches_of(gone);
        }
    }

    /// What is no longer served is no longer watched.
    fn end_watches_of(&self, resource: &Resource) {
        let version = resource.version.clone();
        let matcher = Matcher {
            group: Some(resource.group.clone()),
            resource: Some(resource.plural.clone()),
            condition: Some(Arc::new(move |request| request.version == version)),
            ..Matcher::default()
        };
        self.faults.end_watches(&matcher, WatchEnd::Finish, None);
    }

    /// The simulated time as the API writes it: whole seconds.
    pub fn now(&self) -> String {
        self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}

/// One request for a resource, on its way.
pub struct Call {
    pub state: Arc<State>,
    pub info: Arc<RequestInfo>,
    pub resource: Arc<Resource>,
    pub registry: Arc<Registry>,
    pub warnings: Warnings,
}

/// What webhooks have to say to the client, whatever becomes of its request.
#[derive(Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Adds a sentence, once.
    pub fn add(&self, warning: String) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !list.contains(&warning) {
            list.push(warning);
        }
    }

    /// All of them.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Call {
    /// Key of the object that the path names.
    pub fn key(&self) -> Key {
        Key::new(&self.info.namespace, &self.info.name)
    }

    /// The stored object that the path names.
    pub fn stored(&self) -> Result<Arc<Value>, ApiError> {
        self.state
            .store
            .get(&self.resource.collection, &self.key())
            .ok_or_else(|| ApiError::not_found(&self.resource, &self.info.name))
    }

    /// The same request for another resource, to reuse its verbs.
    pub fn with_resource(&self, resource: Arc<Resource>) -> Self {
        Self {
            state: self.state.clone(),
            info: self.info.clone(),
            resource,
            registry: self.registry.clone(),
            warnings: self.warnings.clone(),
        }
    }
}

/// A list before it is rendered.
pub struct Listing {
    pub items: Vec<Arc<Value>>,
    pub revision: u64,
    pub token: Option<String>,
    pub remaining: Option<usize>,
}

/// A watch before it is rendered.
pub struct Watching {
    pub stream: super::watch::EventStream,
}

/// The answer's content.
pub enum Content {
    /// One object of the resource.
    Object(Arc<Value>),
    /// Many of them.
    List(Listing),
    /// Changes of them.
    Watch(Box<Watching>),
    /// JSON that is rendered as it is.
    Json(Value),
    /// Bytes with their media type.
    Raw(&'static str, Bytes),
}

/// The answer to a request.
pub struct Reply {
    pub code: u16,
    pub content: Content,
    pub warnings: Vec<String>,
}

impl Reply {
    pub fn object(code: u16, object: Arc<Value>) -> Self {
        Self { code, content: Content::Object(object), warnings: Vec::new() }
    }

    pub fn json(code: u16, value: Value) -> Self {
        Self { code, content: Content::Json(value), warnings: Vec::new() }
    }

    pub fn text(text: &'static str) -> Self {
        Self {
            code: 200,
            content: Content::Raw("text/plain", Bytes::from_static(text.as_bytes())),
            warnings: Vec::new(),
        }
    }

    /// A `Status` that reports success.
    pub fn success(code: u16) -> Self {
        Self::json(
            code,
            json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code }),
        )
    }

    pub fn warn(mut self, warnings: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self
    }
}
