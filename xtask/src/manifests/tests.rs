//! What holds for all manifests.

use std::collections::BTreeSet;
use std::process::Command;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::rbac::{OPERATOR, Permissions};
use super::*;

fn read(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

fn objects() -> Vec<Value> {
    sources().unwrap().into_iter().flat_map(|source| source.objects).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// Kind, namespace and name.
fn identity(object: &Value) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&object["kind"]), text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]))
}

fn parse<T: DeserializeOwned>(object: &Value) -> Option<String> {
    serde_json::from_value::<T>(object.clone()).err().map(|error| error.to_string())
}

#[test]
fn each_object_parses_as_its_type() {
    for object in objects() {
        let error = match object["kind"].as_str().unwrap() {
            "Namespace" => parse::<Namespace>(&object),
            "CustomResourceDefinition" => parse::<CustomResourceDefinition>(&object),
            "ServiceAccount" => parse::<ServiceAccount>(&object),
            "ClusterRole" => parse::<ClusterRole>(&object),
            "ClusterRoleBinding" => parse::<ClusterRoleBinding>(&object),
            "Role" => parse::<Role>(&object),
            "RoleBinding" => parse::<RoleBinding>(&object),
            "ConfigMap" => parse::<ConfigMap>(&object),
            "Service" => parse::<Service>(&object),
            "Deployment" => parse::<Deployment>(&object),
            "NetworkPolicy" => parse::<NetworkPolicy>(&object),
            "ValidatingAdmissionPolicy" => parse::<ValidatingAdmissionPolicy>(&object),
            "ValidatingAdmissionPolicyBinding" => parse::<ValidatingAdmissionPolicyBinding>(&object),
            "ValidatingWebhookConfiguration" => parse::<ValidatingWebhookConfiguration>(&object),
            "ServiceMonitor" | "PrometheusRule" => {
                assert_eq!(object["apiVersion"], "monitoring.coreos.com/v1");
                None
            }
            other => panic!("no test knows {other}"),
        };
        assert_eq!(error, None, "{:?}", identity(&object));
    }
}

#[test]
fn a_field_that_the_type_does_not_have_is_refused() {
    let error = typed::<Namespace>(json!({"metadata": {"name": "n", "lables": {}}})).unwrap_err();
    assert!(error.to_string().contains("fields that its type does not have"), "{error}");
}

#[test]
fn no_object_is_there_twice() {
    let all = objects();
    let identities: BTreeSet<_> = all.iter().map(identity).collect();
    assert_eq!(identities.len(), all.len());
}

#[test]
fn files_hold_the_objects_and_nothing_else() {
    let files = files().unwrap();
    assert_eq!(read(&files["osc.yaml"]), objects());
    let listed: Vec<Value> =
        sources().unwrap().iter().flat_map(|source| read(&files[&source.path])).collect();
    assert_eq!(listed, objects());
    for (path, text) in &files {
        assert!(text.starts_with(HEADER) || text.starts_with(HEADER_MARKDOWN), "{path}");
        assert!(text.ends_with('\n') && !text.contains("\n\n---"), "{path}");
    }
}

