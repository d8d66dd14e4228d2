//! What becomes of pods, as tables. Amounts are written `requests | limits`, as in `cpu=1 memory=1Gi | cpu=2`.

use osc_api::peerpods::webhook::{DEFAULT_GPUS, DEFAULT_MEMORY, DEFAULT_VCPUS, MATCH_CONDITION};
use rstest::rstest;

use super::*;
use crate::review as reviews;

fn map(text: &str) -> Value {
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, quantity)| (name.to_owned(), json!(quantity))).collect::<Map<_, _>>().into()
}

pub(super) fn resources(text: &str) -> Value {
    let (requests, limits) = text.split_once('|').unwrap_or((text, ""));
    json!({"requests": map(requests), "limits": map(limits)})
}

/// An init container that begins with `sidecar` is one.
fn container(index: usize, text: &str) -> Value {
    let name = format!("c{index}");
    match text.strip_prefix("sidecar ") {
        Some(text) => json!({"name": name, "restartPolicy": "Always", "resources": resources(text)}),
        None => json!({"name": name, "resources": resources(text)}),
    }
}

fn containers(texts: &[&str]) -> Value {
    texts.iter().enumerate().map(|(index, text)| container(index, text)).collect()
}

/// A pod of the class of peer pods.
fn pod(texts: &[&str], init: &[&str]) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"runtimeClassName": "kata-remote", "containers": containers(texts), "initContainers": containers(init)}})
}

fn question(object: &Value) -> Value {
    json!({"apiVersion": reviews::VERSION, "kind": "AdmissionReview", "request": {
        "uid": "1", "operation": "CREATE", "userInfo": {}, "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": object, "oldObject": null,
    }})
}

fn asked(question: &Value) -> Verdict {
    review(&reviews::read(question.to_string().as_bytes()).unwrap(), &Options::default())
}

pub(super) fn with(object: &Value, options: &Options) -> (Value, Vec<String>) {
    let request = reviews::read(question(object).to_string().as_bytes()).unwrap();
    match review(&request, options) {
        Verdict::Allow { patch, warnings } => {
            let mut object = object.clone();
            json_patch::patch(&mut object, &patch).unwrap();
            (object, warnings)
        }
        Verdict::Refuse(why) | Verdict::Malformed(why) => panic!("{why}"),
    }
}

/// The pod as it is stored, and what its author is told.
fn stored(object: &Value) -> (Value, Vec<String>) {
    with(object, &Options::default())
}

fn vm(count: &str) -> Value {
    json!({"requests": {"kata.peerpods.io/vm": count}, "limits": {"kata.peerpods.io/vm": count}})
}

/// The sizes that a pod is given: processors, MiB, GPUs.
fn sizes(object: &Value) -> [&str; 3] {
    let annotations = &object["metadata"]["annotations"];
    [DEFAULT_VCPUS, DEFAULT_MEMORY, DEFAULT_GPUS].map(|name| annotations[name].as_str().unwrap_or("-"))
}

// What is documented, sentence by sentence.

#[rstest]
#[case::removes_every_resource_specification_of_all_containers(
    "/spec/containers/1/resources", &["cpu=1 memory=1Gi | cpu=2", "cpu=1 memory=1Gi ephemeral-storage=1Gi | cpu=2"], &[]
)]
#[case::and_init_containers("/spec/initContainers/0/resources", &[""], &["cpu=1 hugepages-2Mi=2Mi | hugepages-2Mi=2Mi"])]
#[case::and_sidecars("/spec/initContainers/0/resources", &[""], &["sidecar cpu=1 | memory=1Gi"])]
fn the_webhook(#[case] path: &str, #[case] texts: &[&str], #[case] init: &[&str]) {
    let object = pod(texts, init);
    assert!(is_filled(object.pointer(path).unwrap()));
    let (object, _) = stored(&object);
    assert_eq!(object.pointer(path), None);
    assert_eq!(object["spec"]["containers"][0]["resources"], vm("1"));
}

