//! `osc-podvm-image`: makes, deletes and shows the image of pod VMs; the image jobs run it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use osc_cloud::image::{self, Error, Settings};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

/// Makes, deletes and shows the image of pod VMs.
///
/// All settings come from the environment, as the jobs have it from peer-pods-secret, peer-pods-cm and the image config map;
/// options go before. Exit status: 0 done, 1 failed, 2 wrong options, 3 not supported, 4 not ours.
#[derive(Parser)]
#[command(name = "osc-podvm-image", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// Cloud: aws or libvirt. Like CLOUD_PROVIDER.
    #[arg(long, global = true)]
    provider: Option<String>,
    /// Identity of the cluster, which names and tags are made of. Like CLUSTER_ID.
    #[arg(long, global = true)]
    cluster: Option<String>,
    /// Any other setting, as KEY=VALUE; may be given many times.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// File for the result; Kubernetes shows it with the container.
    #[arg(long, global = true, default_value = "/dev/termination-log")]
    result: PathBuf,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value = "json")]
    log: Log,
    /// Seconds between two looks at work of the cloud.
    #[arg(long, global = true, default_value_t = 15)]
    pace: u64,
}

#[derive(Subcommand)]
enum Verb {
    /// Makes the image, unless there is one from the same source.
    Create {
        /// Where the disk comes from: `oci::image[:tag][::path]` or `file::/path`. Like PODVM_IMAGE_URI.
        #[arg(long)]
        source: Option<String>,
        /// Folder for disks while they are worked on.
        #[arg(long, default_value = "/store")]
        store: PathBuf,
        /// File with logins of registries. Like REGISTRY_AUTH_FILE.
        #[arg(long)]
        auth_file: Option<PathBuf>,
        /// The largest disk that is taken, in GiB.
        #[arg(long, default_value_t = 64)]
        most: u64,
    },
    /// Deletes the image and all that belongs to it, if this cluster made it.
    Delete {
        /// Its identifier. Like AMI_ID and LIBVIRT_IMAGE_ID. None: the one of this cluster.
        #[arg(long)]
        image: Option<String>,
        /// Accepted for jobs that were made for earlier tools; means nothing.
        #[arg(short = 'f', hide = true)]
        force: bool,
    },
    /// Shows what there is of the image, as JSON.
    Show,
}

#[derive(Clone, Copy, ValueEnum)]
enum Log {
    Json,
    Text,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logs(arguments.log);
    let result = arguments.result.clone();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            image::write(&result, &format!("osc-podvm-image: {error}\n"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn logs(log: Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log {
        Log::Json => lines.json().init(),
        Log::Text => lines.init(),
    }
}

fn run(arguments: Arguments) -> Result<(), Error> {
    let mut overrides: BTreeMap<String, String> = arguments.set.into_iter().collect();
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            overrides.insert(key.to_owned(), value);
        }
    };
    put("CLOUD_PROVIDER", arguments.provider);
    put("CLUSTER_ID", arguments.cluster);
    let mut limits = (PathBuf::from("/store"), None, 64);
    if let Verb::Create { source, store, auth_file, most } = &arguments.verb {
        put("PODVM_IMAGE_URI", source.clone());
        limits = (store.clone(), auth_file.clone(), *most);
    }
    // A variable that is no text is no setting of ours.
    let environment = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    let mut settings = Settings::new(environment, overrides, limits.0);
    settings.auth_file = limits.1;
    settings.most = limits.2.saturating_mul(1 << 30);
    settings.pace = arguments.pace;
    match arguments.verb {
        Verb::Create { .. } => tell(&arguments.result, &image::create(&settings)?),
        Verb::Delete { image, .. } => tell(&arguments.result, &image::delete(&settings, image.as_deref())?),
        Verb::Show => {
            println!("{}", image::show(&settings)?);
            Ok(())
        }
    }
}

fn tell(path: &Path, what: &impl Serialize) -> Result<(), Error> {
    let line = serde_json::to_string(what).map_err(|error| Error::Cloud(error.to_string()))?;
    tracing::info!("done: {line}");
    image::write(path, &format!("{line}\n"));
    Ok(())
}
