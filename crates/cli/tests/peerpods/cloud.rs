//! `osc peerpods` asks the cloud: moto stands in for AWS.

use std::process::Output;

use osc_api::peerpods::Provider;
use osc_devcluster::server::{Fault, FaultAction, Matcher, Verb};
use rstest::rstest;
use serde_json::{Value, json};

use crate::aws_server::Cloud;
use crate::fixture::{Cluster, PLANTED, osc_in, reasons, root, setup, stderr, stdout};

const REGION: &str = "eu-west-1";
const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "planted-hush-id"), ("AWS_SECRET_ACCESS_KEY", "planted-hush-key")];

/// What somebody has at AWS.
struct Place {
    cloud: Cloud,
    vpc: String,
    subnets: [String; 2],
    group: String,
    image: String,
}

impl Place {
    fn new() -> Self {
        let cloud = Cloud::start();
        let ask = |form: &str, element: &str| cloud.ec2(REGION, form, element);
        let vpc = ask("Action=CreateVpc&CidrBlock=10.0.0.0/16", "vpcId");
        let subnets = [0, 1].map(|number| {
            ask(&format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.{number}.0/24"), "subnetId")
        });
        let group =
            ask(&format!("Action=CreateSecurityGroup&GroupName=a&GroupDescription=a&VpcId={vpc}"), "groupId");
        let image = ask("Action=DescribeImages&Owner.1=amazon", "imageId");
        Self { cloud, vpc, subnets, group, image }
    }

    /// A machine in one of the subnets.
    fn machine(&self, token: &str, subnet: &str) -> String {
        let form = format!(
            "Action=RunInstances&MinCount=1&MaxCount=1&ClientToken={token}&ImageId={}&SubnetId={subnet}&SecurityGroupId.1={}",
            self.image, self.group
        );
        self.cloud.ec2(REGION, &form, "instanceId")
    }

    /// A cluster whose workers are machines there: two in the second subnet, one in the first.
    async fn cluster(&self) -> Cluster {
        let [first, second] = &self.subnets;
        let machines = [self.machine("0", first), self.machine("1", second), self.machine("2", second)];
        Cluster::start_with(Provider::Aws, |object| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let number = name.strip_prefix("worker-").and_then(|number| number.parse::<usize>().ok());
            if let ("Node", Some(number)) = (object["kind"].as_str().unwrap_or_default(), number) {
                object["spec"]["providerID"] = json!(format!("aws:///{REGION}a/{}", machines[number]));
            }
        })
        .await
    }

    fn endpoint(&self) -> (&str, &str) {
        ("AWS_ENDPOINT_URL", &self.cloud.address)
    }

    /// Actions that were asked for.
    fn seen(&self) -> Vec<String> {
        let seen = self.cloud.control("state", &json!({}))["seen"].clone();
        serde_json::from_value(seen).unwrap()
    }

    /// Settings and credentials for AWS as they are there.
    fn settings(&self) -> String {
        setup(Provider::Aws)
            .replace("subnet-0a1b2c", &self.subnets[0])
            .replace("vpc-0a1b2c", &self.vpc)
            .replace("sg-0a1b2c,sg-0d4e5f", &self.group)
            .replace("PODVM_AMI_ID: \"\"", &format!("PODVM_AMI_ID: \"{}\"", self.image))
    }

    async fn check(&self, text: &str, arguments: &[&str]) -> Output {
        let environment = [self.endpoint()].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (text, arguments) = (text.to_owned(), arguments.iter().map(|one| (*one).to_owned()).collect());
        checked(environment.to_vec(), text, arguments).await
    }
}

async fn checked(environment: Vec<(String, String)>, text: String, arguments: Vec<String>) -> Output {
    let run = move || {
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let arguments: Vec<&str> =
            ["check", "-f", "-"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        osc_in(&environment, &root(), None, &arguments, &text)
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    for text in [stdout(&output), stderr(&output)] {
        assert!(!text.contains(PLANTED), "{text}");
    }
    output
}

fn findings(output: &Output) -> Vec<Value> {
    let value: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(output)));
    value["findings"].as_array().unwrap().clone()
}

fn data(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    let object: Value = serde_saphyr::from_str(&stdout(output)).unwrap();
    object["data"].clone()
}

