//! The example of the guide is what happens.

use osc_admission::peer_pod::{Options, review};
use osc_admission::{Verdict, review as reviews};
use serde_json::{Value, json};

#[test]
fn the_example_of_the_guide_is_what_happens() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/user-guide/peer-pods-webhook.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut next = || -> Value { serde_saphyr::from_str(blocks.next().unwrap()).unwrap() };
    let (mut pod, expected) = (next(), next());
    let question = json!({"apiVersion": reviews::VERSION, "kind": "AdmissionReview", "request": {
        "uid": "1", "operation": "CREATE", "userInfo": {}, "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "object": pod, "oldObject": null}});
    let request = reviews::read(question.to_string().as_bytes()).unwrap();
    let Verdict::Allow { patch, warnings } = review(&request, &Options::default()) else { panic!("refused") };
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(pod, expected);
    assert_eq!(warnings.len(), 1);
    assert!(page.contains(&format!("Warning: {}", warnings[0])), "{warnings:?}");
}
