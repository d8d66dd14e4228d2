//! A bundle from an https server: the host's authorities decide whom to trust, redirects are followed, the digest decides.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use osc_node::payload::source::Bundle;
use osc_node::state::State;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::scratch::{Scratch, bundle, node, settings};

/// Serves a file under `/bundle`, to which `/` leads, until the test ends.
fn serve(host: &Scratch, content: Vec<u8>, digest: &str) -> (SocketAddr, String) {
    // Another test may have been faster.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = host.runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let digest = format!("{digest}  kata.tar.zst\n");
    host.runtime().spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let (head, body) = match request.split_whitespace().nth(1).unwrap() {
                "/" => ("302 Found\r\nLocation: /bundle", Vec::new()),
                "/bundle" => ("200 OK", content.clone()),
                "/.sha256" => ("200 OK", digest.clone().into_bytes()),
                _ => ("404 Not Found", Vec::new()),
            };
            let head =
                format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    (address, certified.cert.pem())
}

#[test]
fn a_bundle_is_downloaded_from_whom_the_host_trusts() {
    let host = Scratch::with_containerd();
    let bundle = bundle(host.folder(), "kata.tar.zst", &[]);
    let (address, authority) = serve(&host, fs::read(&bundle.path).unwrap(), &bundle.digest);
    let from = format!("https://localhost:{}/", address.port());
    let work = host.work(&[("KATA_BUNDLE", &from)]);
    let refused = |parts: &[&str]| {
        let error = work.install(&node(), State::Installing).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!host.exists("opt/kata"));
    };
    refused(&["no list of trusted authorities", "put the bundle on the host"]);
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    host.write("etc/ssl/certs/ca-certificates.crt", stranger.cert.pem());
    refused(&[&from, "cannot be downloaded"]);
    host.write("etc/ssl/certs/ca-certificates.crt", authority);
    work.install(&node(), State::Installing).unwrap();
    assert_eq!(host.handlers(), ["kata", "kata-snp", "runc"]);

    for (from, says) in [
        (format!("https://localhost:{}/nothing", address.port()), "cannot be downloaded: http status: 404"),
        (from.replace("https", "http"), "a bundle is a path or an https:// address"),
    ] {
        let digest = "0".repeat(64);
        let settings = settings(&[("KATA_BUNDLE", &from), ("KATA_BUNDLE_DIGEST", &digest)]);
        let error =
            Bundle::find(&host.host(), &settings).unwrap().open(&host.host()).err().unwrap().to_string();
        assert!(error.contains(&from) && error.contains(says), "{error}");
    }
}