#[test]
fn adds_the_extended_resource_to_the_first_container() {
    let (object, _) = stored(&pod(&["", "cpu=1"], &["cpu=2"]));
    assert_eq!(object["spec"]["containers"][0]["resources"], vm("1"));
    assert_eq!(object.to_string().matches("kata.peerpods.io/vm").count(), 2);
}

#[test]
fn exits_without_modifying_the_pod_if_the_class_does_not_match() {
    for class in
        [json!("kata"), json!("kata-remote-2"), json!("Kata-Remote"), json!(""), json!(null), json!(7)]
    {
        let mut object = pod(&["cpu=1 | memory=broken"], &[]);
        object["spec"]["runtimeClassName"] = class;
        assert_eq!(asked(&question(&object)), Verdict::allow());
    }
    let mut object = pod(&["cpu=1"], &[]);
    object["spec"].as_object_mut().unwrap().remove("runtimeClassName");
    assert_eq!(asked(&question(&object)), Verdict::allow());
}

#[test]
fn goes_by_the_class_and_the_resource_of_its_environment() {
    let options =
        Options { class: "far".to_owned(), resource: "example.com/vm".to_owned(), ..Options::default() };
    let mut object = pod(&["cpu=1"], &[]);
    assert_eq!(with(&object, &options).0, object);
    object["spec"]["runtimeClassName"] = json!("far");
    let (object, _) = with(&object, &options);
    let expected = json!({"requests": {"example.com/vm": "1"}, "limits": {"example.com/vm": "1"}});
    assert_eq!(object["spec"]["containers"][0]["resources"], expected);
}

#[rstest]
#[case("kube-system")]
#[case("kube-node-lease")]
#[case("openshift")]
#[case("openshift-dns")]
#[case("openshift-monitoring")]
#[case("peer-pods-webhook-system")]
#[case("openshift-sandboxed-containers-operator")]
fn excludes_system_namespaces(#[case] namespace: &str) {
    let mut question = question(&pod(&["cpu=1"], &[]));
    question["request"]["namespace"] = json!(namespace);
    assert_eq!(asked(&question), Verdict::allow());
    let own = format!("{namespace}-of-mine");
    question["request"]["namespace"] = json!(own);
    assert_ne!(asked(&question), Verdict::allow());
}

/// There accounting works if the pod includes the resource; brought elsewhere, such a pod stays as it is.
#[rstest]
#[case::first(&["kata.peerpods.io/vm=1 | kata.peerpods.io/vm=1"], &[], vm("1"))]
#[case::more_than_one(&["cpu=1 kata.peerpods.io/vm=2 | kata.peerpods.io/vm=2"], &[], vm("2"))]
#[case::only_a_limit(
    &["| kata.peerpods.io/vm=1 memory=1Gi"], &[], json!({"limits": {"kata.peerpods.io/vm": "1"}})
)]
#[case::second(&["cpu=1", "kata.peerpods.io/vm=1 | kata.peerpods.io/vm=1"], &[], Value::Null)]
#[case::init(&["cpu=1"], &["kata.peerpods.io/vm=1 | kata.peerpods.io/vm=1"], Value::Null)]
#[case::none_on_purpose(&["kata.peerpods.io/vm=0 | kata.peerpods.io/vm=0"], &[], vm("1"))]
#[case::another_resource(&["kata.peerpods.io/other=1 | kata.peerpods.io/other=1"], &[], vm("1"))]
fn keeps_what_a_pod_asks_for_itself(#[case] texts: &[&str], #[case] init: &[&str], #[case] first: Value) {
    let before = pod(texts, init);
    let (object, _) = stored(&before);
    assert_eq!(object["spec"]["containers"][0]["resources"], first);
    let others = |object: &Value| object.to_string().matches("kata.peerpods.io/vm").count();
    if first.is_null() {
        assert_eq!(others(&object), others(&before));
    }
}

