//! A client that sends what it is told, byte by byte if need be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use osc_api::peerpods::webhook::PATH;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

pub const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

pub const NEW: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
pub const OLD: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// A connection with TLS.
pub struct Client(StreamOwned<ClientConnection, TcpStream>);

impl Client {
    /// Fails if it does not come about.
    pub fn connect(
        address: &str,
        trusted: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    /// Status and body.
    pub fn answer(&mut self) -> std::io::Result<(u16, String)> {
        answer(&mut self.0)
    }

    /// A review, and its answer.
    pub fn review(&mut self, body: &str) -> std::io::Result<(u16, String)> {
        self.send(head(body.len()).as_bytes())?;
        self.send(body.as_bytes())?;
        self.answer()
    }
}

/// Of a review with a body that long.
pub fn head(length: usize) -> String {
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: webhook\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// In clear text.
pub fn get(address: &str, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: webhook\r\nconnection: close\r\n\r\n")?;
    answer(&mut stream)
}

fn answer(stream: &mut impl Read) -> std::io::Result<(u16, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body)?;
    Ok((status, String::from_utf8(body).unwrap()))
}
