//! What is behind peer pods: jobs that make and delete images, a webhook, adaptors, and a cloud that keeps what it is given.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use osc_api::names;
use osc_api::peerpods::{self, webhook};
use osc_engine::observed::{AdaptorView, ImagePodView, PeerPodsSettings};
use osc_engine::{Kind, ObjectId};
use serde_json::{Value, json};

use crate::store;
use crate::world::World;

/// What a person set for AWS, as the documentation has it.
pub const SETTINGS: [(&str, &str); 5] = [
    ("CLOUD_PROVIDER", "aws"),
    ("AWS_REGION", "eu-central-1"),
    ("AWS_SUBNET_ID", "subnet-0123456789abcdef0"),
    ("AWS_VPC_ID", "vpc-0123456789abcdef0"),
    ("AWS_SG_IDS", "sg-0123456789abcdef0"),
];

/// The image that the job makes.
pub const IMAGE: &str = "ami-0123456789abcdef0";

/// The cloud, and what happens in jobs.
#[derive(Clone, Debug, Default)]
pub struct Cloud {
    /// Images that exist.
    pub images: BTreeSet<String>,
    /// A job that makes an image has begun, once.
    pub begun: bool,
    /// Jobs that make an image do not come to an end.
    pub slow: bool,
    /// Jobs fail with these words.
    pub fails: Option<String>,
    /// Jobs say this at their end instead of what they made.
    pub says: Option<String>,
    /// The webhook does not start.
    pub no_webhook: bool,
}

/// An object in the operator's namespace.
pub fn own(kind: Kind, name: &str) -> ObjectId {
    ObjectId::namespaced(kind, names::OPERATOR_NAMESPACE, name)
}

