//! Renders steps as shell scripts: pure, so that what a person confirms can be read and tested.
//!
//! Every script is POSIX `sh`, safe to run again after being killed at any point, and takes the
//! host's step lock first, so that a step left running by a lost skep and the step of a new one
//! never overlap.

mod backup;
mod engine;
mod host;
mod nfs;
mod recover;
mod storage;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;

use super::shutdown::ShutdownStep;
use super::step::{PackageSpec, ServiceAction, Step};
use crate::resource::HOLD_MARKER;
use crate::shell;

pub(crate) use storage::claim_path;

/// Another skep's step holds the host's step lock, and did not let go in time (`EX_TEMPFAIL`).
pub const LOCKED: u8 = 75;
/// No source of the host has the wanted version of a package.
pub const NO_VERSION: u8 = 76;
/// Another package manager holds the lock of APT or dpkg, and did not let go in time.
pub const PACKAGES_LOCKED: u8 = 77;
/// What was fetched is no PGP key.
pub const NOT_A_KEY: u8 = 78;
/// Nothing that can fetch a URL is installed.
pub const NO_FETCHER: u8 = 79;
/// The place to move a file aside to is taken by something else.
pub const ASIDE_TAKEN: u8 = 80;
/// A disk, directory or volume group is not what the plan saw, so that nothing was written.
pub const NOT_AS_SEEN: u8 = 90;
/// The engine did not take a configuration, and has its former one again.
pub const ROLLED_BACK: u8 = 81;
/// The engine does not come up, with the former configuration neither or for want of one.
pub const ENGINE_DOWN: u8 = 82;

/// How long a script waits for the step lock before it gives up, in seconds.
const LOCK_WAIT: u32 = 600;
/// How long a script waits for APT's and dpkg's locks, in seconds. A first boot's cloud-init and
/// unattended upgrade hold them for minutes.
const PACKAGES_WAIT: u32 = 900;

/// A step as a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The script, for `sh` on its standard input.
    pub text: String,
    /// How long it may take before the caller gives up.
    pub deadline: Duration,
    /// Whether it needs root.
    pub needs_root: bool,
}

/// The script of `step`; `None` for steps that are no business of a shell's.
pub fn script(step: &Step) -> Option<Script> {
    let (body, seconds) = match step {
        Step::WriteFile {
            path,
            content,
            mode,
        } => (write_file(path, content, *mode), 60),
        Step::MoveAside { path } => (move_aside(path), 30),
        Step::RemoveFile { path } => (format!("rm -f -- {}\n", shell::quote(path)), 30),
        Step::RefreshPackages => (
            format!("{APT}wait_apt\napt update || {{ wait_apt; apt update; }}\n"),
            600,
        ),
        Step::InstallPackages { packages } => (install(packages), 1800),
        Step::RepairPackages => (format!("{APT}wait_apt\nrepair\n"), 1800),
        Step::InstallPackageFiles { folder } => (install_files(folder), 1800),
        Step::FetchPackages { packages } => (fetch(packages), 1800),
        Step::UpgradeEngine {
            packages,
            folder,
            hold,
        } => (upgrade(packages, folder.as_deref(), *hold), 1800),
        Step::HoldPackages { packages } => (
            format!(
                "{APT}wait_apt\napt-mark hold {} >/dev/null\n",
                shell::join(packages.iter().map(String::as_str))
            ),
            60,
        ),
        Step::FetchKey { url, path } => (fetch_key(url, path), 120),
        Step::LoadModules { modules } => (load_modules(modules), 60),
        Step::SetSysctls { values } => (set_sysctls(values), 30),
        Step::ValidateDaemonConfig { content } => (validate(content), 60),
        Step::RestartEngine => (engine::restart(), engine::SECONDS),
        Step::ReloadEngine => (engine::reload(), engine::SECONDS),
        Step::SettleRestart => (engine::settle(), 30),
        Step::Service { unit, action } => (service(unit, *action), 240),
        Step::Nfs(step) => nfs::body(step),
        Step::CopySwarmState { id } => recover::copy(id),
        Step::Storage(call) => storage::body(call),
        Step::Backup(call) => backup::body(call)?,
        Step::Host(call) => host::body(call)?,
        Step::Shutdown(ShutdownStep::Release {
            target,
            automount,
            force,
        }) => nfs::release(target, automount.as_deref(), *force),
        Step::Try { step, .. } => return script(step),
        Step::Docker(_)
        | Step::Rotate(_)
        | Step::Shutdown(_)
        | Step::PowerOff { .. }
        | Step::Wait { .. }
        | Step::Lab(_)
        | Step::Cloud(_)
        | Step::Power(_)
        | Step::Start(_)
        | Step::Upload { .. }
        | Step::Reboot { .. }
        | Step::Pause { .. } => return None,
        // A hook is the user's own, and has its deadline to itself: it waits for no step.
        Step::Hook(hook) => return Some(hook.script()),
    };
    // Waiting for the locks is the scripts' own business, with messages of their own.
    let apt = if body.starts_with(APT) {
        PACKAGES_WAIT
    } else {
        0
    };
    let deadline = Duration::from_secs(u64::from(seconds + LOCK_WAIT + apt));
    Some(Script {
        text: wrap(step, &body),
        deadline,
        needs_root: true,
    })
}

