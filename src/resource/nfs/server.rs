//! What a host exports: a file of ours under `/etc/exports.d`, and the kernel's table.

use crate::facts::{HostFacts, Probe, Probes};
use crate::inventory::{Export, Host};
use crate::known::Known;
use crate::plan::{NfsStep, ServiceAction, Step};
use crate::resource::kernel::unknown;
use crate::resource::{Draft, Resource, Verdict, value_diff};

use super::{Mend, text_of};

/// Our file; others beside it, and `/etc/exports`, are nobody's business here (exports(5)).
const FILE: &str = "/etc/exports.d/skep.exports";
const MARK: &str = "# Made by skep from [[nfs.export]]; changes here are lost.\n";
/// What is exported now, as exportfs(8) keeps it.
const TABLE: &str = "/var/lib/nfs/etab";
const PACKAGE: &str = "nfs-kernel-server";
const UNIT: &str = "nfs-server.service";

/// Options that the table of exports repeats word for word. Others it writes in its own way.
const PLAIN: [&str; 12] = [
    "rw",
    "ro",
    "sync",
    "async",
    "secure",
    "insecure",
    "root_squash",
    "no_root_squash",
    "all_squash",
    "subtree_check",
    "no_subtree_check",
    "crossmnt",
];

/// The folders that a host exports.
#[derive(Debug, Clone, Copy)]
pub struct NfsExports<'a> {
    exports: &'a [Export],
}

impl<'a> NfsExports<'a> {
    /// The exports of `host`.
    pub fn new(host: &'a Host) -> Self {
        Self {
            exports: &host.exports,
        }
    }

    fn text(&self) -> String {
        let lines = self.exports.iter().map(|export| {
            let options = export.options.join(",");
            let clients = export.clients.iter();
            let clients: Vec<String> = clients.map(|it| format!("{it}({options})")).collect();
            format!("{} {}\n", export.path, clients.join(" "))
        });
        format!("{MARK}{}", lines.collect::<String>())
    }

    fn mend(&self, facts: &HostFacts) -> Result<Mend, String> {
        let mut mend = Mend::default();
        let paths: Vec<String> = self.exports.iter().map(|it| it.path.clone()).collect();
        if self.exports.is_empty() {
            if mend.no_file(facts, FILE, MARK)? {
                // The file goes last: while it is there, a run that was cut is gone on with.
                let empty = Step::WriteFile {
                    path: FILE.to_owned(),
                    content: MARK.to_owned(),
                    mode: 0o644,
                };
                let export = Step::Nfs(NfsStep::Export { paths });
                mend.steps.splice(0..0, [empty, export]);
            }
            return Ok(mend);
        }
        mend.package(facts, PACKAGE)?;
        let table = text_of(facts, TABLE)?.unwrap_or_default();
        let missing: Vec<&Export> = self
            .exports
            .iter()
            .filter(|it| !exported(it, table))
            .collect();
        let old = text_of(facts, FILE)?;
        let changed = old != Some(self.text().as_str());
        if changed || !missing.is_empty() {
            mend.steps.push(Step::Nfs(NfsStep::MakeFolders {
                paths: paths.clone(),
            }));
        }
        mend.file(facts, FILE, &self.text())?;
        let unit = match facts.units.get(UNIT) {
            Some(Known::Value(unit)) => Some(format!("{}, {}", unit.active, unit.enabled)),
            Some(Known::Absent) => None,
            other => return Err(unknown("unit", UNIT, other)),
        };
        if unit.as_deref() != Some("active, enabled") {
            mend.diff
                .push(value_diff(UNIT, unit.as_deref(), "active, enabled"));
            mend.steps.push(Step::Service {
                unit: UNIT.to_owned(),
                action: ServiceAction::EnableNow,
            });
        }
        if changed || !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|it| it.path.as_str()).collect();
            if !changed {
                mend.diff
                    .push(value_diff("exported", None, &names.join(" ")));
            }
            mend.steps.push(Step::Nfs(NfsStep::Export { paths }));
        }
        Ok(mend)
    }
}

/// Whether the table has an export for all of its clients, as far as it can be told: a name it
/// writes as the name service has it, which need not be the one that the inventory has.
fn exported(export: &Export, table: &str) -> bool {
    let rows: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(path, _)| *path == export.path)
        .filter_map(|(_, rest)| rest.split_once('('))
        .collect();
    let holds = |options: &str| {
        let has = |wanted: &String| {
            options
                .trim_end_matches(')')
                .split(',')
                .any(|it| it == wanted)
        };
        let plain = |option: &&String| PLAIN.contains(&option.as_str());
        export.options.iter().filter(plain).all(has)
    };
    let verbatim = |client: &str| {
        client.contains(['/', '*', '?', '@']) || client.parse::<std::net::IpAddr>().is_ok()
    };
    rows.len() >= export.clients.len()
        && rows.iter().all(|(_, options)| holds(options))
        && export
            .clients
            .iter()
            .filter(|it| verbatim(it))
            .all(|client| rows.iter().any(|(name, _)| name == client))
}

impl Resource for NfsExports<'_> {
    fn name(&self) -> &'static str {
        "nfs.exports"
    }

    fn probes(&self) -> Probes {
        let mut probes = Probes::from([Probe::File(FILE.to_owned())]);
        if !self.exports.is_empty() {
            probes.extend([
                Probe::Package(PACKAGE.to_owned()),
                Probe::Unit(UNIT.to_owned()),
                Probe::File(TABLE.to_owned()),
            ]);
        }
        probes
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        if !self.exports.is_empty()
            && let Ok(Some(text)) = text_of(facts, FILE)
            && !text.starts_with(MARK)
        {
            return Verdict::Refuse {
                why: format!("`{FILE}` is there, and skep did not write it"),
                hint: "Rename it to another name that ends in `.exports`, if it is needed."
                    .to_owned(),
            };
        }
        match self.mend(facts) {
            Err(why) => Verdict::Unknown(why),
            Ok(mend) if mend.steps.is_empty() => Verdict::Same,
            Ok(mend) => {
                let summary = match self.exports {
                    [] => "export nothing any more".to_owned(),
                    [one] => format!("export {}", one.path),
                    more => format!("export {} folders", more.len()),
                };
                Verdict::Change(Draft::safe(summary, mend.diff, mend.steps))
            }
        }
    }
}
