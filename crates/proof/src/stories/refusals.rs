//! Bad input: what the person is told, and that nothing is lost.

use serde_json::{Value, json};

use super::{Story, story};
use crate::bed::{Bed, NAME, message, reason, workers};

pub fn stories() -> Vec<Story> {
    vec![
        story!(an_invalid_spec_is_told_and_mended, workers(1)),
        story!(a_null_spec_installs_with_all_defaults, workers(1)),
        story!(a_second_kata_config_is_told_and_the_first_is_untouched, workers(1)),
    ]
}

/// Specs that nobody can carry out, and what is said about each.
fn invalid() -> [(Value, &'static str); 4] {
    let expression =
        |expression: Value| json!({"kataConfigPoolSelector": {"matchExpressions": [expression]}});
    [
        (
            expression(json!({"key": "zone", "operator": "Near", "values": ["a"]})),
            "spec.kataConfigPoolSelector.matchExpressions[0].operator is \"Near\"; use In, NotIn, Exists or DoesNotExist",
        ),
        (
            expression(json!({"key": "zone", "operator": "In"})),
            "spec.kataConfigPoolSelector.matchExpressions[0].values is empty, but operator In needs at least one value",
        ),
        (
            json!({"kataConfigPoolSelector": {"matchLabels": {"kata": "yes, please"}}}),
            "spec.kataConfigPoolSelector.matchLabels[kata]: \"yes, please\" is no label value: it must be empty or at \
             most 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit",
        ),
        (
            json!({"logLevel": "verbose"}),
            "spec.logLevel is \"verbose\", which CRI-O does not know; use one of fatal, panic, error, warn, info, debug, \
             trace",
        ),
    ]
}

async fn an_invalid_spec_is_told_and_mended(bed: &mut Bed) {
    for (spec, expected) in invalid() {
        bed.create(NAME, spec).await;
        bed.until(NAME, expected, |status| {
            reason(status, "InProgress") == ("False", "InvalidConfiguration")
                && message(status, "InProgress") == expected
        })
        .await;
        bed.delete(NAME).await;
        bed.gone(NAME).await;
    }
    let (spec, _) = invalid().into_iter().next().unwrap();
    bed.create(NAME, spec).await;
    bed.until(NAME, "refused", |status| reason(status, "InProgress").1 == "InvalidConfiguration").await;
    bed.assert_reboots(&[]).await;
    bed.patch::<osc_api::KataConfig>(NAME, json!({"spec": {"kataConfigPoolSelector": null}})).await;
    bed.installed(NAME).await;
}

async fn a_null_spec_installs_with_all_defaults(bed: &mut Bed) {
    bed.create(NAME, Value::Null).await;
    bed.installed(NAME).await;
}

async fn a_second_kata_config_is_told_and_the_first_is_untouched(bed: &mut Bed) {
    bed.create("first", json!({})).await;
    bed.installed("first").await;
    let before = bed.kata_configs().get("first").await.unwrap();
    bed.create("second", json!({"logLevel": "debug"})).await;
    bed.until("second", "told", |status| {
                    message(status, "InProgress")
                == "A KataConfig instance already exists: \"first\". This one is ignored; change the first one, or delete \
                    one of the two: oc delete kataconfig second"
    })
    .await;
    let after = bed.kata_configs().get("first").await.unwrap();
    assert_eq!(before.metadata.resource_version, after.metadata.resource_version);
    bed.delete("second").await;
    bed.gone("second").await;
}
