//! What the API server asks before it stores an object, the answers, and the HTTPS server that gives them.
//!
//! The decisions are functions of a request and of what is known, without I/O:
//!
//! - [`kata_config`]: whether a KataConfig may be created or changed so.
//! - [`memory_overhead`]: what a pod of Kata is given, where that is asked for.
//! - [`peer_pod`]: how a peer pod is counted, and how large its virtual machine is to be.
//!
//! The rest serves whatever decision there is, also those of other programs of this project:
//!
//! - [`review`]: from the bytes of a question to the bytes of its answer.
//! - [`server`]: HTTPS on a socket. [`certificate`]: with which certificate, which may change while it serves; [`tls`]: with which versions and
//!   suites. [`bind`]: where.
//! - [`logs`]: how a program tells what it does.
//!
//! `src/bin/osc-webhook` is the program that serves [`peer_pod`].

mod annotations;
pub mod bind;
pub mod certificate;
pub mod kata_config;
pub mod logs;
pub mod memory_overhead;
pub mod peer_pod;
pub mod review;
pub mod server;
pub mod tls;

pub use review::{Request, Verdict};
pub use server::{Handler, Outcome, Server};

/// What a person is told with: an object's kind and name, or that it has none yet.
fn named(kind: &str, name: Option<&str>) -> String {
    match name {
        Some(name) if !name.is_empty() => format!("{kind} {name:?}"),
        _ => format!("this {kind}"),
    }
}
