//! Names of pod VMs, as the cloud-api-adaptor makes them: people look for the prefix, and tools know the form.

/// What every name begins with.
pub const NAME_PREFIX: &str = "podvm-";
/// A name is also a host name.
const MAX: usize = 63;
/// So much of the sandbox's identifier is part of the name.
const SANDBOX: usize = 8;
/// A pod's name that does not fit is cut to so many characters.
const CUT: usize = 48;

/// `podvm-<pod>-<first eight characters of the sandbox's identifier>`, of at most 63 characters `a-z`, `0-9` and `-`.
///
/// Not unique by itself: neither namespace nor cluster is part of it, which is why machines carry [tags](crate::Tags).
pub fn vm_name(pod: &str, sandbox: &str) -> String {
    let mut pod = plain(pod);
    let sandbox: String = plain(sandbox).chars().take(SANDBOX).collect();
    // As upstream counts: one more than would fit is cut away already.
    if "podvm".len() + pod.len() + SANDBOX + 2 > MAX {
        pod.truncate(CUT);
    }
    format!("{NAME_PREFIX}{pod}-{sandbox}")
}

/// Whether that could be the name of a pod VM.
pub fn is_vm_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= MAX
        && name.strip_prefix(NAME_PREFIX).is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain))
}

fn plain(text: &str) -> String {
    let keep = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.chars().flat_map(char::to_lowercase).map(|c| if keep(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_the_adaptor() {
        for (pod, sandbox, name) in [
            ("web", "0123456789abcdef", "podvm-web-01234567"),
            ("Web_1.a", "ABCDEF0123", "podvm-web-1-a-abcdef01"),
            ("web", "", "podvm-web-"),
            ("web", "ab", "podvm-web-ab"),
            ("", "0123456789", "podvm--01234567"),
            ("ÄÖ", "0123456789", "podvm----01234567"),
        ] {
            assert_eq!(vm_name(pod, sandbox), name);
        }
        // 48 characters fit, and 49 are cut to 48.
        assert_eq!(vm_name(&"a".repeat(48), "0123456789").len(), 63);
        assert_eq!(vm_name(&"a".repeat(49), "0123456789").len(), 63);
        assert_eq!(vm_name(&"a".repeat(253), "0123456789"), format!("podvm-{}-01234567", "a".repeat(48)));
    }

    #[test]
    fn other_names_are_no_pod_vms() {
        for name in
            ["", "podvm-", "podvm", "web", "Podvm-a-01234567", "podvm-a b", "podvm-../../etc", "xpodvm-a-1"]
        {
            assert!(!is_vm_name(name), "{name}");
        }
        assert!(!is_vm_name(&format!("podvm-{}", "a".repeat(58))));
    }

    proptest! {
        #[test]
        fn every_name_is_a_host_name(pod in ".{0,300}", sandbox in ".{0,80}") {
            let name = vm_name(&pod, &sandbox);
            prop_assert!(name.len() <= MAX, "{name}");
            prop_assert!(is_vm_name(&name), "{name}");
        }

        #[test]
        fn pods_of_other_sandboxes_have_other_names(pod in "[a-z0-9-]{1,253}", one in "[0-9a-f]{8}", two in "[0-9a-f]{8}") {
            prop_assume!(one != two);
            prop_assert_ne!(vm_name(&pod, &one), vm_name(&pod, &two));
        }
    }
}
