//! What is told about pod VM images: reasons and messages of the condition `InProgress`, word for word those that people
//! and their scripts know; and the events about the jobs, by whose names the documentation has people look for them.

use osc_api::peerpods;

use super::situation::own;
use crate::object::{Kind, ObjectId};
use crate::observed::{Observed, Settings};
use crate::plan::{Event, EventKind};

/// Where the work on the pod VM image stands, and whose work it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageNews {
    /// Where it stands.
    pub condition: ImageCondition,
    /// The job; none: no job does it.
    pub job: Option<ObjectId>,
    /// Its unique identity, if it is known yet.
    pub uid: String,
}

impl ImageNews {
    /// With the job that is there.
    pub fn of(condition: ImageCondition, observed: &Observed, settings: &Settings) -> Self {
        let job = condition.job().map(|name| own(settings, Kind::Job, name));
        let found = job.as_ref().and_then(|job| observed.objects.get(job));
        let uid = found.and_then(|found| found["metadata"]["uid"].as_str()).unwrap_or_default().to_owned();
        Self { condition, job, uid }
    }

    /// What is told about the job.
    pub fn event(&self) -> Option<Event> {
        let about = self.job.clone()?;
        let (_, reason, _) = self.condition.parts();
        let (namespace, name) = (about.namespace.as_deref().unwrap_or_default(), about.name.as_str());
        let (kind, message) = match reason {
            RUNNING => (
                EventKind::Normal,
                format!("job {name} is running; its log: oc logs -n {namespace} job/{name}"),
            ),
            COMPLETED => (
                EventKind::Normal,
                format!(
                    "job {name} completed successfully; the image is named in ConfigMap {}",
                    peerpods::SETTINGS
                ),
            ),
            FAILED => (
                EventKind::Warning,
                format!("job {name} failed; see its log: oc logs -n {namespace} job/{name}"),
            ),
            _ => return None,
        };
        Some(Event { about, uid: self.uid.clone(), kind, reason: reason.to_owned(), message })
    }
}

const RUNNING: &str = "PodVMImageJobRunning";
const COMPLETED: &str = "PodVMImageJobCompleted";
const FAILED: &str = "PodVMImageJobFailed";
const UNKNOWN: &str = "PodVMImageJobStatusUnknown";

/// Where the work on the pod VM image stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageCondition {
    /// It is being made.
    Creating,
    /// It was made a moment ago.
    Created,
    /// It could not be made.
    CreationFailed,
    /// It is not known how far its making is.
    CreationUnknown,
    /// It is being deleted.
    Deleting,
    /// It was deleted a moment ago.
    Deleted,
    /// It could not be deleted.
    DeletionFailed,
    /// It is not known how far its deletion is.
    DeletionUnknown,
    /// Nobody makes images for this provider.
    Unsupported,
}

impl ImageCondition {
    /// Status, reason and message.
    pub fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Creating => ("True", RUNNING, "Creating Pod VM Image"),
            Self::Created => ("True", COMPLETED, "Created Pod VM Image"),
            Self::CreationFailed => ("True", FAILED, "Failed to create Pod VM Image"),
            Self::CreationUnknown => ("Unknown", UNKNOWN, "Pod VM Image creation status is unknown"),
            Self::Deleting => ("True", RUNNING, "Deleting Pod VM Image"),
            Self::Deleted => ("True", COMPLETED, "Deleted Pod VM Image"),
            Self::DeletionFailed => ("True", FAILED, "Failed to delete Pod VM Image"),
            Self::DeletionUnknown => ("Unknown", UNKNOWN, "Pod VM Image deletion status is unknown"),
            Self::Unsupported => {
                ("True", "PodVMImageUnsupportedProvider", "Pod VM image provider is unsupported")
            }
        }
    }

    /// Name of the job that does it.
    fn job(self) -> Option<&'static str> {
        match self {
            Self::Creating | Self::Created | Self::CreationFailed | Self::CreationUnknown => {
                Some(peerpods::IMAGE_CREATION)
            }
            Self::Deleting | Self::Deleted | Self::DeletionFailed | Self::DeletionUnknown => {
                Some(peerpods::IMAGE_DELETION)
            }
            Self::Unsupported => None,
        }
    }
}
