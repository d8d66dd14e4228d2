//! Schemas of the built-in kinds: which fields exist and of which type they are.
//!
//! The real server decodes requests into Go structs, which drops unknown fields, refuses values of a wrong type and
//! treats null as absent. This does the same on JSON, guided by the schemas that the API types carry.

use std::collections::HashMap;
use std::sync::OnceLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::registry::{Resource, builtins};

const PREFIX: &str = "#/components/schemas/";

/// The schemas of all built-in kinds, made when first needed.
#[derive(Default)]
pub struct BuiltinSchemas {
    made: OnceLock<Made>,
}

struct Made {
    definitions: Map<String, Value>,
    /// Name of the definition by `<apiVersion>/<kind>`.
    names: HashMap<String, String>,
}

fn make() -> Made {
    let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
    let mut names = HashMap::new();
    for resource in builtins() {
        let Some(generate) = resource.generate else { continue };
        let schema = generate(&mut generator);
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(PREFIX));
        if let Some(name) = name {
            names.insert(format!("{}/{}", resource.api_version(), resource.kind), name.to_owned());
        }
    }
    Made { definitions: generator.take_definitions(true), names }
}

/// A value of a type that the field does not take.
#[derive(Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What was sent: `string`, `number`, `bool`, `object` or `array`.
    pub found: &'static str,
    /// The field.
    pub field: String,
    /// Go type of the field, as far as it can be known.
    pub wanted: String,
}

impl BuiltinSchemas {
    fn made(&self) -> &Made {
        self.made.get_or_init(make)
    }

    /// All definitions, by name (`io.k8s.api.core.v1.Pod`).
    pub fn definitions(&self) -> &Map<String, Value> {
        &self.made().definitions
    }

    /// Name of the definition of a built-in resource.
    pub fn definition_name(&self, resource: &Resource) -> Option<&str> {
        self.made().names.get(&format!("{}/{}", resource.api_version(), resource.kind)).map(String::as_str)
    }

    /// Drops unknown fields and nulls; returns the paths of the former.
    pub fn decode(&self, resource: &Resource, object: &mut Value) -> Result<Vec<String>, Mismatch> {
        let mut unknown = Vec::new();
        if let Some(name) = self.definition_name(resource)
            && let Some(schema) = self.definitions().get(name)
        {
            let mut walk = Walk { definitions: self.definitions(), unknown: &mut unknown };
            walk.value(object, schema, "")?;
        }
        Ok(unknown)
    }
}

struct Walk<'a> {
    definitions: &'a Map<String, Value>,
    unknown: &'a mut Vec<String>,
}

impl<'a> Walk<'a> {
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
        reference
            .and_then(|r| r.strip_prefix(PREFIX))
            .and_then(|name| self.definitions.get(name))
            .unwrap_or(schema)
    }

    fn value(&mut self, value: &mut Value, schema: &'a Value, path: &str) -> Result<(), Mismatch> {
        if takes_anything(schema) {
            return Ok(());
        }
        let schema = self.resolve(schema);
        check_type(value, schema, path)?;
        match value {
            Value::Object(map) => self.object(map, schema, path),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, &schema["items"], &format!("{path}[{index}]"))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn object(
        &mut self,
        map: &mut Map<String, Value>,
        schema: &'a Value,
        path: &str,
    ) -> Result<(), Mismatch> {
        let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if let Some(properties) = schema["properties"].as_object() {
            map.retain(|name, value| {
                let known = properties.contains_key(name);
                if !known {
                    self.unknown.push(join(name));
                }
                known && !value.is_null() && !is_omitted(schema, name, value)
            });
            for (name, value) in map {
                if let Some(property) = properties.get(name) {
                    self.value(value, property, &join(name))?;
                }
            }
        } else if schema["additionalProperties"].is_object() {
            for (name, value) in map.iter_mut().filter(|(_, value)| !value.is_null()) {
                self.value(value, &schema["additionalProperties"], &join(name))?;
            }
        }
        Ok(())
    }
}

/// Go's `omitempty`: lists and maps of data that are empty are not there, unless the field is a required one. (The
/// schemas do not say so of the rules of roles.)
fn is_omitted(schema: &Value, name: &str, value: &Value) -> bool {
    let property = &schema["properties"][name];
    let empty = match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty() && property["additionalProperties"].is_object(),
        _ => false,
    };
    empty
        && name != "rules"
        && !schema["required"].as_array().is_some_and(|required| required.iter().any(|field| field == name))
}

/// Types that stand for any JSON value, although the API types describe them as objects.
const TAKES_ANYTHING: [&str; 4] =
    [".JSON", ".JSONSchemaPropsOrArray", ".JSONSchemaPropsOrBool", ".JSONSchemaPropsOrStringArray"];

fn takes_anything(schema: &Value) -> bool {
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    reference.is_some_and(|name| TAKES_ANYTHING.iter().any(|any| name.ends_with(any)))
}

fn check_type(value: &Value, schema: &Value, path: &str) -> Result<(), Mismatch> {
    let Some(wanted) = schema["type"].as_str() else { return Ok(()) };
    let found = match value {
        Value::Null => return Ok(()),
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = match wanted {
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "boolean" => value.is_boolean(),
        other => other == found,
    };
    if fits {
        return Ok(());
    }
    let format = schema["format"].as_str().unwrap_or_default();
    let wanted = match (wanted, format) {
        ("integer" | "number", "") => "int64",
        ("integer" | "number", format) => format,
        ("boolean", _) => "bool",
        ("array", _) => "[]",
        ("object", _) => "map",
        (other, _) => other,
    };
    Err(Mismatch { found, field: path.to_owned(), wanted: wanted.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_go_and_wrong_types_are_told() {
        let schemas = BuiltinSchemas::default();
        let all = builtins();
        let pods = all.iter().find(|r| r.is("", "pods")).unwrap();
        let mut pod = json!({
            "metadata": { "name": "a", "labels": { "any.thing": "goes" }, "foo": 1 },
            "spec": { "containers": [{ "name": "c", "imag": "x" }], "hostname": null },
        });
        let unknown = schemas.decode(pods, &mut pod).unwrap();
        assert_eq!(unknown, ["metadata.foo", "spec.containers[0].imag"]);
        assert_eq!(
            pod,
            json!({
                "metadata": { "name": "a", "labels": { "any.thing": "goes" } },
                "spec": { "containers": [{ "name": "c" }] },
            })
        );
        let mut pod = json!({ "spec": { "terminationGracePeriodSeconds": "soon" } });
        let mismatch = schemas.decode(pods, &mut pod).unwrap_err();
        assert_eq!(mismatch.field, "spec.terminationGracePeriodSeconds");
        assert_eq!((mismatch.found, mismatch.wanted.as_str()), ("string", "int64"));
    }
}
