//! `skep image upload`: of a file on this machine.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::inventory::Inventory;
use crate::openstack::model::{ImageFormat, ImageStatus, NewImage};
use crate::ui::Printer;
use crate::ui::working::Working;

use super::{Format, UploadArgs, alone, connect, is_free, ready, size, told};

/// What a file of QEMU's own format begins with.
const QCOW2: &[u8] = b"QFI\xfb";

pub(super) async fn run(args: &UploadArgs, inventory: &Inventory, printer: &Printer) -> Result<()> {
    let (format, length) = look_at(&args.file, args.format)?;
    let _alone = alone(inventory)?;
    let cloud = connect(inventory)?;
    let images = cloud.images().await.map_err(told)?;
    // Half of one, of an upload that was cut, is taken away by the next.
    is_free(&args.name, &images, |image| {
        image.is_of(&inventory.cluster)
            && matches!(image.status, ImageStatus::Queued | ImageStatus::Saving)
    })?;
    let name = &args.name;
    let working = Working::begin(printer, &format!("uploading `{name}`"));
    let new = NewImage {
        name: name.clone(),
        file: args.file.clone(),
        format,
        min_disk: 0,
        min_ram: 0,
        properties: BTreeMap::new(),
    };
    let progress = |gone: u64| {
        let percent = (gone * 100).checked_div(length).unwrap_or(100);
        working.tell(&format!(
            "uploading `{name}`: {percent} % of {}",
            size(length)
        ));
    };
    let made = cloud.upload_image(&new, &progress).await.map_err(told)?;
    drop(working);
    let image = ready(&cloud, &made.id, name, printer).await?;
    printer.say(format!(
        "uploaded `{name}` ({}), {}",
        image.id,
        size(length)
    ));
    Ok(())
}

/// The format of a file, and its length in bytes.
fn look_at(path: &Path, said: Option<Format>) -> Result<(ImageFormat, u64)> {
    let shown = path.display();
    let cannot =
        |error: std::io::Error| Error::usage(format!("cannot read `{shown}`")).because(error);
    let file = std::fs::File::open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if !about.is_file() || about.len() == 0 {
        return Err(Error::usage(format!(
            "`{shown}` is no file with something in it"
        )));
    }
    let mut first = Vec::new();
    file.take(4).read_to_end(&mut first).map_err(cannot)?;
    let format = match (said, first == QCOW2) {
        (None | Some(Format::Qcow2), true) => ImageFormat::Qcow2,
        (Some(Format::Raw), false) => ImageFormat::Raw,
        (Some(Format::Raw), true) => {
            let error = Error::usage(format!("`{shown}` is in the format qcow2, not raw"));
            return Err(error.hint("Leave `--format` out."));
        }
        (Some(Format::Qcow2), false) => {
            return Err(Error::usage(format!(
                "`{shown}` is not in the format qcow2"
            )));
        }
        (None, false) => {
            let error = Error::usage(format!("`{shown}` does not tell its format"));
            return Err(error.hint(
                "`--format raw` says that it is a disk byte by byte; `qemu-img info` tells others.",
            ));
        }
    };
    Ok((format, about.len()))
}
