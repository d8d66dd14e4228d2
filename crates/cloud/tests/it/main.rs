//! The AWS client and `osc-podvm-image` against servers that speak the real protocols: moto for EC2, S3 and STS, a registry,
//! and the real qemu-img. `hack/test-deps.sh` installs them.

// A test that cannot go on panics; clippy knows that only of functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cloud;
mod image;
mod killed;
mod login;
mod machines;
mod pull;
mod registry;
mod tool;
