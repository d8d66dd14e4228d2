//! Where the credentials come from: a person, the cloud's trust in the cluster's tokens, or the Cloud Credential Operator.
//!
//! What a person made is never touched. What was asked for goes again with peer pods.

use std::collections::BTreeMap;

use osc_api::names;
use osc_api::peerpods::{self, Provider};
use serde_json::{Value, json};

use super::digest::digest;
use super::progress::Progress;
use super::situation::{Situation, own, texts};
use crate::desired::{Desired, with_identity};
use crate::object::{Kind, ObjectId, conditions, holds, is_deleted, time};
use crate::observed::{KataConfigView, Observed, Settings, Sts};
use crate::plan::{Step, Translation};

/// Names of requests, by the cloud that the cluster runs on.
const REQUESTS: [(Provider, &str); 2] = [
    (Provider::Aws, "openshift-sandboxed-containers-aws"),
    (Provider::Azure, "openshift-sandboxed-containers-azure"),
];

/// What pod VMs and their images need on AWS.
const AWS_ACTIONS: [&str; 26] = [
    "ec2:AssociateAddress",
    "ec2:AttachNetworkInterface",
    "ec2:CancelImportTask",
    "ec2:CreateImage",
    "ec2:CreateNetworkInterface",
    "ec2:CreateTags",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteSnapshot",
    "ec2:DeregisterImage",
    "ec2:DescribeAddresses",
    "ec2:DescribeImages",
    "ec2:DescribeImportSnapshotTasks",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeKeyPairs",
    "ec2:DescribeRegions",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSnapshots",
    "ec2:DescribeSubnets",
    "ec2:DescribeVolumes",
    "ec2:ImportSnapshot",
    "ec2:ModifyNetworkInterfaceAttribute",
    "ec2:RegisterImage",
    "ec2:RunInstances",
    "ec2:StopInstances",
    "ec2:TerminateInstances",
];

/// What the image job needs of the bucket that it makes, fills and deletes. An import reads it by the role vmimport.
const BUCKET_ACTIONS: [&str; 9] = [
    "s3:AbortMultipartUpload",
    "s3:CreateBucket",
    "s3:DeleteBucket",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:PutBucketTagging",
    "s3:PutObject",
];

/// Buckets of image jobs, in whatever partition of AWS.
const BUCKETS: &str = "arn:*:s3:::podvm-*";

/// Conditions of a CredentialsRequest that say why there are no credentials.
const REFUSALS: [&str; 4] =
    ["CredentialsProvisionFailure", "InsufficientCloudCreds", "MissingTargetNamespace", "StaleCredentials"];

fn request_id(name: &str) -> ObjectId {
    ObjectId::namespaced(Kind::CredentialsRequest, peerpods::CREDENTIALS_REQUEST_NAMESPACE, name)
}

/// Both requests, as steps name them.
pub fn request_ids() -> impl Iterator<Item = ObjectId> {
    REQUESTS.iter().map(|(_, name)| request_id(name))
}

/// Sees to the secret.
pub fn ensure(situation: &Situation<'_>, kata_config: &KataConfigView, provider: Provider) -> Progress {
    let mut progress = Progress::default();
    let secret = situation.find(Kind::Secret, peerpods::CREDENTIALS).filter(|secret| !is_deleted(secret));
    if let Some(source) = situation.find(Kind::Secret, peerpods::CLOUD_CREDENTIALS)
        && secret.is_none_or(is_requested)
    {
        progress.steps.extend(translated(situation.settings, source, secret));
        if can_ask(situation, provider) {
            let (id, object) = request(situation.settings, kata_config, provider);
            let found = situation.observed.objects.get(&id);
            progress.steps.extend(found.and_then(|found| renewed(found, id, object)));
        }
        if secret.is_none() {
            progress.wait("credentials are written");
        }
        return progress;
    }
    if secret.is_some() {
        return progress;
    }
    if let Some(sts) = situation.settings.peer_pods.sts.as_ref().filter(|sts| sts.provider() == provider) {
        let (id, object) = trusted(situation.settings, sts);
        progress.steps.push(Step::Apply { id, object });
        progress.wait("credentials are written");
    } else if can_ask(situation, provider) {
        let (id, object) = request(situation.settings, kata_config, provider);
        match situation.observed.objects.get(&id) {
            None => progress.steps.push(Step::Apply { id, object }),
            Some(found) => {
                unanswered(situation, found, &mut progress);
                progress.steps.extend(renewed(found, id, object));
            }
        }
        progress.wait("the Cloud Credential Operator writes credentials");
    }
    progress
}

/// The request as it has to be, where one is there that asks for something else: that of another release.
fn renewed(found: &Value, id: ObjectId, object: Value) -> Option<Step> {
    (!is_deleted(found) && !holds(&object, found)).then_some(Step::Apply { id, object })
}