// How large the VM is to be.

#[rstest]
#[case::nothing(&[""], &[], "", ["-", "-", "-"])]
#[case::documented_sizes(&["cpu=2 memory=4Gi"], &[], "", ["2", "4096", "-"])]
#[case::cpu_up(&["cpu=1001m"], &[], "", ["2", "-", "-"])]
#[case::little_cpu(&["cpu=1m"], &[], "", ["1", "-", "-"])]
#[case::cpu_exactly(&["cpu=3000m"], &[], "", ["3", "-", "-"])]
#[case::cpu_as_a_decimal(&["cpu=0.5"], &[], "", ["1", "-", "-"])]
#[case::many(&["cpu=1k"], &[], "", ["1000", "-", "-"])]
#[case::memory_up(&["memory=1025Ki"], &[], "", ["-", "2", "-"])]
#[case::one_byte(&["memory=1"], &[], "", ["-", "1", "-"])]
#[case::decimal_memory(&["memory=1G"], &[], "", ["-", "954", "-"])]
#[case::exponent(&["memory=128974848e0"], &[], "", ["-", "123", "-"])]
#[case::milli_bytes(&["memory=1048576001m"], &[], "", ["-", "2", "-"])]
#[case::limits_are_preferred(&["cpu=1 memory=1Gi | cpu=4 memory=2Gi"], &[], "", ["4", "2048", "-"])]
#[case::requests_that_limits_fall_short_of(&["cpu=3", "cpu=1 | cpu=2"], &[], "", ["4", "-", "-"])]
#[case::limits_of_some(&["cpu=1 | cpu=8", "cpu=2"], &[], "", ["8", "-", "-"])]
#[case::only_limits(&["| cpu=2 memory=1Gi"], &[], "", ["2", "1024", "-"])]
#[case::only_limits_beside_requests(&["| cpu=2", "cpu=2"], &[], "", ["4", "-", "-"])]
#[case::zero_is_nothing(&["cpu=0 memory=0 | cpu=0 memory=0"], &[], "", ["-", "-", "-"])]
#[case::containers_add_up(&["cpu=500m memory=1Gi", "cpu=600m memory=1Mi"], &[], "", ["2", "1025", "-"])]
#[case::rounded_once(&["cpu=300m memory=0.5Mi", "cpu=300m memory=0.5Mi", "cpu=300m"], &[], "", ["1", "1", "-"])]
#[case::init_does_not_add_up(&["cpu=2 memory=2Gi"], &["cpu=1 memory=1Gi", "cpu=1 memory=1Gi"], "", ["2", "2048", "-"])]
#[case::greedy_init(&["cpu=1 memory=1Gi"], &["cpu=3", "memory=4Gi"], "", ["3", "4096", "-"])]
#[case::only_init(&[""], &["cpu=1 memory=1Gi"], "", ["1", "1024", "-"])]
#[case::sidecar_adds_up(&["cpu=1 memory=1Gi"], &["sidecar cpu=1 memory=1Gi"], "", ["2", "2048", "-"])]
#[case::sidecars_add_up(&["cpu=1"], &["sidecar cpu=1", "sidecar cpu=2"], "", ["4", "-", "-"])]
#[case::init_beside_a_sidecar(&["cpu=1"], &["sidecar cpu=2", "cpu=3"], "", ["5", "-", "-"])]
#[case::init_before_a_sidecar(&["cpu=1"], &["cpu=3", "sidecar cpu=2"], "", ["3", "-", "-"])]
#[case::init_between_sidecars(&["cpu=1"], &["sidecar cpu=1", "cpu=4", "sidecar cpu=1"], "", ["5", "-", "-"])]
#[case::limit_of_a_sidecar(&["cpu=1"], &["sidecar cpu=1 | cpu=3"], "", ["3", "-", "-"])]
#[case::pod_level_requests(&["cpu=1 memory=1Gi"], &[], "cpu=4 memory=8Gi", ["4", "8192", "-"])]
#[case::pod_level_limits(&["cpu=1"], &[], "| cpu=6", ["6", "-", "-"])]
#[case::pod_level_of_one_kind(&["cpu=1 memory=1Gi"], &[], "memory=2Gi", ["1", "2048", "-"])]
#[case::pod_level_is_less(&["| memory=9Gi"], &[], "memory=1Gi | memory=2Gi", ["-", "2048", "-"])]
#[case::pod_level_alone(&[""], &[], "cpu=1500m memory=1Gi | cpu=2 memory=1Gi", ["2", "1024", "-"])]
#[case::gpu(&["nvidia.com/gpu=1 cpu=1 memory=1Gi | nvidia.com/gpu=1"], &[], "", ["1", "1024", "1"])]
#[case::gpus_of_two(&["| nvidia.com/gpu=1", "| nvidia.com/gpu=2"], &[], "", ["-", "-", "3"])]
#[case::gpu_of_init_is_shared(&["| nvidia.com/gpu=1"], &["| nvidia.com/gpu=2"], "", ["-", "-", "2"])]
#[case::other_resources_have_no_size(&["ephemeral-storage=1Gi hugepages-2Mi=4Mi"], &[], "", ["-", "-", "-"])]
fn a_pod_vm_is_as_large_as_the_pod_needs(
    #[case] texts: &[&str],
    #[case] init: &[&str],
    #[case] of_pod: &str,
    #[case] expected: [&str; 3],
) {
    let mut object = pod(texts, init);
    if !of_pod.is_empty() {
        object["spec"]["resources"] = resources(of_pod);
    }
    let (object, _) = stored(&object);
    assert_eq!(sizes(&object), expected);
    assert_eq!(object["spec"]["resources"], Value::Null);
}

