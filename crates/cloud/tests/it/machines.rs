//! Pod VMs on EC2.

use std::sync::Arc;
use std::time::Duration;

use osc_cloud::{Account, Clouds, Connect, Deletion, Error, InstanceSpec, Kind, Owner, Provider, Tags};
use serde_json::{Value, json};

use crate::cloud::Cloud;

const REGION: &str = "us-west-2";

struct Place {
    cloud: Cloud,
    account: Account,
}

/// What a cluster has: a VPC with a subnet and a group, and an image.
fn place() -> Place {
    let cloud = Cloud::start();
    let ask = |form: &str, element: &str| cloud.ec2(REGION, form, element);
    let vpc = ask("Action=CreateVpc&CidrBlock=10.0.0.0/16", "vpcId");
    let subnet = ask(&format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.0.0/24"), "subnetId");
    let group =
        ask(&format!("Action=CreateSecurityGroup&GroupName=a&GroupDescription=a&VpcId={vpc}"), "groupId");
    let image = ask("Action=DescribeImages&Owner.1=amazon", "imageId");
    let account = Account::new(Kind::Aws)
        .setting("AWS_REGION", REGION)
        .setting("AWS_ENDPOINT_URL", &cloud.address)
        .setting("AWS_VPC_ID", &vpc)
        .setting("AWS_SUBNET_ID", subnet)
        .setting("AWS_SG_IDS", group)
        .setting("PODVM_AMI_ID", image)
        .setting("PODVM_INSTANCE_TYPE", "m6a.large")
        .setting("TAGS", "cost=pods,team=a")
        .credential("AWS_ACCESS_KEY_ID", "AKIATEST")
        .credential("AWS_SECRET_ACCESS_KEY", "hush");
    Place { cloud, account }
}

async fn connect(account: &Account) -> Arc<dyn Provider> {
    Clouds.connect(account).await.unwrap()
}

fn spec(cluster: &str, pod: &str) -> InstanceSpec {
    let tags = Tags {
        cluster: cluster.to_owned(),
        node: "worker-1".to_owned(),
        namespace: "default".to_owned(),
        pod: pod.to_owned(),
        pod_uid: format!("uid-{pod}"),
        sandbox: "0123456789abcdef".to_owned(),
    };
    let mut spec = InstanceSpec::new(osc_cloud::vm_name(pod, "0123456789abcdef"), tags);
    spec.user_data = b"#cloud-config of the pod".to_vec();
    spec
}

fn running(cloud: &Cloud) -> usize {
    cloud.left(REGION)["machines"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_created_once_found_by_tag_and_deleted() {
    let place = place();
    let provider = connect(&place.account).await;
    let spec = spec("cluster-a", "web");
    let made = provider.create(&spec).await.unwrap();
    assert!(!made.addresses.is_empty(), "{made:?}");
    assert_eq!((made.name.as_str(), &made.tags), ("podvm-web-01234567", &spec.tags));
    // What was sent: user data, and protection by SEV-SNP, which is on unless it is turned off.
    let sent: Value = place.cloud.control("state", &json!({}))["last_run"].clone();
    assert_eq!(sent["user_data"], "I2Nsb3VkLWNvbmZpZyBvZiB0aGUgcG9k");
    assert_eq!(sent["cpu"]["AmdSevSnp"], "enabled");
    assert_eq!(provider.create(&spec).await.unwrap().id, made.id, "the same sandbox has one machine");
    assert_eq!(running(&place.cloud), 1);

    let list = provider.list(&Owner::new("cluster-a")).await.unwrap();
    assert_eq!(list, std::slice::from_ref(&made));
    assert_eq!(provider.list(&Owner::new("cluster-b")).await.unwrap(), []);
    assert_eq!(provider.list(&Owner::new("")).await.unwrap(), []);
    assert_eq!(provider.untagged().await.unwrap(), []);

    assert_eq!(provider.delete(&made.id).await.unwrap(), Deletion::Deleted);
    assert_eq!(provider.delete(&made.id).await.unwrap(), Deletion::WasGone);
    assert_eq!(provider.list(&Owner::new("cluster-a")).await.unwrap(), []);
    assert_eq!(provider.delete("i-0123456789abcdef0").await.unwrap(), Deletion::WasGone);
    for id in ["", "i-", "podvm-web", "i-xyz", "0d6fa3c8-7a52-4a5f-8f5e-1f4c7e1d9a01"] {
        let error = provider.delete(id).await.unwrap_err();
        assert!(matches!(error, Error::MalformedId { .. }), "{id}: {error}");
    }
    // A token that was used up by a machine that is gone is not in the way.
    let next = provider.create(&spec).await.unwrap();
    assert_ne!(next.id, made.id);
    provider.delete(&next.id).await.unwrap();
    place.cloud.assert_nothing_left(REGION, "any");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_start_one_machine_and_a_dropped_creation_none() {
    let place = place();
    let provider = connect(&place.account).await;
    let spec = spec("cluster-a", "web");
    let (one, two) = tokio::join!(provider.create(&spec), provider.create(&spec));
    assert_eq!(one.unwrap().id, two.unwrap().id);
    assert_eq!(running(&place.cloud), 1);

    // The request is done and its answer is held back; meanwhile whoever waits gives up.
    let other = self::spec("cluster-a", "dropped");
    for request in 1..5 {
        place.cloud.control("set", &json!({"fuse": request, "held": false, "seen": []}));
        let _ = tokio::time::timeout(Duration::from_millis(300), provider.create(&other)).await;
        place.cloud.control("release", &json!({}));
        let mut settled = false;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let seen = place.cloud.control("state", &json!({}))["seen"].to_string();
            settled = seen.contains("TerminateInstances") || !seen.contains("RunInstances");
            if settled && running(&place.cloud) == 1 {
                break;
            }
        }
        assert!(settled, "given up at request {request}");
        assert_eq!(running(&place.cloud), 1, "given up at request {request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_told() {
    let place = place();
    let mut large = spec("cluster-a", "web");
    large.user_data = vec![0; (16 << 10) + 1];
    let error = connect(&place.account).await.create(&large).await.unwrap_err().to_string();
    assert!(error.contains("16385 bytes") && error.contains("initdata"), "{error}");
    let spec = spec("cluster-a", "web");
    for (key, value, words) in [
        ("PODVM_AMI_ID", "", "PODVM_AMI_ID is not set"),
        ("PODVM_AMI_ID", "ami-0123456789abcdef0", "image ami-0123456789abcdef0 in us-west-2 is not there"),
        ("AWS_SUBNET_ID", "", "AWS_SUBNET_ID is not set"),
        ("DISABLECVM", "maybe", "DISABLECVM is \"maybe\""),
        ("TAGS", "cost", "TAGS is \"cost\""),
        ("ROOT_VOLUME_SIZE", "6GB", "ROOT_VOLUME_SIZE is \"6GB\""),
    ] {
        let account = place.account.clone().setting(key, value);
        let error = connect(&account).await.create(&spec).await.unwrap_err();
        assert!(error.to_string().contains(words) && error.left.is_none(), "{error}");
    }
    assert_eq!(running(&place.cloud), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_verified_all_at_once() {
    let place = place();
    let fine = connect(&place.account).await.verify().await.unwrap();
    assert!(fine.iter().any(|line| line.contains("free addresses")), "{fine:?}");
    let account = place
        .account
        .clone()
        .setting("AWS_VPC_ID", "vpc-0123")
        .setting("AWS_SG_IDS", "sg-0123456789abcdef0")
        .setting("PODVM_INSTANCE_TYPES", "t3.medium,m99.huge")
        .setting("PODVM_AMI_ID", "ami-0123456789abcdef0")
        .setting("TAGS", "=a");
    let wrong: Vec<String> =
        connect(&account).await.verify().await.unwrap_err().iter().map(ToString::to_string).collect();
    for words in [
        "AWS_VPC_ID is vpc-0123, and subnet",
        "security group sg-0123456789abcdef0 in us-west-2 is not there",
        "PODVM_INSTANCE_TYPES is t3.medium, which has no AMD SEV-SNP",
        "instance type m99.huge in us-west-2 is not there",
        "image ami-0123456789abcdef0",
        "TAGS is \"=a\"",
    ] {
        assert!(wrong.iter().any(|line| line.contains(words)), "{words:?} is not in {wrong:#?}");
    }
    let account = place.account.clone().setting("AWS_REGION", "");
    let error = Clouds.connect(&account).await.err().unwrap().to_string();
    assert!(error.starts_with("AWS_REGION cannot be used: not set"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_of_older_adaptors_are_told_apart() {
    let place = place();
    let provider = connect(&place.account).await;
    // Older adaptors set no tag but the name.
    let bare = InstanceSpec::new("podvm-old-01234567", Tags::default());
    let made = provider.create(&bare).await.unwrap();
    let other = InstanceSpec::new("database", Tags::default());
    let other = provider.create(&other).await.unwrap();
    let untagged = provider.untagged().await.unwrap();
    assert_eq!(untagged.iter().map(|one| &one.id).collect::<Vec<_>>(), [&made.id]);
    // A PeerPod may name any machine; only those that can be pod VMs are deleted.
    let refused = provider.delete(&other.id).await.unwrap_err().to_string();
    assert!(refused.contains(&other.id) && refused.contains("neither its name nor its tags"), "{refused}");
    assert_eq!(provider.delete(&made.id).await.unwrap(), Deletion::Deleted);
    assert_eq!(provider.delete(&made.id).await.unwrap(), Deletion::WasGone);
    assert!(provider.delete(&other.id).await.is_err(), "it is still there");
}
