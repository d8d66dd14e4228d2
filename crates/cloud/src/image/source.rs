//! Where an image comes from, as far as this release makes disks of it.

use std::path::PathBuf;

use osc_api::peerpods::image_source::{DEFAULT_DISK, ImageSource, Reference};

use super::error::{Error, Result};

const KEY: &str = "PODVM_IMAGE_URI";
const REMEDY: &str =
    "it looks like oci::quay.io/organization/podvm:1.0 or oci::registry:5000/podvm@sha256:...::/disk.qcow2";

/// Where the disk of pod VMs is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of an image in a registry.
    Oci {
        /// The image.
        reference: Reference,
        /// The file, from the root of the image.
        path: String,
    },
    /// A file.
    File(PathBuf),
}

impl Source {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self> {
        match ImageSource::parse(text).map_err(|found| Error::setting(KEY, found, REMEDY))? {
            ImageSource::Oci { reference, path } => Ok(Self::Oci { reference, path }),
            ImageSource::File(path) => Ok(Self::File(path)),
            ImageSource::Bootc { .. } => Err(Error::Unsupported(format!(
                "{KEY}: {text:?} is a bootable container, and this release makes no disks of those; build the disk with \
                 bootc-image-builder, put it into an image at {DEFAULT_DISK} and name that as oci::..., or set the identifier \
                 of an image of your own"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[rstest]
    #[case("oci::quay.io/org/podvm", "quay.io", "org/podvm", "latest", "/image/podvm.qcow2")]
    #[case("oci::quay.io:5000/org/podvm:1.12", "quay.io:5000", "org/podvm", "1.12", "/image/podvm.qcow2")]
    #[case("oci::[::1]:5000/podvm::/disk.qcow2", "[::1]:5000", "podvm", "latest", "/disk.qcow2")]
    #[case("oci::localhost/podvm:a::/d/x.qcow2", "localhost", "podvm", "a", "/d/x.qcow2")]
    #[case("oci::docker.io/podvm", "docker.io", "library/podvm", "latest", "/image/podvm.qcow2")]
    fn images_are_read(
        #[case] text: &str,
        #[case] registry: &str,
        #[case] repository: &str,
        #[case] tag: &str,
        #[case] path: &str,
    ) {
        let reference = Reference {
            registry: registry.into(),
            repository: repository.into(),
            tag: tag.into(),
            digest: None,
        };
        assert_eq!(Source::parse(text).unwrap(), Source::Oci { reference, path: path.into() });
    }

    #[test]
    fn a_digest_goes_before_a_tag() {
        let Ok(Source::Oci { reference, .. }) = Source::parse(&format!("oci::r:5000/podvm:1@{DIGEST}"))
        else {
            panic!()
        };
        assert_eq!(reference.to_string(), format!("r:5000/podvm@{DIGEST}"));
    }

    #[rstest]
    #[case("", "bootable container")]
    #[case("quay.io/user/podvm-bootc:latest", "bootable container")]
    #[case("bootc::quay.io/user/podvm-bootc", "bootable container")]
    #[case("docker::quay.io/org/podvm", "has type \"docker\"")]
    #[case("oci::quay.io/a/b::/x::/y", "too many parts")]
    #[case("oci::", "does not say which registry")]
    #[case("oci::podvm:1", "does not say which registry")]
    #[case("oci::org/podvm", "\"org\", which is no registry")]
    #[case("oci::quay.io:port/podvm", "which is no registry")]
    #[case("oci::quay.io:0/podvm", "which is no registry")]
    #[case("oci::quay.io/Org/podvm", "which is no name")]
    #[case("oci::quay.io/org/../podvm", "which is no name")]
    #[case("oci::quay.io/org/pod vm", "which is no name")]
    #[case("oci::quay.io/org/podvm:", "which is no tag")]
    #[case("oci::quay.io/org/podvm:a/b", "which is no")]
    #[case("oci::quay.io/org/podvm@sha256:abc", "has a digest other than")]
    #[case("oci::quay.io/org/podvm::disk.qcow2", "no absolute path of a file")]
    #[case("oci::quay.io/org/podvm::/../etc/shadow", "no absolute path of a file")]
    #[case("oci::quay.io/org/podvm::/image/", "no absolute path of a file")]
    #[case("oci::quay.io/org/podvm::/image/pod vm.qcow2", "has other characters")]
    #[case("file::disk.qcow2", "no absolute path")]
    fn what_is_no_source_is_refused(#[case] text: &str, #[case] words: &str) {
        let error = Source::parse(text).unwrap_err().to_string();
        assert!(error.contains(words) && error.starts_with("PODVM_IMAGE_URI: "), "{error}");
    }
}
