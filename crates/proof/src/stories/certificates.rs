//! Certificates of the webhooks change while people go on.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams};
use osc_admission::certificate::authority::{Bundle, Lifetimes, Next, Stored};
use osc_api::names;
use osc_engine::security::webhooks;
use osc_operator::webhook::Source;
use serde_json::json;

use super::admission::{configurations, options, serve, try_out};
use super::{Beginning, Story, story};
use crate::bed::{Bed, NAME, workers};

pub fn stories() -> Vec<Story> {
    vec![
        story!(no_request_fails_while_authorities_and_certificates_change, workers(1))
            .from(Beginning::Installed),
        story!(an_authority_that_somebody_deletes_is_replaced, workers(1)).from(Beginning::Installed),
        story!(a_certificate_in_a_directory_changes_without_a_restart, workers(1)).from(Beginning::Installed),
    ]
}

/// Both answers that the webhook gives.
async fn ask(bed: &Bed) {
    assert_eq!(try_out(bed, NAME, &json!({})).await, Ok(()), "at {}", Timestamp::now());
    let words = try_out(bed, NAME, &json!({"logLevel": "wrong"})).await.unwrap_err();
    assert!(words.contains("denied the request"), "at {}: {words}", Timestamp::now());
}

async fn secret(bed: &Bed) -> Secret {
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    secrets.get(webhooks::AUTHORITY_SECRET).await.unwrap()
}

fn value(secret: &Secret, key: &str) -> Vec<u8> {
    secret.data.as_ref().unwrap()[key].0.clone()
}

/// Lives of seconds instead of months.
async fn no_request_fails_while_authorities_and_certificates_change(bed: &mut Bed) {
    let mut options = options();
    options.webhook.pace.lifetimes = Lifetimes {
        authority: SignedDuration::from_secs(30),
        serving: SignedDuration::from_secs(9),
        settle: SignedDuration::from_secs(3),
    };
    serve(bed, options).await;
    let (mut authorities, mut certificates) = (BTreeSet::new(), BTreeSet::new());
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(45) {
        ask(bed).await;
        let secret = secret(bed).await;
        authorities.insert(value(&secret, "ca.crt"));
        certificates.insert(value(&secret, "tls.crt"));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    // One alone, two, the other alone, and so on.
    assert!(authorities.len() >= 3, "{} sets of authorities", authorities.len());
    assert!(certificates.len() >= 5, "{} certificates", certificates.len());
}

async fn an_authority_that_somebody_deletes_is_replaced(bed: &mut Bed) {
    serve(bed, options()).await;
    let before = value(&secret(bed).await, "ca.crt");
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    secrets.delete(webhooks::AUTHORITY_SECRET, &DeleteParams::default()).await.unwrap();
    let replaced = || async {
        let found = secrets.get_opt(webhooks::AUTHORITY_SECRET).await.unwrap();
        found.is_some_and(|found| value(&found, "ca.crt") != before && !value(&found, "tls.crt").is_empty())
    };
    assert!(crate::bed::eventually(replaced).await);
    let works = || async { try_out(bed, NAME, &json!({})).await.is_ok() };
    assert!(crate::bed::eventually(works).await);
}

/// What OpenShift's service CA does: fills the Secret that is mounted, and tells the API server whom to trust.
async fn provide(bed: &Bed, directory: &Path, stored: &Stored, trusted: &str) {
    tell(bed, trusted).await;
    // The kubelet changes all files at one time; here there is a moment between the two.
    std::fs::write(directory.join("tls.crt"), &stored.certificate).unwrap();
    std::fs::write(directory.join("tls.key"), &stored.key).unwrap();
}

async fn tell(bed: &Bed, trusted: &str) {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(bed.client.clone());
    let mut configuration = configurations.get(webhooks::VALIDATING).await.unwrap();
    for webhook in configuration.webhooks.iter_mut().flatten() {
        webhook.client_config.ca_bundle = Some(k8s_openapi::ByteString(trusted.as_bytes().to_vec()));
    }
    configurations
        .replace(webhooks::VALIDATING, &kube::api::PostParams::default(), &configuration)
        .await
        .unwrap();
}

async fn a_certificate_in_a_directory_changes_without_a_restart(bed: &mut Bed) {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options();
    let url = options.webhook.webhook_url.clone().unwrap();
    options.webhook.webhook_certificates = Source::Directory;
    options.webhook.webhook_cert_dir = directory.path().to_owned();
    options.webhook.pace.directory = Duration::from_millis(50);
    let (names, lifetimes) = (["127.0.0.1".to_owned()], Lifetimes::default());
    let make =
        |bundle: &mut Bundle, next: Next| bundle.take(next, &names, Timestamp::now(), &lifetimes).unwrap();
    let mut bundle = Bundle::default();
    make(&mut bundle, Next::Authority);
    make(&mut bundle, Next::Leaf(0));
    let mut stored = bundle.stored();
    std::fs::write(directory.path().join("tls.crt"), &stored.certificate).unwrap();
    std::fs::write(directory.path().join("tls.key"), &stored.key).unwrap();

    for mut object in configurations() {
        for webhook in object["webhooks"].as_array_mut().unwrap() {
            let bundle = STANDARD.encode(&stored.authorities);
            webhook["clientConfig"] =
                json!({"url": format!("{url}{}", webhooks::KATA_CONFIG_PATH), "caBundle": bundle});
        }
        assert_eq!(crate::bed::apply(&bed.client, object).await, None);
    }
    bed.run_operator(options).await;
    let works = || async {
        try_out(bed, NAME, &json!({"logLevel": "wrong"})).await.is_err_and(|words| words.contains("denied"))
    };
    assert!(crate::bed::eventually(works).await, "{:?}", try_out(bed, NAME, &json!({})).await);

    for index in [0, 1, 1] {
        if index == 1 {
            make(&mut bundle, Next::Authority);
            // Told first, and a while before it is used: API servers take notice when they do.
            tell(bed, &bundle.stored().authorities).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let last = bundle.stored().authorities.matches("BEGIN").count() - 1;
        make(&mut bundle, Next::Leaf(last));
        assert_ne!(bundle.stored().certificate, stored.certificate);
        stored = bundle.stored();
        provide(bed, directory.path(), &stored, &stored.authorities).await;
        for _ in 0..30 {
            ask(bed).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), names::OPERATOR_NAMESPACE);
    assert!(
        secrets.get_opt(webhooks::AUTHORITY_SECRET).await.unwrap().is_none(),
        "it has no authority of its own"
    );
}
