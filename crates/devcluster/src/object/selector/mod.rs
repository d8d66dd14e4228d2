//! Label and field selectors, as the query parameters `labelSelector` and `fieldSelector` and as objects in a spec.

mod field;
mod label;
mod lexer;
mod names;

pub use field::FieldSelector;
pub use label::LabelSelector;
