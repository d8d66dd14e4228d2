//! What one look at peer pods comes to.

use jiff::Timestamp;

use super::conditions::ImageCondition;
use crate::plan::Step;
use crate::trouble::Trouble;

/// What is to be done, and what is to be told.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// To be done, in this order.
    pub steps: Vec<Step>,
    /// What is told about the image.
    pub image: Option<ImageCondition>,
    /// What is still missing until peer pods can be used, or until nothing of them is left; a phrase.
    pub waiting: Option<String>,
    /// What a person should know.
    pub troubles: Vec<Trouble>,
    /// When to look again if nothing happens.
    pub wake_at: Option<Timestamp>,
}

impl Progress {
    /// Tells that something is still missing; what was told first stays.
    pub fn wait(&mut self, what: impl Into<String>) {
        self.waiting.get_or_insert(what.into());
    }

    /// Tells a person.
    pub fn trouble(&mut self, reason: &'static str, message: String) {
        self.troubles.push(Trouble { reason, message });
    }

    /// Brings `wake_at` forward.
    pub fn wake_by(&mut self, at: Option<Timestamp>) {
        self.wake_at = [self.wake_at, at].into_iter().flatten().min();
    }

    /// Takes in another one.
    pub fn join(&mut self, other: Self) {
        self.steps.extend(other.steps);
        self.image = other.image.or(self.image);
        self.troubles.extend(other.troubles);
        self.wake_by(other.wake_at);
        if let Some(what) = other.waiting {
            self.wait(what);
        }
    }
}
