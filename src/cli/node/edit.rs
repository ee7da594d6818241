//! The inventory, edited in place by verbs that change what it says.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::inventory::{self, Inventory, edit};
use crate::plan::Diff;
use crate::procedure::NodeAct;
use crate::ui::{Printer, diff};

/// An inventory as it is and as it will be.
#[derive(Debug)]
pub(super) struct Edit {
    path: PathBuf,
    before: String,
    after: String,
}

impl Edit {
    /// An edit of the file at `path`, which nothing has changed yet.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let before = fs::read_to_string(path).map_err(|error| {
            Error::usage(format!("cannot read `{}`", path.display())).because(error)
        })?;
        Ok(Self {
            path: path.to_owned(),
            after: before.clone(),
            before,
        })
    }

    /// What a verb on `nodes` changes in it; those that it does not name are left out.
    ///
    /// # Errors
    ///
    /// The inventory would not be sound afterwards, or its form does not let it be edited.
    pub(super) fn of_act(inventory: &Inventory, act: &NodeAct, nodes: &[String]) -> Result<Self> {
        let mut it = Self::of(&inventory.path)?;
        for host in nodes.iter().filter_map(|name| inventory.host(name)) {
            let name = &host.name;
            it.change(|text| match act {
                NodeAct::Drain | NodeAct::Activate => Ok(text.to_owned()),
                NodeAct::Promote => edit::set_role(text, name, inventory::Role::Manager),
                NodeAct::Demote => edit::set_role(text, name, inventory::Role::Worker),
                NodeAct::Label { set, unset } => edit::set_labels(text, name, set, unset),
                NodeAct::Remove => edit::remove_host(text, name),
            })?;
        }
        it.check()?;
        Ok(it)
    }

    /// Changes the text.
    pub(super) fn change(
        &mut self,
        act: impl FnOnce(&str) -> Result<String, edit::EditError>,
    ) -> Result<()> {
        self.after = act(&self.after).map_err(|error| self.instead(error))?;
        Ok(())
    }

    /// Whether the result is sound.
    pub(super) fn check(&self) -> Result<()> {
        edit::check(&self.before, &self.after, &self.path).map_err(|error| self.instead(error))
    }

    fn instead(&self, error: edit::EditError) -> Error {
        let path = self.path.display();
        Error::from(error).hint(format!(
            "Nothing was changed. Edit `{path}` yourself and run `skep up`; or leave it as it is with `--keep-inventory`."
        ))
    }

    /// The model of the result.
    ///
    /// # Errors
    ///
    /// It is not sound, which [`Edit::check`] tells better.
    pub(super) fn model(&self) -> Result<Inventory> {
        let (model, _) = inventory::parse(&self.after, &self.path);
        model.ok_or_else(|| Error::usage("the inventory would not be sound"))
    }

    /// Shows what will be written.
    pub(super) fn show(&self, printer: &Printer) {
        if self.before == self.after {
            return;
        }
        let text = Diff::Text {
            path: self.path.display().to_string(),
            old: self.before.clone(),
            new: self.after.clone(),
        };
        printer.say(diff::render(&text, &diff::hide_passwords));
    }

    /// Writes it, unless somebody else has changed the file meanwhile.
    ///
    /// # Errors
    ///
    /// It was changed, or cannot be written.
    pub(super) fn write(&self) -> Result<()> {
        if self.before == self.after {
            return Ok(());
        }
        let shown = self.path.display();
        let cannot =
            |error: std::io::Error| Error::failed(format!("cannot write `{shown}`")).because(error);
        if fs::read_to_string(&self.path).map_err(cannot)? != self.before {
            return Err(Error::failed(format!(
                "`{shown}` was changed meanwhile, so the edit that was shown is not written"
            ))
            .hint("Make it yourself, and run `skep plan` to see whether all is as wanted."));
        }
        // A link to the inventory stays one.
        let path = fs::canonicalize(&self.path).map_err(cannot)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mode = fs::metadata(&path).map_err(cannot)?.permissions();
        let mut beside = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
        beside.write_all(self.after.as_bytes()).map_err(cannot)?;
        beside.as_file().set_permissions(mode).map_err(cannot)?;
        beside.as_file().sync_all().map_err(cannot)?;
        let kept = beside.persist(&path);
        kept.map(drop).map_err(|error| cannot(error.error))
    }
}
