//! The command line of QEMU for one host.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::super::dirs::digest;

/// The network behind `eth0`, the same for each host: QEMU's own. It is the last of the range that
/// labs take theirs from, so that it overlaps neither these, nor Docker's default pools, nor a network
/// in which this machine has its mirror. Its third address is the name server (`-netdev user`, qemu(1)).
const WAY_OUT: &str = "198.19.255.0/24";

/// The port on a host's loopback address where its sshd answers. Not 22, which a server of this
/// machine may hold on all addresses.
pub(in crate::provider::lab) const SSH_PORT: u16 = 2222;

/// What runs the guest's processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The processor itself.
    Kvm,
    /// QEMU's translator, many times slower.
    Tcg,
}

impl Accelerator {
    /// The name in the file that remembers it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// The arguments of QEMU.
    pub(super) fn args(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// What a host's virtual machine is made from.
#[derive(Debug, Clone)]
pub(super) struct Spec<'a> {
    pub(super) name: &'a str,
    pub(super) accelerator: Accelerator,
    pub(super) image: &'a Path,
    /// The folder with its disks.
    pub(super) folder: &'a Path,
    pub(super) pid_file: &'a Path,
    pub(super) monitor: &'a Path,
    pub(super) machine_id: &'a str,
    /// The loopback address where its sshd answers.
    pub(super) login: Ipv4Addr,
    /// Its address on the lab's network.
    pub(super) address: Ipv4Addr,
    /// The multicast group that is the cable of the lab's network.
    pub(super) cable: (Ipv4Addr, u16),
    pub(super) disks: usize,
    pub(super) memory_mib: u32,
    pub(super) processors: u32,
}

impl Spec<'_> {
    /// The arguments of `qemu-system-x86_64`.
    pub(super) fn args(&self) -> Vec<String> {
        let mut args: Vec<String> = Vec::new();
        let mut add = |option: &str, value: String| args.extend([option.to_owned(), value]);
        add("-name", self.name.to_owned());
        add("-machine", "q35".to_owned());
        let [accel, accel_value, cpu, cpu_value] = self.accelerator.args();
        add(accel, accel_value.to_owned());
        add(cpu, cpu_value.to_owned());
        add("-smp", self.processors.to_string());
        add("-m", self.memory_mib.to_string());
        add("-kernel", escape(&self.image.join("vmlinuz")));
        add("-initrd", escape(&self.image.join("initrd")));
        add(
            "-append",
            format!(
                "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet systemd.show_status=0 \
                 systemd.machine_id={}",
                self.machine_id
            ),
        );
        // A cut of the power takes what the guest has not written: its own cache is gone with it. What
        // it wrote is this system's, which does not fall with QEMU, so that flushes need not wait.
        let disk = |file: &str, format: &str, more: &str| {
            let file = escape(&self.folder.join(file));
            format!("if=none,cache=unsafe,format={format},file={file}{more}")
        };
        add("-drive", disk("root.qcow2", "qcow2", ",id=root"));
        add(
            "-device",
            "virtio-blk-pci,drive=root,serial=root".to_owned(),
        );
        for number in 1..=self.disks {
            let id = format!("disk{number}");
            let file = disk_file(number);
            add(
                "-drive",
                disk(&file, "raw", &format!(",discard=unmap,id={id}")),
            );
            add("-device", format!("virtio-blk-pci,drive={id},serial={id}"));
        }
        add("-drive", disk("host.tar", "raw", ",readonly=on,id=lab"));
        add("-device", "virtio-blk-pci,drive=lab,serial=lab".to_owned());
        let [_, _, third, fourth] = self.address.octets();
        let mac = |kind: u8| format!("52:54:00:{kind:02x}:{third:02x}:{fourth:02x}");
        let login = self.login;
        add(
            "-netdev",
            format!("user,id=way,net={WAY_OUT},hostfwd=tcp:{login}:{SSH_PORT}-:22"),
        );
        add(
            "-device",
            format!("virtio-net-pci,id=nic-way,netdev=way,mac={}", mac(1)),
        );
        let (group, port) = self.cable;
        add(
            "-netdev",
            format!("socket,id=lab,mcast={group}:{port},localaddr=127.0.0.1"),
        );
        add(
            "-device",
            format!("virtio-net-pci,id=nic-lab,netdev=lab,mac={}", mac(2)),
        );
        add("-device", "virtio-rng-pci".to_owned());
        let console = escape(&self.folder.join("console.log"));
        add(
            "-chardev",
            format!("file,id=console,append=on,path={console}"),
        );
        add("-serial", "chardev:console".to_owned());
        let monitor = escape(self.monitor);
        add("-qmp", format!("unix:{monitor},server=on,wait=off"));
        add("-pidfile", self.pid_file.display().to_string());
        add("-display", "none".to_owned());
        args.extend(["-nodefaults", "-daemonize"].map(str::to_owned));
        args
    }
}

