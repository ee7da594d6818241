//! The lab's networks: which addresses are free, and the way out for the hosts.
//!
//! The lab's engine leaves the machine's packet filter alone (`--iptables=false`), because a second
//! engine that manages it flushes the first one's chains. The three rules that a cluster needs are
//! added here, one by one, and taken away one by one.

use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::{IpNet, Ipv4Net};

use super::LabError;
use super::dirs::digest;
use crate::local::Program;

/// Where free networks are looked for: the range for tests of network devices (RFC 2544), which
/// neither Docker's default pools nor home and office networks use.
pub const POOL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);

/// The prefix length of a lab's network.
const PREFIX: u8 = 24;

/// The last number of the first host's address; those below are the gateway's and for later use.
const FIRST_HOST: u32 = 11;

/// The first network of the lab's range that overlaps none of `used`.
pub fn free_subnet(used: &[Ipv4Net]) -> Option<Ipv4Net> {
    let overlaps = |net: &Ipv4Net| {
        used.iter()
            .any(|other| net.contains(other) || other.contains(net))
    };
    POOL.subnets(PREFIX).ok()?.find(|net| !overlaps(net))
}

/// The networks that this machine reaches: of `ip -4 route show table all`. The default route is
/// none of them.
pub fn routed(routes: &str) -> Vec<Ipv4Net> {
    const KINDS: [&str; 6] = [
        "local",
        "broadcast",
        "unicast",
        "blackhole",
        "unreachable",
        "prohibit",
    ];
    routes
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| !KINDS.contains(word)))
        .filter_map(|word| {
            let address = || word.parse::<Ipv4Addr>().ok().map(Ipv4Net::from);
            word.parse::<Ipv4Net>().ok().or_else(address)
        })
        .filter(|net| net.prefix_len() > 0)
        .collect()
}

/// The gateway of a network: its first address.
pub fn gateway(net: Ipv4Net) -> Option<Ipv4Addr> {
    net.hosts().next()
}

/// The address for the host at `index` of the inventory: the one of its place, or the next that is
/// not `taken`.
pub fn address(net: Ipv4Net, index: usize, taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let base = u32::from(net.network());
    let size = 1_u32.checked_shl(u32::from(32 - net.prefix_len()))?;
    let index = u32::try_from(index).ok()?;
    // A small network of the user's own has no room to leave free.
    let first = if size > 64 { FIRST_HOST } else { 2 };
    let places = size.checked_sub(first + 1)?;
    (0..places)
        .map(|step| Ipv4Addr::from(base + first + (index + step) % places))
        .find(|address| !taken.contains(address))
}

/// The name of a cluster's bridge: at most 15 bytes, the same each time.
pub(super) fn bridge(root: &Path, cluster: &str) -> String {
    let name = format!("{}\0{cluster}", root.display());
    format!("skep{}", &digest(name.as_bytes())[..8])
}

