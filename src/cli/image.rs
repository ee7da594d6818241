//! `skep image`: images of a cluster on a cloud, made of a server or of a file.

mod create;
mod upload;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::guard;
use crate::inventory::Inventory;
use crate::openstack::model::{Image, ImageStatus};
use crate::openstack::{BoxedCloud, Kind};
use crate::state::{RunLock, State};
use crate::ui::table::Table;
use crate::ui::working::Working;
use crate::ui::{Printer, prompt};

use super::load::load;
use super::lock::{self, Break};
use super::servers::{self, told};
use super::{Global, block_on};

/// How long an image may take until it can be used, and how often it is looked at.
const READY: Duration = Duration::from_hours(1);
const TICK: Duration = Duration::from_secs(3);

/// The arguments of `skep image`.
#[derive(Debug, Clone, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
An image that skep makes carries the cluster's mark, and no other is removed. `image` under
`[openstack]` names the one that servers boot from.

Examples:
  skep image list
  skep image create base --name docker-2026-11
  skep image upload debian-12.qcow2 --name debian-12"
)]
pub struct ImageArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ImageVerb,
}

/// The verbs of `skep image`.
#[derive(Debug, Clone, Subcommand)]
pub enum ImageVerb {
    /// Make an image of a server's disk
    #[command(after_help = "\
A host that is in a swarm, or may be, is refused: every server of the image would take itself for
that node. A new server has its own host key; the image holds that of the host, and its machine-id
and logs. `sudo cloud-init clean --logs --machine-id` on the host takes those away at its next boot:
do it, and switch the host off, for an image that is whole.

Example:
  skep image create base --name docker-2026-11")]
    Create(CreateArgs),
    /// Upload a file as an image, and compare its checksum
    #[command(after_help = "\
Example:
  skep image upload debian-12-genericcloud-amd64.qcow2 --name debian-12")]
    Upload(UploadArgs),
    /// List the cluster's images
    #[command(
        visible_alias = "ls",
        after_help = "Example:\n  skep image list --json"
    )]
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete an image of the cluster that the inventory does not name
    #[command(
        visible_alias = "rm",
        after_help = "Example:\n  skep image delete docker-2026-11"
    )]
    Delete {
        /// The image: its name or ID
        #[arg(value_name = "IMAGE")]
        image: String,

        /// Go ahead without asking
        #[arg(short, long)]
        yes: bool,
    },
}

/// The arguments of `skep image create`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// The host
    #[arg(value_name = "HOST")]
    pub host: String,

    /// The image's name [default: the cluster's, the host's and the day]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Go ahead without asking
    #[arg(short, long)]
    pub yes: bool,
}

/// The arguments of `skep image upload`.
#[derive(Debug, Clone, Args)]
pub struct UploadArgs {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The image's name
    #[arg(long, value_name = "NAME")]
    pub name: String,

    /// The file's format; one of QEMU's own is told by itself
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As `qemu-img` makes it
    Qcow2,
    /// The disk byte by byte
    Raw,
}

/// Runs a verb of `skep image`.
///
/// # Errors
///
/// A usage error, a refusal, a cloud that does not do it.
pub fn run(args: &ImageArgs, global: &Global, printer: &Printer) -> Result<()> {
    let inventory = load(global, printer)?;
    if inventory.openstack.is_none() {
        let error = Error::usage("no host of this inventory is a server of a cloud");
        return Err(error.hint("Images are for an inventory with `provider = \"openstack\"`."));
    }
    block_on(async {
        match &args.verb {
            ImageVerb::Create(args) => create::run(args, inventory, printer).await,
            ImageVerb::Upload(args) => upload::run(args, &inventory, printer).await,
            ImageVerb::List { json } => list(&inventory, *json, printer).await,
            ImageVerb::Delete { image, yes } => delete(image, *yes, &inventory, printer).await,
        }
    })
}

fn connect(inventory: &Inventory) -> Result<BoxedCloud> {
    servers::connect(inventory)?.ok_or_else(|| Error::usage("this inventory has no cloud"))
}

/// No other run of this machine changes the cluster meanwhile.
fn alone(inventory: &Inventory) -> Result<RunLock> {
    lock::here(&State::of(&inventory.cluster)?, "image", Break::Never)
}

