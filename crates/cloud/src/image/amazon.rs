//! The image on AWS: bucket, import, snapshot, image.
//!
//! Nothing is remembered between runs but what AWS itself knows. Everything that is made carries tags with the cluster, the
//! name of the image and what it was made from, or has a name that is made of those; so a run that follows a killed one finds
//! each thing again, and goes on with it or clears it away.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use osc_api::peerpods::tags::CLUSTER;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::{Error, Result};
use super::prepare::Origin;
use super::progress::Progress;
use super::result::Made;
use super::settings::Settings;
use crate::aws::{Aws, Bucket, Image, Import, NewImage, hex};

/// Tag of what belongs to the image of pod VMs, and its value. A cluster has one such image.
const IMAGE: (&str, &str) = ("kata.peerpods.io/image", "podvm");
/// Tag with what it was made from.
const SOURCE: &str = "kata.peerpods.io/source";
/// How long an import or a registration may take.
const PATIENCE: Duration = Duration::from_hours(1);
/// So often is looked whether something deleted is gone.
const LOOKS: u32 = 20;

/// The work for one image of one cluster.
pub struct Amazon<'a> {
    aws: Aws,
    settings: &'a Settings,
    name: String,
    cluster: String,
    bucket: String,
    own_bucket: bool,
}

/// What there is of an image.
#[derive(Debug, Serialize)]
pub(super) struct Inventory {
    name: String,
    bucket: String,
    images: Vec<String>,
    snapshots: Vec<String>,
    imports: Vec<String>,
    objects: Vec<String>,
    uploads: usize,
}

impl<'a> Amazon<'a> {
    /// Nothing is asked of AWS yet.
    pub fn new(settings: &'a Settings) -> Result<Self> {
        let aws = Aws::connect(settings.values())?;
        let (bucket, own_bucket) = settings.bucket(aws.region())?;
        let name = settings.image_name()?;
        Ok(Self { aws, settings, name, cluster: settings.cluster()?.to_owned(), bucket, own_bucket })
    }

