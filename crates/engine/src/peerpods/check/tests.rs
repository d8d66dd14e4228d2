use osc_api::peerpods::Provider;
use osc_api::peerpods::keys::{self, Key, Need, Shape};
use rstest::rstest;

use super::{Complaint, Data, Setup, Severity, check};

const SUBNET: &str =
    "/subscriptions/1/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/worker";

const SERVICE_ACCOUNT: &str = r#"{"type": "service_account", "project_id": "project", "client_email": "a@example.com", "private_key": "hush"}"#;

pub type Pairs<'a> = &'a [(&'a str, &'a str)];

pub fn data(pairs: Pairs) -> Data {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Everything as it should be.
pub fn fine(provider: Provider) -> Setup {
    let name = provider.name();
    let (settings, credentials): (Pairs, Pairs) = match provider {
        Provider::Aws => (
            &[
                ("CLOUD_PROVIDER", name),
                ("AWS_REGION", "eu-west-1"),
                ("AWS_SUBNET_ID", "subnet-1"),
                ("AWS_VPC_ID", "vpc-1"),
                ("AWS_SG_IDS", "sg-1,sg-2"),
                ("BUCKET_NAME", "images"),
            ],
            &[("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "hush")],
        ),
        Provider::Azure => (
            &[
                ("CLOUD_PROVIDER", name),
                ("AZURE_RESOURCE_GROUP", "group"),
                ("AZURE_REGION", "westeurope"),
                ("AZURE_SUBNET_ID", SUBNET),
                (
                    "AZURE_IMAGE_ID",
                    "/subscriptions/1/resourceGroups/g/providers/Microsoft.Compute/galleries/g/images/i/versions/1.0.0",
                ),
            ],
            &[
                ("AZURE_CLIENT_ID", "c"),
                ("AZURE_TENANT_ID", "t"),
                ("AZURE_SUBSCRIPTION_ID", "1"),
                ("AZURE_CLIENT_SECRET", "hush"),
            ],
        ),
        Provider::Gcp => (
            &[
                ("CLOUD_PROVIDER", name),
                ("GCP_PROJECT_ID", "project"),
                ("GCP_ZONE", "europe-west1-b"),
                ("GCP_NETWORK", "default"),
                ("PODVM_IMAGE_NAME", "podvm"),
            ],
            &[("GCP_CREDENTIALS", SERVICE_ACCOUNT)],
        ),
        Provider::Libvirt => (
            &[
                ("CLOUD_PROVIDER", name),
                ("LIBVIRT_POOL", "pool"),
                ("LIBVIRT_VOL_NAME", "volume"),
                ("LIBVIRT_DIR_NAME", "/var/lib/libvirt/images/pool"),
            ],
            &[("CLOUD_PROVIDER", name), ("LIBVIRT_URI", "qemu+ssh://root@192.168.122.1/system")],
        ),
    };
    Setup {
        settings: Some(data(settings)),
        credentials: Some(data(credentials)),
        ssh_keys: Some(vec!["id_rsa".to_owned(), "id_rsa.pub".to_owned()]),
        ..Setup::default()
    }
}

pub fn with(provider: Provider, key: &str, value: &str) -> Setup {
    let mut setup = fine(provider);
    let settings = setup.settings.as_mut().unwrap();
    // By an older spelling instead of by its name.
    let named = keys::settings(provider).find(|known| known.aliases.contains(&key));
    settings.retain(|name, _| named.is_none_or(|known| known.name != name));
    settings.insert(key.to_owned(), value.to_owned());
    setup
}

fn reasons(setup: &Setup, severity: Severity) -> Vec<&'static str> {
    check(setup).into_iter().filter(|found| found.severity == severity).map(|found| found.reason).collect()
}

pub fn one(setup: &Setup, reason: &str) -> Complaint {
    let found = check(setup);
    let mut fitting = found.iter().filter(|complaint| complaint.reason == reason);
    let first = fitting.next().unwrap_or_else(|| panic!("no {reason} in {found:#?}"));
    assert!(fitting.next().is_none(), "{reason} is told twice: {found:#?}");
    first.clone()
}

/// A value that a key of that shape must not have.
fn wrong(shape: Shape) -> &'static str {
    match shape {
        Shape::Text => " blank ",
        Shape::Lines => "   ",
        Shape::Json => "{\"hush\"",
        _ => "not, this",
    }
}

#[test]
fn where_no_image_is_made_one_is_missed() {
    for provider in Provider::ALL {
        let mut setup = fine(provider);
        setup.settings.as_mut().unwrap().remove(provider.image_key());
        let missed: &[&str] = if provider.makes_images() { &[] } else { &["ImageMissing"] };
        assert_eq!(reasons(&setup, Severity::Blocks), missed, "{provider:?}: {:#?}", check(&setup));
    }
    let mut setup = fine(Provider::Azure);
    setup.settings.as_mut().unwrap().insert("AZURE_IMAGE_ID".to_owned(), "<azure_image_id>".to_owned());
    let told = one(&setup, "Placeholder");
    assert_eq!(told.remedy, "Set AZURE_IMAGE_ID to an image of your own: none is made.");
}

#[test]
fn every_provider_can_be_set_up_without_a_complaint() {
    for provider in Provider::ALL {
        let setup = fine(provider);
        assert_eq!(reasons(&setup, Severity::Blocks), [""; 0], "{provider:?}: {:#?}", check(&setup));
        assert_eq!(reasons(&setup, Severity::Warns), [""; 0], "{provider:?}: {:#?}", check(&setup));
    }
}

/// Every row of every table of settings: a wrong value is refused by the name of its key, and names what was found.
#[test]
fn every_setting_refuses_a_value_of_the_wrong_shape() {
    let mut rows = 0;
    for provider in Provider::ALL {
        for key in keys::settings(provider).filter(|key| key.name != "CLOUD_PROVIDER") {
            for name in std::iter::once(&key.name).chain(key.aliases) {
                let found = check(&with(provider, name, wrong(key.shape)));
                let told =
                    found.iter().find(|told| told.reason == "WrongValue" && told.what.starts_with(name));
                let told = told.unwrap_or_else(|| panic!("{provider:?} {name}: {found:#?}"));
                assert_eq!(told.severity, Severity::Blocks);
                assert!(told.what.contains(wrong(key.shape)), "{}", told.what);
                rows += 1;
            }
        }
    }
    assert!(rows > 100, "{rows} rows");
}

#[test]
fn every_setting_refuses_a_placeholder() {
    for provider in Provider::ALL {
        for key in keys::settings(provider).filter(|key| key.name != "CLOUD_PROVIDER") {
            let told = one(&with(provider, key.name, "<podvm_ami_id>"), "Placeholder");
            assert!(told.what.starts_with(key.name) && told.severity == Severity::Blocks, "{told:?}");
        }
    }
}

#[test]
fn every_required_setting_is_missed_by_its_name() {
    for provider in Provider::ALL {
        let needed = |key: &&Key| key.need == Need::Required && key.name != "CLOUD_PROVIDER";
        for key in keys::settings(provider).filter(needed) {
            for nothing in [None, Some(String::new())] {
                let mut setup = fine(provider);
                let settings = setup.settings.as_mut().unwrap();
                settings.remove(key.name);
                settings.extend(nothing.map(|nothing| (key.name.to_owned(), nothing)));
                assert_eq!(one(&setup, "SettingMissing").what, format!("{} is not set", key.name));
            }
        }
    }
}

#[test]
fn every_row_of_an_image_map_refuses_a_value_of_the_wrong_shape() {
    for provider in Provider::ALL {
        for key in keys::image(provider) {
            let mut setup = fine(provider);
            let map = data(&[(key.name, wrong(key.shape))]);
            setup.image_map = Some((provider.image_maps()[0].to_owned(), map));
            let told = one(&setup, "WrongValue");
            assert!(told.what.starts_with(key.name), "{told:?}");
            assert!(told.object.ends_with(provider.image_maps()[0]), "{told:?}");
        }
    }
}

#[test]
fn no_credential_is_ever_told() {
    for provider in Provider::ALL {
        for key in keys::credentials(provider) {
            let mut setup = fine(provider);
            let secret = if key.shape == Shape::Text { " hush-hush " } else { "hush-hush, not this" };
            let credentials = setup.credentials.as_mut().unwrap();
            let value = if key.shape == Shape::Lines { "  " } else { secret };
            credentials.insert(key.name.to_owned(), value.to_owned());
            credentials.insert("NOBODY_KNOWS".to_owned(), secret.to_owned());
            let found = check(&setup);
            let wrong =
                found.iter().any(|told| told.reason == "WrongValue" && told.what.starts_with(key.name));
            assert!(wrong, "{} : {found:#?}", key.name);
            assert!(!format!("{found:?}").contains("hush-hush"), "{found:#?}");
        }
    }
}

#[test]
fn every_way_to_log_in_is_complete_or_refused() {
    for provider in Provider::ALL {
        for way in keys::logins(provider) {
            for lacking in *way {
                let mut setup = fine(provider);
                let rest = way.iter().filter(|key| key != &lacking).map(|key| (*key, "/x"));
                setup.credentials = Some(data(&rest.collect::<Vec<_>>()));
                let told = one(&setup, "CredentialsIncomplete");
                assert!(told.remedy.contains(lacking), "{provider:?} without {lacking}: {told:?}");
            }
        }
    }
}

#[rstest]
#[case::near("VXLAN_PROT", "If VXLAN_PORT was meant")]
#[case::near_in_the_provider("AWS_SG_ID", "If AWS_SG_IDS was meant")]
#[case::far("FAVOURITE_COLOUR", "Remove it")]
fn unknown_keys_are_told_with_the_nearest(#[case] key: &str, #[case] remedy: &str) {
    let told = one(&with(Provider::Aws, key, "1"), "UnknownKey");
    assert!(told.what.starts_with(key) && told.remedy.starts_with(remedy), "{told:?}");
}

#[rstest]
#[case::other_provider(Provider::Aws, "AZURE_REGION", "westeurope", "OtherProvider", Severity::Warns)]
#[case::size_not_allowed(
    Provider::Aws,
    "PODVM_INSTANCE_TYPES",
    "t2.small,t2.medium,t3.large",
    "SizeNotAllowed",
    Severity::Warns
)]
#[case::size_twice(
    Provider::Azure,
    "AZURE_INSTANCE_SIZES",
    "Standard_B2als_v2,a,a",
    "SizeTwice",
    Severity::Warns
)]
#[case::gate(Provider::Aws, "DISABLECVM", "false", "GateDecides", Severity::Warns)]
#[case::tunnel_port(Provider::Gcp, "VXLAN_PORT", "4789", "TunnelPortTaken", Severity::Warns)]
#[case::udp(Provider::Aws, "VXLAN_PORT", "9001", "Ports", Severity::Info)]
#[case::no_capacity(Provider::Aws, "PEERPODS_LIMIT_PER_NODE", "0", "NoCapacity", Severity::Warns)]
#[case::not_advertised(Provider::Aws, "PEERPODS_LIMIT_PER_NODE", "-1", "NoCapacity", Severity::Warns)]
#[case::own_image(Provider::Aws, "PODVM_AMI_ID", "ami-1", "ImageOfYourOwn", Severity::Info)]
#[case::older_spelling(Provider::Gcp, "GCP_IMAGE_NAME", "image", "OlderSpelling", Severity::Info)]
#[case::disk(Provider::Libvirt, "ROOT_VOLUME_SIZE", "6", "NoEffect", Severity::Info)]
#[case::directory(
    Provider::Libvirt,
    "LIBVIRT_DIR_NAME",
    "/var/lib/libvirt/images/",
    "DirectoryShared",
    Severity::Warns
)]
#[case::tags_of_google(Provider::Gcp, "TAGS", "a=b", "TagsExist", Severity::Info)]
#[case::secret_in_the_map(
    Provider::Aws,
    "AWS_SECRET_ACCESS_KEY",
    "hush",
    "CredentialInConfigMap",
    Severity::Warns
)]
fn suspicious_settings_are_told(
    #[case] provider: Provider,
    #[case] key: &str,
    #[case] value: &str,
    #[case] reason: &str,
    #[case] severity: Severity,
) {
    let told = one(&with(provider, key, value), reason);
    assert_eq!(told.severity, severity, "{told:?}");
    assert!(!told.why.is_empty() && !told.remedy.is_empty(), "{told:?}");
}

