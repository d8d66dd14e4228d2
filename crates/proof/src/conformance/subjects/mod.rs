//! What is tried, subject by subject.

mod creation;
mod objects;
mod updates;
mod webhooks;

use super::case::Subject;

/// Every subject, in the order of the report.
pub fn all() -> Vec<Subject> {
    vec![
        Subject::new("creation", creation::cases()),
        Subject::new("updates", updates::cases()),
        Subject::new("webhooks", webhooks::cases()),
    ]
}
