//! `osc peerpods` as a person or a script runs it: on files, on embedded clusters of four clouds, and as the guide and the
//! examples have it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod examples;
mod files;
mod fixture;
mod guide;
mod settings_guide;