/// The rules of a cluster: table and rule.
fn rules(net: Ipv4Net, bridge: &str) -> [(&'static str, Vec<String>); 3] {
    let rule = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    [
        (
            "nat",
            rule(&format!("POSTROUTING -s {net} ! -o {bridge} -j MASQUERADE")),
        ),
        ("filter", rule(&format!("FORWARD -i {bridge} -j ACCEPT"))),
        ("filter", rule(&format!("FORWARD -o {bridge} -j ACCEPT"))),
    ]
}

fn iptables(table: &str, action: &str, rule: &[String]) -> Program {
    Program::new("iptables")
        .args(["--wait", "20", "--table", table, action])
        .args(rule)
}

/// Adds what is missing of a cluster's rules.
pub(super) async fn open_way_out(net: Ipv4Net, bridge: &str) -> Result<(), LabError> {
    for (table, rule) in rules(net, bridge) {
        let check = iptables(table, "--check", &rule).output().await;
        let there = check.map_err(LabError::program("look at the packet filter"))?;
        if there.status == Some(0) {
            continue;
        }
        let insert = iptables(table, "--insert", &rule).run().await;
        insert.map_err(LabError::program(
            "let the lab's hosts out through this machine",
        ))?;
    }
    Ok(())
}

/// Takes a cluster's rules away.
pub(super) async fn close_way_out(net: Ipv4Net, bridge: &str) -> Result<(), LabError> {
    for (table, rule) in rules(net, bridge) {
        loop {
            let delete = iptables(table, "--delete", &rule).output().await;
            let gone =
                delete.map_err(LabError::program("take the lab's packet filter rules away"))?;
            if gone.status != Some(0) {
                break;
            }
        }
    }
    Ok(())
}

/// What this machine's routes reach now.
pub(super) async fn used() -> Result<Vec<Ipv4Net>, LabError> {
    let show = Program::new("ip").args(["-4", "route", "show", "table", "all"]);
    let output = show.run().await;
    let output = output.map_err(LabError::program("look at this machine's routes"))?;
    Ok(routed(&output.stdout))
}

/// The size of packets on the way out, from the interface of the default route.
pub(super) async fn mtu() -> Option<u32> {
    let show = Program::new("ip").args(["-4", "route", "show", "default"]);
    let output = show.output().await.ok()?;
    let mut words = output.stdout.split_whitespace();
    let interface = words.find(|&word| word == "dev").and(words.next())?;
    let path = Path::new("/sys/class/net").join(interface).join("mtu");
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Lets this machine forward packets; `mark` remembers that it did not before.
pub(super) fn start_forwarding(mark: &Path) -> Result<(), LabError> {
    let now = std::fs::read_to_string(FORWARD).map_err(LabError::file("read", FORWARD))?;
    if now.trim() != "0" {
        return Ok(());
    }
    std::fs::write(mark, "0\n").map_err(LabError::file("write", mark))?;
    std::fs::write(FORWARD, "1\n").map_err(LabError::file("write", FORWARD))
}

/// Puts forwarding back as it was before [`start_forwarding`], unless something else on this
/// machine may rely on it by now: another engine, or another bridge.
pub(super) fn stop_forwarding(mark: &Path) {
    if !mark.exists() || Path::new("/var/run/docker.sock").exists() || other_bridges() {
        return;
    }
    if std::fs::write(FORWARD, "0\n").is_ok() {
        let _ = std::fs::remove_file(mark);
    }
}

fn other_bridges() -> bool {
    let interfaces = std::fs::read_dir("/sys/class/net");
    interfaces.is_ok_and(|mut found| {
        found.any(|entry| entry.is_ok_and(|entry| entry.path().join("bridge").exists()))
    })
}

/// The network of the inventory, which must be an IPv4 one.
pub(super) fn wanted(subnet: Option<IpNet>) -> Result<Option<Ipv4Net>, LabError> {
    match subnet {
        None => Ok(None),
        Some(IpNet::V4(net)) if net.prefix_len() <= 28 => Ok(Some(net.trunc())),
        Some(net) => Err(LabError::Unfit {
            message: format!("`{net}` cannot be a lab's network"),
            hint: "Give an IPv4 network of at least 16 addresses, such as 198.18.7.0/24, or \
                   leave `subnet` out."
                .to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_network_that_nothing_reaches_is_taken() {
        assert_eq!(free_subnet(&[]), Some(net("198.18.0.0/24")));
        let used = [net("198.18.0.128/25"), net("198.18.0.0/23")];
        assert_eq!(free_subnet(&used), Some(net("198.18.2.0/24")));
        assert_eq!(free_subnet(&[net("198.18.0.0/15")]), None);
    }

    #[test]
    fn routes_are_read_without_the_default() {
        let routes = "default via 192.0.2.1 dev eth0 \n\
                      192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2 \n\
                      local 192.0.2.2 dev eth0 table local\n\
                      broadcast 192.0.2.255 dev eth0 table local\n";
        let nets = [
            net("192.0.2.0/24"),
            net("192.0.2.2/32"),
            net("192.0.2.255/32"),
        ];
        assert_eq!(routed(routes), nets);
    }

    #[test]
    fn a_hosts_address_is_that_of_its_place() {
        let lab = net("198.18.3.0/24");
        let at = |last| Some(Ipv4Addr::new(198, 18, 3, last));
        assert_eq!(address(lab, 0, &[]), at(11));
        assert_eq!(address(lab, 4, &[]), at(15));
        assert_eq!(address(lab, 4, &[Ipv4Addr::new(198, 18, 3, 15)]), at(16));
    }

    #[test]
    fn addresses_stay_inside_a_small_network_until_it_is_full() {
        let lab = net("198.18.3.0/28");
        let mut taken = Vec::new();
        while let Some(address) = address(lab, taken.len(), &taken) {
            assert!(lab.contains(&address));
            assert_ne!(Some(address), gateway(lab));
            assert_ne!(address, lab.broadcast());
            assert!(!taken.contains(&address));
            taken.push(address);
        }
        assert_eq!(taken.len(), 13);
    }

    #[test]
    fn a_bridges_name_fits_an_interface() {
        let name = bridge(Path::new("/var/lib/skep-lab"), "a-cluster-with-a-long-name");
        assert!(name.len() <= 15, "{name}");
    }

    #[test]
    fn only_an_ipv4_network_with_room_is_accepted() {
        assert!(wanted(Some("fd00::/64".parse().unwrap())).is_err());
        assert!(wanted(Some("10.0.0.0/30".parse().unwrap())).is_err());
        let asked = wanted(Some("10.9.9.5/24".parse().unwrap())).unwrap();
        assert_eq!(asked, Some(net("10.9.9.0/24")));
    }
}
