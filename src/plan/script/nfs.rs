//! The scripts of NFS. Nothing here touches a folder of a server but through `aside`.

use super::super::nfs::NfsStep;
use crate::shell;

/// Something still uses the folder.
pub(super) const IN_USE: u8 = 84;
/// The server does not answer, so that its folder cannot be unmounted.
pub(super) const SERVER_AWAY: u8 = 85;

/// The body of a step's script, and how long it may take in seconds.
pub(super) fn body(step: &NfsStep) -> (String, u32) {
    match step {
        NfsStep::MakeFolders { paths } => {
            let paths = shell::join(paths.iter().map(String::as_str));
            (MAKE.replace("@PATHS@", &paths), 30)
        }
        NfsStep::Export { paths } => {
            let paths = shell::join(paths.iter().map(String::as_str));
            (format!("{ASIDE}{}", EXPORT.replace("@PATHS@", &paths)), 120)
        }
        NfsStep::ReadDomain => (format!("{ASIDE}{READ_DOMAIN}"), 90),
        NfsStep::Reload => (RELOAD.to_owned(), 90),
        NfsStep::Mount {
            server,
            address,
            port,
            target,
            unit,
            automount,
            drop,
            remount,
            timeout,
        } => {
            let words = [
                ("server", server.as_str()),
                ("address", address),
                ("port", &port.to_string()),
                ("target", target),
                ("unit", unit),
                ("automount", automount.as_deref().unwrap_or_default()),
                ("dropped", drop.as_deref().unwrap_or_default()),
                ("remount", if *remount { "1" } else { "" }),
                ("seconds", &timeout.to_string()),
            ];
            let line = |(name, value): &(&str, &str)| format!("{name}={}\n", shell::quote(value));
            let words: Vec<String> = words.iter().map(line).collect();
            (format!("{ASIDE}{}{MOUNT}", words.concat()), timeout + 150)
        }
        NfsStep::Unmount { target, units } => {
            let units = shell::join(units.iter().map(String::as_str));
            let target = shell::quote(target);
            let text = format!("{ASIDE}target={target}\nset -- {units}\n{UNMOUNT}");
            (text, 150)
        }
    }
}

/// The body that unmounts a folder until the next boot, and how long it may take in seconds. It
/// fails nothing: whoever asks for it is about to switch the host off.
pub(super) fn release(target: &str, automount: Option<&str>, force: bool) -> (String, u32) {
    let target = shell::quote(target);
    let automount = shell::quote(automount.unwrap_or_default());
    let force = if force { "1" } else { "" };
    (
        format!("{ASIDE}target={target}\nautomount={automount}\nforce={force}\n{RELEASE}"),
        90,
    )
}

/// What to do about a step that ended with `status`.
pub(super) fn explain(status: u8) -> Option<&'static str> {
    match status {
        IN_USE => Some(
            "End what uses the folder (or drain the node, or restart it), then run the command again. \
             It is never unmounted by force: what is written at that moment would be lost.",
        ),
        SERVER_AWAY => Some(
            "Run the command again when the server is back. When it never comes back, \
             restart the host: it does not mount the folder again.",
        ),
        _ => None,
    }
}

