"""What the Python client of Kubernetes does, as JSON: for every function what it saw, or how it failed.

Called with a namespace in which there is a definition of widgets; the kubeconfig comes by the environment.
"""

import json
import sys
import traceback

import urllib3
from kubernetes import client, config, dynamic, watch

urllib3.disable_warnings()
config.load_kube_config()
NAMESPACE = sys.argv[1]
GROUP = f"{NAMESPACE}.example.com"
core = client.CoreV1Api()
apps = client.AppsV1Api()
custom = client.CustomObjectsApi()
CASES = []


def case(function):
    CASES.append(function)
    return function


def config_map(name, data, labels=None):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data)


def refused(call):
    """Code and reason of a refusal."""
    try:
        call()
    except client.exceptions.ApiException as error:
        try:
            return [error.status, json.loads(error.body).get("reason")]
        except ValueError:
            return [error.status, error.body]
    raise AssertionError("was not refused")


def plain(typed):
    return client.ApiClient().sanitize_for_serialization(typed)


@case
def typed_create_read_replace_delete():
    made = core.create_namespaced_config_map(NAMESPACE, config_map("crud", {"k": "1"}))
    read = core.read_namespaced_config_map("crud", NAMESPACE)
    assert read.metadata.uid == made.metadata.uid
    read.data["k"] = "2"
    replaced = core.replace_namespaced_config_map("crud", NAMESPACE, read)
    assert replaced.data == {"k": "2"}
    gone = core.delete_namespaced_config_map("crud", NAMESPACE)
    return [plain(replaced), plain(gone)["status"], refused(lambda: core.read_namespaced_config_map("crud", NAMESPACE))]


@case
def typed_patches():
    core.create_namespaced_config_map(NAMESPACE, config_map("patched", {"k": "1"}))
    strategic = core.patch_namespaced_config_map("patched", NAMESPACE, {"data": {"l": "2"}})
    assert strategic.data == {"k": "1", "l": "2"}
    operations = [{"op": "remove", "path": "/data/k"}]
    patched = core.patch_namespaced_config_map("patched", NAMESPACE, operations)
    return [strategic.data, patched.data]


@case
def typed_lists_with_selectors():
    for name in ("one", "two", "three"):
        core.create_namespaced_config_map(NAMESPACE, config_map(f"list-{name}", {"k": name}, {"list": name}))
    names = lambda found: [item.metadata.name for item in found.items]
    return [
        names(core.list_namespaced_config_map(NAMESPACE, label_selector="list in (one,two)")),
        names(core.list_namespaced_config_map(NAMESPACE, label_selector="list,list!=one")),
        names(core.list_namespaced_config_map(NAMESPACE, field_selector="metadata.name=list-three")),
        names(core.list_config_map_for_all_namespaces(label_selector="list=two")),
    ]


@case
def typed_pages():
    for name in ("a", "b", "c"):
        core.create_namespaced_config_map(NAMESPACE, config_map(f"page-{name}", {"k": name}, {"page": "x"}))
    first = core.list_namespaced_config_map(NAMESPACE, label_selector="page", limit=2)
    rest = core.list_namespaced_config_map(NAMESPACE, label_selector="page", limit=2, _continue=first.metadata._continue)
    return [[item.metadata.name for item in page.items] for page in (first, rest)]


@case
def typed_watch():
    made = core.create_namespaced_config_map(NAMESPACE, config_map("watched", {"k": "1"}, {"watched": "x"}))
    core.patch_namespaced_config_map("watched", NAMESPACE, {"data": {"k": "2"}})
    core.delete_namespaced_config_map("watched", NAMESPACE)
    events = []
    watcher = watch.Watch()
    options = {"label_selector": "watched", "resource_version": made.metadata.resource_version, "timeout_seconds": 10}
    for event in watcher.stream(core.list_namespaced_config_map, NAMESPACE, **options):
        events.append([event["type"], event["object"].data])
        if event["type"] == "DELETED":
            watcher.stop()
    assert [kind for kind, _ in events] == ["MODIFIED", "DELETED"]
    return events


@case
def typed_conflict():
    old = core.create_namespaced_config_map(NAMESPACE, config_map("conflict", {"k": "1"}))
    core.patch_namespaced_config_map("conflict", NAMESPACE, {"data": {"k": "2"}})
    outcome = refused(lambda: core.replace_namespaced_config_map("conflict", NAMESPACE, old))
    assert outcome == [409, "Conflict"]
    twice = refused(lambda: core.create_namespaced_config_map(NAMESPACE, config_map("conflict", {})))
    return [outcome, twice]


@case
def typed_not_found_and_invalid():
    return [
        refused(lambda: core.read_namespaced_pod("nobody", NAMESPACE)),
        refused(lambda: core.create_namespaced_config_map(NAMESPACE, config_map("Bad_Name", {}))),
        refused(lambda: core.create_namespaced_config_map("nowhere", config_map("a", {}))),
        refused(lambda: core.list_namespaced_config_map(NAMESPACE, label_selector="a===b")),
    ]


def pod(name):
    container = client.V1Container(name="main", image="example.com/main:1")
    return client.V1Pod(metadata=client.V1ObjectMeta(name=name), spec=client.V1PodSpec(containers=[container]))


