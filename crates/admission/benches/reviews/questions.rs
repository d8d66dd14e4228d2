//! What is asked: reviews as API servers send them, of ordinary size.

use osc_api::names::REMOTE_RUNTIME_CLASS;
use osc_api::peerpods::webhook::PATH;
use serde_json::{Value, json};

/// A path and a body.
pub type Question = (&'static str, Vec<u8>);

fn review(resource: &Value, kind: &Value, operation: &str, object: &Value, old: &Value) -> Vec<u8> {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "0c9a8d74-9cb7-44dd-b98e-09fd62def2f4", "operation": operation, "dryRun": false,
        "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
        "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"],
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller", "uid": "7a5c",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]},
        "object": object, "oldObject": old,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }})
    .to_string()
    .into_bytes()
}

fn pod(path: &'static str, class: &str) -> Question {
    let container = |name: &str| {
        json!({"name": name, "image": format!("registry.example.com/shop/{name}@sha256:{}", "0".repeat(64)),
            "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
            "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
                {"name": "LOG_LEVEL", "value": "info"}],
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "volumeMounts": [{"name": "token", "readOnly": true,
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent", "securityContext": {"allowPrivilegeEscalation": false}})
    };
    let fields = json!({"f:metadata": {"f:generateName": {}, "f:labels": {".": {}, "f:app": {}}},
        "f:spec": {"f:containers": {"k:{\"name\":\"shop\"}": {".": {}, "f:image": {}, "f:env": {}}}}});
    let object = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "shop-5d8d9d9f8b-abcde", "generateName": "shop-5d8d9d9f8b-", "namespace": "shop",
            "labels": {"app": "shop", "pod-template-hash": "5d8d9d9f8b"},
            "annotations": {"openshift.io/scc": "restricted-v2"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-5d8d9d9f8b",
                "uid": "6f1c2d3e", "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields}]},
        "spec": {"runtimeClassName": class, "containers": [container("shop"), container("proxy")],
            "volumes": [{"name": "token", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]}}],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "securityContext": {}, "schedulerName": "default-scheduler"}});
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    (path, review(&resource, &kind, "CREATE", &object, &Value::Null))
}

fn kata_config(operation: &str) -> Question {
    let object = |level: &str| {
        json!({"apiVersion": "kataconfiguration.openshift.io/v1", "kind": "KataConfig",
            "metadata": {"name": "example-kataconfig"},
            "spec": {"logLevel": level, "checkNodeEligibility": true, "enablePeerPods": false,
                "kataConfigPoolSelector": {"matchExpressions": [
                    {"key": "zone", "operator": "In", "values": ["a", "b"]}, {"key": "kata", "operator": "Exists"}]}}})
    };
    let old = if operation == "UPDATE" { object("info") } else { Value::Null };
    let group = "kataconfiguration.openshift.io";
    let resource = json!({"group": group, "version": "v1", "resource": "kataconfigs"});
    let kind = json!({"group": group, "version": "v1", "kind": "KataConfig"});
    let path = "/validate-kataconfiguration-openshift-io-v1-kataconfig";
    (path, review(&resource, &kind, operation, &object("debug"), &old))
}

/// A round of a hundred for the operator.
pub fn of_operator() -> Vec<Question> {
    (0..100)
        .map(|index| match index % 20 {
            7 => kata_config("CREATE"),
            17 => kata_config("UPDATE"),
            index if index % 3 == 0 => pod("/mutate-pods-v1", "kata"),
            _ => pod("/mutate-pods-v1", "runc"),
        })
        .collect()
}

/// A round of ten for the webhook of peer pods: all of its class, as API servers with match conditions ask, but one.
pub fn of_webhook() -> Vec<Question> {
    let class = |index| if index == 0 { "runc" } else { REMOTE_RUNTIME_CLASS };
    (0..10).map(|index| pod(PATH, class(index))).collect()
}
