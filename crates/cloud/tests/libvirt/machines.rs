//! Machines that come, are found, and go.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use osc_cloud::{Connect, Deletion, Error, Owner, Provider, Tags};

use crate::host::{Host, spec};

fn owner() -> Owner {
    Owner::new("cluster-1")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_comes_is_found_and_goes_with_everything() {
    let mut host = Host::start();
    let account = host.account();
    let cloud = osc_cloud::Clouds.connect(&account).await.unwrap();
    let notes = cloud.verify().await.unwrap();
    assert!(notes.iter().any(|note| note.contains("no KVM")), "{notes:?}");
    assert_eq!(cloud.list(&owner()).await.unwrap(), []);

    let spec = spec("web");
    let made = cloud.create(&spec).await.unwrap();
    assert_eq!(made.name, "podvm-web-01234567");
    assert_eq!(made.tags, spec.tags);
    // It is up, and was told what it should be.
    let told = host.fetch(made.addresses[0], "/user-data").expect("the machine does not answer");
    assert_eq!(String::from_utf8(told).unwrap(), String::from_utf8(spec.user_data.clone()).unwrap());
    assert_eq!(
        host.left(),
        ["podvm-web-01234567", "podvm-web-01234567-cloudinit.iso", "podvm-web-01234567-root.qcow2"]
    );
    let seed = host.virsh("vol-dumpxml podvm-web-01234567-cloudinit.iso pods");
    assert!(seed.contains("<mode>0600</mode>"), "{seed}");
    let root = host.virsh("vol-dumpxml podvm-web-01234567-root.qcow2 pods");
    assert!(
        root.contains("<capacity unit='bytes'>1073741824</capacity>") && root.contains("podvm.qcow2"),
        "{root}"
    );

    // Asked again, it is the same; asked for another pod, it is nobody else's.
    let again = cloud.create(&spec).await.unwrap();
    assert_eq!((&again.id, &again.addresses), (&made.id, &made.addresses));
    let mut other = spec.clone();
    other.tags.cluster = "cluster-2".into();
    let taken = cloud.create(&other).await.unwrap_err();
    assert!(matches!(taken.error, Error::Taken { .. }) && taken.left.is_none(), "{taken}");
    assert!(taken.to_string().contains("kata.peerpods.io/cluster=cluster-1"), "{taken}");

    let listed = cloud.list(&owner()).await.unwrap();
    assert_eq!(listed, [again]);
    assert_eq!(cloud.list(&Owner::new("cluster-2")).await.unwrap(), []);
    assert_eq!(cloud.untagged().await.unwrap(), []);

    // The image stays while a machine is based on it.
    let storage = osc_cloud::libvirt::volumes::Storage::new(&account).unwrap();
    let pool = storage.pool("pods").await.unwrap().unwrap();
    let used = pool.delete_volume("podvm.qcow2").await.unwrap_err();
    assert!(used.to_string().contains("podvm-web-01234567-root.qcow2"), "{used}");

    assert_eq!(cloud.delete(&made.id).await, Ok(Deletion::Deleted));
    assert_eq!(host.left(), [] as [&str; 0]);
    assert!(host.pool().join("podvm.qcow2").exists());
    assert_eq!(cloud.delete(&made.id).await, Ok(Deletion::WasGone));
    assert_eq!(cloud.delete(&made.name).await, Ok(Deletion::WasGone));
    let malformed = cloud.delete("i-0123456789abcdef0").await.unwrap_err();
    assert!(malformed.is_hopeless() && malformed.to_string().contains("UUIDs"), "{malformed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_may_be_restarted_at_any_time() {
    let mut host = Host::start();
    let cloud = host.provider();
    let made = cloud.create(&spec("web")).await.unwrap();
    assert_eq!(host.say("stop"), "done");
    let away = cloud.delete(&made.id).await.unwrap_err();
    assert!(matches!(away, Error::Unreachable { .. }) && away.is_transient(), "{away}");
    assert_eq!(host.say("start"), "done");
    assert_eq!(cloud.list(&owner()).await.unwrap().len(), 1);
    assert_eq!(cloud.delete(&made.id).await, Ok(Deletion::Deleted));
    assert_eq!(host.left(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_is_taken_back() {
    let host = Host::start();
    let cloud = host.provider();
    let mut spec = spec("web");
    host.network("silent", "");
    let account = host.account().setting("LIBVIRT_NET", "silent");
    let silent = osc_cloud::libvirt::Libvirt::new(&account).unwrap();
    spec.patience = Duration::from_mins(5);
    // Long enough to be started, and then dropped while it waits for an address.
    let dropped = tokio::time::timeout(Duration::from_secs(15), silent.create(&spec)).await;
    assert!(dropped.is_err(), "{dropped:?}");
    for _ in 0..100 {
        if host.left().is_empty() {
            assert_eq!(cloud.list(&owner()).await.unwrap(), []);
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("left: {:?}", host.left());
}

/// A domain as an older adaptor defined it: no tags, and the names of volumes that it gave.
fn define_old(host: &Host, name: &str, disks: &[&str]) {
    let mut devices = String::new();
    for (path, letter) in disks.iter().zip('a'..) {
        write!(devices, "<disk type='file'><source file='{path}'/><target dev='vd{letter}'/></disk>")
            .unwrap();
    }
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu><os><type>hvm</type></os>\
         <devices>{devices}</devices></domain>"
    );
    let file = host.directory.path().join("old.xml");
    fs::write(&file, xml).unwrap();
    host.virsh(&format!("define {}", file.display()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_older_adaptors_left_is_told_and_deleted_only_when_asked_for() {
    let host = Host::start();
    let cloud = host.provider();
    for volume in [
        "podvm-old-01234567-root.qcow2",
        "podvm-old-01234567-cloudinit.iso",
        "podvm-lost-01234567-root.qcow2",
        "data.raw",
    ] {
        host.virsh(&format!("vol-create-as pods {volume} 1M"));
    }
    let path = |volume: &str| host.pool().join(volume).to_str().unwrap().to_owned();
    let own =
        [path("podvm-old-01234567-root.qcow2"), path("podvm-old-01234567-cloudinit.iso"), path("data.raw")];
    define_old(&host, "podvm-old-01234567", &own.each_ref().map(String::as_str));
    define_old(&host, "database", &[&path("data.raw")]);

    assert_eq!(cloud.list(&owner()).await.unwrap(), []);
    let untagged = cloud.untagged().await.unwrap();
    let names: Vec<&str> = untagged.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["podvm-old-01234567", "podvm-lost-01234567"]);
    assert!(untagged.iter().all(|one| one.tags == Tags::default()));
    let taken = cloud.create(&spec("old")).await.unwrap_err();
    assert!(taken.to_string().contains("carries no tags"), "{taken}");

    // What is no pod VM is not deleted, whoever asks.
    let database = host.virsh("domuuid database");
    let refused = cloud.delete(&database).await.unwrap_err();
    assert!(matches!(refused, Error::Taken { .. }), "{refused}");

    for one in &untagged {
        assert_eq!(cloud.delete(&one.id).await, Ok(Deletion::Deleted), "{one:?}");
        assert_eq!(cloud.delete(&one.id).await, Ok(Deletion::WasGone), "{one:?}");
    }
    // The disk of another name was not made by an adaptor.
    assert_eq!(host.left(), ["data.raw", "database"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_died_half_way_is_gone_on_with() {
    let host = Host::start();
    let cloud = host.provider();
    let made = cloud.create(&spec("web")).await.unwrap();
    host.virsh("destroy podvm-web-01234567");
    fs::remove_file(host.pool().join("podvm-web-01234567-root.qcow2")).unwrap();
    // It is still found, by its tags.
    assert_eq!(cloud.list(&owner()).await.unwrap().iter().map(|one| &one.id).collect::<Vec<_>>(), [&made.id]);
    // A try to create it anew begins with what is left of it.
    let again = cloud.create(&spec("web")).await.unwrap();
    assert_ne!(again.id, made.id);
    host.virsh("destroy podvm-web-01234567");
    host.virsh("vol-delete podvm-web-01234567-cloudinit.iso pods");
    assert_eq!(cloud.delete(&again.id).await, Ok(Deletion::Deleted));
    assert_eq!(host.left(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_ask_for_the_same_machine_at_once_get_one() {
    let host = Host::start();
    let cloud = host.provider();
    let spec = spec("web");
    let (one, two) = tokio::join!(cloud.create(&spec), cloud.create(&spec));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.id, two.id);
    assert_eq!(cloud.list(&owner()).await.unwrap().len(), 1);
    assert_eq!(cloud.delete(&one.id).await, Ok(Deletion::Deleted));
    assert_eq!(host.left(), [] as [&str; 0]);
}