/// The script that writes a file whose content is no part of its step, since it holds secrets.
pub(crate) fn file_script(
    step: &Step,
    path: &str,
    content: &str,
    mode: u32,
    owner: &str,
) -> Script {
    let body = host::put_file(path, content, mode, owner);
    Script {
        text: wrap(step, &body),
        deadline: Duration::from_secs(u64::from(60 + LOCK_WAIT)),
        needs_root: true,
    }
}

/// What to do about a step's script that ended with `status`.
pub fn explain(step: &Step, status: u8, stderr: &str) -> Option<String> {
    if matches!(step, Step::Hook(_)) {
        // What its statuses mean is its owner's to know.
        return None;
    }
    let hint = match status {
        LOCKED => "Wait until the other run's step has ended, then run the command again. \
                   `/run/skep/step` on the host says what it does."
            .to_owned(),
        NO_VERSION => "Choose one of the versions listed, or leave `version` out to take the \
                       newest one."
            .to_owned(),
        PACKAGES_LOCKED => "Wait until the other package manager has ended (often cloud-init or \
                            unattended-upgrades after a boot), then run the command again."
            .to_owned(),
        NOT_A_KEY => "Check `repository` in the inventory, and whether a proxy answers in its \
                      place. `repository-key` brings a key file of your own."
            .to_owned(),
        NO_FETCHER => {
            "Install `curl` on the host, or name a file with `repository-key`.".to_owned()
        }
        ASIDE_TAKEN => {
            "Look at both files on the host and remove the one that is not needed.".to_owned()
        }
        NOT_AS_SEEN => "Look at the host's disks (`lsblk`, `wipefs -n`); `skep plan` tells how \
                        they are now and what to do."
            .to_owned(),
        ROLLED_BACK => "The host has its former `/etc/docker/daemon.json` again, and its engine \
                        works with it. Correct `[docker.daemon]`, then run the command again."
            .to_owned(),
        ENGINE_DOWN => {
            "Look at `journalctl -u docker.service` and at `/etc/docker/daemon.json` on \
                        the host."
                .to_owned()
        }
        // The shell's own statuses.
        126 | 127 => {
            "A program that the step needs is not on the host; the last line names it.".to_owned()
        }
        137 | 143 => "Something ended the step from outside; the host may be short of memory. \
                      Running the command again goes on from where things are."
            .to_owned(),
        _ => match (step, nfs::explain(status)) {
            (Step::Nfs(_), Some(hint)) => hint.to_owned(),
            _ => match (step, recover::explain(status)) {
                (Step::CopySwarmState { .. }, Some(hint)) => hint.to_owned(),
                _ => return explain_text(step, stderr),
            },
        },
    };
    Some(hint)
}

