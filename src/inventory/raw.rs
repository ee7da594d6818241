//! The inventory as it stands in the file: every table, key and type. Its documentation is what
//! the JSON Schema tells editors.

use super::openstack::{AntiAffinity, Floating};
use super::read::{At, Map, record};
use super::values::{
    ByteSize, Cpus, Days, Json, MemoryMib, Net, OneOrMany, Release, Timeout, Toml,
};
use super::{
    Availability, DockerSource, Filesystem, HookPlace, HostKeyCheck, LabDriver, Moment, Provider,
    Role, SecretRef,
};

record! {
    /// An inventory of skep: the machines that a Docker Swarm is made of.
    Inventory {
        /// The cluster as a whole.
        "cluster" => cluster: Cluster,
        /// How to log in to the hosts. What is not set comes from `~/.ssh/config`, then from
        /// OpenSSH's defaults.
        "ssh" => ssh: Ssh,
        /// The Docker Engine of the hosts.
        "docker" => docker: Docker,
        /// Where Docker keeps its data.
        "storage" => storage: Storage,
        /// The swarm as a whole.
        "swarm" => swarm: Swarm,
        /// Where backups go, and to whom they are encrypted.
        "backup" => backup: Backup,
        /// The hosts whose provider is `lab`: containers on this machine.
        "lab" => lab: Lab,
        /// The hosts whose provider is `openstack`: servers of a cloud.
        "openstack" => openstack: OpenStack,
        /// Folders that hosts export and mount.
        "nfs" => nfs: Nfs,
        /// What is run before and after what is done to hosts.
        "hook" => hook: Vec<At<Hook>>,
        /// How machines are switched on and off from here.
        "power" => power: Power,
        /// The way back after a shutdown.
        "start" => start: Start,
        /// Variables of all hosts, for templates.
        "vars" => vars: Map<Toml>,
        /// Groups of hosts, by name. What a group sets holds for the hosts that name it in
        /// `groups`, unless they set it themselves.
        "group" => group: Map<Group>,
        /// The hosts.
        "host" => host: Vec<At<Host>>,
    }
}

record! {
    /// The cluster as a whole.
    Cluster {
        /// The cluster's name: letters, digits, `-`, `_` and `.`.
        "name" => name: String,
        /// Where hosts come from that do not say so themselves. Default `static`.
        "provider" => provider: Provider,
    }
}

record! {
    /// How to log in.
    Ssh {
        /// The login name.
        "user" => user: String,
        /// The port.
        "port" => port: u16,
        /// The private key file, or a list of them. When given, only these are offered.
        "identity" => identity: OneOrMany,
        /// The passphrase of the private keys.
        "identity-passphrase" => identity_passphrase: SecretRef,
        /// The password for password and keyboard-interactive authentication.
        "password" => password: SecretRef,
        /// Whether to use sudo. Default `false`.
        "become" => become_root: bool,
        /// sudo's password; without it sudo must ask for none.
        "become-password" => become_password: SecretRef,
        /// The host to jump through: a host of this inventory, or `[user@]host[:port]`.
        "jump" => jump: String,
        /// The file of known host keys in place of `~/.ssh/known_hosts`.
        "known-hosts" => known_hosts: String,
        /// What to do with a host key that is not known yet: `strict` refuses it, `accept-new`
        /// learns it. A changed key is always refused. Default `strict`.
        "host-key-check" => host_key_check: HostKeyCheck,
        /// The OpenSSH client configuration to read in place of `~/.ssh/config`; an empty text
        /// reads none.
        "config" => config: String,
        /// Seconds that connecting and logging in may take. Default 20.
        "connect-timeout" => connect_timeout: u32,
    }
}

record! {
    /// The Docker Engine.
    Docker {
        /// Where it comes from: `distro` is the distribution's own package, `docker-ce` Docker's
        /// repository, `offline` a folder of package files. Default `distro`.
        "source" => source: DockerSource,
        /// The version to install and hold, or its beginning, such as `20.10`.
        "version" => version: String,
        /// The folder of `.deb` files of the source `offline`.
        "packages" => packages: String,
        /// The repository of the source `docker-ce`, in place of
        /// `https://download.docker.com/linux`.
        "repository" => repository: String,
        /// The file of the repository's signing key, in place of the one that the repository
        /// offers.
        "repository-key" => repository_key: String,
        /// Allows `tcp://` sockets without TLS, which give root on the host to anyone who can
        /// reach them. Default `false`.
        "allow-insecure-tcp" => allow_insecure_tcp: bool,
        /// Keys that `daemon.json` must have; keys that are not named stay as they are.
        "daemon" => daemon: Map<Json>,
    }
}

