//! The image of the pod VMs: who brings it, and where it comes from.

use osc_api::peerpods::Provider;
use osc_api::peerpods::keys;

use super::{Complaint, Data, SETTINGS, Setup, Severity, unknown, value, wrong_shape};
use crate::peerpods::{config, shape};

/// The image's identifier and the image config map.
pub fn check(provider: Provider, setup: &Setup) -> Vec<Complaint> {
    let mut found: Vec<Complaint> = brought(provider, setup).into_iter().collect();
    let Some((name, data)) = &setup.image_map else { return found };
    let object = format!("ConfigMap {name}");
    found.extend(unknown(&object, data, &keys::image(provider)));
    for key in keys::image(provider) {
        if let Some(value) = value(data, key.name) {
            found.extend(wrong_shape(&object, key, key.name, value, false));
        }
    }
    found.extend(name_of_map(provider, name));
    found.extend(source(provider, &object, data));
    found.extend(secure_execution(provider, &object, data));
    found
}

/// An image that a person brought suppresses the job, and is theirs.
fn brought(provider: Provider, setup: &Setup) -> Option<Complaint> {
    let settings = config::effective(provider, setup.settings.as_ref()?, setup.credentials.as_ref());
    let key = provider.image_key();
    let image = settings.into_iter().find(|setting| setting.name == key)?.value;
    if setup.image_made.as_ref() == Some(&image) || image.starts_with('<') {
        return None;
    }
    let what = format!("{key} is {image:?}, and the image job has not made it");
    Some(
        Complaint::new(Severity::Info, "ImageOfYourOwn", SETTINGS, what)
            .why("It is used as it is: no image is made, and removing peer pods leaves it alone. (The Go operator would delete it.)")
            .remedy(format!("Nothing; or empty {key} to have an image made.")),
    )
}

fn name_of_map(provider: Provider, name: &str) -> Option<Complaint> {
    let [first, ..] = provider.image_maps() else { return None };
    (name != *first).then(|| {
        let what = format!("ConfigMap {name} is another name of {first}");
        Complaint::new(Severity::Info, "OlderName", &format!("ConfigMap {name}"), what)
            .why("It is understood, as the documentation of Google Cloud has it.")
            .remedy(format!("Nothing; or name it {first}."))
    })
}

fn source(provider: Provider, object: &str, data: &Data) -> Option<Complaint> {
    let uri = value(data, "PODVM_IMAGE_URI")?;
    let source = shape::image_source(uri)?;
    match (provider, source.kind) {
        (Provider::Libvirt, Some("bootc") | None) => {
            let what = format!("PODVM_IMAGE_URI is {uri:?}; libvirt takes images of kind oci only");
            let told = Complaint::new(Severity::Blocks, "ImageKind", object, what);
            Some(
                told.why("The job would fail.")
                    .remedy("Set it to oci::image[:tag][::path], or to nothing for the release's own image."),
            )
        }
        (_, None) => {
            let what = format!("PODVM_IMAGE_URI is {uri:?}, without a kind");
            let told = Complaint::new(Severity::Info, "ImageKind", object, what);
            Some(
                told.why("It is taken for a bootc image, as in the documentation of Google Cloud.")
                    .remedy(format!("Write bootc::{uri} to be clear.")),
            )
        }
        _ => None,
    }
}

/// Secure Execution is set up when the operator's own image is built.
fn secure_execution(provider: Provider, object: &str, data: &Data) -> Option<Complaint> {
    let custom = value(data, "PODVM_IMAGE_URI").is_some();
    let on = value(data, "SE_BOOT") == Some("true");
    (provider == Provider::Libvirt && custom && on).then(|| {
        let what = "SE_BOOT is \"true\" with an image of your own (PODVM_IMAGE_URI)";
        Complaint::new(Severity::Warns, "SecureExecution", object, what)
            .why("It is for the default image; the documentation asks for \"false\" with another one.")
            .remedy("Set SE_BOOT to \"false\".")
    })
}
