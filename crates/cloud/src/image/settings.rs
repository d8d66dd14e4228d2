//! What the job is told: its environment, made of the secret, the image maps and `peer-pods-cm`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::error::{Error, Result};
use crate::Kind;
use crate::aws::hex;

/// So much of the cluster's identity is in names.
const IDENTITY: usize = 8;
/// The longest name of an image that AWS takes.
const LONGEST_NAME: usize = 128;

/// The settings of a job.
#[derive(Clone)]
pub struct Settings {
    values: BTreeMap<String, String>,
    /// Where disks are kept while they are worked on.
    pub store: PathBuf,
    /// A file with logins of registries, before all others.
    pub auth_file: Option<PathBuf>,
    /// The largest image that is taken, in bytes.
    pub most: u64,
    /// Seconds between two looks at work of the cloud.
    pub pace: u64,
}

impl Settings {
    /// The environment, and what goes before it.
    pub fn new(
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: impl IntoIterator<Item = (String, String)>,
        store: PathBuf,
    ) -> Self {
        let values = environment.into_iter().chain(overrides).collect();
        Self { values, store, auth_file: None, most: 64 << 30, pace: 15 }
    }

    /// A value; an empty one is none.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// A value that has to be there.
    pub fn need(&self, key: &str, todo: &str) -> Result<&str> {
        self.get(key).ok_or_else(|| Error::setting(key, "not set", todo))
    }

    /// All of them, for clients that know their own keys.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// Which cloud.
    pub fn provider(&self) -> Result<Kind> {
        let todo = "set it in config map peer-pods-cm to aws, azure, gcp or libvirt";
        let name = self.need("CLOUD_PROVIDER", todo)?;
        Kind::by_name(name)
            .ok_or_else(|| Error::setting("CLOUD_PROVIDER", format!("{name:?} is no cloud"), todo))
    }

    /// The identity of the cluster, which says what is ours.
    pub fn cluster(&self) -> Result<&str> {
        let todo = "the operator sets it to the identity of the cluster; by hand it is any text that no other cluster of \
                    the account has";
        let cluster = self.need("CLUSTER_ID", todo)?;
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if cluster.len() < IDENTITY || cluster.len() > 64 || !cluster.chars().all(fine) {
            let found = format!("{cluster:?} is no identity of a cluster");
            return Err(Error::setting("CLUSTER_ID", found, "it has 8 to 64 letters, digits and dashes"));
        }
        Ok(cluster)
    }

    /// `yes` or `true`.
    pub fn flag(&self, key: &str) -> Result<bool> {
        match self.get(key) {
            None | Some("no" | "false") => Ok(false),
            Some("yes" | "true") => Ok(true),
            Some(other) => Err(Error::setting(key, format!("{other:?}"), "set it to \"yes\" or \"no\"")),
        }
    }

    /// The name of the image on AWS: base, version and cluster, so that a leftover of another cluster is never met.
    pub fn image_name(&self) -> Result<String> {
        let base = self.get("AMI_BASE_NAME").unwrap_or("podvm-image");
        let version = self.get("AMI_VERSION").unwrap_or("0.0.1");
        let cluster: String = self.cluster()?.chars().take(IDENTITY).collect();
        let fine = |c: char| c.is_ascii_alphanumeric() || "().-/_".contains(c);
        for (key, value) in [("AMI_BASE_NAME", base), ("AMI_VERSION", version)] {
            if !value.chars().all(fine) {
                let todo = "names of images have letters, digits and ( ) . - / _ only";
                return Err(Error::setting(key, format!("{value:?} cannot be part of a name"), todo));
            }
        }
        let name = format!("{base}-{version}-{cluster}");
        if name.len() > LONGEST_NAME || name.len() < 3 {
            let found = format!("the name {name} has {} characters", name.len());
            return Err(Error::setting(
                "AMI_BASE_NAME",
                found,
                format!("shorten it: AWS takes {LONGEST_NAME}"),
            ));
        }
        Ok(name)
    }

