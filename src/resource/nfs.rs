//! NFS: what a host exports and mounts.

mod client;
mod idmap;
mod removed;
mod server;
pub(super) mod unit;

use crate::facts::HostFacts;
use crate::inventory::Mount;
use crate::known::Known;
use crate::plan::{Diff, PackageSpec, Step};

use super::kernel::unknown;
use super::value_diff;

pub use client::NfsMounts;
pub use idmap::NfsIdmap;
pub use removed::NfsRemoved;
pub use server::NfsExports;

/// The port of NFS (nfs(5), `port`).
pub(crate) const PORT: u16 = 2049;

/// The unit that mounts a folder again when something touches it, where there is one.
pub(crate) fn automount(mount: &Mount) -> Option<String> {
    mount.automount.then(|| unit::automount_unit(mount))
}

/// What differs and how to mend it, gathered piece by piece. What the facts do not tell ends it
/// with the reason.
#[derive(Default)]
struct Mend {
    diff: Vec<Diff>,
    steps: Vec<Step>,
}

impl Mend {
    /// Installs a package that is not there, or is there in part.
    fn package(&mut self, facts: &HostFacts, name: &str) -> Result<(), String> {
        match facts.packages.get(name) {
            Some(Known::Value(package)) if !package.broken => return Ok(()),
            Some(Known::Value(_)) => self.steps.push(Step::RepairPackages),
            Some(Known::Absent) => {}
            other => return Err(unknown("package", name, other)),
        }
        self.diff.push(value_diff(name, None, "installed"));
        self.steps.push(Step::RefreshPackages);
        self.steps.push(Step::InstallPackages {
            packages: vec![PackageSpec {
                name: name.to_owned(),
                version: None,
            }],
        });
        Ok(())
    }

    /// Writes a file that differs; says whether it does.
    fn file(&mut self, facts: &HostFacts, path: &str, content: &str) -> Result<bool, String> {
        let old = text_of(facts, path)?;
        if old == Some(content) {
            return Ok(false);
        }
        self.diff.push(super::text_diff(path, old, content));
        self.steps.push(Step::WriteFile {
            path: path.to_owned(),
            content: content.to_owned(),
            mode: 0o644,
        });
        Ok(true)
    }

    /// Removes a file that is there and begins with `mark`, so that it is ours; says whether.
    fn no_file(&mut self, facts: &HostFacts, path: &str, mark: &str) -> Result<bool, String> {
        let Some(old) = text_of(facts, path)?.filter(|text| text.starts_with(mark)) else {
            return Ok(false);
        };
        self.diff.push(super::text_diff(path, Some(old), ""));
        self.steps.push(Step::RemoveFile {
            path: path.to_owned(),
        });
        Ok(true)
    }
}

/// The text of a file; `None` where there is none.
fn text_of<'a>(facts: &'a HostFacts, path: &str) -> Result<Option<&'a str>, String> {
    match facts.files.get(path) {
        Some(Known::Value(file)) => match &file.content {
            Some(text) => Ok(Some(text)),
            None => Err(format!("file `{path}`: it is too large, or not a text")),
        },
        Some(Known::Absent) => Ok(None),
        other => Err(unknown("file", path, other)),
    }
}
