//! What is written, for what is known.

use futures::future::BoxFuture;
use osc_api::peerpods::keys::Need;
use osc_engine::peerpods::config::Data;
use rstest::rstest;

use super::*;
use crate::peerpods::read::Platform;

fn machine(id: &str) -> Machine {
    Machine::parse(id).unwrap()
}

fn on(platform: &str, home: Option<&str>, region: Option<&str>, id: &str) -> Known {
    Known {
        address: Some("https://api.example.com:6443/".to_owned()),
        platform: Platform {
            name: Some(platform.to_owned()),
            region: region.map(str::to_owned),
            home: home.map(str::to_owned),
        },
        machines: Machine::parse(id).into_iter().collect(),
        ..Known::default()
    }
}

fn aws() -> Known {
    on("AWS", None, Some("eu-west-1"), "aws:///eu-west-1a/i-0abc")
}

fn with_settings(mut known: Known, pairs: &[(&str, &str)]) -> Known {
    let data: Data = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    known.maps.insert(SETTINGS.to_owned(), ("7".to_owned(), data));
    known
}

fn entries(provider: Provider, known: &Known, set: &[&str]) -> Vec<Entry> {
    let texts: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    values::entries(provider, known, None, &asked::read(provider, &texts).unwrap())
}

fn entry<'a>(entries: &'a [Entry], name: &str) -> &'a Entry {
    entries.iter().find(|entry| entry.key.name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// A cloud that says always the same.
struct Scripted(Result<Vec<Network>, String>);

#[allow(clippy::unnecessary_wraps, reason = "as `lookup::of` answers")]
fn scripted(answer: Result<Vec<Network>, &str>) -> Result<Option<Box<dyn CloudLookup>>, String> {
    Ok(Some(Box::new(Scripted(answer.map_err(str::to_owned)))))
}

impl CloudLookup for Scripted {
    fn networks_of<'a>(&'a self, _: &'a [Machine]) -> BoxFuture<'a, Result<Vec<Network>, String>> {
        let answer = self.0.clone();
        Box::pin(async move { answer })
    }
}

#[tokio::test]
async fn what_the_cloud_says_is_filled_in() {
    let network = Network {
        name: Some("vpc-1".to_owned()),
        subnet: Some("subnet-1".to_owned()),
        security_groups: vec!["sg-1".to_owned(), "sg-2".to_owned()],
        region: None,
    };
    let (found, words) = ask_cloud(scripted(Ok(vec![network])), &aws().machines, &[]).await;
    assert_eq!(words, "The cloud was asked for the network of a worker.");
    let entries = values::entries(Provider::Aws, &aws(), found.as_ref(), &[]);
    for (key, value) in [("AWS_VPC_ID", "vpc-1"), ("AWS_SUBNET_ID", "subnet-1"), ("AWS_SG_IDS", "sg-1,sg-2")]
    {
        let entry = entry(&entries, key);
        assert_eq!(
            (entry.value.as_str(), &entry.from),
            (value, &From::Cloud("the cloud".to_owned())),
            "{key}"
        );
    }
    assert!(!entries.iter().any(Entry::is_missing));
}

#[tokio::test]
async fn a_cloud_that_does_not_answer_leaves_it_to_the_person() {
    let machines = aws().machines;
    for (lookup, told) in [
        (scripted(Err("access\ndenied")), "The cloud was asked and did not answer: access denied"),
        (
            scripted(Ok(Vec::new())),
            "The cloud was asked and does not know the workers' machines: are the credentials of the cluster's account?",
        ),
        (Ok(None), "The cloud itself was not asked."),
        (Err("no\nkeys".to_owned()), "The cloud itself was not asked: no keys."),
    ] {
        let (found, words) = ask_cloud(lookup, &machines, &[]).await;
        assert_eq!((found, words.as_str()), (None, told));
    }
}

#[tokio::test]
async fn machines_that_disagree_are_told_with_all_values() {
    let network = |subnet: &str| Network {
        name: Some("vpc-1".to_owned()),
        subnet: Some(subnet.to_owned()),
        security_groups: vec!["sg-1".to_owned()],
        region: None,
    };
    let answer = vec![network("subnet-a"), network("subnet-b"), network("subnet-b")];
    let machines = vec![machine("aws:///eu-west-1a/i-1"); 4];
    let (found, words) = ask_cloud(scripted(Ok(answer)), &machines, &[]).await;
    assert_eq!(
        words,
        "The cloud was asked for the network of 4 workers, and does not know 1 of them. They are in different ones; that \
         of most was taken: subnets subnet-b and subnet-a."
    );
    let entries = values::entries(Provider::Aws, &aws(), found.as_ref(), &[]);
    let text = manifest::settings(Provider::Aws, &aws(), &words, &entries);
    for line in [
        "  # subnet of the pod VMs (from the cloud: 2 of 3 workers; others have subnet-a)\n  AWS_SUBNET_ID: \"subnet-b\"\n",
        "  # VPC of the subnet (from the cloud)\n  AWS_VPC_ID: \"vpc-1\"\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
}

/// A VPC of the most workers with the subnet of another one would be wrong.
#[tokio::test]
async fn what_is_set_already_decides_which_network_counts() {
    let network = |number: u8| Network {
        name: Some(format!("vpc-{number}")),
        subnet: Some(format!("subnet-{number}")),
        security_groups: vec![format!("sg-{number}")],
        region: None,
    };
    let answer = vec![network(1), network(1), network(2)];
    let machines = vec![machine("aws:///eu-west-1a/i-1"); 3];
    for (set, group) in [
        ("AWS_SUBNET_ID=subnet-2", Some("sg-2")),
        ("AWS_VPC_ID=vpc-2", Some("sg-2")),
        ("AWS_SG_IDS=sg-9", Some("sg-1")),
        ("AWS_SUBNET_ID=subnet-3", None),
    ] {
        let entries = entries(Provider::Aws, &aws(), &[set]);
        let (found, words) = ask_cloud(scripted(Ok(answer.clone())), &machines, &entries).await;
        let groups = found.and_then(|networks| networks.network.groups());
        assert_eq!(groups.as_deref(), group, "{set}: {words}");
        assert_eq!(words.contains("set already"), group.is_none(), "{words}");
    }
}

#[test]
fn the_cloud_is_asked_only_about_machines_that_help() {
    let asked = |provider: Provider, known: &Known, set: &[&str]| {
        machines(provider, known, &entries(provider, known, set))
    };
    assert_eq!(asked(Provider::Aws, &aws(), &[]), Ok(aws().machines));
    let complete = ["AWS_SUBNET_ID=subnet-1", "AWS_VPC_ID=vpc-1", "AWS_SG_IDS=sg-1"];
    for (provider, known, set, why) in [
        (Provider::Gcp, aws(), &[][..], ""),
        (Provider::Aws, aws(), &complete[..], "nothing is left to find"),
        (Provider::Aws, on("None", None, None, ""), &[], "no worker is known to be a machine of AWS"),
        (Provider::Aws, aws(), &["AWS_REGION=us-east-1"], "AWS_REGION is us-east-1, and no worker is there"),
    ] {
        assert_eq!(asked(provider, &known, set), Err(why.to_owned()));
    }
}

#[test]
fn what_nobody_knows_comes_with_the_command_that_finds_it() {
    let entries = entries(Provider::Aws, &aws(), &[]);
    let From::Missing(command) = &entry(&entries, "AWS_SUBNET_ID").from else { panic!() };
    assert_eq!(
        command,
        "aws ec2 describe-instances --instance-ids i-0abc --region eu-west-1 --output text --query \
         'Reservations[*].Instances[*].SubnetId'"
    );
    let missing: Vec<&str> =
        entries.iter().filter(|entry| entry.is_missing()).map(|entry| entry.key.name).collect();
    assert_eq!(missing, ["AWS_SUBNET_ID", "AWS_VPC_ID", "AWS_SG_IDS"]);
}

#[test]
fn every_required_key_is_written_or_marked() {
    for provider in Provider::ALL {
        let entries = entries(provider, &Known::default(), &[]);
        for key in osc_api::peerpods::keys::settings(provider).filter(|key| key.need == Need::Required) {
            let entry = entry(&entries, key.name);
            assert_ne!(entry.value.is_empty(), entry.from == From::Documented, "{}", key.name);
            if let From::Missing(command) = &entry.from {
                assert_ne!(command, "see the guide", "{}", key.name);
            }
        }
    }
}

#[test]
fn values_that_are_there_are_kept_and_asked_for_ones_win() {
    let known = with_settings(
        aws(),
        &[
            ("CLOUD_PROVIDER", "aws"),
            ("VXLAN_PORT", "9001"),
            ("AWS_REGION", "us-east-1"),
            ("TAGS", "a=b"),
            ("PROXY_TIMEOUT", ""),
        ],
    );
    let entries = entries(Provider::Aws, &known, &["AWS_REGION=us-west-2", "SSH_KP_NAME=mine"]);
    let told = |name: &str| {
        let entry = entry(&entries, name);
        (entry.value.clone(), entry.from.clone())
    };
    assert_eq!(told("VXLAN_PORT"), ("9001".to_owned(), From::Kept));
    assert_eq!(told("TAGS"), ("a=b".to_owned(), From::Kept));
    assert_eq!(told("AWS_REGION"), ("us-west-2".to_owned(), From::Asked));
    assert_eq!(told("SSH_KP_NAME"), ("mine".to_owned(), From::Asked));
    assert_eq!(told("PROXY_TIMEOUT"), ("5m".to_owned(), From::Documented));
}

/// The documentation's example, applied as it is.
#[test]
fn a_placeholder_is_no_value_that_is_kept() {
    let known = with_settings(
        aws(),
        &[("CLOUD_PROVIDER", "aws"), ("AWS_REGION", "<aws_region>"), ("AWS_VPC_ID", "<aws_vpc_id>")],
    );
    let region = entry(&entries(Provider::Aws, &known, &[]), "AWS_REGION").clone();
    assert_eq!(region.value, "eu-west-1");
    assert!(entry(&entries(Provider::Aws, &known, &[]), "AWS_VPC_ID").is_missing());
    let set = ["AWS_SUBNET_ID=subnet-1", "AWS_VPC_ID=vpc-1", "AWS_SG_IDS=sg-1"];
    let change = apply::change(&known, &entries(Provider::Aws, &known, &set)).unwrap();
    let region = change.keys.iter().find(|(key, _, _)| key == "AWS_REGION").unwrap();
    assert_eq!((region.1.as_deref(), region.2.as_str()), (Some("<aws_region>"), "eu-west-1"));
}

#[test]
fn an_older_spelling_is_kept_under_its_name() {
    let known = with_settings(Known::default(), &[("CLOUD_PROVIDER", "gcp"), ("GCP_IMAGE_NAME", "image")]);
    let entries = entries(Provider::Gcp, &known, &[]);
    assert_eq!(entry(&entries, "PODVM_IMAGE_NAME").value, "image");
}

#[rstest]
#[case(Provider::Azure, on("Azure", Some("rg"), None, ""), "AZURE_RESOURCE_GROUP", "rg")]
#[case(
    Provider::Azure,
    on("None", None, None, "azure:///subscriptions/s/resourceGroups/own/providers/p/virtualMachines/v"),
    "AZURE_RESOURCE_GROUP",
    "own"
)]
#[case(Provider::Gcp, on("GCP", Some("shop"), Some("europe-west1"), ""), "GCP_PROJECT_ID", "shop")]
#[case(Provider::Gcp, on("GCP", None, None, "gce://shop/europe-west1-b/n"), "GCP_ZONE", "europe-west1-b")]
#[case(Provider::Aws, on("None", None, None, "aws:///eu-west-1a/i-1"), "AWS_REGION", "eu-west-1")]
fn facts_of_the_cluster_are_used(
    #[case] provider: Provider,
    #[case] known: Known,
    #[case] key: &str,
    #[case] value: &str,
) {
    let entries = entries(provider, &known, &[]);
    let entry = entry(&entries, key);
    assert_eq!(entry.value, value);
    assert!(matches!(entry.from, From::Cluster(_)), "{entry:?}");
}

