//! `osc`: the command a person types. Also installed as `kubectl-osc`, so that `kubectl osc` works.

mod demo;
mod generate;
mod kubeconfig;
mod peerpods;
mod plan;
mod preflight;
mod room;
mod simulate;
mod snapshot;
mod status;
mod table;
mod view;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tracing_subscriber::EnvFilter;

/// OpenShift sandboxed containers: plan, watch, try out.
#[derive(Parser)]
#[command(name = "osc", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell what applying or deleting a KataConfig would do: which nodes reboot, when, what stands in the way. Changes
    /// nothing. Exits with 0 if it would get done, 2 if not.
    Plan(plan::Arguments),
    /// Check what stands in the way of installing or removing Kata. Exits with 0 if nothing does, 2 if something does.
    Preflight(preflight::Arguments),
    /// Write down what a plan needs to know about a cluster: names and numbers, no secrets. Reads only.
    Snapshot(snapshot::Arguments),
    /// Print manifests that the documentation makes people type, for the cluster at hand.
    Generate(generate::Arguments),
    /// Write and check the settings of peer pods, before anything is created.
    Peerpods(peerpods::Arguments),
    /// Show how far Kata is on a cluster. Exits with 0 if settled, 2 if in progress, 3 if somebody should look.
    Status(status::Arguments),
    /// Show the whole life of a KataConfig on an embedded cluster.
    Demo(demo::Arguments),
    /// Run the simulated controllers (pools, nodes, DaemonSets, pods) against any API server.
    Simulate(simulate::Arguments),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page.
    Man,
    /// Print the version.
    Version,
}

/// How output looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON object (a line, where there are several).
    Json,
    /// YAML.
    Yaml,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Not clap's own exit code 2, which means something else here: blocked, or in progress.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let filter = EnvFilter::try_from_env("OSC_LOG")
        .unwrap_or_else(|_| EnvFilter::new("osc=error,osc_operator=error,osc_devcluster=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // The one crypto provider. It fails only if there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(cli.command).await {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{}: {}", view::style::bad("error"), in_words(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Generate(arguments) => generate::run(arguments).await,
        Command::Peerpods(arguments) => peerpods::run(arguments).await,
        Command::Plan(arguments) => plan::run(arguments).await,
        Command::Preflight(arguments) => preflight::run(arguments).await,
        Command::Simulate(arguments) => simulate::run(arguments).await,
        Command::Snapshot(arguments) => snapshot::run(arguments).await,
        Command::Status(arguments) => status::run(arguments).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "osc", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            std::io::stdout().write_all(&page)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Version => {
            println!("osc {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The chain of causes; of what an API server refused, what it said.
fn in_words(error: &anyhow::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in error.chain() {
        let known = cause.downcast_ref::<kube::Error>();
        let text = known.map_or_else(|| cause.to_string(), osc_operator::apply::words);
        if !words.iter().any(|said| said.contains(&text)) {
            words.push(text);
        }
        if known.is_some() {
            break;
        }
    }
    words.join(": ")
}

/// `osc demo | head` ends quietly.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
