//! Rights that somebody takes away from the operator: what is told, that nothing wrong is done, and that `deploy/`
//! applied again mends it.

use std::io::BufReader;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::{Api, PostParams};
use osc_api::names;
use serde_json::json;

use super::Beginning::Installed;
use super::{Story, story};
use crate::bed::{self, Bed, NAME, On, eventually, message, reason, workers};
use crate::rights::audit;
use crate::rights::{BY_ADMISSION, operator};

pub fn stories() -> Vec<Story> {
    let why = "the embedded server knows no rights";
    let stories = [
        story!(without_the_right_to_read_a_kind_it_is_told_and_nothing_is_done, workers(1)),
        story!(without_a_right_that_admission_asks_for_a_write_is_refused, workers(1)),
    ];
    stories.into_iter().map(|story| story.from(Installed).only(On::Real, why).takes_rights()).collect()
}

/// Takes the rights to a resource out of the operator's role in the cluster.
async fn take(bed: &Bed, resource: &str) {
    let roles: Api<ClusterRole> = Api::all(bed.client.clone());
    let mut role = roles.get(names::OPERATOR_NAME).await.unwrap();
    let other = |rule: &PolicyRule| !rule.resources.iter().flatten().any(|found| found == resource);
    let (kept, taken) = role.rules.take().unwrap_or_default().into_iter().partition::<Vec<_>, _>(other);
    assert_ne!(taken, [], "there was a right to {resource}");
    role.rules = Some(kept);
    roles.replace(names::OPERATOR_NAME, &PostParams::default(), &role).await.unwrap();
}

async fn without_the_right_to_read_a_kind_it_is_told_and_nothing_is_done(bed: &mut Bed) {
    take(bed, "machineconfigpools").await;
    bed.run_operator(bed::options()).await;
    bed.create(NAME, json!({})).await;
    bed.until(NAME, "told", |status| {
        reason(status, "Degraded") == ("True", "ClusterUnreadable")
            && message(status, "Degraded").contains("cannot read MachineConfigPool: ")
            && message(status, "Degraded").contains(r#"cannot list resource "machineconfigpools""#)
    })
    .await;
    let pools = bed.names_of::<osc_api::openshift::MachineConfigPool>().await;
    assert_eq!(pools, ["master", "worker"], "nothing is concluded from what cannot be read");
    bed.install().await;
    bed.installed(NAME).await;
    bed.assert_reboots(&[("worker-0", 1)]).await;
}

async fn without_a_right_that_admission_asks_for_a_write_is_refused(bed: &mut Bed) {
    let [(_, resource, ..)] = BY_ADMISSION else { panic!("tell a story of each: {BY_ADMISSION:?}") };
    take(bed, resource).await;
    bed.run_operator(bed::options()).await;
    bed.create(NAME, json!({})).await;
    let refused = || async {
        let log = std::fs::File::open(bed.real().audit_log()).unwrap();
        !audit::read(BufReader::new(log), &operator()).refused.is_empty()
    };
    assert!(eventually(refused).await, "no write needs {resource}");
    bed.install().await;
    bed.installed(NAME).await;
}