#[test]
fn the_kustomization_lists_every_file() {
    let files = files().unwrap();
    let kustomization = &read(&files["kustomization.yaml"])[0];
    let listed: BTreeSet<&str> =
        kustomization["resources"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    let expected: BTreeSet<&str> =
        files.keys().map(String::as_str).filter(|path| path.contains('/') && !path.contains(".md")).collect();
    let expected: BTreeSet<&str> =
        expected.into_iter().filter(|path| !path.starts_with("kubernetes/")).collect();
    assert_eq!(listed, expected);
    assert_eq!(kustomization["configurations"], json!(["image-fields.yaml"]));
}

/// Everything that the operator needs, and nothing that a cluster without OpenShift would refuse.
#[test]
fn kubernetes_gets_what_it_can_serve() {
    let files = files().unwrap();
    let kept = read(&files["kubernetes/osc.yaml"]);
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        assert!(!kept.iter().any(|object| object["kind"] == kind), "{kind}");
    }
    let namespaces: BTreeSet<&str> =
        kept.iter().filter_map(|object| object["metadata"]["namespace"].as_str()).collect();
    assert_eq!(namespaces, ["default", osc_api::names::OPERATOR_NAMESPACE].into());
    for kind in
        ["CustomResourceDefinition", "Deployment", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"]
    {
        let count = |objects: &[Value]| objects.iter().filter(|object| object["kind"] == kind).count();
        assert_eq!(count(&kept), count(&objects()), "{kind}");
    }
}

#[test]
fn every_image_is_by_digest_and_in_the_kustomization() {
    let files = files().unwrap();
    let named: Vec<String> = read(&files["kustomization.yaml"])[0]["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| format!("{}@{}", image["name"].as_str().unwrap(), image["digest"].as_str().unwrap()))
        .collect();
    let deployment = operator::deployment().unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let variable = |name: &str| {
        let all = container["env"].as_array().unwrap();
        all.iter().find(|variable| variable["name"] == name).unwrap()["value"].as_str().unwrap()
    };
    let images = [
        container["image"].as_str().unwrap(),
        variable("RELATED_IMAGE_KATA_MONITOR"),
        variable("RELATED_IMAGE_NODE_AGENT"),
        variable("RELATED_IMAGE_CAA"),
        variable("RELATED_IMAGE_PEERPODS_WEBHOOK"),
        variable("RELATED_IMAGE_PODVM_BUILDER"),
        variable("RELATED_IMAGE_PODVM_OCI"),
    ];
    assert_eq!(named, images);
    assert_eq!(PLACEHOLDER_DIGEST.len(), "sha256:".len() + 64);
}

#[test]
fn the_operator_runs_with_as_little_as_possible() {
    let deployment = operator::deployment().unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[key].is_null(), "{key}");
    }
    // Of volumes, the certificate of the webhooks and what clouds are logged in to with, and that to read.
    let names: Vec<&Value> =
        pod["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
    assert_eq!(names, ["webhook-certificate", "ssh", "bound-sa-token"]);
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], "webhook-server-cert");
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert!(mounts.len() == 3 && mounts.iter().all(|mount| mount["readOnly"] == true), "{mounts:?}");
    let security = &container["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
    assert!(security["privileged"].is_null());
    assert!(container["resources"]["limits"]["memory"].is_string());
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"], json!({"maxSurge": 0, "maxUnavailable": 1}));
}

#[test]
fn only_the_operator_gets_a_token() {
    for account in operator::service_accounts().unwrap() {
        assert_eq!(account["automountServiceAccountToken"], false);
    }
    let deployment = operator::deployment().unwrap();
    assert_eq!(deployment["spec"]["template"]["spec"]["automountServiceAccountToken"], true);
}

#[test]
fn every_reference_leads_somewhere() {
    let all = objects();
    let identities: BTreeSet<_> = all.iter().map(identity).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let has = |kind: &str, namespace: &str, name: &str| {
        identities.contains(&(kind.to_owned(), namespace.to_owned(), name.to_owned()))
    };
    for binding in all.iter().filter(|object| text(&object["kind"]).ends_with("RoleBinding")) {
        let role = &binding["roleRef"];
        let namespace =
            if role["kind"] == "Role" { text(&binding["metadata"]["namespace"]) } else { String::new() };
        assert!(has(&text(&role["kind"]), &namespace, &text(&role["name"])), "{binding}");
        for subject in binding["subjects"].as_array().unwrap() {
            let (namespace, name) = (text(&subject["namespace"]), text(&subject["name"]));
            let foreign = namespace == "openshift-monitoring" && name == "prometheus-k8s";
            assert!(foreign || has("ServiceAccount", &namespace, &name), "{subject}");
        }
    }
    let namespace = osc_api::names::OPERATOR_NAMESPACE;
    let deployment = operator::deployment().unwrap();
    let account = text(&deployment["spec"]["template"]["spec"]["serviceAccountName"]);
    assert!(has("ServiceAccount", namespace, &account));
    // The DaemonSet of kata-monitor, which the operator creates, runs under this one.
    assert!(has("ServiceAccount", namespace, osc_api::names::MONITOR_SERVICE_ACCOUNT));
    let bound: BTreeSet<String> = all
        .iter()
        .filter(|object| text(&object["kind"]).ends_with("RoleBinding"))
        .map(|binding| text(&binding["roleRef"]["name"]))
        .collect();
    let roles = of_kind(&all, "Role").into_iter().chain(of_kind(&all, "ClusterRole"));
    for role in roles.filter(|role| role["metadata"]["labels"].is_null()) {
        assert!(bound.contains(&text(&role["metadata"]["name"])), "{role}");
    }
    for monitor in of_kind(&all, "ServiceMonitor") {
        let labels = &monitor["spec"]["selector"]["matchLabels"];
        let port = &monitor["spec"]["endpoints"][0]["port"];
        let matches = of_kind(&all, "Service")
            .into_iter()
            .filter(|service| {
                service["metadata"]["labels"] == *labels && service["spec"]["ports"][0]["name"] == *port
            })
            .count();
        assert_eq!(matches, 1, "{monitor}");
    }
}

