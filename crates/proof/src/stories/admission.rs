//! What is refused at the door: before it is stored, and before whoever sent it has turned away.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use osc_admission::memory_overhead::ANNOTATION;
use osc_api::{KataConfig, names};
use osc_devcluster::sim::service_ca::INJECT_BUNDLE;
use osc_engine::security::webhooks;
use osc_operator::Options;
use osc_operator::options::BindAddress;
use osc_operator::webhook::Source;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Beginning, Story, story};
use crate::bed::{self, Bed, NAME, eventually, workers};

pub fn stories() -> Vec<Story> {
    vec![
        story!(a_second_kata_config_is_refused_at_the_door, workers(1)).from(Beginning::Installed),
        story!(a_wrong_specification_is_refused_at_the_door, workers(1)).from(Beginning::Installed),
        story!(one_that_is_being_removed_takes_no_changes, workers(1)).from(Beginning::Installed),
        story!(without_an_operator_creation_waits_and_removal_does_not, workers(1))
            .from(Beginning::Installed),
        story!(pods_get_a_memory_overhead_where_it_is_asked_for, workers(1)).from(Beginning::Installed),
    ]
}

/// An operator that serves webhooks on loopback, where both servers reach it, with an authority of its own.
pub fn options() -> Options {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = bed::options();
    options.webhook.webhook_bind_address = BindAddress(Some(address));
    options.webhook.webhook_certificates = Source::SelfManaged;
    options.webhook.webhook_url = Some(format!("https://{address}"));
    options
}

/// The webhooks of `deploy/` without the wish that the service CA tells API servers whom to trust: the operator of a story
/// is no pod behind a Service, and its certificate is not from there.
pub fn configurations() -> impl Iterator<Item = Value> {
    let ours =
        bed::manifests().into_iter().filter(|object| object["kind"] == "ValidatingWebhookConfiguration");
    ours.map(|mut object| {
        let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove(INJECT_BUNDLE).unwrap();
        object
    })
}

/// Installs the webhooks of `deploy/` and starts an operator that serves them; waits until the API server asks it.
pub async fn serve(bed: &mut Bed, options: Options) {
    for object in configurations() {
        assert_eq!(bed::apply(&bed.client, object).await, None);
    }
    bed.run_operator(options).await;
    asked(bed).await;
}

/// Waits until the API server asks about KataConfigs and trusts the answer: until the refusal of a wrong one is the
/// webhook's, and a change reaches it, too.
async fn asked(bed: &Bed) {
    let wrong = json!({"logLevel": "wrong"});
    let refused = || async {
        try_out(bed, NAME, &wrong).await.is_err_and(|words| words.contains("denied the request"))
    };
    assert!(eventually(refused).await, "the API server asks nobody: {:?}", try_out(bed, NAME, &wrong).await);
}

/// Whether a KataConfig would be created; nothing is.
pub async fn try_out(bed: &Bed, name: &str, spec: &Value) -> Result<(), String> {
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let object = json!({"metadata": {"name": name}, "spec": spec});
    let object: KataConfig = serde_json::from_value(object).unwrap();
    outcome(bed.kata_configs().create(&params, &object).await)
}