/// A pod as a whole can ask for CPU, memory and hugepages only: what else stands there nobody counts.
#[test]
fn pod_vms_and_gpus_are_asked_for_by_containers() {
    let mut object = pod(&[""], &[]);
    object["spec"]["resources"] = resources("kata.peerpods.io/vm=1 nvidia.com/gpu=1");
    let (found, _) = stored(&object);
    assert_eq!(found["spec"]["containers"][0]["resources"], vm("1"));
    assert_eq!((sizes(&found), &found["spec"]["resources"]), (["-", "-", "-"], &Value::Null));
}

#[test]
fn numbers_are_quantities_and_overhead_is_the_nodes() {
    let mut object = pod(&[""], &[]);
    object["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": 2, "memory": 1_048_577}});
    object["spec"]["overhead"] = json!({"cpu": "250m", "memory": "350Mi"});
    let (found, _) = stored(&object);
    assert_eq!(sizes(&found), ["2", "2", "-"]);
    assert_eq!(found["spec"]["overhead"], object["spec"]["overhead"]);
}

#[rstest]
#[case::all("vcpus,memory,gpus", ["1", "1024", "1"])]
#[case::memory("memory", ["-", "1024", "-"])]
#[case::none("none", ["-", "-", "-"])]
fn annotations_are_those_that_were_chosen(#[case] words: &str, #[case] expected: [&str; 3]) {
    let variable = |name: &str| (name == "POD_VM_SIZE_ANNOTATIONS").then(|| words.to_owned());
    let (options, _) = Options::of_environment(variable).unwrap();
    let (object, _) = with(&pod(&["cpu=1 memory=1Gi | nvidia.com/gpu=1"], &[]), &options);
    assert_eq!(sizes(&object), expected);
    assert_eq!(object["spec"]["containers"][0]["resources"], vm("1"));
}

// What a person wrote stays.

