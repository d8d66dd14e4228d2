//! What the webhook goes by.

use std::collections::BTreeSet;

use osc_api::names::{OPERATOR_NAMESPACE, REMOTE_RUNTIME_CLASS};
use osc_api::peerpods::{VM_RESOURCE, webhook};

use super::size::Asked;

/// What the webhook goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The runtime class of peer pods.
    pub class: String,
    /// The extended resource that counts pod VMs.
    pub resource: String,
    /// Annotations that a pod is given.
    pub annotations: BTreeSet<SizeAnnotation>,
    /// Namespaces whose pods are left alone.
    pub excluded: BTreeSet<String>,
}

/// An annotation about the size of a pod VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SizeAnnotation {
    /// Virtual processors.
    Vcpus,
    /// Memory.
    Memory,
    /// GPUs.
    Gpus,
}

impl SizeAnnotation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Vcpus, Self::Memory, Self::Gpus];

    /// The annotation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vcpus => webhook::DEFAULT_VCPUS,
            Self::Memory => webhook::DEFAULT_MEMORY,
            Self::Gpus => webhook::DEFAULT_GPUS,
        }
    }

    /// As [`webhook::SIZE_VARIABLE`] has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Vcpus => "vcpus",
            Self::Memory => "memory",
            Self::Gpus => "gpus",
        }
    }

    /// Its value for a pod; none for one that does not ask for any.
    pub(super) fn value(self, asked: &Asked) -> Option<i128> {
        let value = match self {
            Self::Vcpus => asked.vcpus(),
            Self::Memory => asked.mebibytes(),
            Self::Gpus => asked.gpus(),
        };
        (value > 0).then_some(value)
    }
}

/// A variable that is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is {found:?}; {expected}")]
pub struct Unusable {
    /// The variable.
    pub variable: &'static str,
    /// Its value.
    pub found: String,
    /// What to write instead.
    pub expected: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            class: REMOTE_RUNTIME_CLASS.to_owned(),
            resource: VM_RESOURCE.to_owned(),
            annotations: SizeAnnotation::ALL.into(),
            excluded: webhook::excluded_namespaces(OPERATOR_NAMESPACE).map(str::to_owned).collect(),
        }
    }
}

impl Options {
    /// Reads the environment, and says what a person should know about it. An empty variable counts as not set, as a
    /// manifest may leave it so.
    pub fn of_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<String>), Unusable> {
        let set = |name: &str| {
            variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let (mut options, mut told) = (Self::default(), Vec::new());
        let classes = (set(webhook::CLASS_VARIABLE), set(webhook::OLD_CLASS_VARIABLE));
        if let Some((variable, class)) = class(classes, &mut told) {
            options.class = usable_class(variable, class)?;
        }
        if let Some(resource) = set(webhook::RESOURCE_VARIABLE) {
            options.resource = usable_resource(resource)?;
        }
        if let Some(namespace) = set(webhook::NAMESPACE_VARIABLE) {
            options.excluded = webhook::excluded_namespaces(&namespace).map(str::to_owned).collect();
        }
        if let Some(words) = set(webhook::SIZE_VARIABLE) {
            options.annotations = size_annotations(words)?;
        }
        Ok((options, told))
    }
}

/// By the present name or by the older one.
fn class(
    classes: (Option<String>, Option<String>),
    told: &mut Vec<String>,
) -> Option<(&'static str, String)> {
    let (new, old) = (webhook::CLASS_VARIABLE, webhook::OLD_CLASS_VARIABLE);
    match classes {
        (Some(class), Some(other)) if class != other => {
            told.push(format!(
                "{new} is {class:?} and {old} is {other:?}; the first one holds: remove {old}"
            ));
            Some((new, class))
        }
        (Some(class), _) => Some((new, class)),
        (None, Some(class)) => {
            told.push(format!("{old} is the older name of {new}; set {new} instead"));
            Some((old, class))
        }
        (None, None) => None,
    }
}

/// Lower-case letters, digits, `-` and `.`, as objects of Kubernetes are named.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 253
        && text.starts_with(inner)
        && text.ends_with(inner)
        && text.chars().all(|c| inner(c) || c == '-' || c == '.')
}

fn usable_class(variable: &'static str, class: String) -> Result<String, Unusable> {
    if is_name(&class) {
        return Ok(class);
    }
    let expected = "write the name of a runtime class, for instance kata-remote";
    Err(Unusable { variable, found: class, expected })
}

/// What a container may ask for as one number, and nobody else counts.
fn usable_resource(resource: String) -> Result<String, Unusable> {
    let well_formed = resource.split_once('/').is_some_and(|(domain, name)| {
        let native = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        is_name(domain) && !native && !name.is_empty() && name.len() <= 63 && name.chars().all(plain)
    });
    if well_formed && resource != webhook::GPU_RESOURCE {
        return Ok(resource);
    }
    let expected =
        "write an extended resource that counts pod VMs and nothing else, for instance kata.peerpods.io/vm";
    Err(Unusable { variable: webhook::RESOURCE_VARIABLE, found: resource, expected })
}

