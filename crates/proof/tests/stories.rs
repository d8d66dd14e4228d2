//! Every story on every server: `cargo test -p osc-proof --test stories [embedded::|real::|NAME]`.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

fn main() -> std::process::ExitCode {
    // Logs of a failing story: RUST_LOG=osc_operator=debug cargo test ...
    let silent = LevelFilter::OFF.into();
    let filter = EnvFilter::builder().with_default_directive(silent).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    osc_proof::stories::harness()
}