#[rstest]
#[case::other(json!({"a": "b"}), ["2", "4096", "-"])]
#[case::none_yet(json!({}), ["2", "4096", "-"])]
#[case::null(json!(null), ["2", "4096", "-"])]
#[case::vcpus(json!({(DEFAULT_VCPUS): "8"}), ["8", "4096", "-"])]
#[case::both(json!({(DEFAULT_VCPUS): "1", (DEFAULT_MEMORY): "512"}), ["1", "512", "-"])]
#[case::gpus(json!({(DEFAULT_GPUS): "4"}), ["2", "4096", "4"])]
#[case::empty_text(json!({(DEFAULT_MEMORY): ""}), ["2", "", "-"])]
#[case::nonsense(json!({(DEFAULT_VCPUS): "many"}), ["many", "4096", "-"])]
fn a_size_that_a_person_wrote_stays(#[case] annotations: Value, #[case] expected: [&str; 3]) {
    let mut object = pod(&["cpu=2 memory=4Gi"], &[]);
    object["metadata"]["annotations"] = annotations.clone();
    let (found, _) = stored(&object);
    assert_eq!(sizes(&found), expected);
    for (name, value) in annotations.as_object().into_iter().flatten() {
        assert_eq!(&found["metadata"]["annotations"][name], value);
    }
}

#[rstest]
#[case("io.katacontainers.config.hypervisor.machine_type", "t3.large")]
#[case("io.katacontainers.config.hypervisor.image", "ami-0abc")]
#[case("io.katacontainers.config.hypervisor.cc_init_data", "H4sI")]
fn annotations_for_others_are_left_to_them(#[case] name: &str, #[case] value: &str) {
    let mut object = pod(&["cpu=2 memory=4Gi"], &[]);
    object["metadata"]["annotations"] = json!({name: value});
    let (found, _) = stored(&object);
    assert_eq!(found["metadata"]["annotations"][name], value);
    assert_eq!(sizes(&found), ["2", "4096", "-"]);
}

// What is none of its business.

fn set(question: &mut Value, path: &str, value: Value) {
    if let Some(found) = question.pointer_mut(path) {
        return *found = value;
    }
    let (parent, key) = path.rsplit_once('/').unwrap();
    question.pointer_mut(parent).unwrap()[key] = value;
}

/// Removing a finalizer from a pod that was never counted, above all.
#[rstest]
#[case::update("/request/operation", json!("UPDATE"))]
#[case::delete("/request/operation", json!("DELETE"))]
#[case::connect("/request/operation", json!("CONNECT"))]
#[case::ephemeral_containers("/request/subResource", json!("ephemeralcontainers"))]
#[case::status("/request/subResource", json!("status"))]
#[case::resize("/request/subResource", json!("resize"))]
#[case::binding("/request/subResource", json!("binding"))]
#[case::another_group("/request/resource/group", json!("metrics.k8s.io"))]
#[case::pod_template("/request/resource/resource", json!("podtemplates"))]
fn all_but_the_creation_of_pods_is_let_through(#[case] path: &str, #[case] value: Value) {
    for object in [pod(&["cpu=1"], &[]), pod(&["cpu=nonsense"], &[])] {
        let mut question = question(&object);
        question["request"]["oldObject"] = object;
        set(&mut question, path, value.clone());
        assert_eq!(asked(&question), Verdict::allow());
    }
}

#[rstest]
#[case("apps", "deployments", "Deployment")]
#[case("apps", "daemonsets", "DaemonSet")]
#[case("batch", "jobs", "Job")]
fn templates_of_pods_are_left_to_their_pods(#[case] group: &str, #[case] resource: &str, #[case] kind: &str) {
    let template = pod(&["cpu=1"], &[]);
    let object = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "d"},
        "spec": {"template": {"spec": template["spec"]}, "runtimeClassName": "kata-remote"}});
    let mut question = question(&object);
    question["request"]["resource"] = json!({"group": group, "version": "v1", "resource": resource});
    assert_eq!(asked(&question), Verdict::allow());
}

