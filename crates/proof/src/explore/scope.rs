//! Which world is explored: how large it is, and what may happen in it.

use super::cluster::{Group, Level};

/// What a person may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which nodes.
    pub nodes: Selected,
    /// The log level; `Unset`: not mentioned.
    pub level: Level,
}

/// Which nodes a person selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// All of them, by not selecting any.
    All,
    /// That one.
    Only(usize),
}

/// The size of a world, and what may happen in it.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Scope {
    /// Its name.
    pub name: &'static str,
    /// Whether the nodes are control plane and workers at once.
    pub compact: bool,
    /// How many nodes.
    pub nodes: usize,
    /// Whether Kata is installed already at the beginning, as asked for by the first wish.
    pub installed: bool,
    /// How many changes people make.
    pub edits: u8,
    /// What they may ask for.
    pub wishes: Vec<Wish>,
    /// How many KataConfigs there may be at once.
    pub kata_configs: usize,
    /// Whether they pause pools.
    pub pauses: bool,
    /// How many pods start.
    pub starts: u8,
    /// Whether the operator dies, at any moment, and is started anew.
    pub crashes: bool,
    /// Which of the operator's caches may lag behind, however far.
    pub lags: Vec<Group>,
    /// Whether writes fail, and whether they are done and the answer is lost.
    pub answers_lost: bool,
    /// Whether draining and rebooting are told apart.
    pub drains: bool,
}

impl Scope {
    /// Two nodes, nobody lags, the operator may die.
    pub fn small(name: &'static str) -> Self {
        Self {
            name,
            compact: false,
            nodes: 2,
            installed: false,
            edits: 2,
            wishes: vec![
                Wish { nodes: Selected::All, level: Level::Unset },
                Wish { nodes: Selected::Only(0), level: Level::Debug },
            ],
            kata_configs: 1,
            pauses: false,
            starts: 0,
            crashes: true,
            lags: Vec::new(),
            answers_lost: false,
            drains: false,
        }
    }

    /// Whether what that watch brings may lag behind.
    pub fn lags(&self, group: Group) -> bool {
        self.lags.contains(&group)
    }
}
