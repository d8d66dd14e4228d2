//! Data into volumes and out of them, each on a connection of its own.

use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::calls::{DOWNLOAD, UPLOAD, Volume, transfer};
use super::client::{Client, failure};
use super::wire::CallError;
use crate::{Error, Kind};

/// So much is read from a source at a time.
const BUFFER: usize = 1 << 20;

/// SHA-256 in hexadecimal digits.
pub(super) fn hex(digest: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    digest.as_ref().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Digest of what is in memory.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

impl Client {
    /// Writes what the source has into a volume, from its beginning: exactly `length` bytes. Their SHA-256.
    pub(super) async fn upload(
        &self,
        volume: &Volume,
        length: u64,
        mut source: impl AsyncRead + Unpin,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<String, Error> {
        let action = format!("upload into volume {} of pool {}", volume.name, volume.pool);
        let line = self.log_in().await?;
        let begun = line.session.open_stream(UPLOAD, transfer(volume, length)).await;
        let mut stream = match begun {
            Ok(stream) => stream,
            Err(error) => return Err(failure(&line, error).await.because(action)),
        };
        let mut hash = Sha256::new();
        let mut buffer = vec![0; BUFFER];
        let mut sent = 0;
        while sent < length {
            let room = usize::try_from(length - sent).unwrap_or(usize::MAX).min(BUFFER);
            let count = match source.read(&mut buffer[..room]).await {
                Ok(0) => {
                    stream.abort().await;
                    return Err(short(&action, sent, length));
                }
                Ok(count) => count,
                Err(error) => {
                    stream.abort().await;
                    return Err(unreadable(action, &error));
                }
            };
            hash.update(&buffer[..count]);
            if let Err(error) = stream.write(&buffer[..count]).await {
                return Err(failure(&line, error).await.because(action));
            }
            sent += count as u64;
            progress(sent);
        }
        if let Err(error) = stream.finish().await {
            return Err(failure(&line, error).await.because(action));
        }
        Ok(hex(hash.finalize()))
    }

    /// SHA-256 of the first `length` bytes of a volume, as they are read back.
    pub(super) async fn read_back(
        &self,
        volume: &Volume,
        length: u64,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<String, Error> {
        let action = format!("read volume {} of pool {} back", volume.name, volume.pool);
        let line = self.log_in().await?;
        let read = async {
            let mut stream = line.session.open_stream(DOWNLOAD, transfer(volume, length)).await?;
            let mut hash = Sha256::new();
            let mut count = 0;
            while let Some(data) = stream.read().await? {
                hash.update(&data);
                count += data.len() as u64;
                progress(count);
            }
            stream.finish().await?;
            Ok::<_, CallError>((hash, count))
        };
        let (hash, count) = match read.await {
            Ok(done) => done,
            Err(error) => return Err(failure(&line, error).await.because(action)),
        };
        if count == length { Ok(hex(hash.finalize())) } else { Err(short(&action, count, length)) }
    }
}

fn short(action: &str, sent: u64, length: u64) -> Error {
    Error::Unreachable {
        kind: Kind::Libvirt,
        message: format!("{action}: the data ended after {sent} of {length} bytes"),
    }
}

fn unreadable(action: String, error: &std::io::Error) -> Error {
    Error::Refused {
        kind: Kind::Libvirt,
        action,
        message: format!("cannot read what is to be uploaded: {error}"),
    }
}
