//! The one script that asks a host everything.

mod storage;

use std::fmt::Write as _;
use std::time::Duration;

use super::frame;
use super::{Probe, Probes};
use crate::shell;

/// How long a host may take over the whole script before the caller gives up: longer than the
/// deadlines of all sections together, each of which is rarely reached.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Files larger than this are described and not read.
const FILE_LIMIT: u64 = 256 * 1024;

/// How long a test of a playbook may take, in seconds.
const TEST_SECONDS: u32 = 10;

/// How long all but the engine may take, in seconds, where [`limited`] says nothing else. A question that
/// hangs where no deadline reaches it costs those after it, and not the engine's answer.
const LIMIT: u32 = 45;

/// Waits for all but the engine.
const WAIT: &str = r#"rest=${SKEP_LIMIT:-@LIMIT@}0
while kill -0 $asked && [ "$rest" -gt 0 ]; do
  sleep 0.2 || { sleep 1; rest=$((rest - 8)); }
  rest=$((rest - 2))
done
kill -9 $asked
"#;

/// What every script begins with: markers, deadlines, and a guard against network file systems.
const PRELUDE: &str = include_str!("prelude.sh");

/// The Docker section, which runs beside the others because a hung daemon makes it slow.
const DOCKER: &str = include_str!("docker.sh");

/// What follows it: the certificates of a node, the digests of a swarm's secrets.
const SECRETS: &str = include_str!("secrets.sh");

/// How mounts are asked, beside everything else, because a dead server makes it slow.
const MOUNTS: &str = include_str!("mounts.sh");

/// Makes the script that answers `probes`, for any POSIX `sh` on its standard input.
///
/// `nonce` must not be guessable by the content of any file on the host; only its letters and
/// digits count. The script changes nothing on the host and reads nothing from its own input
/// beyond itself. It is one function that the last line calls, so that a script that arrives cut
/// short does nothing.
pub fn script(probes: &Probes, nonce: &str) -> String {
    let mut body = String::new();
    for section in sections(probes) {
        body.push_str(&section);
    }
    let docker = probes.contains(&Probe::Docker);
    let more = probes.iter().filter_map(|probe| match probe {
        Probe::Certificates => Some("certificates_section"),
        Probe::SwarmSecrets => Some("secrets_section"),
        _ => None,
    });
    let nonce = frame::clean(nonce);
    let mut out = String::with_capacity(body.len() + PRELUDE.len() + DOCKER.len());
    out.push_str("skep_facts() {\n");
    let _ = writeln!(out, "N={nonce}");
    out.push_str(PRELUDE);
    if docker {
        if probes.contains(&Probe::Services) {
            out.push_str("services=1\n");
        }
        if probes.contains(&Probe::Ingress) {
            out.push_str("ingress=1\n");
        }
        out.push_str(DOCKER);
        let mut asks = "docker_section".to_owned();
        if more.clone().next().is_some() {
            out.push_str(SECRETS);
            asks.extend(more.map(|section| format!("; {section}")));
        }
        out.push_str("{\n");
        out.push_str(&body);
        out.push_str(LEFTOVERS);
        let _ = writeln!(
            out,
            "}} &\nasked=$!\nanswer=$({asks})\n{}printf '%s\\n' \"$answer\"",
            WAIT.replace("@LIMIT@", &LIMIT.to_string())
        );
    } else {
        out.push_str(&body);
    }
    // All that a shell says itself goes there too, such as that it has killed something.
    out.push_str("}\nexec 2>/dev/null\nskep_facts </dev/null\nexit 0\n");
    out
}

/// The same script for a caller who gives up after `deadline`: what was answered until shortly before
/// that is printed by then.
pub fn limited(script: &str, deadline: Duration) -> String {
    let limit = u64::from(LIMIT).min(deadline.as_secs().saturating_sub(3).max(1));
    format!("SKEP_LIMIT={limit}\n{script}")
}

