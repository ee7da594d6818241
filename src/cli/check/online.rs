//! The part of `check` that goes to the hosts.

use crate::cli::cluster::{Cluster, Emit, Follow};
use crate::cli::{Global, block_on};
use crate::error::{Error, Result};
use crate::facts::{HostFacts, Probe};
use crate::gather::gather;
use crate::inventory::Role;
use crate::known::Known;
use crate::preflight::ports::{self, Peer};
use crate::preflight::{Finding, Level, examine};
use crate::swarm::Gathered;
use crate::ui::follow::Format;
use crate::ui::style::{self, paint};
use crate::ui::{Printer, text};

use super::{CheckArgs, books, usable};

/// Docker's default port of VXLAN.
const DATA_PATH_PORT: u16 = 4789;

/// Checks the hosts.
pub(super) fn run(args: &CheckArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let cluster = Cluster::open(global, args.on.as_deref(), printer).await?;
        usable(&books(&cluster.inventory)?, false, printer)?;
        cluster.is_made().await?;
        let hosts = cluster
            .inventory
            .hosts
            .iter()
            .filter(|host| cluster.selected.contains(&host.name));
        let mut follow = Follow::new(printer, Format::Human, None);
        let gathered = follow
            .during(async |it: &Emit| {
                gather(cluster.live.as_ref(), hosts, &[Probe::Disks], &|event| {
                    it.emit(event);
                })
                .await
            })
            .await?;
        let mut findings = examine(&cluster.inventory, &gathered);
        let peers = peers(&cluster, &gathered);
        if peers.len() > 1 {
            printer.say(format!(
                "trying the swarm's ports between {} hosts",
                peers.len()
            ));
            let port = cluster
                .inventory
                .swarm
                .data_path_port
                .unwrap_or(DATA_PATH_PORT);
            let tried = cluster.live.try_ports(&peers, port).await;
            findings.extend(ports::examine(&peers, &tried.heard, &tried.busy));
        }
        if args.json {
            printer.json(&findings)?;
        } else {
            printer.data(&render(&findings))?;
        }
        let failed = findings
            .iter()
            .filter(|finding| finding.level == Level::Fail)
            .count();
        if failed > 0 {
            return Err(Error::failed(format!(
                "{} failed",
                text::count(failed, "check")
            )));
        }
        Ok(())
    })
}

/// The hosts that will be nodes and have an address for the others.
fn peers(cluster: &Cluster, gathered: &Gathered) -> Vec<Peer> {
    let members = cluster.inventory.members();
    members
        .filter_map(|host| {
            let facts = gathered.get(&host.name)?.as_ref().ok()?;
            let address = crate::plan::advertise_address(host, facts)
                .ok()?
                .parse()
                .ok()?;
            Some(Peer {
                name: host.name.clone(),
                address,
                manager: host.role == Role::Manager,
                mtu: mtu(facts, address),
            })
        })
        .collect()
}

fn mtu(facts: &HostFacts, address: std::net::IpAddr) -> u32 {
    let Known::Value(network) = &facts.network else {
        return 1500;
    };
    let mut interfaces = network.interfaces.iter();
    let found = interfaces.find(|it| it.addresses.iter().any(|net| net.addr() == address));
    found.map_or(1500, |interface| interface.mtu)
}

/// What is well in one line for each host; the rest one by one.
fn render(findings: &[Finding]) -> String {
    let mut lines = Vec::new();
    let mut hosts: Vec<&Option<String>> = Vec::new();
    for finding in findings {
        if !hosts.contains(&&finding.host) {
            hosts.push(&finding.host);
        }
    }
    let name = |host: &Option<String>| host.clone().unwrap_or_else(|| "all".to_owned());
    let width = hosts.iter().map(|host| name(host).len()).max();
    let width = width.unwrap_or_default() + 1;
    for host in hosts {
        let of_host = || findings.iter().filter(|finding| &finding.host == host);
        let name = format!("{:width$}", name(host) + ":");
        let well = of_host().filter(|finding| finding.level == Level::Ok);
        let well: Vec<&str> = well
            .map(|finding| match finding.check {
                "login" => "login",
                _ => finding.text.as_str(),
            })
            .collect();
        if !well.is_empty() {
            lines.push(format!(
                "{name} {} {}",
                paint(style::GOOD, "ok:"),
                well.join("; ")
            ));
        }
        for finding in of_host().filter(|finding| finding.level != Level::Ok) {
            let label = match finding.level {
                Level::Fail => paint(style::ERROR, "failed:"),
                _ => paint(style::WARNING, "warning:"),
            };
            lines.push(format!(
                "{name} {label} {}: {}",
                finding.check,
                text::clean(&finding.text)
            ));
            if let Some(hint) = &finding.hint {
                lines.push(format!("  {} {hint}", paint(style::HINT, "hint:")));
            }
        }
    }
    lines.join("\n") + "\n"
}
