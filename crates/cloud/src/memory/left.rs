//! What is left in the cloud.

use std::fmt;

/// Everything that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Machines: name and identifier.
    pub instances: Vec<String>,
    /// Volumes.
    pub volumes: Vec<String>,
    /// Images.
    pub images: Vec<String>,
}

impl Left {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How much it is.
    pub fn count(&self) -> usize {
        self.instances.len() + self.volumes.len() + self.images.len()
    }
}

impl fmt::Display for Left {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [("machine", &self.instances), ("volume", &self.volumes), ("image", &self.images)];
        let all: Vec<String> = kinds
            .iter()
            .flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind} {name}")))
            .collect();
        if all.is_empty() { out.write_str("nothing") } else { out.write_str(&all.join(", ")) }
    }
}