fn size_annotations(words: String) -> Result<BTreeSet<SizeAnnotation>, Unusable> {
    if words == "none" {
        return Ok(BTreeSet::new());
    }
    let of = |word: &str| SizeAnnotation::ALL.into_iter().find(|annotation| annotation.word() == word.trim());
    words.split(',').map(of).collect::<Option<_>>().ok_or(Unusable {
        variable: webhook::SIZE_VARIABLE,
        found: words,
        expected: "write some of vcpus,memory,gpus with commas, or none",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn read(variables: &[(&str, &str)]) -> Result<(Options, Vec<String>), Unusable> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
        Options::of_environment(find)
    }

    #[test]
    fn without_variables_it_is_as_documented() {
        let (options, told) = read(&[]).unwrap();
        assert_eq!(
            (options.class.as_str(), options.resource.as_str()),
            ("kata-remote", "kata.peerpods.io/vm")
        );
        assert_eq!(options.annotations.len(), 3);
        assert!(options.excluded.contains("openshift-sandboxed-containers-operator"));
        assert_eq!(told, [""; 0]);
        let empty =
            [("TARGET_RUNTIMECLASS", ""), ("POD_VM_EXTENDED_RESOURCE", " "), ("PEERPODS_NAMESPACE", "")];
        assert_eq!(read(&empty).unwrap(), (options, told));
    }

    #[rstest]
    #[case::new(&[("TARGET_RUNTIMECLASS", "far")], "far", &[])]
    #[case::old(
        &[("TARGET_RUNTIME_CLASS", "far")], "far",
        &["TARGET_RUNTIME_CLASS is the older name of TARGET_RUNTIMECLASS; set TARGET_RUNTIMECLASS instead"]
    )]
    #[case::both_alike(&[("TARGET_RUNTIMECLASS", "far"), ("TARGET_RUNTIME_CLASS", "far")], "far", &[])]
    #[case::both(
        &[("TARGET_RUNTIMECLASS", "far"), ("TARGET_RUNTIME_CLASS", "near")], "far",
        &["TARGET_RUNTIMECLASS is \"far\" and TARGET_RUNTIME_CLASS is \"near\"; the first one holds: remove \
           TARGET_RUNTIME_CLASS"]
    )]
    fn the_class_has_two_names(
        #[case] variables: &[(&str, &str)],
        #[case] class: &str,
        #[case] told: &[&str],
    ) {
        let (options, found) = read(variables).unwrap();
        assert_eq!(options.class, class);
        assert_eq!(found, told);
    }

    #[rstest]
    #[case("vcpus", &[SizeAnnotation::Vcpus])]
    #[case("gpus, memory", &[SizeAnnotation::Memory, SizeAnnotation::Gpus])]
    #[case("none", &[])]
    fn annotations_can_be_chosen(#[case] words: &str, #[case] expected: &[SizeAnnotation]) {
        let (options, _) = read(&[("POD_VM_SIZE_ANNOTATIONS", words)]).unwrap();
        assert_eq!(options.annotations, expected.iter().copied().collect());
    }

    #[test]
    fn the_own_namespace_is_left_alone() {
        let (options, _) = read(&[("PEERPODS_NAMESPACE", "home")]).unwrap();
        assert!(options.excluded.contains("home") && options.excluded.contains("kube-system"));
        assert!(!options.excluded.contains("openshift-sandboxed-containers-operator"));
    }

    #[rstest]
    #[case(
        "TARGET_RUNTIMECLASS",
        "Kata Remote",
        "write the name of a runtime class, for instance kata-remote"
    )]
    #[case("TARGET_RUNTIMECLASS", "-kata", "write the name of a runtime class, for instance kata-remote")]
    #[case(
        "TARGET_RUNTIME_CLASS",
        "kata_remote",
        "write the name of a runtime class, for instance kata-remote"
    )]
    #[case("POD_VM_EXTENDED_RESOURCE", "cpu", "write an extended resource")]
    #[case("POD_VM_EXTENDED_RESOURCE", "nvidia.com/gpu", "write an extended resource")]
    #[case("POD_VM_EXTENDED_RESOURCE", "node.kubernetes.io/vm", "write an extended resource")]
    #[case("POD_VM_EXTENDED_RESOURCE", "kata.peerpods.io/", "write an extended resource")]
    #[case("POD_VM_EXTENDED_RESOURCE", "a/b/c", "write an extended resource")]
    #[case("POD_VM_SIZE_ANNOTATIONS", "vcpus,disk", "write some of vcpus,memory,gpus with commas, or none")]
    #[case("POD_VM_SIZE_ANNOTATIONS", "vcpus none", "write some of vcpus,memory,gpus with commas, or none")]
    fn what_is_of_no_use_is_refused_with_the_variable(
        #[case] variable: &str,
        #[case] value: &str,
        #[case] expected: &str,
    ) {
        let words = read(&[(variable, value)]).unwrap_err().to_string();
        assert!(words.starts_with(&format!("{variable} is {value:?}; {expected}")), "{words}");
    }
}
