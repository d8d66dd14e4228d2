//! `matchConditions` of webhooks: expressions in CEL that say which requests a webhook is asked about.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cel::{Context, Program};
use serde_json::Value;

/// So many different expressions are kept ready; a cluster has fewer.
const KEPT: usize = 256;

/// Expressions that were read before.
#[derive(Default)]
pub struct Expressions(Mutex<HashMap<String, Arc<Program>>>);

/// Reads an expression; the error says what is wrong with it.
pub fn compile(expression: &str) -> Result<Program, String> {
    let program = Program::compile(expression).map_err(|error| format!("compilation failed: {error}"))?;
    if program.references().has_variable("authorizer") {
        return Err("this server authorizes nobody, so that there is no authorizer".to_owned());
    }
    Ok(program)
}

/// What the conditions of a webhook say together.
#[derive(Debug, PartialEq, Eq)]
pub enum Match {
    /// All hold.
    Yes,
    /// One does not.
    No,
    /// None is known not to hold, but one cannot be told.
    Unknown(String),
}

impl Expressions {
    fn get(&self, expression: &str) -> Result<Arc<Program>, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = known.get(expression) {
            return Ok(program.clone());
        }
        let program = Arc::new(compile(expression)?);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(expression.to_owned(), program.clone());
        Ok(program)
    }

    /// Evaluates the conditions of a webhook for a request, as a review shows it.
    pub fn evaluate(&self, conditions: &[Value], request: &Value) -> Match {
        let mut unknown = None;
        for condition in conditions {
            let expression = condition["expression"].as_str().unwrap_or_default();
            match self.holds(expression, request) {
                Ok(true) => {}
                Ok(false) => return Match::No,
                Err(why) => {
                    unknown
                        .get_or_insert_with(|| format!("expression '{expression}' resulted in error: {why}"));
                }
            }
        }
        unknown.map_or(Match::Yes, Match::Unknown)
    }

    fn holds(&self, expression: &str, request: &Value) -> Result<bool, String> {
        let program = self.get(expression)?;
        let mut context = Context::default();
        let mut about = request.clone();
        for (variable, field) in [("object", "object"), ("oldObject", "oldObject")] {
            let value = about.as_object_mut().and_then(|about| about.remove(field)).unwrap_or_default();
            context.add_variable(variable, value).map_err(|error| error.to_string())?;
        }
        context.add_variable("request", about).map_err(|error| error.to_string())?;
        match program.execute(&context).map_err(|error| error.to_string())? {
            cel::Value::Bool(holds) => Ok(holds),
            other => Err(format!("it is {other:?} instead of true or false")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(&[], Match::Yes)]
    #[case(&["object.spec.runtimeClassName == 'kata-remote'"], Match::Yes)]
    #[case(&["has(object.spec.runtimeClassName) && object.spec.runtimeClassName in ['kata-remote', 'x']"], Match::Yes)]
    #[case(&["has(object.spec.hostNetwork)"], Match::No)]
    #[case(&["request.operation == 'CREATE'", "request.namespace.startsWith('kube-')"], Match::No)]
    #[case(&["oldObject == null"], Match::Yes)]
    #[case(&["object.spec.containers.exists(c, c.name == 'main')"], Match::Yes)]
    // What does not hold decides, whatever cannot be told.
    #[case(&["object.spec.no == 'x'", "false"], Match::No)]
    fn conditions(#[case] expressions: &[&str], #[case] expected: Match) {
        assert_eq!(evaluate(expressions), expected);
    }

    fn evaluate(expressions: &[&str]) -> Match {
        let request = json!({"operation": "CREATE", "namespace": "demo", "oldObject": null,
            "object": {"spec": {"runtimeClassName": "kata-remote", "containers": [{"name": "main"}]}}});
        let conditions: Vec<Value> =
            expressions.iter().map(|expression| json!({"name": "x", "expression": expression})).collect();
        Expressions::default().evaluate(&conditions, &request)
    }

    #[rstest]
    #[case(&["true", "object.spec.no == 'x'"], "expression 'object.spec.no == 'x'' resulted in error: ")]
    #[case(&["'text'"], "instead of true or false")]
    #[case(&["1 +"], "compilation failed")]
    fn what_cannot_be_told(#[case] expressions: &[&str], #[case] why: &str) {
        let Match::Unknown(found) = evaluate(expressions) else { panic!("it can") };
        assert!(found.contains(why), "{found}");
    }

    #[test]
    fn what_is_no_expression_or_asks_too_much_is_refused() {
        assert!(compile("object.spec.x ==").unwrap_err().starts_with("compilation failed: "));
        assert!(compile("authorizer.group('')").unwrap_err().contains("authorizes nobody"));
        compile("object.x == request.y").unwrap();
    }
}
