//! The adaptor: a DaemonSet on the nodes that may have peer pods, and what keeps it from working.

use osc_api::names;
use osc_api::peerpods::{self, Provider, tags};
use serde_json::{Value, json};

use super::config::{self, Data};
use super::digest::digest;
use super::identity;
use super::progress::Progress;
use super::situation::{Situation, own, texts};
use super::tls::TlsProfile;
use crate::desired::{Desired, owned_by, with_identity};
use crate::gates::CaaUpdateStrategy;
use crate::object::{Kind, ObjectId, holds, is_deleted};
use crate::observed::{AdaptorView, KataConfigView, Settings, Sts};
use crate::plan::Step;
use crate::trouble::list;

/// What of the limit the adaptor is told: the operator advertises it.
const ADVERTISE_NOTHING: (&str, &str) = ("PEERPODS_LIMIT_PER_NODE", "-1");

/// What the DaemonSet is made from.
pub struct Adaptor<'a> {
    /// The cluster.
    pub situation: &'a Situation<'a>,
    /// Whose it is.
    pub kata_config: &'a KataConfigView,
    /// Where pod VMs run.
    pub provider: Provider,
    /// Labels of the nodes.
    pub node_selector: &'a Value,
    /// How it is updated.
    pub strategy: CaaUpdateStrategy,
}

/// How steps name the DaemonSet.
pub fn id(settings: &Settings) -> ObjectId {
    own(settings, Kind::DaemonSet, peerpods::ADAPTOR)
}

