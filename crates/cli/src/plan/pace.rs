//! How long a node takes: told, measured, or guessed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use osc_api::names;
use serde::Serialize;

use crate::snapshot::Snapshot;

/// What is assumed where nothing is known: the documentation speaks of 10 to more than 60 minutes.
const DEFAULT_MINUTES: u64 = 10;

/// A node that came back sooner after the one before did not wait for it; one that came back later, not only for it.
const PLAUSIBLE: std::ops::RangeInclusive<i64> = 120..=7200;

/// How many pairs of nodes have to tell the same story.
const PAIRS: usize = 3;

/// How long a node takes from the beginning of its drain until it takes pods again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    /// In seconds.
    pub seconds: u64,
    /// Where that comes from, in a sentence.
    pub source: String,
}

impl Pace {
    /// What the person says, else what the last rollout shows, else a guess.
    pub fn find(snapshot: &Snapshot, minutes: Option<u64>) -> Self {
        if let Some(minutes) = minutes {
            let source = format!("{minutes} min a node, as --reboot-minutes says");
            return Self { seconds: minutes * 60, source };
        }
        measured(snapshot).unwrap_or_else(|| Self {
            seconds: DEFAULT_MINUTES * 60,
            source: format!(
                "{DEFAULT_MINUTES} min a node, which is a guess: bare metal takes up to an hour and more; say it with \
                 --reboot-minutes"
            ),
        })
    }

    /// The same as a duration.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// The last rollout of a pool, read from when its nodes became ready one after the other.
fn measured(snapshot: &Snapshot) -> Option<Pace> {
    let one_at_a_time = |name: &str| {
        let pool = snapshot.pools.iter().find(|pool| pool.name_any() == name);
        pool.is_some_and(|pool| matches!(&pool.spec.max_unavailable, None | Some(IntOrString::Int(0 | 1))))
    };
    let mut by_pool: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for node in &snapshot.nodes {
        if let Some(since) = ready_since(node) {
            by_pool.entry(pool_of(node)).or_default().push(since);
        }
    }
    let measured = by_pool.into_iter().filter(|(pool, _)| one_at_a_time(pool)).filter_map(|(pool, times)| {
        let (median, pairs) = median_gap(times)?;
        Some((pairs, pool, median))
    });
    let (pairs, pool, seconds) = measured.max()?;
    let minutes = (seconds + 30) / 60;
    let source = format!(
        "{minutes} min a node, measured: so far apart the nodes of pool {pool} became ready in its last rollout \
         (median of {pairs})"
    );
    Some(Pace { seconds, source })
}

fn pool_of(node: &Node) -> &'static str {
    let has = |role: &str| node.labels().contains_key(role);
    if has(names::MASTER_NODE_ROLE) {
        names::MASTER_POOL
    } else if has(names::KATA_NODE_ROLE) {
        names::KATA_POOL
    } else {
        names::WORKER_POOL
    }
}

fn ready_since(node: &Node) -> Option<Timestamp> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready =
        conditions.into_iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    Some(ready.last_transition_time.as_ref()?.0)
}

/// The median of the gaps between times that follow each other, if most of them can be those of a rollout.
fn median_gap(mut times: Vec<Timestamp>) -> Option<(u64, usize)> {
    times.sort();
    let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs()).collect();
    let mut plausible: Vec<i64> = gaps.iter().copied().filter(|gap| PLAUSIBLE.contains(gap)).collect();
    if plausible.len() < PAIRS || plausible.len() * 2 < gaps.len() {
        return None;
    }
    plausible.sort_unstable();
    let median = u64::try_from(plausible[plausible.len() / 2]).ok()?;
    Some((median, plausible.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests::snapshot;
    use osc_devcluster::sim::topology::Topology;

    fn at(minutes: &[i64]) -> Vec<Timestamp> {
        minutes.iter().map(|minute| Timestamp::from_second(1_700_000_000 + minute * 60).unwrap()).collect()
    }

    #[test]
    fn a_rollout_is_told_by_its_gaps() {
        assert_eq!(median_gap(at(&[0, 9, 18, 29, 38])), Some((540, 4)));
        // One node was down for a day.
        assert_eq!(median_gap(at(&[0, 9, 18, 29, 1500])), Some((540, 3)));
    }

    #[test]
    fn nodes_that_came_together_or_at_random_tell_nothing() {
        assert_eq!(median_gap(at(&[0, 0, 1, 1, 2])), None);
        assert_eq!(median_gap(at(&[0, 9, 18])), None);
        assert_eq!(median_gap(at(&[0, 1, 2, 3, 4, 5, 6, 15, 24, 33])), None);
    }

    #[test]
    fn what_the_person_says_counts_and_a_guess_says_that_it_is_one() {
        let cluster = snapshot(&Topology::default());
        assert_eq!(Pace::find(&cluster, Some(25)).seconds, 1500);
        let guess = Pace::find(&cluster, None);
        assert_eq!(guess.seconds, 600);
        assert!(guess.source.contains("which is a guess"), "{}", guess.source);
    }
}
