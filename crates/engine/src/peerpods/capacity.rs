//! How many pod VMs each node has room for: the extended resource that peer pods ask for.
//!
//! The operator is the only one who says it; adaptors are told not to. So an adaptor that goes cannot take away what its
//! successor relies on, a limit that changes holds at once without a restart, and a node that forgot everything in a
//! reboot is told again.

use std::collections::BTreeMap;

use super::progress::Progress;
use crate::object::ObjectId;
use crate::observed::{AdaptorView, NodeView, Observed, PeerPodsSettings};
use crate::plan::Step;

/// Says it. `selected`: whether peer pods may run on a node.
pub fn advertise(
    observed: &Observed,
    settings: &PeerPodsSettings,
    adaptor: &ObjectId,
    limit: &str,
    selected: impl Fn(&NodeView) -> bool,
) -> Progress {
    let mut progress = Progress::default();
    let mut adaptors: BTreeMap<&str, Vec<&AdaptorView>> = BTreeMap::new();
    for adaptor in &observed.adaptors {
        adaptors.entry(&adaptor.node).or_default().push(adaptor);
    }
    let limit = (!limit.starts_with('-')).then_some(limit);
    let runs = observed.objects.contains_key(adaptor);
    for node in &observed.nodes {
        let wanted = if runs && selected(node) {
            let here = adaptors.get(node.name.as_str()).map_or(&[][..], Vec::as_slice);
            room(observed, settings, here, node, limit, &mut progress)
        } else {
            None
        };
        // What a kubelet resets at its start is no longer there, and says so by a zero.
        let said = node.vms.as_deref().filter(|said| *said != "0" || wanted == Some("0"));
        if said != wanted {
            progress
                .steps
                .push(Step::Advertise { node: node.name.clone(), limit: wanted.map(str::to_owned) });
        }
    }
    progress
}

fn room<'a>(
    observed: &Observed,
    settings: &PeerPodsSettings,
    adaptors: &[&AdaptorView],
    node: &'a NodeView,
    limit: Option<&'a str>,
    progress: &mut Progress,
) -> Option<&'a str> {
    // Nothing was said yet: that waits for an adaptor that works.
    let before = node.vms.as_deref().filter(|said| *said != "0");
    if adaptors.iter().any(|adaptor| adaptor.ready) {
        return limit;
    }
    before?;
    // An adaptor that is being replaced is back in a moment; pods that find none wait for it.
    let Some(changed) = adaptors.iter().map(|adaptor| adaptor.changed_at).max() else { return limit };
    match changed.checked_add(settings.adaptor_grace) {
        Ok(end) if observed.now < end => {
            progress.wake_by(Some(end));
            limit
        }
        _ => None,
    }
}

/// Takes it back from every node.
pub fn withdraw(observed: &Observed) -> Vec<Step> {
    let said = observed.nodes.iter().filter(|node| node.vms.as_deref().is_some_and(|said| said != "0"));
    said.map(|node| Step::Advertise { node: node.name.clone(), limit: None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Kind;
    use jiff::{SignedDuration, Timestamp};
    use rstest::rstest;
    use std::sync::Arc;

    const NOW: i64 = 10_000;

    fn id() -> ObjectId {
        ObjectId::namespaced(Kind::DaemonSet, "home", "osc-caa-ds")
    }

    fn observed(vms: Option<&str>, adaptors: &[(bool, i64)]) -> Observed {
        let view = |(index, (ready, ago)): (usize, &(bool, i64))| AdaptorView {
            node: "worker-0".to_owned(),
            name: format!("osc-caa-ds-{index}"),
            ready: *ready,
            waiting: None,
            changed_at: Timestamp::from_second(NOW - ago).unwrap(),
        };
        let node =
            NodeView { name: "worker-0".to_owned(), vms: vms.map(str::to_owned), ..NodeView::default() };
        Observed {
            now: Timestamp::from_second(NOW).unwrap(),
            nodes: vec![Arc::new(node)],
            objects: [(id(), Arc::new(serde_json::json!({})))].into(),
            adaptors: adaptors.iter().enumerate().map(view).collect(),
            ..Observed::default()
        }
    }

    /// What is said, the adaptors (ready, seconds since it changed), the limit, and what is to be said.
    #[rstest]
    #[case::first(None, &[(true, 1)], "10", &[Some("10")])]
    #[case::no_adaptor_yet(None, &[], "10", &[])]
    #[case::adaptor_starts(None, &[(false, 1)], "10", &[])]
    #[case::settled(Some("10"), &[(true, 900)], "10", &[])]
    #[case::limit_changed(Some("10"), &[(true, 900)], "12", &[Some("12")])]
    #[case::limit_of_none(Some("10"), &[(true, 900)], "-1", &[None])]
    #[case::limit_of_zero(Some("10"), &[(true, 900)], "0", &[Some("0")])]
    #[case::zero_settled(Some("0"), &[(true, 900)], "0", &[])]
    #[case::reset_by_a_reboot(Some("0"), &[(true, 1)], "10", &[Some("10")])]
    #[case::reset_and_no_adaptor_yet(Some("0"), &[(false, 1)], "10", &[])]
    #[case::being_replaced(Some("10"), &[(false, 5)], "10", &[])]
    #[case::replaced_before_the_old_one_is_gone(Some("10"), &[(false, 500), (true, 1)], "10", &[])]
    #[case::between_two_pods(Some("10"), &[], "10", &[])]
    #[case::away_for_long(Some("10"), &[(false, 500)], "10", &[None])]
    #[case::limit_changes_while_replaced(Some("10"), &[(false, 5)], "4", &[Some("4")])]
    fn a_node_has_room_while_its_adaptor_works(
        #[case] said: Option<&str>,
        #[case] adaptors: &[(bool, i64)],
        #[case] limit: &str,
        #[case] expected: &[Option<&str>],
    ) {
        let found =
            advertise(&observed(said, adaptors), &PeerPodsSettings::default(), &id(), limit, |_| true);
        let expected: Vec<Step> = expected
            .iter()
            .map(|limit| Step::Advertise { node: "worker-0".to_owned(), limit: limit.map(str::to_owned) })
            .collect();
        assert_eq!(found.steps, expected);
    }

    #[test]
    fn a_grace_that_ends_is_looked_at() {
        let settings = PeerPodsSettings::default();
        let found = advertise(&observed(Some("10"), &[(false, 5)]), &settings, &id(), "10", |_| true);
        let end = Timestamp::from_second(NOW - 5).unwrap() + settings.adaptor_grace;
        assert_eq!(found.wake_at, Some(end));
        assert!(settings.adaptor_grace > SignedDuration::from_secs(5));
    }

    #[test]
    fn without_a_daemon_set_no_node_has_room() {
        let mut observed = observed(Some("10"), &[]);
        observed.objects.clear();
        let found = advertise(&observed, &PeerPodsSettings::default(), &id(), "10", |_| true);
        assert_eq!(found.steps, [Step::Advertise { node: "worker-0".to_owned(), limit: None }]);
    }

    #[test]
    fn a_node_that_is_not_selected_has_no_room() {
        let found =
            advertise(&observed(Some("10"), &[(true, 9)]), &PeerPodsSettings::default(), &id(), "10", |_| {
                false
            });
        assert_eq!(found.steps, [Step::Advertise { node: "worker-0".to_owned(), limit: None }]);
        assert_eq!(found.steps, withdraw(&observed(Some("10"), &[])));
        assert!(withdraw(&observed(Some("0"), &[])).is_empty() && withdraw(&observed(None, &[])).is_empty());
    }
}
