//! The AWS client and `osc-podvm-image` against servers that speak the real protocols: moto for EC2, S3 and STS, a registry,
//! and the real qemu-img. `hack/test-deps.sh` installs them.

mod cloud;
mod image;
mod killed;
mod login;
mod machines;
mod pull;
mod registry;
mod tool;
