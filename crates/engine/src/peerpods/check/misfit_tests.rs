//! What does not go together, and what is odd about objects.

use osc_api::peerpods::Provider;
use osc_api::peerpods::keys;
use rstest::rstest;

use super::tests::{Pairs, data, fine, one, with};
use super::{Data, Oddity, OddityKind, Setup, Severity, check};

#[rstest]
#[case::zone_for_region(Provider::Aws, "AWS_REGION", "eu-west-1a", "ZoneForRegion", Severity::Blocks)]
#[case::region_for_zone(Provider::Gcp, "GCP_ZONE", "europe-west1", "RegionForZone", Severity::Blocks)]
#[case::public(Provider::Aws, "USE_PUBLIC_IP", "true", "PublicAddress", Severity::Warns)]
#[case::certificate(Provider::Azure, "CERT_FILE", "/tls.crt", "CertificateIncomplete", Severity::Blocks)]
#[case::certificate_key(Provider::Azure, "CERT_KEY", "/tls.key", "CertificateIncomplete", Severity::Blocks)]
#[case::unverified(Provider::Gcp, "TLS_SKIP_VERIFY", "true", "AgentNotVerified", Severity::Warns)]
#[case::seconds(Provider::Aws, "PROXY_TIMEOUT", "30s", "TimeoutShort", Severity::Warns)]
#[case::milliseconds(Provider::Aws, "PROXY_TIMEOUT", "900ms", "TimeoutShort", Severity::Warns)]
#[case::template(Provider::Aws, "PODVM_LAUNCHTEMPLATE_NAME", "mine", "NoEffect", Severity::Info)]
#[case::technology(Provider::Gcp, "GCP_CONFIDENTIAL_TYPE", "SEV", "NoEffect", Severity::Info)]
#[case::protection(Provider::Libvirt, "LIBVIRT_LAUNCH_SECURITY", "s390-pv", "NoEffect", Severity::Info)]
#[case::image_key(Provider::Azure, "IMAGE_GALLERY_NAME", "gallery", "OtherMap", Severity::Info)]
#[case::part_of_a_path(
    Provider::Libvirt,
    "LIBVIRT_DIR_NAME",
    "/var/lib/libvirt/images/<directory_name>",
    "Placeholder",
    Severity::Blocks
)]
#[case::secret(Provider::Libvirt, "LIBVIRT_URI", "qemu:///system", "CredentialInConfigMap", Severity::Warns)]
fn settings_that_do_not_fit_are_told(
    #[case] provider: Provider,
    #[case] key: &str,
    #[case] value: &str,
    #[case] reason: &str,
    #[case] severity: Severity,
) {
    let told = one(&with(provider, key, value), reason);
    assert_eq!(told.severity, severity, "{told:?}");
    assert!(told.what.contains(key) && !told.why.is_empty() && !told.remedy.is_empty(), "{told:?}");
}