impl Adaptor<'_> {
    /// Makes the DaemonSet what it is to be, and tells what keeps it from that.
    pub fn ensure(&self) -> Progress {
        let mut progress = Progress::default();
        let settings = self.situation.settings;
        let Some(image) = &settings.peer_pods.adaptor_image else {
            progress.wait("no image is known for the adaptor");
            progress.trouble(
                "PeerPodsImageMissing",
                "no image is known for the adaptor of peer pods: set RELATED_IMAGE_CAA in the operator's Deployment"
                    .to_owned(),
            );
            return progress;
        };
        if self.situation.observed.capabilities.scc {
            progress.steps.extend(crate::workload::ensure(self.situation.observed, self.scc()));
        }
        let (id, object) = self.daemon_set(image);
        let found = self.situation.observed.objects.get(&id);
        match found {
            Some(found) if is_deleted(found) => progress.wait("the adaptor is made anew"),
            // An apply would leave its container beside ours.
            Some(found) if has_other_containers(&object, found) => {
                progress.wait("the adaptor is made anew");
                progress.steps.push(Step::Delete { id });
            }
            Some(found) if holds(&object, found) && !says_too_much(&object, found) => {}
            // What somebody else said would stay through an apply: the variables are set as a whole.
            Some(found) if holds(&object, found) => progress.steps.push(Step::Replace {
                id,
                path: "/spec/template/spec/containers/0/env",
                value: object["spec"]["template"]["spec"]["containers"][0]["env"].clone(),
            }),
            Some(found) => progress.steps.push(mended(&id, object, found)),
            None => progress.steps.push(Step::Apply { id, object }),
        }
        self.watch(&mut progress);
        progress
    }

    fn daemon_set(&self, image: &str) -> Desired {
        let settings = self.situation.settings;
        let labels = json!({"name": peerpods::ADAPTOR});
        let template = json!({
            "metadata": {
                "labels": labels,
                "annotations": {
                    peerpods::SETTINGS_DIGEST: self.settings_digest(),
                    peerpods::CREDENTIALS_DIGEST: self.credentials_digest(),
                },
            },
            "spec": {
                "serviceAccountName": peerpods::ADAPTOR_SERVICE_ACCOUNT,
                "hostNetwork": true,
                // Names of the cluster are resolved although the network is the node's.
                "dnsPolicy": "ClusterFirstWithHostNet",
                "priorityClassName": "system-node-critical",
                "nodeSelector": self.node_selector,
                "tolerations": [{"operator": "Exists"}],
                "containers": [self.container(image)],
                "volumes": self.volumes(),
            },
        });
        let strategy = match self.strategy {
            CaaUpdateStrategy::RollingUpdate => {
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}})
            }
            CaaUpdateStrategy::OnDelete => json!({"type": "OnDelete"}),
        };
        let spec = json!({
            "selector": {"matchLabels": labels},
            "updateStrategy": strategy,
            "template": template,
        });
        let metadata = json!({
            "name": peerpods::ADAPTOR,
            "namespace": settings.namespace,
            "labels": {"name": peerpods::ADAPTOR, names::APP_LABEL: self.kata_config.name},
        });
        let object = with_identity(Kind::DaemonSet, metadata, json!({"spec": spec}));
        (id(settings), owned_by(self.kata_config, object))
    }

    /// Of what the adaptor reads: not of the limit, which holds without a restart, nor of what others note at the map.
    fn settings_digest(&self) -> String {
        let data = self.situation.data();
        let kept = data.into_iter().filter(|(key, value)| key != ADVERTISE_NOTHING.0 && !value.is_empty());
        digest(kept.flat_map(|(key, value)| [key, value]))
    }

    fn credentials_digest(&self) -> String {
        let secret = self.situation.find(Kind::Secret, peerpods::CREDENTIALS);
        let digests = secret.map(|secret| texts(&secret["digests"])).unwrap_or_default();
        digest(digests.into_iter().flat_map(|(key, value)| [key, value]))
    }

    fn variables(&self) -> Vec<(String, String)> {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut all = self.situation.settings.peer_pods.proxies.clone();
        all.push(owned(ADVERTISE_NOTHING));
        all.extend(
            identity::observed(self.situation.observed).map(|cluster| ("CLUSTER_ID".to_owned(), cluster)),
        );
        all.extend(TlsProfile::of(self.situation.observed).variables());
        let data = self.situation.data();
        let told = config::environment(self.provider, &data, None);
        all.extend(
            told.into_iter()
                .filter(|(name, _)| *name != ADVERTISE_NOTHING.0)
                .map(|(name, value)| (name.to_owned(), value)),
        );
        all.extend(self.tags(&data).map(|tags| ("TAGS".to_owned(), tags)));
        all
    }

    /// A person's tags and the cluster's own, by which virtual machines that no PeerPod knows are found. Elsewhere than on
    /// AWS a tag cannot be named like that.
    fn tags(&self, data: &Data) -> Option<String> {
        let cluster =
            identity::observed(self.situation.observed).filter(|_| self.provider == Provider::Aws)?;
        let own = format!("{}={cluster}", tags::CLUSTER);
        Some(config::value(data, "TAGS").map_or_else(|| own.clone(), |theirs| format!("{theirs},{own}")))
    }

    fn container(&self, image: &str) -> Value {
        let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
        let mut env = vec![field("NODE_NAME", "spec.nodeName"), field("POD_UID", "metadata.uid")];
        env.extend(self.variables().into_iter().map(|(name, value)| json!({"name": name, "value": value})));
        let probe = json!({"path": "/startup", "port": self.probe_port(), "host": "127.0.0.1"});
        let mut container = json!({
            "name": peerpods::ADAPTOR_CONTAINER,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/usr/local/bin/entrypoint.sh"],
            "env": env,
            "envFrom": [
                {"secretRef": {"name": peerpods::CREDENTIALS}},
                {"configMapRef": {"name": peerpods::SETTINGS}},
            ],
            "securityContext": {
                "privileged": false,
                "runAsUser": 0,
                "capabilities": {"add": ["NET_ADMIN", "SYS_ADMIN"]},
            },
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
            // A minute's grace for pods that come back after a restart; ten until it counts as failed.
            "startupProbe": {"httpGet": probe, "periodSeconds": 10, "failureThreshold": 60},
            "volumeMounts": self.mounts(),
        });
        if self.situation.observed.capabilities.scc {
            container["securityContext"]["seLinuxOptions"] = json!({"type": "spc_t"});
        }
        container
    }

    fn probe_port(&self) -> u16 {
        let data = self.situation.data();
        let told = config::value(&data, "PROBE_PORT").and_then(|text| text.parse().ok());
        told.unwrap_or(8000)
    }

    fn mounts(&self) -> Vec<Value> {
        let mut all = vec![
            json!({"name": "auth-json-volume", "mountPath": "/root/containers/", "readOnly": true}),
            json!({"name": "ssh", "mountPath": "/root/.ssh", "readOnly": true}),
            json!({"name": "pods-dir", "mountPath": "/run/peerpod"}),
            json!({"name": "netns", "mountPath": "/run/netns", "mountPropagation": "HostToContainer"}),
            json!({"name": "xtables-lock", "mountPath": "/run/xtables.lock"}),
            json!({"name": "modules", "mountPath": "/lib/modules", "readOnly": true}),
        ];
        all.extend(token_mount(self.situation.settings));
        all
    }

    fn volumes(&self) -> Vec<Value> {
        let secret = |volume: &str, name: &str| json!({"name": volume, "secret": {"secretName": name, "optional": true, "defaultMode": 0o600}});
        let host = |volume: &str, path: &str, type_: &str| json!({"name": volume, "hostPath": {"path": path, "type": type_}});
        let mut all = vec![
            secret("auth-json-volume", names::AUTH_SECRET),
            secret("ssh", peerpods::SSH_KEYS),
            host("pods-dir", "/run/peerpod", "DirectoryOrCreate"),
            host("netns", "/run/netns", "DirectoryOrCreate"),
            host("xtables-lock", "/run/xtables.lock", "FileOrCreate"),
            host("modules", "/lib/modules", "Directory"),
        ];
        all.extend(token_volume(self.situation.settings));
        all
    }

    /// What the adaptor's pods may do on OpenShift: set up the network of pods on their node.
    fn scc(&self) -> Desired {
        let user = format!(
            "system:serviceaccount:{}:{}",
            self.situation.settings.namespace,
            peerpods::ADAPTOR_SERVICE_ACCOUNT
        );
        let metadata =
            json!({"name": peerpods::ADAPTOR_SCC, "labels": {names::APP_LABEL: self.kata_config.name}});
        let body = json!({
            "allowHostDirVolumePlugin": true,
            "allowHostIPC": false,
            "allowHostNetwork": true,
            "allowHostPID": false,
            "allowHostPorts": true,
            "allowPrivilegeEscalation": true,
            "allowPrivilegedContainer": false,
            "allowedCapabilities": ["NET_ADMIN", "SYS_ADMIN"],
            "readOnlyRootFilesystem": false,
            "runAsUser": {"type": "RunAsAny"},
            "seLinuxContext": {"type": "RunAsAny"},
            "users": [user],
            // As the API server sorts them.
            "volumes": ["configMap", "hostPath", "projected", "secret"],
        });
        let object = with_identity(Kind::SecurityContextConstraints, metadata, body);
        (scc_id(), owned_by(self.kata_config, object))
    }

    /// Adaptors that do not come up.
    fn watch(&self, progress: &mut Progress) {
        let observed = self.situation.observed;
        let settings = &self.situation.settings.peer_pods;
        let mut late: Vec<&AdaptorView> = Vec::new();
        for adaptor in observed.adaptors.iter().filter(|adaptor| !adaptor.ready) {
            match adaptor.changed_at.checked_add(settings.start_deadline) {
                Ok(deadline) if observed.now < deadline => progress.wake_by(Some(deadline)),
                _ => late.push(adaptor),
            }
        }
        if !observed.adaptors.iter().any(|adaptor| adaptor.ready) {
            progress.wait("the adaptor starts on the nodes");
        }
        let Some(first) = late.first() else { return };
        let words = late.iter().find_map(|adaptor| adaptor.waiting.as_deref());
        let words = words.map(|words| format!(" ({words})")).unwrap_or_default();
        progress.trouble(
            "PeerPodsAdaptorNotReady",
            format!(
                "the adaptor of peer pods is not ready on {}{words}: no peer pod starts there; see oc logs -n {namespace} \
                 {pod} and oc describe pod -n {namespace} {pod}",
                list(late.iter().map(|adaptor| adaptor.node.as_str())),
                namespace = self.situation.settings.namespace,
                pod = first.name,
            ),
        );
    }
}