/// The sections in order, without Docker's.
fn sections(probes: &Probes) -> Vec<String> {
    let mut sections = Vec::new();
    let mut packages = Vec::new();
    let mut files = Vec::new();
    let mut units = Vec::new();
    let mut sysctls = Vec::new();
    let mut modules = Vec::new();
    let mut mounts = Vec::new();
    let (mut users, mut tests) = (0, 0);
    let mut storage = storage::Sections::default();
    for probe in probes {
        match probe {
            Probe::BlockDevice(path) => storage.device(path),
            Probe::Lvm => storage.lvm(),
            Probe::Directory(path) => storage.directory(path),
            Probe::DropIns(unit) => storage.drop_ins(unit),
            Probe::Candidate(package) => storage.candidate(package),
            Probe::Os => sections.push(OS.to_owned()),
            Probe::Identity => sections.push(IDENTITY.to_owned()),
            Probe::Clock => sections.push("begin clock; date +%s.%N; end clock $?\n".to_owned()),
            Probe::Network => sections.push(NETWORK.to_owned()),
            Probe::Disks => sections.push(DISKS.to_owned()),
            Probe::Busy => sections.push(BUSY.to_owned()),
            Probe::AptSources => sections.push(APT.to_owned()),
            Probe::Package(name) => packages.push(name.as_str()),
            Probe::File(path) => files.push(path.as_str()),
            Probe::Unit(name) => units.push(name.as_str()),
            Probe::Sysctl(name) => sysctls.push(sysctl_path(name)),
            Probe::Module(name) => modules.push(name.replace('-', "_")),
            Probe::Raft => sections.push(RAFT.to_owned()),
            // The Docker section asks for these too.
            Probe::Docker
            | Probe::Services
            | Probe::Ingress
            | Probe::Certificates
            | Probe::SwarmSecrets => {}
            Probe::MountUnits => sections.push(mount_units()),
            Probe::User(name) => {
                sections.push(
                    USER.replace("@NAME@", &shell::quote(name))
                        .replace("@INDEX@", &users.to_string()),
                );
                users += 1;
            }
            Probe::Test(text) => {
                // Its own shell, with its own deadline: nothing that it says is an answer.
                sections.push(format!(
                    "begin test{tests}; guard {TEST_SECONDS} sh -c {} >/dev/null; printf '%s\\n' $?; end test{tests} 0\n",
                    shell::quote(text)
                ));
                tests += 1;
            }
            Probe::Mount {
                target,
                server,
                port,
            } => mounts.push(format!(
                "{} {} {port}",
                shell::quote(target),
                shell::quote(server)
            )),
        }
    }
    if !mounts.is_empty() {
        let ask = mounts.iter().map(|words| format!("mount_ask {words}\n"));
        let ask: Vec<String> = ask.collect();
        sections.insert(0, format!("{MOUNTS}{}", ask.concat()));
    }
    if !packages.is_empty() {
        sections.push(PACKAGES.replace("@NAMES@", &shell::join(packages)));
    }
    if !units.is_empty() {
        sections.push(format!(
            "begin units\nguard 5 systemctl show --no-pager -p LoadState -p ActiveState \
             -p UnitFileState -p NeedDaemonReload -- {}\nend units $?\n",
            shell::join(units)
        ));
    }
    if !sysctls.is_empty() {
        let names = shell::join(sysctls.iter().map(String::as_str));
        sections.push(SYSCTLS.replace("@NAMES@", &names));
    }
    if !modules.is_empty() {
        let names = shell::join(modules.iter().map(String::as_str));
        sections.push(MODULES.replace("@NAMES@", &names));
    }
    sections.extend(storage.sections());
    // In the order of the set, so that the parser knows each file by its number.
    for (index, path) in files.iter().enumerate() {
        sections.push(format!(
            "read_file file{index} {} {FILE_LIMIT}\n",
            shell::quote(path)
        ));
    }
    // Last, so that servers have had all the time that the others took.
    for (index, words) in mounts.iter().enumerate() {
        sections.push(format!("mount_tell {index} {words}\n"));
    }
    sections
}

fn mount_units() -> String {
    format!(
        "begin mountunits\nfolder=/etc/systemd/system\n\
         grep -lsxF {} $folder/*.mount $folder/*.automount\n\
         code=0\n{{ [ -r $folder ] && [ -x $folder ]; }} || {{ missing $folder/x; code=$?; }}\n\
         end mountunits $code\n",
        shell::quote(super::UNIT_MARK)
    )
}