#[test]
fn facts_of_another_cloud_are_not() {
    let entries = entries(Provider::Gcp, &aws(), &[]);
    assert!(entry(&entries, "GCP_ZONE").is_missing() && entry(&entries, "GCP_PROJECT_ID").is_missing());
    let vsphere = on("VSphere", None, Some("eu-west-1"), "");
    assert!(entry(&self::entries(Provider::Aws, &vsphere, &[]), "AWS_REGION").is_missing());
}

#[test]
fn confidential_machines_follow_the_gate() {
    let known = Known { confidential: true, ..aws() };
    assert_eq!(entry(&entries(Provider::Aws, &known, &[]), "DISABLECVM").value, "false");
    assert_eq!(entry(&entries(Provider::Aws, &aws(), &[]), "DISABLECVM").value, "true");
}

#[rstest]
#[case("VXLAN_PROT=1", "there is no such key; VXLAN_PORT is one")]
#[case("vxlan_port=1", "there is no such key; VXLAN_PORT is one")]
#[case("COLOUR=red", "there is no such key; the guide has a table")]
#[case("VXLAN_PORT=udp", "found \"udp\", expected a port, 1 to 65535")]
#[case("VXLAN_PORT", "is no KEY=VALUE")]
#[case("AZURE_REGION=x", "that is a key of Microsoft Azure, and the provider is gcp")]
#[case("GCP_IMAGE_NAME=x", "that is an older spelling; write PODVM_IMAGE_NAME")]
#[case("GCP_CREDENTIALS=hush", "that is a credential")]
#[case("CLOUD_PROVIDER=aws", "choose one of the two")]
fn what_cannot_be_set_is_refused(#[case] text: &str, #[case] words: &str) {
    let error = asked::read(Provider::Gcp, &[text.to_owned()]).unwrap_err().to_string();
    assert!(error.contains(words) && !error.contains("hush"), "{error}");
}

