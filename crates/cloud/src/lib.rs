//! Where pod VMs run, and what they boot from.

pub mod aws;
mod http_client;
//pub mod image;
