//! What a drill does on hosts of the lab, the service that it brings along to be looked at, and who
//! looks.

mod probe;
mod watch;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::fleet::Fault;

use super::Live;

pub use probe::Probe;
pub use watch::{Watch, Way};

/// How long a script of a drill may take on a host.
const SCRIPT: Duration = Duration::from_secs(30);

/// How long an engine may take to end with its tasks, and to start.
const ENGINE: Duration = Duration::from_mins(3);

/// The chain of the packet filter that holds the cuts. A boot takes it away.
const CHAIN: &str = "SKEP-DRILL";

/// The script that cuts the network between a host and some addresses.
fn part_script(from: &[Ipv4Addr]) -> String {
    let mut script = format!("set -e\n{}iptables -w 5 -N {CHAIN}\n", join_script());
    for address in from {
        let _infallible = write!(
            script,
            "iptables -w 5 -A {CHAIN} -s {address} -j DROP\niptables -w 5 -A {CHAIN} -d {address} -j DROP\n"
        );
    }
    // Docker's own rules come after these: FORWARD is for its containers' traffic.
    for chain in ["INPUT", "OUTPUT", "FORWARD"] {
        let _infallible = writeln!(script, "iptables -w 5 -I {chain} -j {CHAIN}");
    }
    script
}

/// The script that takes the cuts away, where there are any.
fn join_script() -> String {
    let mut script = format!("if iptables -w 5 -S {CHAIN} >/dev/null 2>&1; then\n");
    for chain in ["INPUT", "OUTPUT", "FORWARD"] {
        let _infallible = writeln!(
            script,
            "while iptables -w 5 -D {chain} -j {CHAIN} 2>/dev/null; do :; done"
        );
    }
    let _infallible = write!(
        script,
        "iptables -w 5 -F {CHAIN}\niptables -w 5 -X {CHAIN}\nfi\n"
    );
    script
}

/// The script that takes away all that an engine keeps. It refuses a directory that can be no data
/// root.
const EMPTY_DISK: &str = "set -e
root=$(timeout 20 docker info --format '{{.DockerRootDir}}')
case $root in /?*/?*) ;; *) echo \"the data root is '$root'\" >&2; exit 1 ;; esac
test -d \"$root/swarm\"
systemctl stop docker.socket docker.service
find \"$root\" -mindepth 1 -delete
systemctl start docker.service
";

impl Live {
    /// Cuts the network between `host` and the hosts with these addresses.
    pub(super) async fn part(&self, host: &str, from: &[Ipv4Addr]) -> Result<(), Fault> {
        let script = part_script(from);
        self.script_on(host, &script, SCRIPT).await.map(drop)
    }

    /// Mends what [`part`](Self::part) cut.
    pub(super) async fn join(&self, host: &str) -> Result<(), Fault> {
        self.script_on(host, &join_script(), SCRIPT).await.map(drop)
    }

    /// Whether the network of `host` is cut by a drill.
    pub async fn is_parted(&self, host: &str) -> Result<bool, Fault> {
        let script = format!("iptables -w 5 -S {CHAIN} >/dev/null 2>&1 && echo cut || true\n");
        let said = self.script_on(host, &script, SCRIPT).await?;
        Ok(said.trim() == "cut")
    }

    /// Takes away all that the engine of `host` keeps, and starts it again.
    pub(super) async fn empty_disk(&self, host: &str) -> Result<(), Fault> {
        self.script_on(host, EMPTY_DISK, ENGINE).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_made_anew_and_taken_away_whole() {
        let script = part_script(&[Ipv4Addr::new(198, 18, 0, 12)]);
        assert!(
            script.contains("-A SKEP-DRILL -s 198.18.0.12 -j DROP"),
            "{script}"
        );
        assert!(
            script.contains("-A SKEP-DRILL -d 198.18.0.12 -j DROP"),
            "{script}"
        );
        let (before, after) = script.split_once("-N SKEP-DRILL").unwrap();
        assert!(before.contains("-X SKEP-DRILL"), "{script}");
        for chain in ["INPUT", "OUTPUT", "FORWARD"] {
            assert!(before.contains(&format!("-D {chain} ")), "{script}");
            assert!(after.contains(&format!("-I {chain} ")), "{script}");
        }
    }
}
