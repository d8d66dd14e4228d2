//! The image on a KVM host: a volume of a storage pool.
//!
//! libvirt keeps no tags of volumes. Beside the image there is a small volume whose name has the cluster in it and whose
//! content is what the image was made from; it is made before the image and deleted after it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::{Error, Result};
use super::prepare::{self, Origin};
use super::progress::Progress;
use super::result::Made;
use super::settings::Settings;
use crate::aws::hex;
use crate::libvirt::volumes::{self, PoolDeletion, Storage, StoragePool, Upload};
use crate::{Account, Kind};

/// Where jobs have the key for the host mounted, unless `SSH_IDENTITY_FILE` says otherwise.
const SSH_KEY: &str = "/root/.ssh/id_rsa";
/// A volume that a person made beforehand, as documented, is empty: its tables alone take a few MiB. No image of a pod VM is
/// as small as this.
const EMPTY: u64 = 64 << 20;
const MARK: &str = ".made-for-";

/// The work for one volume.
pub struct Kvm<'a> {
    settings: &'a Settings,
    storage: Storage,
    runtime: tokio::runtime::Runtime,
    cluster: String,
    pool: String,
    volume: String,
}

/// What there is of an image.
#[derive(Debug, Serialize)]
pub(super) struct Inventory {
    pool: String,
    volumes: Vec<String>,
    ours: bool,
}

