//! The topology of a custom resource.

use super::builtin::object_meta;
use super::{ListMerge, MapKey, Node};
use crate::object::schema::{Additional, ListType, Schema, SchemaNode};

/// The node of a whole custom resource. Type and object metadata are the server's own, whatever the schema says.
pub(super) fn root(schema: &Schema) -> Node {
    let mut root = node(schema.root());
    add_type_and_metadata(&mut root);
    root
}

fn node(schema: &SchemaNode) -> Node {
    let preserves = schema.preserve_unknown || schema.int_or_string;
    let open = !matches!(schema.additional, Additional::None);
    let mut out = Node {
        fields: schema.properties.iter().map(|(name, property)| (name.clone(), node(property))).collect(),
        is_map: preserves || open,
        values: match &schema.additional {
            Additional::Schema(values) => Some(Box::new(node(values))),
            Additional::None | Additional::Any => None,
        },
        items: schema.items.as_deref().map(|items| Box::new(node(items))),
        list: list_merge(schema),
        atomic: schema.atomic_map,
        closed: schema.is_object() && !preserves && !open,
        ..Node::default()
    };
    if schema.embedded {
        add_type_and_metadata(&mut out);
    }
    out
}

fn list_merge(schema: &SchemaNode) -> ListMerge {
    match &schema.list_type {
        ListType::Atomic => ListMerge::Atomic,
        ListType::Set => ListMerge::Set,
        ListType::Map(keys) => {
            let properties = schema.items.as_deref().map(|items| &items.properties);
            let key = |name: &String| MapKey {
                name: name.clone(),
                default: properties.and_then(|p| p.get(name)).and_then(|p| p.default.clone()),
            };
            ListMerge::Map(keys.iter().map(key).collect())
        }
    }
}

fn add_type_and_metadata(node: &mut Node) {
    node.fields.insert("apiVersion".to_owned(), Node::default());
    node.fields.insert("kind".to_owned(), Node::default());
    node.fields.insert("metadata".to_owned(), object_meta());
}