/// A request to which there is no secret yet: what the Cloud Credential Operator says about it, or that it says nothing.
fn unanswered(situation: &Situation<'_>, request: &Value, progress: &mut Progress) {
    let name = request["metadata"]["name"].as_str().unwrap_or_default();
    let said = conditions(request, "True")
        .filter(|one| REFUSALS.iter().any(|type_| one["type"] == *type_))
        .find_map(|one| one["message"].as_str());
    let limit = situation.settings.peer_pods.start_deadline;
    let made = time(&request["metadata"]["creationTimestamp"]);
    let deadline = made.and_then(|made| made.checked_add(limit).ok());
    let words = match (said, deadline) {
        (Some(said), _) => said.trim_end_matches('.').to_owned(),
        (None, Some(deadline)) if situation.observed.now >= deadline => {
            format!("no answer for {} min; in its manual mode it gives none", limit.as_mins())
        }
        (None, deadline) => return progress.wake_by(deadline),
    };
    progress.trouble(
        "CredentialsNotGiven",
        format!(
            "the Cloud Credential Operator gives no credentials for CredentialsRequest {}/{name}: {words}. Mend that, or create Secret \
             {}/{} with credentials of your own: osc peerpods configure --with secret prints one",
            peerpods::CREDENTIALS_REQUEST_NAMESPACE,
            situation.settings.namespace,
            peerpods::CREDENTIALS,
        ),
    );
}

/// Whether the cluster can be asked for credentials of that cloud: it runs there, and has who can be asked.
pub fn can_ask(situation: &Situation<'_>, provider: Provider) -> bool {
    let platform = situation.setup.platform.as_deref().unwrap_or_default();
    situation.observed.capabilities.credentials_requests
        && REQUESTS.iter().any(|(known, _)| *known == provider)
        && platform.eq_ignore_ascii_case(provider.name())
}

/// Whether the secret was written from what the Cloud Credential Operator gave.
fn is_requested(secret: &Value) -> bool {
    secret["metadata"]["labels"][peerpods::REQUESTED_LABEL] == "true"
}

/// Writes what the Cloud Credential Operator gave in the form that the adaptor reads, whenever that changes.
fn translated(settings: &Settings, source: &Value, secret: Option<&Value>) -> Option<Step> {
    let digests = texts(&source["digests"]);
    let from = digest(digests.into_iter().flat_map(|(key, value)| [key, value]));
    if secret
        .is_some_and(|secret| secret["metadata"]["annotations"][peerpods::SOURCE_DIGEST] == from.as_str())
    {
        return None;
    }
    let metadata = json!({
        "name": peerpods::CREDENTIALS,
        "namespace": settings.namespace,
        "labels": {peerpods::REQUESTED_LABEL: "true"},
        "annotations": {peerpods::SOURCE_DIGEST: from},
        // It goes with what it was written from.
        "ownerReferences": [{
            "apiVersion": "v1",
            "kind": "Secret",
            "name": peerpods::CLOUD_CREDENTIALS,
            "uid": source["metadata"]["uid"],
        }],
    });
    Some(Step::CopySecret {
        id: own(settings, Kind::Secret, peerpods::CREDENTIALS),
        object: with_identity(Kind::Secret, metadata, json!({"type": "Opaque"})),
        from: own(settings, Kind::Secret, peerpods::CLOUD_CREDENTIALS),
        translation: Translation::CloudCredentials,
    })
}

/// What the Cloud Credential Operator writes, under the names that the adaptor reads. What means nothing to it is left out.
pub fn translate(source: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    const SAME: [&str; 7] = [
        "aws_access_key_id",
        "aws_secret_access_key",
        "azure_subscription_id",
        "azure_client_id",
        "azure_client_secret",
        "azure_tenant_id",
        "azure_federated_token_file",
    ];
    let mut written = BTreeMap::new();
    for (key, value) in source {
        match key.as_str() {
            same if SAME.contains(&same) => {
                written.insert(same.to_ascii_uppercase(), value.clone());
            }
            "service_account.json" => {
                written.insert("GCP_CREDENTIALS".to_owned(), value.clone());
            }
            _ => {}
        }
    }
    if let Some(profile) = source.get("credentials") {
        written.extend(profile_of_aws(&String::from_utf8_lossy(profile)));
    }
    written
}

/// A profile of the AWS tools: what a cluster that logs in by tokens is given.
fn profile_of_aws(text: &str) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let name = |key: &str| match key {
        "role_arn" => Some("AWS_ROLE_ARN"),
        "web_identity_token_file" => Some("AWS_WEB_IDENTITY_TOKEN_FILE"),
        _ => None,
    };
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.filter_map(move |(key, value)| {
        Some((name(key.trim())?.to_owned(), value.trim().as_bytes().to_vec()))
    })
}