/// The file of a host's extra disk; the first is number 1.
pub(super) fn disk_file(number: usize) -> String {
    format!("disk{number}.img")
}

/// A comma ends an option of QEMU unless it is doubled.
fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// The loopback address that stands for a host's address on the lab's network. Loopback addresses
/// need no set-up, and nobody else can reach them.
pub(in crate::provider::lab) fn login_address(address: Ipv4Addr) -> Ipv4Addr {
    let [_, second, third, fourth] = address.octets();
    Ipv4Addr::new(127, second, third, fourth)
}

/// The multicast group and port that carry a lab's network, from the lab's root and cluster: of the
/// range for local use (RFC 2365), so that two labs do not hear each other.
pub(super) fn cable(root: &Path, cluster: &str) -> (Ipv4Addr, u16) {
    let name = format!("{}\0{cluster}", root.display());
    let digits = digest(name.as_bytes());
    let number = u32::from_str_radix(&digits[..8], 16).unwrap_or_default();
    let [first, second, third, fourth] = number.to_be_bytes();
    let port = 20_000 + u16::from(third) * 40 + u16::from(fourth) % 40;
    (Ipv4Addr::new(239, 192, first, second), port)
}

/// The sockets and pid files of a host: short, since a socket's path has at most 107 bytes.
pub(super) fn run_file(run: &Path, cluster: &str, host: &str, kind: &str) -> PathBuf {
    let name = format!("{cluster}\0{host}");
    run.join(format!("{}.{kind}", &digest(name.as_bytes())[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec<'a>() -> Spec<'a> {
        Spec {
            name: "skep-demo-m1",
            accelerator: Accelerator::Tcg,
            image: Path::new("/image"),
            folder: Path::new("/labs/a,b"),
            pid_file: Path::new("/run/x.pid"),
            monitor: Path::new("/run/x.qmp"),
            machine_id: "0123456789abcdef0123456789abcdef",
            login: Ipv4Addr::new(127, 18, 3, 11),
            address: Ipv4Addr::new(198, 18, 3, 11),
            cable: (Ipv4Addr::new(239, 192, 1, 2), 20_001),
            disks: 2,
            memory_mib: 1024,
            processors: 1,
        }
    }

    #[test]
    fn a_machine_has_its_disks_and_networks() {
        let args = spec().args().join(" ");
        for part in [
            "-accel tcg,thread=multi -cpu max -smp 1 -m 1024",
            "virtio-blk-pci,drive=disk2,serial=disk2",
            "file=/labs/a,,b/disk1.img",
            "hostfwd=tcp:127.18.3.11:2222-:22",
            "mcast=239.192.1.2:20001,localaddr=127.0.0.1",
            "mac=52:54:00:02:03:0b",
        ] {
            assert!(args.contains(part), "{part}: {args}");
        }
        assert!(!args.contains("disk3"));
    }

    #[test]
    fn each_address_has_a_loopback_address_and_each_lab_a_cable() {
        let address = Ipv4Addr::new(198, 19, 200, 12);
        assert_eq!(login_address(address), Ipv4Addr::new(127, 19, 200, 12));
        let root = Path::new("/var/lib/skep-lab");
        assert_eq!(cable(root, "a"), cable(root, "a"));
        assert_ne!(cable(root, "a"), cable(root, "b"));
    }
}
