//! More that does not go together: places, networks, protection.

use osc_api::peerpods::Provider;

use super::relations::{View, warns};
use super::{Complaint, Data, SETTINGS, Setup, Severity, runs_on, value};

const CHECKS: [fn(&View<'_>) -> Option<Complaint>; 13] = [
    zone_for_region,
    region_for_zone,
    zone,
    home,
    subscription,
    project,
    public_address,
    certificate,
    unverified,
    timeout,
    confidential,
    without_effect,
    outbound,
];

/// Each check once.
pub fn check(provider: Provider, data: &Data, setup: &Setup) -> Vec<Complaint> {
    let view = View::new(provider, data, setup);
    CHECKS.iter().filter_map(|check| check(&view)).collect()
}

fn info(reason: &'static str, what: String) -> Complaint {
    Complaint::new(Severity::Info, reason, SETTINGS, what)
}

/// `eu-west-1a` is a zone.
fn zone_for_region(view: &View<'_>) -> Option<Complaint> {
    let region = value(view.data, "AWS_REGION").filter(|_| view.provider == Provider::Aws)?;
    let cut = region.strip_suffix(|c: char| c.is_ascii_lowercase())?;
    cut.ends_with(|c: char| c.is_ascii_digit()).then(|| {
        let what = format!("AWS_REGION is {region:?}, which looks like an availability zone");
        Complaint::new(Severity::Blocks, "ZoneForRegion", SETTINGS, what)
            .why("There is no such region, and nothing can be created in it.")
            .remedy(format!("Set AWS_REGION to {cut:?}."))
    })
}

/// `europe-west1` is a region.
fn region_for_zone(view: &View<'_>) -> Option<Complaint> {
    let zone = value(view.data, "GCP_ZONE").filter(|_| view.provider == Provider::Gcp)?;
    let is_zone =
        zone.rsplit_once('-').is_some_and(|(region, letter)| letter.len() == 1 && region.contains('-'));
    (!is_zone && super::placeholder(zone).is_none()).then(|| {
        let what = format!("GCP_ZONE is {zone:?}, which looks like a region");
        Complaint::new(Severity::Blocks, "RegionForZone", SETTINGS, what)
            .why("Virtual machines are created in a zone.")
            .remedy(format!("Choose one: gcloud compute zones list --filter=region:{zone}"))
    })
}

/// The zone is to be in the region of the cluster.
fn zone(view: &View<'_>) -> Option<Complaint> {
    let zone = value(view.data, "GCP_ZONE").filter(|_| view.provider == Provider::Gcp)?;
    let region = view.setup.region.as_deref()?;
    let home = runs_on(view.provider, view.setup.platform.as_deref()?);
    (home && !zone.starts_with(region)).then(|| {
        warns("OtherRegion", format!("GCP_ZONE is {zone:?}, and the cluster is in {region}"))
            .why("Nodes reach their pod VMs in the same network.")
            .remedy(format!("Choose a zone of {region}, unless that is meant."))
    })
}

/// Resource group or project of the cluster.
fn home(view: &View<'_>) -> Option<Complaint> {
    let key = match view.provider {
        Provider::Azure => "AZURE_RESOURCE_GROUP",
        Provider::Gcp => "GCP_PROJECT_ID",
        Provider::Aws | Provider::Libvirt => return None,
    };
    let (asked, home) = (value(view.data, key)?, view.setup.home.as_deref()?);
    let same = asked.eq_ignore_ascii_case(home) || super::placeholder(asked).is_some();
    (!same && runs_on(view.provider, view.setup.platform.as_deref()?)).then(|| {
        let what = format!("{key} is {asked:?}, and the cluster is in {home:?}");
        info("OtherHome", what)
            .why("Pod VMs and image are created there, with the rights that the credentials have there.")
            .remedy(format!("Nothing, if that is meant; else set {key} to {home:?}."))
    })
}

/// The subscription is in both: in the subnet's identifier and in the secret, which is not told.
fn subscription(view: &View<'_>) -> Option<Complaint> {
    let own = value(view.setup.credentials.as_ref()?, "AZURE_SUBSCRIPTION_ID")?;
    let subnet = value(view.data, "AZURE_SUBNET_ID").filter(|_| view.provider == Provider::Azure)?;
    let named = subnet.strip_prefix("/subscriptions/")?.split('/').next()?;
    (!named.eq_ignore_ascii_case(own) && super::placeholder(subnet).is_none() && super::placeholder(own).is_none())
        .then(|| {
            warns(
                "OtherSubscription",
                format!("AZURE_SUBNET_ID is in subscription {named}, and AZURE_SUBSCRIPTION_ID names another one"),
            )
            .why("Pod VMs are created in the subscription of the secret, and a subnet of another one cannot be used.")
            .remedy("Correct one of the two.")
        })
}

/// The same with the project of a service account, which may have rights elsewhere.
fn project(view: &View<'_>) -> Option<Complaint> {
    let key = value(view.setup.credentials.as_ref()?, "GCP_CREDENTIALS")?;
    let key: serde_json::Value = serde_json::from_str(key).ok()?;
    let asked = value(view.data, "GCP_PROJECT_ID").filter(|_| view.provider == Provider::Gcp)?;
    (key["project_id"].as_str()? != asked).then(|| {
        info(
            "OtherProject",
            "GCP_CREDENTIALS is of a service account of another project than GCP_PROJECT_ID".to_owned(),
        )
        .why("It needs rights in the project where pod VMs are created.")
        .remedy("Nothing, if it has them.")
    })
}

fn public_address(view: &View<'_>) -> Option<Complaint> {
    (value(view.data, "USE_PUBLIC_IP") == Some("true")).then(|| {
        warns("PublicAddress", "USE_PUBLIC_IP is \"true\"".to_owned())
            .why("Agent and tunnel of every pod VM are reached over the public network then; the tunnel is not encrypted.")
            .remedy("Set it to \"false\", unless nodes and pod VMs share no network.")
    })
}

/// A certificate and its key, or neither.
fn certificate(view: &View<'_>) -> Option<Complaint> {
    let has = |key: &str| view.get(key).is_some();
    (has("CERT_FILE") != has("CERT_KEY")).then(|| {
        let (there, lacking) =
            if has("CERT_FILE") { ("CERT_FILE", "CERT_KEY") } else { ("CERT_KEY", "CERT_FILE") };
        let what = format!("{there} is set, and {lacking} is not");
        Complaint::new(Severity::Blocks, "CertificateIncomplete", SETTINGS, what)
            .why("A certificate is of no use without its key; the adaptor does not start.")
            .remedy(format!("Set {lacking}, or remove {there}: the adaptor makes certificates of its own."))
    })
}

fn unverified(view: &View<'_>) -> Option<Complaint> {
    (value(view.data, "TLS_SKIP_VERIFY") == Some("true")).then(|| {
        warns("AgentNotVerified", "TLS_SKIP_VERIFY is \"true\"".to_owned())
            .why("Whoever answers in the place of a pod VM is believed.")
            .remedy("Set it to \"false\"; name the authority by CACERT_FILE.")
    })
}

/// Virtual machines of clouds take a minute and more.
fn timeout(view: &View<'_>) -> Option<Complaint> {
    let asked = value(view.data, "PROXY_TIMEOUT")?;
    let seconds = crate::peerpods::shape::seconds(asked)?;
    (seconds < 60.0).then(|| {
        warns("TimeoutShort", format!("PROXY_TIMEOUT is {asked:?}, less than a minute"))
            .why("A pod VM has to boot in that time, or its pod fails and the machine is deleted again.")
            .remedy("Set it to \"5m\", as the documentation does.")
    })
}

/// Sizes of Azure that have confidential hardware: DC, EC and NCC series.
fn is_confidential_size(size: &str) -> bool {
    let size = size.to_ascii_lowercase();
    let size = size.strip_prefix("standard_").unwrap_or(&size);
    ["dc", "ec", "ncc"].iter().any(|series| size.starts_with(series))
}

fn confidential(view: &View<'_>) -> Option<Complaint> {
    if !view.setup.confidential {
        return None;
    }
    match view.provider {
        Provider::Aws | Provider::Gcp => {
            let what = format!(
                "the feature gate `confidential` is on, and CLOUD_PROVIDER is {:?}",
                view.provider.name()
            );
            Some(
                warns("ConfidentialUnsupported", what)
                    .why("The documentation has confidential pod VMs on Azure and IBM Z only.")
                    .remedy("Switch the gate off, if pod VMs are to be ordinary ones."),
            )
        }
        Provider::Azure => {
            let size = view.get("AZURE_INSTANCE_SIZE")?;
            (!is_confidential_size(size)).then(|| {
                let what = format!(
                    "AZURE_INSTANCE_SIZE is {}, which has no confidential hardware, and the feature gate `confidential` is on",
                    view.shown("AZURE_INSTANCE_SIZE")
                );
                warns("SizeNotConfidential", what)
                    .why("Azure refuses a confidential machine of that size, so that pods that ask for no size do not start.")
                    .remedy("Choose one of the DC or EC series, for instance Standard_DC2as_v5.")
            })
        }
        Provider::Libvirt => None,
    }
}

/// Keys that need another one to mean something.
fn without_effect(view: &View<'_>) -> Option<Complaint> {
    let ordinary = !view.setup.confidential;
    let (key, needs) = match view.provider {
        Provider::Aws if view.get("USE_PODVM_LAUNCHTEMPLATE") != Some("true") => {
            ("PODVM_LAUNCHTEMPLATE_NAME", "USE_PODVM_LAUNCHTEMPLATE to be \"true\"")
        }
        Provider::Gcp if ordinary => ("GCP_CONFIDENTIAL_TYPE", "the feature gate `confidential`"),
        Provider::Libvirt if ordinary => ("LIBVIRT_LAUNCH_SECURITY", "the feature gate `confidential`"),
        _ => return None,
    };
    let found = value(view.data, key)?;
    let what = format!("{key} is {found:?} and has no effect");
    Some(
        info("NoEffect", what)
            .why(format!("It needs {needs}."))
            .remedy(format!("Set that, or remove {key}.")),
    )
}

/// Nothing but the cloud can say whether it is there, and pods without it cannot pull their images.
fn outbound(view: &View<'_>) -> Option<Complaint> {
    let subnet = value(view.data, "AZURE_SUBNET_ID").filter(|_| view.provider == Provider::Azure)?;
    let what = "pod VMs on Azure reach other networks by a NAT gateway of their subnet only".to_owned();
    Some(info("Outbound", what).why("Pod VMs pull the images of their containers themselves.").remedy(
        format!(
            "See whether it is there: az network vnet subnet show --ids {subnet} --query natGateway.id -o tsv"
        ),
    ))
}
