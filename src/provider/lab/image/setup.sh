#!/bin/sh
# Turns a fresh Debian tree ($1) into the tree of a lab's host.
# SKEP_BUILD is where the recipe's files are, SKEP_WARM names packages to bring along as files.
set -eu
root=$1

# The login of a plain administrator beside root.
chroot "$root" useradd --create-home --shell /bin/bash skep
printf 'skep ALL=(ALL:ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/skep"
chmod 440 "$root/etc/sudoers.d/skep"

# The lab's key opens every account; passwords stay as Debian has them.
cat >"$root/etc/ssh/sshd_config.d/lab.conf" <<'CONF'
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/lab_authorized_keys
PermitRootLogin prohibit-password
UseDNS no
CONF

# Each host gets an identity of its own when it is made.
rm -f "$root"/etc/ssh/ssh_host_*_key*
: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id"

if [ -s "$SKEP_BUILD/authorities.crt" ]; then
    cp "$SKEP_BUILD/authorities.crt" "$root/usr/local/share/ca-certificates/lab.crt"
    chroot "$root" update-ca-certificates
fi

# Only the files of the engine's packages: that five hosts need not fetch the same ones.
chroot "$root" apt-get clean
# shellcheck disable=SC2086
chroot "$root" apt-get install --yes --download-only $SKEP_WARM
