//! How the picture of a cluster looks to a person.

use std::fmt::Write;

use crate::inventory::{Availability, Role};
use crate::plan::bytes;
use crate::status::{HostSays, Managers, StatusReport, SwarmState};
use crate::ui::style::{self, paint};
use crate::ui::table::Table;
use crate::ui::text;

impl StatusReport {
    /// The picture as text with colours; `verbose` adds the nodes' IDs, which are wide.
    pub fn render(&self, verbose: bool) -> String {
        let mut out = format!("cluster {}\n", paint(style::STRONG, &self.cluster));
        out.push_str(&self.render_swarm());
        if !self.nodes.is_empty() {
            out.push('\n');
            out.push_str(&self.render_nodes(verbose));
        }
        if !self.storage.is_empty() {
            out.push('\n');
            out.push_str(&self.render_storage());
        }
        let hosts = text::count(self.unreachable.len(), "host");
        let heading = format!("{hosts} gave no answer:");
        render_list(&mut out, &paint(style::ERROR, heading), &self.unreachable);
        let heading = paint(style::WARNING, "what hosts say:");
        render_list(&mut out, &heading, &self.evidence);
        let differences = text::count(self.drift.len(), "difference");
        let heading = format!("{differences} from the inventory:");
        render_list(&mut out, &paint(style::WARNING, heading), &self.drift);
        if !self.drift.is_empty() {
            let hint = paint(style::HINT, "hint:");
            let _infallible = writeln!(out, "  {hint} Run `skep plan` to see them in full.");
        }
        if !self.warnings.is_empty() || !self.stale.is_empty() {
            out.push('\n');
        }
        for stale in &self.stale {
            let text = stale.to_string();
            let text = text.strip_prefix("stale:").unwrap_or(&text);
            let label = paint(style::ERROR, "stale:");
            let _infallible = writeln!(out, "{label}{}", text::clean(text));
        }
        for warning in &self.warnings {
            let label = paint(style::WARNING, "warning:");
            let _infallible = writeln!(out, "{label} {}", text::clean(warning));
        }
        out
    }

    fn render_swarm(&self) -> String {
        match self.swarm {
            SwarmState::Absent => format!(
                "{} none of the hosts is in a swarm\n{} Run `skep up` to make it.\n",
                paint(style::WARNING, "no swarm yet:"),
                paint(style::HINT, "hint:"),
            ),
            SwarmState::Split => format!(
                "{} the hosts are managers of more than one swarm\n{} {}\n",
                paint(style::ERROR, "SPLIT:"),
                paint(style::HINT, "hint:"),
                "Find out which swarm has the services, and take the other hosts out of theirs.",
            ),
            SwarmState::Unknown => format!(
                "{} no manager answered, so nothing is known of the swarm\n{} {}\n",
                paint(style::ERROR, "SWARM UNKNOWN:"),
                paint(style::HINT, "hint:"),
                "Services go on running without managers. Look at the managers below first.",
            ),
            SwarmState::Active if self.managers.has_quorum() => self.render_quorum(),
            SwarmState::Active | SwarmState::NoQuorum => self.render_lost(),
        }
    }

    fn render_quorum(&self) -> String {
        let Managers {
            total,
            reachable,
            majority,
            tolerates,
        } = self.managers;
        let (style, verdict) = match tolerates {
            0 => (style::WARNING, "bears no loss at all".to_owned()),
            more => (style::GOOD, format!("bears the loss of {more} more")),
        };
        format!(
            "quorum: {}, {reachable} reachable, majority {majority}: {}\n",
            text::count(total, "manager"),
            paint(style, verdict)
        )
    }

    fn render_lost(&self) -> String {
        let Managers {
            total,
            reachable,
            majority,
            ..
        } = self.managers;
        let label = paint(style::ERROR, "QUORUM LOST:");
        let hint = paint(style::HINT, "hint:");
        let numbers = if total == 0 {
            "the managers that answer cannot agree".to_owned()
        } else {
            let managers = text::count(total, "manager");
            format!("{managers}, {reachable} reachable, {majority} needed")
        };
        format!(
            "{label} {numbers}\n  Running tasks go on; nothing can be deployed, moved or changed.\n\
             {hint} Bring managers back until a majority is reachable; nothing else is needed then.\n"
        )
    }

    fn render_storage(&self) -> String {
        let mut table = Table::new(vec![
            "NAME",
            "STORAGE",
            "SIZE",
            "USED",
            "METADATA",
            "MONITORED",
        ]);
        let percent = |value: Option<f64>| match value {
            Some(value) if value >= 80.0 => paint(style::WARNING, format!("{value:.1} %")),
            Some(value) => format!("{value:.1} %"),
            None => "unknown".to_owned(),
        };
        for it in &self.storage {
            if let Some(pool) = &it.pool {
                table.row(vec![
                    it.host.clone(),
                    pool.name.clone(),
                    bytes(pool.size),
                    percent(pool.data_percent),
                    percent(pool.metadata_percent),
                    if pool.monitored {
                        "yes".to_owned()
                    } else {
                        paint(style::WARNING, "no")
                    },
                ]);
            }
            if let Some(root) = &it.data_root {
                let used = format!("{} %", root.percent);
                table.row(vec![
                    it.host.clone(),
                    format!("{} ({})", root.path, root.fstype),
                    bytes(root.size_kib * 1024),
                    if root.percent >= 80 {
                        paint(style::WARNING, used)
                    } else {
                        used
                    },
                    "-".to_owned(),
                    "-".to_owned(),
                ]);
            }
        }
        table.render()
    }

    /// The nodes as a table; `verbose` shows their IDs and labels.
    pub fn render_nodes(&self, verbose: bool) -> String {
        let mut headings = vec!["NAME", "ROLE", "STATE", "AVAILABILITY", "ADDRESS", "ENGINE"];
        if verbose {
            headings.push("ID");
        }
        headings.push("LABELS");
        let mut table = Table::new(headings);
        for node in &self.nodes {
            let role = match (node.role, node.leader) {
                (Role::Manager, true) => "manager (leader)",
                (Role::Manager, false) => "manager",
                (Role::Worker, _) => "worker",
                (Role::None, _) => "none",
            };
            let (state, style) = match (node.state.as_str(), node.reachable) {
                ("ready", Some(false)) => ("ready, UNREACHABLE".to_owned(), style::ERROR),
                ("ready", _) => ("ready".to_owned(), style::GOOD),
                (other, _) => (other.to_uppercase(), style::ERROR),
            };
            let availability = match node.availability {
                Availability::Active => "active".to_owned(),
                Availability::Pause => paint(style::WARNING, "pause"),
                Availability::Drain => paint(style::WARNING, "drain"),
            };
            let labels: Vec<String> = node
                .labels
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            let mut cells = vec![
                node.name.clone(),
                role.to_owned(),
                paint(style, state),
                availability,
                node.address.clone(),
                node.engine.clone(),
            ];
            if verbose {
                cells.push(node.id.clone());
            }
            cells.push(labels.join(","));
            table.row(cells);
        }
        table.render()
    }
}

fn render_list(out: &mut String, heading: &str, list: &[HostSays]) {
    if list.is_empty() {
        return;
    }
    let _infallible = writeln!(out, "\n{heading}");
    for HostSays { host, what } in list {
        let _infallible = writeln!(out, "  {host}: {}", text::clean(what));
    }
}

#[cfg(test)]
mod tests;
