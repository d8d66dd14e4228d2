//! How the lists and maps of a kind merge, by path.
//!
//! Two merges ask: server-side apply (and with it field ownership) and the strategic merge patch. They mostly agree
//! and sometimes do not: the ports of a container are told apart by port and protocol for apply, by port alone for a
//! strategic patch.

mod builtin;
mod of_schema;

use super::schema;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How lists and maps of one kind merge. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Topology {
    root: Arc<Node>,
}

impl Topology {
    /// The topology of a built-in kind; `group` is empty for the core group. Kinds without lists of their own share
    /// the topology of object metadata: other lists are atomic, objects merge field by field.
    pub fn builtin(group: &str, kind: &str) -> Self {
        builtin::topology(group, kind)
    }

    /// The topology of a custom resource, from the `x-kubernetes-list-type`, `x-kubernetes-list-map-keys` and
    /// `x-kubernetes-map-type` of its schema.
    pub fn of_schema(s: &schema::Schema) -> Self {
        Self { root: Arc::new(of_schema::root(s)) }
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }
}

/// How the value at one path merges.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two exclude each other")]
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    fields: BTreeMap<String, Node>,
    /// The names are data (labels), not declared fields. Decides when an object that is left empty goes away.
    is_map: bool,
    /// What the values of a map are.
    values: Option<Box<Node>>,
    items: Option<Box<Node>>,
    /// How apply merges it, if it is a list.
    pub(super) list: ListMerge,
    /// Apply replaces the object as a whole.
    pub(super) atomic: bool,
    /// Only declared fields may be applied.
    closed: bool,
    /// The Go type has it even when it is empty, so that nobody comes to own it by adding it.
    pub(super) always_there: bool,
    /// How a strategic patch merges it, if it is a list.
    pub(super) patch: PatchMerge,
}

/// How apply merges a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum ListMerge {
    /// It is replaced as a whole.
    #[default]
    Atomic,
    /// Items are told apart by their value.
    Set,
    /// Items are told apart by some of their fields.
    Map(Vec<MapKey>),
}

/// One field by which the items of a list are told apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MapKey {
    pub(super) name: String,
    /// What an item without the field counts as.
    pub(super) default: Option<Value>,
}

/// How a strategic patch merges a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum PatchMerge {
    /// It is replaced as a whole.
    #[default]
    Replace,
    /// New values are appended.
    Values,
    /// Items are told apart by this field.
    By(String),
}

/// What nothing is known about: objects merge, lists are atomic.
static UNKNOWN: Node = Node::new(false);
/// What no schema describes: the same, but all names are data.
static UNTYPED: Node = Node::new(true);

impl Node {
    const fn new(is_map: bool) -> Self {
        Self {
            fields: BTreeMap::new(),
            is_map,
            values: None,
            items: None,
            list: ListMerge::Atomic,
            atomic: false,
            closed: false,
            always_there: false,
            patch: PatchMerge::Replace,
        }
    }

    /// The node of a field or of a map's value.
    pub(super) fn field(&self, name: &str) -> &Self {
        self.fields.get(name).unwrap_or_else(|| match &self.values {
            Some(values) => values,
            None => self.unknown(),
        })
    }

    /// The node of a list's items.
    pub(super) fn item(&self) -> &Self {
        self.items.as_deref().unwrap_or_else(|| self.unknown())
    }

    fn unknown(&self) -> &'static Self {
        if self.is_map { &UNTYPED } else { &UNKNOWN }
    }

    /// Whether the name is data, not a declared field.
    pub(super) fn is_map_key(&self, name: &str) -> bool {
        self.is_map && !self.fields.contains_key(name)
    }

    /// Whether apply refuses the name.
    pub(super) fn refuses(&self, name: &str) -> bool {
        self.closed && !self.fields.contains_key(name)
    }

    /// The node at a path, made if need be. Segments are joined by dots; `[]` at the end of one means the items.
    fn at(&mut self, path: &str) -> &mut Self {
        let mut node = self;
        for segment in path.split('.').filter(|s| !s.is_empty()) {
            let name = segment.trim_end_matches("[]");
            if !name.is_empty() {
                node = node.fields.entry(name.to_owned()).or_default();
            }
            if segment.ends_with("[]") {
                node = node.items.get_or_insert_default();
            }
        }
        node
    }
}
