//! What holds for every pod.

use k8s_openapi::api::core::v1::Pod;
use osc_api::peerpods::webhook::{DEFAULT_GPUS, DEFAULT_MEMORY, DEFAULT_VCPUS};
use osc_engine::quantity::parse;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::cases::with;
use super::*;

const VM: &str = "kata.peerpods.io/vm";
const NAMES: [&str; 7] =
    ["cpu", "memory", "nvidia.com/gpu", VM, "ephemeral-storage", "hugepages-2Mi", "example.com/device"];
const QUANTITIES: [&str; 14] =
    ["0", "1", "2", "250m", "1500m", "0.1", "1.5", "1Ki", "64Mi", "1Gi", "1G", "12e2", "1u", "3Ti"];
const SIZES: [&str; 3] = [DEFAULT_VCPUS, DEFAULT_MEMORY, DEFAULT_GPUS];

fn half() -> impl Strategy<Value = Value> {
    let map = subsequence(NAMES.to_vec(), 0..4).prop_flat_map(|names| {
        let quantities = prop::collection::vec(select(QUANTITIES.to_vec()), names.len());
        quantities.prop_map(move |quantities| names.iter().copied().zip(quantities).collect::<Vec<_>>())
    });
    map.prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(name, quantity)| (name.to_owned(), json!(quantity)))
            .collect::<Map<_, _>>()
            .into()
    })
}

fn resources() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => Just(json!({})),
        1 => half().prop_map(|limits| json!({"limits": limits})),
        4 => (half(), half()).prop_map(|(requests, limits)| json!({"requests": requests, "limits": limits})),
        1 => half().prop_map(|requests| json!({"requests": requests, "claims": [{"name": "device"}]})),
    ]
}

fn container(list: &'static str) -> impl Strategy<Value = Value> {
    ("[a-z]{1,8}", resources(), any::<bool>()).prop_map(move |(name, resources, always)| {
        let mut container = json!({"name": name, "image": "registry.example.com/i", "env": [{"name": "A", "value": "b"}],
            "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]});
        if !resources.is_null() {
            container["resources"] = resources;
        }
        if always && list == "initContainers" {
            container["restartPolicy"] = json!("Always");
        }
        container
    })
}

fn annotations() -> impl Strategy<Value = Value> {
    let own = subsequence(
        [SIZES.as_slice(), &["a", "b/c~d", "io.katacontainers.config.hypervisor.machine_type"]].concat(),
        0..5,
    );
    let map = own.prop_map(|names| {
        names.into_iter().map(|name| (name.to_owned(), json!("7"))).collect::<Map<_, _>>().into()
    });
    prop_oneof![Just(Value::Null), map]
}

fn pod(class: impl Strategy<Value = &'static str>) -> impl Strategy<Value = Value> {
    let lists = (
        prop::collection::vec(container("containers"), 1..4),
        prop::collection::vec(container("initContainers"), 0..4),
    );
    (class, lists, resources(), annotations()).prop_map(|(class, (containers, init), resources, annotations)| {
        let mut object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "shop"}},
            "spec": {"runtimeClassName": class, "containers": containers, "initContainers": init, "nodeSelector": {"a": "b"}}});
        if !resources.is_null() {
            object["spec"]["resources"] = resources;
        }
        if !annotations.is_null() {
            object["metadata"]["annotations"] = annotations;
        }
        object
    })
}

fn peer_pod() -> impl Strategy<Value = Value> {
    pod(Just("kata-remote"))
}

fn stored(object: &Value) -> Value {
    with(object, &Options::default()).0
}

fn all_containers(object: &Value) -> impl Iterator<Item = &Value> {
    LISTS.into_iter().flat_map(|list| object["spec"][list].as_array().into_iter().flatten())
}

/// Everything but resources and the annotations about sizes.
fn rest(object: &Value) -> Value {
    let mut object = object.clone();
    let spec = object["spec"].as_object_mut().unwrap();
    spec.remove("resources");
    for list in LISTS {
        for container in spec[list].as_array_mut().unwrap() {
            container.as_object_mut().unwrap().remove("resources");
        }
    }
    let metadata = object["metadata"].as_object_mut().unwrap();
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| !SIZES.contains(&name.as_str()));
    }
    if metadata.get("annotations") == Some(&json!({})) {
        metadata.remove("annotations");
    }
    object
}

fn amount(object: &Value, half: &str, name: &str) -> i128 {
    object["resources"][half][name].as_str().and_then(parse).unwrap_or_default()
}

/// By request or, where there is none, by limit.
fn asked(container: &Value, name: &str) -> i128 {
    match container["resources"]["requests"][name].as_str() {
        Some(quantity) => parse(quantity).unwrap(),
        None => amount(container, "limits", name),
    }
}

fn size(object: &Value, name: &str) -> i128 {
    object["metadata"]["annotations"][name].as_str().map_or(0, |value| value.parse().unwrap())
}

