//! The image of virtual machines: a root disk, and the kernel that QEMU boots.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::engine::remove_tree;
use super::super::image::{Recipe, make_tree};
use super::super::{Dirs, LabError, Progress, dirs};
use crate::local::Program;

/// The size of a host's own disk. It takes no more room than what is written to it.
const ROOT_SIZE: &str = "16G";

/// How long the tree may take to be written to a disk.
const DISK_DEADLINE: Duration = Duration::from_mins(10);

/// The folder of the image; it exists when the image is whole.
pub(super) fn path(dirs: &Dirs, recipe: &Recipe) -> PathBuf {
    dirs.vm_images().join(recipe.tag())
}

/// Makes the image if it is not there.
pub(super) async fn build(
    dirs: &Dirs,
    recipe: &Recipe,
    progress: Progress<'_>,
) -> Result<(), LabError> {
    let image = path(dirs, recipe);
    if image.exists() {
        return Ok(());
    }
    let build = dirs.build();
    let (tree, new) = (build.join("root"), build.join("image"));
    make_tree(dirs, recipe, "directory", &tree, progress).await?;
    progress("image: writing its disk");
    dirs::make_private(&new)?;
    let disk = new.join("root.img");
    let write = Program::new("mkfs.ext4")
        .args(["-q", "-L", "root", "-E", "lazy_itable_init=0", "-d"])
        .arg(&tree)
        .arg(&disk)
        .arg(ROOT_SIZE)
        .deadline(DISK_DEADLINE);
    let written = write.run().await;
    written.map_err(LabError::program("write the image's disk"))?;
    for file in ["vmlinuz", "initrd"] {
        rename(&build.join(file), &new.join(file))?;
    }
    dirs::make_private(&dirs.vm_images())?;
    rename(&new, &image)?;
    remove_tree(&build)
}

fn rename(from: &Path, to: &Path) -> Result<(), LabError> {
    std::fs::rename(from, to).map_err(LabError::file("rename", from))
}