#[test]
fn without_settings_or_provider_only_that_is_told() {
    assert_eq!(reasons(&Setup::default(), Severity::Blocks), ["SettingsMissing"]);
    let named = |name| Setup { settings: Some(data(&[("CLOUD_PROVIDER", name)])), ..Setup::default() };
    assert_eq!(one(&named(""), "ProviderMissing").severity, Severity::Blocks);
    let told = one(&named("AWS"), "ProviderUnknown");
    assert_eq!(told.what, "CLOUD_PROVIDER is \"AWS\"; expected one of aws, azure, gcp, libvirt");
}

#[test]
fn credentials_are_asked_for_on_the_clusters_own_cloud_and_missed_elsewhere() {
    let mut setup = Setup { credentials: None, platform: Some("AWS".to_owned()), ..fine(Provider::Aws) };
    assert_eq!(one(&setup, "CredentialsRequested").severity, Severity::Info);
    setup.platform = Some("VSphere".to_owned());
    assert_eq!(one(&setup, "CredentialsMissing").severity, Severity::Blocks);
    assert_eq!(one(&setup, "OtherPlatform").severity, Severity::Warns);
    setup.platform = Some("None".to_owned());
    let told = one(&setup, "OtherPlatform");
    assert_eq!((told.severity, told.what.contains("None")), (Severity::Info, false), "{told:?}");
    let setup = Setup { credentials: None, platform: Some("GCP".to_owned()), ..fine(Provider::Gcp) };
    assert_eq!(one(&setup, "CredentialsMissing").severity, Severity::Blocks);
}