    /// The bucket to use, and whether it is made and deleted by us.
    ///
    /// Names of buckets are shared by all accounts of the world, so ours is made of the cluster's identity. It begins as the
    /// role of clusters with short-lived credentials allows.
    pub fn bucket(&self, region: &str) -> Result<(String, bool)> {
        if let Some(name) = self.get("BUCKET_NAME") {
            let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
            if !(3..=63).contains(&name.len()) || !name.chars().all(fine) {
                let todo = "a bucket has 3 to 63 lower-case letters, digits, dots and dashes";
                return Err(Error::setting(
                    "BUCKET_NAME",
                    format!("{name:?} cannot be the name of a bucket"),
                    todo,
                ));
            }
            return Ok((name.to_owned(), false));
        }
        let digest = hex(&Sha256::digest(format!("{} {region}", self.cluster()?)));
        Ok((format!("podvm-{}", &digest[..24]), true))
    }

    /// Size of the image in GiB, if it is said.
    pub fn volume_size(&self) -> Result<Option<u32>> {
        let Some(text) = self.get("AMI_VOLUME_SIZE") else { return Ok(None) };
        match text.parse() {
            Ok(size) if size >= 6 => Ok(Some(size)),
            _ => {
                let found = format!("{text:?} is no size");
                Err(Error::setting("AMI_VOLUME_SIZE", found, "it is a whole number of GB, at least 6"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const CLUSTER: (&str, &str) = ("CLUSTER_ID", "0d6fa3c8-1234");

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Settings::new(pairs, [], PathBuf::from("/store"))
    }

    #[test]
    fn names_are_of_one_cluster() {
        assert_eq!(settings(&[CLUSTER]).image_name().unwrap(), "podvm-image-0.0.1-0d6fa3c8");
        let other = settings(&[("CLUSTER_ID", "0d6fa3c8-1235"), ("AMI_VERSION", "7.0.1")]);
        assert_eq!(other.image_name().unwrap(), "podvm-image-7.0.1-0d6fa3c8");
        let (one, ours) = settings(&[CLUSTER]).bucket("eu-west-1").unwrap();
        assert!(ours && one.starts_with("podvm-") && one.len() == 30, "{one}");
        assert_ne!(one, other.bucket("eu-west-1").unwrap().0);
        assert_ne!(one, settings(&[CLUSTER]).bucket("eu-west-2").unwrap().0);
        let theirs = settings(&[CLUSTER, ("BUCKET_NAME", "my-disks")]).bucket("eu-west-1").unwrap();
        assert_eq!(theirs, ("my-disks".to_owned(), false));
    }

    #[rstest]
    #[case(&[], "CLUSTER_ID: not set")]
    #[case(&[("CLUSTER_ID", "a")], "is no identity of a cluster")]
    #[case(&[("CLUSTER_ID", "0d6fa3c8 12")], "is no identity of a cluster")]
    #[case(&[CLUSTER, ("AMI_BASE_NAME", "pod vm")], "AMI_BASE_NAME: \"pod vm\" cannot be part of a name")]
    #[case(&[CLUSTER, ("AMI_VERSION", "1:2")], "AMI_VERSION: \"1:2\"")]
    #[case(&[CLUSTER, ("BUCKET_NAME", "My_Bucket")], "BUCKET_NAME: \"My_Bucket\" cannot be the name of a bucket")]
    #[case(&[CLUSTER, ("AMI_VOLUME_SIZE", "big")], "AMI_VOLUME_SIZE: \"big\" is no size")]
    #[case(&[CLUSTER, ("BOOT_FIPS", "perhaps")], "BOOT_FIPS: \"perhaps\"")]
    #[case(&[CLUSTER, ("CLOUD_PROVIDER", "AWS")], "CLOUD_PROVIDER: \"AWS\" is no cloud")]
    fn settings_are_checked(#[case] pairs: &[(&str, &str)], #[case] words: &str) {
        let settings = settings(pairs);
        let error = settings
            .cluster()
            .and_then(|_| settings.image_name())
            .and_then(|_| settings.bucket("eu-west-1"))
            .and_then(|_| settings.volume_size())
            .and_then(|_| settings.flag("BOOT_FIPS"))
            .and_then(|_| settings.provider())
            .map(|_| ())
            .unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}
