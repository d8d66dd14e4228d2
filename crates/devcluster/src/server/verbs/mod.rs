//! What happens to a request for a resource.

pub mod create;
pub mod delete;
mod patch;
mod read;
mod reviews;
pub mod scale;
mod subresource;
pub mod write;

use super::body::Body;
use super::call::{Call, Reply};
use super::registry::Resource;
use super::route::Verb;
use super::status::{ApiError, Cause};

/// Handles one request for a resource.
pub async fn handle(call: &Call, body: &Body) -> Result<Reply, ApiError> {
    let verb = call.info.verb;
    check_dry_run(call)?;
    let offered = call.resource.verbs.contains(&verb.as_str());
    if !call.info.subresource.is_empty() {
        return subresource::handle(call, body).await;
    }
    if !offered {
        return Err(ApiError::method_not_allowed());
    }
    check_scope(&call.resource, call)?;
    match verb {
        Verb::Get => read::get(call),
        Verb::List => read::list(call),
        Verb::Watch => read::watch(call),
        Verb::Create if !call.info.name.is_empty() => Err(ApiError::method_not_allowed()),
        Verb::Create => create::create(call, body).await,
        Verb::Update => write::replace(call, body).await,
        Verb::Patch => patch::patch(call, body).await,
        Verb::Delete => delete::delete(call, body).await,
        Verb::DeleteCollection => delete::delete_collection(call, body).await,
    }
}

/// There is no dry run but a whole one.
fn check_dry_run(call: &Call) -> Result<(), ApiError> {
    let Some(asked) = call.info.parameter("dryRun").filter(|asked| *asked != "All") else { return Ok(()) };
    let options = match call.info.verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch => "PatchOptions",
        Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
        _ => return Ok(()),
    };
    let cause = Cause::unsupported("dryRun", &asked.into(), &["All"]);
    Err(ApiError::invalid_kind("meta.k8s.io", options, "", &[cause]))
}

/// Paths with a namespace are for namespaced resources, paths to one object without it for the others.
fn check_scope(resource: &Resource, call: &Call) -> Result<(), ApiError> {
    let info = &call.info;
    if !resource.namespaced && !info.namespace.is_empty() {
        return Err(ApiError::no_such_path());
    }
    if resource.namespaced && info.namespace.is_empty() {
        if !info.name.is_empty() {
            return Err(ApiError::no_such_path());
        }
        if info.verb.is_write() && resource.verbs != ["create"] {
            return Err(ApiError::method_not_allowed());
        }
    }
    Ok(())
}
