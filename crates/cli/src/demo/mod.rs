//! `osc demo`: the whole life of a KataConfig, on an embedded cluster, with the operator that runs in real ones.

mod gates;
mod inventory;
mod peerpods;
mod scenario;
mod stage;
mod story;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;

use crate::Output;
use scenario::Scenario;
use stage::Stage;

/// Flags of `osc demo`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Stop after the installation and keep the cluster serving until Ctrl-C.
    #[arg(long)]
    keep: bool,

    /// What kind of cluster, and what happens on it.
    #[arg(long, value_enum, default_value_t = Scenario::Regular)]
    scenario: Scenario,

    /// Worker nodes (regular clusters only).
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=5000))]
    workers: u32,

    /// Simulated seconds in a real one.
    #[arg(long, default_value_t = 150.0, value_parser = speed)]
    speed: f64,

    /// Where the API server listens; port 0 takes any free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0", value_parser = listen)]
    listen: SocketAddr,

    /// Serve HTTPS; the kubeconfig carries the authority.
    #[arg(long)]
    tls: bool,

    /// Where to write the kubeconfig; without it, a temporary file.
    #[arg(long, value_name = "FILE")]
    kubeconfig_out: Option<PathBuf>,

    /// KataConfig to apply; by default docs/examples/example-kataconfig.yaml, or peerpods/kataconfig.yaml beside it where
    /// the scenario is about peer pods.
    #[arg(long, short, value_name = "FILE")]
    filename: Option<PathBuf>,

    /// Output format: text, or one JSON object a line.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Arguments {
    /// The KataConfig to apply.
    fn kata_config(&self) -> &Path {
        let default = match self.scenario {
            Scenario::Peerpods => "docs/examples/peerpods/kataconfig.yaml",
            _ => "docs/examples/example-kataconfig.yaml",
        };
        self.filename.as_deref().unwrap_or(Path::new(default))
    }
}

/// Reads a speed factor.
pub fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.1..=10_000.0).contains(&speed) => Ok(speed),
        _ => Err(format!(
            "{text:?} is no speed; write a number from 0.1 to 10000, for instance 60 for a minute a second"
        )),
    }
}

/// The embedded server has no authentication: it stays on this machine.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is no address; write IP:PORT, for instance 127.0.0.1:6443"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!(
            "{address} is not a loopback address, and the embedded server lets everyone in; use 127.0.0.1 or [::1]"
        ))
    }
}

pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.output == Output::Yaml {
        bail!("the demo prints text or JSON lines; use -o json");
    }
    let stage = Stage::set(&arguments).await?;
    let played = tokio::select! {
        result = story::play(&stage, &arguments) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    stage.strike().await;
    played.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_speed_is_refused_in_words() {
        assert_eq!(speed("60"), Ok(60.0));
        for wrong in ["0", "-1", "NaN", "inf", "fast"] {
            let error = speed(wrong).unwrap_err();
            assert!(error.contains("write a number from 0.1 to 10000"), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_server_is_not_shown_to_the_network() {
        assert!(listen("127.0.0.1:6443").is_ok());
        assert!(listen("0.0.0.0:6443").unwrap_err().contains("not a loopback address"));
        assert!(listen("6443").unwrap_err().contains("write IP:PORT"));
    }
}