@case
def typed_status():
    core.create_namespaced_pod(NAMESPACE, pod("status"))
    patched = core.patch_namespaced_pod_status("status", NAMESPACE, {"status": {"phase": "Running"}})
    assert patched.status.phase == "Running"
    gone = core.delete_namespaced_pod("status", NAMESPACE, grace_period_seconds=0)
    return [patched.status.phase, patched.spec.restart_policy, gone.kind]


@case
def typed_deployment_and_scale():
    labels = {"app": "scaled"}
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=labels), spec=pod("x").spec)
    spec = client.V1DeploymentSpec(selector=client.V1LabelSelector(match_labels=labels), template=template)
    made = apps.create_namespaced_deployment(
        NAMESPACE, client.V1Deployment(metadata=client.V1ObjectMeta(name="scaled"), spec=spec)
    )
    assert made.spec.replicas == 1
    apps.patch_namespaced_deployment_scale("scaled", NAMESPACE, {"spec": {"replicas": 4}})
    scale = apps.read_namespaced_deployment_scale("scaled", NAMESPACE)
    read = apps.read_namespaced_deployment("scaled", NAMESPACE)
    return [scale.spec.replicas, scale.status.selector, read.metadata.generation]


@case
def typed_delete_collection():
    for name in ("x", "y"):
        core.create_namespaced_secret(NAMESPACE, client.V1Secret(metadata=client.V1ObjectMeta(name=name, labels={"n": name})))
    core.delete_collection_namespaced_secret(NAMESPACE, label_selector="n=x")
    return [item.metadata.name for item in core.list_namespaced_secret(NAMESPACE, label_selector="n").items]


def widget(name, spec):
    return {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


@case
def custom_objects():
    place = (GROUP, "v1", NAMESPACE, "widgets")
    made = custom.create_namespaced_custom_object(*place, widget("custom", {"size": 1}))
    patched = custom.patch_namespaced_custom_object(*place, "custom", {"spec": {"size": 2}})
    status = custom.patch_namespaced_custom_object_status(*place, "custom", {"status": {"ready": True}})
    assert status["status"] == {"ready": True} and patched["spec"] == {"size": 2}
    old = refused(lambda: custom.replace_namespaced_custom_object(*place, "custom", made))
    listed = custom.list_namespaced_custom_object(*place)
    gone = custom.delete_namespaced_custom_object(*place, "custom")
    missing = refused(lambda: custom.get_namespaced_custom_object(*place, "custom"))
    return [made, status, old, [item["metadata"]["name"] for item in listed["items"]], gone["status"], missing]


def dynamically():
    return dynamic.DynamicClient(client.ApiClient())


@case
def dynamic_client():
    maps = dynamically().resources.get(api_version="v1", kind="ConfigMap")
    maps.create(namespace=NAMESPACE, body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dynamic"}, "data": {"k": "1"}})
    maps.patch(namespace=NAMESPACE, name="dynamic", body={"data": {"k": "2"}}, content_type="application/merge-patch+json")
    read = maps.get(namespace=NAMESPACE, name="dynamic")
    maps.delete(namespace=NAMESPACE, name="dynamic")
    widgets = dynamically().resources.get(api_version=f"{GROUP}/v1", kind="Widget")
    made = widgets.create(namespace=NAMESPACE, body=widget("dynamic", {"size": 1}))
    listed = widgets.get(namespace=NAMESPACE)
    widgets.delete(namespace=NAMESPACE, name="dynamic")
    return [read.data.to_dict(), made.to_dict()["spec"], [item.metadata.name for item in listed.items], widgets.namespaced]


@case
def dynamic_server_side_apply():
    maps = dynamically().resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"k": "1"}}
    made = maps.server_side_apply(body=body, name="applied", namespace=NAMESPACE, field_manager="one")
    body["data"] = {"k": "2"}
    try:
        maps.server_side_apply(body=body, name="applied", namespace=NAMESPACE, field_manager="two")
        outcome = "applied"
    except dynamic.exceptions.ConflictError as error:
        outcome = error.status
    assert outcome == 409
    forced = maps.server_side_apply(body=body, name="applied", namespace=NAMESPACE, field_manager="two", force_conflicts=True)
    return [made.data.to_dict(), outcome, forced.data.to_dict()]


@case
def dynamic_watch():
    widgets = dynamically().resources.get(api_version=f"{GROUP}/v1", kind="Widget")
    version = widgets.get(namespace=NAMESPACE).metadata.resourceVersion
    widgets.create(namespace=NAMESPACE, body=widget("watched", {"size": 1}))
    widgets.delete(namespace=NAMESPACE, name="watched")
    events = []
    watcher = watch.Watch()
    for event in widgets.watch(namespace=NAMESPACE, resource_version=version, timeout=10, watcher=watcher):
        events.append([event["type"], event["object"].metadata.name])
        if event["type"] == "DELETED":
            watcher.stop()
    return events


results = {}
for function in CASES:
    try:
        results[function.__name__] = {"seen": function(), "error": None}
    except Exception:  # told in the report
        results[function.__name__] = {"seen": None, "error": traceback.format_exc()}
print(json.dumps(results))