/// Waits until an image can be used.
async fn ready(cloud: &BoxedCloud, id: &str, name: &str, printer: &Printer) -> Result<Image> {
    let working = Working::begin(printer, &format!("the cloud makes the image `{name}`"));
    let began = Instant::now();
    loop {
        let images = cloud.images().await.map_err(told)?;
        match images.into_iter().find(|it| it.id == id) {
            Some(image) if image.status == ImageStatus::Active => return Ok(image),
            Some(image) => match image.status {
                ImageStatus::Other(word) => {
                    let error = Error::failed(format!("the image `{name}` is {word}"));
                    return Err(error.hint(format!("`openstack image show {id}` tells more.")));
                }
                status => working.tell(&format!("the image `{name}` is {}", word(&status))),
            },
            None => {
                let error = Error::failed(format!("the cloud gave the image `{name}` up"));
                return Err(
                    error.hint("The server's own events tell why: `openstack server event list`.")
                );
            }
        }
        if began.elapsed() > READY {
            let minutes = READY.as_secs() / 60;
            let error = Error::failed(format!("the image `{name}` is not ready in {minutes} min"));
            return Err(
                error.hint("The cloud goes on with it: `skep image list` shows how far it is.")
            );
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Two images of one name cannot be told apart by an inventory.
fn is_free(name: &str, images: &[Image], may_go: impl Fn(&Image) -> bool) -> Result<()> {
    if name.is_empty() || name.chars().count() > 255 || name.chars().any(char::is_control) {
        return Err(Error::usage(
            "an image's name has 1 to 255 characters, in one line",
        ));
    }
    let there = images.iter().find(|it| it.name == name && !may_go(it));
    match there {
        None => Ok(()),
        Some(image) => {
            let id = &image.id;
            let error = Error::refused(format!("the cloud has an image `{name}` already ({id})"));
            Err(error.hint("Give another with `--name`."))
        }
    }
}

/// An image as it is listed.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    name: &'a str,
    id: &'a str,
    status: &'a str,
    size: Option<u64>,
    created: Option<jiff::Timestamp>,
}

async fn list(inventory: &Inventory, json: bool, printer: &Printer) -> Result<()> {
    let mut images = connect(inventory)?.images().await.map_err(told)?;
    images.retain(|image| image.is_of(&inventory.cluster));
    images.sort_by(|a, b| (&a.name, a.created).cmp(&(&b.name, b.created)));
    let listed = images.iter().map(|image| Listed {
        name: &image.name,
        id: &image.id,
        status: word(&image.status),
        size: image.size,
        created: image.created,
    });
    if json {
        return printer.json(&listed.collect::<Vec<_>>());
    }
    if images.is_empty() {
        printer.say(format!("`{}` has no images", inventory.cluster));
        return Ok(());
    }
    let mut table = Table::new(["NAME", "STATUS", "SIZE", "CREATED", "ID"]);
    for image in listed {
        table.row([
            image.name.to_owned(),
            image.status.to_owned(),
            image.size.map(size).unwrap_or_default(),
            image.created.map(|it| it.to_string()).unwrap_or_default(),
            image.id.to_owned(),
        ]);
    }
    printer.data(&table.render())
}

async fn delete(name: &str, yes: bool, inventory: &Inventory, printer: &Printer) -> Result<()> {
    let _alone = alone(inventory)?;
    let cloud = connect(inventory)?;
    let images = cloud.images().await.map_err(told)?;
    let found: Vec<&Image> = images
        .iter()
        .filter(|it| it.id == name || it.name == name)
        .collect();
    let ours: Vec<&Image> = found
        .iter()
        .copied()
        .filter(|image| image.is_of(&inventory.cluster))
        .collect();
    let image = match ours[..] {
        [one] => one,
        [] if found.is_empty() => {
            let error = Error::usage(format!("the cloud has no image `{name}`"));
            return Err(error.hint("`skep image list` lists those of the cluster."));
        }
        [] => {
            let cluster = &inventory.cluster;
            let error = Error::refused(format!("`{name}` is no image of `{cluster}`"));
            return Err(error.hint("skep removes only what carries the cluster's mark."));
        }
        _ => {
            let error = Error::usage(format!("the cluster has {} images `{name}`", ours.len()));
            return Err(error.hint("Name one by its ID: `skep image list` tells them."));
        }
    };
    if let Some(host) = guard::cloud::boots_from(inventory, image) {
        let error = Error::refused(format!("the inventory makes `{host}` of `{}`", image.name));
        return Err(error.hint("Name another `image` in it first."));
    }
    let question = format!("Delete the image `{}` ({})?", image.name, image.id);
    if !prompt::confirm(&question, yes)? {
        return Err(Error::refused("not confirmed; nothing was removed"));
    }
    cloud.delete(Kind::Image, &image.id).await.map_err(told)?;
    printer.say(format!("deleted the image `{}`", image.name));
    Ok(())
}

fn word(status: &ImageStatus) -> &str {
    match status {
        ImageStatus::Queued => "queued",
        ImageStatus::Saving => "saving",
        ImageStatus::Active => "active",
        ImageStatus::Other(word) => word,
    }
}

/// `760.0 MB`.
fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}
