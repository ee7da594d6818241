//! One host: the container that it is made as.

use std::net::Ipv4Addr;
use std::path::Path;

use super::docker::{CLUSTER_LABEL, HOST_LABEL, INVENTORY_LABEL};

/// Linux capabilities by number (`linux/capability.h`, Linux 5.9 and later).
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The capabilities that this machine cannot give, from the text of `/proc/self/status`: those that
/// the bounding set lacks and the kernel has. The engine fails to start a container that asks for
/// one of them.
pub fn capabilities_to_drop(status: &str) -> Vec<&'static str> {
    let bounding = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let Some(bounding) = bounding else {
        return Vec::new();
    };
    CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(bit, _)| bounding & (1 << bit) == 0)
        .map(|(_, &name)| name)
        .collect()
}

/// The name servers for the hosts, from `resolv.conf`; empty when one of them answers on this
/// machine only, and the engine's own server must pass questions on.
pub fn name_servers(resolv_conf: &str) -> Vec<&str> {
    let servers: Vec<_> = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .map(str::trim)
        .collect();
    if servers
        .iter()
        .any(|server| server.starts_with("127.") || *server == "::1")
    {
        return Vec::new();
    }
    servers
}

/// The name of a host's container, and of a cluster's network without a host.
pub fn container_name(cluster: &str, host: &str) -> String {
    format!("skep-{cluster}-{host}")
}

/// The name of a cluster's network.
pub fn network_name(cluster: &str) -> String {
    format!("skep-{cluster}")
}

/// The directories of a host that must not be on the container's own overlay, since overlayfs does
/// not work on overlayfs, and what the volume of each is called.
pub(super) const VOLUMES: [(&str, &str); 2] = [
    ("/var/lib/docker", "docker"),
    ("/var/lib/containerd", "containerd"),
];

/// What a host's container is made from.
#[derive(Debug, Clone)]
pub(super) struct Spec<'a> {
    pub(super) cluster: &'a str,
    pub(super) host: &'a str,
    pub(super) inventory: &'a Path,
    pub(super) image: &'a str,
    pub(super) address: Ipv4Addr,
    /// The other hosts and their addresses.
    pub(super) neighbours: &'a [(String, Ipv4Addr)],
    /// A `resolv.conf` to give to the host.
    pub(super) resolv_conf: Option<&'a Path>,
    pub(super) drop: &'a [&'static str],
    pub(super) memory_mib: Option<u32>,
    pub(super) cpu_percent: Option<u32>,
}

impl Spec<'_> {
    /// The arguments of `docker` that make the container.
    pub(super) fn create(&self) -> Vec<String> {
        let name = container_name(self.cluster, self.host);
        let mut args: Vec<String> = ["container", "create", "--pull=never", "--cgroupns=private"]
            .map(str::to_owned)
            .to_vec();
        let mut add = |option: &str, value: &str| args.push(format!("--{option}={value}"));
        add("name", &name);
        add("hostname", self.host);
        add("network", &network_name(self.cluster));
        add("ip", &self.address.to_string());
        add("label", &format!("{CLUSTER_LABEL}={}", self.cluster));
        add("label", &format!("{HOST_LABEL}={}", self.host));
        add(
            "label",
            &format!("{INVENTORY_LABEL}={}", self.inventory.display()),
        );
        // Not `--privileged`: it asks for capabilities that a machine may not have to give.
        add("cap-add", "ALL");
        for capability in self.drop {
            add("cap-drop", capability);
        }
        for option in ["seccomp", "apparmor", "systempaths"] {
            add("security-opt", &format!("{option}=unconfined"));
        }
        add("device-cgroup-rule", "a *:* rwm");
        add("pids-limit", "-1");
        // What asks systemd to shut down.
        add("stop-signal", "SIGRTMIN+3");
        add("tmpfs", "/run");
        add("tmpfs", "/run/lock");
        for (path, kind) in VOLUMES {
            add("volume", &format!("{name}-{kind}:{path}"));
        }
        for (host, address) in self.neighbours {
            add("add-host", &format!("{host}:{address}"));
        }
        if let Some(path) = self.resolv_conf {
            let source = path.display();
            add("volume", &format!("{source}:/etc/resolv.conf:ro"));
        }
        if let Some(mib) = self.memory_mib {
            add("memory", &format!("{mib}m"));
            // As much again would be swap.
            add("memory-swap", &format!("{mib}m"));
        }
        if let Some(percent) = self.cpu_percent {
            add("cpus", &format!("{}.{:02}", percent / 100, percent % 100));
        }
        args.push(self.image.to_owned());
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_machine_lacks_is_dropped() {
        let status = |bits: &str| format!("Name:\tskep\nCapBnd:\t{bits}\nCapAmb:\t0\n");
        let lacks = capabilities_to_drop(&status("000001fffeffffff"));
        assert_eq!(lacks, ["SYS_RESOURCE"]);
        assert!(capabilities_to_drop(&status("000001ffffffffff")).is_empty());
        assert!(capabilities_to_drop("").is_empty());
        let container = capabilities_to_drop(&status("00000000a80425fb"));
        assert!(container.contains(&"SYS_ADMIN") && !container.contains(&"CHOWN"));
    }

    #[test]
    fn name_servers_of_this_machine_alone_are_not_given_to_hosts() {
        assert_eq!(
            name_servers("search x\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n"),
            ["192.0.2.53", "192.0.2.54"]
        );
        assert!(name_servers("nameserver 127.0.0.53\n").is_empty());
        assert!(name_servers("").is_empty());
    }

    #[test]
    fn a_host_is_made_with_all_that_it_needs() {
        let spec = Spec {
            cluster: "demo",
            host: "m1",
            inventory: Path::new("/etc/skep.toml"),
            image: "skep-lab:bookworm-abc",
            address: Ipv4Addr::new(198, 18, 0, 11),
            neighbours: &[("m2".to_owned(), Ipv4Addr::new(198, 18, 0, 12))],
            resolv_conf: None,
            drop: &["SYS_RESOURCE"],
            memory_mib: Some(512),
            cpu_percent: Some(150),
        };
        let args = spec.create();
        for wanted in [
            "--name=skep-demo-m1",
            "--hostname=m1",
            "--network=skep-demo",
            "--ip=198.18.0.11",
            "--label=skep.cluster=demo",
            "--cap-drop=SYS_RESOURCE",
            "--volume=skep-demo-m1-docker:/var/lib/docker",
            "--add-host=m2:198.18.0.12",
            "--memory=512m",
            "--cpus=1.50",
        ] {
            assert!(args.iter().any(|arg| arg == wanted), "{wanted}: {args:?}");
        }
        assert_eq!(args.last().unwrap(), "skep-lab:bookworm-abc");
        assert!(!args.iter().any(|arg| arg.contains("privileged")));
    }
}
