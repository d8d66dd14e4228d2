//! The pod VM image: made by a job unless a person names one, and deleted by a job if it was made here.
//!
//! ```text
//! no image -> job runs -> it says what it made -> written into peer-pods-cm -> job goes
//!                \-> failed: told with its last words; tried again when what it reads changes, after an hour, or when it is
//!                            deleted
//! ```

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use osc_api::peerpods::{self, IMAGE_BEGUN, JOB_DIGEST, Provider};
use serde::Deserialize;
use serde_json::{Value, json};

use super::conditions::ImageCondition;
use super::job::{Circumstances, Task, has_source, image_map};
use super::progress::Progress;
use super::situation::{Situation, own};
use crate::object::{Kind, conditions, is_deleted, time, version_of};
use crate::observed::{ImagePodView, KataConfigView, Observed, Settings};
use crate::plan::Step;

/// How long a job that gave up stays as it is.
const TRIED_AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// There is none.
    Absent,
    /// It is being deleted.
    Leaving,
    /// It works, or will.
    Working,
    /// It did what it was to do.
    Complete,
    /// It gave up.
    Failed {
        /// Why, in the words of the API server.
        words: String,
        /// When.
        at: Option<Timestamp>,
    },
}

impl JobState {
    /// Reads it.
    pub fn of(job: Option<&Value>) -> Self {
        let Some(job) = job else { return Self::Absent };
        if is_deleted(job) {
            return Self::Leaving;
        }
        let holds = |type_: &str| conditions(job, "True").find(|one| one["type"] == type_);
        if let Some(failed) = holds("Failed") {
            Self::Failed {
                words: failed["message"].as_str().unwrap_or_default().to_owned(),
                at: time(&failed["lastTransitionTime"]),
            }
        } else if holds("Complete").is_some() {
            Self::Complete
        } else {
            Self::Working
        }
    }
}

/// What a job says at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// Identifier of the image that was made.
    pub image: String,
    /// What is to be noted at `peer-pods-cm`.
    pub annotations: BTreeMap<String, String>,
}

/// Everything that the two directions look at.
pub struct Image<'a> {
    /// What the cluster says.
    pub situation: &'a Situation<'a>,
    /// Whose it is.
    pub kata_config: &'a KataConfigView,
}

