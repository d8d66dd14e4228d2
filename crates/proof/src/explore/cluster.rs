//! A small cluster as a small value: what decisions depend on, a few bytes an object, cheap to copy and to compare.

/// How many nodes there are at most.
pub const NODES: usize = 3;
/// How many KataConfigs there are at most.
pub const KATA_CONFIGS: usize = 2;
/// How many other objects the operator writes at most.
pub const SLOTS: usize = 8;

/// A rendered machine config: of which pool, and what is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rendered(u8);

impl Rendered {
    /// What nodes have that are not to have Kata, in the pool `worker` of a regular cluster and in `master` of a
    /// compact one.
    pub const BASE: Self = Self(0);

    /// What our pool is rendered to: with or without the extension, with a log level.
    pub fn ours(kata: bool, level: Level) -> Self {
        Self(1 | u8::from(kata) << 1 | (level as u8) << 2)
    }

    /// Whether it is one of our pool.
    pub fn is_ours(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether the extension is in it.
    pub fn has_kata(self) -> bool {
        self.0 & 2 != 0
    }

    /// The log level in it.
    pub fn level(self) -> Level {
        Level::ALL[usize::from(self.0 >> 2)]
    }

    /// What is in it, whatever its name: a node that moves between two that have the same does not reboot.
    pub fn content(self) -> (bool, Level) {
        (self.has_kata(), self.level())
    }

    /// All there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        let of = |kata| Level::ALL.map(|level| Self::ours(kata, level));
        std::iter::once(Self::BASE).chain(of(false)).chain(of(true))
    }
}

/// A log level in a rendered machine config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// None is set: CRI-O's own default.
    #[default]
    Unset,
    /// `info`
    Info,
    /// `debug`
    Debug,
    /// `trace`
    Trace,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unset, Self::Info, Self::Debug, Self::Trace];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of that word.
    pub fn of(word: &str) -> Self {
        let found = Self::ALL.into_iter().find(|level| level.word() == word);
        found.unwrap_or_else(|| panic!("the world knows no log level {word:?}"))
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing; its daemon says `Done`, even if another configuration was chosen for it already.
    #[default]
    Idle,
    /// Its pods are being moved away.
    Draining,
    /// It is down.
    Rebooting,
}

/// One node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// Whether it has the role `kata-oc`.
    pub role: bool,
    /// What it runs.
    pub current: Rendered,
    /// What was chosen for it.
    pub desired: Rendered,
    /// What it does.
    pub phase: Phase,
}

impl Node {
    /// Whether it does nothing and nothing was chosen for it.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Idle && self.current == self.desired
    }
}

/// One KataConfig. What is in its specification, finalizers and status is written elsewhere, once for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kata {
    /// The how manieth KataConfig this is: its identity and its age.
    pub incarnation: u8,
    /// Index of its specification.
    pub spec: u8,
    /// Whether its deletion was requested.
    pub deleting: bool,
    /// Index of its list of finalizers.
    pub finalizers: u8,
    /// Index of its status.
    pub status: u16,
}

/// The machine config pools. `ours` is `kata-oc` on a regular cluster, `master` on a compact one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pools {
    /// Whether ours exists.
    pub exists: bool,
    /// What the nodes of ours are to run.
    pub target: Option<Rendered>,
    /// Whether ours is paused.
    pub paused: bool,
    /// Condition `Updating` of ours.
    pub updating: bool,
    /// Whether `worker` is paused.
    pub workers_paused: bool,
}

/// Pods that use Kata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pods {
    /// Not known. In the cluster itself they always are.
    #[default]
    Unknown,
    /// There is none.
    None,
    /// There is one.
    One,
}

/// An object other than a KataConfig, by the index of its content; 0: there is none.
pub type Body = u8;

/// The whole cluster, or what somebody holds for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// The KataConfigs, by their names.
    pub katas: [Option<Kata>; KATA_CONFIGS],
    /// The nodes.
    pub nodes: [Node; NODES],
    /// The pools as the Machine Config Operator reports them.
    pub pools: Pools,
    /// Everything else that the operator writes, by name.
    pub objects: [Body; SLOTS],
    /// Pods that use Kata.
    pub pods: Pods,
}

/// What one watch brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// KataConfigs.
    KataConfigs,
    /// Nodes.
    Nodes,
    /// Pools, machine configs, the ContainerRuntimeConfig.
    Pools,
    /// The runtime class and what else is created at the end.
    Workload,
    /// Pods.
    Pods,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::KataConfigs, Self::Nodes, Self::Pools, Self::Workload, Self::Pods];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::KataConfigs => "KataConfigs",
            Self::Nodes => "nodes",
            Self::Pools => "pools and machine configs",
            Self::Workload => "the runtime class",
            Self::Pods => "pods",
        }
    }
}

/// A set of objects whose version matters to somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Versions(u16);

impl Versions {
    /// That of a KataConfig.
    pub fn kata(index: usize) -> Self {
        Self(1 << index)
    }

    /// That of another object.
    pub fn slot(index: usize) -> Self {
        Self(1 << (KATA_CONFIGS + index))
    }

    /// Whether `other` is in it.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Steps that are yet to be done, by their index; 0: none.
pub type PlanId = u32;

/// A moment of everything: the cluster, who works on it, and what is kept account of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    /// The cluster.
    pub cluster: Cluster,
    /// The log level in the machine config that was generated from the ContainerRuntimeConfig.
    pub generated: Level,
    /// What the operator's caches hold of what may lag behind; the rest is empty here.
    pub view: Cluster,
    /// Objects in `view` that have not been written since.
    pub view_current: Versions,
    /// What the operator is about to do.
    pub plan: PlanId,
    /// Objects that have not been written since the plan was made. Only those that matter to the plan.
    pub plan_current: Versions,
    /// How many more changes people make.
    pub edits: u8,
    /// How many more pods start.
    pub starts: u8,
    /// How many KataConfigs there were.
    pub born: u8,
    /// How often each node may still reboot: once for each change of what it is to be.
    pub reboots: [u8; NODES],
}
