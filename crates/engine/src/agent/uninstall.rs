//! Removing Kata by node agents.

use super::config::AgentConfig;
use super::desired::{Task, scc_id};
use super::install::{end_agent, ensure_agent, take_out};
use super::{trouble, turns};
use crate::nodes::Survey;
use crate::object::is_deleted;
use crate::observed::{KataConfigView, Observed, Settings};
use crate::plan::Step;
use crate::trouble::Troubles;
use osc_api::names;

/// What is to be done to the nodes.
pub(crate) struct Removal {
    /// In this order.
    pub steps: Vec<Step>,
    /// Whether no node has anything of ours any more.
    pub clean: bool,
}

impl Removal {
    /// Looks at all nodes: whatever the selector says by now.
    pub fn of(
        observed: &Observed,
        settings: &Settings,
        kata_config: &KataConfigView,
        survey: &Survey<'_>,
    ) -> Self {
        let config = AgentConfig::of(observed, settings);
        let mut steps: Vec<Step> = end_agent(observed, settings, Task::Install).into_iter().collect();
        steps.extend(observed.nodes.iter().flat_map(|node| take_out(node)));
        if !survey.nodes.is_empty() && config.image.is_some() {
            let level = names::DEFAULT_LOG_LEVEL;
            steps.extend(ensure_agent(observed, settings, kata_config, Task::Uninstall, &config, level));
        }
        let touched = survey.nodes.len();
        steps.extend(turns::give(observed, config.max_unavailable.of(touched), |_| false));
        let clean = observed
            .nodes
            .iter()
            .all(|node| !node.has_kata_role() && !node.has_label(names::DAEMON_SET_MODE_LABEL));
        Self { steps, clean }
    }

    /// What remains to be deleted when all nodes are clean.
    pub fn rest(observed: &Observed, settings: &Settings) -> Vec<Step> {
        let agents = [Task::Install, Task::Uninstall].into_iter();
        let scc = scc_id();
        let found = observed.objects.get(&scc).is_some_and(|found| !is_deleted(found));
        let scc = found.then_some(Step::Delete { id: scc });
        agents.filter_map(|task| end_agent(observed, settings, task)).chain(scc).collect()
    }

    /// What keeps it from going on.
    pub fn troubles(observed: &Observed, settings: &Settings, survey: &Survey<'_>) -> Troubles {
        let config = AgentConfig::of(observed, settings);
        let mut troubles = trouble::of_rollout(observed, settings, survey, &config, true);
        if let Some((reason, message)) = config.missing(observed, settings).filter(|_| config.image.is_none())
        {
            troubles.add(reason, message);
        }
        troubles
    }
}
