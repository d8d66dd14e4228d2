//! Images of pod VMs: what the image jobs run.
//!
//! ```text
//!   PODVM_IMAGE_URI --source--> registry --layers--> podvm.qcow2 --qemu-img--> podvm.raw
//!                                                        |                        |
//!                                                       kvm                    amazon: bucket, import, snapshot, image
//! ```
//!
//! Each run may be the first, or the one after a run that was killed anywhere: it looks at what is there, goes on with it,
//! and clears away what nobody needs.

mod amazon;
mod auth;
mod disk;
mod error;
mod kvm;
mod layers;
mod prepare;
mod progress;
mod registry;
mod result;
mod settings;
mod source;
mod zstd;

pub use error::{Error, Result};
pub use osc_api::peerpods::image_source::Reference;
pub use result::{Deleted, Made, write};
pub use settings::Settings;
pub use source::Source;

use amazon::Amazon;
use kvm::Kvm;
use prepare::Origin;

use crate::Kind;

/// Makes the image, or finds it made.
pub fn create(settings: &Settings) -> Result<Made> {
    let provider = supported(settings)?;
    settings.cluster()?;
    let mut origin = Origin::new(settings, provider)?;
    for key in ["BOOT_FIPS", "CONFIDENTIAL_COMPUTE_ENABLED"] {
        if settings.flag(key)? {
            tracing::warn!(
                "{key} is set: the image is taken as it was built, so it has to be one that was built for that"
            );
        }
    }
    match provider {
        Kind::Aws => Amazon::new(settings)?.create(&mut origin),
        Kind::Libvirt => Kvm::new(settings, None)?.create(&mut origin),
        _ => Err(unsupported(provider)),
    }
}

/// Deletes the image with that identifier, if it is ours, and all that belongs to it.
pub fn delete(settings: &Settings, id: Option<&str>) -> Result<Deleted> {
    let provider = supported(settings)?;
    let id = id.or_else(|| settings.get(delete_key(provider)));
    let deleted = match provider {
        Kind::Aws => Amazon::new(settings)?.delete(id)?,
        Kind::Libvirt => Kvm::new(settings, id)?.delete(id.is_some())?,
        _ => return Err(unsupported(provider)),
    };
    Ok(Deleted { deleted })
}

/// What there is, as JSON.
pub fn show(settings: &Settings) -> Result<String> {
    let provider = supported(settings)?;
    let shown = match provider {
        Kind::Aws => serde_json::to_string_pretty(&Amazon::new(settings)?.inventory()?),
        Kind::Libvirt => serde_json::to_string_pretty(&Kvm::new(settings, None)?.inventory()?),
        _ => return Err(unsupported(provider)),
    };
    shown.map_err(|error| Error::Cloud(error.to_string()))
}

/// The variable by which a deletion job is told the image.
fn delete_key(provider: Kind) -> &'static str {
    match provider {
        Kind::Aws => "AMI_ID",
        Kind::Azure => "IMAGE_ID",
        Kind::Gcp => "IMAGE_NAME",
        Kind::Libvirt => "LIBVIRT_IMAGE_ID",
    }
}

fn supported(settings: &Settings) -> Result<Kind> {
    match settings.provider()? {
        provider @ (Kind::Aws | Kind::Libvirt) => Ok(provider),
        provider => Err(unsupported(provider)),
    }
}

fn unsupported(provider: Kind) -> Error {
    let key = provider.image_key();
    Error::Unsupported(format!(
        "this release makes and deletes no images on {}; make one with the tools of the cloud and set {key} in config map \
         peer-pods-cm to its identifier; to delete one, use the same tools and set {key} to \"\"",
        provider.title()
    ))
}
