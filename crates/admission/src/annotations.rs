//! Annotations that an object is given.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

/// What gives an object those of the annotations that it does not have: what a person wrote stays, an empty text, too.
pub fn missing(
    metadata: &ObjectMeta,
    wanted: impl IntoIterator<Item = (&'static str, String)>,
) -> Vec<PatchOperation> {
    let there = metadata.annotations.as_ref();
    let missing = wanted
        .into_iter()
        .filter(|(name, _)| there.is_none_or(|annotations| !annotations.contains_key(*name)));
    let add = |tokens: &[&str], value| {
        PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(tokens.iter().copied()), value })
    };
    if there.is_some() {
        return missing.map(|(name, value)| add(&["metadata", "annotations", name], value.into())).collect();
    }
    let all: Map<_, _> = missing.map(|(name, value)| (name.to_owned(), value.into())).collect();
    if all.is_empty() { Vec::new() } else { vec![add(&["metadata", "annotations"], Value::Object(all))] }
}
