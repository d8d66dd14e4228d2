//! What is tried, subject by subject.

mod apply;
mod apply_lists;
mod creation;
mod deletion;
mod garbage;
mod lists;
mod objects;
mod patches;
mod status;
mod updates;
mod validation;
mod webhooks;

use super::case::Subject;

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
        Subject::new("webhooks", webhooks::cases()),
    ]
}
