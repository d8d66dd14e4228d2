//! AWS without its SDK: the few actions of EC2, S3 and STS that pod VMs and their images need.
//!
//! Calls block: they run on threads that may wait. Each is tried again with growing pauses while AWS asks for patience.

mod client;
mod credentials;
mod error;
mod images;
mod instances;
mod network;
mod provider;
mod s3;
mod sts;
mod xml;

use std::collections::BTreeMap;

pub use error::{Error, Refusal, Result};
pub use images::{Image, Import, NewImage, Snapshot};
pub use instances::{Machine, NewMachine};
pub use network::{InstanceType, SecurityGroup, Subnet};
pub use provider::Ec2;
pub use s3::{Bucket, Object, Upload};

use client::{Client, Params, Service};

use crate::Account;

/// AWS in one region with one login.
#[derive(Debug)]
pub struct Aws {
    client: Client,
}

impl Aws {
    /// From the keys of `peer-pods-cm` and `peer-pods-secret`. Nothing is asked of AWS yet.
    ///
    /// `AWS_ENDPOINT_URL`, and with a service at the end (`_EC2`, `_S3`, `_STS`), name other endpoints than the public
    /// ones.
    pub fn connect(settings: &BTreeMap<String, String>) -> Result<Self> {
        Ok(Self { client: Client::new(settings)? })
    }

    /// From an account. Endpoints that it does not name may be named by the environment.
    pub fn of_account(account: &Account) -> Result<Self> {
        let mut settings = endpoints_of_environment();
        let keys = account.credentials.keys().chain(account.settings.keys());
        settings.extend(keys.filter_map(|key| Some((key.clone(), account.get(key)?.to_owned()))));
        Self::connect(&settings)
    }

    /// The same for a person who waits: one more attempt if AWS is not reached or busy, instead of half a minute of them.
    #[must_use]
    pub fn impatient(self) -> Self {
        Self { client: self.client.impatient() }
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.client.region
    }

    fn expected<T>(action: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| Error::Answer {
            service: Service::Ec2.title(),
            action: action.to_owned(),
            why: "the identifier of what was made is missing".to_owned(),
        })
    }
}

/// Collects all pages of a listing.
fn pages<T>(
    params: &Params,
    mut page: impl FnMut(&Params) -> Result<(Vec<T>, Option<String>)>,
) -> Result<Vec<T>> {
    let mut all = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let (found, next) = page(&params.clone().maybe("NextToken", token))?;
        all.extend(found);
        match next.filter(|next| !next.is_empty()) {
            Some(next) => token = Some(next),
            None => return Ok(all),
        }
    }
}

/// Endpoints that the environment of this process names.
fn endpoints_of_environment() -> BTreeMap<String, String> {
    let named = |key: &str| Some((key.to_owned(), std::env::var(key).ok()?));
    ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS"]
        .into_iter()
        .filter_map(named)
        .collect()
}

/// The key of the settings or credentials of that name.
fn known_key(name: &str) -> Option<&'static str> {
    let keys = [
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ];
    keys.into_iter().find(|key| *key == name)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