fn explain_text(step: &Step, stderr: &str) -> Option<String> {
    let has = |text: &str| stderr.contains(text);
    let packages = matches!(
        step,
        Step::RefreshPackages
            | Step::InstallPackages { .. }
            | Step::FetchPackages { .. }
            | Step::UpgradeEngine { .. }
            | Step::InstallPackageFiles { .. }
            | Step::RepairPackages
    );
    let hint = if has("No space left on device") {
        "Free some space on the host, then run the command again."
    } else if has("Read-only file system") {
        "A file system of the host is mounted read-only; look at its kernel's messages."
    } else if packages && has("Conflicting values set for option Signed-By") {
        "The same repository is listed twice with different keys; remove the older list."
    } else if packages && (has("NO_PUBKEY") || has("is not signed")) {
        "The package repository is not signed by the key that the host has for it. For Docker's \
         repository, `repository-key` names the file of the right key."
    } else if packages && (has("not valid yet") || has("invalid for another")) {
        "The host's clock is wrong; set it right first."
    } else if packages && (has("Temporary failure resolving") || has("Could not connect")) {
        "The host cannot reach its package mirror; check its network, DNS and proxy."
    } else if packages && has("Could not get lock") {
        "Another package manager came between; run the command again."
    } else if matches!(step, Step::InstallPackageFiles { .. })
        && (has("unmet dependencies") || has("Unable to fetch some archives"))
    {
        "The folder of `packages` lacks a package that others in it need. On a fresh machine of \
         the same release, `apt-get install --download-only` fetches all of them."
    } else if matches!(step, Step::ValidateDaemonConfig { .. }) {
        "The engine refuses this configuration, so nothing of it was written. Correct \
         `[docker.daemon]`, or the host's own `/etc/docker/daemon.json`."
    } else if packages && has("remove is disabled") {
        "A package of the host conflicts with the engine's, and skep removes nothing by itself. \
         Remove it on the host if it is not needed."
    } else if packages && has("Unable to locate package") {
        "The host's package sources do not have the package; check its distribution and sources."
    } else if packages && has("dpkg --configure -a") {
        "An earlier installation was interrupted; run the command again, which repairs it first."
    } else {
        return None;
    };
    Some(hint.to_owned())
}

/// Puts a body under the step lock. The whole is one function that the last line calls, so that a
/// script that arrives cut short does nothing.
fn wrap(step: &Step, body: &str) -> String {
    let title = shell::quote(&step.to_string());
    format!(
        "skep_step() {{\n{PRELUDE}take_lock {LOCK_WAIT} {title}\n{body}}}\n\
         skep_step </dev/null\nexit $?\n"
    )
}

// The lock is an open file's: the kernel frees it when the last process of the step is gone,
// however it ended, so there is no stale lock. A daemon that the step starts must not inherit it:
// services are started by systemd, and package scripts get the descriptor closed.
const PRELUDE: &str = r#"set -eu
umask 022
LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
say() { printf '%s\n' "$*"; }
fail() { code=$1; shift; printf '%s\n' "$*" >&2; exit "$code"; }
take_lock() {
  mkdir -p /run/skep
  chmod 700 /run/skep
  exec 9>>/run/skep/step.lock
  if ! flock -n 9; then
    say "waiting for another run's step: $(cat /run/skep/step 2>/dev/null || :)"
    flock -w "$1" 9 || fail 75 "another run's step still works on this host after $1 s: $(cat /run/skep/step 2>/dev/null || :)"
  fi
  printf '%s, since %s\n' "$2" "$(date -u '+%Y-%m-%d %H:%M:%S UTC')" >/run/skep/step
}
# Puts standard input in place of a file: the old content or the new one, never a part.
# Its temporary name is always the same, so that a killed run leaves no litter.
replace() {
  target=$1
  # A link stays a link: what it points to is replaced.
  if [ -L "$target" ]; then target=$(readlink -f "$target"); fi
  case $target in */*) mkdir -p "${target%/*}" ;; esac
  fresh=${target%/*}/.${target##*/}.skep-new
  rm -f "$fresh"
  (umask 077; cat >"$fresh")
  # The pipe does not tell whether its other end failed.
  if [ -n "${3:-}" ] && [ "$(wc -c <"$fresh" | tr -d ' ')" != "$3" ]; then
    rm -f "$fresh"
    fail 1 "the content of $target did not arrive whole"
  fi
  chown "${4:-0:0}" "$fresh"
  chmod "$2" "$fresh"
  sync "$fresh" 2>/dev/null || sync
  if command -v restorecon >/dev/null 2>&1; then
    # The label belongs to the name, and the new file has another name until it is moved.
    label=$(matchpathcon -n "$target" 2>/dev/null || :)
    if [ -n "$label" ]; then chcon "$label" "$fresh" 2>/dev/null || :; fi
  fi
  mv -f "$fresh" "$target"
  sync "${target%/*}/" 2>/dev/null || :
  if command -v restorecon >/dev/null 2>&1; then restorecon "$target" 2>/dev/null || :; fi
}
# Takes the passwords out of addresses such as http://user:password@proxy.
hide() { sed 's#://\([^/@: "]*\):[^/ "]*@#://\1:***@#g'; }
decode() { if command -v base64 >/dev/null; then base64 -d; else openssl base64 -d; fi; }
"#;

