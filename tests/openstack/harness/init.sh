#!/bin/sh
# The first process of the cloud's namespaces ($1 is the cloud's folder). It makes the mounts and
# interfaces that are the cloud's own, then only reaps. When it dies the kernel ends all others.
set -eu
dir=$1

# Still the /proc of the outside: what it says about this process is what `down` can use there.
read -r stat </proc/self/stat
# shellcheck disable=SC2086
set -- $stat
echo "$1 ${22}" >"$dir/run/init"

mount --make-rprivate /
mount -t proc proc /proc
# A /sys that shows this network's interfaces, as the linuxbridge agent reads them, with the control
# groups as they were.
mkdir -p "$dir/run/cgroup"
mount --rbind /sys/fs/cgroup "$dir/run/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$dir/run/cgroup" /sys/fs/cgroup
umount -l "$dir/run/cgroup"

# What programs keep in places that no option of theirs moves.
mkdir -p /run/netns /run/libvirt /run/lock /var/lib/libvirt /etc/libvirt
mount -t tmpfs tmpfs /run/netns
mount -t tmpfs tmpfs /run/libvirt
mount -t tmpfs tmpfs /run/lock
mount --bind "$dir/state/libvirt" /var/lib/libvirt
mount --bind "$dir/etc/libvirt" /etc/libvirt

hostname skep-cloud
printf '127.0.0.1 localhost skep-cloud\n' >"$dir/run/hosts"
mount --bind "$dir/run/hosts" /etc/hosts

ip link set lo up
sysctl -q -w net.ipv4.ip_forward=1
# The way to the floating IPs: the network node's end is `outside1`.
ip link add outside0 type veth peer name outside1
ip address add 198.51.100.1/24 dev outside0
ip link set outside0 up
ip link set outside1 up
: >"$dir/run/inside"

while :; do
    sleep 3600 &
    wait
done
