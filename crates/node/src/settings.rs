//! What the DaemonSet asks for, from the environment of the container.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};

/// Where the bundle of the agent's own image is.
pub const BUNDLE_IN_IMAGE: &str = "/usr/share/osc/kata-static.tar.zst";

/// Settings of the agent. A variable that is set to nothing is as good as absent.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Name of the Node that this is.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// Label by which the agent and the operator talk.
    #[arg(long, env = "NODE_LABEL", default_value = osc_api::names::DAEMON_SET_MODE_LABEL)]
    pub node_label: String,
    /// Log level of the container runtime.
    #[arg(long, env = "LOG_LEVEL", default_value = "")]
    pub log_level: String,
    /// Where the host's root is mounted.
    #[arg(long, env = "HOST_ROOT", default_value = "/host")]
    pub host_root: PathBuf,
    /// Image with the packages of OpenShift's operating system extensions.
    #[arg(long, env = "EXTENSION_IMAGE", default_value = "")]
    pub extension_image: String,
    /// Image with a kernel for IBM Secure Execution.
    #[arg(long, env = "ADDON_IMAGE", default_value = "")]
    pub addon_image: String,
    /// Path of the kernel in that image.
    #[arg(long, env = "ADDON_KERNEL_PATH", default_value = "")]
    pub addon_kernel_path: String,
    /// Static bundle of Kata: a path in this image or on the host, or an https URL.
    #[arg(long, env = "KATA_BUNDLE", default_value = "")]
    pub kata_bundle: String,
    /// Its digest, `sha256:<hex>`.
    #[arg(long, env = "KATA_BUNDLE_DIGEST", default_value = "")]
    pub kata_bundle_digest: String,
    /// File with credentials for images.
    #[arg(long, env = "AUTH_FILE", default_value = "/tmp/regauth/auth.json")]
    pub auth_file: PathBuf,
}

/// A text that says something.
pub fn said(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty()).then_some(text)
}

/// Log level of a container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel(&'static str);

impl LogLevel {
    const ALL: [&str; 7] = ["trace", "debug", "info", "warn", "error", "fatal", "panic"];

    /// The level of that name; nothing means `info`.
    pub fn parse(text: &str) -> Result<Self> {
        let wanted = said(text).unwrap_or("info");
        let known = Self::ALL.into_iter().find(|level| *level == wanted);
        known.map(Self).ok_or_else(|| {
            Error::Refused(format!(
                "spec.logLevel of the KataConfig is `{wanted}`; the container runtime knows {}",
                Self::ALL.join(", ")
            ))
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// Whether it is what runtimes do anyway.
    pub fn is_default(self) -> bool {
        self.0 == "info"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_levels_are_those_of_the_runtimes() {
        assert!(LogLevel::parse("").unwrap().is_default());
        assert_eq!(LogLevel::parse("debug").unwrap().name(), "debug");
        let error = LogLevel::parse("verbose").unwrap_err().to_string();
        assert!(error.contains("`verbose`") && error.contains("trace, debug, info"), "{error}");
    }
}