/// The secret where the cloud trusts the cluster's tokens: names, and nothing secret.
fn trusted(settings: &Settings, sts: &Sts) -> Desired {
    let token = format!("{}/token", peerpods::TOKEN_DIRECTORY);
    let data = match sts {
        Sts::Aws { role } => json!({"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": token}),
        Sts::Azure { client, tenant, subscription } => json!({
            "AZURE_CLIENT_ID": client,
            "AZURE_TENANT_ID": tenant,
            "AZURE_SUBSCRIPTION_ID": subscription,
            "AZURE_FEDERATED_TOKEN_FILE": token,
        }),
    };
    let metadata = json!({
        "name": peerpods::CREDENTIALS,
        "namespace": settings.namespace,
        "labels": {peerpods::STS_LABEL: sts.provider().name()},
    });
    let object = with_identity(Kind::Secret, metadata, json!({"type": "Opaque", "stringData": data}));
    (own(settings, Kind::Secret, peerpods::CREDENTIALS), object)
}

fn request(settings: &Settings, kata_config: &KataConfigView, provider: Provider) -> Desired {
    let known = REQUESTS.iter().find(|(known, _)| *known == provider);
    let name = known.map(|(_, name)| *name).unwrap_or_default();
    let spec = match provider {
        Provider::Azure => json!({
            "kind": "AzureProviderSpec",
            "roleBindings": [
                {"role": "Reader"},
                {"role": "Virtual Machine Contributor"},
                {"role": "Network Contributor"},
            ],
        }),
        _ => json!({
            "kind": "AWSProviderSpec",
            "statementEntries": [
                {"effect": "Allow", "action": AWS_ACTIONS, "resource": "*"},
                {"effect": "Allow", "action": BUCKET_ACTIONS, "resource": BUCKETS},
            ],
        }),
    };
    let mut provider_spec = json!({"apiVersion": "cloudcredential.openshift.io/v1"});
    if let (Value::Object(all), Value::Object(own)) = (&mut provider_spec, spec) {
        all.extend(own);
    }
    let metadata = json!({
        "name": name,
        "namespace": peerpods::CREDENTIALS_REQUEST_NAMESPACE,
        "labels": {names::APP_LABEL: kata_config.name},
    });
    let body = json!({"spec": {
        "secretRef": {"name": peerpods::CLOUD_CREDENTIALS, "namespace": settings.namespace},
        "serviceAccountNames": [
            peerpods::ADAPTOR_SERVICE_ACCOUNT,
            peerpods::IMAGE_SERVICE_ACCOUNT,
            // It deletes virtual machines of pods that are gone.
            names::OPERATOR_NAME,
        ],
        "providerSpec": provider_spec,
    }});
    (request_id(name), with_identity(Kind::CredentialsRequest, metadata, body))
}

/// Takes back what was asked for.
pub fn withdraw(observed: &Observed, settings: &Settings) -> Vec<Step> {
    let mut steps: Vec<Step> = request_ids()
        .filter(|id| observed.objects.get(id).is_some_and(|found| !is_deleted(found)))
        .map(|id| Step::Delete { id })
        .collect();
    let id = own(settings, Kind::Secret, peerpods::CREDENTIALS);
    let trusted = observed.objects.get(&id).filter(|secret| !is_deleted(secret));
    if trusted.is_some_and(|secret| {
        secret["metadata"]["labels"][peerpods::STS_LABEL].as_str().is_some_and(|cloud| !cloud.is_empty())
    }) {
        steps.push(Step::Delete { id });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::aws_keys(
        &[("aws_access_key_id", "a"), ("aws_secret_access_key", "b")],
        &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]
    )]
    #[case::aws_tokens(
        &[("credentials", "[default]\nsts_regional_endpoints = regional\nrole_arn = arn:aws:iam::1:role/x\n\
           web_identity_token_file=/var/run/t\n")],
        &[("AWS_ROLE_ARN", "arn:aws:iam::1:role/x"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/t")]
    )]
    #[case::azure(
        &[("azure_client_id", "c"), ("azure_client_secret", "s"), ("azure_region", "r"), ("azure_resourcegroup", "g"),
          ("azure_resource_prefix", "p"), ("azure_subscription_id", "u"), ("azure_tenant_id", "t")],
        &[("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "s"), ("AZURE_SUBSCRIPTION_ID", "u"), ("AZURE_TENANT_ID", "t")]
    )]
    #[case::google(&[("service_account.json", "{}")], &[("GCP_CREDENTIALS", "{}")])]
    #[case::nothing_that_is_known(&[("user", "x")], &[])]
    fn what_the_cluster_gives_is_read(#[case] source: &[(&str, &str)], #[case] expected: &[(&str, &str)]) {
        let source =
            source.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        let found = translate(&source);
        let found: Vec<(&str, &str)> =
            found.iter().map(|(key, value)| (key.as_str(), std::str::from_utf8(value).unwrap())).collect();
        assert_eq!(found, expected);
    }
}