record! {
    /// Where Docker keeps its data: one of the three. Devices are used only when they are empty.
    Storage {
        /// A thin pool for the storage driver `devicemapper`, as Docker's manual describes it.
        /// Engine 25 and later have no such driver.
        "direct-lvm" => direct_lvm: DirectLvm,
        /// Logical volumes with a file system, for `overlay2`.
        "lvm" => lvm: Lvm,
        /// One disk or partition with a file system, for `overlay2`.
        "disk" => disk: DiskStorage,
    }
}

record! {
    /// A thin pool for the storage driver `devicemapper`.
    DirectLvm {
        /// The disk or partition, or a list of them, best by its name below `/dev/disk/by-id`; a
        /// volume of a server of a cloud as `volume:NAME`.
        "device" => device: OneOrMany,
        /// How much of the volume group is for data, in percent. Default 95.
        "data-percent" => data_percent: u8,
        /// How much of it is for metadata, in percent. Default 1.
        "metadata-percent" => metadata_percent: u8,
        /// The chunk size. Default `"512 KiB"`.
        "chunk-size" => chunk_size: ByteSize,
        /// From which use on the pool is extended, in percent. Default 80.
        "autoextend-threshold" => autoextend_threshold: u8,
        /// By how much of its size it is extended, in percent. Default 20.
        "autoextend-percent" => autoextend_percent: u8,
        /// The size that each device must have, within 1 %, such as `"200 GiB"`.
        "size" => size: ByteSize,
    }
}

record! {
    /// Logical volumes with a file system.
    Lvm {
        /// The disk or partition, or a list of them, best by its name below `/dev/disk/by-id`; a
        /// volume of a server of a cloud as `volume:NAME`.
        "device" => device: OneOrMany,
        /// The file system: `xfs` (with project quota) or `ext4`. Default `xfs`.
        "filesystem" => filesystem: Filesystem,
        /// Where it is mounted. Default `/var/lib/docker`.
        "data-root" => data_root: String,
        /// How much of the volume group is for the data root, in percent. Default: all that
        /// `containerd-percent` leaves.
        "percent" => percent: u8,
        /// How much of it is for a second volume, mounted at `/var/lib/containerd`, in percent.
        /// Default: no such volume.
        "containerd-percent" => containerd_percent: u8,
        /// The size that each device must have, within 1 %, such as `"200 GiB"`.
        "size" => size: ByteSize,
    }
}

record! {
    /// One disk or partition with a file system.
    DiskStorage {
        /// The disk or partition, best by its name below `/dev/disk/by-id`; a volume of a server of a
        /// cloud as `volume:NAME`.
        "device" => device: String,
        /// The file system: `xfs` (with project quota) or `ext4`. Default `xfs`.
        "filesystem" => filesystem: Filesystem,
        /// Where it is mounted. Default `/var/lib/docker`.
        "data-root" => data_root: String,
        /// The size that it must have, within 1 %, such as `"200 GiB"`.
        "size" => size: ByteSize,
    }
}