/// How steps name the SecurityContextConstraints.
pub fn scc_id() -> ObjectId {
    ObjectId::cluster(Kind::SecurityContextConstraints, peerpods::ADAPTOR_SCC)
}

/// Whether a workload has containers that we do not know: it was made by another operator.
pub(super) fn has_other_containers(wanted: &Value, found: &Value) -> bool {
    let names = |object: &Value| -> Vec<String> {
        let containers = object["spec"]["template"]["spec"]["containers"].as_array();
        containers.into_iter().flatten().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect()
    };
    let wanted = names(wanted);
    names(found).iter().any(|name| !wanted.contains(name))
}

/// Variables that only we set in the adaptor's container, so that one that is not wanted any more goes.
fn says_too_much(wanted: &Value, found: &Value) -> bool {
    let all = Provider::ALL.into_iter().flat_map(peerpods::keys::settings).map(|key| key.name);
    let ours: Vec<&str> = all.chain(["TLS_MIN_VERSION", "TLS_CIPHER_SUITES"]).collect();
    let variables = |object: &Value| -> Vec<String> {
        let env = object.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array);
        env.into_iter().flatten().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect()
    };
    let wanted = variables(wanted);
    variables(found).iter().any(|name| ours.contains(&name.as_str()) && !wanted.contains(name))
}

/// The steps that mend a workload that is there. One that another operator made keeps what its fields were set to, which
/// an apply takes over one by one; a selector never changes, so that one with another is made anew.
pub(super) fn mended(id: &ObjectId, object: Value, found: &Value) -> Step {
    let selector = "/spec/selector/matchLabels";
    let other = found.pointer(selector).is_some_and(|labels| Some(labels) != object.pointer(selector));
    if other { Step::Delete { id: id.clone() } } else { Step::Apply { id: id.clone(), object } }
}

/// The token by which a cloud knows the cluster, where the cloud trusts it.
pub(super) fn token_volume(settings: &Settings) -> Option<Value> {
    settings.peer_pods.sts.as_ref()?;
    let token =
        json!({"serviceAccountToken": {"audience": "openshift", "path": "token", "expirationSeconds": 3600}});
    Some(json!({"name": "bound-sa-token", "projected": {"sources": [token]}}))
}

/// Where it is mounted.
pub(super) fn token_mount(settings: &Settings) -> Option<Value> {
    settings.peer_pods.sts.as_ref()?;
    Some(json!({"name": "bound-sa-token", "mountPath": peerpods::TOKEN_DIRECTORY, "readOnly": true}))
}

impl Sts {
    /// The cloud's name.
    pub fn provider(&self) -> Provider {
        match self {
            Self::Aws { .. } => Provider::Aws,
            Self::Azure { .. } => Provider::Azure,
        }
    }
}
