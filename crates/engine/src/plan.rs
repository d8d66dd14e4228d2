//! What the engine tells the shell to do.

use jiff::Timestamp;
use osc_api::KataConfigStatus;
use serde::Serialize;
use serde_json::Value;

use crate::object::ObjectId;

/// Steps in their order, and when to look again if nothing happens.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// To be done one after the other; the first that fails ends the pass.
    pub steps: Vec<Step>,
    /// The nearest deadline: what is told changes then, even if the cluster does not.
    pub wake_at: Option<Timestamp>,
}

/// One write. Each is idempotent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Server-side apply, taking fields from other managers where they differ.
    Apply {
        /// Which object.
        id: ObjectId,
        /// What we say about it, and nothing else.
        object: Value,
    },
    /// Create; one that exists already is left alone. For fields that a person may change afterwards.
    Create {
        /// Which object.
        id: ObjectId,
        /// The whole object.
        object: Value,
    },
    /// Set one field to exactly this value, whoever set what is in it.
    Replace {
        /// Which object.
        id: ObjectId,
        /// JSON pointer of the field; what it is in exists.
        path: &'static str,
        /// The value.
        value: Value,
    },
    /// Merge a patch, provided that the object did not change since it was read. For what people write, too.
    Merge {
        /// Which object.
        id: ObjectId,
        /// Version that was read; none where a change in between does not matter.
        resource_version: Option<String>,
        /// The patch.
        patch: Value,
    },
    /// Server-side apply of a Secret with values out of another one, which only the shell gets to see.
    CopySecret {
        /// Which Secret is written.
        id: ObjectId,
        /// What we say about it, but for the values.
        object: Value,
        /// Where the values come from.
        from: ObjectId,
        /// What becomes of them.
        translation: Translation,
    },
    /// Delete; one that is absent is fine.
    Delete {
        /// Which object.
        id: ObjectId,
    },
    /// Set (`Some`) or remove (`None`) one label of a node.
    LabelNode {
        /// Name of the node.
        node: String,
        /// Label key.
        key: &'static str,
        /// Label value.
        value: Option<&'static str>,
    },
    /// Say how many pod VMs a node may have; none: nothing is said any more.
    Advertise {
        /// Name of the node.
        node: String,
        /// How many.
        limit: Option<String>,
    },
    /// Replace the list of finalizers, provided that the object did not change since it was read.
    SetFinalizers {
        /// Which object.
        id: ObjectId,
        /// Version that was read.
        resource_version: String,
        /// The new list.
        finalizers: Vec<String>,
    },
    /// Write the status of a KataConfig.
    PatchStatus {
        /// Its name.
        name: String,
        /// The whole status.
        status: KataConfigStatus,
    },
    /// Tell a person, by a Kubernetes Event.
    Emit(Event),
}

/// What becomes of the values of a Secret on their way into another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Translation {
    /// One value, under another key.
    Key {
        /// Its key where it comes from.
        from: &'static str,
        /// Its key where it goes.
        to: &'static str,
    },
    /// What the Cloud Credential Operator writes, as the adaptor reads it.
    CloudCredentials,
}

/// One Kubernetes Event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// What it is about.
    pub about: ObjectId,
    /// The unique identity of that.
    pub uid: String,
    /// Normal or warning.
    pub kind: EventKind,
    /// One CamelCase word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EventKind {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Plan {
    /// Brings `wake_at` forward to `at` if that is earlier.
    pub fn wake_by(&mut self, at: Option<Timestamp>) {
        self.wake_at = [self.wake_at, at].into_iter().flatten().min();
    }
}
