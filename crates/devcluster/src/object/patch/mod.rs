//! JSON patch, merge patch and strategic merge patch.

mod strategic;

use super::topology::Topology;
use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::Value;

/// Why a patch could not be applied. Its text is the message of the API status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is not of the right shape: 400 `BadRequest`.
    #[error("{0}")]
    Malformed(String),
    /// It is well formed but does not fit the object: 422 `Invalid`.
    #[error("{0}")]
    Unprocessable(String),
}

/// Applies a JSON patch (RFC 6902). Either all operations apply or none does.
pub fn json(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations: Vec<PatchOperation> = serde_json::from_value(patch.clone()).map_err(|e| {
        let why = format!("error decoding patch: {e}");
        // A list of objects is a patch, whatever they say.
        let is_list = patch.as_array().is_some_and(|list| list.iter().all(Value::is_object));
        if is_list { PatchError::Unprocessable(why) } else { PatchError::Malformed(why) }
    })?;
    let mut patched = target.clone();
    json_patch::patch(&mut patched, &operations).map_err(|e| {
        let operation = operations.get(e.operation).map_or("patch", name);
        PatchError::Unprocessable(match e.kind {
            PatchErrorKind::TestFailed => format!("testing value {} failed: test failed", e.path),
            kind => {
                format!("{operation} operation does not apply: doc is missing path: \"{}\": {kind}", e.path)
            }
        })
    })?;
    Ok(patched)
}

fn name(operation: &PatchOperation) -> &'static str {
    match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    }
}

/// Applies a merge patch (RFC 7386).
pub fn merge(target: &Value, patch: &Value) -> Value {
    let mut merged = target.clone();
    json_patch::merge(&mut merged, patch);
    merged
}

/// Applies a strategic merge patch: lists merge as the topology says, and the directives `$patch`, `$retainKeys`,
/// `$setElementOrder/<list>` and `$deleteFromPrimitiveList/<list>` are obeyed.
pub fn strategic(target: &Value, patch: &Value, t: &Topology) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::Malformed("a strategic merge patch must be an object".to_owned()));
    };
    let mut patched = target.as_object().cloned().unwrap_or_default();
    strategic::merge(&mut patched, patch, t.root())?;
    Ok(Value::Object(patched))
}

#[cfg(test)]
mod tests;
