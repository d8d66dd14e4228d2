//! What becomes of a PeerPod: its virtual machine goes when its pod is gone, whoever forgot it.

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

/// Decides. `all`: every PeerPod that there is.
pub fn decide(one: &Record, all: &[Record]) -> Release {
    let held = one.finalizers.iter().any(|finalizer| finalizer == PEER_POD_FINALIZER);
    if one.deleting.is_some() {
        return match (held, one.instance.is_empty()) {
            (false, _) => Release::Keep,
            (true, true) => Release::LetGo,
            (true, false) => Release::Free,
        };
    }
    let Some(pod) = &one.pod else { return Release::Keep };
    let age = |record: &Record| (record.created, record.namespace.clone(), record.name.clone());
    let superseded = all
        .iter()
        .any(|other| other.pod.as_ref() == Some(pod) && other.deleting.is_none() && age(other) > age(one));
    if superseded { Release::Delete } else { Release::Keep }
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
    machines
        .iter()
        .filter(|machine| created(machine).is_none_or(|created| created <= settled_before))
        .filter(|machine| !known.iter().any(|record| record.instance == identity(machine)))
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
        assert_eq!(decide(&one, &all), expected);
    }

    #[test]
    fn what_others_hold_is_theirs() {
        let one =
            Record { finalizers: vec!["somebody/else".to_owned()], ..record("a", 1, true, None, "i-1") };
        assert_eq!(decide(&one, std::slice::from_ref(&one)), Release::Keep);
    }

    #[test]
    fn of_two_that_are_as_old_exactly_one_stays() {
        let (a, b) = (record("a", 1, false, Some("p"), "i-1"), record("b", 1, false, Some("p"), "i-2"));
        let all = [a.clone(), b.clone()];
        assert_eq!((decide(&a, &all), decide(&b, &all)), (Release::Delete, Release::Keep));
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