proptest! {
    #[test]
    fn once_is_as_good_as_twice(object in peer_pod()) {
        let once = stored(&object);
        let (twice, warnings) = with(&once, &Options::default());
        prop_assert_eq!(&twice, &once);
        prop_assert!(warnings.is_empty(), "{:?}", warnings);
    }

    /// The second of two questions comes with what API servers fill in: resources that are not there are `{}`.
    #[test]
    fn what_api_servers_fill_in_is_left(object in peer_pod()) {
        let mut once = stored(&object);
        for list in LISTS {
            for container in once["spec"][list].as_array_mut().unwrap() {
                let resources = container.as_object_mut().unwrap().entry("resources").or_insert(json!({}));
                if let Some(limits) = resources.get("limits").cloned() {
                    resources["requests"] = resources.get("requests").cloned().unwrap_or(limits);
                }
            }
        }
        prop_assert_eq!(stored(&once), once);
    }

    #[test]
    fn nothing_else_changes(object in peer_pod()) {
        prop_assert_eq!(rest(&stored(&object)), rest(&object));
    }

    #[test]
    fn what_a_person_wrote_stays(object in peer_pod()) {
        let found = stored(&object);
        for (name, value) in object["metadata"]["annotations"].as_object().into_iter().flatten() {
            prop_assert_eq!(&found["metadata"]["annotations"][name], value);
        }
    }

    #[test]
    fn only_pod_vms_are_asked_for_and_at_least_one(object in peer_pod()) {
        let found = stored(&object);
        prop_assert!(!is_filled(&found["spec"]["resources"]));
        for container in all_containers(&found) {
            for (half, names) in container["resources"].as_object().into_iter().flatten() {
                prop_assert!(HALVES.contains(&half.as_str()), "{}", half);
                prop_assert!(names.as_object().unwrap().keys().all(|name| name == VM), "{}", names);
            }
        }
        prop_assert!(all_containers(&found).any(|container| asked(container, VM) > 0));
    }

    #[test]
    fn pods_of_other_classes_never_change(object in pod(select(vec!["kata", "", "gvisor", "kata-remote-2"]))) {
        prop_assert_eq!(stored(&object), object);
    }

    #[test]
    fn what_is_stored_is_a_pod(object in peer_pod()) {
        let pod: Pod = serde_json::from_value(stored(&object)).unwrap();
        let class = pod.spec.unwrap().runtime_class_name;
        prop_assert_eq!(class.as_deref(), Some("kata-remote"));
    }

    /// No VM is larger than the plain sum of all that is asked for, nor smaller than the greediest container needs.
    #[test]
    fn sizes_are_between_the_greediest_and_the_sum(object in peer_pod()) {
        let mut object = object;
        object["spec"].as_object_mut().unwrap().remove("resources");
        object["metadata"].as_object_mut().unwrap().remove("annotations");
        let found = stored(&object);
        for (name, annotation, unit) in
            [("cpu", DEFAULT_VCPUS, 1000), ("memory", DEFAULT_MEMORY, 1000 << 20), ("nvidia.com/gpu", DEFAULT_GPUS, 1000)]
        {
            let largest = |container: &Value| asked(container, name).max(amount(container, "limits", name));
            let sum: i128 = all_containers(&object).map(largest).sum();
            let greediest = all_containers(&object).map(largest).max().unwrap();
            let size = size(&found, annotation);
            prop_assert!((size - 1) * unit < sum.max(1), "{} {} {}", name, size, sum);
            prop_assert!(size * unit >= greediest, "{} {} {}", name, size, greediest);
        }
    }

    /// Order does not matter among containers, and more is never less.
    #[test]
    fn one_more_container_never_makes_it_smaller(object in peer_pod(), more in container("containers")) {
        let mut object = object;
        object["spec"].as_object_mut().unwrap().remove("resources");
        object["metadata"].as_object_mut().unwrap().remove("annotations");
        let mut larger = object.clone();
        larger["spec"]["containers"].as_array_mut().unwrap().push(more);
        let mut turned = object.clone();
        turned["spec"]["containers"].as_array_mut().unwrap().reverse();
        let [found, larger, turned] = [&object, &larger, &turned].map(stored);
        for name in SIZES {
            prop_assert!(size(&larger, name) >= size(&found, name));
            prop_assert_eq!(size(&turned, name), size(&found, name));
        }
    }

    /// Whatever is in a pod: an answer, never a panic, and pods of other classes pass.
    #[test]
    fn no_pod_breaks_it(part in "[a-z/]{0,12}", value in "[ -~]{0,12}", at in 0_usize..6) {
        let mut object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"runtimeClassName": "kata-remote", "containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}});
        let path = ["/spec", "/spec/containers", "/spec/containers/0", "/spec/containers/0/resources",
            "/spec/containers/0/resources/limits", "/spec/containers/0/resources/limits/cpu"][at];
        *object.pointer_mut(path).unwrap() = serde_json::from_str(&value).unwrap_or_else(|_| json!({(part): value}));
        let question = json!({"apiVersion": crate::review::VERSION, "kind": "AdmissionReview", "request": {
            "uid": "1", "operation": "CREATE", "userInfo": {}, "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"}, "object": object, "oldObject": null}});
        if let Ok(request) = crate::review::read(question.to_string().as_bytes()) {
            let _ = review(&request, &Options::default());
        }
    }
}
