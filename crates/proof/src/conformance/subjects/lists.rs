//! Lists: selectors, pages and versions.

use serde_json::{Value, json};

use super::objects::{anything, config_map, define, labelled, pod, widget};
use crate::conformance::case::{Case, cases};
use crate::conformance::trial::Trial;

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        an_empty_list,
        a_list_is_ordered_by_name,
        a_list_over_all_namespaces,
        labels_are_equal_or_not,
        labels_are_in_a_set_or_not,
        labels_exist_or_not,
        several_requirements_hold_together,
        a_label_selector_that_cannot_be_read_is_refused,
        a_name_selects,
        a_namespace_selects,
        fields_of_pods_select,
        fields_of_secrets_select,
        an_unknown_field_is_refused,
        custom_resources_know_two_fields,
        fields_and_labels_hold_together,
        pages_follow_each_other,
        pages_of_a_selection,
        pages_show_what_was_there_at_the_first,
        pages_of_all_namespaces,
        a_continue_token_that_cannot_be_read_is_refused,
        a_limit_that_cannot_be_read_is_refused,
        a_limit_of_zero_is_none,
        a_list_at_an_exact_version,
        a_list_not_older_than_a_version,
        a_match_needs_a_version,
        a_version_that_cannot_be_read_is_refused,
        a_version_of_the_future_is_refused,
        only_metadata_of_a_list,
        only_metadata_of_an_object,
        only_metadata_of_custom_resources,
        a_form_nobody_knows_is_refused,
        an_unknown_form_falls_back,
    ];
    let more = cases![pages_end_when_history_is_forgotten, an_exact_version_that_is_forgotten];
    cases.extend(more.into_iter().map(Case::alone));
    cases
}

async fn fill(t: &Trial, names: &[&str]) {
    let quiet = t.unrecorded();
    for name in names {
        quiet
            .post(
                "configmaps",
                labelled(
                    name,
                    json!({ "set": t.id, "name": name, "half": (if *name < "c" { "one" } else { "two" }) }),
                ),
            )
            .await
            .is(201);
    }
}

/// Names selected by a query, written as people write it.
async fn select(t: &Trial, selector: &str) -> Vec<String> {
    let query = url_encoded(selector);
    t.get(&format!("configmaps?labelSelector={query}")).await.is(200).items()
}

fn url_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

async fn an_empty_list(t: Trial) {
    t.get("secrets").await.is(200).has("/items", json!([])).has("/kind", json!("SecretList"));
    let widgets = define(&t, anything(), json!({})).await;
    t.get(&widgets).await.is(200).has("/items", json!([])).has("/kind", json!("WidgetList"));
}

async fn a_list_is_ordered_by_name(t: Trial) {
    fill(&t, &["b", "a", "c"]).await;
    assert_eq!(select(&t, &format!("set={}", t.id)).await, ["a", "b", "c"]);
    let widgets = define(&t, anything(), json!({})).await;
    for name in ["b", "a"] {
        t.post(&widgets, widget(&t, name, json!({ "size": 1 }))).await.is(201);
    }
    assert_eq!(t.get(&widgets).await.items(), ["a", "b"]);
}

async fn a_list_over_all_namespaces(t: Trial) {
    fill(&t, &["a"]).await;
    let quiet = t.unrecorded();
    let other = format!("{}-x", t.id);
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": other } });
    quiet.post("/api/v1/namespaces", namespace).await.is(201);
    let path = format!("/api/v1/namespaces/{other}/configmaps");
    quiet.post(&path, labelled("a", json!({ "set": t.id }))).await.is(201);
    let all = t.get(&format!("/api/v1/configmaps?labelSelector=set%3D{}", t.id)).await.is(200);
    assert_eq!(all.items(), ["a", "a"]);
}

async fn labels_are_equal_or_not(t: Trial) {
    fill(&t, &["a", "b", "c"]).await;
    assert_eq!(select(&t, "name=a").await, ["a"]);
    assert_eq!(select(&t, "name==b").await, ["b"]);
    let others = select(&t, &format!("set={},name!=a", t.id)).await;
    assert_eq!(others, ["b", "c"]);
}

async fn labels_are_in_a_set_or_not(t: Trial) {
    fill(&t, &["a", "b", "c"]).await;
    assert_eq!(select(&t, "name in (a, c)").await, ["a", "c"]);
    assert_eq!(select(&t, "name notin (a),half").await, ["b", "c"]);
    assert_eq!(select(&t, "name in ()").await, Vec::<String>::new());
}