/// The path below `/proc/sys` of a dotted name. A slash in the name stands for a dot in a part, as
/// in `net.ipv4.conf.eth0/100.forwarding` (sysctl(8)).
pub(super) fn sysctl_path(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect()
}

const OS: &str = r#"begin os
if [ -r /etc/os-release ]; then cat /etc/os-release; else cat /usr/lib/os-release; fi
set -- $(uname -r) $(uname -m)
arch=$(dpkg --print-architecture) || arch=$2
printf '\nskep_kernel=%s\nskep_arch=%s\n' "$1" "$arch"
[ -d /run/systemd/system ] && printf 'skep_systemd=1\n'
printf 'skep_cpus=%s\n' "$(nproc || getconf _NPROCESSORS_ONLN)"
while read -r key value unit; do
  [ "$key" = MemTotal: ] && { printf 'skep_memory=%s\n' "$value"; break; }
done </proc/meminfo
end os 0
"#;

const IDENTITY: &str = r#"begin identity
for file in /proc/sys/kernel/hostname /etc/machine-id /proc/sys/kernel/random/boot_id; do
  line=
  [ -r "$file" ] && IFS= read -r line <"$file"
  printf '%s\n' "$line"
done
end identity 0
"#;

const NETWORK: &str = r#"begin mtu
for file in /sys/class/net/*/mtu; do
  name=${file%/mtu}
  IFS= read -r line <"$file" && printf '%s %s\n' "${name##*/}" "$line"
done
end mtu 0
begin addresses; guard 5 ip -o addr show; end addresses $?
begin routes; { guard 5 ip -4 route show && guard 5 ip -6 route show; }; end routes $?
# Asks the routing table alone: nothing is sent. 192.0.2.1 is an address for documentation (RFC 5737).
begin source; guard 5 ip -4 route get 192.0.2.1; end source $?
"#;

const DISKS: &str = r#"begin mounts
grep -vE ' (/var/lib/docker/|/run/|/sys/|/proc/|/dev/)' /proc/mounts
end mounts $?
begin disks
for path in / /var/lib /var/cache /tmp; do
  if [ ! -d "$path" ] || remote "$path"; then continue; fi
  printf '%s ' "$path"
  guard 5 df -Pk "$path" | { read -r line; read -r line; printf '%s\n' "$line"; }
done
end disks 0
"#;

// The lock is tried shared, so that two who ask at once do not see each other.
const BUSY: &str = r"begin busy
code=0
if [ -e /run/skep/step.lock ]; then
  flock -s -n /run/skep/step.lock true
  code=$?
  [ $code = 1 ] && cat /run/skep/step
else
  missing /run/skep/step.lock
  code=$?
fi
end busy $code
";

const APT: &str = r#"if [ -d /etc/apt ]; then
  index=0
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    if [ ! -r "$file" ]; then index=unreadable; break; fi
    begin "apt$index"; printf '%s\n' "$file"; cat "$file"; end "apt$index" $?
    index=$((index + 1))
  done
  begin apt; printf '%s\n' "$index"; end apt 0
else
  begin apt; end apt 10
fi
"#;

// Another package manager's query goes here, with a section of its own.
const PACKAGES: &str = r"begin packages
if command -v dpkg-query >/dev/null; then
  guard 10 dpkg-query -W -f '${Package}\t${Version}\t${db:Status-Want}\t${db:Status-Eflag}\t${db:Status-Status}\n' @NAMES@
  code=$?
else
  code=10
fi
end packages $code
";

// One `grep` reads them all: dash's own `read` takes one byte at a time, and the kernel gives no
// more than the first byte of a number that way.
const SYSCTLS: &str = r#"begin sysctls
set --
for name in @NAMES@; do
  if [ -e "/proc/sys/$name" ]; then set -- "$@" "/proc/sys/$name"; else printf 'absent:%s\n' "$name"; fi
done
grep -s '' /dev/null "$@"
end sysctls 0
"#;

