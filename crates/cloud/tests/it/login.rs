//! Credentials and patience: signatures are checked by the server.

use serde_json::json;

use crate::cloud::Cloud;
use crate::tool::{Tool, disk};

const REGION: &str = "eu-north-1";
const CLUSTER: &str = "abababab-0000-4000-8000-000000000001";

/// Asks something of IAM as its administrator, before signatures are checked.
fn iam(cloud: &Cloud, form: &str) -> String {
    let auth = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/iam/aws4_request, Signature=0";
    ureq::post(&cloud.address)
        .header("authorization", auth)
        .header("content-type", "application/x-www-form-urlencoded")
        .send(format!("{form}&Version=2010-05-08"))
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap()
}

fn element<'a>(text: &'a str, name: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
    rest.split_once('<').unwrap().0
}

fn allow(cloud: &Cloud, policy: &str, actions: &str) {
    let document = format!(
        "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
         %22Action%22%3A%5B{actions}%5D%2C%22Resource%22%3A%22%2A%22%7D%5D%7D"
    );
    iam(cloud, &format!("Action=PutUserPolicy&UserName=job&PolicyName={policy}&PolicyDocument={document}"));
}

#[test]
fn only_the_right_credentials_with_the_right_rights_work() {
    let cloud = Cloud::start();
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = disk(folder.path(), 1, 30);
    iam(&cloud, "Action=CreateUser&UserName=job");
    let keys = iam(&cloud, "Action=CreateAccessKey&UserName=job");
    let (id, secret) = (element(&keys, "AccessKeyId"), element(&keys, "SecretAccessKey"));
    let mut tool = Tool::new(&cloud, REGION, CLUSTER);
    tool.set("PODVM_IMAGE_URI", format!("file::{}", path.display()));
    ureq::post(format!("{}/moto-api/reset-auth", cloud.address)).send("0").unwrap();

    tool.run(&["create"]).failed(1, &["AuthFailure", "check AWS_ACCESS_KEY_ID of secret peer-pods-secret"]);
    tool.set("AWS_ACCESS_KEY_ID", id);
    let wrong = tool.run(&["create"]);
    assert_eq!(wrong.code, 1, "{}", wrong.log);
    assert!(
        wrong.message.contains("AWS_ACCESS_KEY_ID") || wrong.message.contains("AWS_SECRET_ACCESS_KEY"),
        "{}",
        wrong.message
    );
    tool.set("AWS_SECRET_ACCESS_KEY", secret);
    tool.run(&["create"]).failed(1, &["refused DescribeImages", "allow ec2:DescribeImages"]);

    ureq::post(format!("{}/moto-api/reset-auth", cloud.address)).send("1000").unwrap();
    allow(&cloud, "all", "%22ec2%3A%2A%22%2C%22s3%3A%2A%22");
    ureq::post(format!("{}/moto-api/reset-auth", cloud.address)).send("0").unwrap();
    let made = tool.run(&["create"]);
    let image = made.result()["image"].clone();
    assert!(!made.log.contains(secret), "{}", made.log);
    assert_eq!(cloud.left(REGION)["images"][0]["id"], image);
    tool.run(&["delete"]).result();
    cloud.assert_nothing_left(REGION, "any");
}

#[test]
fn a_role_is_taken_on_with_the_token_of_the_service_account() {
    let cloud = Cloud::start();
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = disk(folder.path(), 1, 31);
    let token = folder.path().join("token");
    let mut tool = Tool::new(&cloud, REGION, CLUSTER);
    tool.environment.remove("AWS_ACCESS_KEY_ID");
    tool.set("PODVM_IMAGE_URI", format!("file::{}", path.display()));
    tool.run(&["create"]).failed(1, &["AWS_ACCESS_KEY_ID: not set, but AWS_SECRET_ACCESS_KEY is"]);
    tool.environment.remove("AWS_SECRET_ACCESS_KEY");
    tool.run(&["create"]).failed(1, &["secret peer-pods-secret has no credentials"]);
    tool.set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/osc");
    tool.run(&["create"]).failed(1, &["AWS_WEB_IDENTITY_TOKEN_FILE: not set, but AWS_ROLE_ARN is"]);
    tool.set("AWS_WEB_IDENTITY_TOKEN_FILE", token.display().to_string());
    tool.run(&["create"]).failed(1, &["AWS_WEB_IDENTITY_TOKEN_FILE", "cannot be read"]);
    std::fs::write(&token, "eyJhbGciOiJub25lIn0.c2VjcmV0.\n").unwrap();
    let made = tool.run(&["create"]);
    made.result();
    assert!(!made.log.contains("c2VjcmV0"), "{}", made.log);
    let seen = cloud.control("state", &json!({}))["seen"].to_string();
    assert_eq!(seen.matches("AssumeRoleWithWebIdentity").count(), 1, "one session is enough: {seen}");
    tool.run(&["delete"]).result();
}

#[test]
fn throttling_is_waited_for() {
    let cloud = Cloud::start();
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = disk(folder.path(), 1, 32);
    let mut tool = Tool::new(&cloud, REGION, CLUSTER);
    tool.set("PODVM_IMAGE_URI", format!("file::{}", path.display()));
    cloud.control(
        "set",
        &json!({"throttle": {"DescribeImages": 2, "RegisterImage": 1, "PUT": 2, "ImportSnapshot": 1}}),
    );
    let made = tool.run(&["create"]);
    made.result();
    assert!(made.log.contains("AWS is asked again"), "{}", made.log);
    assert_eq!(cloud.left(REGION)["images"].as_array().unwrap().len(), 1);
}