// A process that touches the folder of a dead server may wait where no signal reaches it. It is
// left behind then, and must not hold the step lock.
const ASIDE: &str = r#"# Runs a command with a deadline in seconds, and goes on without it when it does not end.
aside() {
  limit=$1; shift
  place=/run/skep/aside.$$
  rm -f "$place" "$place.said"
  (
    sh -c 'place=$1; shift; "$@" >"$place.said" 2>&1; echo $? >"$place.new"; mv "$place.new" "$place"' \
      skep-aside "$place" timeout -s KILL "$limit" "$@" </dev/null >/dev/null 2>&1 9>&- &
  )
  tenths=$((limit * 10 + 20))
  while [ ! -e "$place" ]; do
    [ "$tenths" -gt 0 ] || { said="no answer within $limit s"; return 124; }
    sleep 0.1 2>/dev/null || { sleep 1; tenths=$((tenths - 9)); }
    tenths=$((tenths - 1))
  done
  said=$(cat "$place.said" 2>/dev/null || :)
  read -r code <"$place"
  rm -f "$place" "$place.said"
  return "$code"
}
# Whether something of a server's is mounted there, by the kernel's own table.
mounted() { grep -qF " $target nfs" /proc/mounts; }
units() { systemctl show -p "$1" --value -- "$2" 2>/dev/null || :; }
# Who uses the folder, from links that the kernel makes up, so that the folder is not touched.
users() {
  for process in $(holders); do
    printf ' %s (%s)' "$process" "$(cat "/proc/$process/comm" 2>/dev/null || :)"
  done
}
holders() {
  for process in /proc/[0-9]*; do
    links=$(ls -l "$process/cwd" "$process/root" "$process/fd" 2>/dev/null || :)
    case $links in
      *"-> $target/"* | *"-> $target
"* | *"-> $target") printf '%s\n' "${process#/proc/}" ;;
    esac
  done
}
unmount() {
  # A server that answers with an error, having stopped to export it, lets it be unmounted.
  asked=0
  aside 5 stat -f -c . -- "$target" || asked=$?
  case $asked in 124 | 137) return 85 ;; esac
  aside 20 umount -- "$target" || return 84
}
"#;

const MAKE: &str = r#"for path in @PATHS@; do
  if [ -d "$path" ]; then continue; fi
  if [ -e "$path" ] || [ -L "$path" ]; then fail 1 "$path is there and is no folder"; fi
  mkdir -p -m 0755 -- "$path"
  say "made $path"
done
"#;

// What `exportfs` says of lines that are not ours fails nothing.
const EXPORT: &str = r#"if ! command -v exportfs >/dev/null; then
  say "nothing is exported: exportfs is not there"
  return 0
fi
aside 60 exportfs -ra || :
[ -z "$said" ] || say "$said"
for path in @PATHS@; do
  grep -qF "$path	" /var/lib/nfs/etab || fail 1 "$path is not exported: $said"
done
"#;

const READ_DOMAIN: &str = r"# The names that the kernel remembers belong to the old domain.
if command -v nfsidmap >/dev/null; then aside 10 nfsidmap -c || :; fi
aside 60 systemctl try-restart nfs-idmapd.service || :
";

const RELOAD: &str = "systemctl daemon-reload\n";

const MOUNT: &str = r#"answers() {
  command -v rpcinfo >/dev/null || return 0
  # Straight to the port: a server need not let anybody ask its portmapper.
  aside 5 sh -c '
    name=${1#\[}
    ip=$(getent ahosts "${name%\]}" | sed "s/ .*//;q")
    case $ip in "") exit 1 ;; *:*) net=tcp6 ;; *) net=tcp ;; esac
    exec rpcinfo -T $net -a "$ip.$(($2 / 256)).$(($2 % 256))" 100003
  ' skep-ask "$address" "$port"
}
later="it is mounted when the server is back and something touches it"
[ -n "$automount" ] || later="it is mounted at the next start of the host, or by another \`skep up\`"
if [ -n "$dropped" ] && [ -e "/etc/systemd/system/$dropped" ]; then remount=1; fi
if [ -n "$automount" ] && [ "$(units ActiveState "$automount")" != active ]; then remount=1; fi
# systemd would restart what requires the mount, Docker say, if it were told to restart it.
if [ -n "$remount" ] && mounted; then
  code=0
  unmount || code=$?
  case $code in
    0) say "unmounted $target" ;;
    85) say "server $server does not answer, so $target stays as it is mounted: the new settings hold from its next mount" ;;
    *) say "$target is in use by$(users), so it stays as it is mounted: the new settings hold from its next mount ($said)" ;;
  esac
