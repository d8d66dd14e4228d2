//! libvirt's remote protocol, as its daemons speak it over a socket.

pub(crate) mod frame;
pub(crate) mod session;
pub(crate) mod transport;
pub(crate) mod xdr;

pub(crate) use session::CallError;
pub(crate) use transport::Endpoint;