/// What the steps of APT share. It must be the beginning of their bodies.
// Recommended packages are left out: those of `docker.io` (apparmor, criu, git, ...) are nothing
// that a swarm needs, and their number trebles the time. What it does need and only recommends or
// suggests in some releases (`iptables`, `ca-certificates`, `docker-cli`) is named by the planner.
const APT: &str = r#"apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 \
    -o Acquire::Retries=3 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
    -o APT::Install-Recommends=false "$@" 9>&-
}
lock_holder() {
  for lock in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock; do
    [ -e "$lock" ] || continue
    # POSIX record locks are in the kernel's table by inode: device in hexadecimal, inode.
    inode=$(stat -c %i "$lock")
    while read -r number kind mode access pid place rest; do
      case $place in *:"$inode") say "$pid ($(tr '\0' ' ' 2>/dev/null </proc/"$pid"/cmdline || :))"; return 0 ;; esac
    done </proc/locks
  done
  return 1
}
# APT waits for dpkg's lock by itself, but not for that of its lists, and it does not say for whom.
wait_apt() {
  waited=0
  while holder=$(lock_holder); do
    [ "$waited" -gt 0 ] || say "waiting for another package manager: process $holder"
    [ "$waited" -lt 900 ] || fail 77 "another package manager still holds its lock after $waited s: process $holder"
    sleep 2
    waited=$((waited + 2))
  done
}
repair() {
  DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold --configure -a 9>&- || :
  if apt -f install; then return 0; fi
  # What was cut while it was unpacked is of no use, and without a source that has it APT does
  # nothing at all until it is gone. Its data and configuration stay.
  for name in $(dpkg-query -W -f '${db:Status-Eflag} ${Package}\n' | sed -n 's/^reinstreq //p'); do
    dpkg --force-remove-reinstreq --force-depends --remove "$name" 9>&-
  done
  apt -f install
}
# An installation that was cut may have left any package half done, and APT refuses to work until
# it is mended. dpkg's journal has files with numbers for names until it has ended well.
mend() {
  set -- /var/lib/dpkg/updates/[0-9]*
  if [ -e "$1" ] || dpkg-query -W -f '${db:Status-Eflag} ${db:Status-Status}\n' | grep -qE '^reinst|half-|unpacked|triggers-'; then
    say "mending what an earlier installation left half done"
    repair
  fi
}
"#;

fn write_file(path: &str, content: &str, mode: u32) -> String {
    let path = shell::quote(path);
    format!(
        "decode <<'SKEP_CONTENT' | replace {path} {mode:o} {}\n{}\nSKEP_CONTENT\n",
        content.len(),
        wrap64(content)
    )
}