    /// Tags of everything that belongs to the image of this cluster, whatever its name was in earlier settings.
    fn ours(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(CLUSTER.to_owned(), self.cluster.clone()), (IMAGE.0.to_owned(), IMAGE.1.to_owned())])
    }

    fn ours_of(&self, source: &str) -> BTreeMap<String, String> {
        let mut tags = self.ours();
        tags.insert(SOURCE.to_owned(), source.to_owned());
        tags.insert("Name".to_owned(), self.name.clone());
        tags
    }

    /// Makes the image, or finds it made.
    pub fn create(&self, origin: &mut Origin<'_>) -> Result<Made> {
        let size = self.settings.volume_size()?;
        // Before anything is pulled: credentials, bucket and names are checked.
        let present = self.present()?;
        let bucket = self.aws.bucket(&self.bucket)?;
        self.check_bucket(bucket)?;
        let source = origin.identity()?;
        let fitting = |image: &&Image| {
            image.name == self.name && image.tags.get(SOURCE) == Some(&source) && image.state != "failed"
        };
        if let Some(image) = present.iter().find(fitting) {
            self.available(&image.id)?;
            tracing::info!(image = image.id, "the image is there, made from the same source");
            self.clear(Some(image))?;
            return Ok(Self::made(&image.id, &source, false));
        }
        let snapshot = self.snapshot(origin, &source, bucket)?;
        // An import may have taken an hour, in which a name can be taken.
        for old in &self.present()? {
            tracing::info!(image = old.id, "an older image makes room");
            self.deregister(&old.id)?;
        }
        let tags = self.ours_of(&source);
        let description = format!("pod VM image of cluster {}", self.cluster);
        let new =
            NewImage { name: &self.name, description: &description, snapshot: &snapshot, size, tags: &tags };
        let id = self.aws.register_image(&new)?;
        tracing::info!(image = id, name = self.name, "registered");
        let image = self.available(&id)?;
        self.clear(Some(&image))?;
        Ok(Self::made(&id, &source, true))
    }

    fn made(id: &str, source: &str, made: bool) -> Made {
        let annotations = BTreeMap::from([("LATEST_AMI_ID".to_owned(), id.to_owned())]);
        Made { image: id.to_owned(), annotations, source: source.to_owned(), made }
    }

    /// Our images, also of earlier names. Somebody else's image of our name is refused.
    fn present(&self) -> Result<Vec<Image>> {
        let mut found = self.aws.images_tagged(&self.ours())?;
        for image in self.aws.images_named(&self.name)? {
            if !self.is_ours(&image)? {
                return Err(Error::Foreign(format!(
                    "image {} has the name {} and was not made for this cluster (tag {CLUSTER} is {}); it is left as it is: \
                     deregister it, or set another AMI_BASE_NAME in config map aws-podvm-image-cm",
                    image.id,
                    self.name,
                    image.tags.get(CLUSTER).map_or("not set", String::as_str),
                )));
            }
            if found.iter().all(|other| other.id != image.id) {
                found.push(image);
            }
        }
        Ok(found)
    }

    /// By its tags.
    fn is_ours(&self, image: &Image) -> Result<bool> {
        let has = |tags: &BTreeMap<String, String>| {
            self.ours().iter().all(|(key, value)| tags.get(key) == Some(value))
        };
        if has(&image.tags) || image.tags.contains_key(CLUSTER) {
            return Ok(has(&image.tags));
        }
        // One whose tags somebody took away: the snapshots may still have theirs.
        for id in &image.snapshots {
            if !self.aws.snapshot(id)?.is_some_and(|snapshot| has(&snapshot.tags)) {
                return Ok(false);
            }
        }
        Ok(!image.snapshots.is_empty())
    }

    fn check_bucket(&self, bucket: Bucket) -> Result<()> {
        let (key, name) = ("BUCKET_NAME", &self.bucket);
        let own =
            "or remove BUCKET_NAME and allow s3:CreateBucket, so that the job makes a bucket and deletes it";
        match (bucket, self.own_bucket) {
            (Bucket::Ours, _) | (Bucket::Missing, true) => Ok(()),
            (Bucket::Missing, false) => {
                let region = self.aws.region();
                let todo = format!("create it (`aws s3 mb s3://{name} --region {region}`), {own}");
                Err(Error::setting(key, format!("there is no bucket {name}"), todo))
            }
            (Bucket::Forbidden, false) => {
                let todo = format!(
                    "allow s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject on it to the credentials of secret \
                     peer-pods-secret, {own}"
                );
                Err(Error::setting(key, format!("bucket {name} may not be used"), todo))
            }
            (Bucket::Forbidden, true) => Err(Error::Cloud(format!(
                "bucket {name} may not be used: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of secret \
                 peer-pods-secret, and allow s3:ListBucket, s3:CreateBucket, s3:PutObject and s3:DeleteObject on it, or make \
                 a bucket of your own and set BUCKET_NAME"
            ))),
        }
    }

    /// The snapshot of a source: one that is there, one whose import is under way, or a new one.
    fn snapshot(&self, origin: &mut Origin<'_>, source: &str, bucket: Bucket) -> Result<String> {
        let tags = self.ours_of(source);
        let there = self.aws.snapshots_tagged(&tags)?;
        if let Some(snapshot) = there.iter().find(|snapshot| snapshot.state == "completed") {
            tracing::info!(snapshot = snapshot.id, "a snapshot of this source is there");
            return Ok(snapshot.id.clone());
        }
        let imports = self.aws.imports_tagged(&self.ours())?;
        for import in &imports {
            if import.tags.get(SOURCE).is_some_and(|known| known == source) {
                if let Some(snapshot) = self.import_done(import, &tags)? {
                    return Ok(snapshot);
                }
            } else if import.state == "active" {
                tracing::info!(import = import.id, "the import of another source is stopped");
                self.aws.cancel_import(&import.id)?;
            }
        }
        let key = self.key(source);
        self.upload(origin, source, &key, bucket)?;
        // A request that is repeated, because its answer was lost, begins no second import: the token counts those that are
        // known.
        let token =
            hex(&Sha256::digest(format!("{} {} {source} {}", self.cluster, self.name, imports.len())));
        let id = self.aws.import_snapshot(&self.bucket, &key, &token, &tags).map_err(import_refused)?;
        tracing::info!(import = id, "import begins");
        let import = self.aws.import(&id)?;
        let import = import.ok_or_else(|| Error::Cloud(format!("import {id} was begun and is not there")))?;
        self.import_done(&import, &tags)?.ok_or_else(|| {
            Error::Cloud(format!(
                "import {id} ended without a snapshot; run the job again, which begins another"
            ))
        })
    }

    /// Waits for an import and tags what it makes. Nothing: it failed or was stopped, and another one may be begun.
    fn import_done(&self, import: &Import, tags: &BTreeMap<String, String>) -> Result<Option<String>> {
        let mut import = import.clone();
        let started = Instant::now();
        // One that failed in an earlier run is no reason to fail again.
        let past = import.state != "active";
        let mut progress = Progress::new("importing the disk", 0);
        while import.state == "active" {
            if started.elapsed() > PATIENCE {
                return Err(Error::Cloud(format!(
                    "import {} has not ended within {} minutes ({}); it goes on: run the job again later, which takes it up",
                    import.id,
                    PATIENCE.as_secs() / 60,
                    import.message
                )));
            }
            progress.percent(import.progress.unwrap_or_default());
            sleep(self.pace());
            let found = self.aws.import(&import.id)?;
            import = found.ok_or_else(|| Error::Cloud(format!("import {} is no longer there", import.id)))?;
        }
        let snapshot = import.snapshot.as_deref().filter(|_| import.state == "completed");
        let Some(snapshot) = snapshot else {
            if past {
                return Ok(None);
            }
            let todo = if import.message.contains("ervice role") || import.message.contains("ccess") {
                role_words()
            } else {
                "look at the image: only a disk with a partition table boots".to_owned()
            };
            return Err(Error::Cloud(format!(
                "import {} is {}: {}; {todo}",
                import.id, import.state, import.message
            )));
        };
        if self.aws.snapshot(snapshot)?.is_none() {
            return Ok(None);
        }
        self.aws.tag(snapshot, tags)?;
        tracing::info!(snapshot, "imported");
        Ok(Some(snapshot.to_owned()))
    }

    fn key(&self, source: &str) -> String {
        format!("{}{}.raw", self.prefix(), hex(&Sha256::digest(source)))
    }

    fn prefix(&self) -> String {
        format!("{}/", self.cluster)
    }

    fn upload(&self, origin: &mut Origin<'_>, source: &str, key: &str, bucket: Bucket) -> Result<()> {
        if bucket == Bucket::Ours {
            let object = self.aws.object(&self.bucket, key)?;
            if object.is_some_and(|object| object.source.as_deref() == Some(source)) {
                tracing::info!(bucket = self.bucket, key, "the disk is uploaded already");
                return Ok(());
            }
            // What an earlier run left half done is stored and charged, and shown nowhere.
            self.abort_uploads()?;
        }
        // First the disk: as long as there is none, a bucket is of no use.
        let disk = origin.raw()?;
        if self.own_bucket {
            tracing::info!(bucket = self.bucket, "bucket is made");
            self.aws.create_bucket(&self.bucket, &self.ours())?;
        }
        let mut progress = Progress::new("uploading the disk", disk.size);
        self.aws.upload(&self.bucket, key, &disk.path, source, |done| progress.done(done))?;
        origin.forget();
        Ok(())
    }

    fn abort_uploads(&self) -> Result<()> {
        for upload in self.aws.uploads(&self.bucket, &self.prefix())? {
            tracing::info!(key = upload.key, "an upload that was never finished is given up");
            self.aws.abort_upload(&self.bucket, &upload)?;
        }
        Ok(())
    }

    fn available(&self, id: &str) -> Result<Image> {
        let started = Instant::now();
        loop {
            match self.aws.image(id)? {
                Some(image) if image.state == "available" => return Ok(image),
                // A new image is not seen everywhere at once.
                None if started.elapsed() < Duration::from_mins(2) => {}
                Some(image) if image.state == "pending" && started.elapsed() < PATIENCE => {}
                found => {
                    let state = found.map_or_else(|| "gone".to_owned(), |image| image.state);
                    return Err(Error::Cloud(format!(
                        "image {id} is {state} instead of available; run the job again"
                    )));
                }
            }
            sleep(self.pace());
        }
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(self.settings.pace).max(Duration::from_millis(20))
    }

    /// Removes an image and makes sure.
    fn deregister(&self, id: &str) -> Result<()> {
        match self.aws.deregister_image(id) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
        for _ in 0..LOOKS {
            if self.aws.image(id)?.is_none() {
                return Ok(());
            }
            sleep(self.pace());
        }
        Err(Error::Cloud(format!("image {id} was deregistered and is still there; run the job again")))
    }

    /// Clears away everything of ours but the image that is kept.
    fn clear(&self, kept: Option<&Image>) -> Result<()> {
        for import in self.aws.imports_tagged(&self.ours())? {
            self.clear_import(&import, kept)?;
        }
        for snapshot in self.aws.snapshots_tagged(&self.ours())? {
            if kept.is_none_or(|image| !image.snapshots.contains(&snapshot.id)) {
                self.clear_snapshot(&snapshot.id)?;
            }
        }
        // The bucket may have been deleted by hand meanwhile, or never been needed.
        match self.aws.bucket(&self.bucket)? {
            Bucket::Ours => {}
            Bucket::Missing => return Ok(()),
            Bucket::Forbidden => {
                tracing::warn!(
                    bucket = self.bucket,
                    "the bucket may not be looked into: what is in it stays"
                );
                return Ok(());
            }
        }
        self.abort_uploads()?;
        for key in self.aws.objects(&self.bucket, &self.prefix())? {
            tracing::info!(bucket = self.bucket, key, "object is deleted");
            self.aws.delete_object(&self.bucket, &key)?;
        }
        if self.own_bucket {
            match self.aws.delete_bucket(&self.bucket) {
                // Made by us, and somebody else put something into it.
                Err(error) if error.code() == "BucketNotEmpty" => {
                    tracing::warn!(
                        bucket = self.bucket,
                        "the bucket has objects that are not ours and stays"
                    );
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// An import may have made a snapshot that nobody tagged.
    fn clear_import(&self, import: &Import, kept: Option<&Image>) -> Result<()> {
        if import.state == "active" {
            tracing::info!(import = import.id, "an import is stopped");
            self.aws.cancel_import(&import.id)?;
        }
        let Some(snapshot) = &import.snapshot else { return Ok(()) };
        if kept.is_some_and(|image| image.snapshots.contains(snapshot))
            || self.aws.snapshot(snapshot)?.is_none()
        {
            return Ok(());
        }
        self.clear_snapshot(snapshot)
    }

    /// One that an image uses which is not ours stays.
    fn clear_snapshot(&self, id: &str) -> Result<()> {
        match self.delete_snapshot(id) {
            Err(Error::Cloud(words)) if words.contains("InvalidSnapshot.InUse") => {
                tracing::warn!(snapshot = id, "the snapshot stays: {words}");
                Ok(())
            }
            other => other,
        }
    }

    fn delete_snapshot(&self, id: &str) -> Result<()> {
        tracing::info!(snapshot = id, "snapshot is deleted");
        self.aws.delete_snapshot(id)?;
        for _ in 0..LOOKS {
            if self.aws.snapshot(id)?.is_none() {
                return Ok(());
            }
            sleep(self.pace());
        }
        Err(Error::Cloud(format!("snapshot {id} was deleted and is still there; run the job again")))
    }

    /// Deletes an image that we made, and all that belongs to it.
    pub fn delete(&self, id: Option<&str>) -> Result<Option<String>> {
        let mut images = self.aws.images_tagged(&self.ours())?;
        if let Some(id) = id {
            match self.aws.image(id)? {
                None => tracing::info!(image = id, "the image is not there"),
                Some(image) if self.is_ours(&image)? => {
                    if !images.iter().any(|other| other.id == image.id) {
                        images.push(image);
                    }
                }
                Some(image) => {
                    return Err(Error::Foreign(format!(
                        "image {id} ({}) was not made for this cluster: tag {CLUSTER} is {}; it is not deleted. Empty \
                         PODVM_AMI_ID of config map peer-pods-cm, so that it is no longer used",
                        image.name,
                        image.tags.get(CLUSTER).map_or("not set", String::as_str)
                    )));
                }
            }
        }
        let deleted = images.first().map(|image| image.id.clone());
        for image in images {
            tracing::info!(image = image.id, "image is deregistered");
            self.deregister(&image.id)?;
            for snapshot in &image.snapshots {
                self.delete_snapshot(snapshot)?;
            }
        }
        self.clear(None)?;
        Ok(deleted)
    }

    /// What there is.
    pub fn inventory(&self) -> Result<Inventory> {
        let there = self.aws.bucket(&self.bucket)? == Bucket::Ours;
        let prefix = self.prefix();
        Ok(Inventory {
            images: self.aws.images_tagged(&self.ours())?.into_iter().map(|image| image.id).collect(),
            snapshots: self.aws.snapshots_tagged(&self.ours())?.into_iter().map(|one| one.id).collect(),
            imports: self
                .aws
                .imports_tagged(&self.ours())?
                .into_iter()
                .map(|import| format!("{} {}", import.id, import.state))
                .collect(),
            objects: if there { self.aws.objects(&self.bucket, &prefix)? } else { Vec::new() },
            uploads: if there { self.aws.uploads(&self.bucket, &prefix)?.len() } else { 0 },
            name: self.name.clone(),
            bucket: self.bucket.clone(),
        })
    }
}

fn import_refused(error: crate::aws::Error) -> Error {
    let text = error.to_string();
    if text.contains("ervice role") {
        Error::Cloud(format!("{text}; {}", role_words()))
    } else {
        error.into()
    }
}

fn role_words() -> String {
    "imports need the service role vmimport, which lets vmie.amazonaws.com read the bucket and write snapshots; create it, or \
     correct its policy"
        .to_owned()
}
