//! `osc peerpods check`.

use std::process::ExitCode;

use osc_api::peerpods::Provider;
use osc_cloud::Clouds;
use osc_engine::peerpods::check::{self, Complaint, Setup, Severity};
use osc_engine::peerpods::config::{self, Data, Origin, Setting};
use serde_json::{Value, json};

use super::read::{Source, setup};
use super::verify;
use crate::Output;
use crate::preflight::finding::{self, Finding};
use crate::view::style;

/// Flags of `osc peerpods check`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,

    /// Also show the settings that hold, and where each comes from.
    #[arg(long)]
    show: bool,

    /// Also log in to the cloud with these settings, from this machine, and ask whether what they name is there. Changes
    /// nothing there either.
    #[arg(long)]
    ask_cloud: bool,

    /// Output format.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Checks.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let setup = setup(&arguments.source.read().await?);
    let mut complaints = check::check(&setup);
    if arguments.ask_cloud {
        complaints.extend(verify::ask(&setup, &complaints, &Clouds).await);
        complaints.sort_by_key(|complaint| complaint.severity);
    }
    let told = Told { provider: provider(&setup), complaints: &complaints, settings: settings(&setup) };
    match arguments.output {
        Output::Text => {
            for line in told.lines(arguments.show) {
                anstream::println!("{line}");
            }
        }
        Output::Json => println!("{}", serde_json::to_string_pretty(&told.value(arguments.show))?),
        Output::Yaml => print!("{}", serde_saphyr::to_string(&told.value(arguments.show))?),
    }
    Ok(if check::blocked(&complaints) { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// What it prints about a cluster, line by line.
pub async fn of_cluster(client: &kube::Client) -> anyhow::Result<Vec<String>> {
    let setup = setup(&super::read::of_cluster(client).await?);
    let complaints = check::check(&setup);
    let told = Told { provider: provider(&setup), complaints: &complaints, settings: settings(&setup) };
    Ok(told.lines(false))
}

fn provider(setup: &Setup) -> Option<Provider> {
    config::provider(setup.settings.as_ref()?, setup.credentials.as_ref())
}

/// The settings that hold.
fn settings(setup: &Setup) -> Vec<Setting> {
    let none = Data::new();
    let data = setup.settings.as_ref().unwrap_or(&none);
    provider(setup)
        .map_or_else(Vec::new, |provider| config::effective(provider, data, setup.credentials.as_ref()))
}

/// What is printed.
struct Told<'a> {
    provider: Option<Provider>,
    complaints: &'a [Complaint],
    settings: Vec<Setting>,
}

impl Told<'_> {
    fn count(&self, severity: Severity) -> usize {
        self.complaints.iter().filter(|complaint| complaint.severity == severity).count()
    }

    fn verdict(&self) -> String {
        let whom = self
            .provider
            .map_or("Peer pods".to_owned(), |provider| format!("Peer pods on {}", provider.title()));
        let known = match self.count(Severity::Warns) {
            0 => String::new(),
            1 => " One thing to look at.".to_owned(),
            warns => format!(" {warns} things to look at."),
        };
        match self.count(Severity::Blocks) {
            0 if self.provider.is_none() => format!("{whom}: the provider is not known.{known}"),
            0 if known.is_empty() => style::good(&format!("{whom}: nothing stands in the way.")),
            0 => format!("{whom}: nothing stands in the way.{known}"),
            1 => style::bad(&format!("{whom}: one thing stands in the way.{known}")),
            blocks => style::bad(&format!("{whom}: {blocks} things stand in the way.{known}")),
        }
    }

    /// Object by object, the one with the gravest first; within an object, the gravest first.
    fn lines(&self, show: bool) -> Vec<String> {
        let mut lines = vec![self.verdict()];
        for object in objects(self.complaints) {
            let own = self.complaints.iter().filter(|complaint| complaint.object == object);
            let findings: Vec<Finding> = own.map(finding).collect();
            lines.extend([String::new(), style::command(object), String::new()]);
            lines.extend(finding::lines(&findings));
        }
        if show && !self.settings.is_empty() {
            lines.extend([String::new(), "Settings that hold".to_owned(), String::new()]);
            let columns = ["KEY", "VALUE", "FROM"].map(str::to_owned);
            let row =
                |setting: &Setting| vec![setting.name.to_owned(), shown(setting), origin(&setting.origin)];
            lines.extend(crate::table::aligned(&columns, &self.settings.iter().map(row).collect::<Vec<_>>()));
        }
        lines
    }

    fn value(&self, show: bool) -> Value {
        let placed = |complaint: &Complaint| finding(complaint).at(complaint.object.clone());
        let findings: Vec<Finding> = self.complaints.iter().map(placed).collect();
        let mut value = json!({
            "provider": self.provider.map(Provider::name),
            "blocked": check::blocked(self.complaints),
            "findings": findings,
        });
        if show {
            let setting = |setting: &Setting| json!({"key": setting.name, "value": shown(setting), "from": origin(&setting.origin)});
            value["settings"] = self.settings.iter().map(setting).collect();
        }
        value
    }
}

/// The objects that something is said about, in the order of what is said: the gravest first.
fn objects(complaints: &[Complaint]) -> Vec<&str> {
    let mut objects: Vec<&str> = Vec::new();
    for complaint in complaints {
        if !objects.contains(&complaint.object.as_str()) {
            objects.push(&complaint.object);
        }
    }
    objects
}

fn finding(complaint: &Complaint) -> Finding {
    let new = match complaint.severity {
        Severity::Blocks => Finding::blocks,
        Severity::Warns => Finding::warns,
        Severity::Info => Finding::info,
    };
    new(complaint.reason, complaint.what.as_str())
        .why(complaint.why.as_str())
        .remedy(complaint.remedy.as_str())
}

/// A value out of the secret is not shown, even if it is none.
fn shown(setting: &Setting) -> String {
    match setting.origin {
        Origin::Credentials => "(not shown)".to_owned(),
        _ if setting.name == "INITDATA" => format!("({} characters)", setting.value.len()),
        _ => setting.value.clone(),
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Settings => "peer-pods-cm".to_owned(),
        Origin::Alias(alias) => format!("peer-pods-cm, as {alias}"),
        Origin::Credentials => "peer-pods-secret".to_owned(),
        Origin::Default => "default".to_owned(),
    }
}
