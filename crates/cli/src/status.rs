//! `osc status`: how far Kata is, from any cluster.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use kube::{Api, Client};
use osc_api::{KataConfig, names};
use serde_json::{Value, json};

use crate::Output;
use crate::kubeconfig::ClusterFlags;
use crate::table::aligned;
use crate::view::{Follow, Screen, Snapshot, Style};

/// Flags of `osc status`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    cluster: ClusterFlags,

    /// Go on showing changes until Ctrl-C.
    #[arg(long, short)]
    watch: bool,

    /// Output format.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How long the first lists may take.
const FIRST_LOOK: Duration = Duration::from_secs(30);

pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.watch && arguments.output == Output::Yaml {
        bail!("--watch prints text or JSON lines; use -o json");
    }
    let client = arguments.cluster.client().await?;
    check_crd(&client).await?;
    let style = if arguments.watch && arguments.output == Output::Json { Style::Json } else { Style::Text };
    let screen = Screen::new(style, Arc::new(|| jiff::Zoned::now().strftime("%H:%M:%S").to_string()));
    if arguments.watch {
        let follow = Follow::start(&client, screen.clone());
        tokio::signal::ctrl_c().await.context("cannot listen for Ctrl-C")?;
        screen.clear();
        return Ok(exit_code(&follow.latest()));
    }
    let follow = Follow::start(&client, Screen::silent());
    let Some(snapshot) = follow.until(FIRST_LOOK, |_| true).await else {
        bail!("the API server did not list KataConfigs and nodes within {} s", FIRST_LOOK.as_secs());
    };
    match arguments.output {
        Output::Text => describe(&snapshot).iter().for_each(|line| anstream::println!("{line}")),
        Output::Json => println!("{}", serde_json::to_string_pretty(&as_json(&snapshot))?),
        Output::Yaml => print!("{}", serde_saphyr::to_string(&as_json(&snapshot))?),
    }
    Ok(exit_code(&snapshot))
}

/// Tells a missing definition, or a cluster out of reach, before a watch would retry for ever.
async fn check_crd(client: &Client) -> anyhow::Result<()> {
    let api: Api<KataConfig> = Api::all(client.clone());
    match api.list_metadata(&kube::api::ListParams::default().limit(1)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => bail!(
            "this cluster does not know KataConfig: CustomResourceDefinition {} is missing; install it with kubectl apply \
             -k deploy/",
            names::KATACONFIG_CRD
        ),
        Err(error) => Err(error).context("cannot read KataConfigs"),
    }
}

fn exit_code(snapshot: &Snapshot) -> ExitCode {
    let degraded = snapshot.condition("Degraded").is_some_and(|(status, ..)| status == "True");
    match (degraded, snapshot.kata_config().is_none() || snapshot.settled()) {
        (true, _) => ExitCode::from(3),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(2),
    }
}

fn describe(snapshot: &Snapshot) -> Vec<String> {
    let Some(kata_config) = snapshot.kata_config() else {
        return vec!["no KataConfig: Kata is not asked for on this cluster".to_owned()];
    };
    let mut lines = vec![format!("KataConfig {}", kata_config.metadata.name.clone().unwrap_or_default())];
    for type_ in ["InProgress", "Ready", "Degraded"] {
        if let Some((status, reason, message)) = snapshot.condition(type_) {
            lines.push(format!("  {type_:<10}  {status:<5}  {}", [reason, message].join("  ").trim()));
        }
    }
    for other in snapshot.kata_configs.values().filter(|other| other.metadata.uid != kata_config.metadata.uid)
    {
        lines.push(format!("KataConfig {} is ignored", other.metadata.name.clone().unwrap_or_default()));
    }
    lines.push(String::new());
    let columns = ["NODE", "STATE", "NOW"].map(str::to_owned);
    let rows: Vec<Vec<String>> = snapshot
        .rows()
        .into_iter()
        .map(|row| vec![row.name, row.state.to_owned(), row.phase.unwrap_or("-").to_owned()])
        .collect();
    lines.extend(aligned(&columns, &rows));
    lines
}

fn as_json(snapshot: &Snapshot) -> Value {
    let rows = snapshot.rows();
    let nodes: Vec<Value> = rows
        .iter()
        .map(|row| json!({"name": row.name, "state": row.state, "phase": row.phase, "percent": row.percent}))
        .collect();
    let kata_config = snapshot.kata_config();
    json!({
        "kataConfig": kata_config.and_then(|kata_config| kata_config.metadata.name.clone()),
        "settled": snapshot.settled(),
        "status": kata_config.and_then(|kata_config| kata_config.status.clone()),
        "nodes": nodes,
    })
}
