//! Files out of an image, by the host's podman: it knows the cluster's mirrors, its pull secret and which signatures are
//! asked for.

use std::fs;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::{Attributes, Host, PACKAGES_LIMIT};
use crate::settings::Settings;

/// The container that is created to copy from, and never started.
const CONTAINER: &str = "osc-node-copy";
/// What is on its way, gone with the next start of the machine.
const TRANSIENT: &str = "/run/osc-node";
const CREDENTIALS: &str = "/run/osc-node/auth.json";
/// The pull secret of the cluster, as the kubelet has it.
const KUBELET_CREDENTIALS: &str = "/var/lib/kubelet/config.json";
const SHORT: Duration = Duration::from_mins(5);

/// Copies a file or folder of an image to a path of the host.
pub fn copy(host: &Host, settings: &Settings, image: &str, from: &str, to: &str) -> Result<()> {
    if !host.has("podman")? {
        return Err(Error::NoProgram {
            program: "podman".to_owned(),
            purpose: format!("take {from} out of {image}"),
        });
    }
    let credentials = credentials(host, settings)?;
    let copied = copy_with(host, image, from, to, credentials);
    if !matches!(copied, Err(Error::Stopped(_))) && host.exists(CREDENTIALS)? {
        host.remove_file(CREDENTIALS)?;
    }
    copied
}

fn copy_with(host: &Host, image: &str, from: &str, to: &str, credentials: Option<&str>) -> Result<()> {
    let was_there = host.ask(&["podman", "image", "exists", image]).is_ok();
    if !was_there {
        let mut pull = vec!["podman", "pull", "--quiet"];
        if let Some(file) = credentials {
            pull.extend(["--authfile", file]);
        }
        pull.push(image);
        host.change(&pull, PACKAGES_LIMIT)?;
    }
    host.change(&["podman", "rm", "--force", "--ignore", CONTAINER], SHORT)?;
    host.change(&["podman", "create", "--name", CONTAINER, image, "none"], SHORT)?;
    let copied = host.change(&["podman", "cp", &format!("{CONTAINER}:{from}"), to], SHORT);
    if matches!(copied, Err(Error::Stopped(_))) {
        return copied.map(|_| ());
    }
    host.change(&["podman", "rm", "--force", "--ignore", CONTAINER], SHORT)?;
    if !was_there {
        host.change(&["podman", "rmi", image], SHORT)?;
    }
    copied.map(|_| ())
}

/// Credentials where podman on the host finds them: those of the agent, otherwise those of the kubelet.
fn credentials(host: &Host, settings: &Settings) -> Result<Option<&'static str>> {
    match fs::read(&settings.auth_file) {
        Ok(content) => {
            host.create_dir(TRANSIENT)?;
            let private = Attributes { mode: 0o600, uid: 0, gid: 0, modified: std::time::SystemTime::now() };
            host.write(CREDENTIALS, &content, Some(&private))?;
            Ok(Some(CREDENTIALS))
        }
        Err(_) if host.exists(KUBELET_CREDENTIALS)? => Ok(Some(KUBELET_CREDENTIALS)),
        Err(_) => Ok(None),
    }
}
