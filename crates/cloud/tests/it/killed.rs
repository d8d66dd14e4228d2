//! The job is killed after each single request that it makes, and started again: one image, and nothing else.

use std::time::Duration;

use serde_json::json;

use crate::cloud::Cloud;
use crate::tool::{Tool, disk};

const REGION: &str = "eu-central-1";

/// Runs the job until its request of that number is done, and kills it before the answer. Tells whether there was one.
fn kill_at(cloud: &Cloud, tool: &Tool, verb: &str, request: u32) -> bool {
    cloud.control("set", &json!({"fuse": request, "held": false}));
    let mut job = tool.spawn(&[verb]);
    let killed = loop {
        if cloud.control("state", &json!({}))["held"] == json!(true) {
            job.kill().unwrap();
            break true;
        }
        if let Some(status) = job.try_wait().unwrap() {
            assert!(status.success(), "{verb} failed by itself before request {request}");
            break false;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    job.wait().unwrap();
    cloud.control("set", &json!({"fuse": null}));
    cloud.control("release", &json!({}));
    killed
}

#[test]
fn a_job_that_is_killed_anywhere_leaks_nothing() {
    let cloud = Cloud::start();
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = disk(folder.path(), 1, 20);
    let (second, _) = disk(folder.path(), 1, 21);
    let source = |path: &std::path::Path| format!("file::{}", path.display());
    let mut kills = 0;
    for request in 1.. {
        let mut tool = Tool::new(&cloud, REGION, &format!("{request:08}-0000-4000-8000-000000000001"));
        tool.set("PODVM_IMAGE_URI", source(&first));
        // Every third has an image to replace, and every other goes on with another disk than the killed one had.
        if request % 3 == 0 {
            tool.run(&["create"]).result();
            tool.set("PODVM_IMAGE_URI", source(&second));
        }
        let killed = kill_at(&cloud, &tool, "create", request);
        if request % 2 == 0 {
            tool.set("PODVM_IMAGE_URI", source(&first));
        }
        let made = tool.run(&["create"]).result();
        let left = cloud.left(REGION);
        let what = format!("killed after request {request}: {left}");
        assert_eq!(left["images"].as_array().unwrap().len(), 1, "{what}");
        assert_eq!(left["images"][0]["id"], made["image"], "{what}");
        assert_eq!(left["snapshots"].as_array().unwrap().len(), 1, "{what}");
        assert_eq!(left["imports"].as_array().unwrap().len(), 1, "{what}");
        assert_eq!(left["buckets"], json!({}), "{what}");

        let killed_again = kill_at(&cloud, &tool, "delete", request);
        tool.run(&["delete"]).result();
        cloud.assert_nothing_left(REGION, "any");
        assert_eq!(cloud.left(REGION)["buckets"], json!({}), "deletion killed after request {request}");
        // And once more, with nobody who wants the image any more.
        let mut given_up = Tool::new(&cloud, REGION, &format!("{request:08}-0000-4000-8000-000000000002"));
        given_up.set("PODVM_IMAGE_URI", source(&first));
        kill_at(&cloud, &given_up, "create", request);
        given_up.run(&["delete"]).result();
        cloud.assert_nothing_left(REGION, "any");
        assert_eq!(cloud.left(REGION)["buckets"], json!({}), "given up after request {request}");

        kills += u32::from(killed) + u32::from(killed_again);
        if !killed {
            break;
        }
    }
    // Fewer would mean that the fuse did not burn.
    assert!(kills > 25, "only {kills} kills");
    println!("{kills} kills");
}

#[test]
fn a_failed_import_is_told_and_the_next_run_begins_another() {
    let cloud = Cloud::start();
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = disk(folder.path(), 1, 22);
    let mut tool = Tool::new(&cloud, REGION, "ffffffff-0000-4000-8000-000000000001");
    tool.set("PODVM_IMAGE_URI", format!("file::{}", path.display()));
    cloud.control("set", &json!({"fail": "role"}));
    tool.run(&["create"]).failed(1, &["service role vmimport", "vmie.amazonaws.com"]);
    cloud.control("set", &json!({"fail": "ClientError: Disk validation failed [Unsupported]"}));
    tool.run(&["create"]).failed(1, &["is deleted: ClientError: Disk validation failed", "partition table"]);
    cloud.control("set", &json!({"fail": null, "polls": 3}));
    tool.run(&["create"]).result();
    let left = cloud.left(REGION);
    assert_eq!((left["images"].as_array().unwrap().len(), &left["buckets"]), (1, &json!({})));
    assert_eq!(left["tasks"], json!(2), "the second run began an import of its own");
    tool.run(&["delete"]).result();
    cloud.assert_nothing_left(REGION, "any");
}
