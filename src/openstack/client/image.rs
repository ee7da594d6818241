//! Images: uploaded from this machine, or made of a server's disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt as _;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};
use tokio::time::{Instant, sleep};
use tokio_util::io::ReaderStream;

use super::OpenStack;
use super::call::Ask;
use super::create::{Making, named};
use super::login::Service;
use super::wire;
use crate::openstack::cloud::Made;
use crate::openstack::error::{CloudError, CloudFault};
use crate::openstack::model::{Cluster, Kind, NewImage};
use crate::shell::hex;

/// How long an upload may stand still. At its end the cloud still reads it all for its checksum.
const STILL: Duration = Duration::from_mins(5);

/// How often progress is told.
const TELL: Duration = Duration::from_millis(500);

/// How often an upload is begun.
const ATTEMPTS: u32 = 3;

/// How large the pieces are that are read from a file, in bytes.
const PIECE: usize = 256 * 1024;

impl OpenStack {
    /// What the thing is called, and where images of that name are.
    fn image_making<'a>(
        what: &'a str,
        name: &'a str,
        post: Ask<'a>,
        id: &'a str,
        is_it: &'a (dyn Fn(&Value) -> bool + Send + Sync),
    ) -> Making<'a> {
        Making {
            post,
            id,
            look: Ask::get(what, Service::Image, &["images"]).query("name", name),
            key: "images",
            is_it,
        }
    }

    pub(super) async fn make_snapshot(&self, server: &str, name: &str) -> Result<Made, CloudError> {
        let what = format!("make image `{name}` of server `{server}`");
        let body = json!({ "createImage": {
            "name": name,
            "metadata": { Cluster::KEY: self.cluster.0 },
        } });
        let path = ["servers", server, "action"];
        let post = Ask::post(&what, Service::Compute, &path, body);
        let is_it = |entry: &Value| {
            named(entry, name) && wire::has_key(&self.cluster, Some(entry)) && usable(entry)
        };
        let making = Self::image_making(&what, name, post, "/image_id", &is_it);
        self.make(&making).await.map(|(made, _)| made)
    }

    pub(super) async fn upload(
        &self,
        image: &NewImage,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Made, CloudError> {
        let what = format!("upload image `{}`", image.name);
        let body = self.image_body(image);
        let is_it = |entry: &Value| {
            named(entry, &image.name) && wire::has_key(&self.cluster, Some(entry)) && usable(entry)
        };
        let mut attempt = 1;
        loop {
            let post = Ask::post(&what, Service::Image, &["images"], body.clone());
            let making = Self::image_making(&what, &image.name, post, "/id", &is_it);
            let (made, entry) = self.make(&making).await?;
            let status = entry.get("status").and_then(Value::as_str);
            if made.found && status == Some("active") {
                return Ok(made);
            }
            if made.found {
                // Of a run that ended before its upload did: half of an image is none.
                self.remove(Kind::Image, &made.id).await?;
                continue;
            }
            let filled = match self.fill(&what, image, &made.id, progress).await {
                Ok(sum) => self.compare(&what, &made.id, &sum).await,
                Err(error) => Err(error),
            };
            let Err(error) = filled else {
                return Ok(made);
            };
            // Nothing is left half done.
            self.remove(Kind::Image, &made.id).await?;
            let again = super::call::again(error.fault, true);
            if !again || attempt == ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
        }
    }

    fn image_body(&self, image: &NewImage) -> Value {
        let mut body = Map::new();
        for (key, value) in &image.properties {
            body.insert(key.clone(), Value::from(value.as_str()));
        }
        let own = [
            ("name", Value::from(image.name.as_str())),
            ("disk_format", Value::from(image.format.word())),
            ("container_format", Value::from("bare")),
            ("visibility", Value::from("private")),
            ("min_disk", Value::from(image.min_disk)),
            ("min_ram", Value::from(image.min_ram)),
            ("tags", json!([self.cluster.tag()])),
            (Cluster::KEY, Value::from(self.cluster.0.as_str())),
        ];
        for (key, value) in own {
            body.insert(key.to_owned(), value);
        }
        Value::Object(body)
    }

    /// Compares what the cloud has with what was sent. Glance of Rocky and later tells a checksum.
    async fn compare(&self, what: &str, id: &str, sum: &str) -> Result<(), CloudError> {
        let entry = self.one(what, Kind::Image, id).await?.unwrap_or_default();
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        match (text("os_hash_algo"), text("os_hash_value")) {
            (Some("sha512"), Some(there)) if there != sum => {
                let said = "the image in the cloud has another checksum than the file";
                Err(CloudError::new(CloudFault::Unexpected, what, said))
            }
            (Some("sha512"), Some(_)) => Ok(()),
            other => {
                tracing::warn!(?other, "the cloud tells no checksum that can be compared");
                Ok(())
            }
        }
    }

    /// Sends an image's data, and gives its checksum (SHA-512).
    async fn fill(
        &self,
        what: &str,
        image: &NewImage,
        id: &str,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<String, CloudError> {
        let unreadable = |error: std::io::Error| {
            let said = format!("cannot read `{}`: {error}", image.file.display());
            CloudError::new(CloudFault::Config, what, said)
        };
        let file = tokio::fs::File::open(&image.file)
            .await
            .map_err(unreadable)?;
        let length = file.metadata().await.map_err(unreadable)?.len();
        let gone = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&gone);
        let sum = Arc::new(Mutex::new(Sha512::new()));
        let summed = Arc::clone(&sum);
        let stream = ReaderStream::with_capacity(file, PIECE).inspect_ok(move |piece| {
            let bytes = u64::try_from(piece.len()).unwrap_or_default();
            counter.fetch_add(bytes, Ordering::Relaxed);
            let mut sum = summed.lock().unwrap_or_else(PoisonError::into_inner);
            sum.update(piece);
        });
        let body = reqwest::Body::wrap_stream(stream);
        let ask = Ask::put(what, Service::Image, &["images", id, "file"], Value::Null);
        let send = self.send(&ask, Some((length, body)));
        tokio::pin!(send);
        let (mut last, mut since) = (0, Instant::now());
        loop {
            tokio::select! {
                answer = &mut send => {
                    answer?;
                    progress(length);
                    let sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    return Ok(hex(&sum.clone().finalize()));
                }
                () = sleep(TELL) => {}
            }
            let now = gone.load(Ordering::Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
                progress(now);
            } else if since.elapsed() > STILL {
                let said = format!("it stands still after {now} of {length} bytes");
                return Err(CloudError::new(CloudFault::TimedOut, what, said));
            }
        }
    }
}

/// Whether an image is one, or becomes one.
fn usable(entry: &Value) -> bool {
    let status = entry
        .get("status")
        .and_then(Value::as_str)
        .unwrap_or_default();
    !["killed", "deleted", "pending_delete"].contains(&status)
}
