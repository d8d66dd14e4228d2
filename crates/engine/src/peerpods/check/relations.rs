//! What does not go together: one setting with another, with the cluster, with what the documentation's commands do.

use osc_api::peerpods::Provider;

use super::{Complaint, Data, SETTINGS, Setup, Severity, runs_on, value};
use crate::peerpods::config;

type Check = fn(&View<'_>) -> Option<Complaint>;

const CHECKS: [Check; 13] = [
    default_size,
    size_twice,
    confidential,
    tunnel_port,
    tunnel_protocol,
    limit,
    two_limits,
    platform,
    region,
    bucket,
    disk,
    directory,
    tags,
];

/// The settings that hold, and the rest.
pub(super) struct View<'a> {
    pub provider: Provider,
    pub data: &'a Data,
    pub setup: &'a Setup,
    effective: Vec<config::Setting>,
}

impl<'a> View<'a> {
    pub fn new(provider: Provider, data: &'a Data, setup: &'a Setup) -> Self {
        let effective = config::effective(provider, data, setup.credentials.as_ref());
        Self { provider, data, setup, effective }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.effective.iter().find(|setting| setting.name == key).map(|setting| setting.value.as_str())
    }

    /// For people: a value that comes out of the secret is not told.
    pub fn shown(&self, key: &str) -> String {
        match self.effective.iter().find(|setting| setting.name == key) {
            Some(setting) if setting.origin == config::Origin::Credentials => "(in the secret)".to_owned(),
            Some(setting) => format!("{:?}", setting.value),
            None => "not set".to_owned(),
        }
    }
}

/// Each check once.
pub fn check(provider: Provider, data: &Data, setup: &Setup) -> Vec<Complaint> {
    let view = View::new(provider, data, setup);
    CHECKS.iter().filter_map(|check| check(&view)).collect()
}

pub fn warns(reason: &'static str, what: String) -> Complaint {
    Complaint::new(Severity::Warns, reason, SETTINGS, what)
}

fn default_size(view: &View<'_>) -> Option<Complaint> {
    let (one, many) = view.provider.size_keys()?;
    let (size, allowed) = (view.get(one)?, value(view.data, many)?);
    let shown = view.shown(one);
    (!allowed.split(',').any(|name| name.trim() == size)).then(|| {
        warns("SizeNotAllowed", format!("{one} is {shown}, and {many} ({allowed}) does not have it"))
            .why("Pods that ask for no size get it; those that ask for it by annotation are refused.")
            .remedy(format!("Add it to {many}, or choose one of these as {one}."))
    })
}

fn size_twice(view: &View<'_>) -> Option<Complaint> {
    let (_, many) = view.provider.size_keys()?;
    let names: Vec<&str> = value(view.data, many)?.split(',').collect();
    let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name))?.1;
    Some(
        warns("SizeTwice", format!("{many} has {twice:?} twice"))
            .why("Perhaps another one was meant.")
            .remedy(format!("Correct {many}.")),
    )
}

/// The gate decides; what was written is overwritten.
fn confidential(view: &View<'_>) -> Option<Complaint> {
    let asked = value(view.data, "DISABLECVM")?;
    let gate = if view.setup.confidential { "false" } else { "true" };
    (["true", "false"].contains(&asked) && asked != gate).then(|| {
        let state = if view.setup.confidential { "on" } else { "off" };
        warns(
            "GateDecides",
            format!("DISABLECVM is {asked:?}, and the feature gate `confidential` is {state}"),
        )
        .why(format!("The gate decides: DISABLECVM becomes {gate:?}."))
        .remedy("Change `confidential` in ConfigMap osc-feature-gates, or DISABLECVM.")
    })
}

fn tunnel_port(view: &View<'_>) -> Option<Complaint> {
    (view.get("VXLAN_PORT") == Some("4789")).then(|| {
        warns("TunnelPortTaken", "VXLAN_PORT is \"4789\"".to_owned())
            .why("The cluster's own network uses that port on many clusters; tunnels of pod VMs would get lost in it.")
            .remedy("Set VXLAN_PORT to \"9000\", as the documentation does.")
    })
}

/// The documented commands open TCP, and the tunnel is UDP.
fn tunnel_protocol(view: &View<'_>) -> Option<Complaint> {
    let (tunnel, agent) = (view.shown("VXLAN_PORT"), view.shown("FORWARDER_PORT"));
    let (tunnel, agent) = (tunnel.trim_matches('"'), agent.trim_matches('"'));
    let command = match view.provider {
        Provider::Aws => format!(
            "aws ec2 authorize-security-group-ingress --group-id $AWS_SG_ID --protocol udp --port {tunnel} --source-group $AWS_SG_ID"
        ),
        Provider::Gcp => {
            format!(
                "gcloud compute firewall-rules create allow-peer-pods --network=... --allow=tcp:{agent},udp:{tunnel} --source-ranges=..."
            )
        }
        Provider::Azure => format!("allow udp/{tunnel} and tcp/{agent} in the network security group"),
        Provider::Libvirt => return None,
    };
    let what = format!("the tunnel needs UDP port {tunnel}, the agent TCP port {agent}");
    Some(
        Complaint::new(Severity::Info, "Ports", SETTINGS, what)
            .why("Commands of the documentation open both for TCP, or only the agent's; pods without the tunnel have no network.")
            .remedy(format!("Open UDP, too: {command}")),
    )
}