/// Base64 in lines, because a line of a script should not be endless.
fn wrap64(content: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(content);
    let mut out = String::with_capacity(encoded.len() + encoded.len() / 76 + 1);
    for (index, c) in encoded.chars().enumerate() {
        if index > 0 && index % 76 == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out
}

fn move_aside(path: &str) -> String {
    let path = shell::quote(path);
    // `ln` is the one way to move that never overwrites. A kill between the two leaves two names
    // of one file, which the next run sees and completes.
    format!(
        r#"from={path}
to=$from.skep-old
if [ ! -e "$from" ] && [ ! -L "$from" ]; then
  say "it is not there any more"
  return 0
fi
if [ -e "$to" ] && [ "$(stat -c %d:%i "$from")" = "$(stat -c %d:%i "$to")" ]; then rm -f "$from"; return 0; fi
if [ -e "$to" ] || [ -L "$to" ]; then fail 80 "\`$to\` exists already"; fi
if [ -d "$from" ]; then mv -n -T "$from" "$to"; else ln "$from" "$to"; rm -f "$from"; fi
"#
    )
}

fn install(packages: &[PackageSpec]) -> String {
    let mut body = chosen(packages);
    // Nothing of the host's own goes for the engine's sake: APT would remove what conflicts.
    // A held package of ours may be moved to the wanted version; downgrades are wanted where the
    // version is named, and a person has seen the plan.
    let named = packages.iter().any(|package| package.version.is_some());
    let flags = if named {
        "--allow-change-held-packages --allow-downgrades "
    } else {
        ""
    };
    let _ = writeln!(
        body,
        "wait_apt\nmend\nsay \"installing $*\"\napt --no-remove {flags}install -- \"$@\""
    );
    body
}

fn fetch(packages: &[PackageSpec]) -> String {
    let mut body = chosen(packages);
    body += "wait_apt\nmend\nsay \"downloading $*\"\n\
             apt --no-remove --allow-change-held-packages --download-only install -- \"$@\"\n";
    body
}

fn upgrade(packages: &[PackageSpec], folder: Option<&str>, hold: bool) -> String {
    let mut body = if let Some(folder) = folder {
        install_files(folder)
    } else {
        let mut body = chosen(packages);
        body += "wait_apt\nmend\nsay \"installing $*\"\n\
                 apt --no-remove --allow-change-held-packages install -- \"$@\"\n";
        body
    };
    // `needrestart` would restart services of the host's own, which nobody asked for.
    let quiet =
        "NEEDRESTART_MODE=l\nNEEDRESTART_SUSPEND=1\nexport NEEDRESTART_MODE NEEDRESTART_SUSPEND\n";
    body = body.replacen(APT, &format!("{APT}{quiet}"), 1);
    if hold {
        let names = shell::join(packages.iter().map(|package| package.name.as_str()));
        // Of a power cut before this the mark tells.
        let mark = format!("mkdir -p /var/lib/skep\n: >{HOLD_MARKER}\n");
        body = body.replacen(APT, &format!("{APT}{mark}"), 1);
        let _ = writeln!(
            body,
            "apt-mark hold {names} >/dev/null\nrm -f {HOLD_MARKER}"
        );
    }
    // A package may be told to leave the running engine alone, and then the old one runs on from a
    // file that is no more.
    body += r#"systemctl daemon-reload
for unit in containerd.service docker.service; do
  pid=$(systemctl show -p MainPID --value -- "$unit" 2>/dev/null || say 0)
  case $(readlink "/proc/$pid/exe" 2>/dev/null || :) in
    *' (deleted)') say "restarting $unit, which still runs the old version"; systemctl restart -- "$unit" ;;
  esac
done
"#;
    body
}

/// The beginning of a body that has the packages, with their versions, as its arguments.
fn chosen(packages: &[PackageSpec]) -> String {
    let mut body = format!(
        r#"{APT}# Prints the newest version that begins with the wanted one at a boundary, so that 20.1 is not
# 20.10; with or without an epoch.
pick() {{
  versions=$(apt-cache madison "$1" | tr -d ' ' | cut -d '|' -f 2)
  for version in $versions; do
    for name in "$version" "${{version#*:}}"; do
      case $name in "$2" | "$2"[.+~-]*) say "$version"; return 0 ;; esac
      case $2 in *[.-]) case $name in "$2"*) say "$version"; return 0 ;; esac ;; esac
    done
  done
  [ -n "$versions" ] || fail 76 "no source of this host has the package $1"
  fail 76 "no version of $1 begins with $2; there are:" $versions
}}
set --
"#
    );
    for PackageSpec { name, version } in packages {
        let name = shell::quote(name);
        match version {
            None => {
                let _ = writeln!(body, "set -- \"$@\" {name}");
            }
            Some(version) => {
                let version = shell::quote(version);
                let _ = writeln!(
                    body,
                    "version=$(pick {name} {version})\nset -- \"$@\" {name}=\"$version\""
                );
            }
        }
    }
    body
}

