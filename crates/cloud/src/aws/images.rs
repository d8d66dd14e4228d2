//! Images, snapshots and imports.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::client::{Params, Service};
use super::error::Result;
use super::xml::{self, Items, Tag};
use super::{Aws, pages};

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `ami-...`
    pub id: String,
    /// Unique in account and region.
    pub name: String,
    /// `pending`, `available`, `failed`, ...
    pub state: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Snapshots of its disks.
    pub snapshots: Vec<String>,
    /// Size of the root disk in GiB.
    pub size: Option<u32>,
    /// Device of the root disk.
    pub root_device: Option<String>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// `snap-...`
    pub id: String,
    /// `pending`, `completed`, `error`, ...
    pub state: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// An import of a disk into a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// `import-snap-...`
    pub id: String,
    /// `active`, `completed`, `deleting`, `deleted`.
    pub state: String,
    /// What it is at, or what went wrong.
    pub message: String,
    /// Percent.
    pub progress: Option<u8>,
    /// What it made.
    pub snapshot: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// An image to be registered.
#[derive(Clone, Debug)]
pub struct NewImage<'a> {
    /// Unique in account and region.
    pub name: &'a str,
    /// For people.
    pub description: &'a str,
    /// Of the root disk.
    pub snapshot: &'a str,
    /// Size of the root disk in GiB; none: as large as the snapshot.
    pub size: Option<u32>,
    /// Its tags.
    pub tags: &'a BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Images {
    #[serde(default)]
    images_set: Items<ImageItem>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageItem {
    image_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    image_state: String,
    #[serde(default)]
    tag_set: Items<Tag>,
    #[serde(default)]
    block_device_mapping: Items<Mapping>,
    root_device_name: Option<String>,
}

