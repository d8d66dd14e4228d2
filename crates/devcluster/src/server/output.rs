//! From an answer to bytes, in the form that the client asked for.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use serde_json::{Value, json};

use super::call::{Call, Content, Listing, Reply};
use super::registry::Resource;
use super::status::ApiError;
use super::table::{self, Include};
use super::watch::{Event, EventStream};

/// Body of an answer.
pub type ResponseBody = UnsyncBoxBody<Bytes, Infallible>;

/// How objects are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Object,
    /// As rows for a person.
    Table,
    /// Only their metadata.
    Metadata,
}

/// The form a client accepts first.
pub fn form(headers: &HeaderMap) -> Result<Form, ApiError> {
    let Some(accept) = headers.get(ACCEPT).and_then(|v| v.to_str().ok()) else { return Ok(Form::Object) };
    for entry in accept.split(',') {
        let mut parts = entry.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        if !matches!(media_type, "application/json" | "*/*" | "application/*" | "") {
            continue;
        }
        match parts.find_map(|p| p.strip_prefix("as=")) {
            None => return Ok(Form::Object),
            Some("Table") => return Ok(Form::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Form::Metadata),
            Some(_) => {}
        }
    }
    Err(ApiError::not_acceptable("application/json"))
}

/// A complete answer with a body of bytes.
pub fn bytes(code: u16, media_type: &str, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = HeaderValue::from_str(media_type) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// JSON.
pub fn json(code: u16, value: &impl Serialize) -> Response<ResponseBody> {
    bytes(code, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

/// The answer where no API is served.
pub fn no_page() -> Response<ResponseBody> {
    bytes(404, "text/plain; charset=utf-8", "404 page not found\n")
}

/// A refusal.
pub fn error(error: &ApiError) -> Response<ResponseBody> {
    let mut response = json(error.code, &error.to_value());
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An answer in the form asked for.
pub fn render(call: &Call, reply: Reply, form: Form) -> Response<ResponseBody> {
    let Reply { code, content, warnings } = reply;
    let include = Include::of(&call.info);
    let now = call.state.clock.now();
    let resource = &call.resource;
    let mut response = match (content, form) {
        (Content::Json(value), _) => json(code, &value),
        (Content::Raw(media_type, body), _) => bytes(code, media_type, body),
        (Content::Object(object), Form::Object) => json(code, &*object),
        (Content::Object(object), Form::Metadata) => json(code, &metadata_only(&object)),
        (Content::Object(object), Form::Table) => {
            let meta = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
            json(code, &table::render(resource, &[object], &meta, include, now, true))
        }
        (Content::List(listing), form) => {
            let meta = list_meta(&listing);
            match form {
                Form::Object => json(code, &whole_list(resource, &listing, meta)),
                Form::Metadata => json(code, &metadata_list(&listing, &meta)),
                Form::Table => {
                    json(code, &table::render(resource, &listing.items, &meta, include, now, true))
                }
            }
        }
        (Content::Watch(watching), form) => stream(call, watching.stream, form, include),
    };
    warn(&mut response, &warnings);
    response
}

/// Adds sentences for the person at the client.
pub fn warn(response: &mut Response<ResponseBody>, warnings: &[String]) {
    for warning in warnings {
        let text = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

fn list_meta(listing: &Listing) -> Value {
    let mut meta = json!({ "resourceVersion": listing.revision.to_string() });
    if let Some(token) = &listing.token {
        meta["continue"] = json!(token);
    }
    if let Some(remaining) = listing.remaining {
        meta["remainingItemCount"] = json!(remaining);
    }
    meta
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    kind: &'a str,
    api_version: String,
    metadata: Value,
    items: Vec<Item<'a>>,
}

/// One object of a list. Those of built-in kinds do not repeat their kind and version.
enum Item<'a> {
    Whole(&'a Value),
    Untyped(&'a Value),
}

impl Serialize for Item<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(object) => object.serialize(serializer),
            Self::Untyped(object) => {
                let fields = object.as_object().into_iter().flatten();
                serializer
                    .collect_map(fields.filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind")))
            }
        }
    }
}

fn whole_list<'a>(resource: &'a Resource, listing: &'a Listing, mut metadata: Value) -> List<'a> {
    if resource.is_custom() && metadata["continue"].is_null() {
        // As the real server prints lists of what has no Go type.
        metadata["continue"] = json!("");
    }
    List {
        kind: &resource.list_kind,
        api_version: resource.api_version(),
        metadata,
        items: listing
            .items
            .iter()
            .map(|item| if resource.is_custom() { Item::Whole(item) } else { Item::Untyped(item) })
            .collect(),
    }
}

/// An object reduced to its metadata.
pub fn metadata_only(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
    })
}

fn metadata_list(listing: &Listing, meta: &Value) -> Value {
    let items: Vec<Value> = listing.items.iter().map(|item| metadata_only(item)).collect();
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "items": items,
    })
}

fn stream(call: &Call, events: EventStream, form: Form, include: Include) -> Response<ResponseBody> {
    let (resource, state) = (call.resource.clone(), call.state.clone());
    let mut first = true;
    let frames = events.map(move |event| {
        let line = line(&resource, &event, form, include, state.clock.now(), first);
        first = false;
        Ok(Frame::data(Bytes::from(line)))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    object: &'a Value,
}

fn line(
    resource: &Resource,
    event: &Event,
    form: Form,
    include: Include,
    now: jiff::Timestamp,
    first: bool,
) -> Vec<u8> {
    let bookmark;
    let (kind, object): (_, &Arc<Value>) = match event {
        Event::Added(object) => ("ADDED", object),
        Event::Modified(object) => ("MODIFIED", object),
        Event::Deleted(object) => ("DELETED", object),
        Event::Bookmark(revision, end) => {
            bookmark = Arc::new(bookmark_object(resource, *revision, *end));
            ("BOOKMARK", &bookmark)
        }
        Event::Error(status) => return written("ERROR", status),
    };
    match form {
        Form::Object => written(kind, object),
        Form::Metadata => written(kind, &metadata_only(object)),
        Form::Table => {
            let meta = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
            let objects = if kind == "BOOKMARK" { &[][..] } else { std::slice::from_ref(object) };
            written(kind, &table::render(resource, objects, &meta, include, now, first))
        }
    }
}

fn written(kind: &'static str, object: &Value) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Line { kind, object }).unwrap_or_default();
    line.push(b'\n');
    line
}

fn bookmark_object(resource: &Resource, revision: u64, end: bool) -> Value {
    let mut object = json!({
        "kind": resource.kind,
        "apiVersion": resource.api_version(),
        "metadata": { "resourceVersion": revision.to_string(), "creationTimestamp": null },
    });
    if end {
        object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &'static str) -> Result<Form, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        form(&headers)
    }

    #[test]
    fn the_first_form_that_is_offered_wins() {
        assert_eq!(
            accepted("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
            Ok(Form::Table)
        );
        assert_eq!(accepted("application/vnd.kubernetes.protobuf,application/json"), Ok(Form::Object));
        assert_eq!(
            accepted("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
            Ok(Form::Metadata)
        );
        assert_eq!(accepted("application/vnd.kubernetes.protobuf").unwrap_err().code, 406);
    }
}
