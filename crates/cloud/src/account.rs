//! Who may do what where: settings, credentials, and how they become a provider.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::aws::Ec2;
use crate::libvirt::Libvirt;
use crate::{Error, Kind, Provider};

/// A credential. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A credential of that value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Its value, to log in with.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

/// Settings and credentials of a cloud: `peer-pods-cm` and `peer-pods-secret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Which cloud.
    pub provider: Kind,
    /// What `peer-pods-cm` has.
    pub settings: BTreeMap<String, String>,
    /// What `peer-pods-secret` has.
    pub credentials: BTreeMap<String, Secret>,
    /// File with the private key for SSH, where `ssh-key-secret` is mounted. libvirt only.
    pub ssh_identity: Option<PathBuf>,
}

impl Account {
    /// Nothing but the cloud.
    pub fn new(provider: Kind) -> Self {
        Self { provider, settings: BTreeMap::new(), credentials: BTreeMap::new(), ssh_identity: None }
    }

    /// With that setting.
    #[must_use]
    pub fn setting(mut self, key: &str, value: impl Into<String>) -> Self {
        self.settings.insert(key.to_owned(), value.into());
        self
    }

    /// With that credential.
    #[must_use]
    pub fn credential(mut self, key: &str, value: impl Into<Secret>) -> Self {
        self.credentials.insert(key.to_owned(), value.into());
        self
    }

    /// The value of a key: of the settings, else of the credentials, where older documentation has some settings. An
    /// empty one is none.
    pub fn get(&self, key: &str) -> Option<&str> {
        let setting = self.settings.get(key).map(|value| value.trim());
        let credential = || self.credentials.get(key).map(|value| value.expose().trim());
        setting.filter(|value| !value.is_empty()).or_else(|| credential().filter(|value| !value.is_empty()))
    }

    /// The value of a key that has to be there.
    pub fn need(&self, key: &'static str) -> Result<&str, Error> {
        self.get(key).ok_or_else(|| Error::Setting {
            key,
            problem: "is not set, neither in peer-pods-cm nor in peer-pods-secret; set it".to_owned(),
        })
    }
}

/// How an account becomes a provider: the real clouds, or one in memory.
pub trait Connect: Send + Sync {
    /// Logs in. Settings that cannot be used are told at once; whether the cloud is there may show only later.
    fn connect<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<Arc<dyn Provider>, Error>>;
}

/// The real clouds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clouds;

impl Connect for Clouds {
    fn connect<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<Arc<dyn Provider>, Error>> {
        Box::pin(async move {
            match account.provider {
                Kind::Aws => Ok(Arc::new(Ec2::connect(account)?) as Arc<dyn Provider>),
                Kind::Libvirt => Ok(Arc::new(Libvirt::new(account)?) as Arc<dyn Provider>),
                kind @ (Kind::Azure | Kind::Gcp) => Err(not_yet(kind)),
            }
        })
    }
}

/// That this release does not speak to that cloud, and what a person does instead.
fn not_yet(kind: Kind) -> Error {
    let by_hand = match kind {
        Kind::Aws => "aws ec2 terminate-instances --instance-ids ID",
        Kind::Azure => "az vm delete --yes --ids ID",
        Kind::Gcp => "gcloud compute instances delete NAME --zone ZONE",
        Kind::Libvirt => "virsh undefine --nvram --remove-all-storage ID",
    };
    Error::Unsupported(format!(
        "this release cannot create, find or delete virtual machines of {} yet; delete one by hand with `{by_hand}`, then \
         remove the finalizer of its PeerPod",
        kind.title()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        let account = Account::new(Kind::Aws).credential("AWS_SECRET_ACCESS_KEY", "hidden");
        assert!(!format!("{account:?}").contains("hidden"), "{account:?}");
        assert_eq!(account.get("AWS_SECRET_ACCESS_KEY"), Some("hidden"));
    }

    #[test]
    fn settings_come_first_and_empty_ones_are_none() {
        let account = Account::new(Kind::Libvirt)
            .setting("LIBVIRT_POOL", " ")
            .credential("LIBVIRT_POOL", "old")
            .setting("LIBVIRT_NET", "pods")
            .credential("LIBVIRT_NET", "other");
        assert_eq!(account.get("LIBVIRT_POOL"), Some("old"));
        assert_eq!(account.get("LIBVIRT_NET"), Some("pods"));
        let missing = account.need("LIBVIRT_URI").unwrap_err();
        assert!(missing.to_string().starts_with("LIBVIRT_URI is not set"), "{missing}");
    }

    #[tokio::test]
    async fn clouds_that_are_not_reached_yet_are_told() {
        for (kind, command) in [(Kind::Azure, "az vm delete"), (Kind::Gcp, "gcloud compute instances delete")]
        {
            let Err(error) = Clouds.connect(&Account::new(kind)).await else { panic!("{}", kind.name()) };
            assert!(error.to_string().contains(command), "{error}");
            assert!(!error.is_transient());
        }
    }
}
