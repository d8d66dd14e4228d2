//! The disk to be uploaded: found, pulled, checked, and made raw where that is wanted.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::disk::{self, Qcow2, need_space};
use super::error::{Error, Result};
use super::progress::Progress;
use super::registry::{Pulled, Registry};
use super::settings::Settings;
use super::source::Source;
use super::{auth, layers};
use crate::Kind;
use crate::aws::hex;

/// Our folder on the job's disk; what an earlier try left there is of no use.
const FOLDER: &str = "osc-podvm-image";
const REMEDY: &str = "set it in the image config map to oci::image[:tag][::path]; it is needed to make an image, not to delete one";

/// A disk on this machine.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Where.
    pub path: PathBuf,
    /// Bytes of the file.
    pub size: u64,
}

/// Where the disk comes from, as far as it was followed.
pub struct Origin<'a> {
    settings: &'a Settings,
    source: Source,
    folder: PathBuf,
    /// In Go's words.
    architecture: &'static str,
    found: Option<(Registry, Pulled)>,
}

impl<'a> Origin<'a> {
    /// Reads the settings. Nothing is pulled yet.
    pub fn new(settings: &'a Settings, provider: Kind) -> Result<Self> {
        let source = Source::parse(settings.need("PODVM_IMAGE_URI", REMEDY)?)?;
        let architecture = match (provider, std::env::consts::ARCH) {
            // What images are registered for there.
            (Kind::Aws, _) | (_, "x86_64") => "amd64",
            (_, "aarch64") => "arm64",
            (_, other) => other,
        };
        let folder = settings.store.join(FOLDER);
        Ok(Self { settings, source, folder, architecture, found: None })
    }

    /// What the source is now: two disks of the same identity are the same.
    pub fn identity(&mut self) -> Result<String> {
        match &self.source {
            Source::Oci { reference, path } => {
                let login = auth::find(self.settings, reference)?;
                let mut registry = Registry::new(reference.clone(), login);
                let pulled = registry.image(self.architecture)?;
                let digest = pulled.digest.clone();
                tracing::info!(image = %reference, digest, "found");
                let identity = if path == "/image/podvm.qcow2" { digest } else { format!("{digest}:{path}") };
                self.found = Some((registry, pulled));
                Ok(identity)
            }
            Source::File(path) => sha256(path).map(|digest| format!("sha256:{digest}")),
        }
    }

    /// The qcow2 image.
    pub fn qcow2(&mut self) -> Result<(Disk, Qcow2)> {
        let path = match &self.source {
            Source::File(path) => path.clone(),
            Source::Oci { path, .. } => {
                let path = path.clone();
                self.make_folder()?;
                let to = self.folder.join("podvm.qcow2");
                if self.found.is_none() {
                    self.identity()?;
                }
                if let Some((registry, pulled)) = &mut self.found {
                    layers::extract(registry, pulled, &path, &to, self.settings.most)?;
                }
                to
            }
        };
        let header = Qcow2::open(&path, self.settings.most)?;
        let size = fs::metadata(&path).map_err(|error| Error::disk(&path, &error))?.len();
        Ok((Disk { path, size }, header))
    }

    /// The same, raw.
    pub fn raw(&mut self) -> Result<Disk> {
        let (disk, header) = self.qcow2()?;
        self.make_folder()?;
        let to = self.folder.join("podvm.raw");
        let mut progress = Progress::new("making a raw disk", header.size);
        disk::to_raw(&disk.path, &to, header.size, &mut progress)?;
        if disk.path.starts_with(&self.folder) {
            fs::remove_file(&disk.path).map_err(|error| Error::disk(&disk.path, &error))?;
        }
        Ok(Disk { path: to, size: header.size })
    }

    fn make_folder(&self) -> Result<()> {
        if !self.settings.store.is_dir() {
            let place = self.settings.store.display().to_string();
            return Err(Error::Disk {
                place,
                why: "is no folder; mount a volume there, or name another with --store".to_owned(),
            });
        }
        fs::create_dir_all(&self.folder).map_err(|error| Error::disk(&self.folder, &error))?;
        need_space(&self.folder, 0, "the work")
    }

    /// The disk is no longer needed.
    pub fn forget(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("{} stays: {error}", self.folder.display());
        }
    }
}

impl Drop for Origin<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    let failed = |error: std::io::Error| Error::disk(path, &error);
    let mut file = fs::File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}
