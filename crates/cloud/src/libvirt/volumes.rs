//! Storage pools and volumes, for whoever brings images to a KVM host.
//!
//! libvirt cannot rename a volume, so an upload is made visible in another way. Before the first byte, a small volume
//! `<name>.incomplete` is created beside the image; it is deleted when the image was read back and has the right digest.
//! As long as it is there, no pod VM is created from that image, `verify` says why, and the next upload of that name starts
//! again. Cloning a verified volume under its final name would need twice the space and change its bytes.
//!
//! A pool that is made here gets a UUID that follows from its name: that is how it is known later as one of ours, which is
//! deleted when it is empty. libvirt keeps nothing else that could say so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::io::AsyncRead;

use super::calls::{Named, Volume};
use super::client::{Answer, Client, code};
use super::domain::escape;
use super::host;
use super::wire::Endpoint;
use crate::{Account, Deletion, Error, Kind};

/// Where the documentation has the directories of pools: `LIBVIRT_DIR_NAME` is below it.
pub const IMAGES: &str = "/var/lib/libvirt/images";

/// Name of the volume that says that another is not complete.
pub(super) fn marker(volume: &str) -> String {
    format!("{volume}.incomplete")
}

/// The storage of a KVM host.
#[derive(Clone, Debug)]
pub struct Storage {
    client: Arc<Client>,
}

/// A storage pool that is there and started.
#[derive(Clone, Debug)]
pub struct StoragePool {
    client: Arc<Client>,
    pool: Named,
    path: PathBuf,
}

/// What a volume is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its name.
    pub name: String,
    /// `qcow2` or `raw`.
    pub format: String,
    /// Size as a guest sees it, in bytes. Of `qcow2`, the image itself says it once it was uploaded.
    pub capacity: u64,
    /// Bytes that are uploaded.
    pub length: u64,
    /// SHA-256 that these have to have, in hexadecimal digits. None: nobody knows; that what is read back is the same as
    /// what was sent is checked all the same.
    pub sha256: Option<String>,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes were sent.
    Sent(u64),
    /// So many bytes were read back.
    Checked(u64),
}

/// A volume that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Where it is on the host.
    pub path: String,
    /// Size as a guest sees it, in bytes.
    pub capacity: u64,
    /// Size on the host, in bytes.
    pub allocation: u64,
    /// `qcow2`, `raw`, ...
    pub format: String,
    /// Whether its upload was finished and checked. Volumes that others made always are.
    pub complete: bool,
}

/// What became of a pool that was to be deleted if it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolDeletion {
    /// It is gone, with its directory.
    Deleted,
    /// It was not there.
    WasGone,
    /// These volumes are in it.
    NotEmpty(Vec<String>),
    /// It was not made here.
    NotOurs,
}

impl Storage {
    /// The storage of the host that the account's `LIBVIRT_URI` names. Nothing else of the account is needed.
    pub fn new(account: &Account) -> Result<Self, Error> {
        let endpoint = Endpoint::parse(account.need("LIBVIRT_URI")?, account.ssh_identity.as_deref())?;
        Ok(Self { client: Arc::new(Client::new(endpoint)) })
    }

    /// What a person should know about the connection.
    pub fn notes(&self) -> Vec<String> {
        self.client.endpoint().notes()
    }

    /// A pool, started if it was stopped. None: there is none of that name.
    pub async fn pool(&self, name: &str) -> Result<Option<StoragePool>, Error> {
        let action = |what: &str| format!("{what} pool {name}");
        let pool = self.client.pool(name).await.map_err(|said| said.because(action("find")))?;
        let Some(pool) = pool else { return Ok(None) };
        if !self.client.pool_is_active(&pool).await.map_err(|said| said.because(action("look at")))? {
            self.start(&pool).await.map_err(|said| said.because(action("start")))?;
        }
        let xml = self.client.pool_xml(&pool).await.map_err(|said| said.because(action("look at")))?;
        let path = host::pool(&xml)?.path.into();
        Ok(Some(StoragePool { client: Arc::clone(&self.client), pool, path }))
    }

    /// A pool, made if there is none: of a directory, which is made, too. A relative one is below [`IMAGES`].
    pub async fn open_pool(&self, name: &str, directory: &Path) -> Result<StoragePool, Error> {
        let directory = Path::new(IMAGES).join(directory);
        if let Some(pool) = self.pool(name).await? {
            if pool.path != directory {
                let path = pool.path.display();
                tracing::info!(pool = name, %path, "the pool is there already, elsewhere than LIBVIRT_DIR_NAME says");
            }
            return Ok(pool);
        }
        self.make_pool(name, &directory).await?;
        self.pool(name).await?.ok_or_else(|| Error::Missing {
            what: "storage pool",
            name: name.to_owned(),
            key: "LIBVIRT_POOL",
        })
    }

