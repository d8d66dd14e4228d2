//! Roles.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use serde::Deserialize;

use super::client::{Client, Params, Service};
use super::credentials::Session;
use super::error::{Error, Result};
use super::xml;

const ACTION: &str = "AssumeRoleWithWebIdentity";
/// How the session calls itself in AWS's audit log.
const SESSION: &str = "sandboxed-containers";

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "AssumeRoleWithWebIdentityResult")]
    result: Assumed,
}

#[derive(Deserialize)]
struct Assumed {
    #[serde(rename = "Credentials")]
    credentials: Keys,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

/// Takes on a role.
pub(super) fn assume(client: &Client, role: &str, token: &str) -> Result<Session> {
    let params =
        Params::new().with("RoleArn", role).with("RoleSessionName", SESSION).with("WebIdentityToken", token);
    let body = client.query(Service::Sts, ACTION, &params)?;
    let answer: Answer = xml::read(Service::Sts, ACTION, &body)?;
    let keys = answer.result.credentials;
    let until: jiff::Timestamp = keys.expiration.parse().map_err(|error: jiff::Error| Error::Answer {
        service: Service::Sts.title(),
        action: ACTION.to_owned(),
        why: format!("the end of the session cannot be read: {error}"),
    })?;
    let seconds = u64::try_from(until.as_second()).unwrap_or_default();
    let keys =
        Credentials::new(keys.access_key_id, keys.secret_access_key, Some(keys.session_token), None, "role");
    Ok(Session { keys, until: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) })
}