fn install_files(folder: &str) -> String {
    let folder = shell::quote(folder);
    // What is there in the same version or a newer one is left alone: the folder may be older than
    // the host's own security updates.
    format!(
        r#"{APT}cd -- {folder}
set --
for file in "$PWD"/*.deb; do
  [ -e "$file" ] || fail 1 "there is no package file in {folder}"
  name=$(dpkg-deb -f "$file" Package) || fail 1 "\`${{file##*/}}\` is no package"
  version=$(dpkg-deb -f "$file" Version)
  there=$(dpkg-query -W -f '${{db:Status-Status}} ${{Version}}' "$name" 2>/dev/null || :)
  case $there in
    'installed '*) if dpkg --compare-versions "${{there#* }}" ge "$version"; then continue; fi ;;
  esac
  set -- "$@" "$file"
done
wait_apt
mend
# Without any source APT takes nothing but these files. (`--no-download` does not go with files.)
# Its caches stay those of the host's own sources.
if [ $# -gt 0 ]; then
  apt -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    --no-remove --allow-change-held-packages install -- "$@"
fi
"#
    )
}

fn fetch_key(url: &str, path: &str) -> String {
    let (url, path) = (shell::quote(url), shell::quote(path));
    format!(
        r#"url={url}
path={path}
mkdir -p "${{path%/*}}"
got=${{path%/*}}/.${{path##*/}}.skep-got
rm -f "$got"
if command -v curl >/dev/null; then curl -fsSL --retry 3 --max-time 60 -o "$got" -- "$url"
elif command -v wget >/dev/null; then wget -q -T 30 -t 3 -O "$got" -- "$url"
elif [ -x /usr/lib/apt/apt-helper ]; then /usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file "$url" "$got" >/dev/null
else fail 79 "none of curl, wget and apt-helper is installed"; fi
if grep -q '^-----BEGIN PGP PUBLIC KEY BLOCK-----' "$got"; then
  replace "$path" 644 <"$got"
else
  # The first byte of a binary OpenPGP public-key packet is 0x98, 0x99 or 0xc6. APT reads a file
  # named `.asc` as armoured only.
  case $(od -An -N1 -tx1 "$got" | tr -d ' ') in
    98 | 99 | c6) ;;
    *) rm -f "$got"; fail 78 "what $url gives is no OpenPGP key" ;;
  esac
  {{
    say '-----BEGIN PGP PUBLIC KEY BLOCK-----'
    say
    base64 "$got"
    say '-----END PGP PUBLIC KEY BLOCK-----'
  }} | replace "$path" 644
fi
rm -f "$got"
"#
    )
}

fn load_modules(modules: &[String]) -> String {
    let names = shell::join(modules.iter().map(String::as_str));
    format!("for name in {names}; do modprobe -- \"$name\"; done\n")
}

fn set_sysctls(values: &BTreeMap<String, String>) -> String {
    let mut body = String::new();
    for (name, value) in values {
        let pair = shell::quote(&format!("{name}={value}"));
        let _ = writeln!(body, "sysctl -q -w -- {pair}");
    }
    body
}

fn validate(content: &str) -> String {
    format!(
        "content() {{ decode <<'SKEP_CONTENT'\n{}\nSKEP_CONTENT\n}}\n{}",
        wrap64(content),
        include_str!("script/engine/validate.sh")
    )
}

fn service(unit: &str, action: ServiceAction) -> String {
    let unit = shell::quote(unit);
    let at_boot = match action {
        ServiceAction::Enable => Some("enable"),
        ServiceAction::Disable => Some("disable"),
        _ => None,
    };
    if let Some(verb) = at_boot {
        return format!(
            "unit={unit}\nsystemctl daemon-reload\n\
             systemctl {verb} --quiet -- \"$unit\" || fail 1 \"systemctl could not {verb} $unit\"\n"
        );
    }
    let act = match action {
        ServiceAction::EnableNow => {
            "systemctl enable --quiet -- \"$unit\" || fail 1 \"systemctl could not enable $unit\"\n\
             verb=start"
        }
        // The two of a boot have been dealt with.
        ServiceAction::Start | ServiceAction::Enable | ServiceAction::Disable => "verb=start",
        ServiceAction::Restart => "verb=restart",
        // Its socket would start it again with the next one who calls.
        ServiceAction::Stop => {
            "if systemctl cat -- \"${unit%.service}.socket\" >/dev/null 2>&1; then systemctl stop -- \"${unit%.service}.socket\"; fi\n\
             verb=stop"
        }
    };
    // A unit that failed often is refused by systemd's limit of starts until it is reset.
    format!(
        r#"unit={unit}
systemctl daemon-reload
{act}
if systemctl is-failed --quiet -- "$unit"; then systemctl reset-failed -- "$unit"; fi
if command -v timeout >/dev/null; then set -- timeout -k 5 180 systemctl; else set -- systemctl; fi
if ! "$@" "$verb" -- "$unit"; then
  systemctl status --no-pager --lines 0 -- "$unit" >&2 || :
  journalctl --no-pager -q -n 20 -o cat -u "$unit" >&2 || :
  fail 1 "systemctl could not $verb $unit"
fi
"#
    )
}

#[cfg(test)]
mod tests;