#[test]
fn a_key_is_set_once() {
    let texts = ["TAGS=a=b", "TAGS=c=d"].map(str::to_owned);
    assert!(asked::read(Provider::Aws, &texts).unwrap_err().to_string().contains("given twice"));
    let one = asked::read(Provider::Aws, &texts[..1]).unwrap();
    assert_eq!(one[0].1, "a=b");
}

#[test]
fn the_provider_is_that_of_the_cluster_and_never_another_one_than_that_of_the_map() {
    assert_eq!(provider(None, &aws()).unwrap(), Provider::Aws);
    assert_eq!(provider(Some("libvirt"), &aws()).unwrap(), Provider::Libvirt);
    let words = provider(None, &on("VSphere", None, None, "")).unwrap_err().to_string();
    assert!(words.ends_with("one of aws, azure, gcp, libvirt; the cluster runs on VSphere"), "{words}");
    let known = with_settings(aws(), &[("CLOUD_PROVIDER", "azure")]);
    assert_eq!(provider(None, &known).unwrap(), Provider::Azure);
    let words = provider(Some("aws"), &known).unwrap_err().to_string();
    assert!(words.contains("is for azure, and --provider is aws"), "{words}");
}

#[test]
fn a_change_has_only_what_is_new_or_asked_for() {
    let set = ["AWS_SUBNET_ID=subnet-1", "AWS_VPC_ID=vpc-1", "AWS_SG_IDS=sg-1", "VXLAN_PORT=9000"];
    let known = with_settings(
        aws(),
        &[
            ("CLOUD_PROVIDER", "aws"),
            ("VXLAN_PORT", "9001"),
            ("AWS_VPC_ID", "vpc-1"),
            ("MINE", "x"),
            ("PODVM_AMI_ID", "ami-1"),
        ],
    );
    let change = apply::change(&known, &entries(Provider::Aws, &known, &set)).unwrap();
    assert_eq!(change.version.as_deref(), Some("7"));
    let changed: Vec<&str> = change.keys.iter().map(|(key, _, _)| key.as_str()).collect();
    assert!(
        changed.contains(&"VXLAN_PORT")
            && changed.contains(&"AWS_SUBNET_ID")
            && changed.contains(&"PROXY_TIMEOUT")
    );
    for kept in ["AWS_VPC_ID", "MINE", "PODVM_AMI_ID", "CLOUD_PROVIDER"] {
        assert!(!changed.contains(&kept), "{kept}");
    }
    let error = apply::change(&known, &entries(Provider::Aws, &known, &[])).unwrap_err().to_string();
    assert!(
        error.contains("nothing was applied") && error.contains("AWS_SUBNET_ID (subnet of the pod VMs):"),
        "{error}"
    );
}

#[test]
fn a_credential_in_the_map_is_not_printed() {
    let known = with_settings(aws(), &[("AWS_SECRET_ACCESS_KEY", "hush"), ("MINE", "x \"y\"\nz")]);
    let text = manifest::settings(Provider::Aws, &known, "", &entries(Provider::Aws, &known, &[]));
    assert!(
        !text.contains("hush") && text.contains("AWS_SECRET_ACCESS_KEY is on the cluster, too."),
        "{text}"
    );
    let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(value["data"]["MINE"], "x \"y\"\nz");
    assert_eq!(machine("aws:///eu-west-1a/i-1").region().as_deref(), Some("eu-west-1"));
}
