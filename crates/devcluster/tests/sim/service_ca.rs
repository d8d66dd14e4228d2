//! Certificates of Services, and who is told of their authority.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::ResourceExt;
use kube::api::DeleteParams;
use osc_devcluster::sim::service_ca::{INJECT_BUNDLE, ORIGIN, SERVING_CERTIFICATE, SIGNED_BY};
use osc_devcluster::sim::topology::{Kind, Topology};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde_json::{Value, json};

use crate::cluster::Cluster;

async fn cluster(kind: Kind) -> Cluster {
    let cluster = Cluster::start(Topology { kind, workers: 1, ..Topology::default() }).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}});
    cluster.server.load(vec![namespace]).unwrap();
    cluster.create(&cluster.demo::<Service>(), service("web", Some("web-tls"))).await;
    cluster
}

fn service(name: &str, secret: Option<&str>) -> Value {
    let annotations = secret.map(|secret| json!({SERVING_CERTIFICATE: secret}));
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations},
        "spec": {"selector": {"app": name}, "ports": [{"port": 443}]}})
}

async fn secret(cluster: &Cluster, name: &str) -> Secret {
    let secrets = cluster.demo::<Secret>();
    cluster
        .until("there is a certificate", || async { secrets.get_opt(name).await.unwrap().is_some() })
        .await;
    secrets.get(name).await.unwrap()
}

fn text(secret: &Secret, key: &str) -> Vec<u8> {
    secret.data.as_ref().unwrap()[key].0.clone()
}

/// The bundle that a webhook configuration is given.
async fn bundle(cluster: &Cluster) -> Vec<u8> {
    let api = cluster.api::<ValidatingWebhookConfiguration>();
    let webhook = json!({"name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"namespace": "demo", "name": "web"}}});
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "web", "annotations": {INJECT_BUNDLE: "true"}}, "webhooks": [webhook]});
    cluster.create(&api, configuration).await;
    let read = || async {
        let found = api.get("web").await.unwrap();
        found.webhooks.unwrap()[0].client_config.ca_bundle.clone().map(|bundle| bundle.0)
    };
    cluster.until("the webhook has a bundle", || async { read().await.is_some() }).await;
    read().await.unwrap()
}

#[tokio::test]
async fn a_service_that_asks_gets_a_certificate_that_the_bundle_vouches_for() {
    let cluster = cluster(Kind::Regular).await;
    let found = secret(&cluster, "web-tls").await;
    assert_eq!(found.annotations()[ORIGIN], "web");
    assert_eq!(found.owner_references()[0].kind, "Service");
    let certificate = CertificateDer::from_pem_slice(&text(&found, "tls.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&text(&found, "tls.key")).unwrap();
    let ring = rustls::crypto::ring::default_provider();
    rustls::sign::CertifiedKey::from_der(vec![certificate.clone()], key, &ring).unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&bundle(&cluster).await).unwrap()).unwrap();
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), ring.into())
        .build()
        .unwrap();
    let vouches = |name: &'static str| {
        use rustls::client::danger::ServerCertVerifier as _;
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now()).is_ok()
    };
    assert!(vouches("web.demo.svc"));
    assert!(!vouches("other.demo.svc"));
}

#[tokio::test]
async fn a_certificate_lives_with_its_service_and_comes_back() {
    let mut cluster = cluster(Kind::Regular).await;
    let secrets = cluster.demo::<Secret>();
    let first = secret(&cluster, "web-tls").await;
    secrets.delete("web-tls", &DeleteParams::default()).await.unwrap();
    let second = secret(&cluster, "web-tls").await;
    assert_ne!(first.uid(), second.uid());

    // Another authority signs anew what the one before it has signed.
    cluster.stop().await;
    cluster.resume();
    let signer = |secret: &Secret| secret.annotations()[SIGNED_BY].clone();
    cluster
        .until("it is signed anew", || async {
            signer(&secrets.get("web-tls").await.unwrap()) != signer(&second)
        })
        .await;
    let third = secrets.get("web-tls").await.unwrap();
    assert_eq!(second.uid(), third.uid());
    assert_ne!(text(&second, "tls.crt"), text(&third, "tls.crt"));

    cluster.demo::<Service>().delete("web", &DeleteParams::default()).await.unwrap();
    cluster.until("it is gone", || async { secrets.get_opt("web-tls").await.unwrap().is_none() }).await;
}

#[tokio::test]
async fn what_belongs_to_others_stays_and_who_does_not_ask_gets_nothing() {
    let cluster = cluster(Kind::Regular).await;
    let secrets = cluster.demo::<Secret>();
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken"}, "data": {"tls.crt": "eA=="}});
    cluster.create(&secrets, theirs).await;
    cluster.create(&cluster.demo::<Service>(), service("second", Some("taken"))).await;
    cluster.create(&cluster.demo::<Service>(), service("third", None)).await;
    cluster.create(&cluster.demo::<Service>(), service("last", Some("last-tls"))).await;
    secret(&cluster, "last-tls").await;
    assert_eq!(text(&secrets.get("taken").await.unwrap(), "tls.crt"), b"x");
    let all = secrets.list(&kube::api::ListParams::default()).await.unwrap();
    let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
    assert!(names.iter().all(|name| ["last-tls", "taken", "web-tls"].contains(&name.as_str())), "{names:?}");
}

#[tokio::test]
async fn kubernetes_alone_has_no_service_ca() {
    let cluster = cluster(Kind::PlainKubernetes).await;
    // As long as a hundred of its delays.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(cluster.demo::<Secret>().get_opt("web-tls").await.unwrap().is_none());
}
