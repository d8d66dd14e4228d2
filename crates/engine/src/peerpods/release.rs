//! What becomes of a PeerPod: its virtual machine goes when its pod is gone, whoever forgot it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use osc_api::peerpods::PEER_POD_FINALIZER;

/// What is known of a PeerPod beyond what is told about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its unique identity.
    pub uid: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When its deletion was requested.
    pub deleting: Option<Timestamp>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Unique identity of the pod that it belongs to; none: nobody says.
    pub pod: Option<String>,
    /// `aws`, `azure`, `gcp` or `libvirt`.
    pub provider: String,
    /// Identifier of the virtual machine; empty: none was made.
    pub instance: String,
}

/// What is to be done about one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// Nothing: its pod lives, or others care for it.
    Keep,
    /// Ask for its deletion: a later one belongs to the same pod, whose virtual machine is another one by now.
    Delete,
    /// Delete the virtual machine, then take our finalizer away.
    Free,
    /// Take our finalizer away: there is no virtual machine.
    LetGo,
}

/// Which PeerPod is the newest of each pod: looked up for each of them.
#[derive(Clone, Debug, Default)]
pub struct Pods<'a>(BTreeMap<&'a str, Age<'a>>);

/// What makes one newer than another; names decide between equals.
type Age<'a> = (Option<Timestamp>, &'a str, &'a str);

fn age(record: &Record) -> Age<'_> {
    (record.created, &record.namespace, &record.name)
}

impl<'a> Pods<'a> {
    /// Of all PeerPods that there are.
    pub fn of(all: &'a [Record]) -> Self {
        let mut newest: BTreeMap<&str, Age<'_>> = BTreeMap::new();
        for record in all.iter().filter(|record| record.deleting.is_none()) {
            let Some(pod) = record.pod.as_deref() else { continue };
            let found = newest.entry(pod).or_insert_with(|| age(record));
            *found = (*found).max(age(record));
        }
        Self(newest)
    }
}

/// Decides.
pub fn decide(one: &Record, pods: &Pods<'_>) -> Release {
    let held = one.finalizers.iter().any(|finalizer| finalizer == PEER_POD_FINALIZER);
    if one.deleting.is_some() {
        return match (held, one.instance.is_empty()) {
            (false, _) => Release::Keep,
            (true, true) => Release::LetGo,
            (true, false) => Release::Free,
        };
    }
    let newest = one.pod.as_deref().and_then(|pod| pods.0.get(pod));
    if newest.is_some_and(|newest| *newest > age(one)) { Release::Delete } else { Release::Keep }
}

/// Virtual machines that no PeerPod knows, out of those that carry the cluster's tag. Young ones are left alone: their
/// PeerPod is written a moment after them.
pub fn unknown<'a, T>(
    machines: &'a [T],
    known: &[Record],
    identity: impl Fn(&T) -> &str,
    created: impl Fn(&T) -> Option<Timestamp>,
    settled_before: Timestamp,
) -> Vec<&'a T> {
    let known: BTreeSet<&str> = known.iter().map(|record| record.instance.as_str()).collect();
    machines
        .iter()
        .filter(|machine| created(machine).is_none_or(|created| created <= settled_before))
        .filter(|machine| !known.contains(identity(machine)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn record(name: &str, second: i64, deleting: bool, pod: Option<&str>, instance: &str) -> Record {
        Record {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            created: Timestamp::from_second(second).ok(),
            deleting: deleting.then_some(Timestamp::UNIX_EPOCH),
            finalizers: vec![PEER_POD_FINALIZER.to_owned()],
            pod: pod.map(str::to_owned),
            provider: "aws".to_owned(),
            instance: instance.to_owned(),
        }
    }

    #[rstest]
    #[case::its_pod_lives(record("a", 1, false, Some("p"), "i-1"), &[], Release::Keep)]
    #[case::its_pod_is_gone(record("a", 1, true, Some("p"), "i-1"), &[], Release::Free)]
    #[case::no_machine_was_made(record("a", 1, true, Some("p"), ""), &[], Release::LetGo)]
    #[case::nobody_owns_it(record("a", 1, false, None, "i-1"), &[], Release::Keep)]
    #[case::nobody_owns_it_and_it_goes(record("a", 1, true, None, "i-1"), &[], Release::Free)]
    #[case::the_adaptor_began_anew(
        record("a", 1, false, Some("p"), "i-1"), &[record("b", 2, false, Some("p"), "i-2")], Release::Delete
    )]
    #[case::it_is_the_new_one(
        record("b", 2, false, Some("p"), "i-2"), &[record("a", 1, false, Some("p"), "i-1")], Release::Keep
    )]
    #[case::the_new_one_is_going_itself(
        record("a", 1, false, Some("p"), "i-1"), &[record("b", 2, true, Some("p"), "i-2")], Release::Keep
    )]
    #[case::of_another_pod(
        record("a", 1, false, Some("p"), "i-1"), &[record("b", 2, false, Some("q"), "i-2")], Release::Keep
    )]
    fn a_machine_goes_with_its_pod(
        #[case] one: Record,
        #[case] others: &[Record],
        #[case] expected: Release,
    ) {
        let mut all = others.to_vec();
        all.push(one.clone());
        assert_eq!(decide(&one, &Pods::of(&all)), expected);
    }

    #[test]
    fn what_others_hold_is_theirs() {
        let one =
            Record { finalizers: vec!["somebody/else".to_owned()], ..record("a", 1, true, None, "i-1") };
        assert_eq!(decide(&one, &Pods::of(std::slice::from_ref(&one))), Release::Keep);
    }

    #[test]
    fn of_two_that_are_as_old_exactly_one_stays() {
        let (a, b) = (record("a", 1, false, Some("p"), "i-1"), record("b", 1, false, Some("p"), "i-2"));
        let all = [a.clone(), b.clone()];
        let pods = Pods::of(&all);
        assert_eq!((decide(&a, &pods), decide(&b, &pods)), (Release::Delete, Release::Keep));
    }

    #[test]
    fn a_machine_without_a_record_is_told_when_it_is_old_enough() {
        let known = [record("a", 1, false, None, "i-1")];
        let machines = [("i-1", 0), ("i-2", 0), ("i-3", 100), ("i-4", -1)];
        let created =
            |machine: &(&'static str, i64)| Timestamp::from_second(machine.1).ok().filter(|_| machine.1 >= 0);
        let found =
            unknown(&machines, &known, |machine| machine.0, created, Timestamp::from_second(50).unwrap());
        assert_eq!(found.iter().map(|machine| machine.0).collect::<Vec<_>>(), ["i-2", "i-4"]);
    }
}
