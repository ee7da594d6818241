root=$(timeout 30 docker info --format '{{.DockerRootDir}}' 2>/dev/null || :)
own=$(timeout 30 docker info --format '{{.Swarm.NodeID}}' 2>/dev/null || :)
[ -n "$root" ] || fail 1 "the engine does not tell where its data is"
state=$root/swarm
if [ -z "$own" ] && [ ! -e "$state/docker-state.json" ]; then
  say "the host is in no swarm: there is nothing to keep"
  exit 0
fi
[ "$own" = "$id" ] || fail 85 "the host is node $own meanwhile, not $id"
need=$(du -sk "$state" | cut -f 1)
set -- $(df -Pk "$root" | tail -n 1)
[ "$4" -gt $((need + 65536)) ] ||
  fail 83 "the copy takes $need KiB, and $4 KiB are free at $root, of which 65536 must stay: nothing was done"
# What a copy left that was cut off.
rm -rf "$root"/swarm-*-"$id".part
copy=$root/swarm-$(date -u +%Y%m%dT%H%M%SZ)-$id
# However this ends, the engine is started again.
start() { timeout 200 systemctl start docker.service; }
trap 'start || :' EXIT
trap 'exit 143' HUP INT TERM
# The socket would start it again.
timeout 150 systemctl stop docker.socket docker.service ||
  fail 84 "the engine does not stop within 150 s, so that no true copy can be made"
mkdir -m 0700 "$copy.part"
cp -a "$state/." "$copy.part/"
chmod 0700 "$copy.part"
sync
mv "$copy.part" "$copy"
sync
trap - EXIT
start || fail 82 "the engine does not come up again; the copy is $copy"
say "what it knows of the swarm is kept in $copy"