impl World {
    /// Two workers, and everything that a person has to prepare for peer pods.
    pub fn for_peer_pods(settings: &[(&str, &str)]) -> Self {
        let mut world = Self::two_workers();
        world.cluster.capabilities.peer_pods = true;
        world.cluster.capabilities.match_conditions = true;
        world.cluster.capabilities.release_known = true;
        let image = |name: &str| Some(format!("quay.io/test/{name}:1.12"));
        world.settings.peer_pods = PeerPodsSettings {
            adaptor_image: image("caa"),
            webhook_image: image("webhook"),
            image_tool: image("podvm-builder"),
            pod_vm_image: image("podvm"),
            ..PeerPodsSettings::default()
        };
        world.set(settings);
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|key| (key, json!("digest")));
        world.put_own(
            Kind::Secret,
            peerpods::CREDENTIALS,
            json!({"digests": serde_json::Map::from_iter(keys.map(|(key, value)| (key.to_owned(), value)))}),
        );
        world.edit(Kind::ClusterVersion, "version", |version| {
            version["spec"] = json!({"clusterID": "c0ffee"});
        });
        world
    }

    /// Somebody writes an object into the operator's namespace.
    pub fn put_own(&mut self, kind: Kind, name: &str, body: Value) {
        let mut body = body;
        let labels = body["metadata"].clone();
        body["metadata"] = if labels.is_object() { labels } else { json!({}) };
        body["metadata"]["name"] = json!(name);
        store::put(&mut self.cluster, &mut self.serial, own(kind, name), body);
    }

    /// An object in the operator's namespace.
    pub fn own(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.cluster.objects.get(&own(kind, name)).map(AsRef::as_ref)
    }

    /// Somebody changes an object in the operator's namespace.
    pub fn edit_own(&mut self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.own(kind, name).unwrap().clone();
        change(&mut object);
        store::put(&mut self.cluster, &mut self.serial, own(kind, name), object);
    }

    /// Somebody deletes an object in the operator's namespace.
    pub fn delete_own(&mut self, kind: Kind, name: &str) {
        store::delete(&mut self.cluster, &mut self.serial, &own(kind, name));
    }

    /// Somebody writes `peer-pods-cm`.
    pub fn set(&mut self, settings: &[(&str, &str)]) {
        let data: serde_json::Map<String, Value> =
            settings.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        self.put_own(Kind::ConfigMap, peerpods::SETTINGS, json!({"data": data}));
    }

    /// A setting of `peer-pods-cm`.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.own(Kind::ConfigMap, peerpods::SETTINGS)?["data"][key].as_str()
    }

    /// One thing happens; false: there is nothing to happen.
    pub fn cloud_step(&mut self) -> bool {
        self.pods_of_gone_jobs()
            || self.job(peerpods::IMAGE_CREATION)
            || self.job(peerpods::IMAGE_DELETION)
            || self.webhook()
            || self.service_ca()
            || self.adaptors()
    }

    fn pods_of_gone_jobs(&mut self) -> bool {
        let jobs: Vec<Value> = peerpods::IMAGE_JOBS
            .iter()
            .filter_map(|name| Some(self.own(Kind::Job, name)?["metadata"]["uid"].clone()))
            .collect();
        let before = self.cluster.image_pods.len();
        self.cluster.image_pods.retain(|pod| jobs.contains(&json!(pod.job_uid)));
        self.cluster.image_pods.len() < before
    }

    /// A job begins, and comes to its end.
    fn job(&mut self, name: &str) -> bool {
        let Some(job) = self.own(Kind::Job, name).cloned() else { return false };
        if !job["status"]["conditions"].is_null() {
            return false;
        }
        let creates = name == peerpods::IMAGE_CREATION;
        let position = self.cluster.image_pods.iter().position(|pod| pod.job == name);
        let Some(position) = position else {
            if job["spec"]["parallelism"] == 0 {
                return false;
            }
            let job_uid = job["metadata"]["uid"].as_str().unwrap().to_owned();
            let (phase, pod) = ("Running".to_owned(), format!("{name}-x"));
            self.cluster.image_pods.push(ImagePodView {
                job: name.to_owned(),
                job_uid,
                name: pod,
                phase,
                ..ImagePodView::default()
            });
            self.cloud.begun |= creates;
            if creates {
                // What a job makes is there before the job says so.
                self.cloud.images.insert(IMAGE.to_owned());
            }
            return true;
        };
        if job["spec"]["parallelism"] == 0 {
            self.cluster.image_pods.remove(position);
            return true;
        }
        if creates && self.cloud.slow {
            return false;
        }
        let failure = self.cloud.fails.clone();
        let condition = if failure.is_some() { "Failed" } else { "Complete" };
        let said = match (&failure, creates) {
            (Some(words), _) => words.clone(),
            (None, true) => self.cloud.says.clone().unwrap_or_else(|| json!({"image": IMAGE}).to_string()),
            (None, false) => {
                self.cloud.images.remove(IMAGE);
                String::new()
            }
        };
        let pod = &mut self.cluster.image_pods[position];
        pod.phase = if failure.is_some() { "Failed" } else { "Succeeded" }.to_owned();
        pod.message = Some(said);
        pod.ended = Some(Timestamp::UNIX_EPOCH);
        let (message, now) = ("Job has reached the specified backoff limit", self.cluster.now);
        self.edit_own(Kind::Job, name, |job| {
            job["status"] =
                json!({"conditions": [{"type": condition, "status": "True", "message": message, "lastTransitionTime": now}]});
        });
        true
    }

    fn webhook(&mut self) -> bool {
        let found = self.own(Kind::Deployment, webhook::DEPLOYMENT);
        if self.cloud.no_webhook || found.is_none_or(|found| !found["status"].is_null()) {
            return false;
        }
        self.edit_own(Kind::Deployment, webhook::DEPLOYMENT, |object| {
            object["status"] = json!({"availableReplicas": 2});
        });
        true
    }

    /// OpenShift's service CA tells API servers whom to trust.
    fn service_ca(&mut self) -> bool {
        let name = webhook::CONFIGURATION;
        let Some(found) = self.object(Kind::MutatingWebhookConfiguration, name) else { return false };
        let asked = !found["metadata"]["annotations"].is_null();
        if !asked || !found["webhooks"][0]["clientConfig"]["caBundle"].is_null() {
            return false;
        }
        self.edit(Kind::MutatingWebhookConfiguration, name, |found| {
            found["webhooks"][0]["clientConfig"]["caBundle"] = json!("Zm9v");
        });
        true
    }

    fn adaptors(&mut self) -> bool {
        let runs = self.own(Kind::DaemonSet, peerpods::ADAPTOR).is_some();
        let nodes: Vec<String> = self
            .cluster
            .nodes
            .iter()
            .filter(|node| runs && node.has_kata_role())
            .map(|node| node.name.clone())
            .collect();
        let found: Vec<String> = self.cluster.adaptors.iter().map(|adaptor| adaptor.node.clone()).collect();
        if nodes == found {
            return false;
        }
        let adaptor = |node: String| AdaptorView {
            name: format!("osc-caa-ds-{node}"),
            node,
            ready: true,
            waiting: None,
            changed_at: self.cluster.now,
        };
        self.cluster.adaptors = nodes.into_iter().map(adaptor).collect();
        true
    }

    /// A node as it is.
    pub fn node(&self, name: &str) -> &osc_engine::NodeView {
        let found: &Arc<_> = self.cluster.nodes.iter().find(|node| node.name == name).unwrap();
        found
    }
}

/// Nothing that was made for peer pods is anywhere.
pub fn assert_nothing_left(world: &World) {
    assert!(world.cloud.images.is_empty(), "images are left: {:?}", world.cloud.images);
    assert_eq!(world.setting("PODVM_AMI_ID").filter(|image| !image.is_empty()), None);
    let kinds = [
        Kind::Job,
        Kind::Deployment,
        Kind::Service,
        Kind::MutatingWebhookConfiguration,
        Kind::PeerPodConfig,
        Kind::CredentialsRequest,
    ];
    let left: Vec<String> =
        world.cluster.objects.keys().filter(|id| kinds.contains(&id.kind)).map(ToString::to_string).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(world.own(Kind::DaemonSet, peerpods::ADAPTOR).is_none());
    let room: Vec<_> = world.cluster.nodes.iter().filter(|node| node.vms.is_some()).collect();
    assert!(room.is_empty(), "{room:?}");
}
