//! The tool of the image jobs: it makes pod VM images in a cloud in memory, and deletes them.
//!
//! Making one takes a while, and is to be seen in the cloud from its first moment on: a volume with what is imported is
//! there until the image is. A job that is stopped or fails leaves that volume, and the job that deletes removes it. Both
//! find what they made by the identity of the cluster, so that doing anything twice is doing it once.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use osc_api::peerpods::{IMAGE_JOBS, JOB_LABEL, Provider};
use osc_cloud::memory::Memory;
use osc_devcluster::sim::program::{Context, Exit, Program};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::machines::provider;

/// How long an image takes, in simulated time.
const MAKING: Duration = Duration::from_mins(4);
/// How long a deletion takes.
const DELETING: Duration = Duration::from_secs(15);

/// Lets image jobs fail. Clones are the same switch.
#[derive(Clone, Debug, Default)]
pub struct ImageFaults(Arc<Mutex<Faults>>);

#[derive(Debug, Default)]
struct Faults {
    next: VecDeque<String>,
    always: Option<String>,
}

impl ImageFaults {
    /// Lets the next run of the tool fail half-way, with these words. Said several times, so many runs fail: a job tries
    /// twice.
    pub fn fail_next(&self, words: &str) {
        self.lock().next.push_back(words.to_owned());
    }

    /// Lets every run of the tool fail half-way, with these words, until somebody [mends](Self::mend) that.
    pub fn fail_always(&self, words: &str) {
        self.lock().always = Some(words.to_owned());
    }

    /// Lets no run fail any more.
    pub fn mend(&self) {
        *self.lock() = Faults::default();
    }

    fn take(&self) -> Option<String> {
        let mut faults = self.lock();
        faults.next.pop_front().or_else(|| faults.always.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the tool makes for a cluster, and leaves when it is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftovers {
    /// Identifier of the image.
    pub image: String,
    /// The volume that is there while the image is made.
    pub volume: String,
}

impl Leftovers {
    /// Of the cluster with that identity.
    pub fn of(provider: Provider, cluster: &str) -> Self {
        let digest = Sha256::digest(format!("{}/{cluster}", provider.name()).as_bytes());
        let hex = digest.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let image = match provider {
            Provider::Aws => format!("ami-{}", &hex[..17]),
            Provider::Azure | Provider::Gcp | Provider::Libvirt => format!("podvm-image-{}", &hex[..8]),
        };
        Self { image, volume: format!("podvm-image-{}-import", &hex[..8]) }
    }
}

/// The program.
#[derive(Debug)]
pub struct ImageTool {
    memory: Memory,
    faults: ImageFaults,
}

impl ImageTool {
    /// One that works in that cloud.
    pub fn new(memory: Memory, faults: ImageFaults) -> Self {
        Self { memory, faults }
    }
}

impl Program for ImageTool {
    fn takes(&self, pod: &Pod) -> bool {
        pod.labels().get(JOB_LABEL).is_some_and(|job| IMAGE_JOBS.contains(&job.as_str()))
    }

    fn run(&self, context: Context) -> BoxFuture<'static, Exit> {
        let (memory, faults) = (self.memory.clone(), self.faults.clone());
        async move {
            match run(&context, &memory, &faults).await {
                Ok(said) => Exit::Success(said),
                Err(why) => Exit::Failure(why),
            }
        }
        .boxed()
    }
}

/// What a job is to do.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Create,
    /// Of this image too, if it is another one.
    Delete(Option<String>),
}

impl Task {
    /// By the command of the pod's container.
    fn of(pod: &Pod) -> Result<Self, String> {
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let words: Vec<&str> = container
            .into_iter()
            .flat_map(|container| container.command.iter().flatten().chain(container.args.iter().flatten()))
            .map(String::as_str)
            .collect();
        match words[..] {
            [_, "create"] => Ok(Self::Create),
            [_, "delete"] => Ok(Self::Delete(None)),
            [_, "delete", "--image", image] => Ok(Self::Delete(Some(image.to_owned()))),
            _ => Err(format!(
                "{:?} is no command of this tool: create, or delete [--image ID]",
                words.join(" ")
            )),
        }
    }
}

async fn run(context: &Context, memory: &Memory, faults: &ImageFaults) -> Result<String, String> {
    let env = context.env().await.map_err(|error| error.to_string())?;
    let task = Task::of(&context.pod)?;
    let provider = provider(&env)?;
    if !provider.makes_images() {
        return Err(format!("no image is made for {}", provider.title()));
    }
    let cluster = set(&env, "CLUSTER_ID")?;
    let wanted = Leftovers::of(provider, cluster);
    match task {
        Task::Create => {
            set(&env, "PODVM_IMAGE_URI")?;
            create(context, memory, faults, &wanted).await?;
            let note = provider.image_annotations().first().copied().unwrap_or_default();
            Ok(json!({"image": wanted.image, "annotations": {note: wanted.image}}).to_string())
        }
        Task::Delete(image) => {
            work(context, faults, DELETING).await?;
            memory.remove_volume(&wanted.volume);
            memory.remove_image(&wanted.image);
            if let Some(image) = image {
                memory.remove_image(&image);
            }
            Ok(json!({}).to_string())
        }
    }
}

fn set<'a>(env: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str, String> {
    let value = env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    value.ok_or_else(|| format!("{name} is not set"))
}