#[test]
fn what_the_api_server_asks_leads_to_the_operator() {
    let all = objects();
    let deployment = operator::deployment().unwrap();
    let template = &deployment["spec"]["template"];
    let ports = template["spec"]["containers"][0]["ports"].as_array().unwrap();
    for configuration in of_kind(&all, "ValidatingWebhookConfiguration") {
        for webhook in configuration["webhooks"].as_array().unwrap() {
            let reference = &webhook["clientConfig"]["service"];
            let found = of_kind(&all, "Service").into_iter().find(|service| {
                service["metadata"]["name"] == reference["name"]
                    && service["metadata"]["namespace"] == reference["namespace"]
            });
            let service = found.unwrap_or_else(|| panic!("no Service {reference}"));
            assert_eq!(service["spec"]["selector"], template["metadata"]["labels"]);
            let port = &service["spec"]["ports"][0];
            assert_eq!(port["port"], reference["port"]);
            assert!(ports.iter().any(|known| known["name"] == port["targetPort"]), "{port}");
        }
    }
    // Nobody could create a KataConfig between the one and the other.
    let position = |kind: &str| all.iter().position(|object| object["kind"] == kind).unwrap();
    assert!(position("Deployment") < position("ValidatingWebhookConfiguration"));
}

/// What the profile `restricted` of Pod Security asks for. The namespace has to allow more, for others.
#[test]
fn the_operator_itself_would_run_in_a_restricted_namespace() {
    let deployment = operator::deployment().unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let allowed = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in pod["volumes"].as_array().unwrap() {
        let kinds: Vec<&String> = volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
        assert!(kinds.iter().all(|kind| allowed.contains(&kind.as_str())), "{volume}");
    }
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for container in pod["containers"].as_array().unwrap() {
        let security = &container["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
        assert!(container["ports"].as_array().unwrap().iter().all(|port| port["hostPort"].is_null()));
    }
}

#[test]
fn namespaces_come_first_and_roles_before_the_operator() {
    let all = objects();
    let position = |kind: &str| all.iter().position(|object| object["kind"] == kind).unwrap();
    assert_eq!(position("Namespace"), 0);
    let deployment = position("Deployment");
    for kind in ["CustomResourceDefinition", "ServiceAccount", "ClusterRole", "RoleBinding", "ConfigMap"] {
        assert!(position(kind) < deployment, "{kind}");
    }
}

fn all_grants() -> impl Iterator<Item = (&'static Permissions, &'static super::rbac::Grant)> {
    OPERATOR.iter().flat_map(|permissions| permissions.grants.iter().map(move |grant| (permissions, grant)))
}

#[test]
fn each_permission_has_a_reason_that_names_existing_code() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    for (_, grant) in all_grants() {
        let mut part = "";
        let mut files = 0;
        for clause in grant.reason.split("; ") {
            let named =
                ["operator", "engine"].into_iter().find(|name| clause.starts_with(&format!("{name}: ")));
            part = named.unwrap_or(part);
            for file in clause.split([' ', ',', ':']).filter(|word| word.contains(".rs")) {
                assert!(
                    crates.join(part).join("src").join(file).is_file(),
                    "{}: no {part} {file}",
                    grant.reason
                );
                files += 1;
            }
        }
        assert!(files > 0, "{}", grant.reason);
    }
}