fi
if [ -n "$dropped" ] && [ -e "/etc/systemd/system/$dropped" ]; then
  # systemd unmounts all that lies on an automount, by force, when it stops it.
  if mounted; then fail 84 "$target is in use by$(users): $dropped cannot be stopped"; fi
  systemctl disable --quiet -- "$dropped" || :
  aside 30 systemctl stop -- "$dropped" || fail 1 "systemd could not stop $dropped: $said"
  rm -f "/etc/systemd/system/$dropped"
  systemctl daemon-reload
fi
if [ -n "$automount" ]; then
  systemctl disable --quiet -- "$unit" 2>/dev/null || :
  systemctl enable --quiet -- "$automount"
  systemctl reset-failed -- "$automount" 2>/dev/null || :
  if mounted && [ "$(units ActiveState "$automount")" != active ]; then
    fail 84 "$target is mounted and in use by$(users), so systemd cannot wait there for a first touch"
  fi
  aside 30 systemctl start -- "$automount" || fail 1 "systemd could not start $automount: $said"
else
  systemctl enable --quiet -- "$unit"
fi
if mounted; then return 0; fi
if ! answers; then
  say "stale: server $server does not answer: $later"
  return 0
fi
systemctl reset-failed -- "$unit" 2>/dev/null || :
systemctl start --no-block -- "$unit"
waited=0
while :; do
  state=$(units ActiveState "$unit")
  case $state in
    active) say "mounted $target"; return 0 ;;
    failed) break ;;
  esac
  [ "$waited" -lt $((seconds + 15)) ] || break
  sleep 1
  waited=$((waited + 1))
done
why=$(journalctl --no-pager -q -n 5 -o cat -u "$unit" 2>/dev/null || :)
if ! answers; then
  say "stale: server $server does not answer: $later"
  return 0
fi
printf '%s\n' "$why" >&2
fail 1 "$target could not be mounted from $server: $unit is $state after $waited s"
"#;

const UNMOUNT: &str = r#"if mounted; then
  code=0
  unmount || code=$?
  case $code in
    0) say "unmounted $target" ;;
    85) fail 85 "the server of $target does not answer, so it cannot be unmounted and stays" ;;
    *) fail 84 "$target is in use by$(users), so it stays mounted: $said" ;;
  esac
fi
for name in "$@"; do
  systemctl disable --quiet -- "$name" 2>/dev/null || :
  aside 30 systemctl stop -- "$name" || fail 1 "systemd could not stop $name: $said"
done
for name in "$@"; do rm -f "/etc/systemd/system/$name"; done
systemctl daemon-reload
for name in "$@"; do systemctl reset-failed -- "$name" 2>/dev/null || :; done
"#;

const RELEASE: &str = r#"if mounted; then
  code=0
  unmount || code=$?
  case $code in
    0) say "unmounted $target" ;;
    85) say "the server of $target does not answer" ;;
    *) say "$target is in use by$(users): $said" ;;
  esac
  if [ "$code" = 85 ] && [ -n "$force" ]; then
    # Calls that wait for the server fail; who began them is ended, and with that what it began since.
    aside 5 umount -f -i -c -- "$target" || :
    for process in $(holders); do
      say "ended process $process, which used $target"
      kill -9 "$process" 2>/dev/null || :
    done
    aside 5 umount -f -i -c -- "$target" || :
    if ! mounted; then
      code=0
      say "unmounted $target by force"
    fi
  fi
  if [ "$code" != 0 ]; then
    # Without asking anybody: neither the server, nor the helper that would.
    if aside 10 umount -l -i -c -- "$target"; then say "detached $target"
    else say "$target could not be detached, and stays: $said"; fi
  fi
fi
if [ -n "$automount" ]; then
  aside 20 systemctl stop -- "$automount" || say "systemd could not stop $automount: $said"
fi
"#;

#[cfg(test)]
pub(super) mod tests;