fn secrets() -> String {
    let all = setup(Provider::Aws);
    all.split("---\n").filter(|part| part.contains("kind: Secret")).collect::<Vec<_>>().join("---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_of_workers_is_filled_in_and_passes_the_check_with_the_cloud() {
    let place = tokio::task::spawn_blocking(Place::new).await.unwrap();
    let cluster = place.cluster().await;
    cluster.apply(&secrets()).await;
    let environment = [place.endpoint()];
    let printed = cluster.osc_in(&environment, &["configure", "--provider", "aws"]).await;
    let text = stdout(&printed);
    let [first, second] = &place.subnets;
    let settings = data(&printed);
    for (key, value) in [("AWS_SUBNET_ID", second), ("AWS_VPC_ID", &place.vpc), ("AWS_SG_IDS", &place.group)]
    {
        assert_eq!(settings[key], **value, "{text}");
    }
    for words in [
        "# The cloud was asked for the network of 3 workers. They are in different ones; that of most was taken: subnets ",
        &format!("# subnet of the pod VMs (from the cloud: 2 of 3 workers; others have {first})\n"),
        "# VPC of the subnet (from the cloud)\n",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    assert!(!text.contains("TO FILL IN") && !text.contains(PLANTED), "{text}");
    assert_eq!(
        place.seen().iter().filter(|action| *action == "DescribeInstances").count(),
        1,
        "one question"
    );

    let applied = cluster.osc_in(&environment, &["configure", "--apply"]).await;
    assert!(applied.status.success(), "{}", stderr(&applied));
    assert!(stderr(&applied).contains(&format!("subnets {second} and {first}")), "{}", stderr(&applied));
    assert_eq!(cluster.settings().unwrap()["AWS_SUBNET_ID"], **second);
    let asked = place.seen().len();
    let again = cluster.osc_in(&environment, &["configure", "--apply"]).await;
    assert!(stdout(&again).ends_with("has all of it already.\n"), "{}", stderr(&again));
    assert_eq!(place.seen().len(), asked, "nothing is left to ask for");

    let checked = cluster.osc_in(&environment, &["check", "--ask-cloud", "-o", "json"]).await;
    assert_eq!(checked.status.code(), Some(0), "{}", stdout(&checked));
    let findings = findings(&checked);
    assert!(reasons(&findings, "info").contains(&"CloudAccepts".to_owned()), "{findings:#?}");
    assert!(place.seen().contains(&"DescribeSubnets".to_owned()));
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_may_come_from_the_environment() {
    let place = tokio::task::spawn_blocking(Place::new).await.unwrap();
    let cluster = place.cluster().await;
    let configure = ["configure", "--provider", "aws"];
    let [id, key] = KEYS;
    let keys = data(&cluster.osc_in(&[place.endpoint(), id, key], &configure).await);
    assert_eq!(keys["AWS_VPC_ID"], *place.vpc);
    // A role, taken on with a token.
    let token = cluster.directory().join("token");
    std::fs::write(&token, "eyJhbGciOiJub25lIn0.c2VjcmV0.").unwrap();
    let role = [
        place.endpoint(),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/osc"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
    ];
    assert_eq!(data(&cluster.osc_in(&role, &configure).await), keys);
    assert!(place.seen().contains(&"AssumeRoleWithWebIdentity".to_owned()));
    // Who may not read the secret is told so.
    cluster.server.faults().inject(Fault {
        matcher: Matcher::new(Verb::Get, "secrets"),
        times: None,
        action: FaultAction::Status {
            code: 403,
            reason: "Forbidden".to_owned(),
            message: "secrets is forbidden".to_owned(),
            retry_after: None,
        },
    });
    let output = cluster.osc_in(&[place.endpoint(), id, key], &configure).await;
    assert_eq!(data(&output), keys);
    assert!(stdout(&output).contains("# Secret peer-pods-secret could not be read: "), "{}", stdout(&output));
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_cloud_does_not_help_it_is_told_and_left_to_the_person() {
    let place = tokio::task::spawn_blocking(Place::new).await.unwrap();
    let cluster = place.cluster().await;
    // Their machines were never made.
    let strangers = Cluster::start(Provider::Aws).await;
    let [id, key] = KEYS;
    let nowhere = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let elsewhere = "--set=AWS_REGION=us-east-1";
    let told = async |cluster: &Cluster, environment: &[(&str, &str)], more: &[&str], words: &str| {
        let output = cluster.osc_in(environment, &[&["configure", "--provider", "aws"], more].concat()).await;
        let text = stdout(&output);
        assert_eq!(data(&output)["AWS_SUBNET_ID"], "", "{text}");
        assert!(text.contains(words), "{words:?} is not in {text}");
        assert_eq!(text.matches("# TO FILL IN: ").count(), 3, "{text}");
        assert!(text.contains("  #   aws ec2 describe-instances --instance-ids i-"), "{text}");
        let refused = cluster
            .osc_in(environment, &[&["configure", "--provider", "aws", "--apply"], more].concat())
            .await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains(words), "{}", stderr(&refused));
        assert!(!text.contains(PLANTED) && !stderr(&refused).contains(PLANTED), "{text}");
    };
    let endpoint = place.endpoint();
    let nobody =
        "The cloud itself was not asked: neither Secret peer-pods-secret nor the environment has credentials";
    told(&cluster, &[endpoint], &[], nobody).await;
    let half = "The cloud was asked and did not answer: AWS_SECRET_ACCESS_KEY: not set, but AWS_ACCESS_KEY_ID is; set both of \
                them in the environment";
    told(&cluster, &[endpoint, id], &[], half).await;
    let unreachable = "The cloud was asked and did not answer: EC2 cannot be reached at http://127.0.0.1:1";
    told(&cluster, &[nowhere, id, key], &[], unreachable).await;
    let unknown = "The cloud was asked and does not know the workers' machines";
    told(&strangers, &[endpoint, id, key], &[], unknown).await;
    let region = "The cloud itself was not asked: AWS_REGION is us-east-1, and no worker is there.";
    told(&cluster, &[endpoint, id, key], &[elsewhere], region).await;
    let auth = format!("{}/moto-api/reset-auth", place.cloud.address);
    tokio::task::spawn_blocking(move || ureq::post(auth).send("0").unwrap()).await.unwrap();
    let refused = "The cloud was asked and did not answer: EC2 refused DescribeInstances with AuthFailure";
    told(&cluster, &[endpoint, id, key], &[], refused).await;
    cluster.server.stop().await;
    strangers.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cloud_is_asked_about_settings_only_with_the_flag() {
    let place = tokio::task::spawn_blocking(Place::new).await.unwrap();
    let before = place.seen().len();
    let alone = place.check(&place.settings(), &["-o", "json"]).await;
    assert_eq!((alone.status.code(), place.seen().len()), (Some(0), before));
    assert!(!stdout(&alone).contains("Cloud"), "{}", stdout(&alone));
    let asked = place.check(&place.settings(), &["-o", "json", "--ask-cloud"]).await;
    assert_eq!(asked.status.code(), Some(0), "{}", stdout(&asked));
    let found = findings(&asked);
    assert!(!reasons(&found, "warns").iter().any(|reason| reason.starts_with("Cloud")), "{found:#?}");
    let notes: Vec<&Value> = found.iter().filter(|one| one["reason"] == "CloudNote").collect();
    assert!(notes.iter().any(|note| note["what"].as_str().unwrap().contains("free addresses")), "{found:#?}");
    let text = stdout(&place.check(&place.settings(), &["--ask-cloud"]).await);
    assert!(text.contains("INFO    AWS was asked and has nothing against these settings\n"), "{text}");
    let nothing_made = ["RunInstances", "CreateTags", "TerminateInstances"];
    assert!(!place.seen()[before..].iter().any(|action| nothing_made.contains(&action.as_str())));
}

#[rstest]
#[case::subnet(
    "AWS_SUBNET_ID",
    "subnet-0123456789abcdef0",
    "CloudMissing",
    "subnet subnet-0123456789abcdef0 in eu-west-1 is not there"
)]
#[case::group(
    "AWS_SG_IDS",
    "sg-0123456789abcdef0",
    "CloudMissing",
    "security group sg-0123456789abcdef0 in eu-west-1 is not there"
)]
#[case::image(
    "PODVM_AMI_ID",
    "ami-0123456789abcdef0",
    "CloudMissing",
    "image ami-0123456789abcdef0 in eu-west-1 is not there"
)]
#[case::vpc(
    "AWS_VPC_ID",
    "vpc-0123456789abcdef0",
    "CloudSetting",
    "AWS_VPC_ID is vpc-0123456789abcdef0, and subnet"
)]
#[case::kind(
    "PODVM_INSTANCE_TYPE",
    "m99.huge",
    "CloudMissing",
    "instance type m99.huge in eu-west-1 is not there"
)]
#[tokio::test(flavor = "multi_thread")]
async fn what_the_cloud_does_not_have_stands_in_the_way(
    #[case] key: &str,
    #[case] value: &str,
    #[case] reason: &str,
    #[case] words: &str,
) {
    let place = tokio::task::spawn_blocking(Place::new).await.unwrap();
    let line = |line: &str| {
        let own = line.trim_start().starts_with(&format!("{key}:"));
        if own { format!("  {key}: \"{value}\"\n") } else { format!("{line}\n") }
    };
    let text: String = place.settings().lines().map(line).collect();
    assert_eq!(place.check(&text, &[]).await.status.code(), Some(0), "fine by itself");
    let output = place.check(&text, &["--ask-cloud", "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    let found = findings(&output);
    let told = found
        .iter()
        .find(|one| one["severity"] == "blocks" && one["what"].as_str().unwrap().starts_with(words));
    let told = told.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!((&told["reason"], &told["where"]), (&json!(reason), &json!(["ConfigMap peer-pods-cm"])));
    assert!(told["do"].as_str().unwrap().contains(key), "{told}");
    assert!(!reasons(&found, "info").contains(&"CloudAccepts".to_owned()), "{found:#?}");
    let text = stdout(&place.check(&text, &["--ask-cloud"]).await);
    assert!(text.contains("in the way") && text.contains("BLOCKS  "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_stands_in_the_way() {
    let place = tokio::task::spawn_blocking(Place::new).await.unwrap();
    let auth = format!("{}/moto-api/reset-auth", place.cloud.address);
    tokio::task::spawn_blocking(move || ureq::post(auth).send("0").unwrap()).await.unwrap();
    let output = place.check(&place.settings(), &["--ask-cloud", "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(2));
    let found = findings(&output);
    let told = found.iter().find(|one| one["reason"] == "CloudLogin").unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(told["where"], json!(["Secret peer-pods-secret"]));
    // Keys of the environment are not the cluster's: they do not count.
    let without: Vec<&str> =
        place.settings().leak().split("---\n").filter(|part| !part.contains("kind: Secret")).collect();
    let output = place.check(&without.join("---\n"), &["--ask-cloud", "-o", "json"]).await;
    let found = findings(&output);
    assert!(
        found.iter().any(|one| one["what"].as_str().unwrap().contains("has no credentials")),
        "{found:#?}"
    );
}

/// The way to a host that answers is tested with libvirt's own daemon, in osc-cloud.
#[rstest]
#[case::port("qemu+ssh://planted-hush@127.0.0.1:1/system", "cannot be reached")]
#[case::socket("qemu+unix:///system?socket=/nonexistent/libvirt-sock", "/nonexistent/libvirt-sock")]
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_reached_stands_in_the_way(#[case] uri: &str, #[case] words: &str) {
    let text = setup(Provider::Libvirt).replace("qemu+ssh://planted-hush@192.168.122.1/system", uri);
    assert!(text.contains(uri));
    let output = checked(Vec::new(), text, ["--ask-cloud", "-o", "json"].map(str::to_owned).to_vec()).await;
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    let found = findings(&output);
    let told = found.iter().find(|one| one["reason"] == "CloudUnreachable");
    let told = told.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(told["severity"], "blocks");
    assert!(told["what"].as_str().unwrap().contains(words), "{told}");
    assert!(told["why"].as_str().unwrap().contains("this machine"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clouds_that_this_release_cannot_ask_are_told() {
    for provider in [Provider::Azure, Provider::Gcp] {
        let output =
            checked(Vec::new(), setup(provider), ["--ask-cloud", "-o", "json"].map(str::to_owned).to_vec());
        let output = output.await;
        assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
        let found = findings(&output);
        let told = found.iter().find(|one| one["reason"] == "CloudNotAsked").unwrap();
        let what = format!("{} was not asked: this release cannot ask it", provider.title());
        assert_eq!((&told["severity"], &told["what"]), (&json!("warns"), &json!(what)));
    }
}
