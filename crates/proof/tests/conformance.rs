//! The embedded API server answers as a real one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use osc_proof::conformance::case::{Case, Observation};
use osc_proof::conformance::report::Finding;
use osc_proof::conformance::trial::Step;
use osc_proof::conformance::{self, normalise};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_server_answers_as_a_real_one() {
    let report = conformance::examine(None).await;
    assert!(report.cases() > 300, "only {} cases: a subject is lost", report.cases());
    assert_eq!(report.differences(), 0, "{report}");
}

fn seen(body: Value) -> Observation {
    let steps = [Step { what: "GET /x".to_owned(), seen: body }];
    Observation { steps: normalise::steps(&steps, &[]), failure: None }
}

fn case() -> Case {
    Case::new("a_case", |_| async {})
}

#[test]
fn a_difference_is_found_and_shown() {
    let (one, two) = (seen(json!({ "code": 200 })), seen(json!({ "code": 201 })));
    let finding = Finding::of(&case(), &one, &two).unwrap();
    assert!(finding.exempt.is_none());
    assert!(
        finding.text.contains("-  \"code\": 201") && finding.text.contains("+  \"code\": 200"),
        "{}",
        finding.text
    );
    assert!(Finding::of(&case(), &one, &one).is_none());
}

#[test]
fn an_assertion_counts_even_if_both_fail() {
    let failed = || Observation { steps: Vec::new(), failure: Some("no".to_owned()) };
    let finding = Finding::of(&case(), &failed(), &failed()).unwrap();
    assert!(
        finding.text.contains("on the embedded server: no")
            && finding.text.contains("on the real server: no")
    );
}

#[test]
fn an_exemption_that_is_needed_no_more_is_found() {
    let one = seen(json!({ "code": 200 }));
    let finding = Finding::of(&case().exempt("newer releases differ"), &one, &one).unwrap();
    assert!(finding.exempt.is_none() && finding.text.contains("take the exemption away"));
    let finding =
        Finding::of(&case().exempt("newer releases differ"), &one, &seen(json!({ "code": 201 }))).unwrap();
    assert_eq!(finding.exempt, Some("newer releases differ"));
}

#[test]
fn an_assertion_that_does_not_hold_is_never_exempt() {
    let failed = Observation { steps: Vec::new(), failure: Some("no".to_owned()) };
    let finding = Finding::of(&case().exempt("newer releases differ"), &failed, &seen(json!({}))).unwrap();
    assert!(finding.exempt.is_none());
}

#[test]
fn what_no_two_servers_share_is_equal_and_its_order_is_not() {
    let object = |version: &str, uid: &str| json!({ "metadata": { "name": "a", "uid": uid, "resourceVersion": version } });
    let both = |first: &str, second: &str| {
        let (one, two) = ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002");
        seen(json!([object(first, one), object(second, two)])).steps
    };
    assert_eq!(both("5", "9"), both("71", "140"));
    assert_ne!(both("5", "9"), both("140", "71"));
}
