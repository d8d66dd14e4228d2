//! The image of the pod VMs: who brings it, and where it comes from.

use osc_api::peerpods::Provider;
use osc_api::peerpods::keys;

use super::{Complaint, Data, SETTINGS, Setup, Severity, placeholder, unknown, value, wrong_shape};
use crate::peerpods::config;

/// The image's identifier and the image config map.
pub fn check(provider: Provider, setup: &Setup) -> Vec<Complaint> {
    let mut found: Vec<Complaint> =
        brought(provider, setup).or_else(|| lacking(provider, setup)).into_iter().collect();
    found.extend(setup.other_image_maps.iter().map(|name| beside(provider, setup, name)));
    let Some((name, data)) = &setup.image_map else { return found };
    let object = format!("ConfigMap {name}");
    let (retired, read): (Data, Data) = data
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .partition(|(key, _)| keys::RETIRED.contains(&key.as_str()));
    found.extend(unknown(&object, &read, &keys::image(provider)));
    found.extend(retired.keys().map(|key| no_longer(&object, key)));
    for key in keys::image(provider) {
        if let Some(value) = value(data, key.name) {
            found.extend(wrong_shape(&object, key, key.name, value, false));
        }
    }
    found.extend(name_of_map(provider, name));
    found.extend(super::image_relations::check(provider, setup, &object, data));
    found
}

/// A key of the time when the operator built images.
fn no_longer(object: &str, key: &str) -> Complaint {
    let what = format!("{key} is of older releases; nobody reads it any more");
    Complaint::new(Severity::Info, "NoEffect", object, what)
        .why("It was for images that the operator built.")
        .remedy(format!("Remove {key}."))
}

/// The map of another provider, or the same one by its other name.
fn beside(provider: Provider, setup: &Setup, name: &str) -> Complaint {
    let object = format!("ConfigMap {name}");
    if provider.image_maps().contains(&name) {
        let counts = setup.image_map.as_ref().map_or("the other one", |(name, _)| name.as_str());
        let what = format!("there is ConfigMap {counts}, too, which is the same by its other name");
        let told = Complaint::new(Severity::Warns, "SettingTwice", &object, what);
        return told.why(format!("{counts} counts.")).remedy("Keep one of the two.");
    }
    let what = format!("it is for another provider, and CLOUD_PROVIDER is {}", provider.name());
    Complaint::new(Severity::Info, "OtherProvider", &object, what)
        .why("The image job reads it all the same; keys that both have are mixed up.")
        .remedy("Remove it, unless you change the provider.")
}

/// An image that a person brought suppresses the job, and is theirs.
fn brought(provider: Provider, setup: &Setup) -> Option<Complaint> {
    let settings = config::effective(provider, setup.settings.as_ref()?, setup.credentials.as_ref());
    let key = provider.image_key();
    let setting = settings.into_iter().find(|setting| setting.name == key)?;
    let image = &setting.value;
    if setup.image_made.as_ref() == Some(image) || placeholder(image).is_some() {
        return None;
    }
    let shown = match setting.origin {
        config::Origin::Credentials => "(in the secret)".to_owned(),
        _ => format!("{image:?}"),
    };
    let what = format!("{key} is {shown}, and the image job has not made it");
    Some(
        Complaint::new(Severity::Info, "ImageOfYourOwn", SETTINGS, what)
            .why("It is used as it is: no image is made, and removing peer pods leaves it alone. (The Go operator would delete it.)")
            .remedy(if provider.makes_images() {
                format!("Nothing; or empty {key} to have an image made.")
            } else {
                "Nothing.".to_owned()
            }),
    )
}

/// The reason of the complaint that there is neither an image nor a job that makes one. The operator tells it by a
/// condition of its own.
pub const LACKING: &str = "ImageMissing";

/// Where no image is made, a person has to bring one.
fn lacking(provider: Provider, setup: &Setup) -> Option<Complaint> {
    let settings = config::effective(provider, setup.settings.as_ref()?, setup.credentials.as_ref());
    let key = provider.image_key();
    let named = settings.iter().any(|setting| setting.name == key);
    (!provider.makes_images() && !named).then(|| {
        Complaint::new(Severity::Blocks, LACKING, SETTINGS, format!("{key} is not set"))
            .why(format!(
                "No pod VM image is made on {}: this release makes them on AWS and with libvirt.",
                provider.title()
            ))
            .remedy(format!("Set {key} to an image of your own."))
    })
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