#[derive(Deserialize)]
struct Mapping {
    ebs: Option<Ebs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ebs {
    snapshot_id: Option<String>,
    volume_size: Option<u32>,
}

impl From<ImageItem> for Image {
    fn from(item: ImageItem) -> Self {
        let disks: Vec<Ebs> =
            item.block_device_mapping.items.into_iter().filter_map(|mapping| mapping.ebs).collect();
        Self {
            id: item.image_id,
            name: item.name,
            state: item.image_state,
            tags: item.tag_set.map(),
            root_device: item.root_device_name,
            size: disks.first().and_then(|disk| disk.volume_size),
            snapshots: disks.into_iter().filter_map(|disk| disk.snapshot_id).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshots {
    #[serde(default)]
    snapshot_set: Items<SnapshotItem>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotItem {
    snapshot_id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    tag_set: Items<Tag>,
}

impl From<SnapshotItem> for Snapshot {
    fn from(item: SnapshotItem) -> Self {
        Self { id: item.snapshot_id, state: item.status, tags: item.tag_set.map() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Imports {
    #[serde(default)]
    import_snapshot_task_set: Items<ImportItem>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportItem {
    import_task_id: String,
    #[serde(default)]
    snapshot_task_detail: Detail,
    #[serde(default)]
    tag_set: Items<Tag>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(default)]
    status: String,
    #[serde(default)]
    status_message: String,
    progress: Option<String>,
    snapshot_id: Option<String>,
}

impl From<ImportItem> for Import {
    fn from(item: ImportItem) -> Self {
        let detail = item.snapshot_task_detail;
        Self {
            id: item.import_task_id,
            state: detail.status,
            message: detail.status_message,
            progress: detail.progress.and_then(|percent| percent.trim_end_matches('%').parse().ok()),
            snapshot: detail.snapshot_id,
            tags: item.tag_set.map(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    image_id: Option<String>,
    import_task_id: Option<String>,
}

impl Aws {
    /// The account's own images of this name.
    pub fn images_named(&self, name: &str) -> Result<Vec<Image>> {
        self.images(&Params::new().list("Owner", ["self"]).filter("name", [name]))
    }

    /// The account's own images with these tags.
    pub fn images_tagged(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Image>> {
        self.images(&Params::new().list("Owner", ["self"]).tagged(tags))
    }

    /// An image of anybody's.
    pub fn image(&self, id: &str) -> Result<Option<Image>> {
        match self.images(&Params::new().list("ImageId", [id])) {
            Ok(images) => {
                Ok(images.into_iter().find(|image| image.id == id && image.state != "deregistered"))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn images(&self, params: &Params) -> Result<Vec<Image>> {
        pages(params, |params| {
            let page: Images = self.ec2("DescribeImages", params)?;
            Ok((page.images_set.items.into_iter().map(Image::from).collect(), page.next_token))
        })
    }

    /// Registers an image that boots by UEFI, has a TPM 2.0, and networks as Nitro machines do.
    pub fn register_image(&self, image: &NewImage<'_>) -> Result<String> {
        let params = Params::new()
            .with("Name", image.name)
            .with("Description", image.description)
            .with("Architecture", "x86_64")
            .with("VirtualizationType", "hvm")
            .with("RootDeviceName", "/dev/xvda")
            .with("EnaSupport", "true")
            .with("BootMode", "uefi")
            .with("TpmSupport", "v2.0")
            .with("BlockDeviceMapping.1.DeviceName", "/dev/xvda")
            .with("BlockDeviceMapping.1.Ebs.SnapshotId", image.snapshot)
            .with("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true")
            .with("BlockDeviceMapping.1.Ebs.VolumeType", "gp3")
            .maybe("BlockDeviceMapping.1.Ebs.VolumeSize", image.size.map(|size| size.to_string()))
            .tags("image", image.tags);
        let made: Made = self.ec2("RegisterImage", &params)?;
        Self::expected("RegisterImage", made.image_id)
    }

    /// Makes an image be no more. Its snapshots stay.
    pub fn deregister_image(&self, id: &str) -> Result<()> {
        self.client.query(Service::Ec2, "DeregisterImage", &Params::new().with("ImageId", id)).map(drop)
    }

    /// The account's own snapshots with these tags.
    pub fn snapshots_tagged(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Snapshot>> {
        self.snapshots(&Params::new().list("Owner", ["self"]).tagged(tags))
    }

    /// A snapshot.
    pub fn snapshot(&self, id: &str) -> Result<Option<Snapshot>> {
        match self.snapshots(&Params::new().list("SnapshotId", [id])) {
            Ok(snapshots) => Ok(snapshots.into_iter().next()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn snapshots(&self, params: &Params) -> Result<Vec<Snapshot>> {
        pages(params, |params| {
            let page: Snapshots = self.ec2("DescribeSnapshots", params)?;
            Ok((page.snapshot_set.items.into_iter().map(Snapshot::from).collect(), page.next_token))
        })
    }

    /// Deletes a snapshot; one that is gone already is fine.
    pub fn delete_snapshot(&self, id: &str) -> Result<()> {
        match self.client.query(Service::Ec2, "DeleteSnapshot", &Params::new().with("SnapshotId", id)) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Tags what is there already.
    pub fn tag(&self, id: &str, tags: &BTreeMap<String, String>) -> Result<()> {
        let params = tags.iter().enumerate().fold(
            Params::new().list("ResourceId", [id]),
            |params, (index, (key, value))| {
                let tag = format!("Tag.{}", index + 1);
                params.with(format!("{tag}.Key"), key).with(format!("{tag}.Value"), value)
            },
        );
        self.client.query(Service::Ec2, "CreateTags", &params).map(drop)
    }

    /// Begins to import a raw disk from a bucket. The same token never begins a second import.
    pub fn import_snapshot(
        &self,
        bucket: &str,
        key: &str,
        token: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<String> {
        let params = Params::new()
            .with("ClientToken", token)
            .with("Description", format!("pod VM image {key}"))
            .with("DiskContainer.Format", "RAW")
            .with("DiskContainer.Description", format!("pod VM image {key}"))
            .with("DiskContainer.UserBucket.S3Bucket", bucket)
            .with("DiskContainer.UserBucket.S3Key", key)
            .tags("import-snapshot-task", tags);
        let made: Made = self.ec2("ImportSnapshot", &params)?;
        Self::expected("ImportSnapshot", made.import_task_id)
    }

    /// Imports of this account that AWS still remembers, with all of these tags.
    pub fn imports_tagged(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Import>> {
        let all: Vec<Import> = pages(&Params::new(), |params| {
            let page: Imports = self.ec2("DescribeImportSnapshotTasks", params)?;
            Ok((page.import_snapshot_task_set.items.into_iter().map(Import::from).collect(), page.next_token))
        })?;
        // The filters of this action know no tags.
        let ours = |import: &Import| tags.iter().all(|(key, value)| import.tags.get(key) == Some(value));
        Ok(all.into_iter().filter(ours).collect())
    }

    /// One import.
    pub fn import(&self, id: &str) -> Result<Option<Import>> {
        let page: Imports =
            self.ec2("DescribeImportSnapshotTasks", &Params::new().list("ImportTaskId", [id]))?;
        Ok(page.import_snapshot_task_set.items.into_iter().map(Import::from).find(|import| import.id == id))
    }

    /// Stops an import.
    pub fn cancel_import(&self, id: &str) -> Result<()> {
        let params =
            Params::new().with("ImportTaskId", id).with("CancelReason", "the image is no longer wanted");
        self.client.query(Service::Ec2, "CancelImportTask", &params).map(drop)
    }

    fn ec2<T: serde::de::DeserializeOwned>(&self, action: &str, params: &Params) -> Result<T> {
        let body = self.client.query(Service::Ec2, action, params)?;
        xml::read(Service::Ec2, action, &body)
    }
}
