
# A machine without a screen, and without timers that take APT's lock unasked.
for unit in \
    apt-daily.service apt-daily.timer apt-daily-upgrade.service apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer getty.target \
    getty@tty1.service serial-getty@ttyS0.service systemd-firstboot.service \
    systemd-pcrphase.service \
    systemd-update-utmp-runlevel.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
printf '/dev/vda / ext4 rw 0 0\n' >"$root/etc/fstab"

# eth0 is the way out, eth1 the network of the lab, whose address comes with the host's own files.
cat >"$root/etc/systemd/network/10-eth0.network" <<'NET'
[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
NET
rm -f "$root/etc/resolv.conf"
printf 'nameserver 198.19.255.3\n' >"$root/etc/resolv.conf"

# Before its first boot a host is given its name, keys and address on a disk that holds a tar file.
cat >"$root/etc/systemd/system/lab-host.service" <<'UNIT'
[Unit]
Description=The name, keys and address of this host of the lab
DefaultDependencies=no
ConditionPathExists=!/etc/lab-host
Requires=dev-disk-by\x2did-virtio\x2dlab.device
After=dev-disk-by\x2did-virtio\x2dlab.device systemd-remount-fs.service
Before=systemd-networkd.service ssh.service sysinit.target

[Service]
Type=oneshot
ExecStart=/bin/tar -xf /dev/disk/by-id/virtio-lab -C /
ExecStart=/bin/hostname -F /etc/hostname
ExecStart=/bin/sync -f /etc

[Install]
WantedBy=sysinit.target
UNIT
chroot "$root" systemctl enable lab-host.service systemd-networkd.service

# Only the drivers that these machines have, so that they boot quickly without KVM.
printf 'MODULES=list\nCOMPRESS=gzip\n' >"$root/etc/initramfs-tools/conf.d/lab"
printf 'virtio_pci\nvirtio_blk\next4\n' >>"$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u
# QEMU boots the kernel itself.
mv "$root"/boot/vmlinuz-* "$SKEP_BUILD/vmlinuz"
mv "$root"/boot/initrd.img-* "$SKEP_BUILD/initrd"
# Nor would one that is made inside be used, and packages of storage make one: minutes without KVM.
printf 'update_initramfs=no\n' >"$root/etc/initramfs-tools/update-initramfs.conf"