#[rstest]
#[case(Provider::Aws, "AWS_REGION", "us-gov-west-1")]
#[case(Provider::Gcp, "GCP_ZONE", "us-central1-f")]
#[case(Provider::Aws, "PROXY_TIMEOUT", "90s")]
#[case(Provider::Aws, "PROXY_TIMEOUT", "1m")]
#[case(Provider::Aws, "PROXY_TIMEOUT", "1m500ms")]
#[case(Provider::Aws, "PROXY_TIMEOUT", "1h500ms")]
fn settings_that_fit_are_not(#[case] provider: Provider, #[case] key: &str, #[case] value: &str) {
    let setup = with(provider, key, value);
    let told: Vec<_> = check(&setup)
        .into_iter()
        .filter(|told| told.what.contains(key) && told.severity != Severity::Info)
        .collect();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_credential_in_the_config_map_is_told_once_and_without_a_secret() {
    let mut setup = with(Provider::Aws, "AWS_SECRET_ACCESS_KEY", "hush-hush");
    for credentials in [setup.credentials.clone(), None] {
        setup.credentials = credentials;
        assert_eq!(one(&setup, "CredentialInConfigMap").severity, Severity::Warns);
        let found = check(&setup);
        assert!(!found.iter().any(|told| told.reason == "UnknownKey"), "{found:#?}");
        assert!(!format!("{found:?}").contains("hush-hush"));
    }
}

/// The adaptor gets the secret as its environment, too: what is there holds, and is not told.
#[test]
fn settings_in_the_secret_hold_and_are_not_told() {
    for provider in Provider::ALL {
        for key in keys::settings(provider) {
            for value in ["hush, hush", "hush"] {
                let mut setup = fine(provider);
                setup.settings.as_mut().unwrap().remove(key.name);
                setup.credentials.as_mut().unwrap().insert(key.name.to_owned(), value.to_owned());
                let found = check(&setup);
                assert!(!format!("{found:?}").contains("hush"), "{}: {found:#?}", key.name);
                if key.name != "CLOUD_PROVIDER" {
                    let told = found
                        .iter()
                        .any(|told| told.reason == "OlderPlace" && told.what.starts_with(key.name));
                    assert!(told, "{}: {found:#?}", key.name);
                }
            }
        }
    }
}

fn with_map(provider: Provider, map: Pairs) -> Setup {
    Setup { image_map: Some((provider.image_maps()[0].to_owned(), data(map))), ..fine(provider) }
}

#[rstest]
#[case::built_on_google(Provider::Gcp, &[("IMAGE_TYPE", "operator-built")], "ImageKind", Severity::Blocks)]
#[case::release(Provider::Libvirt, &[("BASE_OS_VERSION", "9.6"), ("ORG_ID", "1"), ("ACTIVATION_KEY", "k")], "SecureExecution", Severity::Warns)]
#[case::build(Provider::Libvirt, &[("BASE_OS_VERSION", "10.1")], "BuildIncomplete", Severity::Warns)]
#[case::not_written(Provider::Aws, &[("UPDATE_PEERPODS_CM", "no")], "NotWrittenBack", Severity::Warns)]
#[case::dashes(Provider::Azure, &[("IMAGE_VERSION", "0-0-1")], "ImageVersion", Severity::Blocks)]
#[case::dots(Provider::Gcp, &[("IMAGE_VERSION", "0.0.1")], "ImageVersion", Severity::Blocks)]
#[case::gate(Provider::Libvirt, &[("CONFIDENTIAL_COMPUTE_ENABLED", "yes")], "GateDecides", Severity::Info)]
#[case::retired(Provider::Libvirt, &[("IMAGE_NAME", "podvm")], "NoEffect", Severity::Info)]
#[case::part_of_a_source(Provider::Libvirt, &[("PODVM_IMAGE_URI", "oci::<image_repo_url>:<image_tag>::<image_path>")], "Placeholder", Severity::Blocks)]
fn image_maps_that_do_not_fit_are_told(
    #[case] provider: Provider,
    #[case] map: Pairs,
    #[case] reason: &str,
    #[case] severity: Severity,
) {
    let told = one(&with_map(provider, map), reason);
    assert_eq!(told.severity, severity);
    assert!(told.object.starts_with("ConfigMap ") && told.object.ends_with("podvm-image-cm"), "{told:?}");
}

#[test]
fn every_retired_key_is_told_as_such() {
    for key in keys::RETIRED {
        let found = check(&with_map(Provider::Aws, &[(key, "x")]));
        let told: Vec<_> = found.iter().filter(|told| told.what.starts_with(key)).collect();
        assert!(matches!(told.as_slice(), [told] if told.reason == "NoEffect"), "{found:#?}");
    }
}

#[test]
fn an_image_that_is_there_makes_the_source_idle() {
    let mut setup = with_map(Provider::Aws, &[("PODVM_IMAGE_URI", "oci::quay.io/o/i")]);
    assert!(!check(&setup).iter().any(|told| told.reason == "ImageIsThere"));
    setup.settings.as_mut().unwrap().insert("PODVM_AMI_ID".to_owned(), "ami-1".to_owned());
    assert_eq!(one(&setup, "ImageIsThere").severity, Severity::Info);
}

#[test]
fn bootc_images_are_not_built_with_a_role() {
    let mut setup = with_map(Provider::Aws, &[("PODVM_IMAGE_URI", "bootc::quay.io/o/i")]);
    assert!(!check(&setup).iter().any(|told| told.reason == "ImageKind"));
    setup.credentials = Some(data(&[("AWS_ROLE_ARN", "arn"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")]));
    assert_eq!(one(&setup, "ImageKind").severity, Severity::Blocks);
}

#[rstest]
#[case("podvm-image-cm", "SettingTwice", Severity::Warns)]
#[case("aws-podvm-image-cm", "OtherProvider", Severity::Info)]
fn image_maps_beside_the_one_that_counts_are_told(
    #[case] other: &str,
    #[case] reason: &str,
    #[case] severity: Severity,
) {
    let setup = Setup { other_image_maps: vec![other.to_owned()], ..with_map(Provider::Gcp, &[]) };
    assert_eq!(one(&setup, reason).severity, severity);
}

fn on(provider: Provider, platform: &str, change: impl Fn(&mut Setup)) -> Setup {
    let mut setup = Setup { platform: Some(platform.to_owned()), ..fine(provider) };
    change(&mut setup);
    setup
}

#[test]
fn places_other_than_the_clusters_are_told() {
    let region = on(Provider::Gcp, "GCP", |setup| setup.region = Some("us-central1".to_owned()));
    assert_eq!(one(&region, "OtherRegion").severity, Severity::Warns);
    let group = on(Provider::Azure, "Azure", |setup| setup.home = Some("cluster-rg".to_owned()));
    assert_eq!(one(&group, "OtherHome").severity, Severity::Info);
    let same = on(Provider::Azure, "Azure", |setup| setup.home = Some("GROUP".to_owned()));
    assert!(!check(&same).iter().any(|told| told.reason == "OtherHome"));
    let mut subscription = fine(Provider::Azure);
    subscription
        .credentials
        .as_mut()
        .unwrap()
        .insert("AZURE_SUBSCRIPTION_ID".to_owned(), "hush-hush".to_owned());
    assert!(!format!("{:?}", one(&subscription, "OtherSubscription")).contains("hush-hush"));
    let project = with(Provider::Gcp, "GCP_PROJECT_ID", "another");
    assert_eq!(one(&project, "OtherProject").severity, Severity::Info);
}

#[test]
fn a_gate_that_a_provider_does_not_have_is_told() {
    let gated = |provider| Setup { confidential: true, ..fine(provider) };
    assert_eq!(one(&gated(Provider::Aws), "ConfidentialUnsupported").severity, Severity::Warns);
    assert_eq!(one(&gated(Provider::Azure), "SizeNotConfidential").severity, Severity::Warns);
    let mut fits = gated(Provider::Azure);
    fits.settings.as_mut().unwrap().insert("AZURE_INSTANCE_SIZE".to_owned(), "Standard_DC2as_v5".to_owned());
    assert!(!check(&fits).iter().any(|told| told.reason == "SizeNotConfidential"));
    let libvirt = check(&gated(Provider::Libvirt));
    assert!(libvirt.iter().all(|told| told.severity == Severity::Info), "{libvirt:#?}");
}

#[rstest]
#[case("{}", "type, project_id, client_email, private_key")]
#[case(
    r#"{"type": "service_account", "project_id": "hush", "client_email": "hush", "private_key": ""}"#,
    "private_key"
)]
fn a_key_of_a_service_account_is_whole(#[case] key: &str, #[case] lacking: &str) {
    let setup = Setup { credentials: Some(data(&[("GCP_CREDENTIALS", key)])), ..fine(Provider::Gcp) };
    let told = one(&setup, "CredentialsIncomplete");
    assert_eq!(told.what, format!("GCP_CREDENTIALS is JSON without {lacking}"));
    assert!(!format!("{told:?}").contains("hush"));
}

/// Files alone do not tell what the cluster runs on.
#[test]
fn a_missing_secret_is_doubted_where_the_platform_is_not_known() {
    for (provider, severity) in [
        (Provider::Aws, Severity::Warns),
        (Provider::Azure, Severity::Warns),
        (Provider::Gcp, Severity::Blocks),
        (Provider::Libvirt, Severity::Blocks),
    ] {
        let setup = Setup { credentials: None, ..fine(provider) };
        assert_eq!(one(&setup, "CredentialsMissing").severity, severity, "{provider:?}");
    }
}

#[test]
fn the_provider_is_wanted_in_the_secret_of_libvirt_only() {
    for provider in Provider::ALL {
        let mut setup = fine(provider);
        setup.credentials.as_mut().unwrap().remove("CLOUD_PROVIDER");
        let told = check(&setup).iter().any(|told| told.reason == "ProviderUnnamed");
        assert_eq!(told, provider == Provider::Libvirt, "{provider:?}");
    }
    assert!(!check(&fine(Provider::Libvirt)).iter().any(|told| told.reason == "ProviderUnnamed"));
}

#[test]
fn temporary_keys_are_told() {
    let mut setup = fine(Provider::Aws);
    setup.credentials.as_mut().unwrap().insert("AWS_SESSION_TOKEN".to_owned(), "hush".to_owned());
    assert_eq!(one(&setup, "CredentialsExpire").severity, Severity::Warns);
}

#[rstest]
#[case(OddityKind::NotText { key: "VXLAN_PORT".to_owned(), found: "a number" }, "NotText", Severity::Blocks)]
#[case(OddityKind::NotBase64 { key: "AWS_ACCESS_KEY_ID".to_owned() }, "NotBase64", Severity::Blocks)]
#[case(OddityKind::OtherNamespace(None), "OtherNamespace", Severity::Warns)]
#[case(OddityKind::OtherNamespace(Some("default".to_owned())), "OtherNamespace", Severity::Warns)]
#[case(OddityKind::Immutable, "Immutable", Severity::Blocks)]
#[case(OddityKind::Twice, "ObjectTwice", Severity::Warns)]
fn odd_objects_are_told_even_without_a_provider(
    #[case] kind: OddityKind,
    #[case] reason: &str,
    #[case] severity: Severity,
) {
    let oddity = Oddity { object: "ConfigMap peer-pods-cm".to_owned(), kind };
    let told = one(&Setup { oddities: vec![oddity], ..Setup::default() }, reason);
    assert_eq!((told.severity, told.object.as_str()), (severity, "ConfigMap peer-pods-cm"));
    assert!(!told.why.is_empty() && !told.remedy.is_empty());
}

#[test]
fn what_cannot_be_read_is_not_missed() {
    let unreadable = |object: &str| vec![(object.to_owned(), "secrets is forbidden".to_owned())];
    let setup =
        Setup { credentials: None, unreadable: unreadable("Secret peer-pods-secret"), ..fine(Provider::Gcp) };
    let found = check(&setup);
    assert_eq!(one(&setup, "Unreadable").severity, Severity::Warns);
    assert!(!found.iter().any(|told| told.reason.starts_with("Credentials")), "{found:#?}");
    let setup =
        Setup { ssh_keys: None, unreadable: unreadable("Secret ssh-key-secret"), ..fine(Provider::Azure) };
    assert!(!check(&setup).iter().any(|told| told.reason == "SshKeyMissing"));
    let setup = Setup { unreadable: unreadable("ConfigMap peer-pods-cm"), ..Setup::default() };
    assert!(!check(&setup).iter().any(|told| told.reason == "SettingsMissing"));
}

#[test]
fn peer_pod_config_kata_config_and_gates_are_looked_at() {
    for limit in ["ten", "", "1.5", "-2"] {
        let setup = Setup { peer_pod_config_limit: Some(limit.to_owned()), ..fine(Provider::Aws) };
        assert_eq!(one(&setup, "WrongLimit").severity, Severity::Blocks, "{limit}");
    }
    let names = |secret: &str| Some((secret.to_owned(), "peer-pods-cm".to_owned()));
    let setup = Setup { peer_pod_config_names: names("mine"), ..fine(Provider::Aws) };
    assert_eq!(one(&setup, "OtherObjects").severity, Severity::Warns);
    let setup = Setup { peer_pod_config_names: names("peer-pods-secret"), ..fine(Provider::Aws) };
    assert!(!check(&setup).iter().any(|told| told.reason == "OtherObjects"));
    let setup = Setup { enabled: Some(false), ..fine(Provider::Aws) };
    assert_eq!(one(&setup, "NotEnabled").severity, Severity::Info);
    let setup =
        Setup { gate_complaints: vec!["confidential is \"maybe\"".to_owned()], ..fine(Provider::Aws) };
    assert_eq!(one(&setup, "GateMeaningless").severity, Severity::Warns);
}

/// Every row of the schema and no other: an empty map is missed in its required rows only.
#[test]
fn an_empty_map_is_missed_in_what_is_required() {
    for provider in Provider::ALL {
        let mut setup = fine(provider);
        setup.settings = Some(Data::from([("CLOUD_PROVIDER".to_owned(), provider.name().to_owned())]));
        let missed: Vec<String> = check(&setup)
            .into_iter()
            .filter(|told| told.reason == "SettingMissing")
            .map(|told| told.what.replace(" is not set", ""))
            .collect();
        let required: Vec<&str> = keys::settings(provider)
            .filter(|key| key.need == keys::Need::Required && key.name != "CLOUD_PROVIDER")
            .map(|key| key.name)
            .collect();
        assert_eq!(missed, required, "{provider:?}");
    }
}
