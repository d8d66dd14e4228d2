//! Flags. What the webhook goes by comes from the environment: the manifests of peer pods have it there.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use osc_admission::bind::{BindAddress, bind_address};
use osc_admission::logs::LogFormat;
use osc_api::peerpods::webhook;

/// Counts peer pods, and says how large their virtual machines are to be, when the API server asks.
///
/// Environment: TARGET_RUNTIMECLASS (kata-remote), POD_VM_EXTENDED_RESOURCE (kata.peerpods.io/vm), PEERPODS_NAMESPACE,
/// POD_VM_SIZE_ANNOTATIONS (vcpus,memory,gpus, some of them, or none), TLS_MIN_VERSION, TLS_CIPHER_SUITES.
#[derive(Parser)]
#[command(name = "osc-webhook", version)]
pub struct Arguments {
    /// Where reviews are answered, over HTTPS.
    #[arg(long, default_value = "0.0.0.0:9443", value_parser = bind_address)]
    pub webhook_bind_address: BindAddress,

    /// Where /healthz and /readyz are served; `0` serves none.
    #[arg(long, default_value = "0.0.0.0:8081", value_parser = bind_address)]
    pub health_probe_bind_address: BindAddress,

    /// Where /metrics is served; `0` serves none.
    #[arg(long, default_value = "0.0.0.0:8080", value_parser = bind_address)]
    pub metrics_bind_address: BindAddress,

    /// Directory with tls.crt and tls.key. Changes are taken up without a restart.
    #[arg(long, default_value = webhook::CERTIFICATE_DIRECTORY)]
    pub cert_dir: PathBuf,

    /// How often that directory is looked at, in milliseconds.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..))]
    cert_period_ms: u64,

    /// How long an answer may take, the question included, in milliseconds: less than the API server waits.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(10..=30_000))]
    deadline_ms: u64,

    /// How long it goes on serving after SIGTERM, until no new connections are led here, in milliseconds.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(..=60_000))]
    drain_ms: u64,

    /// How log lines look.
    #[arg(long, env = "OSC_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
}

impl Arguments {
    pub fn certificate_period(&self) -> Duration {
        Duration::from_millis(self.cert_period_ms)
    }

    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}
