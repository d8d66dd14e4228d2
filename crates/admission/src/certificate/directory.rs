//! Certificates that somebody else puts into a directory: the kubelet, from a Secret, or cert-manager.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{CertificateError, Current, Serving};

/// How often the directory is looked at. The kubelet takes about a minute to bring a changed Secret; notifications
/// would tell of its links, not of the files.
pub const PERIOD: Duration = Duration::from_secs(10);

/// A directory with `tls.crt` and `tls.key`.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The one at this path, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Whether a certificate is in it.
    pub fn is_filled(&self) -> bool {
        self.path.join("tls.crt").is_file()
    }

    /// Small files in memory: reading them holds nobody up.
    fn read(&self) -> Result<[String; 2], CertificateError> {
        let read = |name: &str| {
            let path = self.path.join(name);
            std::fs::read_to_string(&path)
                .map_err(|source| CertificateError::File { path: path.display().to_string(), source })
        };
        Ok([read("tls.crt")?, read("tls.key")?])
    }

    /// Sees to it that `current` is what is in the directory, until cancelled. What cannot be used is told once, and the
    /// certificate before it stays in use: files may be half written, and will be looked at again.
    pub async fn follow(self, current: Current, period: Duration, cancel: CancellationToken) {
        let mut seen: Option<[String; 2]> = None;
        let mut told = String::new();
        let mut ticks = tokio::time::interval(period);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let read = match self.read() {
                Ok(files) if seen.as_ref() == Some(&files) => continue,
                Ok(files) => Serving::from_pem(&files[0], &files[1]).map(|serving| (files, serving)),
                Err(error) => Err(error),
            };
            match read {
                Ok((files, serving)) => {
                    tracing::info!(directory = %self.path.display(), not_after = %serving.not_after, "serving certificate loaded");
                    current.set(serving);
                    seen = Some(files);
                    told.clear();
                }
                Err(error) if error.to_string() != told => {
                    told = error.to_string();
                    let directory = self.path.display();
                    tracing::warn!(%directory, %error, "no new serving certificate; looking again");
                }
                Err(_) => {}
            }
        }
    }
}
