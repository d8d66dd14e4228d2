use std::time::Duration;

use super::*;

fn tags(cluster: &str) -> Tags {
    Tags { cluster: cluster.into(), pod: "web".into(), sandbox: "s1".into(), ..Tags::default() }
}

fn spec(name: &str) -> InstanceSpec {
    InstanceSpec::new(name, tags("c1"))
}

fn lost() -> Error {
    Error::Unreachable { kind: Kind::Aws, message: "the connection was reset".into() }
}

#[tokio::test]
async fn a_machine_comes_and_goes_with_its_volume() {
    for kind in Kind::ALL {
        let memory = Memory::new();
        let account = Account::new(kind);
        let cloud = memory.connect(&account).await.unwrap();
        assert_eq!(cloud.kind(), kind);
        let made = cloud.create(&spec("podvm-web-01234567")).await.unwrap();
        assert_eq!(
            memory.left().to_string(),
            format!("machine podvm-web-01234567 ({}), volume podvm-web-01234567-root", made.id)
        );
        assert_eq!(cloud.list(&Owner::new("c1")).await.unwrap(), std::slice::from_ref(&made));
        assert_eq!(cloud.list(&Owner::new("c2")).await.unwrap(), []);
        assert_eq!(cloud.untagged().await.unwrap(), []);
        assert_eq!(cloud.delete(&made.id).await, Ok(Deletion::Deleted));
        assert_eq!(cloud.delete(&made.id).await, Ok(Deletion::WasGone));
        assert!(memory.left().is_empty(), "{}", memory.left());
        let malformed = cloud.delete("no such form").await.unwrap_err();
        assert!(malformed.is_hopeless() && !malformed.is_transient(), "{malformed}");
    }
}

#[tokio::test]
async fn creating_twice_is_creating_once() {
    let memory = Memory::new();
    let cloud = memory.provider(Kind::Aws);
    let one = cloud.create(&spec("podvm-web-01234567")).await.unwrap();
    assert_eq!(cloud.create(&spec("podvm-web-01234567")).await.unwrap(), one);
    let other = InstanceSpec::new("podvm-web-01234567", tags("c2"));
    assert!(matches!(cloud.create(&other).await.unwrap_err().error, Error::Taken { .. }));
    assert_eq!(memory.instances(), [one]);
}

#[tokio::test]
async fn faults_come_at_the_call_that_they_are_for() {
    let memory = Memory::new();
    let cloud = memory.provider(Kind::Aws);
    memory.fault(Operation::Create, 2, Fault::Error(lost()));
    memory.fault(Operation::Create, 3, Fault::Partial(lost()));
    memory.fault(Operation::Create, 4, Fault::Lost(lost()));
    memory.fault(Operation::Delete, 1, Fault::Lost(lost()));
    cloud.create(&spec("podvm-a-1")).await.unwrap();
    assert_eq!(cloud.create(&spec("podvm-b-1")).await.unwrap_err(), CreateError::clean(lost()));
    let partial = cloud.create(&spec("podvm-c-1")).await.unwrap_err();
    assert_eq!(partial.left.map(|left| left.name), Some("podvm-c-1".into()));
    assert_eq!(cloud.create(&spec("podvm-d-1")).await.unwrap_err(), CreateError::clean(lost()));
    let names = |all: Vec<Instance>| all.into_iter().map(|one| one.name).collect::<Vec<_>>();
    assert_eq!(names(memory.instances()), ["podvm-a-1", "podvm-c-1", "podvm-d-1"]);
    let first = memory.instances()[0].id.clone();
    assert_eq!(cloud.delete(&first).await, Err(lost()));
    assert_eq!(cloud.delete(&first).await, Ok(Deletion::WasGone));
    assert_eq!(memory.calls().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn slow_answers_take_the_time_that_was_said() {
    let memory = Memory::new();
    memory.fault(Operation::List, 1, Fault::Slow(Duration::from_secs(90)));
    let begun = tokio::time::Instant::now();
    memory.provider(Kind::Gcp).list(&Owner::new("c1")).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(90));
}

#[tokio::test]
async fn credentials_can_be_revoked_and_renewed() {
    let memory = Memory::new();
    let cloud = memory.provider(Kind::Azure);
    memory.set_unauthorized(true);
    assert!(matches!(cloud.verify().await.unwrap_err()[..], [Error::Unauthorized { .. }]));
    assert!(matches!(cloud.create(&spec("podvm-a-1")).await.unwrap_err().error, Error::Unauthorized { .. }));
    assert!(memory.left().is_empty());
    memory.set_unauthorized(false);
    cloud.verify().await.unwrap();
}

#[tokio::test]
async fn what_others_made_is_told_as_theirs() {
    let memory = Memory::new();
    let cloud = memory.provider(Kind::Libvirt);
    let old = memory.plant(Kind::Libvirt, "podvm-old-01234567", Tags::default());
    memory.plant(Kind::Aws, "podvm-other-01234567", Tags::default());
    memory.plant(Kind::Libvirt, "podvm-theirs-01234567", tags("c2"));
    let untagged = cloud.untagged().await.unwrap();
    assert_eq!(untagged.iter().map(|one| &one.id).collect::<Vec<_>>(), [&old]);
    assert!(memory.vanish(&old) && !memory.vanish(&old));
    assert_eq!(cloud.delete(&old).await, Ok(Deletion::WasGone));
}
