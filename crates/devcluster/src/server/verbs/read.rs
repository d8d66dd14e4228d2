//! GET of one object, lists and watches.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::server::call::{Call, Content, Listing, Reply, Watching};
use crate::server::select::Selection;
use crate::server::status::{ApiError, Cause};
use crate::server::store::Key;
use crate::server::{convert, watch};

const INCONSISTENT: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// GET of one object.
pub fn get(call: &Call) -> Result<Reply, ApiError> {
    version(call)?;
    let object = call.stored()?;
    Ok(Reply::object(200, convert::seen(&call.resource, &object)))
}

/// Position from which a list goes on.
struct Token {
    /// Revision of the list; -1 for "whatever is there now".
    revision: i64,
    /// Last key already sent.
    start: Key,
}

impl Token {
    fn write(&self) -> String {
        let start = format!("{}/{}\0", self.start.namespace, self.start.name);
        let text = json!({ "v": "meta.k8s.io/v1", "rv": self.revision, "start": start }).to_string();
        URL_SAFE_NO_PAD.encode(text)
    }

    fn read(token: &str) -> Result<Self, ApiError> {
        let parse = || {
            let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
            let value: Value = serde_json::from_slice(&bytes).ok()?;
            let start = value["start"].as_str()?.trim_end_matches('\0');
            let (namespace, name) = start.split_once('/')?;
            Some(Self { revision: value["rv"].as_i64()?, start: Key::new(namespace, name) })
        };
        parse().ok_or_else(|| ApiError::bad_request("continue key is not valid: invalid encoding"))
    }
}

/// A resource version given by a client.
pub fn version(call: &Call) -> Result<Option<u64>, ApiError> {
    let Some(text) = call.info.parameter("resourceVersion") else { return Ok(None) };
    let parsed = text.parse::<u64>().map_err(|_| {
        let why = format!("strconv.ParseUint: parsing \"{text}\": invalid syntax");
        ApiError::internal(why)
    })?;
    Ok(Some(parsed))
}

fn too_large(wanted: u64, present: u64) -> ApiError {
    let message = format!("Too large resource version: {wanted}, current: {present}");
    let mut error = ApiError::new(504, "Timeout", message);
    error.details = json!({ "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }] });
    error.retry_after = Some(1);
    error
}

fn check_match(call: &Call) -> Result<(), ApiError> {
    let refuse = |why: &str| {
        let cause = Cause::forbidden("resourceVersionMatch", why);
        Err(ApiError::invalid_kind("meta.k8s.io", "ListOptions", "", &[cause]))
    };
    let Some(wanted) = call.info.parameter("resourceVersionMatch") else { return Ok(()) };
    if call.info.parameter("resourceVersion").is_none() {
        return refuse("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if call.info.parameter("continue").is_some() {
        return refuse("resourceVersionMatch is forbidden when continue is provided");
    }
    match wanted {
        "Exact" if call.info.parameter("resourceVersion") == Some("0") => {
            refuse("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        "Exact" | "NotOlderThan" => Ok(()),
        other => {
            let supported = ["Exact", "NotOlderThan", ""];
            let cause = Cause::unsupported("resourceVersionMatch", &other.into(), &supported);
            Err(ApiError::invalid_kind("meta.k8s.io", "ListOptions", "", &[cause]))
        }
    }
}

/// GET of many objects.
pub fn list(call: &Call) -> Result<Reply, ApiError> {
    let selection = Selection::read(&call.resource, &call.info)?;
    check_match(call)?;
    let limit = limit(call)?;
    let (objects, revision, start) = snapshot(call)?;
    let mut rest = objects
        .iter()
        .map(|object| convert::seen(&call.resource, object))
        .filter(|object| selection.matches(object))
        .skip_while(|object| start.as_ref().is_some_and(|start| Key::of(object) <= *start));
    let items: Vec<Arc<Value>> = match limit {
        Some(limit) => rest.by_ref().take(limit).collect(),
        None => rest.by_ref().collect(),
    };
    let remaining = rest.count();
    let token = items.last().filter(|_| remaining > 0).map(|last| {
        let revision = i64::try_from(revision).unwrap_or(i64::MAX);
        Token { revision, start: Key::of(last) }.write()
    });
    let remaining = Some(remaining).filter(|count| *count > 0 && selection.is_all());
    let listing = Listing { items, revision, token, remaining };
    Ok(Reply { code: 200, content: Content::List(listing), warnings: Vec::new() })
}

fn limit(call: &Call) -> Result<Option<usize>, ApiError> {
    let Some(text) = call.info.parameter("limit") else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(limit) => Ok(usize::try_from(limit).ok().filter(|limit| *limit > 0)),
        Err(_) => Err(ApiError::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))),
    }
}

/// The objects to choose from, their revision, and the last key already sent.
type Snapshot = (Vec<Arc<Value>>, u64, Option<Key>);

fn snapshot(call: &Call) -> Result<Snapshot, ApiError> {
    let (store, collection) = (&call.state.store, &call.resource.collection);
    let namespace = &call.info.namespace;
    let now = || store.list(collection, namespace);
    if let Some(token) = call.info.parameter("continue") {
        let token = Token::read(token)?;
        let Ok(revision) = u64::try_from(token.revision) else {
            let (objects, revision) = now();
            return Ok((objects, revision, Some(token.start)));
        };
        if call.info.parameter("resourceVersion").is_some_and(|v| v != "0") {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let objects = store.list_at(collection, namespace, revision).map_err(|_| {
            let mut error = ApiError::expired(INCONSISTENT);
            error.continue_token = Some(Token { revision: -1, start: token.start.clone() }.write());
            error
        })?;
        return Ok((objects, revision, Some(token.start)));
    }
    let wanted = version(call)?.unwrap_or(0);
    let (objects, revision) = now();
    if wanted > revision {
        return Err(too_large(wanted, revision));
    }
    if wanted > 0 && call.info.parameter("resourceVersionMatch") == Some("Exact") {
        let objects = store
            .list_at(collection, namespace, wanted)
            .map_err(|_| ApiError::expired("The resourceVersion for the provided list is too old."))?;
        return Ok((objects, wanted, None));
    }
    Ok((objects, revision, None))
}

/// A stream of changes.
pub fn watch(call: &Call) -> Result<Reply, ApiError> {
    let selection = Selection::read(&call.resource, &call.info)?;
    let initial = call.info.parameter("sendInitialEvents");
    let matching = call.info.parameter("resourceVersionMatch");
    let refuse = |field: &str, why: &str| {
        let cause = Cause::forbidden(field, why);
        Err(ApiError::invalid_kind("meta.k8s.io", "ListOptions", "", &[cause]))
    };
    if initial.is_some() && matching != Some("NotOlderThan") {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return refuse("resourceVersionMatch", why);
    }
    if initial.is_none() && matching.is_some() {
        return refuse(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        );
    }
    let options = watch::Options {
        selection,
        since: version(call)?.filter(|version| *version > 0),
        initial: initial.map(|v| v == "true"),
        bookmarks: call.info.flag("allowWatchBookmarks"),
        timeout: call.info.parameter("timeoutSeconds").and_then(|t| t.parse().ok()),
        name: Some(call.info.name.clone()).filter(|name| !name.is_empty()),
    };
    let stream = watch::stream(call, options);
    Ok(Reply { code: 200, content: Content::Watch(Box::new(Watching { stream })), warnings: Vec::new() })
}
