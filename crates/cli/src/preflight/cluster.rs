//! Checks of the cluster as a whole: release, APIs, what could not be read, rights.

use osc_api::{DeploymentMode, names};
use osc_engine::Kind;

use super::finding::Finding;
use super::situation::{Intent, Situation};

/// The oldest release of OpenShift that the product supports, as the documentation of 1.12 says.
const OLDEST_RELEASE: (u64, u64, u64) = (4, 19, 28);

/// Kinds that could not be read.
pub fn unreadable(situation: &Situation<'_>) -> Vec<Finding> {
    let missing = &situation.snapshot.info.missing;
    let Some(first) = missing.first() else { return Vec::new() };
    let what = match missing.len() {
        1 => format!("{} could not be read", first.resource),
        count => format!("{count} kinds could not be read"),
    };
    let places = missing.iter().map(|missing| format!("{}: {}", missing.resource, missing.consequence()));
    vec![
        Finding::warns("KindUnreadable", what)
            .at_all(places)
            .why(format!(
                "What is told does not take them into account. {}.",
                first.why.trim_end_matches('.')
            ))
            .remedy("Ask with rights to list them; the ClusterRole cluster-reader has them.")
            .command(format!("oc auth can-i list {} --all-namespaces", first.resource)),
    ]
}

/// What the person may do.
pub fn rights(situation: &Situation<'_>) -> Vec<Finding> {
    let Some(rights) = &situation.snapshot.rights else {
        return vec![
            Finding::info("RightsUnknown", "whether you may do this is not checked: a snapshot cannot tell")
                .why("Applying and deleting a KataConfig takes rights on kataconfigs.")
                .remedy("Ask the cluster.")
                .command(format!("oc auth can-i create {}", names::KATACONFIG_CRD)),
        ];
    };
    let denied: Vec<&str> = rights.iter().filter(|right| !right.allowed).map(|right| right.verb).collect();
    let needed: &[&str] = match situation.intent {
        Intent::Apply(_) => &["get", "list", "create", "patch"],
        Intent::Delete => &["get", "list", "delete"],
    };
    let denied: Vec<&str> = denied.into_iter().filter(|verb| needed.contains(verb)).collect();
    if denied.is_empty() {
        return Vec::new();
    }
    let what = format!("you may not {} {}", denied.join(", "), names::KATACONFIG_CRD);
    vec![
        Finding::blocks("RightsMissing", what)
            .why("The API server will refuse what you are about to do.")
            .remedy("Let a cluster administrator do it, or give you the ClusterRole kataconfig-editor-role."),
    ]
}

/// The release, which is told but not enforced.
pub fn release(situation: &Situation<'_>) -> Vec<Finding> {
    if !situation.observed.capabilities.openshift {
        return Vec::new();
    }
    let (major, minor, patch) = OLDEST_RELEASE;
    let Some(version) = situation.snapshot.version() else {
        return vec![
            Finding::info("ReleaseUnknown", "the release of OpenShift is not known")
                .at("ClusterVersion version")
                .why(format!("The product supports {major}.{minor}.{patch} or later."))
                .remedy("Look at it yourself.")
                .command("oc get clusterversion"),
        ];
    };
    match numbers(version) {
        Some(found) if found < OLDEST_RELEASE => vec![
            Finding::warns("ReleaseUnsupported", format!("OpenShift {version} is older than the product supports"))
                .at("ClusterVersion version")
                .why(format!(
                    "Release 1.12 is supported on {major}.{minor}.{patch} or later. An older release may work; nobody \
                     tests it, and its extension may lack what pods need."
                ))
                .remedy("Update the cluster first; that reboots the nodes once more, but only once if done before.")
                .command("oc adm upgrade"),
        ],
        _ => Vec::new(),
    }
}

/// `4.19.28` and `4.20.0-rc.1`.
fn numbers(version: &str) -> Option<(u64, u64, u64)> {
    let core = version.split(['-', '+']).next()?;
    let mut parts = core.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// The Machine Config Operator, without which nothing happens.
pub fn machine_config_operator(situation: &Situation<'_>) -> Vec<Finding> {
    if situation.observed.capabilities.machine_config || situation.mode == DeploymentMode::DaemonSet {
        return Vec::new();
    }
    vec![
        Finding::blocks("MachineConfigOperatorAbsent", "the cluster does not serve MachineConfig and MachineConfigPool")
            .why("The gate deploymentMode asks for machine configs, or says nothing, which means the same on OpenShift.")
            .remedy("Let node agents install: set deploymentMode to DaemonSetFallback.")
            .command(format!(
                "oc create configmap {} -n {} --from-literal=deploymentMode=DaemonSetFallback",
                names::FEATURE_GATES,
                names::OPERATOR_NAMESPACE
            )),
    ]
}

/// The definition of KataConfig, and the operator that acts on it.
pub fn operator(situation: &Situation<'_>) -> Vec<Finding> {
    let install = |finding: Finding| {
        finding.remedy("Install the operator; that touches no node.").command("oc apply -k deploy/")
    };
    match situation.snapshot.serves(names::KATACONFIG_CRD) {
        Some(false) => {
            return vec![install(
                Finding::blocks("DefinitionMissing", "the cluster does not know KataConfig")
                    .at(format!("CustomResourceDefinition {}", names::KATACONFIG_CRD))
                    .why("The API server refuses a KataConfig until its definition is there."),
            )];
        }
        None => {
            return vec![install(
                Finding::info("DefinitionUnknown", "whether the cluster knows KataConfig is not known")
                    .at(format!("CustomResourceDefinition {}", names::KATACONFIG_CRD))
                    .why("The API server refuses a KataConfig until its definition is there."),
            )];
        }
        Some(true) => {}
    }
    let known = situation.snapshot.info.missing.iter().all(|missing| missing.resource != "namespaces");
    let namespace = situation.observed.cluster_object(Kind::Namespace, names::OPERATOR_NAMESPACE);
    if !known || namespace.is_some() {
        return Vec::new();
    }
    vec![install(
        Finding::warns("OperatorAbsent", "the operator's namespace does not exist")
            .at(format!("Namespace {}", names::OPERATOR_NAMESPACE))
            .why("Nothing acts on a KataConfig without the operator. What is said here is what it would do."),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(numbers("4.19.28"), Some((4, 19, 28)));
        assert!(numbers("4.19.9").unwrap() < OLDEST_RELEASE);
        assert!(numbers("4.20.0-rc.1").unwrap() > OLDEST_RELEASE);
        assert_eq!(numbers("nightly"), None);
    }
}