impl Image<'_> {
    fn observed(&self) -> &Observed {
        self.situation.observed
    }

    fn settings(&self) -> &Settings {
        self.situation.settings
    }

    fn job(&self, name: &str) -> Option<&Value> {
        self.situation.find(Kind::Job, name)
    }

    fn state(&self, name: &str) -> JobState {
        JobState::of(self.job(name))
    }

    fn drop(&self, name: &str) -> Option<Step> {
        let id = own(self.settings(), Kind::Job, name);
        self.observed().objects.get(&id).is_some_and(|job| !is_deleted(job)).then_some(Step::Delete { id })
    }

    /// Pods of a job, the one that ended last in front.
    fn pods(&self, name: &str) -> Vec<&ImagePodView> {
        let uid = self.job(name).and_then(|job| job["metadata"]["uid"].as_str()).unwrap_or_default();
        let of = |pod: &&ImagePodView| pod.job == name && pod.job_uid == uid;
        let mut pods: Vec<&ImagePodView> = self.observed().image_pods.iter().filter(of).collect();
        pods.sort_by_key(|pod| std::cmp::Reverse(pod.ended));
        pods
    }

    /// Makes sure that there is one. True: there is. `calm`: no node is about to reboot, so that a job may begin.
    pub fn ensure(&self, provider: Provider, calm: bool) -> (bool, Progress) {
        let mut progress = Progress::default();
        if self.situation.image().is_some() {
            return self.keep(provider, progress);
        }
        let key = provider.image_key();
        if !provider.makes_images() {
            progress.image = Some(ImageCondition::Unsupported);
            progress.wait("there is no pod VM image");
            progress.trouble(
                "PodVMImageUnsupportedProvider",
                format!(
                    "no pod VM image is made for {}: this release makes them for AWS and libvirt. Set {key} in ConfigMap \
                     {}/{} to an image of your own",
                    provider.title(),
                    self.settings().namespace,
                    peerpods::SETTINGS
                ),
            );
            return (false, progress);
        }
        self.make(provider, calm, &mut progress);
        (false, progress)
    }

    /// There is an image; what is left of jobs goes.
    fn keep(&self, provider: Provider, mut progress: Progress) -> (bool, Progress) {
        let creation = self.state(peerpods::IMAGE_CREATION);
        if self.situation.image_is_ours() {
            // Peer pods were switched off, and on again before the image was gone: it goes, and another one is made.
            if self.state(peerpods::IMAGE_DELETION) != JobState::Absent {
                let (_, cleaned) = self.clean(self.situation.setup.image_made.clone());
                progress.join(cleaned);
                progress.wait("the old pod VM image is deleted");
                return (false, progress);
            }
            progress.steps.extend(self.drop(peerpods::IMAGE_CREATION));
        } else if creation == JobState::Complete {
            // Made, and written down by a person: it is the one that the job made.
            progress.steps.extend(self.adopt(provider));
            progress.steps.extend(self.drop(peerpods::IMAGE_CREATION));
        } else if self.begun() {
            // A person named one while another was being made. Nobody waits for what is left of that.
            let (_, cleaned) = self.clean(None);
            progress.steps.extend(cleaned.steps);
            progress.troubles.extend(cleaned.troubles);
        } else {
            progress.steps.extend(self.drop(peerpods::IMAGE_DELETION));
        }
        (true, progress)
    }

    /// Notes that the image that a person wrote down is the one that a job made.
    fn adopt(&self, provider: Provider) -> Option<Step> {
        let annotation = provider.image_annotations().first()?;
        let image = self.situation.image()?;
        let said = self.outcome().unwrap_or_default();
        // Another one: the job's own is not known by name any more, and goes by what is noted as begun.
        if said.image != image {
            return None;
        }
        Some(self.note(json!({"metadata": {"annotations": {*annotation: image, IMAGE_BEGUN: null}}})))
    }

    /// Whether a job has begun to make an image, and nothing is known of its end.
    fn begun(&self) -> bool {
        self.notes(IMAGE_BEGUN) || self.state(peerpods::IMAGE_CREATION) != JobState::Absent
    }

    /// Whether `peer-pods-cm` has that annotation.
    fn notes(&self, annotation: &str) -> bool {
        self.situation.map().is_some_and(|map| !map["metadata"]["annotations"][annotation].is_null())
    }

    /// Writes into `peer-pods-cm`, unless somebody else did meanwhile.
    fn note(&self, patch: Value) -> Step {
        Step::Merge {
            id: own(self.settings(), Kind::ConfigMap, peerpods::SETTINGS),
            resource_version: self.situation.map().map(version_of),
            patch,
        }
    }

    fn make(&self, provider: Provider, calm: bool, progress: &mut Progress) {
        progress.wait("the pod VM image is made");
        let Some(tool) = &self.settings().peer_pods.image_tool else {
            return progress.trouble(
                "PeerPodsImageMissing",
                "no image is known for the job that makes pod VM images: set RELATED_IMAGE_PODVM_BUILDER in the operator's \
                 Deployment"
                    .to_owned(),
            );
        };
        if !has_source(self.situation) {
            let maps = provider.image_maps().join(" or ");
            return progress.trouble(
                "PodVMImageSourceMissing",
                format!(
                    "it is not known what the pod VM image is made from: set PODVM_IMAGE_URI in ConfigMap {}/{maps}, or {} in \
                     ConfigMap {} to an image of your own",
                    self.settings().namespace,
                    provider.image_key(),
                    peerpods::SETTINGS
                ),
            );
        }
        if self.situation.setup.image_map.is_none()
            && let Some((id, object)) = image_map(self.kata_config, self.settings(), provider)
        {
            // The job reads it: it begins when the map is there.
            progress.image = Some(ImageCondition::Creating);
            return progress.steps.push(Step::Apply { id, object });
        }
        // One that deletes works on the same names.
        if let Some(step) = self.drop(peerpods::IMAGE_DELETION) {
            progress.steps.push(step);
        }
        let circumstances =
            Circumstances { situation: self.situation, kata_config: self.kata_config, provider, tool };
        match self.state(peerpods::IMAGE_CREATION) {
            JobState::Absent
                if self.pods_left(peerpods::IMAGE_DELETION)
                    || self.state(peerpods::IMAGE_DELETION) != JobState::Absent =>
            {
                progress.image = Some(ImageCondition::Creating);
            }
            // Before anything is made: whatever becomes of the job, somebody knows that there is something to delete.
            JobState::Absent if calm && !self.notes(IMAGE_BEGUN) => {
                progress.image = Some(ImageCondition::Creating);
                progress.steps.push(self.note(json!({"metadata": {"annotations": {IMAGE_BEGUN: "true"}}})));
            }
            JobState::Absent if calm => {
                progress.image = Some(ImageCondition::Creating);
                let (id, object) = circumstances.job(&Task::Create);
                progress.steps.push(Step::Apply { id, object });
            }
            // A node that reboots would take the job with it.
            JobState::Absent => progress.waiting = Some("nodes are being changed".to_owned()),
            JobState::Leaving => progress.image = Some(ImageCondition::Creating),
            // It was to be stopped, and is wanted again.
            JobState::Working if self.is_stopped() => {
                progress.image = Some(ImageCondition::Creating);
                progress.steps.extend(self.drop(peerpods::IMAGE_CREATION));
            }
            JobState::Working => {
                progress.image = Some(ImageCondition::Creating);
                self.slow_start(peerpods::IMAGE_CREATION, progress);
            }
            JobState::Complete => self.take_outcome(provider, progress),
            JobState::Failed { words, at } => {
                progress.image = Some(ImageCondition::CreationFailed);
                self.failed(&circumstances, &Task::Create, (&words, at), progress);
            }
        }
    }

    /// Whether a pod of the job has yet to end, whatever became of the job.
    fn pods_left(&self, name: &str) -> bool {
        let active =
            |pod: &&ImagePodView| pod.job == name && !matches!(pod.phase.as_str(), "Succeeded" | "Failed");
        self.observed().image_pods.iter().any(|pod| active(&pod))
    }

    fn is_stopped(&self) -> bool {
        self.job(peerpods::IMAGE_CREATION).is_some_and(|job| job["spec"]["parallelism"] == 0)
    }

    /// What the job that makes an image said at its end; none: nobody remembers.
    fn outcome(&self) -> Option<Outcome> {
        let pods = self.pods(peerpods::IMAGE_CREATION);
        let said = pods.iter().find(|pod| pod.phase == "Succeeded")?.message.as_deref().unwrap_or_default();
        Some(serde_json::from_str::<Outcome>(said).unwrap_or_default())
    }

    fn take_outcome(&self, provider: Provider, progress: &mut Progress) {
        let outcome = self.outcome();
        match (outcome, self.situation.map()) {
            (Some(outcome), Some(_)) if !outcome.image.is_empty() => {
                progress.image = Some(ImageCondition::Created);
                let mut annotations = outcome.annotations.clone();
                if let Some(first) = provider.image_annotations().first() {
                    annotations.insert((*first).to_owned(), outcome.image.clone());
                }
                let mut annotations = json!(annotations);
                annotations[IMAGE_BEGUN] = Value::Null;
                progress.steps.push(self.note(json!({
                    "metadata": {"annotations": annotations},
                    "data": {provider.image_key(): outcome.image},
                })));
            }
            // The job's end was heard of before that of its pod.
            (None, _) if self.pods_left(peerpods::IMAGE_CREATION) => {
                progress.image = Some(ImageCondition::Creating);
            }
            // Nobody remembers what it said. It finds what it made, and says it again.
            (None, _) => {
                progress.image = Some(ImageCondition::Creating);
                progress.steps.extend(self.drop(peerpods::IMAGE_CREATION));
            }
            _ => {
                progress.image = Some(ImageCondition::CreationUnknown);
                progress.trouble(
                    "PodVMImageJobStatusUnknown",
                    format!(
                        "Job {namespace}/{job} ended well and did not say which image it made: see its log (oc logs -n \
                         {namespace} job/{job}), set {key} in ConfigMap {map} to that image, or delete the job to run it \
                         again: oc delete job {job} -n {namespace}",
                        namespace = self.settings().namespace,
                        job = peerpods::IMAGE_CREATION,
                        key = provider.image_key(),
                        map = peerpods::SETTINGS,
                    ),
                );
            }
        }
    }

    /// A job that gave up stays for people to look at, until what it reads changes, or for a while: what kept it from its
    /// work may have passed.
    fn failed(
        &self,
        circumstances: &Circumstances<'_>,
        task: &Task,
        (words, at): (&str, Option<Timestamp>),
        progress: &mut Progress,
    ) {
        let name = task.job();
        let digest = circumstances.digest(task);
        let changed =
            self.job(name).is_some_and(|job| job["metadata"]["annotations"][JOB_DIGEST] != digest.as_str());
        let again = at.and_then(|at| at.checked_add(TRIED_AGAIN_AFTER).ok());
        if changed || again.is_some_and(|again| again <= self.observed().now) {
            progress.steps.extend(self.drop(name));
            return;
        }
        progress.wake_by(again);
        let pods = self.pods(name);
        let said =
            pods.iter().find_map(|pod| pod.message.as_deref()).map(str::trim).filter(|said| !said.is_empty());
        let namespace = &self.settings().namespace;
        let (verb, hint) = match task {
            Task::Create => ("make the pod VM image", String::new()),
            Task::Delete(_) => {
                let noted = circumstances.provider.image_annotations().first().copied().unwrap_or_default();
                let hint = format!(
                    "; to leave the image where it is: oc annotate configmap {} -n {namespace} {noted}- {IMAGE_BEGUN}-",
                    peerpods::SETTINGS
                );
                ("delete the pod VM image", hint)
            }
        };
        progress.trouble(
            "PodVMImageJobFailed",
            format!(
                "Job {namespace}/{name} failed to {verb}: {}. Mend that; the job runs again after an hour, when the settings \
                 change, or at once by oc delete job {name} -n {namespace}; its log: oc logs -n {namespace} \
                 job/{name}{hint}",
                said.unwrap_or(words).trim_end_matches('.'),
            ),
        );
    }

    /// A job whose pod does not begin.
    fn slow_start(&self, name: &str, progress: &mut Progress) {
        let waiting = self.pods(name).into_iter().find_map(|pod| pod.waiting.clone());
        // Only what does not go by itself: an image that is pulled is no reason to look.
        let bad = [
            "ErrImagePull",
            "ImagePullBackOff",
            "InvalidImageName",
            "CreateContainerConfigError",
            "Unschedulable",
        ];
        let Some(words) = waiting.filter(|words| bad.iter().any(|bad| words.starts_with(bad))) else {
            return;
        };
        let namespace = &self.settings().namespace;
        progress.trouble(
            "PodVMImageJobWaits",
            format!(
                "the pod of Job {namespace}/{name} does not start ({words}): see oc describe pod -n {namespace} -l \
                 {}={name}",
                peerpods::JOB_LABEL
            ),
        );
    }

    /// Deletes the image if it was made here. True: nothing is left to be deleted.
    pub fn remove(&self) -> (bool, Progress) {
        // By what is noted about it: the key may name another one by now, or none.
        self.clean(self.situation.setup.image_made.clone())
    }

    /// Deletes that image, and what is left of one that was not finished.
    fn clean(&self, image: Option<String>) -> (bool, Progress) {
        let mut progress = Progress::default();
        let creation = self.state(peerpods::IMAGE_CREATION);
        let begun = self.begun();
        if image.is_none() && !begun {
            progress.steps.extend(self.drop(peerpods::IMAGE_DELETION));
            return (self.state(peerpods::IMAGE_DELETION) == JobState::Absent, progress);
        }
        if let Some(words) = self.cannot_delete() {
            let named = match image {
                Some(image) => format!("pod VM image {image} stays in the cloud"),
                None => "what the job that makes pod VM images had begun, if anything, stays in the cloud"
                    .to_owned(),
            };
            progress.trouble("PodVMImageLeft", format!("{named}: {words}; delete it by hand"));
            // Nobody asks again: what is noted would only be told once more.
            if self.notes(IMAGE_BEGUN) {
                progress.steps.push(self.note(json!({"metadata": {"annotations": {IMAGE_BEGUN: null}}})));
            }
            progress.steps.extend(peerpods::IMAGE_JOBS.iter().filter_map(|name| self.drop(name)));
            return (!begun, progress);
        }
        progress.wait("the pod VM image is deleted");
        // It must not go on making what is being deleted; its object stays, for it says that something was begun.
        if creation == JobState::Working {
            progress.image = Some(ImageCondition::Deleting);
            if self.job(peerpods::IMAGE_CREATION).is_some_and(|job| job["spec"]["parallelism"] != 0) {
                progress.steps.push(Step::Merge {
                    id: own(self.settings(), Kind::Job, peerpods::IMAGE_CREATION),
                    resource_version: None,
                    patch: json!({"spec": {"parallelism": 0}}),
                });
            }
        }
        if self.pods_left(peerpods::IMAGE_CREATION) {
            return (false, progress);
        }
        self.delete(image, &mut progress);
        (false, progress)
    }

    /// Why nobody can delete the image.
    fn cannot_delete(&self) -> Option<String> {
        let namespace = &self.settings().namespace;
        if self.settings().peer_pods.image_tool.is_none() {
            return Some("no image is known for the job that would delete it".to_owned());
        }
        if self.situation.provider.is_none_or(|provider| !provider.makes_images()) {
            return Some(format!("ConfigMap {namespace}/{} does not say where it is", peerpods::SETTINGS));
        }
        if self.situation.setup.credentials.is_none() {
            return Some(format!("Secret {namespace}/{} does not exist", peerpods::CREDENTIALS));
        }
        let blocking = self.situation.blocking().into_iter();
        blocking.filter(|one| one.reason == "CredentialsIncomplete").map(|one| one.what).next()
    }

    fn delete(&self, image: Option<String>, progress: &mut Progress) {
        let (Some(provider), Some(tool)) = (self.situation.provider, &self.settings().peer_pods.image_tool)
        else {
            return;
        };
        let circumstances =
            Circumstances { situation: self.situation, kata_config: self.kata_config, provider, tool };
        let task = Task::Delete(image);
        progress.image = Some(ImageCondition::Deleting);
        match self.state(peerpods::IMAGE_DELETION) {
            JobState::Absent => {
                let (id, object) = circumstances.job(&task);
                progress.steps.push(Step::Apply { id, object });
            }
            JobState::Leaving => {}
            JobState::Working => self.slow_start(peerpods::IMAGE_DELETION, progress),
            JobState::Complete => {
                progress.image = Some(ImageCondition::Deleted);
                progress.steps.extend(self.forget(provider));
            }
            JobState::Failed { words, at } => {
                progress.image = Some(ImageCondition::DeletionFailed);
                self.failed(&circumstances, &task, (&words, at), progress);
            }
        }
    }

    /// The image is gone: so is what is written about it, and then the jobs.
    fn forget(&self, provider: Provider) -> Vec<Step> {
        let mut steps = Vec::new();
        if provider.image_annotations().iter().chain(&[IMAGE_BEGUN]).any(|name| self.notes(name))
            || self.situation.image_is_ours()
        {
            let mut annotations: serde_json::Map<String, Value> =
                provider.image_annotations().iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
            annotations.insert(IMAGE_BEGUN.to_owned(), Value::Null);
            let mut patch = json!({"metadata": {"annotations": annotations}});
            if self.situation.image_is_ours() {
                patch["data"] = json!({provider.image_key(): ""});
            }
            steps.push(self.note(patch));
        }
        steps.extend(self.drop(peerpods::IMAGE_CREATION));
        steps.extend(self.drop(peerpods::IMAGE_DELETION));
        steps
    }
}
