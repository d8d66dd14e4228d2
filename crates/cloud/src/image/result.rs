//! What the operator reads from the job: one line of JSON, or why there is none.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

/// Kubernetes takes so much when it reads from the message's own file.
const MOST: usize = 2048;

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Its identifier.
    pub image: String,
    /// Annotations for `peer-pods-cm`.
    pub annotations: BTreeMap<String, String>,
    /// What it was made from.
    pub source: String,
    /// Whether this run made it; otherwise an earlier one did.
    pub made: bool,
}

/// An image that is not there any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// What was deleted; none: there was nothing.
    pub deleted: Option<String>,
}

/// Writes the message of the container. One that cannot be written is told and no more: the log has it, too.
pub fn write(path: &Path, text: &str) {
    if let Err(error) = std::fs::write(path, shorten(text)) {
        tracing::warn!("{} cannot be written: {error}", path.display());
    }
}

/// The end is what matters.
fn shorten(text: &str) -> &str {
    let mut from = text.len().saturating_sub(MOST);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_fits() {
        assert_eq!(shorten("short"), "short");
        let long = format!("{}end", "ä".repeat(3000));
        assert!(shorten(&long).len() <= MOST && shorten(&long).ends_with("äend"));
    }

    #[test]
    fn the_result_is_as_agreed() {
        let made = Made {
            image: "ami-1".to_owned(),
            annotations: BTreeMap::from([("LATEST_AMI_ID".to_owned(), "ami-1".to_owned())]),
            source: "sha256:0".to_owned(),
            made: true,
        };
        assert_eq!(
            serde_json::to_string(&made).unwrap(),
            r#"{"image":"ami-1","annotations":{"LATEST_AMI_ID":"ami-1"},"source":"sha256:0","made":true}"#
        );
    }
}