async fn labels_exist_or_not(t: Trial) {
    fill(&t, &["a"]).await;
    t.unrecorded().post("configmaps", labelled("bare", json!({ "alone": "" }))).await.is(201);
    assert_eq!(select(&t, "half").await, ["a"]);
    assert_eq!(select(&t, "!half,alone").await, ["bare"]);
    assert_eq!(select(&t, "alone=").await, ["bare"]);
}

async fn several_requirements_hold_together(t: Trial) {
    fill(&t, &["a", "b", "c"]).await;
    assert_eq!(select(&t, "half=one,name notin (a),set").await, ["b"]);
    assert_eq!(select(&t, "half=one,half=two").await, Vec::<String>::new());
}

async fn a_label_selector_that_cannot_be_read_is_refused(t: Trial) {
    for selector in ["a===b", "a in b", "a=b c", "=b", "a,,b", "a b=c", "a=-b", "(a)"] {
        let path = format!("configmaps?labelSelector={}", url_encoded(selector));
        t.get(&path).await.refused(400, "BadRequest");
    }
}

async fn a_name_selects(t: Trial) {
    fill(&t, &["a", "b"]).await;
    assert_eq!(t.get("configmaps?fieldSelector=metadata.name%3Da").await.is(200).items(), ["a"]);
    assert_eq!(
        t.get("configmaps?fieldSelector=metadata.name%3Dnobody").await.is(200).items(),
        Vec::<String>::new()
    );
    let others =
        t.get(&format!("configmaps?labelSelector=set%3D{}&fieldSelector=metadata.name!%3Da", t.id)).await;
    assert_eq!(others.is(200).items(), ["b"]);
}

async fn a_namespace_selects(t: Trial) {
    fill(&t, &["a"]).await;
    let path = format!("/api/v1/configmaps?labelSelector=set&fieldSelector=metadata.namespace%3D{}", t.id);
    assert_eq!(t.get(&path).await.is(200).items(), ["a"]);
}

async fn fields_of_pods_select(t: Trial) {
    let quiet = t.unrecorded();
    let mut bound = pod("bound");
    bound["spec"]["nodeName"] = json!(t.id);
    bound["spec"]["restartPolicy"] = json!("Never");
    quiet.post("pods", bound).await.is(201);
    quiet.post("pods", pod("free")).await.is(201);
    quiet
        .merge("pods/bound/status", json!({ "status": { "phase": "Running", "podIP": "10.1.2.3" } }))
        .await
        .is(200);
    for (selector, wanted) in [
        (format!("spec.nodeName={}", t.id), vec!["bound"]),
        ("spec.nodeName=".to_owned(), vec!["free"]),
        ("status.phase=Running".to_owned(), vec!["bound"]),
        ("status.phase!=Running".to_owned(), vec!["free"]),
        ("spec.restartPolicy=Never".to_owned(), vec!["bound"]),
        ("status.podIP=10.1.2.3".to_owned(), vec!["bound"]),
        ("spec.schedulerName=default-scheduler,status.phase=Pending".to_owned(), vec!["free"]),
    ] {
        let found =
            quiet.get(&format!("pods?fieldSelector={}", url_encoded(&selector))).await.is(200).items();
        assert_eq!(found, wanted, "{selector}");
    }
}

async fn fields_of_secrets_select(t: Trial) {
    let secret = |name: &str, kind: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "type": kind });
    t.post("secrets", secret("a", "example.com/one")).await.is(201);
    t.post("secrets", secret("b", "example.com/two")).await.is(201);
    assert_eq!(t.get("secrets?fieldSelector=type%3Dexample.com/one").await.is(200).items(), ["a"]);
}

async fn an_unknown_field_is_refused(t: Trial) {
    t.get("configmaps?fieldSelector=data.k%3Dv").await.refused(400, "BadRequest");
    t.get("pods?fieldSelector=spec.hostname%3Dv").await.refused(400, "BadRequest");
    t.get("apps/v1:deployments?fieldSelector=spec.replicas%3D1").await.refused(400, "BadRequest");
    t.get("configmaps?fieldSelector=metadata.name").await.refused(400, "BadRequest");
}

