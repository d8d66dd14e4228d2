//! What does not go together in an image config map, or with the rest.

use osc_api::peerpods::Provider;
use osc_api::peerpods::image_source::ImageSource;

use super::{Complaint, Data, Setup, Severity, value};
use crate::peerpods::config;

/// What the checks look at.
struct View<'a> {
    provider: Provider,
    setup: &'a Setup,
    object: &'a str,
    data: &'a Data,
}

const CHECKS: [fn(&View<'_>) -> Option<Complaint>; 9] =
    [source, kind_of_image, secure_execution, release, build, write_back, idle, version, confidential];

/// Each check once.
pub fn check(provider: Provider, setup: &Setup, object: &str, data: &Data) -> Vec<Complaint> {
    let view = View { provider, setup, object, data };
    CHECKS.iter().filter_map(|check| check(&view)).collect()
}

impl View<'_> {
    fn told(&self, severity: Severity, reason: &'static str, what: impl Into<String>) -> Complaint {
        Complaint::new(severity, reason, self.object, what)
    }

    fn get(&self, key: &str) -> Option<&str> {
        value(self.data, key)
    }

    fn secret(&self, key: &str) -> bool {
        self.setup.credentials.as_ref().is_some_and(|data| value(data, key).is_some())
    }
}

fn source(view: &View<'_>) -> Option<Complaint> {
    let uri = view.get("PODVM_IMAGE_URI")?;
    let ImageSource::Bootc { typed, .. } = ImageSource::parse(uri).ok()? else { return None };
    match (view.provider, typed) {
        (Provider::Libvirt, _) => {
            let what = format!("PODVM_IMAGE_URI is {uri:?}; libvirt takes images of kind oci only");
            Some(
                view.told(Severity::Blocks, "ImageKind", what)
                    .why("The job would fail.")
                    .remedy("Set it to oci::image[:tag][::path], or to nothing for the release's own image."),
            )
        }
        (Provider::Aws, _) if view.secret("AWS_ROLE_ARN") => {
            let what =
                format!("PODVM_IMAGE_URI is {uri:?}, a bootc image, and AWS is logged in to by a role");
            Some(
                view.told(Severity::Blocks, "ImageKind", what)
                    .why("The builder of bootc images takes keys only (AWS_ACCESS_KEY_ID).")
                    .remedy("Use an image of kind oci, or keys."),
            )
        }
        (_, false) => {
            let what = format!("PODVM_IMAGE_URI is {uri:?}, without a kind");
            Some(
                view.told(Severity::Info, "ImageKind", what)
                    .why("It is taken for a bootc image, as in the documentation of Google Cloud.")
                    .remedy(format!("Write bootc::{uri} to be clear.")),
            )
        }
        _ => None,
    }
}

fn kind_of_image(view: &View<'_>) -> Option<Complaint> {
    let built = view.get("IMAGE_TYPE") == Some("operator-built");
    (built && view.provider == Provider::Gcp).then(|| {
        view.told(
            Severity::Blocks,
            "ImageKind",
            "IMAGE_TYPE is \"operator-built\"; Google Cloud takes \"pre-built\" only",
        )
        .why("The job would fail.")
        .remedy("Build an image and name it by PODVM_IMAGE_URI.")
    })
}

/// Secure Execution is set up when the operator's own image is built.
fn secure_execution(view: &View<'_>) -> Option<Complaint> {
    let custom = view.get("PODVM_IMAGE_URI").is_some();
    let on = view.get("SE_BOOT") == Some("true");
    (view.provider == Provider::Libvirt && custom && on).then(|| {
        let what = "SE_BOOT is \"true\" with an image of your own (PODVM_IMAGE_URI)";
        view.told(Severity::Warns, "SecureExecution", what)
            .why("It is for the default image; the documentation asks for \"false\" with another one.")
            .remedy("Set SE_BOOT to \"false\".")
    })
}

/// The oldest release of RHEL that the documentation has for Secure Execution.
const OLDEST: (u32, u32) = (10, 1);

fn release(view: &View<'_>) -> Option<Complaint> {
    let found = view.get("BASE_OS_VERSION")?;
    let on = view.provider == Provider::Libvirt && view.get("SE_BOOT") != Some("false");
    let mut numbers = found.split('.').map(|part| part.parse::<u32>().ok());
    let number = (numbers.next()??, numbers.next().flatten().unwrap_or_default());
    (on && number < OLDEST).then(|| {
        let what = format!("BASE_OS_VERSION is {found:?}, and IBM Secure Execution needs 10.1 or later");
        view.told(Severity::Warns, "SecureExecution", what)
            .why("An older image does not boot as a protected guest. (Older documentation had 9.5.)")
            .remedy("Set BASE_OS_VERSION to \"10.1\" or later, or SE_BOOT to \"false\".")
    })
}

/// What it takes to build an image from the operating system's.
fn build(view: &View<'_>) -> Option<Complaint> {
    let described = view.provider == Provider::Libvirt && view.get("BASE_OS_VERSION").is_some();
    let built = view.get("IMAGE_TYPE") == Some("operator-built") || described;
    if !built || view.get("PODVM_IMAGE_URI").is_some() {
        return None;
    }
    let mut lacking: Vec<&str> =
        ["ORG_ID", "ACTIVATION_KEY"].into_iter().filter(|key| view.get(key).is_none()).collect();
    if view.provider == Provider::Libvirt && !view.secret("REDHAT_OFFLINE_TOKEN") {
        lacking.push("REDHAT_OFFLINE_TOKEN (of Secret peer-pods-secret)");
    }
    (!lacking.is_empty()).then(|| {
        let what = format!("the image is to be built, and {} is not set", lacking.join(", "));
        view.told(Severity::Warns, "BuildIncomplete", what)
            .why("The operating system is downloaded and registered with these.")
            .remedy("Set them, or name an image that is built by PODVM_IMAGE_URI.")
    })
}

fn write_back(view: &View<'_>) -> Option<Complaint> {
    (view.get("UPDATE_PEERPODS_CM") == Some("no")).then(|| {
        let key = view.provider.image_key();
        view.told(Severity::Warns, "NotWrittenBack", "UPDATE_PEERPODS_CM is \"no\"")
            .why(format!("The image is made and {key} stays empty: no peer pod can start."))
            .remedy(format!("Set it to \"yes\", or set {key} yourself when the image is there."))
    })
}

/// No image is made while one is set.
fn idle(view: &View<'_>) -> Option<Complaint> {
    view.get("PODVM_IMAGE_URI")?;
    let settings =
        config::effective(view.provider, view.setup.settings.as_ref()?, view.setup.credentials.as_ref());
    let key = view.provider.image_key();
    settings.iter().find(|setting| setting.name == key).map(|_| {
        let what = format!("PODVM_IMAGE_URI is set, and so is {key} of ConfigMap peer-pods-cm");
        view.told(Severity::Info, "ImageIsThere", what)
            .why("No image is made while there is one.")
            .remedy(format!("Nothing, if it is the right one; else empty {key}."))
    })
}

/// Names of images, as the clouds take them.
fn version(view: &View<'_>) -> Option<Complaint> {
    let found = view.get("IMAGE_VERSION")?;
    let numbers = |text: &str| text.split('.').all(|part| part.parse::<u32>().is_ok());
    let (fine, expected) = match view.provider {
        Provider::Azure => {
            (found.split('.').count() == 3 && numbers(found), "three numbers with dots, such as 0.0.1")
        }
        Provider::Gcp => {
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            (found.chars().all(letter), "letters, digits and dashes, such as 0-0-1")
        }
        Provider::Aws | Provider::Libvirt => return None,
    };
    (!fine).then(|| {
        let what = format!("IMAGE_VERSION is {found:?}; expected {expected}");
        view.told(Severity::Blocks, "ImageVersion", what)
            .why("The cloud refuses the name of the image.")
            .remedy("Correct IMAGE_VERSION, or remove it: one is made from the cluster's identity.")
    })
}

/// The gate decides here, too.
fn confidential(view: &View<'_>) -> Option<Complaint> {
    let found = view.get("CONFIDENTIAL_COMPUTE_ENABLED")?;
    let gate = if view.setup.confidential { "yes" } else { "no" };
    (["yes", "no"].contains(&found) && found != gate).then(|| {
        let state = if view.setup.confidential { "on" } else { "off" };
        let what = format!(
            "CONFIDENTIAL_COMPUTE_ENABLED is {found:?}, and the feature gate `confidential` is {state}"
        );
        view.told(Severity::Info, "GateDecides", what)
            .why(format!("The gate decides: it becomes {gate:?} before the image is made."))
            .remedy("Nothing; or change `confidential` in ConfigMap osc-feature-gates.")
    })
}