fn outcome<T>(answer: Result<T, kube::Error>) -> Result<(), String> {
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

async fn change(bed: &Bed, patch: Value) -> Result<(), String> {
    outcome(bed.kata_configs().patch(NAME, &PatchParams::default(), &Patch::Merge(patch)).await)
}

fn denied(webhook: &str, words: &str) -> Result<(), String> {
    Err(format!("admission webhook {webhook:?} denied the request: {words}"))
}

async fn a_second_kata_config_is_refused_at_the_door(bed: &mut Bed) {
    serve(bed, options()).await;
    bed.create(NAME, json!({})).await;
    let words = "A KataConfig instance already exists, refusing to create a duplicate: \"example-kataconfig\"; change that \
                 one (oc edit kataconfig example-kataconfig) or remove it first (oc delete kataconfig example-kataconfig)";
    for name in ["second", NAME] {
        let answer = outcome(bed::create(&bed.client, name, json!({})).await);
        assert_eq!(answer, denied("vkataconfig.kb.io", words), "{name}");
    }
    bed.installed(NAME).await;
    assert_eq!(bed.names_of::<KataConfig>().await, [NAME]);
    bed.delete(NAME).await;
    bed.gone(NAME).await;
    bed.create("second", json!({})).await;
    bed.installed("second").await;
}

/// Specifications, and what is said about each.
fn wrong() -> [(Value, &'static str); 3] {
    let selector = |operator: &str| json!({"kataConfigPoolSelector": {"matchExpressions": [{"key": "zone", "operator": operator}]}});
    [
        (
            selector("Near"),
            "KataConfig \"example-kataconfig\": spec.kataConfigPoolSelector.matchExpressions[0].operator is \"Near\"; use In, \
             NotIn, Exists or DoesNotExist",
        ),
        (
            selector("In"),
            "KataConfig \"example-kataconfig\": spec.kataConfigPoolSelector.matchExpressions[0].values is empty, but \
             operator In needs at least one value",
        ),
        (
            json!({"logLevel": "verbose"}),
            "KataConfig \"example-kataconfig\": spec.logLevel is \"verbose\", which CRI-O does not know; use one of fatal, \
             panic, error, warn, info, debug, trace",
        ),
    ]
}

async fn a_wrong_specification_is_refused_at_the_door(bed: &mut Bed) {
    serve(bed, options()).await;
    for (spec, words) in wrong() {
        let answer = outcome(bed::create(&bed.client, NAME, spec).await);
        assert_eq!(answer, denied("vkataconfig.kb.io", words));
    }
    assert!(bed.names_of::<KataConfig>().await.is_empty());
    bed.create(NAME, json!({"logLevel": "debug"})).await;
    // In the middle of the installation and after it.
    for _ in 0..2 {
        for (spec, words) in wrong() {
            assert_eq!(change(bed, json!({"spec": spec})).await, denied("vkataconfig-update.kb.io", words));
        }
        bed.installed(NAME).await;
    }
    assert_eq!(bed.kata_configs().get(NAME).await.unwrap().spec.unwrap().log_level, "debug");
    bed.assert_reboots(&[("worker-0", 1)]).await;
    assert_eq!(change(bed, json!({"metadata": {"labels": {"team": "blue"}}})).await, Ok(()));
    assert_eq!(change(bed, json!({"spec": {"logLevel": "info"}})).await, Ok(()));
    bed.updated(NAME).await;
}

async fn one_that_is_being_removed_takes_no_changes(bed: &mut Bed) {
    serve(bed, options()).await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    let finalizer = "test.example.com/look";
    let finalizers = || async { bed.kata_configs().get(NAME).await.unwrap().finalizers().to_vec() };
    let held: Vec<String> = finalizers().await.into_iter().chain([finalizer.to_owned()]).collect();
    assert_eq!(change(bed, json!({"metadata": {"finalizers": held}})).await, Ok(()));
    bed.delete(NAME).await;
    let words = "KataConfig \"example-kataconfig\": spec cannot be changed any more, since the KataConfig is being removed; \
                 wait until it is gone and create it anew as you want it";
    let debug = json!({"spec": {"logLevel": "debug"}});
    assert_eq!(change(bed, debug).await, denied("vkataconfig-update.kb.io", words));
    let leaving = outcome(bed::create(&bed.client, "second", json!({})).await).unwrap_err();
    assert!(leaving.contains("being removed; wait until it is gone: oc get kataconfig"), "{leaving}");
    // The operator takes its finalizer away, and whoever put another one there that one.
    let ours_is_gone = || async { finalizers().await == [finalizer] };
    assert!(eventually(ours_is_gone).await, "{:?}", bed.status(NAME).await);
    assert_eq!(change(bed, json!({"metadata": {"labels": {"a": "b"}}})).await, Ok(()));
    assert_eq!(change(bed, json!({"metadata": {"finalizers": null}})).await, Ok(()));
    bed.gone(NAME).await;
}

async fn without_an_operator_creation_waits_and_removal_does_not(bed: &mut Bed) {
    let options = options();
    serve(bed, options.clone()).await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    bed.stop_operator().await;
    let words = outcome(bed::create(&bed.client, "second", json!({})).await).unwrap_err();
    assert!(words.contains("failed calling webhook \"vkataconfig.kb.io\""), "{words}");
    // Whatever happens to the operator, what there is stays in the hands of people.
    assert_eq!(change(bed, json!({"metadata": {"labels": {"team": "blue"}}})).await, Ok(()));
    assert_eq!(change(bed, json!({"spec": {"logLevel": "debug"}})).await, Ok(()));
    bed.delete(NAME).await;
    bed.run_operator(options).await;
    bed.gone(NAME).await;
    asked(bed).await;
    assert_eq!(try_out(bed, "second", &json!({})).await, Ok(()));
}

async fn gate(bed: &Bed, megabytes: &str) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {webhooks::MEMORY_OVERHEAD_KEY: megabytes},
        "metadata": {"name": names::FEATURE_GATES, "namespace": names::OPERATOR_NAMESPACE}});
    assert_eq!(bed::apply(&bed.client, map).await, None);
}

