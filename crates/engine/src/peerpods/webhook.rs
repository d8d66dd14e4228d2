//! The webhook that makes peer pods ask for a pod VM instead of a node's memory: what runs it, and who asks it.
//!
//! API servers ask it only when it answers: the configuration comes last and goes first, so that no pod is ever refused for
//! want of an answer.

use osc_api::names;
use osc_api::peerpods;
use osc_api::peerpods::webhook::{
    CERTIFICATE_DIRECTORY, CLASS_VARIABLE, CONFIGURATION, DEPLOYMENT, EXCLUDED_NAMESPACES, HEALTH_PORT,
    MATCH_CONDITION, MATCH_CONDITION_NAME, METRICS_PORT, NAMESPACE_LABEL, NAMESPACE_VARIABLE, PATH, PORT,
    RESOURCE_VARIABLE, SECRET, SERVICE, SERVICE_PORT, VOLUME, WEBHOOK,
};
use serde_json::{Value, json};

use super::adaptor::{has_other_containers, mended};
use super::progress::Progress;
use super::situation::{Situation, own};
use super::tls::TlsProfile;
use crate::desired::{Desired, owned_by, with_identity};
use crate::object::{Kind, ObjectId, conditions, holds, is_deleted, time};
use crate::observed::{KataConfigView, Observed, Settings};
use crate::plan::Step;
use crate::security::webhooks::{INJECT_BUNDLE, SERVING_CERTIFICATE};

/// How long an API server waits for an answer, in seconds.
const TIMEOUT: u8 = 5;

/// How steps name the configuration.
pub fn configuration_id() -> ObjectId {
    ObjectId::cluster(Kind::MutatingWebhookConfiguration, CONFIGURATION)
}

/// How steps name the Deployment and the Service.
pub fn server_ids(settings: &Settings) -> [ObjectId; 2] {
    [own(settings, Kind::Deployment, DEPLOYMENT), own(settings, Kind::Service, SERVICE)]
}

/// Sees to all of it.
pub fn ensure(situation: &Situation<'_>, kata_config: &KataConfigView) -> Progress {
    let mut progress = Progress::default();
    let (observed, settings) = (situation.observed, situation.settings);
    let Some(image) = &settings.peer_pods.webhook_image else {
        progress.wait("no image is known for the webhook");
        progress.trouble(
            "PeerPodsImageMissing",
            "no image is known for the webhook of peer pods: set RELATED_IMAGE_PEERPODS_WEBHOOK in the operator's Deployment"
                .to_owned(),
        );
        return progress;
    };
    progress.steps.extend(crate::workload::ensure(observed, service(observed, settings, kata_config)));
    let (id, object) = deployment(situation, kata_config, image);
    let found = observed.objects.get(&id);
    match found {
        Some(found) if is_deleted(found) => progress.wait("the webhook is made anew"),
        Some(found) if has_other_containers(&object, found) => {
            progress.wait("the webhook is made anew");
            // First the question: that of the operator before refuses all pods while nobody answers.
            progress.steps.extend(withdraw_question(observed, settings).0);
            progress.steps.push(Step::Delete { id });
            return progress;
        }
        Some(found) if holds(&object, found) => {}
        Some(found) => progress.steps.push(mended(&id, object, found)),
        None => progress.steps.push(Step::Apply { id, object }),
    }
    let configured = observed.objects.get(&configuration_id());
    if configured.is_some_and(|found| !is_ours(found, settings)) {
        progress.wait("the webhook cannot be asked");
        progress.trouble(
            "PeerPodsWebhookCollision",
            format!(
                "MutatingWebhookConfiguration {CONFIGURATION} belongs to somebody else, and API servers are told about the \
                 webhook of peer pods by one of that name: rename or delete it"
            ),
        );
        return progress;
    }
    if !observed.capabilities.release_known {
        progress.wait("the API server tells its release");
        return progress;
    }
    let asked = configured.is_some();
    let answers = found.is_some_and(|found| found["status"]["availableReplicas"].as_u64() > Some(0));
    if let Some(found) = found.filter(|_| !answers) {
        silent(situation, found, &mut progress);
    }
    if asked || answers {
        let configuration = configuration(observed, settings);
        progress.steps.extend(crate::workload::ensure(observed, configuration));
        let trusted = configured.is_some_and(|found| {
            found["webhooks"][0]["clientConfig"]["caBundle"].as_str().is_some_and(|bundle| !bundle.is_empty())
        });
        if !trusted {
            progress.wait("API servers are told whom to trust");
        }
    } else {
        progress.wait("the webhook starts");
    }
    progress
}

/// Nobody answers: right after the start, and while both nodes restart, that passes.
fn silent(situation: &Situation<'_>, deployment: &Value, progress: &mut Progress) {
    let (observed, settings) = (situation.observed, situation.settings);
    let down = conditions(deployment, "False").find(|one| one["type"] == "Available");
    let since = down.and_then(|down| time(&down["lastTransitionTime"]));
    let Some(deadline) = since.and_then(|since| since.checked_add(settings.peer_pods.start_deadline).ok())
    else {
        return;
    };
    if observed.now < deadline {
        return progress.wake_by(Some(deadline));
    }
    progress.trouble(
        "PeerPodsWebhookNotReady",
        format!(
            "no pod of Deployment {namespace}/{DEPLOYMENT} has been ready for {} min: peer pods are not counted, and where API servers \
             can tell them apart they are refused; see oc describe pod -n {namespace} -l app={DEPLOYMENT} and oc logs -n {namespace} \
             deployment/{DEPLOYMENT}",
            settings.peer_pods.start_deadline.as_mins(),
            namespace = settings.namespace,
        ),
    );
}

