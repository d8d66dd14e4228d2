//! Kinds of OpenShift whose content is simulated, not defined, by us: definitions that take anything.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionSpec,
    CustomResourceDefinitionVersion, CustomResourceValidation, JSONSchemaProps,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What a definition is made from.
struct Definition {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
}

const KINDS: [Definition; 3] = [
    Definition {
        group: "security.openshift.io",
        kind: "SecurityContextConstraints",
        plural: "securitycontextconstraints",
        short: &["scc"],
        namespaced: false,
    },
    Definition {
        group: "config.openshift.io",
        kind: "APIServer",
        plural: "apiservers",
        short: &[],
        namespaced: false,
    },
    Definition {
        group: "cloudcredential.openshift.io",
        kind: "CredentialsRequest",
        plural: "credentialsrequests",
        short: &[],
        namespaced: true,
    },
];

/// The definitions.
pub(super) fn crds() -> impl Iterator<Item = CustomResourceDefinition> {
    KINDS.iter().map(crd)
}

fn crd(kind: &Definition) -> CustomResourceDefinition {
    let singular = kind.kind.to_ascii_lowercase();
    CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", kind.plural, kind.group)),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            group: kind.group.to_owned(),
            names: CustomResourceDefinitionNames {
                kind: kind.kind.to_owned(),
                plural: kind.plural.to_owned(),
                singular: Some(singular),
                short_names: Some(kind.short.iter().map(|name| (*name).to_owned()).collect()),
                ..CustomResourceDefinitionNames::default()
            },
            scope: if kind.namespaced { "Namespaced" } else { "Cluster" }.to_owned(),
            versions: vec![CustomResourceDefinitionVersion {
                name: "v1".to_owned(),
                served: true,
                storage: true,
                schema: Some(CustomResourceValidation {
                    open_api_v3_schema: Some(JSONSchemaProps {
                        type_: Some("object".to_owned()),
                        x_kubernetes_preserve_unknown_fields: Some(true),
                        ..JSONSchemaProps::default()
                    }),
                }),
                ..CustomResourceDefinitionVersion::default()
            }],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}
