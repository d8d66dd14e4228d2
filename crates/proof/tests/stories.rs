//! Every story on every server: `cargo test -p osc-proof --test stories [embedded::|real::|NAME]`.

fn main() -> std::process::ExitCode {
    // Logs of a failing story: RUST_LOG=osc_operator=debug cargo test ...
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    osc_proof::stories::harness()
}