// A module that is built in and has no parameters is not in `/sys/module`. Where the kernel's list
// is missing, as in containers, only what the kernel shows of itself can be told.
const MODULES: &str = r#"begin modules
release=
IFS= read -r release </proc/sys/kernel/osrelease
folder=/lib/modules/$release
for name in @NAMES@; do
  answer=unknown
  if [ -d "/sys/module/$name" ]; then answer=loaded
  else
    case $name in
      br_netfilter) [ -d /proc/sys/net/bridge ] && answer=loaded ;;
      ip_vs) [ -e /proc/net/ip_vs ] && answer=loaded ;;
      *) grep -qE "[[:space:]]$name\$" /proc/filesystems && answer=loaded ;;
    esac
  fi
  if [ $answer = unknown ] && [ -r "$folder/modules.builtin" ]; then
    pattern=$(printf '%s' "$name" | sed 's/_/[-_]/g')
    if grep -qE "/$pattern\.ko" "$folder/modules.builtin"; then answer=loaded
    elif [ ! -r "$folder/modules.dep" ]; then :
    elif grep -qE "^[^:]*/$pattern\.ko[^:]*:" "$folder/modules.dep"; then answer=loadable
    else answer=absent; fi
  fi
  printf '%s\n' $answer
done
end modules 0
"#;

// `getent` ends with 2 where there is no such user.
const USER: &str = "begin user@INDEX@
code=0
guard 5 getent passwd @NAME@
case $? in
  0) guard 5 id -nG -- @NAME@; code=$? ;;
  2) code=10 ;;
  *) code=3 ;;
esac
end user@INDEX@ $code
";

const LEFTOVERS: &str = r#"begin leftovers
holds() {
  for entry in "$@"; do
    [ -e "$entry" ] && { printf 'data=1\n'; break; }
  done
}
root=
[ -r /etc/docker/daemon.json ] && root=$(sed -n 's/.*"\(data-root\|graph\)"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\2/p' /etc/docker/daemon.json)
root=${root:-/var/lib/docker}
printf 'root=%s\n' "$root"
code=0
if remote "$root"; then code=11
elif [ ! -d "$root" ]; then missing "$root"; code=$?
elif [ ! -r "$root" ] || [ ! -x "$root" ]; then code=12
else
  if [ -e "$root/swarm/docker-state.json" ]; then
    printf 'swarm=1\n'
    sed -n 's/.*"RemoteAddr":"\([^"]\{1,\}\)".*/joined-at=\1/p' "$root/swarm/docker-state.json"
  fi
  # What is in the folder of a volume may be mounted from a server that is gone.
  holds "$root"/image/*/imagedb/content/sha256/* "$root"/containers/* "$root"/volumes/*/
fi
# A fresh engine from 29 on keeps its images in containerd's store.
store=/var/lib/containerd
if [ $code = 0 ] && [ -d $store ] && ! remote $store; then
  holds $store/io.containerd.content.v1.content/blobs/*/* $store/io.containerd.snapshotter.v1.*/snapshots/*
fi
end leftovers $code
"#;

// What raft calls "logterm" and "index" are those of the last entry in the log. A manager without a
// leader asks for votes every 10 to 20 s; what it said in an election long ago is not asked for.
const RAFT: &str = r#"begin raft
root=
[ -r /etc/docker/daemon.json ] && root=$(sed -n 's/.*"\(data-root\|graph\)"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\2/p' /etc/docker/daemon.json)
folder=${root:-/var/lib/docker}/swarm/raft
code=0
if remote "$folder"; then code=11
elif [ ! -d "$folder" ]; then missing "$folder"; code=$?
elif [ ! -r "$folder" ] || [ ! -x "$folder" ]; then code=12
else
  for file in "$folder"/snap*/*.snap "$folder"/wal*/*.wal; do
    [ -e "$file" ] && printf '%s\n' "${file##*/}"
  done
  grep -q ENCRYPTED "${folder%/raft}/certificates/swarm-node.key" 2>/dev/null && echo sealed
  guard 5 journalctl -q -u docker.service --no-pager -o cat --since=-60s | grep ' sent Msg[A-Za-z]*Vote ' | tail -n 1
fi
end raft $code
"#;