#[test]
fn permissions_are_narrow() {
    for (permissions, grant) in all_grants() {
        let what = format!("{} {}", permissions.name, grant.resource);
        for word in [grant.group, grant.resource].into_iter().chain(grant.verbs.iter().copied()) {
            assert_ne!(word, "*", "{what}");
        }
        let verbs: BTreeSet<&str> = grant.verbs.iter().copied().collect();
        assert_eq!(verbs.len(), grant.verbs.len(), "{what}: a verb twice");
        for never in ["update", "deletecollection", "escalate", "bind", "impersonate", "use"] {
            let needed = never == "update" && grant.resource == "kataconfigs/finalizers";
            assert!(needed || !verbs.contains(never), "{what}: {never}");
        }
        // A create without a name is a plain one: there are three.
        let plain = ["runtimeclasses", "leases", "events"].contains(&grant.resource);
        assert!(!verbs.contains("create") || plain || !grant.names.is_empty(), "{what}");
        // What the operator deletes, it names, but for runtime classes: those of a Go operator have names of its own, and
        // are told by the finalizer that they carry.
        // PeerPods have the names of their pods.
        let told_otherwise = ["runtimeclasses", "peerpods"].contains(&grant.resource);
        assert!(!verbs.contains("delete") || told_otherwise || !grant.names.is_empty(), "{what}");
        // Of Secrets: its own authorities of webhooks, the pull secret and its copy, and those of peer pods.
        let known = [
            osc_api::peerpods::CREDENTIALS,
            osc_api::peerpods::CLOUD_CREDENTIALS,
            osc_api::peerpods::SSH_KEYS,
            osc_api::peerpods::webhook::SECRET,
            osc_engine::security::webhooks::AUTHORITY_SECRET,
            osc_api::names::PULL_SECRET,
            osc_api::names::AUTH_SECRET,
        ];
        let named = matches!(grant.names, [name] if known.contains(name));
        assert!(grant.resource != "secrets" || named && permissions.namespace.is_some(), "{what}");
    }
}

#[test]
fn kubectl_renders_what_osc_yaml_holds() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path()).unwrap();
    check(folder.path()).unwrap();
    let output = match Command::new("kubectl").arg("kustomize").arg(folder.path().join(FOLDER)).output() {
        Ok(output) => output,
        Err(error) => {
            return println!("SKIPPED: kubectl cannot be run ({error}); hack/test-deps.sh installs it");
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sorted = |mut objects: Vec<Value>| {
        objects.sort_by_key(identity);
        objects
    };
    let rendered = sorted(read(&String::from_utf8(output.stdout).unwrap()));
    assert_eq!(rendered, sorted(objects()));
}

#[test]
fn digests_set_in_the_kustomization_reach_both_images() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path()).unwrap();
    let file = folder.path().join(FOLDER).join("kustomization.yaml");
    let digest = format!("sha256:{}", "1".repeat(64));
    let text = std::fs::read_to_string(&file).unwrap().replace(PLACEHOLDER_DIGEST, &digest);
    std::fs::write(&file, text).unwrap();
    let Ok(output) = Command::new("kubectl").arg("kustomize").arg(folder.path().join(FOLDER)).output() else {
        return println!("SKIPPED: kubectl cannot be run; hack/test-deps.sh installs it");
    };
    let rendered = String::from_utf8(output.stdout).unwrap();
    assert!(!rendered.contains(PLACEHOLDER_DIGEST));
    for image in [OPERATOR_IMAGE, MONITOR_IMAGE] {
        assert_eq!(rendered.matches(&format!("{image}@{digest}")).count(), 1, "{rendered}");
    }
}

#[test]
fn drift_is_told_file_by_file_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path()).unwrap();
    let deploy = folder.path().join(FOLDER);
    std::fs::write(deploy.join("osc.yaml"), "").unwrap();
    std::fs::write(deploy.join("rbac/old.yaml"), "").unwrap();
    std::fs::remove_file(deploy.join("kustomization.yaml")).unwrap();
    assert_eq!(
        check(folder.path()).unwrap_err().to_string(),
        "deploy/kustomization.yaml is missing\ndeploy/osc.yaml differs from what is generated\n\
         deploy/rbac/old.yaml is not generated any more\nto mend it: cargo xtask manifests"
    );
    write(folder.path()).unwrap();
    check(folder.path()).unwrap();
}

#[test]
fn the_dashboard_is_one_that_the_console_can_read() {
    let dashboard = monitoring::dashboard().unwrap();
    let text = dashboard["data"]["kata-resources.json"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let panels: Vec<&Value> = dashboard["rows"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row["panels"].as_array().unwrap())
        .collect();
    let identities: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(identities.len(), panels.len());
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert!(expression.contains("osc_") || expression.contains("kata_"), "{expression}");
        }
    }
}