/// Whether a configuration is that of peer pods: its name is one that others use, too.
fn is_ours(found: &Value, settings: &Settings) -> bool {
    let webhooks = found["webhooks"].as_array();
    webhooks.is_some_and(|all| {
        all.iter().any(|one| {
            let service = &one["clientConfig"]["service"];
            one["name"] == WEBHOOK
                && service["name"] == SERVICE
                && service["namespace"] == settings.namespace.as_str()
        })
    })
}

/// Takes the question away. True while it is still asked.
pub fn withdraw_question(observed: &Observed, settings: &Settings) -> (Vec<Step>, bool) {
    let id = configuration_id();
    let found = observed.objects.get(&id).filter(|found| is_ours(found, settings));
    let left = found.is_some_and(|found| !is_deleted(found));
    (left.then_some(Step::Delete { id }).into_iter().collect(), found.is_some())
}

fn labels() -> Value {
    json!({"app": DEPLOYMENT})
}

fn service(observed: &Observed, settings: &Settings, kata_config: &KataConfigView) -> Desired {
    let mut metadata = json!({"name": SERVICE, "namespace": settings.namespace});
    if observed.capabilities.openshift {
        metadata["annotations"] = json!({SERVING_CERTIFICATE: SECRET});
    }
    let spec = json!({
        "selector": labels(),
        "ports": [{"name": SERVICE, "port": SERVICE_PORT, "targetPort": PORT, "protocol": "TCP"}],
    });
    let object = with_identity(Kind::Service, metadata, json!({"spec": spec}));
    (own(settings, Kind::Service, SERVICE), owned_by(kata_config, object))
}

fn deployment(situation: &Situation<'_>, kata_config: &KataConfigView, image: &str) -> Desired {
    let settings = situation.settings;
    let fixed = [
        (NAMESPACE_VARIABLE, settings.namespace.as_str()),
        (CLASS_VARIABLE, names::REMOTE_RUNTIME_CLASS),
        (RESOURCE_VARIABLE, peerpods::VM_RESOURCE),
    ];
    let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let env: Vec<Value> = fixed
        .chain(TlsProfile::of(situation.observed).variables())
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": HEALTH_PORT}, "periodSeconds": 5});
    let container = json!({
        "name": "webhook",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/bin/osc-webhook"],
        "env": env,
        "ports": [
            {"name": "webhook", "containerPort": PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": probe("/readyz"),
        "livenessProbe": probe("/healthz"),
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": VOLUME, "mountPath": CERTIFICATE_DIRECTORY, "readOnly": true}],
    });
    let certificate = json!({
        "secretName": SECRET,
        "defaultMode": 0o644,
        "items": [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}],
    });
    // Two replicas on one node go down together.
    let apart = json!({
        "weight": 100,
        "podAffinityTerm": {"labelSelector": {"matchLabels": labels()}, "topologyKey": "kubernetes.io/hostname"},
    });
    let pod = json!({
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [apart]}},
        "containers": [container],
        "volumes": [{"name": VOLUME, "secret": certificate}],
    });
    let spec = json!({
        "replicas": 2,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": labels()},
        "template": {"metadata": {"labels": labels()}, "spec": pod},
    });
    let metadata = json!({
        "name": DEPLOYMENT,
        "namespace": settings.namespace,
        "labels": {"app": DEPLOYMENT},
    });
    let object = with_identity(Kind::Deployment, metadata, json!({"spec": spec}));
    (own(settings, Kind::Deployment, DEPLOYMENT), owned_by(kata_config, object))
}

/// How API servers reach it; whom they are to trust there, somebody else adds.
pub fn client_config(namespace: &str) -> Value {
    json!({"service": {"namespace": namespace, "name": SERVICE, "port": SERVICE_PORT, "path": PATH}})
}

/// Who is asked about which pods. Where API servers cannot be told to ask about peer pods alone, a webhook that does not
/// answer must not keep all other pods from being created.
fn configuration(observed: &Observed, settings: &Settings) -> Desired {
    let mut excluded = vec![settings.namespace.as_str()];
    excluded.extend(EXCLUDED_NAMESPACES.iter().copied().filter(|name| *name != settings.namespace));
    let conditions = observed.capabilities.match_conditions;
    let mut webhook = json!({
        "name": WEBHOOK,
        "clientConfig": client_config(&settings.namespace),
        "rules": [{
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["pods"],
            "scope": "Namespaced",
        }],
        "namespaceSelector": {"matchExpressions": [{
            "key": NAMESPACE_LABEL, "operator": "NotIn", "values": excluded,
        }]},
        "failurePolicy": if conditions { "Fail" } else { "Ignore" },
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": TIMEOUT,
    });
    if conditions {
        webhook["matchConditions"] = json!([{
            "name": MATCH_CONDITION_NAME, "expression": MATCH_CONDITION,
        }]);
    }
    let mut metadata = json!({"name": CONFIGURATION});
    if observed.capabilities.openshift {
        metadata["annotations"] = json!({INJECT_BUNDLE: "true"});
    }
    let object = with_identity(Kind::MutatingWebhookConfiguration, metadata, json!({"webhooks": [webhook]}));
    (configuration_id(), object)
}
