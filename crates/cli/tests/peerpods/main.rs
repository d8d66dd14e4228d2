//! `osc peerpods` as a person or a script runs it: on files, on embedded clusters of four clouds, with a server that stands in for
//! AWS, and as the guide and the examples have it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../cloud/tests/it/cloud.rs"]
#[allow(dead_code, reason = "shared with the tests of osc-cloud, which use all of it")]
mod aws_server;
mod cloud;
mod cluster;
mod examples;
mod files;
mod fixture;
mod guide;
mod kubectl;
mod settings_guide;
