//! Creations that fail at every step, and leave nothing.

use std::time::Duration;

use osc_cloud::libvirt::Libvirt;
use osc_cloud::{Account, CreateError, InstanceSpec, Provider};

use crate::host::{Host, spec};

async fn fails(host: &Host, account: &Account, spec: &InstanceSpec) -> CreateError {
    let cloud = Libvirt::new(account).unwrap();
    let error = cloud.create(spec).await.unwrap_err();
    assert_eq!(error.left, None, "{error}");
    assert_eq!(host.left(), [] as [&str; 0], "{error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_nothing_is_left() {
    let host = Host::start();
    host.network("silent", "");
    host.network("stopped", "");
    host.virsh("net-destroy stopped");
    let account = || host.account();
    let pod = spec("web");
    let with = |change: &dyn Fn(&mut InstanceSpec)| {
        let mut spec = spec("web");
        change(&mut spec);
        spec
    };

    // What the settings name.
    for (key, value, told) in [
        ("LIBVIRT_NET", "nowhere", "network nowhere is not there; create it, or change LIBVIRT_NET"),
        ("LIBVIRT_NET", "stopped", "virsh net-start stopped"),
        ("LIBVIRT_POOL", "nowhere", "storage pool nowhere is not there; create it, or change LIBVIRT_POOL"),
        (
            "LIBVIRT_VOL_NAME",
            "no.qcow2",
            "volume no.qcow2 of pool pods is not there; create it, or change LIBVIRT_VOL_NAME",
        ),
    ] {
        let account = account().setting(key, value);
        let error = fails(&host, &account, &pod).await;
        assert!(error.to_string().contains(told), "{error}");
        // Which is told before, too.
        let errors = Libvirt::new(&account).unwrap().verify().await.unwrap_err();
        assert!(errors.iter().any(|error| error.to_string().contains(told)), "{errors:?}");
    }
    let error = fails(&host, &account().setting("LIBVIRT_VOL_NAME", ""), &pod).await;
    assert!(error.to_string().starts_with("LIBVIRT_IMAGE_ID is not set"), "{error}");
    let error = fails(&host, &account(), &with(&|spec| spec.name = "../etc".into())).await;
    assert!(error.to_string().contains("podvm-"), "{error}");

    // Defining, the root disk, starting, the address: each after the one before succeeded.
    let error = fails(&host, &account(), &with(&|spec| spec.cpus = Some(100_000))).await;
    assert!(error.to_string().contains("podvm-web-01234567"), "{error}");
    let error = fails(&host, &account(), &with(&|spec| spec.root_disk_gib = Some(1 << 33))).await;
    assert!(
        error.to_string().contains("create volume podvm-web-01234567-root.qcow2 of pool pods"),
        "{error}"
    );
    let error = fails(&host, &account(), &with(&|spec| spec.memory_mib = Some(1 << 30))).await;
    assert!(error.to_string().contains("start domain podvm-web-01234567"), "{error}");
    let silent = account().setting("LIBVIRT_NET", "silent");
    let error = fails(&host, &silent, &with(&|spec| spec.patience = Duration::from_secs(2))).await;
    assert!(
        error.to_string().contains("an address of podvm-web-01234567 by DHCP of network silent"),
        "{error}"
    );
    assert!(error.error.is_transient(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_back_is_told() {
    let host = Host::start();
    let account = host.account().setting("LIBVIRT_NET", "silent");
    host.network("silent", "");
    let cloud = Libvirt::new(&account).unwrap();
    let mut spec = spec("web");
    spec.patience = Duration::from_secs(12);
    // The pool is stopped while it waits for an address: its volumes cannot be deleted.
    let (created, ()) = tokio::join!(cloud.create(&spec), async {
        while !host.try_virsh("domstate podvm-web-01234567").1.contains("running") {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        host.virsh("pool-destroy pods");
    });
    let error = created.unwrap_err();
    let left = error.left.clone().expect("something is left, and has to be told");
    assert!(
        error.to_string().contains(&left.id) && error.to_string().contains("has to be deleted"),
        "{error}"
    );
    // The address did not come, which is the first thing that went wrong.
    assert!(error.to_string().contains("did not come"), "{error}");
    host.virsh("pool-start pods");
    cloud.delete(&left.id).await.unwrap();
    assert_eq!(host.left(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_a_failed_try_do_not_stop_the_next_one() {
    let host = Host::start();
    let account = host.account().setting("LIBVIRT_NET", "silent");
    host.network("silent", "");
    host.virsh("vol-create-as pods podvm-web-01234567-root.qcow2 1M");
    let mut spec = spec("web");
    spec.patience = Duration::from_secs(1);
    let error = fails(&host, &account, &spec).await;
    // It got as far as the address.
    assert!(error.to_string().contains("did not come"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variables_of_the_firmware_go_too() {
    const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
    assert!(std::path::Path::new(FIRMWARE).exists(), "{FIRMWARE} is not here: run hack/test-deps.sh (ovmf)");
    let mut host = Host::start();
    host.network("silent", "");
    let account = host.account().setting("LIBVIRT_NET", "silent").setting("LIBVIRT_EFI_FIRMWARE", FIRMWARE);
    let cloud = Libvirt::new(&account).unwrap();
    let mut spec = spec("web");
    spec.patience = Duration::from_secs(10);
    let (created, during) = tokio::join!(cloud.create(&spec), async {
        while !host.try_virsh("domstate podvm-web-01234567").1.contains("running") {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        host.say("nvram")
    });
    let error = created.unwrap_err();
    assert!(error.to_string().contains("did not come"), "{error}");
    assert_eq!(error.left, None, "{error}");
    assert_eq!((during.as_str(), host.say("nvram").as_str()), ("1", "0"));
    assert_eq!(host.left(), [] as [&str; 0]);
}