/// The groups of all rules, in a file as promtool reads it.
fn rule_file(folder: &Path, more: Option<Value>) -> PathBuf {
    let mut groups: Vec<Value> = more.into_iter().collect();
    for rule in monitoring::rules() {
        groups.extend(rule["spec"]["groups"].as_array().unwrap().clone());
    }
    let file = folder.join("rules.yaml");
    std::fs::write(&file, yaml::document(&json!({"groups": groups})).unwrap()).unwrap();
    file
}

fn promtool(arguments: [&str; 2], file: &Path) {
    match Command::new("promtool").args(arguments).arg(file).output() {
        Err(error) => println!("SKIPPED: promtool cannot be run ({error}); hack/test-deps.sh installs it"),
        Ok(output) => assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// The rules, and the expressions of the dashboard as rules, too.
#[test]
fn promtool_accepts_rules_and_dashboard() {
    let dashboard: Value = serde_json::from_str(include_str!("../../assets/dashboard.json")).unwrap();
    let panels =
        dashboard["rows"].as_array().unwrap().iter().flat_map(|row| row["panels"].as_array().unwrap());
    let shown: Vec<Value> = panels
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .enumerate()
        .map(|(index, target)| json!({"record": format!("dashboard:{index}"), "expr": target["expr"]}))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = rule_file(folder.path(), Some(json!({"name": "dashboard", "rules": shown})));
    promtool(["check", "rules"], &file);
}

/// A cluster of two nodes, one sample every five minutes, and the alerts that fire at that time.
#[rstest::rstest]
#[case::stalled_for_long("1x36", "1x36", "0x36", "0x36", "0x36", "2h30m", &["KataInstallationStalled"])]
#[case::stalled_for_a_while("1x36", "1x36", "0x36", "0x36", "0x36", "1h30m", &[])]
#[case::progress_after_an_hour("1x12 2x24", "1x12 0x24", "0x36", "0x36", "0x36", "2h30m", &[])]
#[case::done("2x36", "0x36", "0x36", "1x36", "0x36", "2h30m", &[])]
#[case::no_kata_config("0x36", "0x36", "0x36", "0x36", "0x36", "2h30m", &[])]
#[case::node_failed("1x36", "0x36", "1x36", "0x36", "0x36", "25m", &["KataNodeFailed"])]
#[case::degraded("2x36", "0x36", "0x36", "1x36", "1x36", "40m", &["KataConfigDegraded"])]
fn alerts_fire_when_they_should(
    #[case] installed: &str,
    #[case] installing: &str,
    #[case] failed: &str,
    #[case] success: &str,
    #[case] degraded: &str,
    #[case] at: &str,
    #[case] expected: &[&str],
) {
    let series = |name: &str, values: &str| {
        let values: Vec<String> = values.split(' ').map(|part| part.replacen('x', "+0x", 1)).collect();
        json!({"series": name, "values": values.join(" ")})
    };
    // Prometheus tests one alert at a time; labels and annotations are compared, too, so that they are looked up.
    let rules = monitoring::rules();
    let known = rules[1]["spec"]["groups"][0]["rules"].as_array().unwrap();
    let tests: Vec<Value> = known
        .iter()
        .map(|rule| {
            let alert = rule["alert"].as_str().unwrap();
            let mut firing = Vec::new();
            if expected.contains(&alert) {
                let mut labels = rule["labels"].clone();
                let mut annotations = rule["annotations"].clone();
                if alert == "KataNodeFailed" {
                    labels["state"] = json!("failed_to_install");
                    annotations["summary"] = json!("1 node(s) are in the state failed_to_install.");
                }
                firing.push(json!({"exp_labels": labels, "exp_annotations": annotations}));
            }
            json!({"eval_time": at, "alertname": alert, "exp_alerts": firing})
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    rule_file(folder.path(), None);
    let test = json!({
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "5m",
        "tests": [{
            "interval": "5m",
            "input_series": [
                series("osc_nodes{state=\"installed\"}", installed),
                series("osc_nodes{state=\"installing\"}", installing),
                series("osc_nodes{state=\"failed_to_install\"}", failed),
                series("kata_config_installation_success", success),
                series("osc_kata_config_condition{condition=\"Degraded\"}", degraded),
                series("osc_leader", "1x36"),
            ],
            "alert_rule_test": tests,
        }],
    });
    let file = folder.path().join("test.yaml");
    std::fs::write(&file, yaml::document(&test).unwrap()).unwrap();
    promtool(["test", "rules"], &file);
}
