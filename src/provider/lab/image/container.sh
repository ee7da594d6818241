
# Nothing here has a screen, hardware of its own, or a timer that takes APT's lock unasked.
for unit in \
    apt-daily.service apt-daily.timer apt-daily-upgrade.service apt-daily-upgrade.timer \
    console-getty.service dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty.target getty@tty1.service systemd-firstboot.service \
    systemd-udev-trigger.service systemd-udevd.service systemd-udevd-control.socket \
    systemd-udevd-kernel.socket \
    dev-hugepages.mount sys-kernel-config.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount sys-fs-fuse-connections.mount; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n' \
    >"$root/etc/systemd/journald.conf.d/lab.conf"

# Process 1: the engine mounts the control groups read-only in a container that is not
# `--privileged`, and systemd needs to write to its own part of them.
cat >"$root/usr/local/sbin/lab-init" <<'INIT'
#!/bin/sh
while read -r _ point kind _; do
    case $kind in
    cgroup | cgroup2) mount -o remount,bind,rw "$point" ;;
    esac
done </proc/mounts
exec /sbin/init
INIT
chmod 755 "$root/usr/local/sbin/lab-init"
