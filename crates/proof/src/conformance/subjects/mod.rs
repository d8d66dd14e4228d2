//! What is tried, subject by subject.

mod apply;
mod apply_lists;
mod creation;
mod definitions;
mod deletion;
mod discovery;
mod dry_run;
mod garbage;
mod lists;
mod namespaces;
pub mod objects;
mod patches;
mod schemas;
mod status;
mod tables;
mod updates;
mod validation;
mod watches;
mod webhooks;

use super::case::Subject;
use super::{kubectl, python};

/// Every subject, in the order of the report.
pub fn all() -> Vec<Subject> {
    vec![
        Subject::new("creation", creation::cases()),
        Subject::new("updates", updates::cases()),
        Subject::new("validation", validation::cases()),
        Subject::new("patches", patches::cases()),
        Subject::new("apply", apply::cases()),
        Subject::new("apply lists", apply_lists::cases()),
        Subject::new("status", status::cases()),
        Subject::new("deletion", deletion::cases()),
        Subject::new("garbage collection", garbage::cases()),
        Subject::new("lists", lists::cases()),
        Subject::new("watches", watches::cases()),
        Subject::new("namespaces", namespaces::cases()),
        Subject::new("definitions", definitions::cases()),
        Subject::new("schemas", schemas::cases()),
        Subject::new("tables", tables::cases()),
        Subject::new("dry run", dry_run::cases()),
        Subject::new("discovery", discovery::cases()),
        Subject::new("webhooks", webhooks::cases()),
        Subject::new("kubectl", kubectl::cases()),
        Subject::new("python", python::cases()),
    ]
}