#[test]
fn ephemeral_containers_and_everything_else_stay() {
    let mut object = pod(&["cpu=1"], &[]);
    object["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "i"}]);
    object["spec"]["unknownToThisRelease"] = json!({"resources": {"requests": {"cpu": "1"}}});
    object["spec"]["resourceClaims"] = json!([{"name": "gpu"}]);
    let (found, _) = stored(&object);
    for field in ["ephemeralContainers", "unknownToThisRelease", "resourceClaims"] {
        assert_eq!(found["spec"][field], object["spec"][field]);
    }
}

#[test]
fn a_pod_that_is_as_it_should_be_stays_untouched() {
    let mut object = pod(&["kata.peerpods.io/vm=1 | kata.peerpods.io/vm=1", ""], &[""]);
    for empty in [json!({}), json!({"requests": {}, "limits": null}), json!(null), json!({"claims": []})] {
        object["spec"]["containers"][1]["resources"] = empty.clone();
        object["spec"]["resources"] = empty;
        assert_eq!(asked(&question(&object)), Verdict::allow());
    }
}

/// An admission plugin that fills in defaults runs again after this webhook, and so does the webhook.
#[test]
fn defaults_that_are_filled_in_once_more_change_no_size() {
    let (mut object, _) = stored(&pod(&["cpu=2 memory=4Gi", "cpu=1 memory=1Gi"], &[]));
    object["spec"]["containers"][1]["resources"] = resources("cpu=100m | cpu=200m memory=64Mi");
    let (found, _) = stored(&object);
    assert_eq!(sizes(&found), ["3", "5120", "-"]);
    assert_eq!(found["spec"]["containers"][1].get("resources"), None);
}

// What cannot be understood is told; to pods of the class only.

#[rstest]
#[case::cpu(
    "/spec/containers/0/resources/requests", json!({"cpu": "much"}),
    r#"Pod "p": spec.containers[0] ("c0"): resources.requests["cpu"] is "much", which is no quantity; write one like 500m, 2 or 4Gi"#
)]
#[case::negative(
    "/spec/containers/0/resources/limits", json!({"memory": "-1Gi"}),
    r#"Pod "p": spec.containers[0] ("c0"): resources.limits["memory"] is "-1Gi", which is no quantity; write one like 500m, 2 or 4Gi"#
)]
#[case::another_resource(
    "/spec/initContainers/0/resources/limits", json!({"ephemeral-storage": ""}),
    r#"Pod "p": spec.initContainers[0] ("c0"): resources.limits["ephemeral-storage"] is "", which is no quantity; write one like 500m, 2 or 4Gi"#
)]
#[case::pod_vm(
    "/spec/containers/0/resources/limits", json!({"kata.peerpods.io/vm": true}),
    r#"Pod "p": spec.containers[0] ("c0"): resources.limits["kata.peerpods.io/vm"] is true, which is no quantity; write one like 500m, 2 or 4Gi"#
)]
#[case::of_the_pod(
    "/spec/resources", json!({"requests": {"cpu": "1x"}}),
    r#"Pod "p": spec: resources.requests["cpu"] is "1x", which is no quantity; write one like 500m, 2 or 4Gi"#
)]
#[case::cut_short(
    "/spec/containers/0/resources/requests", json!({"cpu": "secret".repeat(20)}),
    r#"Pod "p": spec.containers[0] ("c0"): resources.requests["cpu"] is "secretsecretsecretsecretsecretsecretsec..., which is no quantity; write one like 500m, 2 or 4Gi"#
)]
#[case::half(
    "/spec/containers/0/resources/requests", json!(["cpu"]),
    r#"Pod "p": spec.containers[0] ("c0"): resources.requests is no object; write names with quantities"#
)]
#[case::resources(
    "/spec/containers/0/resources", json!("cpu: 1"),
    r#"Pod "p": spec.containers[0] ("c0"): resources is no object; write names with quantities"#
)]
#[case::no_containers("/spec/containers", json!([]), r#"Pod "p": spec.containers is empty; a pod has at least one container"#)]
#[case::null_containers("/spec/containers", json!(null), r#"Pod "p": spec.containers is empty; a pod has at least one container"#)]
#[case::no_list("/spec/containers", json!({}), r#"Pod "p": spec.containers is no list; write a list of containers"#)]
#[case::no_list_of_init("/spec/initContainers", json!("x"), r#"Pod "p": spec.initContainers is no list; write a list of containers"#)]
#[case::no_container("/spec/containers/0", json!("c"), r#"Pod "p": spec.containers has no container at 0; write an object there"#)]
#[case::without_a_name(
    "/spec/containers/0", json!({"resources": []}),
    r#"Pod "p": spec.containers[0]: resources is no object; write names with quantities"#
)]
#[case::without_a_name_of_its_own(
    "/metadata", json!({"generateName": "p-", "namespace": "shop"}),
    r#"Pod "p-": spec.containers[0] ("c0"): resources.requests["cpu"] is "x", which is no quantity; write one like 500m, 2 or 4Gi"#
)]
fn what_cannot_be_understood_is_told(#[case] path: &str, #[case] value: Value, #[case] expected: &str) {
    let mut object = pod(&[if path == "/metadata" { "cpu=x" } else { "cpu=1" }], &["cpu=1"]);
    set(&mut object, path, value);
    assert_eq!(asked(&question(&object)), Verdict::Malformed(expected.to_owned()));
    object["spec"]["runtimeClassName"] = json!("kata");
    assert_eq!(asked(&question(&object)), Verdict::allow());
}

