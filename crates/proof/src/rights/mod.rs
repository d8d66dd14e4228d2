//! What the operator may do, held against what it did: none of its rights is missing, and none is superfluous.
//!
//! What it may do is read from `deploy/`, what it did from the audit logs of the stories on real control planes.

pub mod audit;
pub mod grants;

use std::fmt;

use osc_api::names;

use audit::{Evidence, Use};
use grants::Grant;

/// Rights that are used without a request of their own, so that no audit log shows them: verb, resource, group, and who
/// asks for them when.
pub const BY_ADMISSION: &[(&str, &str, &str, &str)] = &[(
    "update",
    "kataconfigs/finalizers",
    names::KATACONFIG_GROUP,
    "admission OwnerReferencesPermissionEnforcement, when an object is written whose owner reference to a KataConfig \
     blocks its deletion",
)];

/// The operator's user name in audit logs.
pub fn operator() -> String {
    format!("system:serviceaccount:{}:{}", names::OPERATOR_NAMESPACE, names::OPERATOR_NAME)
}

/// What the comparison gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How many pairs of verb and resource are granted.
    pub granted: usize,
    /// Of these, the ones that nothing needed.
    pub unused: Vec<Grant>,
    /// What was done or tried without a right to it.
    pub missing: Vec<Use>,
}

impl Verdict {
    /// Compares.
    pub fn new(grants: &[Grant], evidence: &Evidence) -> Self {
        let by_admission = |grant: &Grant| {
            BY_ADMISSION.iter().any(|(verb, resource, group, _)| {
                grant.verb == *verb && grant.resource == *resource && grant.group == *group
            })
        };
        let needed =
            |grant: &Grant| by_admission(grant) || evidence.uses.iter().any(|used| grant.allows(used));
        let allowed = |used: &Use| grants.iter().any(|grant| grant.allows(used));
        // What was done without a right of ours was allowed by somebody else's role, on which nobody can count.
        let borrowed = evidence.uses.iter().filter(|used| !allowed(used));
        Self {
            granted: grants.len(),
            unused: grants.iter().filter(|grant| !needed(grant)).cloned().collect(),
            missing: evidence.refused.iter().chain(borrowed).cloned().collect(),
        }
    }

    /// Whether the rights are exactly those that are needed.
    pub fn holds(&self) -> bool {
        self.unused.is_empty() && self.missing.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for grant in &self.unused {
            writeln!(
                f,
                "unused: {grant}; no story needed it: take it out of xtask/src/manifests/rbac.rs, or tell one"
            )?;
        }
        for used in &self.missing {
            writeln!(f, "missing: {used}; grant it in xtask/src/manifests/rbac.rs")?;
        }
        write!(
            f,
            "rbac: {} granted, {} unused, {} missing",
            self.granted,
            self.unused.len(),
            self.missing.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn manifests(rules: &Value) -> Vec<Value> {
        let subject = json!([{"kind": "ServiceAccount", "name": "account", "namespace": "home"}]);
        let reference =
            |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "role"});
        vec![
            json!({"kind": "ClusterRole", "metadata": {"name": "role"}, "rules": rules}),
            json!({"kind": "ClusterRoleBinding", "metadata": {"name": "role"}, "subjects": subject,
                "roleRef": reference("ClusterRole")}),
            json!({"kind": "Role", "metadata": {"name": "role", "namespace": "away"}, "rules": [
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"], "resourceNames": ["one"]}]}),
            json!({"kind": "RoleBinding", "metadata": {"name": "role", "namespace": "away"}, "subjects": subject,
                "roleRef": reference("Role")}),
            json!({"kind": "Role", "metadata": {"name": "role", "namespace": "elsewhere"}, "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]}),
        ]
    }

    fn used(verb: &str, resource: &str, namespace: &str, name: &str) -> Use {
        let [verb, resource, namespace, name] = [verb, resource, namespace, name].map(str::to_owned);
        Use { verb, group: String::new(), resource, namespace, name }
    }

    fn evidence(uses: &[Use], refused: &[Use]) -> Evidence {
        Evidence { uses: uses.iter().cloned().collect(), refused: refused.iter().cloned().collect() }
    }

    fn nodes() -> Value {
        json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "patch"]}])
    }

    #[test]
    fn exactly_the_needed_rights_hold() {
        let grants = grants::of(&manifests(&nodes()), "home", "account");
        let uses = [
            used("list", "nodes", "", ""),
            used("patch", "nodes", "", "n"),
            used("list", "configmaps", "away", "one"),
        ];
        let verdict = Verdict::new(&grants, &evidence(&uses, &[]));
        assert!(verdict.holds());
        assert_eq!(verdict.to_string(), "rbac: 3 granted, 0 unused, 0 missing");
    }

    #[test]
    fn a_superfluous_right_is_named() {
        let grants = grants::of(&manifests(&nodes()), "home", "account");
        // The same resource elsewhere, and another object of it, need no such right.
        let uses = [
            used("list", "nodes", "", ""),
            used("patch", "nodes", "", "n"),
            used("list", "configmaps", "home", "one"),
            used("list", "configmaps", "away", "two"),
        ];
        let verdict = Verdict::new(&grants, &evidence(&uses, &[]));
        assert!(!verdict.holds());
        let lines = verdict.to_string();
        assert!(lines.contains("unused: list configmaps in away named one; "), "{lines}");
        assert!(lines.contains("missing: list configmaps home/one; "), "{lines}");
        assert!(lines.ends_with("\nrbac: 3 granted, 1 unused, 2 missing"), "{lines}");
    }

    #[test]
    fn a_refused_request_is_a_missing_right() {
        let grants = grants::of(&manifests(&json!([])), "home", "account");
        let uses = [used("list", "configmaps", "away", "one")];
        let verdict = Verdict::new(&grants, &evidence(&uses, &[used("delete", "nodes", "", "n")]));
        assert_eq!((verdict.unused.len(), verdict.missing.len()), (0, 1));
    }

    #[test]
    fn a_wildcard_is_superfluous_and_allows_nothing() {
        let rules = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["*"]}]);
        let grants = grants::of(&manifests(&rules), "home", "account");
        let uses = [used("list", "nodes", "", ""), used("list", "configmaps", "away", "one")];
        let verdict = Verdict::new(&grants, &evidence(&uses, &[]));
        assert_eq!((verdict.unused.len(), verdict.missing.len()), (1, 1));
    }

    #[test]
    fn the_shipped_manifests_grant_what_admission_asks_for() {
        let grants = grants::of(&crate::bed::manifests(), names::OPERATOR_NAMESPACE, names::OPERATOR_NAME);
        for (verb, resource, group, why) in BY_ADMISSION {
            let found =
                grants.iter().any(|g| g.verb == *verb && g.resource == *resource && g.group == *group);
            assert!(found, "{verb} {resource}.{group}: {why}");
        }
        assert!(grants.len() > 40, "the roles were found: {}", grants.len());
    }
}
