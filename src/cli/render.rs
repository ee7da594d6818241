//! `skep render`: what a template comes to for a host, before a server is made with it.

use std::path::Path;

use clap::Args;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::inventory::nearest::nearest;
use crate::inventory::{Host, Inventory, Provider};
use crate::plan::cloud::{HostKey, UserData};
use crate::template::{Place, TemplateError, Text};
use crate::ui::Printer;
use crate::ui::style::{self, paint};

use super::load::load;
use super::{Global, servers};

/// The arguments of `skep render`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Without a template it lists those that skep brings along. What has a slash or a dot is a file of your
own: it may use `host`, `cluster`, `role`, `labels`, `groups` and the host's `vars`, like the one that
`user-data` of the inventory names. A variable that is not defined is an error.

No host is asked, and no cloud. A server's own key is made when the server is, and told to it alone: in
its place stand some words.

Examples:
  skep render
  skep render user-data --host w1
  skep render ./first-boot.sh --host w1")]
pub struct RenderArgs {
    /// The template: a name or a file
    #[arg(value_name = "TEMPLATE", requires = "host")]
    pub template: Option<String>,

    /// The host that it is rendered for
    #[arg(long, value_name = "HOST", requires = "template")]
    pub host: Option<String>,

    /// List the templates as JSON
    #[arg(long, conflicts_with = "template")]
    pub json: bool,
}

/// A template that skep brings along.
#[derive(Debug, Serialize)]
struct Shipped {
    name: &'static str,
    description: &'static str,
}

const USER_DATA: &str = "user-data";

const SHIPPED: [Shipped; 1] = [Shipped {
    name: USER_DATA,
    description: "What a new server is told at its first boot (cloud-init)",
}];

/// Lists the templates, or renders one.
///
/// # Errors
///
/// A usage error of the inventory or the template.
pub fn run(args: &RenderArgs, global: &Global, printer: &Printer) -> Result<()> {
    let (Some(template), Some(host)) = (&args.template, &args.host) else {
        return list(args.json, printer);
    };
    let is_file = template.contains(['/', '.']);
    if !is_file && template != USER_DATA {
        let error = Error::usage(format!("there is no template `{template}`"));
        let names = SHIPPED.iter().map(|it| it.name);
        return Err(match nearest(template, names) {
            Some(near) => error.hint(format!("Did you mean `{near}`?")),
            None => error.hint(format!(
                "`skep render` lists them; a file of your own is `./{template}`."
            )),
        });
    }
    let mut inventory = load(global, printer)?;
    if !is_file {
        servers::read_files(&mut inventory)?;
    }
    let Some(of) = inventory.host(host) else {
        let error = Error::usage(format!("the inventory has no host `{host}`"));
        let names = inventory.hosts.iter().map(|it| it.name.as_str());
        return Err(match nearest(host, names) {
            Some(near) => error.hint(format!("Did you mean `{near}`?")),
            None => error.hint("`skep inventory` lists the hosts."),
        });
    };
    let text = if is_file {
        file(Path::new(template), &inventory, of)?
    } else {
        user_data(&inventory, of)?
    };
    printer.data(&text)
}

fn list(json: bool, printer: &Printer) -> Result<()> {
    if json {
        return printer.json(&SHIPPED);
    }
    for it in &SHIPPED {
        let name = paint(style::STRONG, it.name);
        printer.data(&format!("{name}  {}\n", it.description))?;
    }
    Ok(())
}

fn user_data(inventory: &Inventory, host: &Host) -> Result<String> {
    if host.provider != Provider::OpenStack {
        let error = Error::usage(format!("`{}` is no server of a cloud", host.name));
        return Err(error.hint("Only a server that skep makes has user-data."));
    }
    let words = "made when the server is, and told to it alone";
    let key = HostKey {
        private: format!("(the private key: {words})").into(),
        public: "(the public key: made when the server is)".to_owned(),
    };
    let text = UserData::of(inventory, host).render(&key);
    Ok(text
        .map_err(|error| wrong(&error))?
        .expose_secret()
        .to_owned())
}

fn file(path: &Path, inventory: &Inventory, host: &Host) -> Result<String> {
    let shown = path.display().to_string();
    let value = std::fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("cannot read `{shown}`")).because(error))?;
    let place = Place {
        file: shown,
        line: 1,
    };
    let text = Text { value, place };
    let vars = UserData::of(inventory, host).vars;
    text.render(&vars).map_err(|error| wrong(&error))
}

fn wrong(error: &TemplateError) -> Error {
    Error::usage(error.to_string()).hint(
        "A template may use `host`, `cluster`, `role`, `labels`, `groups` and the host's `vars`.",
    )
}
