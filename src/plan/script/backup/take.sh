# How old a whole copy is, in seconds.
age() {
  read -r word when <"$dir/state" 2>/dev/null || return 1
  [ "$word" = ready ] && [ -d "$dir/swarm" ] || return 1
  echo $(($(date +%s) - when))
}
if ! runs; then
  if old=$(age) && [ "$old" -lt "$fresh" ]; then
    # The connection was lost after this step had ended.
    bring_up start || fail 82 "the copy is taken, and the engine does not come up: $(last_words "$(date +%s)")"
    return 0
  fi
  [ -d "$from" ] || fail 1 "$from is not there"
  case $(stat -f -c %T "$from") in nfs*) fail 1 "$from is on NFS" ;; esac
  [ -d /run/systemd/system ] && command -v systemd-run >/dev/null || fail 1 "the host has no systemd, which sees to it that the engine starts again"
  rm -rf "$dir"
  (umask 077; mkdir -p "$dir")
  chmod 700 "$dir"
  need=$(du -sk "$from" | cut -f1)
  free=$(df -Pk "$dir" | tail -n 1 | awk '{ print $4 }')
  [ "$free" -gt $((need + 10240)) ] || fail 1 "the copy takes $need KiB, and $dir has $free KiB free"
  printf 'taking %s\n' "$(date +%s)" >"$dir/state"
  cat >"$dir/take.sh" <<'SKEP_TAKE'
set -eu
umask 077
from=$1
dir=$2
systemctl stop docker.socket 2>/dev/null || :
systemctl stop docker.service
# Whether the engine stands, and since when it does: a copy that saw it run is none.
stands() {
  case $(systemctl show -p ActiveState --value docker.service) in
    inactive | failed) systemctl show -p ActiveEnterTimestampMonotonic --value docker.service ;;
    *) echo "the engine runs" >&2; return 1 ;;
  esac
}
since=$(stands)
cp -a --reflink=auto -- "$from" "$dir/swarm.part"
[ "$(stands)" = "$since" ] || { echo "the engine was started meanwhile" >&2; exit 1; }
mv -T -- "$dir/swarm.part" "$dir/swarm"
printf 'ready %s\n' "$(date +%s)" >"$dir/state.part"
mv -- "$dir/state.part" "$dir/state"
SKEP_TAKE
  # This runs when the script has ended, was killed, or took too long, and needs nobody for it.
  cat >"$dir/start.sh" <<'SKEP_START'
for pause in 1 2 5 10 30; do
  systemctl reset-failed docker.service 2>/dev/null
  systemctl start docker.service && exit 0
  sleep $pause
done
exit 1
SKEP_START
  systemctl reset-failed $job 2>/dev/null || :
  say "the engine stops"
  began=$(date +%s.%N)
  systemd-run --quiet --unit=$job --collect --description='skep: copy the state of the swarm' \
    --property=RuntimeMaxSec="$window" --property=TimeoutStopSec=300 \
    --property=ExecStopPost="/bin/sh $dir/start.sh" --property=StandardError=append:"$dir/log" \
    /bin/sh "$dir/take.sh" "$from" "$dir"
fi
wait_for_job
bring_up start || fail 82 "the engine does not come up after the copy: $(last_words "$(($(date +%s) - 120))")"
if [ -n "${began:-}" ]; then
  say "the engine answers again after $(echo "$(date +%s.%N) $began" | awk '{ printf "%.1f", $1 - $2 }') s"
fi
age >/dev/null || fail 1 "the engine runs again, and no copy was taken: $(cat "$dir/log" 2>/dev/null || :)"
