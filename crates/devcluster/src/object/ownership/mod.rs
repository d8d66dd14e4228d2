//! Field ownership: server-side apply, and `metadata.managedFields` for all other writes.
//!
//! The rules are those of a Kubernetes API server, with these limits: a topology never changes under an object that
//! exists (a list that turns from atomic into keyed keeps its old entries), updaters beyond ten are not merged into
//! `ancient-changes`, and `kubectl`'s last-applied annotation is not taken over.

mod apply;
mod compare;
mod extract;
mod field_set;
mod fields_v1;
mod managers;
mod merge;
mod root;
mod shape;
mod update;

#[cfg(test)]
mod tests;

pub use apply::apply;
pub use update::update;

use std::fmt;

/// One field that another manager owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager's name.
    pub manager: String,
    /// The field as the server prints it, as `.spec.replicas` or `.spec.containers[name="a"].image`: the `field` of the
    /// status cause.
    pub path: String,
    /// The manager as the server prints it, as `"kubectl-edit" using v1`.
    pub description: String,
}

impl Conflict {
    /// The message of the status cause, as `conflict with "kubectl-edit" using v1`.
    pub fn message(&self) -> String {
        format!("conflict with {}", self.description)
    }
}

/// Why an apply was refused. Its text is the message of the API status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyError {
    /// Others own some of the fields with other values: 409, one status cause `FieldManagerConflict` each.
    Conflicts(Vec<Conflict>),
    /// The configuration cannot be applied to anything of its kind: 400, or 500 where the server says so.
    Invalid(String),
}

impl std::error::Error for ApplyError {}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(message) => f.write_str(message),
            Self::Conflicts(conflicts) => match conflicts.as_slice() {
                [one] => write!(f, "Apply failed with 1 conflict: {}: {}", one.message(), one.path),
                many => {
                    write!(f, "Apply failed with {} conflicts: ", many.len())?;
                    let mut last = None;
                    for (i, conflict) in many.iter().enumerate() {
                        if last != Some(&conflict.description) {
                            let separator = if i > 0 { "\n" } else { "" };
                            write!(f, "{separator}conflicts with {}:", conflict.description)?;
                            last = Some(&conflict.description);
                        }
                        write!(f, "\n- {}", conflict.path)?;
                    }
                    Ok(())
                }
            },
        }
    }
}
