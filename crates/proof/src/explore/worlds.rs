//! The worlds that are explored.

use super::cluster::{Group, Level};
use super::scope::{Scope, Selected, Wish};

const ALL: Wish = Wish { nodes: Selected::All, level: Level::Unset };
const ALL_DEBUG: Wish = Wish { nodes: Selected::All, level: Level::Debug };
const FIRST: Wish = Wish { nodes: Selected::Only(0), level: Level::Unset };
const SECOND: Wish = Wish { nodes: Selected::Only(1), level: Level::Unset };

/// All worlds, the smallest first.
pub fn worlds() -> Vec<Scope> {
    use Group::{KataConfigs, Nodes, Pods, Pools, Workload};
    let small = Scope::small;
    vec![
        Scope { edits: 3, wishes: vec![ALL, FIRST, SECOND], drains: true, ..small("2 nodes, selectors") },
        Scope { edits: 3, wishes: vec![ALL, ALL_DEBUG], ..small("2 nodes, log levels") },
        Scope { pauses: true, edits: 3, wishes: vec![ALL, FIRST], ..small("2 nodes, paused pools") },
        Scope { starts: 1, installed: true, edits: 3, wishes: vec![ALL, FIRST], ..small("2 nodes, pods") },
        Scope { kata_configs: 2, edits: 3, wishes: vec![ALL, FIRST], ..small("2 nodes, two KataConfigs") },
        Scope { compact: true, edits: 3, wishes: vec![ALL, ALL_DEBUG], ..small("compact") },
        Scope { compact: true, wishes: vec![ALL_DEBUG], pauses: true, ..small("compact, paused pool") },
        Scope { nodes: 3, wishes: vec![ALL, FIRST], ..small("3 nodes") },
        Scope { lags: vec![KataConfigs], edits: 3, ..small("old KataConfigs") },
        Scope { lags: vec![Nodes], ..small("old nodes") },
        Scope { lags: vec![Pools], ..small("old pools and machine configs") },
        Scope {
            lags: vec![Workload, Pods],
            starts: 1,
            installed: true,
            ..small("old runtime class and pods")
        },
        Scope {
            lags: vec![KataConfigs, Nodes, Pools],
            wishes: vec![ALL, FIRST],
            ..small("old KataConfigs, nodes and pools")
        },
        Scope { answers_lost: true, wishes: vec![ALL, FIRST], ..small("lost answers") },
        Scope {
            lags: vec![Nodes, Pools, Workload],
            answers_lost: true,
            edits: 1,
            wishes: vec![ALL_DEBUG],
            ..small("old view and lost answers")
        },
    ]
}

/// The same, so small that they are explored with every run of the tests.
pub fn small_worlds() -> Vec<Scope> {
    let smaller = |mut scope: Scope| {
        let lags = scope.lags.len() > 1 || scope.lags(Group::Nodes) || scope.lags(Group::Pools);
        scope.edits = if lags { 1 } else { 2 };
        scope.nodes = scope.nodes.min(if scope.compact { 1 } else { 2 });
        scope
    };
    worlds().into_iter().map(smaller).collect()
}