fn limit(view: &View<'_>) -> Option<Complaint> {
    let limit: i64 = view.get("PEERPODS_LIMIT_PER_NODE")?.parse().ok()?;
    (limit <= 0).then(|| {
        let what = format!("PEERPODS_LIMIT_PER_NODE is {}", view.shown("PEERPODS_LIMIT_PER_NODE"));
        warns("NoCapacity", what)
            .why("No node advertises kata.peerpods.io/vm then, which the webhook makes every peer pod ask for: none is scheduled.")
            .remedy("Set it to how many pod VMs a node may have, for instance \"10\".")
    })
}

/// The same limit in two objects.
fn two_limits(view: &View<'_>) -> Option<Complaint> {
    let (here, there) =
        (value(view.data, "PEERPODS_LIMIT_PER_NODE")?, view.setup.peer_pod_config_limit.as_deref()?);
    (here != there).then(|| {
        let what = format!(
            "PEERPODS_LIMIT_PER_NODE is {here:?}, and spec.limit of PeerPodConfig peerpodconfig-openshift is {there:?}"
        );
        Complaint::new(Severity::Info, "TwoLimits", SETTINGS, what)
            .why("They are the same setting; the one that was changed last counts, and the other follows.")
            .remedy("Nothing, if the operator runs: it makes them agree.")
    })
}

fn platform(view: &View<'_>) -> Option<Complaint> {
    let platform = view.setup.platform.as_deref()?;
    (!runs_on(view.provider, platform)).then(|| {
        let asked = format!("CLOUD_PROVIDER is {:?}, and the cluster", view.provider.name());
        // Plain Kubernetes, or hosts of one's own.
        let told = if platform == "None" {
            let what = format!("{asked} does not say what it runs on");
            Complaint::new(Severity::Info, "OtherPlatform", SETTINGS, what)
        } else {
            warns("OtherPlatform", format!("{asked} runs on {platform}"))
        };
        told.why("Pod VMs elsewhere have to be reachable from the nodes, and the cluster cannot ask for credentials there.")
            .remedy("Nothing, if that is meant; else correct CLOUD_PROVIDER.")
    })
}

fn region(view: &View<'_>) -> Option<Complaint> {
    let cluster = view.setup.region.as_deref()?;
    let key = match view.provider {
        Provider::Aws => "AWS_REGION",
        Provider::Azure => "AZURE_REGION",
        Provider::Gcp | Provider::Libvirt => return None,
    };
    let asked = value(view.data, key)?;
    (asked != cluster && runs_on(view.provider, view.setup.platform.as_deref()?)).then(|| {
        warns("OtherRegion", format!("{key} is {asked:?}, and the cluster is in {cluster}"))
            .why("Nodes reach their pod VMs in the same network.")
            .remedy(format!("Set {key} to {cluster:?}, unless the networks are connected."))
    })
}

/// With credentials that people made, the image job may lack the rights for a bucket of its own.
fn bucket(view: &View<'_>) -> Option<Complaint> {
    let credentials = view.setup.credentials.as_ref()?;
    let own = value(credentials, "AWS_ACCESS_KEY_ID").is_some();
    let needs_image = view.get("PODVM_AMI_ID").is_none();
    let in_map = view.setup.image_map.as_ref().is_some_and(|(_, data)| value(data, "BUCKET_NAME").is_some());
    (view.provider == Provider::Aws && own && needs_image && !in_map && view.get("BUCKET_NAME").is_none()).then(|| {
        warns("BucketMissing", "BUCKET_NAME is not set, and peer-pods-secret has keys of your own".to_owned())
            .why("The image job then makes a bucket and deletes it, if the keys allow it; AWS imports from it by the role vmimport, which has to exist.")
            .remedy("Allow the keys s3:CreateBucket and what the guide names besides, or set BUCKET_NAME to a bucket that exists; or set PODVM_AMI_ID to an image of your own.")
    })
}

fn disk(view: &View<'_>) -> Option<Complaint> {
    let asked = value(view.data, "ROOT_VOLUME_SIZE").filter(|_| view.provider == Provider::Libvirt)?;
    Some(
        Complaint::new(
            Severity::Info,
            "NoEffect",
            SETTINGS,
            format!("ROOT_VOLUME_SIZE is {asked:?}, which libvirt ignores"),
        )
        .why("The disk of a pod VM has the size that LIBVIRT_ROOT_DISK_SIZE says, in GiB.")
        .remedy("Set LIBVIRT_ROOT_DISK_SIZE if 10 GiB are not right."),
    )
}

fn directory(view: &View<'_>) -> Option<Complaint> {
    let directory = view.get("LIBVIRT_DIR_NAME")?.trim_end_matches('/');
    (directory == "/var/lib/libvirt/images").then(|| {
        warns(
            "DirectoryShared",
            "LIBVIRT_DIR_NAME is /var/lib/libvirt/images, the directory of all images".to_owned(),
        )
        .why("The documentation asks for a directory below it, whose access rights are right for libvirt.")
        .remedy("Set it to /var/lib/libvirt/images/<name>.")
    })
}

/// Labels of Google Cloud are not made on the way.
fn tags(view: &View<'_>) -> Option<Complaint> {
    let asked = value(view.data, "TAGS")?;
    match view.provider {
        Provider::Gcp => {
            let what = format!("TAGS is {asked:?}");
            let told = Complaint::new(Severity::Info, "TagsExist", SETTINGS, what);
            Some(
                told.why("On Google Cloud these have to exist in the project.")
                    .remedy("Create them before the first peer pod."),
            )
        }
        Provider::Libvirt => {
            let what = format!("TAGS is {asked:?}, which libvirt ignores");
            let told = Complaint::new(Severity::Info, "NoEffect", SETTINGS, what);
            Some(told.why("Virtual machines of libvirt have no tags.").remedy("Remove it."))
        }
        Provider::Aws | Provider::Azure => None,
    }
}
