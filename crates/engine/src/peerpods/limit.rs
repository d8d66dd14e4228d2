//! How many pod VMs a node may have: said in two places, which are kept in agreement.
//!
//! The documentation has people edit `spec.limit` of the PeerPodConfig; newer releases read `PEERPODS_LIMIT_PER_NODE` of
//! the config map. Whoever changed it last is right. Who that was follows from what both agreed on last, which is written
//! down at the PeerPodConfig.

use osc_api::names;
use osc_api::peerpods::{self, AGREED_LIMIT, DEFAULT_LIMIT, PEER_POD_CONFIG};
use serde_json::{Value, json};

use super::config;
use super::progress::Progress;
use super::situation::{Situation, own};
use crate::desired::{owned_by, with_identity};
use crate::object::{Kind, is_deleted, version_of};
use crate::observed::KataConfigView;
use crate::plan::Step;

const KEY: &str = "PEERPODS_LIMIT_PER_NODE";

/// What becomes of the two.
#[derive(Debug, PartialEq, Eq)]
struct Agreement {
    /// What holds.
    limit: String,
    /// The config map is to say so.
    tell_map: bool,
    /// The PeerPodConfig is to say so, and to remember it.
    tell_config: bool,
}

/// Whether it is a limit: a whole number, plainly written; a negative one means that nothing is advertised.
fn is_limit(text: &str) -> bool {
    text.parse::<i32>().is_ok_and(|limit| limit >= -1 && limit.to_string() == text)
}

fn agree(map: Option<&str>, config: Option<&str>, agreed: Option<&str>) -> Agreement {
    let map = map.filter(|text| is_limit(text));
    let config = config.filter(|text| is_limit(text));
    let (limit, tell_map) = match (map, config) {
        (None, None) => (DEFAULT_LIMIT, false),
        (Some(map), None) => (map, false),
        // Nobody wrote into the map what it need not say.
        (None, Some(config)) => (config, config != DEFAULT_LIMIT),
        (Some(map), Some(config)) if map == config => (map, false),
        // The map was changed, and it alone.
        (Some(map), Some(config)) if agreed == Some(config) => (map, false),
        (Some(_), Some(config)) => (config, true),
    };
    let tell_config = config != Some(limit) || agreed != Some(limit);
    Agreement { limit: limit.to_owned(), tell_map, tell_config }
}

/// The limit that holds, and what makes both places say so.
pub fn agreed(
    situation: &Situation<'_>,
    kata_config: &KataConfigView,
    selector: &Value,
) -> (String, Progress) {
    let mut progress = Progress::default();
    let found = situation.find(Kind::PeerPodConfig, PEER_POD_CONFIG).filter(|found| !is_deleted(found));
    let data = situation.data();
    let in_map = config::value(&data, KEY);
    let in_config = found.and_then(|found| found["spec"]["limit"].as_str());
    let remembered = found.and_then(|found| found["metadata"]["annotations"][AGREED_LIMIT].as_str());
    let agreement = agree(in_map, in_config, remembered);
    if let Some(wrong) = in_config.filter(|text| !is_limit(text)) {
        progress.trouble(
            "PeerPodLimitInvalid",
            format!(
                "PeerPodConfig {PEER_POD_CONFIG}: spec.limit is {wrong:?}; expected a whole number, or -1 to advertise \
                 nothing. {} is used: correct it by oc patch peerpodconfig {PEER_POD_CONFIG} -n {} --type merge -p \
                 '{{\"spec\":{{\"limit\":\"10\"}}}}'",
                agreement.limit, situation.settings.namespace
            ),
        );
    }
    if agreement.tell_map
        && let Some(map) = situation.map()
    {
        progress.steps.push(Step::Merge {
            id: own(situation.settings, Kind::ConfigMap, peerpods::SETTINGS),
            resource_version: Some(version_of(map)),
            patch: json!({"data": {KEY: agreement.limit}}),
        });
    }
    let id = own(situation.settings, Kind::PeerPodConfig, PEER_POD_CONFIG);
    match found {
        None if situation.observed.capabilities.peer_pods => {
            let metadata = json!({
                "name": PEER_POD_CONFIG,
                "namespace": situation.settings.namespace,
                "labels": {names::APP_LABEL: kata_config.name},
                "annotations": {AGREED_LIMIT: agreement.limit},
            });
            let spec = json!({
                "cloudSecretName": peerpods::CREDENTIALS,
                "configMapName": peerpods::SETTINGS,
                "limit": agreement.limit,
                "nodeSelector": selector,
            });
            let object = with_identity(Kind::PeerPodConfig, metadata, json!({"spec": spec}));
            progress.steps.push(Step::Apply { id, object: owned_by(kata_config, object) });
        }
        // A limit that is none stays for the person to see, until they correct it.
        Some(found) if agreement.tell_config && in_config.is_none_or(is_limit) => {
            progress.steps.push(Step::Merge {
                id,
                resource_version: Some(version_of(found)),
                patch: json!({
                    "metadata": {"annotations": {AGREED_LIMIT: agreement.limit}},
                    "spec": {"limit": agreement.limit},
                }),
            });
        }
        _ => {}
    }
    (agreement.limit, progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::nobody_said_anything(None, None, None, ("10", false, true))]
    #[case::only_the_map(Some("5"), None, None, ("5", false, true))]
    #[case::only_the_config(None, Some("7"), None, ("7", true, true))]
    #[case::settled(Some("5"), Some("5"), Some("5"), ("5", false, false))]
    #[case::settled_by_default(None, Some("10"), Some("10"), ("10", false, false))]
    #[case::the_map_was_changed(Some("6"), Some("5"), Some("5"), ("6", false, true))]
    #[case::the_config_was_changed(Some("5"), Some("6"), Some("5"), ("6", true, true))]
    #[case::both_were_changed(Some("6"), Some("7"), Some("5"), ("7", true, true))]
    #[case::told_the_map_and_died(Some("6"), Some("6"), Some("5"), ("6", false, true))]
    #[case::the_key_was_removed(None, Some("5"), Some("5"), ("5", true, false))]
    #[case::no_limit_in_the_config(Some("5"), Some("many"), Some("5"), ("5", false, true))]
    #[case::no_limit_in_the_map(Some("many"), Some("5"), Some("5"), ("5", true, false))]
    #[case::nothing_is_advertised(Some("-1"), Some("5"), Some("5"), ("-1", false, true))]
    fn whoever_changed_it_last_is_right(
        #[case] map: Option<&str>,
        #[case] config: Option<&str>,
        #[case] agreed: Option<&str>,
        #[case] expected: (&str, bool, bool),
    ) {
        let found = agree(map, config, agreed);
        assert_eq!((found.limit.as_str(), found.tell_map, found.tell_config), expected);
        // What is written down ends it, whatever was there: nobody writes for ever.
        let map = if found.tell_map { Some(found.limit.as_str()) } else { map };
        let again = agree(map, Some(&found.limit), Some(&found.limit));
        assert_eq!((again.limit, again.tell_config), (found.limit, false));
    }
}
