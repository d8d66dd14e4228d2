//! Buckets and objects: where a disk waits for its import.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Aws;
use super::client::{Call, Reply, Service};
use super::error::{Error, Result};
use super::xml;
use crate::SettingError;

/// So many parts an upload may have.
const MOST_PARTS: u64 = 10_000;
/// Smaller parts are refused, but for the last.
const LEAST_PART: u64 = 16 << 20;
/// The regions' first, which may not be named when a bucket is made.
const FIRST_REGION: &str = "us-east-1";
/// What an object says about its origin, as a header.
const SOURCE: &str = "x-amz-meta-source";

/// Whose a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// It is there, and these credentials may use it.
    Ours,
    /// There is none of that name.
    Missing,
    /// It is there and these credentials may not use it.
    Forbidden,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its size in bytes.
    pub size: u64,
    /// What it was made from, if it says so.
    pub source: Option<String>,
}

/// An upload that is not finished.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct Upload {
    /// Its key.
    pub key: String,
    /// Its identifier.
    #[serde(rename = "UploadId")]
    pub id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Begun {
    upload_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Uploads {
    #[serde(rename = "Upload", default)]
    unfinished: Vec<Upload>,
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    #[serde(rename = "Contents", default)]
    contents: Vec<Content>,
    next_continuation_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    key: String,
}

impl Aws {
    /// Whether a bucket is there.
    pub fn bucket(&self, bucket: &str) -> Result<Bucket> {
        match self.s3("ListBucket", Method::HEAD, bucket, "", Vec::new(), Vec::new(), b"") {
            Ok(_) => Ok(Bucket::Ours),
            Err(Error::Refused(refusal)) if refusal.status == 404 => Ok(Bucket::Missing),
            Err(Error::Refused(refusal)) if refusal.status == 403 => Ok(Bucket::Forbidden),
            Err(error) => Err(error),
        }
    }

    /// Makes a bucket, and is content with one that this account has made before.
    pub fn create_bucket(&self, bucket: &str, tags: &BTreeMap<String, String>) -> Result<()> {
        let region = self.region();
        let body = if region == FIRST_REGION {
            String::new()
        } else {
            format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            )
        };
        match self.s3("CreateBucket", Method::PUT, bucket, "", Vec::new(), Vec::new(), body.as_bytes()) {
            Err(error) if error.code() != "BucketAlreadyOwnedByYou" => return Err(error),
            _ => {}
        }
        let mut body = String::from("<Tagging><TagSet>");
        for (key, value) in tags {
            let (key, value) = (quick_xml::escape::escape(key), quick_xml::escape::escape(value));
            let _ = write!(body, "<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
        }
        body.push_str("</TagSet></Tagging>");
        let headers = vec![("x-amz-checksum-sha256", checksum(body.as_bytes()))];
        let query = vec![("tagging", String::new())];
        self.s3("PutBucketTagging", Method::PUT, bucket, "", query, headers, body.as_bytes()).map(drop)
    }

    /// Deletes an empty bucket; one that is gone already is fine.
    pub fn delete_bucket(&self, bucket: &str) -> Result<()> {
        Self::gone(self.s3("DeleteBucket", Method::DELETE, bucket, "", Vec::new(), Vec::new(), b""))
    }

    /// An object.
    pub fn object(&self, bucket: &str, key: &str) -> Result<Option<Object>> {
        match self.s3("GetObject", Method::HEAD, bucket, key, Vec::new(), Vec::new(), b"") {
            Ok(reply) => {
                let text = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok());
                Ok(Some(Object {
                    size: text("content-length").and_then(|text| text.parse().ok()).unwrap_or_default(),
                    source: text(SOURCE).map(str::to_owned),
                }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keys that begin like that.
    pub fn objects(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut query = vec![("list-type", "2".to_owned()), ("prefix", prefix.to_owned())];
            query.extend(token.take().map(|token| ("continuation-token", token)));
            let reply = match self.s3("ListBucket", Method::GET, bucket, "", query, Vec::new(), b"") {
                Err(error) if error.is_not_found() => return Ok(keys),
                other => other?,
            };
            let page: Listing = xml::read(Service::S3, "ListBucket", &reply.body)?;
            keys.extend(page.contents.into_iter().map(|content| content.key));
            match page.next_continuation_token.filter(|token| !token.is_empty()) {
                Some(next) => token = Some(next),
                None => return Ok(keys),
            }
        }
    }

    /// Deletes an object; one that is gone already is fine.
    pub fn delete_object(&self, bucket: &str, key: &str) -> Result<()> {
        Self::gone(self.s3("DeleteObject", Method::DELETE, bucket, key, Vec::new(), Vec::new(), b""))
    }

    /// Uploads that were begun below that prefix and neither finished nor given up. They cost money and are not seen.
    pub fn uploads(&self, bucket: &str, prefix: &str) -> Result<Vec<Upload>> {
        let mut all = Vec::new();
        let mut markers: Vec<(&str, String)> = Vec::new();
        loop {
            let mut query = vec![("uploads", String::new()), ("prefix", prefix.to_owned())];
            query.append(&mut markers);
            let action = "ListBucketMultipartUploads";
            let reply = match self.s3(action, Method::GET, bucket, "", query, Vec::new(), b"") {
                Err(error) if error.is_not_found() => return Ok(all),
                other => other?,
            };
            let page: Uploads = xml::read(Service::S3, action, &reply.body)?;
            all.extend(page.unfinished.into_iter().filter(|upload| upload.key.starts_with(prefix)));
            let Some(key) = page.next_key_marker.filter(|key| page.is_truncated && !key.is_empty()) else {
                return Ok(all);
            };
            markers.push(("key-marker", key));
            markers.extend(page.next_upload_id_marker.map(|id| ("upload-id-marker", id)));
        }
    }

    /// Gives an upload up.
    pub fn abort_upload(&self, bucket: &str, upload: &Upload) -> Result<()> {
        let query = vec![("uploadId", upload.id.clone())];
        Self::gone(self.s3(
            "AbortMultipartUpload",
            Method::DELETE,
            bucket,
            &upload.key,
            query,
            Vec::new(),
            b"",
        ))
    }

    /// Uploads a file in parts, each with its SHA-256, and tells how many bytes are there. The object says what it was
    /// made from.
    pub fn upload(
        &self,
        bucket: &str,
        key: &str,
        file: &Path,
        source: &str,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let unreadable = |error: std::io::Error| {
            let found = format!("cannot be read: {error}");
            SettingError::new(&file.display().to_string(), found, "look at the disk of /store")
        };
        let mut disk = File::open(file).map_err(unreadable)?;
        let size = disk.metadata().map_err(unreadable)?.len();
        let upload = self.begin(bucket, key, source)?;
        let part_size = part_size(size);
        let mut buffer = Vec::new();
        let mut parts = String::from("<CompleteMultipartUpload>");
        let mut done = 0;
        for number in 1.. {
            buffer.clear();
            disk.by_ref().take(part_size).read_to_end(&mut buffer).map_err(unreadable)?;
            if buffer.is_empty() && number > 1 {
                break;
            }
            let (tag, sum) = self.part(bucket, &upload, number, &buffer)?;
            let tag = quick_xml::escape::escape(&tag);
            let _ = write!(
                parts,
                "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag><ChecksumSHA256>{sum}</ChecksumSHA256></Part>"
            );
            done += buffer.len() as u64;
            progress(done);
        }
        parts.push_str("</CompleteMultipartUpload>");
        let query = vec![("uploadId", upload.id.clone())];
        self.s3("PutObject", Method::POST, bucket, key, query, Vec::new(), parts.as_bytes())?;
        match self.object(bucket, key)? {
            Some(object) if object.size == size => Ok(()),
            found => Err(Error::Answer {
                service: Service::S3.title(),
                action: "PutObject".to_owned(),
                why: format!(
                    "{size} bytes were uploaded to {bucket}/{key}, and {} are there",
                    found.map_or(0, |object| object.size)
                ),
            }),
        }
    }

    fn begin(&self, bucket: &str, key: &str, source: &str) -> Result<Upload> {
        let headers = vec![(SOURCE, source.to_owned()), ("x-amz-checksum-algorithm", "SHA256".to_owned())];
        let query = vec![("uploads", String::new())];
        let reply = self.s3("PutObject", Method::POST, bucket, key, query, headers, b"")?;
        let begun: Begun = xml::read(Service::S3, "PutObject", &reply.body)?;
        Ok(Upload { key: key.to_owned(), id: begun.upload_id })
    }

    fn part(&self, bucket: &str, upload: &Upload, number: u32, bytes: &[u8]) -> Result<(String, String)> {
        let sum = checksum(bytes);
        let query = vec![("partNumber", number.to_string()), ("uploadId", upload.id.clone())];
        let headers = vec![("x-amz-checksum-sha256", sum.clone())];
        let reply = self.s3("PutObject", Method::PUT, bucket, &upload.key, query, headers, bytes)?;
        let tag = reply.headers.get("etag").and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok((tag.to_owned(), sum))
    }

    #[allow(clippy::too_many_arguments)] // one request has so many parts; each caller has a name of its own
    fn s3(
        &self,
        action: &str,
        method: Method,
        bucket: &str,
        key: &str,
        query: Vec<(&str, String)>,
        headers: Vec<(&'static str, String)>,
        body: &[u8],
    ) -> Result<Reply> {
        let bucket = Some(bucket);
        self.client.call(&Call { service: Service::S3, action, method, bucket, key, query, headers, body })
    }

    fn gone(result: Result<Reply>) -> Result<()> {
        match result {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// As large as needed for the number of parts, and a whole number of MiB.
fn part_size(size: u64) -> u64 {
    size.div_ceil(MOST_PARTS).next_multiple_of(1 << 20).max(LEAST_PART)
}

fn checksum(bytes: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, 16 << 20)]
    #[case(10 << 30, 16 << 20)]
    #[case(1 << 40, 105 << 20)]
    fn parts_are_few_enough(#[case] size: u64, #[case] part: u64) {
        assert_eq!(part_size(size), part);
        assert!(size.div_ceil(part) <= MOST_PARTS);
    }
}
