//! From an image in a registry to an image on AWS, and back to nothing.

use serde_json::json;

use crate::cloud::shared;
use crate::registry::{Registry, digest, layer};
use crate::tool::{Tool, disk};

const CLUSTER: &str = "0d6fa3c8-7a52-4a5f-8f5e-1f4c7e1d9a01";

#[test]
fn an_image_is_made_found_again_replaced_and_deleted() {
    let (cloud, region) = (shared(), "eu-west-1");
    let folder = tempfile::tempdir().unwrap();
    // Three parts of an upload.
    let (first, raw) = disk(folder.path(), 40, 1);
    let registry = Registry::start();
    let first = std::fs::read(first).unwrap();
    let source = registry.push("org/podvm", "1.0", vec![layer(&[("image/podvm.qcow2", &first)])]);
    let mut tool = Tool::new(cloud, region, CLUSTER);
    tool.set("PODVM_IMAGE_URI", format!("oci::{}/org/podvm:1.0", registry.host)).set("AMI_VOLUME_SIZE", "30");

    let made = tool.run(&["create"]).result();
    let image = made["image"].as_str().unwrap().to_owned();
    assert_eq!(
        made,
        json!({"image": image, "annotations": {"LATEST_AMI_ID": image}, "source": source, "made": true})
    );
    let left = cloud.left(region);
    let found = &left["images"][0];
    let tags = json!({
        "Name": "podvm-image-0.0.1-0d6fa3c8",
        "kata.peerpods.io/cluster": CLUSTER,
        "kata.peerpods.io/image": "podvm",
        "kata.peerpods.io/source": source,
    });
    for (key, value) in [
        ("id", json!(image)),
        ("name", json!("podvm-image-0.0.1-0d6fa3c8")),
        ("boot", json!("uefi")),
        ("tpm", json!("v2.0")),
        ("device", json!("/dev/xvda")),
        ("architecture", json!("x86_64")),
        ("type", json!("hvm")),
        ("size", json!(30)),
        ("tags", tags),
    ] {
        assert_eq!(found[key], value, "{key} of {found}");
    }
    assert_eq!(left["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(left["volumes"], json!([]));
    // What was imported is the disk, byte by byte.
    assert_eq!(format!("sha256:{}", left["imports"][0]["sha"].as_str().unwrap()), digest(&raw));
    assert!(!left["buckets"].as_object().unwrap().contains_key(&tool.bucket()), "the bucket is gone");
    assert!(std::fs::read_dir(tool.store()).unwrap().next().is_none(), "the job's disk is empty");

    let again = tool.run(&["create"]).result();
    assert_eq!((&again["image"], &again["made"]), (&json!(image), &json!(false)));
    assert_eq!(cloud.left(region)["images"], left["images"]);

    let (second, _) = disk(folder.path(), 2, 2);
    let second = std::fs::read(second).unwrap();
    let source = registry.push("org/podvm", "1.0", vec![layer(&[("image/podvm.qcow2", &second)])]);
    let replaced = tool.run(&["create"]).result();
    assert_eq!((&replaced["source"], &replaced["made"]), (&json!(source), &json!(true)));
    let left = cloud.left(region);
    assert_eq!(left["images"].as_array().unwrap().len(), 1);
    assert_eq!(left["images"][0]["id"], replaced["image"]);
    assert_eq!(left["snapshots"].as_array().unwrap().len(), 1, "the snapshot of the older one is gone");

    // A new name in the settings: still one image.
    tool.set("AMI_BASE_NAME", "other");
    let renamed = tool.run(&["create"]).result();
    let left = cloud.left(region);
    assert_eq!(left["images"].as_array().unwrap().len(), 1);
    assert_eq!(left["images"][0]["name"], "other-0.0.1-0d6fa3c8");

    let bucket = tool.bucket();
    // As the job has it: no source is needed to delete.
    tool.environment.remove("PODVM_IMAGE_URI");
    tool.set("AMI_ID", renamed["image"].as_str().unwrap());
    let deleted = tool.run(&["delete", "-f"]).result();
    assert_eq!(deleted, json!({"deleted": renamed["image"]}));
    cloud.assert_nothing_left(region, &bucket);
    // And once more, with nothing there.
    assert_eq!(tool.run(&["delete", "-f"]).result(), json!({"deleted": null}));
}

#[test]
fn a_leftover_of_another_cluster_is_not_in_the_way() {
    let (cloud, region) = (shared(), "eu-west-2");
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = disk(folder.path(), 1, 3);
    let source = format!("file::{}", path.display());
    let mut one = Tool::new(cloud, region, "aaaaaaaa-0000-4000-8000-000000000001");
    let mut two = Tool::new(cloud, region, "bbbbbbbb-0000-4000-8000-000000000002");
    // The same first characters, and so the same name.
    let mut three = Tool::new(cloud, region, "aaaaaaaa-0000-4000-8000-000000000003");
    for tool in [&mut one, &mut two, &mut three] {
        tool.set("PODVM_IMAGE_URI", &source);
    }
    let first = one.run(&["create"]).result();
    let second = two.run(&["create"]).result();
    assert_ne!(first["image"], second["image"]);
    three
        .run(&["create"])
        .failed(4, &["was not made for this cluster", "podvm-image-0.0.1-aaaaaaaa", "AMI_BASE_NAME"]);
    assert_eq!(cloud.left(region)["images"].as_array().unwrap().len(), 2);
    // Nor does one delete what is the other's.
    let foreign = two.run(&["delete", "--image", first["image"].as_str().unwrap()]);
    foreign.failed(4, &["was not made for this cluster", "it is not deleted", "PODVM_AMI_ID"]);
    assert_eq!(cloud.left(region)["images"].as_array().unwrap().len(), 2);
    one.run(&["delete", "--image", first["image"].as_str().unwrap()]).result();
    two.run(&["delete"]).result();
    cloud.assert_nothing_left(region, &one.bucket());
    cloud.assert_nothing_left(region, &two.bucket());
}

#[test]
fn an_image_of_a_user_is_never_deleted() {
    let (cloud, region) = (shared(), "eu-west-3");
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = disk(folder.path(), 1, 4);
    // One that another tool made: here, ours for another cluster, with its tags taken away.
    let mut maker = Tool::new(cloud, region, "cccccccc-0000-4000-8000-000000000001");
    maker.set("PODVM_IMAGE_URI", format!("file::{}", path.display()));
    let image = maker.run(&["create"]).result()["image"].as_str().unwrap().to_owned();
    let snapshot = cloud.left(region)["images"][0]["snapshot"].as_str().unwrap().to_owned();
    for id in [&image, &snapshot] {
        let form = format!(
            "Action=DeleteTags&Version=2016-11-15&ResourceId.1={id}&Tag.1.Key=kata.peerpods.io%2Fcluster"
        );
        let auth =
            format!("AWS4-HMAC-SHA256 Credential=AKIA/20260101/{region}/ec2/aws4_request, Signature=0");
        ureq::post(&cloud.address)
            .header("authorization", auth)
            .header("content-type", "application/x-www-form-urlencoded")
            .send(form)
            .unwrap();
    }
    for cluster in ["cccccccc-0000-4000-8000-000000000001", CLUSTER] {
        let tool = Tool::new(cloud, region, cluster);
        tool.run(&["delete", "-f", "--image", &image])
            .failed(4, &["tag kata.peerpods.io/cluster is not set"]);
        // Nor without a word of it.
        tool.run(&["delete"]).result();
    }
    assert_eq!(cloud.left(region)["images"][0]["id"], json!(image));
    assert_eq!(cloud.left(region)["snapshots"][0]["id"], json!(snapshot));
}

#[test]
fn a_bucket_of_the_user_is_used_and_left() {
    let (cloud, region) = (shared(), "us-east-1");
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = disk(folder.path(), 1, 5);
    let mut tool = Tool::new(cloud, region, "dddddddd-0000-4000-8000-000000000001");
    tool.set("PODVM_IMAGE_URI", format!("file::{}", path.display())).set("BUCKET_NAME", "disks-of-a-user");
    let missing = tool.run(&["create"]);
    missing.failed(1, &["BUCKET_NAME: there is no bucket disks-of-a-user", "aws s3 mb s3://disks-of-a-user"]);
    assert_eq!(cloud.left(region)["snapshots"], json!([]));

    let auth = format!("AWS4-HMAC-SHA256 Credential=AKIA/20260101/{region}/s3/aws4_request, Signature=0");
    let bucket = format!("{}/disks-of-a-user", cloud.address);
    ureq::put(&bucket).header("authorization", &auth).send_empty().unwrap();
    ureq::put(format!("{bucket}/letters/1")).header("authorization", &auth).send("dear").unwrap();
    let made = tool.run(&["create"]).result();
    assert_eq!(cloud.left(region)["buckets"]["disks-of-a-user"]["keys"], json!(["letters/1"]));
    tool.run(&["delete", "--image", made["image"].as_str().unwrap()]).result();
    assert_eq!(cloud.left(region)["buckets"]["disks-of-a-user"]["keys"], json!(["letters/1"]));
    cloud.assert_nothing_left(region, "none");
}

#[test]
fn other_clouds_are_refused_with_what_to_do() {
    for (provider, key) in [("azure", "AZURE_IMAGE_ID"), ("gcp", "PODVM_IMAGE_NAME")] {
        let tool = Tool::plain(&[("CLOUD_PROVIDER", provider), ("CLUSTER_ID", CLUSTER)]);
        for verb in ["create", "delete", "show"] {
            let ran = tool.run(&[verb]);
            ran.failed(3, &["makes and deletes no images", &format!("set {key} in config map peer-pods-cm")]);
        }
    }
    let tool = Tool::plain(&[("CLOUD_PROVIDER", "moon")]);
    tool.run(&["create"]).failed(1, &["CLOUD_PROVIDER: \"moon\" is no cloud"]);
    Tool::plain(&[]).run(&["delete"]).failed(1, &["CLOUD_PROVIDER: not set"]);
}