#[test]
fn two_ways_to_log_in_are_told() {
    let mut setup = fine(Provider::Aws);
    let role = data(&[("AWS_ROLE_ARN", "arn"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")]);
    setup.credentials.as_mut().unwrap().extend(role);
    assert_eq!(one(&setup, "CredentialsTwice").severity, Severity::Warns);
}

#[test]
fn an_image_that_the_job_made_is_nobodys_own() {
    let made = Setup { image_made: Some("ami-1".to_owned()), ..with(Provider::Aws, "PODVM_AMI_ID", "ami-1") };
    assert!(!check(&made).iter().any(|told| told.reason == "ImageOfYourOwn"));
}

#[rstest]
#[case("qemu:///system", "HostIsLocal", Severity::Blocks)]
#[case("qemu+ssh://root@localhost/system", "HostIsLocal", Severity::Blocks)]
#[case("qemu+ssh://root@192.168.122.1/system?no_verify=1", "HostNotVerified", Severity::Warns)]
fn connections_to_the_wrong_host_are_told(
    #[case] uri: &str,
    #[case] reason: &str,
    #[case] severity: Severity,
) {
    let mut setup = fine(Provider::Libvirt);
    setup.credentials.as_mut().unwrap().insert("LIBVIRT_URI".to_owned(), uri.to_owned());
    assert_eq!(one(&setup, reason).severity, severity);
}

#[rstest]
#[case(Provider::Azure, &["id_rsa"])]
#[case(Provider::Libvirt, &["id_rsa.pub"])]
fn ssh_keys_are_missed(#[case] provider: Provider, #[case] keys: &[&str]) {
    let mut setup = fine(provider);
    setup.ssh_keys = Some(keys.iter().map(|key| (*key).to_owned()).collect());
    assert_eq!(one(&setup, "SshKeyMissing").severity, Severity::Blocks);
    setup.ssh_keys = None;
    assert_eq!(one(&setup, "SshKeyMissing").what, "Secret ssh-key-secret does not exist");
}

#[rstest]
#[case::bootc_on_libvirt(Provider::Libvirt, &[("PODVM_IMAGE_URI", "bootc::quay.io/o/i")], "ImageKind", Severity::Blocks)]
#[case::bare(Provider::Gcp, &[("PODVM_IMAGE_URI", "quay.io/o/i:latest")], "ImageKind", Severity::Info)]
#[case::secure_execution(Provider::Libvirt, &[("PODVM_IMAGE_URI", "oci::quay.io/o/i"), ("SE_BOOT", "true")], "SecureExecution", Severity::Warns)]
#[case::unknown(Provider::Aws, &[("AMI_NAME", "x")], "UnknownKey", Severity::Warns)]
fn image_maps_are_checked(
    #[case] provider: Provider,
    #[case] map: &[(&str, &str)],
    #[case] reason: &str,
    #[case] severity: Severity,
) {
    let mut setup = fine(provider);
    setup.image_map = Some((provider.image_maps()[0].to_owned(), data(map)));
    assert_eq!(one(&setup, reason).severity, severity);
}

#[test]
fn the_documented_name_of_googles_image_map_is_understood() {
    let mut setup = fine(Provider::Gcp);
    setup.image_map = Some(("podvm-image-cm".to_owned(), Data::new()));
    assert_eq!(one(&setup, "OlderName").severity, Severity::Info);
}

#[test]
fn a_setting_in_both_spellings_or_both_objects_is_told() {
    let mut setup = with(Provider::Gcp, "GCP_IMAGE_NAME", "old");
    setup.settings.as_mut().unwrap().insert("PODVM_IMAGE_NAME".to_owned(), "new".to_owned());
    assert_eq!(one(&setup, "SettingTwice").severity, Severity::Warns);
    let mut setup = fine(Provider::Libvirt);
    setup.credentials.as_mut().unwrap().insert("LIBVIRT_POOL".to_owned(), "other".to_owned());
    assert_eq!(one(&setup, "SettingTwice").severity, Severity::Warns);
    setup.settings.as_mut().unwrap().remove("LIBVIRT_POOL");
    assert_eq!(one(&setup, "OlderPlace").severity, Severity::Info);
}

#[test]
fn the_same_limit_in_two_objects_is_told() {
    let mut setup = with(Provider::Aws, "PEERPODS_LIMIT_PER_NODE", "10");
    setup.peer_pod_config_limit = Some("20".to_owned());
    assert_eq!(one(&setup, "TwoLimits").severity, Severity::Info);
}

#[test]
fn another_region_than_the_clusters_is_told() {
    let mut setup = fine(Provider::Aws);
    (setup.platform, setup.region) = (Some("AWS".to_owned()), Some("us-east-1".to_owned()));
    assert_eq!(one(&setup, "OtherRegion").severity, Severity::Warns);
}

#[test]
fn a_bucket_is_missed_with_keys_of_ones_own() {
    let mut setup = fine(Provider::Aws);
    setup.settings.as_mut().unwrap().remove("BUCKET_NAME");
    assert_eq!(one(&setup, "BucketMissing").severity, Severity::Warns);
    setup.settings.as_mut().unwrap().insert("PODVM_AMI_ID".to_owned(), "ami-1".to_owned());
    assert!(!check(&setup).iter().any(|told| told.reason == "BucketMissing"));
}
