//! What goes wrong, when it was said to.

use std::time::Duration;

use crate::Error;

/// What is asked of a cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Logging in.
    Connect,
    /// Creating a machine.
    Create,
    /// Deleting one.
    Delete,
    /// Listing those of a cluster.
    List,
    /// Listing those of nobody.
    Untagged,
    /// Checking the settings.
    Verify,
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// About what: a name, an identifier, or nothing.
    pub subject: String,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and that error is answered.
    Error(Error),
    /// The machine is created, that error is answered, and the machine is told as left.
    Partial(Error),
    /// It is done, but that error is answered, and nothing is told: the connection broke at the wrong moment.
    Lost(Error),
    /// It is done after so long.
    Slow(Duration),
}

/// A fault to come.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) operation: Operation,
    pub(super) countdown: usize,
    pub(super) fault: Fault,
}

/// The fault of this call. Every fault of the operation is one call nearer now.
pub(super) fn due(planned: &mut Vec<Planned>, operation: Operation) -> Option<Fault> {
    for one in planned.iter_mut().filter(|one| one.operation == operation) {
        one.countdown = one.countdown.saturating_sub(1);
    }
    let now = planned.iter().position(|one| one.operation == operation && one.countdown == 0)?;
    Some(planned.remove(now).fault)
}
