//! Structural schemas, as the versions of a CustomResourceDefinition carry them (`openAPIV3Schema`).
//!
//! A write of a custom resource goes through [`Schema::prune`], [`Schema::default`] and [`Schema::validate`], in this
//! order. Type and object metadata at the root, and in embedded resources, belong to the server: they are never
//! pruned, and validated only in so far as an embedded resource must name its type.
//!
//! Not checked: `x-kubernetes-validations` (CEL rules; they are accepted and have no effect), `uniqueItems` beyond
//! equality of JSON values, and formats other than those in `format.rs`, which pass, as unknown formats do in the
//! server.

mod default;
mod format;
mod message;
mod parse;
mod prune;
mod validate;

#[cfg(test)]
mod tests;

use regex::Regex;
use serde_json::{Number, Value};
use std::collections::BTreeMap;

pub use message::FieldError;

/// A structural schema.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    root: SchemaNode,
}

impl Schema {
    /// Reads `openAPIV3Schema`. The paths of the errors start below it, as `properties[spec].type`.
    pub fn from_openapi(v: &Value) -> Result<Self, Vec<FieldError>> {
        parse::schema(v).map(|root| Self { root })
    }

    /// Every complaint about the object, in the order of its fields.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        validate::root(&self.root, object)
    }

    /// Fills in defaults. A `null` where the schema allows none counts as absent, and is dropped where there is no
    /// default.
    pub fn default(&self, object: &mut Value) {
        default::root(&self.root, object);
    }

    /// Drops fields that the schema does not know, and returns their paths, as `spec.foo` or `spec.list[0].foo`.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::root(&self.root, object)
    }

    /// Whether there is anything to fill in.
    pub fn has_defaults(&self) -> bool {
        default::is_anywhere(&self.root)
    }

    pub(super) fn root(&self) -> &SchemaNode {
        &self.root
    }
}

/// The schema of one value.
#[expect(clippy::struct_excessive_bools, reason = "each is a keyword of the schema language")]
#[derive(Debug, Clone, Default)]
pub(super) struct SchemaNode {
    kind: Option<Kind>,
    nullable: bool,
    pub(super) properties: BTreeMap<String, SchemaNode>,
    pub(super) additional: Additional,
    pub(super) items: Option<Box<SchemaNode>>,
    pub(super) default: Option<Value>,
    pub(super) preserve_unknown: bool,
    pub(super) int_or_string: bool,
    pub(super) embedded: bool,
    pub(super) list_type: ListType,
    pub(super) atomic_map: bool,
    rules: Rules,
}

impl SchemaNode {
    /// Whether it describes objects, of which it knows the fields.
    pub(super) fn is_object(&self) -> bool {
        self.kind == Some(Kind::Object)
    }
}

/// What a schema demands of a value beyond its type.
#[derive(Debug, Clone, Default)]
struct Rules {
    required: Vec<String>,
    allowed: Option<Vec<Value>>,
    minimum: Option<Bound>,
    maximum: Option<Bound>,
    multiple_of: Option<Number>,
    length: Range,
    pattern: Option<Regex>,
    format: Option<String>,
    item_count: Range,
    unique_items: bool,
    property_count: Range,
    all_of: Vec<SchemaNode>,
    any_of: Vec<SchemaNode>,
    one_of: Vec<SchemaNode>,
    not: Option<Box<SchemaNode>>,
}

/// A limit of a number.
#[derive(Debug, Clone)]
struct Bound {
    limit: Number,
    exclusive: bool,
}

/// Limits of a count, both inclusive.
#[derive(Debug, Clone, Copy, Default)]
struct Range {
    min: Option<u64>,
    max: Option<u64>,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// What an object may hold besides its properties.
#[derive(Debug, Clone, Default)]
pub(super) enum Additional {
    /// Nothing: other fields are pruned.
    #[default]
    None,
    /// Anything.
    Any,
    /// Values of this schema.
    Schema(Box<SchemaNode>),
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum ListType {
    #[default]
    Atomic,
    Set,
    Map(Vec<String>),
}
