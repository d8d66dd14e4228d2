//! Nothing is left behind, in the cloud or in the cluster. What is left where the operator dies or random trouble strikes,
//! the tests of crashes and of faults look at.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use osc_cloud::{Kind, Tags};
use osc_proof::leaks;
use osc_proof::simulation::play;
use osc_proof::simulation::scenario::{SCENARIOS, chosen};
use serde_json::json;

#[test]
fn an_undisturbed_scenario_leaves_nothing() {
    for scenario in SCENARIOS {
        assert_eq!(leaks::left_behind(scenario, false), Vec::<String>::new(), "{}", scenario.name);
    }
}

/// Somebody makes what nobody removes, while a scenario is played at whose end everything is gone.
#[test]
fn what_is_left_would_be_seen() {
    let scenario = chosen(Some("compact")).unwrap()[0];
    let (end, rig) = play(scenario, 0, async |rig| {
        tokio::time::sleep(Duration::from_mins(1)).await;
        rig.cloud().plant(Kind::Aws, "podvm-old-01234567", Tags::default());
        rig.cloud().add_volume("podvm-image-0-import");
        rig.cloud().add_image("ami-0123456789abcdef0");
        let stray = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stray", "namespace": "default"}});
        rig.cluster().server().load(vec![stray]).unwrap();
    });
    end.unwrap();
    assert_eq!(
        rig.left_behind(),
        [
            "virtual machine i-00000000000000001 has no PeerPod",
            "machine podvm-old-01234567 (i-00000000000000001)",
            "volume podvm-image-0-import",
            "volume podvm-old-01234567-root",
            "image ami-0123456789abcdef0",
            "ConfigMap default/stray is left",
        ]
    );
}