async fn create(
    context: &Context,
    memory: &Memory,
    faults: &ImageFaults,
    wanted: &Leftovers,
) -> Result<(), String> {
    if memory.left().images.contains(&wanted.image) {
        // An earlier run may have been stopped between its last two steps.
        memory.remove_volume(&wanted.volume);
        return Ok(());
    }
    memory.add_volume(&wanted.volume);
    work(context, faults, MAKING).await?;
    memory.add_image(&wanted.image);
    memory.remove_volume(&wanted.volume);
    Ok(())
}

/// Takes its time, unless it fails half-way or is stopped.
async fn work(context: &Context, faults: &ImageFaults, long: Duration) -> Result<(), String> {
    let fault = faults.take();
    let time = if fault.is_some() { long / 2 } else { long };
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => Err("stopped before it was done".to_owned()),
        () = context.clock.sleep(time) => fault.map_or(Ok(()), Err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osc_api::peerpods::keys::{self, Shape};

    fn pod(command: &[&str]) -> Pod {
        serde_json::from_value(json!({"metadata": {"labels": {JOB_LABEL: IMAGE_JOBS[0]}},
            "spec": {"containers": [{"name": "x", "command": command}]}}))
        .unwrap()
    }

    #[test]
    fn the_command_says_what_to_do() {
        let task = |words: &[&str]| Task::of(&pod(words));
        assert_eq!(task(&["/usr/bin/osc-podvm-image", "create"]), Ok(Task::Create));
        assert_eq!(task(&["x", "delete"]), Ok(Task::Delete(None)));
        assert_eq!(task(&["x", "delete", "--image", "ami-1"]), Ok(Task::Delete(Some("ami-1".into()))));
        let words = task(&["x", "delete", "--all"]).unwrap_err();
        assert!(words.starts_with("\"x delete --all\" is no command of this tool"), "{words}");
    }

    #[test]
    fn only_pods_of_image_jobs_are_taken() {
        let tool = ImageTool::new(Memory::new(), ImageFaults::default());
        assert!(tool.takes(&pod(&[])));
        let other = json!({"metadata": {"labels": {JOB_LABEL: "backup"}}});
        assert!(!tool.takes(&serde_json::from_value(other).unwrap()));
        assert!(!tool.takes(&Pod::default()));
    }

    #[test]
    fn images_have_the_form_of_their_provider_and_are_those_of_one_cluster() {
        for provider in Provider::ALL.into_iter().filter(|provider| provider.makes_images()) {
            let made = Leftovers::of(provider, "one");
            assert_eq!(made, Leftovers::of(provider, "one"));
            let other = Leftovers::of(provider, "two");
            assert!(made.image != other.image && made.volume != other.volume);
            let key = keys::settings(provider).find(|key| key.name == provider.image_key()).unwrap();
            let fits = match key.shape {
                Shape::Identifier(prefix) => made
                    .image
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.len() == 17 && rest.chars().all(|c| c.is_ascii_hexdigit())),
                Shape::Text => !made.image.contains(char::is_whitespace),
                other => panic!("{other:?}"),
            };
            assert!(fits, "{}", made.image);
        }
    }
}