    async fn make_pool(&self, name: &str, directory: &Path) -> Result<(), Error> {
        let action = |what: &str| format!("{what} pool {name} in {}", directory.display());
        let Some(path) = directory.to_str() else {
            let problem = "is not UTF-8".to_owned();
            return Err(Error::Setting { key: "LIBVIRT_DIR_NAME", problem });
        };
        let xml = format!(
            "<pool type='dir'>\n  <name>{}</name>\n  <uuid>{}</uuid>\n  <target>\n    <path>{}</path>\n  </target>\n</pool>\n",
            escape(name),
            our_uuid(name),
            escape(path),
        );
        let pool = self.client.pool_define(&xml).await.map_err(|said| said.because(action("define")))?;
        if let Err(said) = self.start(&pool).await {
            // A definition without a pool helps nobody; a directory that was there is not ours.
            let _ = self.client.pool_stop(&pool).await;
            let _ = self.client.pool_undefine(&pool).await;
            return Err(said.because(action("make")));
        }
        Ok(())
    }

    /// Starts a pool. One that was made here may lack its directory, or not start with the host: whoever made it or was
    /// about to delete it died half-way.
    async fn start(&self, pool: &Named) -> Answer<()> {
        if !is_ours(pool) {
            return self.client.pool_start(pool).await;
        }
        self.client.pool_build(pool).await?;
        self.client.pool_start(pool).await?;
        self.client.pool_autostart(pool).await
    }

    /// Deletes a pool if it was made here and has no volumes, with its directory.
    pub async fn delete_empty_pool(&self, name: &str) -> Result<PoolDeletion, Error> {
        let Some(pool) = self.pool(name).await? else { return Ok(PoolDeletion::WasGone) };
        if !pool.is_ours() {
            return Ok(PoolDeletion::NotOurs);
        }
        let volumes = pool.volumes().await?;
        if !volumes.is_empty() {
            return Ok(PoolDeletion::NotEmpty(volumes));
        }
        let action = |what: &str| format!("{what} pool {name}");
        self.client.pool_stop(&pool.pool).await.map_err(|said| said.because(action("stop")))?;
        let deleted = self.client.pool_delete(&pool.pool).await;
        if let Err(said) = deleted {
            // Something that is no volume is in its directory.
            let _ = self.client.pool_start(&pool.pool).await;
            return Err(said.because(format_args!("remove directory {} of pool {name}", pool.path.display())));
        }
        self.client.pool_undefine(&pool.pool).await.map_err(|said| said.because(action("undefine")))?;
        Ok(PoolDeletion::Deleted)
    }
}