#[rstest]
#[case::no_object("/request/object", json!(null), "request.object is empty, though a pod is to be created; send it with the review")]
#[case::another_kind(
    "/request/object/kind", json!("Node"),
    r#"request.object is "Node" of apiVersion "v1", though request.resource is pods of v1; send a Pod"#
)]
#[case::another_version(
    "/request/object/apiVersion", json!("v2"),
    r#"request.object is "Pod" of apiVersion "v2", though request.resource is pods of v1; send a Pod"#
)]
fn what_is_no_pod_is_told(#[case] path: &str, #[case] value: Value, #[case] expected: &str) {
    let mut question = question(&pod(&["cpu=1"], &[]));
    set(&mut question, path, value);
    assert_eq!(asked(&question), Verdict::Malformed(expected.to_owned()));
}

// What is lost is told.

#[rstest]
#[case::sizes_are_not(&["cpu=1 memory=1Gi | nvidia.com/gpu=1"], &[], &[])]
#[case::counting_is_not(&["kata.peerpods.io/vm=1 | kata.peerpods.io/vm=1"], &[], &[])]
#[case::storage(
    &["cpu=1 ephemeral-storage=1Gi | ephemeral-storage=2Gi"], &[],
    &["container \"c0\" goes without ephemeral-storage: a pod VM has nothing of the worker node's"]
)]
#[case::two_of_one(
    &["", "| openshift.io/sriov=1 hugepages-1Gi=1Gi"], &[],
    &["container \"c1\" goes without hugepages-1Gi, openshift.io/sriov: a pod VM has nothing of the worker node's"]
)]
#[case::partitioned_gpu(
    &["| nvidia.com/mig-1g.5gb=1"], &[],
    &["container \"c0\" goes without nvidia.com/mig-1g.5gb: a pod VM has nothing of the worker node's"]
)]
#[case::of_several(
    &["ephemeral-storage=1"], &["| hugepages-2Mi=2Mi"],
    &["container \"c0\" goes without ephemeral-storage: a pod VM has nothing of the worker node's",
      "container \"c0\" goes without hugepages-2Mi: a pod VM has nothing of the worker node's"]
)]
fn what_a_pod_goes_without_is_told_once(
    #[case] texts: &[&str],
    #[case] init: &[&str],
    #[case] expected: &[&str],
) {
    let (object, warnings) = stored(&pod(texts, init));
    assert_eq!(warnings, expected);
    assert_eq!(stored(&object).1, [""; 0]);
}