impl<'a> Kvm<'a> {
    /// Nothing is asked of the host yet. `id` is the volume if it is another than the settings have.
    pub fn new(settings: &'a Settings, id: Option<&str>) -> Result<Self> {
        let mut account = Account::new(Kind::Libvirt);
        let own = settings.values().iter().filter(|(key, _)| key.starts_with("LIBVIRT_"));
        account.settings = own.map(|(key, value)| (key.clone(), value.clone())).collect();
        let key = PathBuf::from(settings.get("SSH_IDENTITY_FILE").unwrap_or(SSH_KEY));
        account.ssh_identity = Some(key).filter(|path| path.exists());
        let storage = Storage::new(&account)?;
        for note in storage.notes() {
            tracing::warn!("{note}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Cloud(format!("no runtime: {error}")))?;
        let need = |key| settings.need(key, "set it in config map peer-pods-cm").map(str::to_owned);
        let volume = id.map_or_else(|| need("LIBVIRT_VOL_NAME"), |id| Ok(id.to_owned()))?;
        if volume.contains('/') || volume.contains(MARK) {
            let todo = "a volume is named like a file, for instance podvm-base.qcow2";
            return Err(Error::setting(
                "LIBVIRT_VOL_NAME",
                format!("{volume:?} is no name of a volume"),
                todo,
            ));
        }
        let cluster = settings.cluster()?.to_owned();
        Ok(Self { settings, storage, runtime, cluster, pool: need("LIBVIRT_POOL")?, volume })
    }

    fn mark(&self) -> String {
        format!("{}{MARK}{}", self.volume, self.cluster)
    }

    /// Makes the volume, or finds it made.
    pub fn create(&self, origin: &mut Origin<'_>) -> Result<Made> {
        let todo = "set it in config map peer-pods-cm to a folder below /var/lib/libvirt/images";
        let directory = Path::new(self.settings.need("LIBVIRT_DIR_NAME", todo)?).to_owned();
        let pool = self.runtime.block_on(self.storage.open_pool(&self.pool, &directory))?;
        self.check_others(&pool)?;
        let source = origin.identity()?;
        if self.is_made(&pool, &source)? {
            tracing::info!(volume = self.volume, "the volume is there, made from the same source");
            return Ok(self.made(source, false));
        }
        let (disk, header) = origin.qcow2()?;
        let upload = Upload {
            name: self.volume.clone(),
            format: "qcow2".to_owned(),
            capacity: header.size,
            length: disk.size,
            sha256: Some(prepare::sha256(&disk.path)?),
        };
        self.clear(&pool)?;
        self.write_mark(&pool, &source)?;
        let progress = Mutex::new(Progress::new("uploading the disk, and reading it back", disk.size * 2));
        let told = |step: volumes::Progress| {
            if let Ok(mut progress) = progress.lock() {
                progress.done(match step {
                    volumes::Progress::Sent(bytes) => bytes,
                    volumes::Progress::Checked(bytes) => disk.size + bytes,
                });
            }
        };
        self.runtime.block_on(async {
            let file =
                tokio::fs::File::open(&disk.path).await.map_err(|error| Error::disk(&disk.path, &error))?;
            pool.upload(&upload, file, &told).await.map_err(Error::from)
        })?;
        tracing::info!(volume = self.volume, pool = self.pool, "uploaded and compared");
        Ok(self.made(source, true))
    }

    fn made(&self, source: String, made: bool) -> Made {
        Made { image: self.volume.clone(), annotations: BTreeMap::new(), source, made }
    }

    /// A volume that is not ours stays.
    fn check_others(&self, pool: &StoragePool) -> Result<()> {
        let names = self.runtime.block_on(pool.volumes())?;
        let marks = format!("{}{MARK}", self.volume);
        // The upload of a mark may have been interrupted.
        let owners = names.iter().filter_map(|name| name.strip_prefix(&marks)?.split('.').next());
        let other = owners.into_iter().find(|owner| *owner != self.cluster);
        let words = match (other, self.runtime.block_on(pool.volume(&self.volume))?) {
            (Some(other), _) => format!("belongs to cluster {other}"),
            (None, Some(volume))
                if !names.contains(&self.mark()) && volume.complete && volume.allocation > EMPTY =>
            {
                "is there, has content, and was not made for this cluster".to_owned()
            }
            _ => return Ok(()),
        };
        Err(Error::Foreign(format!(
            "volume {} of pool {} {words}; it is left as it is: set LIBVIRT_IMAGE_ID of config map peer-pods-cm to its name if \
             it is the image to use, else set another LIBVIRT_VOL_NAME",
            self.volume, self.pool
        )))
    }

    fn is_made(&self, pool: &StoragePool, source: &str) -> Result<bool> {
        let complete =
            self.runtime.block_on(pool.volume(&self.volume))?.is_some_and(|volume| volume.complete);
        let content = content(source);
        let length = content.len() as u64;
        let mark = self.runtime.block_on(async {
            match pool.volume(&self.mark()).await? {
                Some(mark) if mark.complete && mark.capacity >= length => {
                    pool.digest(&self.mark(), length).await
                }
                _ => Ok(None),
            }
        })?;
        Ok(complete && mark == Some(hex(&Sha256::digest(content))))
    }

    fn write_mark(&self, pool: &StoragePool, source: &str) -> Result<()> {
        let content = content(source);
        let length = content.len() as u64;
        let upload =
            Upload { name: self.mark(), format: "raw".to_owned(), capacity: length, length, sha256: None };
        self.runtime.block_on(pool.upload(&upload, content.as_bytes(), &|_| ()))?;
        Ok(())
    }

    /// First the image, then what says whose it is.
    fn clear(&self, pool: &StoragePool) -> Result<()> {
        self.runtime.block_on(async {
            pool.delete_volume(&self.volume).await?;
            pool.delete_volume(&self.mark()).await
        })?;
        Ok(())
    }

    /// Deletes a volume that we made, and a pool that we made once it is empty.
    pub fn delete(&self, asked_for: bool) -> Result<Option<String>> {
        let Some(pool) = self.runtime.block_on(self.storage.pool(&self.pool))? else {
            tracing::info!(pool = self.pool, "the pool is not there");
            return Ok(None);
        };
        let names = self.runtime.block_on(pool.volumes())?;
        let there = names.contains(&self.volume);
        let ours = names.iter().any(|name| name.starts_with(&self.mark()));
        if there && !ours {
            let words = format!(
                "volume {} of pool {} was not made for this cluster; it is not deleted. Empty LIBVIRT_IMAGE_ID of config map \
                 peer-pods-cm, so that it is no longer used",
                self.volume, self.pool
            );
            if asked_for {
                return Err(Error::Foreign(words));
            }
            tracing::warn!("{words}");
            return Ok(None);
        }
        self.clear(&pool)?;
        match self.runtime.block_on(self.storage.delete_empty_pool(&self.pool))? {
            PoolDeletion::NotEmpty(volumes) => {
                tracing::info!(?volumes, "the pool has other volumes and stays");
            }
            other => tracing::info!(pool = self.pool, "{other:?}"),
        }
        Ok(there.then(|| self.volume.clone()))
    }

    /// What there is.
    pub fn inventory(&self) -> Result<Inventory> {
        let pool = self.runtime.block_on(self.storage.pool(&self.pool))?;
        let names = pool.map_or_else(|| Ok(Vec::new()), |pool| self.runtime.block_on(pool.volumes()))?;
        let volumes: Vec<String> = names.into_iter().filter(|name| name.starts_with(&self.volume)).collect();
        Ok(Inventory { pool: self.pool.clone(), ours: volumes.contains(&self.mark()), volumes })
    }
}

/// What a mark says. The end of the line keeps one from being the beginning of another.
fn content(source: &str) -> String {
    format!("{source}\n")
}