impl StoragePool {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.pool.name
    }

    /// Its directory on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was made here.
    pub fn is_ours(&self) -> bool {
        is_ours(&self.pool)
    }

    /// The names of its volumes, as they are on the host now.
    pub async fn volumes(&self) -> Result<Vec<String>, Error> {
        let action = || format!("list the volumes of pool {}", self.name());
        self.client.pool_refresh(&self.pool).await.map_err(|said| said.because(action()))?;
        let volumes = self.client.pool_volumes(&self.pool).await.map_err(|said| said.because(action()))?;
        let mut names: Vec<String> = volumes.into_iter().map(|volume| volume.name).collect();
        names.sort();
        Ok(names)
    }

    /// Whether it has no volume.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.volumes().await?.is_empty())
    }

    /// A volume, if it is there.
    pub async fn volume(&self, name: &str) -> Result<Option<VolumeInfo>, Error> {
        let Some(volume) = self.find(name).await? else { return Ok(None) };
        let xml = self.client.volume_xml(&volume).await;
        let facts = host::volume(&xml.map_err(|said| said.because(format_args!("look at volume {name}")))?)?;
        Ok(Some(VolumeInfo {
            path: facts.path,
            capacity: facts.capacity,
            allocation: facts.allocation,
            format: facts.format,
            complete: self.find(&marker(name)).await?.is_none(),
        }))
    }

    /// SHA-256 of the first `length` bytes of a volume: whether it is the image that one has.
    pub async fn digest(&self, name: &str, length: u64) -> Result<Option<String>, Error> {
        let Some(volume) = self.find(name).await? else { return Ok(None) };
        self.client.read_back(&volume, length, &|_| ()).await.map(Some)
    }

    /// Creates a volume, uploads into it, reads it back and compares. Its SHA-256.
    ///
    /// If anything goes wrong, the volume is deleted. One of that name is left alone and told, unless it is what an upload
    /// left that did not come to its end.
    pub async fn upload(
        &self,
        upload: &Upload,
        source: impl AsyncRead + Unpin + Send,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<String, Error> {
        let Upload { name, .. } = upload;
        if !matches!(upload.format.as_str(), "qcow2" | "raw") {
            let message = format!("format {:?} is neither qcow2 nor raw", upload.format);
            return Err(Error::Refused {
                kind: Kind::Libvirt,
                action: format!("create volume {name}"),
                message,
            });
        }
        let marked = self.find(&marker(name)).await?;
        if self.find(name).await?.is_some() {
            if marked.is_none() {
                let owner = format!(
                    "it is in pool {}, complete; delete it or choose another LIBVIRT_VOL_NAME",
                    self.name()
                );
                return Err(Error::Taken { what: "volume", name: name.clone(), owner });
            }
            self.remove(name).await?;
        }
        if marked.is_none() {
            self.create(&marker(name), "raw", 0).await?;
        }
        match self.fill(upload, source, progress).await {
            Ok(digest) => {
                self.remove(&marker(name)).await?;
                Ok(digest)
            }
            Err(error) => {
                // First the data: while the marker is there, nobody takes it for an image.
                let undone = async {
                    self.remove(name).await?;
                    self.remove(&marker(name)).await
                };
                if let Err(failed) = undone.await {
                    tracing::warn!(volume = name, error = %failed, "an incomplete volume is left, and marked so");
                }
                Err(error)
            }
        }
    }

    async fn fill(
        &self,
        upload: &Upload,
        source: impl AsyncRead + Unpin + Send,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<String, Error> {
        let Upload { name, length, .. } = upload;
        let volume = self.create(name, &upload.format, upload.capacity).await?;
        let sent =
            self.client.upload(&volume, *length, source, &|count| progress(Progress::Sent(count))).await?;
        let mismatch = |expected: &str, found: &str, hint: &str| Error::Checksum {
            what: format!("volume {name} of pool {}", self.name()),
            expected: expected.to_owned(),
            found: found.to_owned(),
            hint: hint.to_owned(),
        };
        if let Some(expected) = &upload.sha256
            && !expected.eq_ignore_ascii_case(&sent)
        {
            return Err(mismatch(
                expected,
                &sent,
                "the image that was read is another one; the volume was deleted",
            ));
        }
        let read =
            self.client.read_back(&volume, *length, &|count| progress(Progress::Checked(count))).await?;
        if read != sent {
            return Err(mismatch(
                &sent,
                &read,
                "the host did not keep what was sent; the volume was deleted",
            ));
        }
        Ok(sent)
    }

    /// Deletes a volume, whoever made it, unless a domain uses it or another volume is based on it.
    pub async fn delete_volume(&self, name: &str) -> Result<Deletion, Error> {
        if let Some(volume) = self.find(name).await? {
            let user = super::removal::user_of(&self.client, &volume, None).await?;
            let user = user.map(|domain| format!("domain {domain} uses it"));
            let based = self.based_on(&volume).await?.map(|other| format!("volume {other} is based on it"));
            if let Some(owner) = based.or(user) {
                return Err(Error::Taken { what: "volume", name: name.to_owned(), owner });
            }
        }
        let deletion = self.remove(name).await?;
        self.remove(&marker(name)).await?;
        Ok(deletion)
    }

    /// A volume of this pool that has that one under it.
    async fn based_on(&self, base: &Volume) -> Result<Option<String>, Error> {
        let action = || format!("list the volumes of pool {}", self.name());
        let path = self.client.volume_path(base).await.map_err(|said| said.because(action()))?;
        for volume in self.client.pool_volumes(&self.pool).await.map_err(|said| said.because(action()))? {
            // One that vanished in the meantime is based on nothing.
            let Ok(xml) = self.client.volume_xml(&volume).await else { continue };
            if host::volume(&xml)?.backing.as_deref() == Some(&path) {
                return Ok(Some(volume.name));
            }
        }
        Ok(None)
    }

    async fn create(&self, name: &str, format: &str, capacity: u64) -> Result<Volume, Error> {
        let xml = format!(
            "<volume type='file'>\n  <name>{}</name>\n  <capacity unit='bytes'>{capacity}</capacity>\n  <target>\n    <format \
             type='{format}'/>\n    <permissions><mode>0644</mode></permissions>\n  </target>\n</volume>\n",
            escape(name)
        );
        let action = format!("create volume {name} of pool {}", self.name());
        self.client.volume_create(&self.pool, &xml).await.map_err(|said| said.because(action))
    }

    async fn find(&self, name: &str) -> Result<Option<Volume>, Error> {
        self.client
            .volume(&self.pool, name)
            .await
            .map_err(|said| said.because(format_args!("find volume {name}")))
    }

    async fn remove(&self, name: &str) -> Result<Deletion, Error> {
        let Some(volume) = self.find(name).await? else { return Ok(Deletion::WasGone) };
        let deleted = self.client.volume_delete(&volume).await;
        // While a stream just closes, the volume is in use for a moment more.
        let deleted = match deleted {
            Err(said) if said.is(code::OPERATION_INVALID) => {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                self.client.volume_delete(&volume).await
            }
            other => other,
        };
        let deleted = deleted
            .map_err(|said| said.because(format_args!("delete volume {name} of pool {}", self.name())))?;
        Ok(if deleted { Deletion::Deleted } else { Deletion::WasGone })
    }
}

/// The UUID of a pool of that name that was made here, in the form of a version 8 UUID.
fn our_uuid(name: &str) -> uuid::Uuid {
    let digest = Sha256::digest(format!("openshift-sandboxed-containers storage pool {name}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    uuid::Uuid::from_bytes(bytes)
}

fn is_ours(pool: &Named) -> bool {
    pool.uuid == *our_uuid(&pool.name).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_made_here_are_known_by_their_name() {
        assert_eq!(our_uuid("pods"), our_uuid("pods"));
        assert_ne!(our_uuid("pods"), our_uuid("pods2"));
        assert_eq!(our_uuid("pods").get_version_num(), 8);
    }
}