fn object<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

/// The annotation that a new pod has.
async fn overhead(bed: &Bed, namespace: &str, class: Option<&str>, own: Option<&str>) -> Option<String> {
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), namespace);
    let annotations = own.map(|own| json!({ANNOTATION: own}));
    let pod = json!({"metadata": {"name": "pod", "annotations": annotations},
        "spec": {"runtimeClassName": class, "containers": [{"name": "c", "image": "i"}]}});
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let created = pods.create(&params, &object(pod)).await.unwrap();
    created.annotations().get(ANNOTATION).cloned()
}

async fn pods_get_a_memory_overhead_where_it_is_asked_for(bed: &mut Bed) {
    let namespaces: Api<Namespace> = Api::all(bed.client.clone());
    namespaces.create(&PostParams::default(), &object(json!({"metadata": {"name": "mine"}}))).await.unwrap();
    serve(bed, options()).await;
    bed.create(NAME, json!({})).await;
    bed.installed(NAME).await;
    assert!(bed.names_of::<MutatingWebhookConfiguration>().await.is_empty(), "nobody asked for it");
    assert_eq!(overhead(bed, "mine", Some("kata"), None).await, None);

    gate(bed, "512").await;
    let given = || async { overhead(bed, "mine", Some("kata"), None).await == Some("512".to_owned()) };
    assert!(eventually(given).await, "{:?}", bed.names_of::<MutatingWebhookConfiguration>().await);
    assert_eq!(overhead(bed, "mine", Some("kata"), Some("64")).await, Some("64".to_owned()));
    assert_eq!(overhead(bed, "mine", None, None).await, None);
    for namespace in ["kube-system", "openshift-monitoring", names::OPERATOR_NAMESPACE] {
        assert_eq!(overhead(bed, namespace, Some("kata"), None).await, None, "{namespace}");
    }
    gate(bed, "640").await;
    let given = || async { overhead(bed, "mine", Some("kata"), None).await == Some("640".to_owned()) };
    assert!(eventually(given).await);

    // Somebody who tidies up does no lasting harm.
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(bed.client.clone());
    configurations.delete(webhooks::MEMORY_OVERHEAD, &DeleteParams::default()).await.unwrap();
    assert!(eventually(given).await);

    gate(bed, "a lot").await;
    let gone = || async { bed.names_of::<MutatingWebhookConfiguration>().await.is_empty() };
    assert!(eventually(gone).await);
    let events: Api<Event> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    let told = || async {
        let events = events.list(&ListParams::default()).await.unwrap();
        events.iter().any(|event| {
            event.regarding.as_ref().and_then(|map| map.name.as_deref()) == Some(names::FEATURE_GATES)
                && event
                    .note
                    .as_deref()
                    .is_some_and(|note| note.contains("memoryOverheadMB is \"a lot\"; write a number"))
        })
    };
    assert!(eventually(told).await, "the author of the config map is told");
    let nothing = || async { overhead(bed, "mine", Some("kata"), None).await.is_none() };
    assert!(eventually(nothing).await);

    gate(bed, "512").await;
    let given = || async { overhead(bed, "mine", Some("kata"), None).await == Some("512".to_owned()) };
    assert!(eventually(given).await);
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    maps.delete(names::FEATURE_GATES, &DeleteParams::default()).await.unwrap();
    assert!(eventually(gone).await);
    assert!(eventually(nothing).await);
}
