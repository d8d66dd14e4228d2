//! From method, path and query to what a request means.

use std::collections::HashMap;

use http::{HeaderMap, Method, header};

/// What a request wants to do with a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read one object.
    #[default]
    Get,
    /// Read many objects.
    List,
    /// Follow changes.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH, server-side apply included.
    Patch,
    /// Delete one object.
    Delete,
    /// Delete many objects.
    DeleteCollection,
}

impl Verb {
    /// The name used by RBAC rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether it changes objects.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// One request, taken apart.
#[derive(Clone, Debug, Default)]
pub struct RequestInfo {
    /// What it wants; meaningless for paths that are no resource (`/version`, discovery).
    pub verb: Verb,
    /// Whether the path addresses a resource.
    pub is_resource: bool,
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource name.
    pub resource: String,
    /// Subresource, empty for none.
    pub subresource: String,
    /// Namespace, empty for none.
    pub namespace: String,
    /// Object name, empty for collections.
    pub name: String,
    /// `User-Agent` header.
    pub user_agent: String,
    /// `fieldManager` parameter, or what the server derives from the user agent.
    pub field_manager: String,
    /// Whether `dryRun=All` was asked for.
    pub dry_run: bool,
    /// The path as sent.
    pub path: String,
    /// Query parameters, the first value of each.
    pub query: HashMap<String, String>,
}

impl RequestInfo {
    /// A query parameter, if it is present and not empty.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// Whether a boolean query parameter is on.
    pub fn flag(&self, name: &str) -> bool {
        self.query.get(name).is_some_and(|v| v != "false" && v != "0")
    }

    /// Takes a request apart. Never fails: what is no resource path is marked so.
    pub fn parse(method: &Method, uri: &http::Uri, headers: &HeaderMap) -> Self {
        let mut query = HashMap::new();
        for (key, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            query.entry(key.into_owned()).or_insert_with(|| value.into_owned());
        }
        let user_agent =
            headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let mut info = Self { query, path: uri.path().to_owned(), user_agent, ..Self::default() };
        info.dry_run = info.query.get("dryRun").is_some_and(|v| v == "All");
        info.field_manager = match info.parameter("fieldManager") {
            Some(manager) => manager.to_owned(),
            None => default_manager(&info.user_agent),
        };
        info.read_path();
        info.verb = info.verb_of(method);
        info
    }

    fn read_path(&mut self) {
        let path = self.path.clone();
        let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(decode).collect();
        let mut rest = match segments.as_slice() {
            [api, version, rest @ ..] if api == "api" && !rest.is_empty() => {
                self.version.clone_from(version);
                rest
            }
            [apis, group, version, rest @ ..] if apis == "apis" && !rest.is_empty() => {
                self.group.clone_from(group);
                self.version.clone_from(version);
                rest
            }
            _ => return,
        };
        self.is_resource = true;
        // The old watch prefix: /api/v1/watch/...
        if let [watch, tail @ ..] = rest
            && watch == "watch"
            && !tail.is_empty()
        {
            self.query.insert("watch".into(), "prefix".into());
            rest = tail;
        }
        // `namespaces/x/status` and `namespaces/x/finalize` are subresources of the namespace itself.
        if let [head, namespace, tail @ ..] = rest
            && head == "namespaces"
            && !tail.is_empty()
            && !(tail.len() == 1 && (tail[0] == "status" || tail[0] == "finalize"))
        {
            self.namespace.clone_from(namespace);
            rest = tail;
        }
        let mut parts = rest.iter();
        self.resource = parts.next().cloned().unwrap_or_default();
        self.name = parts.next().cloned().unwrap_or_default();
        self.subresource = parts.map(String::as_str).collect::<Vec<_>>().join("/");
    }

    fn verb_of(&self, method: &Method) -> Verb {
        let one = !self.name.is_empty();
        match *method {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE if one => Verb::Delete,
            Method::DELETE => Verb::DeleteCollection,
            // One object is watched below the prefix only; elsewhere the parameter means nothing for it.
            _ if one && self.query.get("watch").is_none_or(|watch| watch != "prefix") => Verb::Get,
            _ if self.is_resource && self.flag("watch") => Verb::Watch,
            _ if one || !self.is_resource => Verb::Get,
            _ => Verb::List,
        }
    }
}

fn decode(segment: &str) -> String {
    // A path segment is percent-encoded like a form value, but a plus sign in it is a plus sign.
    let escaped = segment.replace('+', "%2B");
    url::form_urlencoded::parse(format!("x={escaped}").as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// The real server takes the user agent up to the first slash, at most 128 bytes of it.
fn default_manager(user_agent: &str) -> String {
    let head = user_agent.split('/').next().unwrap_or_default();
    let manager: String = head.chars().filter(|c| !c.is_control()).take(128).collect();
    if manager.is_empty() { "unknown".to_owned() } else { manager }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &Method, uri: &str) -> RequestInfo {
        RequestInfo::parse(method, &uri.parse().unwrap(), &HeaderMap::new())
    }

    #[test]
    fn paths_of_all_shapes() {
        let info = parse(&Method::GET, "/api/v1/namespaces/a/pods/b/log?container=c");
        assert_eq!((info.namespace.as_str(), info.resource.as_str(), info.name.as_str()), ("a", "pods", "b"));
        assert_eq!(info.subresource, "log");
        let info = parse(&Method::PATCH, "/apis/apps/v1/namespaces/a/daemonsets/b/status");
        assert_eq!(
            (info.group.as_str(), info.version.as_str(), info.subresource.as_str()),
            ("apps", "v1", "status")
        );
        assert_eq!(info.verb, Verb::Patch);
        let info = parse(&Method::GET, "/api/v1/namespaces/a");
        assert_eq!((info.resource.as_str(), info.name.as_str()), ("namespaces", "a"));
        let info = parse(&Method::PUT, "/api/v1/namespaces/a/finalize");
        assert_eq!(
            (info.resource.as_str(), info.name.as_str(), info.subresource.as_str()),
            ("namespaces", "a", "finalize")
        );
        let info = parse(&Method::GET, "/api/v1/nodes?watch=true");
        assert_eq!(info.verb, Verb::Watch);
        let info = parse(&Method::DELETE, "/api/v1/namespaces/a/pods");
        assert_eq!(info.verb, Verb::DeleteCollection);
        assert!(!parse(&Method::GET, "/apis/apps/v1").is_resource);
        assert!(!parse(&Method::GET, "/version").is_resource);
    }

    #[test]
    fn the_manager_comes_from_the_user_agent_when_not_given() {
        assert_eq!(default_manager("kubectl/v1.32 (linux)"), "kubectl");
        assert_eq!(default_manager(""), "unknown");
    }
}