async fn custom_resources_know_two_fields(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    assert_eq!(t.get(&format!("{widgets}?fieldSelector=metadata.name%3Da")).await.is(200).items(), ["a"]);
    t.get(&format!("{widgets}?fieldSelector=spec.size%3D1")).await.refused(400, "BadRequest");
}

async fn fields_and_labels_hold_together(t: Trial) {
    fill(&t, &["a", "b"]).await;
    let both = t.get("configmaps?labelSelector=half%3Done&fieldSelector=metadata.name%3Db").await.is(200);
    assert_eq!(both.items(), ["b"]);
}

/// Reads page after page.
async fn pages(t: &Trial, path: &str) -> Vec<Vec<String>> {
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let next = if token.is_empty() { path.to_owned() } else { format!("{path}&continue={token}") };
        let page = t.get(&next).await.is(200);
        pages.push(page.items());
        token = url_encoded(&page.metadata("continue"));
        if token.is_empty() {
            return pages;
        }
    }
}

async fn pages_follow_each_other(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    for name in ["a", "b", "c", "d", "e"] {
        t.unrecorded().post(&widgets, widget(&t, name, json!({ "size": 1 }))).await.is(201);
    }
    let first = t.get(&format!("{widgets}?limit=2")).await.is(200);
    first.has("/metadata/remainingItemCount", json!(3));
    assert_eq!(pages(&t, &format!("{widgets}?limit=2")).await, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    assert_eq!(pages(&t, &format!("{widgets}?limit=5")).await, [vec!["a", "b", "c", "d", "e"]]);
}

async fn pages_of_a_selection(t: Trial) {
    fill(&t, &["a", "b", "c", "d"]).await;
    let path = "configmaps?labelSelector=half%3Dtwo&limit=1";
    t.get(path).await.is(200).has("/metadata/remainingItemCount", json!(null));
    let found: Vec<String> = pages(&t.unrecorded(), path).await.concat();
    assert_eq!(found, ["c", "d"]);
}

async fn pages_show_what_was_there_at_the_first(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    for name in ["a", "c", "d"] {
        t.unrecorded().post(&widgets, widget(&t, name, json!({ "size": 1 }))).await.is(201);
    }
    let first = t.get(&format!("{widgets}?limit=1")).await.is(200);
    t.unrecorded().post(&widgets, widget(&t, "b", json!({ "size": 1 }))).await.is(201);
    t.unrecorded().delete(&format!("{widgets}/d")).await.is(200);
    let token = url_encoded(&first.metadata("continue"));
    let second = t.get(&format!("{widgets}?limit=10&continue={token}")).await.is(200);
    assert_eq!(second.items(), ["c", "d"]);
}

async fn pages_of_all_namespaces(t: Trial) {
    fill(&t, &["a", "b"]).await;
    let path = format!("/api/v1/configmaps?labelSelector=set%3D{}&limit=1", t.id);
    let found: Vec<String> = pages(&t.unrecorded(), &path).await.concat();
    assert_eq!(found, ["a", "b"]);
}

async fn a_continue_token_that_cannot_be_read_is_refused(t: Trial) {
    t.get("configmaps?limit=1&continue=nonsense").await.refused(400, "BadRequest");
}

async fn a_limit_that_cannot_be_read_is_refused(t: Trial) {
    t.get("configmaps?limit=many").await.refused(400, "BadRequest");
}

async fn a_limit_of_zero_is_none(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    for name in ["a", "b"] {
        t.post(&widgets, widget(&t, name, json!({ "size": 1 }))).await.is(201);
    }
    assert_eq!(t.get(&format!("{widgets}?limit=0")).await.is(200).items(), ["a", "b"]);
}

async fn versions(t: &Trial) -> (String, Value, Value) {
    let widgets = define(t, anything(), json!({})).await;
    let one = t.post(&widgets, widget(t, "a", json!({ "size": 1 }))).await.is(201);
    let two = t.post(&widgets, widget(t, "b", json!({ "size": 1 }))).await.is(201);
    (widgets, json!(one.version()), json!(two.version()))
}

async fn a_list_at_an_exact_version(t: Trial) {
    let (widgets, one, two) = versions(&t).await;
    let at = |version: &Value| {
        format!("{widgets}?resourceVersion={}&resourceVersionMatch=Exact", version.as_str().unwrap())
    };
    assert_eq!(t.get(&at(&one)).await.is(200).items(), ["a"]);
    assert_eq!(t.get(&at(&two)).await.is(200).items(), ["a", "b"]);
}

async fn a_list_not_older_than_a_version(t: Trial) {
    let (widgets, one, two) = versions(&t).await;
    for version in [&one, &two] {
        let path = format!(
            "{widgets}?resourceVersion={}&resourceVersionMatch=NotOlderThan",
            version.as_str().unwrap()
        );
        t.unrecorded().get(&path).await.is(200);
    }
    let path = format!("{widgets}?resourceVersion={}", two.as_str().unwrap());
    assert_eq!(t.get(&path).await.is(200).items(), ["a", "b"]);
}

async fn a_match_needs_a_version(t: Trial) {
    t.get("configmaps?resourceVersionMatch=Exact").await.refused(422, "Invalid");
    t.get("configmaps?resourceVersionMatch=Exact&resourceVersion=0").await.refused(422, "Invalid");
    t.get("configmaps?resourceVersionMatch=Nearly&resourceVersion=5").await.refused(422, "Invalid");
}

async fn a_version_that_cannot_be_read_is_refused(t: Trial) {
    let answer = t.get("configmaps?resourceVersion=nonsense").await;
    assert!(answer.code >= 400, "{}", answer.body);
}

async fn a_version_of_the_future_is_refused(t: Trial) {
    t.get("configmaps?resourceVersion=99999999").await.refused(504, "Timeout");
}

const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

async fn only_metadata_of_a_list(t: Trial) {
    fill(&t, &["a", "b"]).await;
    let list = t.get_as("configmaps?labelSelector=half", METADATA_LIST).await.is(200);
    list.has("/kind", json!("PartialObjectMetadataList"))
        .has("/items/0/data", json!(null))
        .has("/items/0/metadata/name", json!("a"));
}

async fn only_metadata_of_an_object(t: Trial) {
    t.post("configmaps", config_map("a", json!({ "k": "v" }))).await.is(201);
    t.get_as("configmaps/a", METADATA)
        .await
        .is(200)
        .has("/kind", json!("PartialObjectMetadata"))
        .has("/data", json!(null));
    t.get_as("configmaps/nobody", METADATA).await.refused(404, "NotFound");
}

async fn only_metadata_of_custom_resources(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    t.post(&widgets, widget(&t, "a", json!({ "size": 1 }))).await.is(201);
    t.get_as(&widgets, METADATA_LIST).await.is(200).has("/items/0/spec", json!(null));
    t.get_as(&format!("{widgets}/a"), METADATA).await.is(200).has("/metadata/name", json!("a"));
}

async fn a_form_nobody_knows_is_refused(t: Trial) {
    t.get_as("configmaps", "text/csv").await.refused(406, "NotAcceptable");
}

async fn an_unknown_form_falls_back(t: Trial) {
    fill(&t, &["a"]).await;
    t.get_as("configmaps?labelSelector=half", "text/csv, application/json")
        .await
        .is(200)
        .has("/kind", json!("ConfigMapList"));
    t.get_as("configmaps?labelSelector=half", "*/*").await.is(200).has("/kind", json!("ConfigMapList"));
}

async fn pages_end_when_history_is_forgotten(t: Trial) {
    let widgets = define(&t, anything(), json!({})).await;
    for name in ["a", "b", "c"] {
        t.post(&widgets, widget(&t, name, json!({ "size": 1 }))).await.is(201);
    }
    let first = t.get(&format!("{widgets}?limit=1")).await.is(200);
    t.unrecorded().post(&widgets, widget(&t, "d", json!({ "size": 1 }))).await.is(201);
    t.side.compact().await;
    let token = url_encoded(&first.metadata("continue"));
    let expired = t.get(&format!("{widgets}?limit=1&continue={token}")).await.refused(410, "Expired");
    // The refusal carries a token with which the rest can be read as it is now.
    let token = url_encoded(&expired.metadata("continue"));
    let rest = t.get(&format!("{widgets}?limit=2&continue={token}")).await.is(200);
    assert_eq!(rest.items(), ["b", "c"]);
}

async fn an_exact_version_that_is_forgotten(t: Trial) {
    let (widgets, one, _) = versions(&t).await;
    t.side.compact().await;
    let path = format!("{widgets}?resourceVersion={}&resourceVersionMatch=Exact", one.as_str().unwrap());
    t.get(&path).await.refused(410, "Expired");
}
