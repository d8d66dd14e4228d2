//! Images that are brought to a host.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use osc_cloud::libvirt::Libvirt;
use osc_cloud::libvirt::volumes::{PoolDeletion, Progress, Storage, Upload};
use osc_cloud::{Deletion, Error, Provider};
use sha2::{Digest, Sha256};

use crate::host::{Host, disk, spec};

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|half| char::from(b"0123456789abcdef"[usize::from(half)]))
        .collect()
}

fn upload(bytes: &[u8]) -> Upload {
    Upload {
        name: "image.qcow2".into(),
        format: "qcow2".into(),
        capacity: 64 << 20,
        length: bytes.len() as u64,
        sha256: Some(digest(bytes)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_uploaded_checked_used_and_deleted_with_its_pool() {
    let host = Host::start();
    let storage = Storage::new(&host.account()).unwrap();
    let directory = host.directory.path().join("images");
    assert!(storage.pool("images").await.unwrap().is_none());
    let pool = storage.open_pool("images", &directory).await.unwrap();
    assert!(pool.is_ours() && pool.is_empty().await.unwrap() && directory.is_dir());
    assert!(host.virsh("pool-info images").contains("Autostart:      yes"));

    let image = fs::read(disk()).unwrap();
    let seen = Mutex::new(Vec::new());
    let sent = pool
        .upload(&upload(&image), &image[..], &|progress| seen.lock().unwrap().push(progress))
        .await
        .unwrap();
    assert_eq!(sent, digest(&image));
    assert_eq!(fs::read(directory.join("image.qcow2")).unwrap()[..image.len()], image);
    let seen = seen.into_inner().unwrap();
    let length = image.len() as u64;
    assert!(seen.contains(&Progress::Sent(length)) && seen.contains(&Progress::Checked(length)), "{seen:?}");
    let info = pool.volume("image.qcow2").await.unwrap().unwrap();
    assert!(info.complete && info.format == "qcow2" && info.capacity == 64 << 20, "{info:?}");
    assert_eq!(pool.digest("image.qcow2", length).await.unwrap(), Some(digest(&image)));
    assert_eq!(pool.volumes().await.unwrap(), ["image.qcow2"]);

    // It is an image: a machine starts from it.
    let account = host.account().setting("LIBVIRT_POOL", "images").setting("LIBVIRT_IMAGE_ID", "image.qcow2");
    let cloud = Libvirt::new(&account).unwrap();
    let made = cloud.create(&spec("web")).await.unwrap();
    assert_eq!(cloud.delete(&made.id).await, Ok(Deletion::Deleted));

    // Nothing is overwritten.
    let again = pool.upload(&upload(&image), &image[..], &|_| ()).await.unwrap_err();
    assert!(matches!(again, Error::Taken { .. }), "{again}");

    assert_eq!(
        storage.delete_empty_pool("images").await,
        Ok(PoolDeletion::NotEmpty(vec!["image.qcow2".to_owned()]))
    );
    assert_eq!(pool.delete_volume("image.qcow2").await, Ok(Deletion::Deleted));
    assert_eq!(pool.delete_volume("image.qcow2").await, Ok(Deletion::WasGone));
    assert_eq!(storage.delete_empty_pool("images").await, Ok(PoolDeletion::Deleted));
    assert!(!directory.exists());
    assert_eq!(storage.delete_empty_pool("images").await, Ok(PoolDeletion::WasGone));
}

/// Whoever makes or deletes a pool may die between its directory and its definition.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_ours_without_its_directory_is_used_and_deleted_all_the_same() {
    let host = Host::start();
    let storage = Storage::new(&host.account()).unwrap();
    let directory = host.directory.path().join("images");
    let lose = || {
        host.virsh("pool-destroy images");
        fs::remove_dir(&directory).unwrap();
    };
    storage.open_pool("images", &directory).await.unwrap();
    lose();
    let pool = storage.open_pool("images", &directory).await.unwrap();
    assert!(directory.is_dir() && pool.is_empty().await.unwrap());
    lose();
    assert_eq!(storage.delete_empty_pool("images").await, Ok(PoolDeletion::Deleted));
    assert!(!directory.exists() && !host.virsh("pool-list --all").contains("images"));
    // That of a person is theirs to mend.
    fs::create_dir(&directory).unwrap();
    host.virsh(&format!("pool-create-as other dir --target {}", directory.display()));
    host.virsh(&format!("pool-define-as theirs dir --target {}", directory.join("mount").display()));
    let refused = storage.pool("theirs").await.err().unwrap().to_string();
    assert!(refused.contains("start pool theirs"), "{refused}");
    assert!(!directory.join("mount").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_wrong_is_deleted() {
    let host = Host::start();
    let storage = Storage::new(&host.account()).unwrap();
    let pool = storage.pool("pods").await.unwrap().unwrap();
    let image = vec![7_u8; 3_000_000];

    let wrong = Upload { sha256: Some("00".repeat(32)), ..upload(&image) };
    let error = pool.upload(&wrong, &image[..], &|_| ()).await.unwrap_err();
    assert!(
        matches!(error, Error::Checksum { .. }) && error.to_string().contains(&digest(&image)),
        "{error}"
    );
    assert_eq!(host.left(), [] as [&str; 0]);

    let longer = Upload { length: 4_000_000, ..upload(&image) };
    let error = pool.upload(&longer, &image[..], &|_| ()).await.unwrap_err();
    assert!(error.to_string().contains("ended after 3000000 of 4000000 bytes"), "{error}");
    assert_eq!(host.left(), [] as [&str; 0]);

    let error = pool
        .upload(&Upload { format: "vmdk".into(), ..upload(&image) }, &image[..], &|_| ())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("vmdk"), "{error}");
    assert_eq!(host.left(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_died_is_known_and_begun_again() {
    let host = Host::start();
    let storage = Storage::new(&host.account()).unwrap();
    let pool = storage.pool("pods").await.unwrap().unwrap();
    // As it is when whoever uploads dies in the middle.
    host.virsh("vol-create-as pods image.qcow2 1M --format qcow2");
    host.virsh("vol-create-as pods image.qcow2.incomplete 0");
    assert!(!pool.volume("image.qcow2").await.unwrap().unwrap().complete);
    let account = host.account().setting("LIBVIRT_IMAGE_ID", "image.qcow2");
    let cloud = Libvirt::new(&account).unwrap();
    let errors = cloud.verify().await.unwrap_err();
    assert!(
        errors[0].to_string().contains("LIBVIRT_IMAGE_ID is image.qcow2, whose upload was not finished"),
        "{errors:?}"
    );
    let refused = cloud.create(&spec("web")).await.unwrap_err();
    assert_eq!(refused.error, errors[0]);

    let image = fs::read(disk()).unwrap();
    pool.upload(&upload(&image), &image[..], &|_| ()).await.unwrap();
    assert_eq!(host.left(), ["image.qcow2"]);
    cloud.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_of_others_are_not_deleted() {
    let host = Host::start();
    let storage = Storage::new(&host.account()).unwrap();
    host.virsh("vol-delete podvm.qcow2 pods");
    assert_eq!(storage.delete_empty_pool("pods").await, Ok(PoolDeletion::NotOurs));
    let pool = storage.open_pool("pods", Path::new("elsewhere")).await.unwrap();
    assert!(!pool.is_ours());
    assert_eq!(pool.path(), host.pool());
    // A file where the directory should be.
    let file = host.directory.path().join("file");
    fs::write(&file, "").unwrap();
    storage.open_pool("broken", &file).await.unwrap_err();
    let (known, _) = host.try_virsh("pool-info broken");
    assert!(!known, "the definition of a pool that could not be made is left");
}