#[test]
fn claims_and_gpus_without_annotation_and_resources_of_the_pod_are_told() {
    let mut object = pod(&["| nvidia.com/gpu=1"], &[]);
    object["spec"]["containers"][0]["resources"]["claims"] = json!([{"name": "device"}]);
    object["spec"]["resources"] = resources("cpu=1 hugepages-2Mi=2Mi");
    let options = Options { annotations: [SizeAnnotation::Vcpus].into(), ..Options::default() };
    let expected = [
        "container \"c0\" goes without claims, nvidia.com/gpu: a pod VM has nothing of the worker node's",
        "the pod goes without hugepages-2Mi: a pod VM has nothing of the worker node's",
    ];
    let (object, warnings) = with(&object, &options);
    assert_eq!(warnings, expected);
    assert_eq!(object["spec"]["containers"][0]["resources"], vm("1"));
}

#[test]
fn containers_that_read_their_own_limits_are_told() {
    let reference = json!({"resource": "limits.memory"});
    let of = |name: &str| json!([{"path": "memory", "resourceFieldRef": {"containerName": name, "resource": "limits.memory"}}]);
    let mut object = pod(&["| memory=1Gi", "| memory=1Gi", "| memory=1Gi", ""], &[]);
    object["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "b"}, {"name": "MEMORY", "valueFrom": {"resourceFieldRef": reference}}]);
    object["spec"]["containers"][3]["env"] = object["spec"]["containers"][0]["env"].clone();
    object["spec"]["volumes"] = json!([{"name": "own", "downwardAPI": {"items": of("c1")}},
        {"name": "all", "projected": {"sources": [{"secret": {}}, {"downwardAPI": {"items": of("c3")}}]}}]);
    let told = |name: &str| {
        format!(
            "container {name:?} reads its resources by resourceFieldRef: it will find those of the worker node, not of the pod VM"
        )
    };
    let (object, warnings) = stored(&object);
    assert_eq!(warnings, [told("c0"), told("c1")]);
    assert_eq!(stored(&object).1, [""; 0]);
}

#[test]
fn warnings_are_few() {
    let (_, warnings) = stored(&pod(&["ephemeral-storage=1"; 9], &[]));
    assert_eq!(warnings.len(), 6);
    assert_eq!(warnings[5], "and 4 more of this kind");
}

// Which pods API servers ask about.

fn holds(object: Value) -> bool {
    let program = cel::Program::compile(MATCH_CONDITION).unwrap();
    let mut context = cel::Context::default();
    context.add_variable("object", object).unwrap();
    match program.execute(&context) {
        Ok(cel::Value::Bool(holds)) => holds,
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::peer_pod(pod(&["cpu=1"], &[]), true)]
#[case::another_class(json!({"spec": {"runtimeClassName": "kata"}}), false)]
#[case::nearly(json!({"spec": {"runtimeClassName": "kata-remote-2"}}), false)]
#[case::no_class(json!({"spec": {"containers": []}}), false)]
#[case::empty_class(json!({"spec": {"runtimeClassName": ""}}), false)]
#[case::null_class(json!({"spec": {"runtimeClassName": null}}), false)]
#[case::no_spec(json!({"metadata": {"name": "p"}}), false)]
#[case::null_spec(json!({"spec": null}), false)]
#[case::empty(json!({}), false)]
#[case::deletion(json!(null), false)]
fn api_servers_ask_about_peer_pods_only(#[case] object: Value, #[case] expected: bool) {
    assert_eq!(holds(object), expected);
}