// The table holds as a whole, so two groups of one host that both have it contradict each other.
impl PartialEq for Storage {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

record! {
    /// How a machine is switched on and off from here: one of the four. Hosts of the lab need none.
    Power {
        /// By a packet that wakes it.
        "wake-on-lan" => wake_on_lan: WakeOnLan,
        /// By its management controller, with `ipmitool` on this machine.
        "ipmi" => ipmi: Ipmi,
        /// By its management controller, over HTTPS.
        "redfish" => redfish: Redfish,
        /// By programs of your own.
        "command" => command: PowerCommand,
    }
}

record! {
    /// A packet that wakes a machine.
    WakeOnLan {
        /// The address of its network card, such as `52:54:00:12:34:56`; a list of them for a block of
        /// several hosts, in their order.
        "mac" => mac: OneOrMany,
        /// Where the packet goes: the broadcast address of the machine's network. Default
        /// `255.255.255.255`, the network of whoever sends it.
        "broadcast" => broadcast: String,
        /// The UDP port. Default 9.
        "port" => port: u16,
        /// The host of this inventory that sends it. Default: this machine.
        "via" => via: String,
    }
}

record! {
    /// A management controller that speaks IPMI 2.0.
    Ipmi {
        /// Its address, or a range of them.
        "address" => address: String,
        /// Its UDP port. Default 623.
        "port" => port: u16,
        /// The number of the cipher suite, as `ipmitool -C` takes it, for controllers that do not agree on
        /// one by themselves. Older ones want 3.
        "cipher-suite" => cipher_suite: u8,
        /// The login name.
        "user" => user: String,
        /// The password.
        "password" => password: SecretRef,
    }
}

record! {
    /// A management controller that speaks Redfish.
    Redfish {
        /// Where it is, such as `https://10.0.1.11`, or a range of them.
        "url" => url: String,
        /// The name of the machine there, as `/redfish/v1/Systems` has it, or a range of them. Default: the
        /// only one.
        "system" => system: String,
        /// The login name.
        "user" => user: String,
        /// The password.
        "password" => password: SecretRef,
        /// A file with the certificates (PEM) of those who may vouch for the controller, and nobody else may.
        /// Default: the authorities that browsers trust.
        "ca-file" => ca_file: String,
        /// Whether any certificate will do: whoever sits in between then gets the password.
        "insecure" => insecure: bool,
    }
}

record! {
    /// Programs of your own that switch a machine on and off. They are run beside the inventory and get
    /// the host in their environment: `SKEP_HOST`, `SKEP_ADDRESS`, `SKEP_INVENTORY`.
    PowerCommand {
        /// The program that switches it on, and its arguments.
        "on" => on: Vec<At<String>>,
        /// The program that takes its power away.
        "off" => off: Vec<At<String>>,
        /// The program that prints `on` or `off`.
        "status" => status: Vec<At<String>>,
        /// How long each may take, up to a day. Default `"60s"`.
        "timeout" => timeout: Timeout,
    }
}

record! {
    /// The way back after a shutdown.
    Start {
        /// The stacks and services that come first and are waited for before all others, in this order:
        /// those that the others need, such as a registry.
        "first" => first: Vec<At<String>>,
    }
}

record! {
    /// The swarm as a whole.
    Swarm {
        /// Networks that overlay networks get their addresses from. Decided when the swarm is
        /// made, for ever.
        "default-addr-pool" => default_addr_pool: Vec<At<Net>>,
        /// The prefix length of each overlay network, up to 29. Decided when the swarm is made,
        /// for ever. Docker's default is 24.
        "subnet-size" => subnet_size: u8,
        /// The UDP port of the traffic between containers, 1024 to 49151. Decided when the swarm
        /// is made, for ever. Docker's default is 4789.
        "data-path-port" => data_path_port: u16,
        /// The network interface whose address nodes tell each other.
        "advertise-interface" => advertise_interface: String,
        /// The interface for the traffic of containers, where it differs.
        "data-path" => data_path: String,
        /// Whether managers need an unlock key after a restart.
        "autolock" => autolock: bool,
        /// The life of node certificates in days: `90` or `"90d"`. Docker's default is 90.
        "cert-expiry" => cert_expiry: Days,
        /// How many old tasks are kept for each slot. Docker's default is 5.
        "task-history" => task_history: u32,
        /// Accepts an even number of managers. Default `false`.
        "allow-even-managers" => allow_even_managers: bool,
    }
}

record! {
    /// Backups of the swarm's state.
    Backup {
        /// The directory on the machine that skep runs on; relative to the inventory. Default
        /// `backups`.
        "directory" => directory: String,
        /// The age recipients that they are encrypted to, such as
        /// `["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]`.
        "recipients" => recipients: Vec<At<String>>,
        /// How many of this swarm are kept. Default: all.
        "keep" => keep: u32,
        /// After how many days without one `skep status` warns. Default 7.
        "max-age" => max_age: Days,
        /// The manager that they are taken from. Default: one that does not lead, and runs no tasks
        /// where there is such a one.
        "host" => host: String,
    }
}

record! {
    /// The local lab.
    Lab {
        /// What its hosts are: `container` is quick, `vm` is a virtual machine with a kernel and
        /// disks of its own. Default `container`.
        "driver" => driver: LabDriver,
        /// The Debian release of the hosts: `bookworm` or `trixie`. Default `bookworm`.
        "release" => release: Release,
        /// A mirror of Debian's packages in place of the machine's own.
        "mirror" => mirror: String,
        /// The network of the lab's hosts. Default: a free one.
        "subnet" => subnet: Net,
        /// Memory of each host, such as `"2 GiB"` or `512` (MiB). Default: no limit for
        /// containers, 1 GiB for virtual machines.
        "memory" => memory: MemoryMib,
        /// Processors of each host, such as `1.5`; a virtual machine has whole ones. Default: no
        /// limit for containers, 1 for virtual machines.
        "cpus" => cpus: Cpus,
        /// The sizes of the empty disks that each virtual machine has beside its own, such as
        /// `["8 GiB"]`. The first is `/dev/disk/by-id/virtio-disk1`. Default: none.
        "disks" => disks: Vec<At<ByteSize>>,
    }
}

record! {
    /// Servers of an OpenStack cloud. `cloud`, `region`, `keypair`, `public-key`, `ssh-from`,
    /// `encrypted-overlay` and `login-timeout` hold for the cluster as a whole; the rest a group or a
    /// host may say otherwise.
    OpenStack {
        /// The cloud's name in `clouds.yaml`. Default: that of the environment (`OS_CLOUD`, else
        /// `OS_*`).
        "cloud" => cloud: String,
        /// The region, in place of the cloud's own.
        "region" => region: String,
        /// A key pair that the cloud has already, in place of one that is made.
        "keypair" => keypair: String,
        /// The file of the public key that is for the login user. Default: that beside `identity`
        /// of `[ssh]`.
        "public-key" => public_key: String,
        /// The networks that SSH is let in from. Default: all, with a warning.
        "ssh-from" => ssh_from: Vec<At<Net>>,
        /// Whether the members let in each other's ESP, which encrypted overlay networks need.
        /// Default `true`.
        "encrypted-overlay" => encrypted_overlay: bool,
        /// Seconds from a server's start to its first login, 1 to 3600. Default 600.
        "login-timeout" => login_timeout: u32,
        /// The name or ID of the image.
        "image" => image: String,
        /// Properties of the image, in place of its name: the newest that has them all.
        "image-properties" => image_properties: Map<At<String>>,
        /// The name or ID of the flavor.
        "flavor" => flavor: String,
        /// The names or IDs of the networks. The first is that of the swarm.
        "networks" => networks: Vec<At<String>>,
        /// Security groups beside the one that skep makes for the cluster: names or IDs.
        "security-groups" => security_groups: Vec<At<String>>,
        /// Which servers get a floating IP: `none`, `managers`, `workers` or `all`. Default `none`.
        "floating-ips" => floating_ips: Floating,
        /// The external network that floating IPs are from.
        "floating-network" => floating_network: String,
        /// The availability zones over which servers of one role are spread. Default: as the cloud
        /// likes.
        "availability-zones" => availability_zones: Vec<At<String>>,
        /// Whether servers of one role are kept on different machines of the cloud: `soft` as far
        /// as there are any, `hard` or not at all, `none`. Default `soft` for managers, `none` for
        /// others.
        "anti-affinity" => anti_affinity: AntiAffinity,
        /// The size of the volume that the server boots from. Default: it boots from the flavor's
        /// own disk.
        "boot-volume" => boot_volume: ByteSize,
        /// The type of that volume. Default: the cloud's own.
        "boot-volume-type" => boot_volume_type: String,
        /// More volumes, which stay when the server goes.
        "volumes" => volumes: Vec<At<OpenStackVolume>>,
        /// Metadata of the server.
        "metadata" => metadata: Map<At<String>>,
        /// The file of a template for the user-data, in place of skep's own.
        "user-data" => user_data: String,
        /// Whether the server finds its metadata on a disk too. Default `false`.
        "config-drive" => config_drive: bool,
    }
}

record! {
    /// A volume beside the one that a server boots from.
    OpenStackVolume {
        /// Its name, unique on the server.
        "name" => name: String,
        /// Its size in whole GiB.
        "size" => size: ByteSize,
        /// Its type. Default: the cloud's own.
        "type" => kind: String,
    }
}

// The list holds as a whole, so two groups of one host that both have it contradict each other.
impl PartialEq for OpenStackVolume {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

record! {
    /// A group of hosts.
    Group {
        /// The role of hosts that do not say so themselves.
        "role" => role: Role,
        /// Labels of the nodes.
        "labels" => labels: Map<At<String>>,
        /// The nodes' availability. Without it, it is left as it is.
        "availability" => availability: Availability,
        /// Variables for templates.
        "vars" => vars: Map<Toml>,
        /// Whether a run may go on without these hosts.
        "optional" => optional: bool,
        /// The sizes of the empty disks of virtual machines of the lab, such as `["8 GiB"]`.
        "disks" => disks: Vec<At<ByteSize>>,
        /// How to log in.
        "ssh" => ssh: Ssh,
        /// The Docker Engine.
        "docker" => docker: Docker,
        /// Where Docker keeps its data, in place of what the cluster says, as a whole.
        "storage" => storage: Storage,
        /// How these machines are switched on and off from here.
        "power" => power: Power,
        /// The servers of an OpenStack cloud, where they differ from what the cluster says.
        "openstack" => openstack: OpenStack,
        /// The network interface whose address the nodes tell the others.
        "advertise-interface" => advertise_interface: String,
        /// The interface for the traffic of containers, where it differs.
        "data-path" => data_path: String,
    }
}

record! {
    /// A host, or several by ranges: `name = "w[01-20]"`, `address = "10.0.0.[21-40]"`.
    Host {
        /// The name, or a range of names.
        "name" => name: String,
        /// The address to connect to, or a range of them. Of a server of a cloud: its own, on the
        /// first of its networks.
        "address" => address: String,
        /// What it is in the swarm; `none` is a host outside it.
        "role" => role: Role,
        /// Where it comes from: `static` exists already, `lab` is made on this machine, `openstack`
        /// is a server of a cloud.
        "provider" => provider: Provider,
        /// Labels of the node.
        "labels" => labels: Map<At<String>>,
        /// The groups that it is in.
        "groups" => groups: Vec<At<String>>,
        /// The node's availability. Without it, it is left as it is.
        "availability" => availability: Availability,
        /// Variables for templates.
        "vars" => vars: Map<Toml>,
        /// Whether a run may go on without it.
        "optional" => optional: bool,
        /// The sizes of the empty disks of virtual machines of the lab, such as `["8 GiB"]`.
        "disks" => disks: Vec<At<ByteSize>>,
        /// How to log in.
        "ssh" => ssh: Ssh,
        /// The Docker Engine.
        "docker" => docker: Docker,
        /// Where Docker keeps its data, in place of what its groups and the cluster say, as a
        /// whole. An empty table is none.
        "storage" => storage: Storage,
        /// How the machine is switched on and off from here. An empty table is: not at all.
        "power" => power: Power,
        /// The server of an OpenStack cloud, where it differs from what its groups and the cluster
        /// say.
        "openstack" => openstack: OpenStack,
        /// The address that it tells the other nodes, or a range of them.
        "advertise-address" => advertise_address: String,
        /// The network interface whose address it tells the others.
        "advertise-interface" => advertise_interface: String,
        /// The address (or a range of them) or interface for the traffic of containers, where it
        /// differs.
        "data-path" => data_path: String,
    }
}

record! {
    /// Folders that hosts export and mount.
    Nfs {
        /// The domain of the names of users and groups (idmapd.conf(5), `Domain`), the same on servers and
        /// clients. Default: that of the host's own name.
        "domain" => domain: String,
        /// Folders that hosts of the inventory export.
        "export" => export: Vec<At<NfsExport>>,
        /// Folders that hosts mount.
        "mount" => mount: Vec<At<NfsMount>>,
    }
}

record! {
    /// A folder that a host exports.
    NfsExport {
        /// The host of the inventory that exports it.
        "host" => host: String,
        /// The folder, an absolute path. It is made when it is not there.
        "path" => path: String,
        /// Who may mount it: networks, addresses, names, `*`.
        "clients" => clients: Vec<At<String>>,
        /// Options of exports(5). Default `rw`, `sync`, `no_subtree_check`.
        "options" => options: Vec<At<String>>,
    }
}

record! {
    /// A folder of a server that hosts mount.
    NfsMount {
        /// What to mount: `SERVER:/path`. The server is a host of the inventory or any other.
        "source" => source: String,
        /// Where to, an absolute path.
        "target" => target: String,
        /// The hosts that mount it: a selector.
        "on" => on: String,
        /// More options of nfs(5).
        "options" => options: Vec<At<String>>,
        /// Whether programs get an error when the server does not answer, in place of waiting for
        /// it. Default `false`, which never loses data.
        "soft" => soft: bool,
        /// Seconds that mounting may take, 1 to 600. Default 30.
        "timeout" => timeout: u32,
        /// Whether it is mounted when something first touches it. Default `true`.
        "automount" => automount: bool,
        /// Whether Docker starts only after it is mounted. Default `false`.
        "before-docker" => before_docker: bool,
        /// The version of the protocol, such as `"4.2"`. Default: the newest that both sides have.
        "version" => version: String,
    }
}

record! {
    /// What is run before or after something is done to a host. One that fails stops that host's
    /// path.
    Hook {
        /// What it is called, for people.
        "name" => name: String,
        /// Before or after what: `before-join`, `after-drain`, `before-upgrade` and so on.
        "when" => when: Moment,
        /// The hosts for which it is run: a selector. Default: all.
        "on" => on: String,
        /// Where it is run: `here` is the machine that skep runs on, `host` the host itself. Default
        /// `here`.
        "at" => at: HookPlace,
        /// What to run: a script for `sh -e`.
        "run" => run: String,
        /// What to run in place of `run`: a program and its arguments.
        "command" => command: Vec<At<String>>,
        /// How long it may take, up to a day: seconds, or such as `"90s"` or `"5m"`. Default `"5m"`.
        "timeout" => timeout: Timeout,
    }
}
