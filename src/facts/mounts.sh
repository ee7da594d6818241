# What touches a dead server's folder may wait where no signal reaches it. So nothing here touches
# one itself: a process of its own does, which is left behind when it does not come back.
mount_words() { mount_key=/run/skep/mount-$(printf '%s' "$1 $2" | cksum | cut -d ' ' -f 1); }
# Whether the process that asked last still waits. Its words tell it from another of that number.
mount_waits() {
  [ -r "$mount_key.pid" ] && IFS= read -r pid <"$mount_key.pid" &&
    [ -r "/proc/$pid/cmdline" ] && grep -qs skep-mount "/proc/$pid/cmdline"
}
# Asks, unless the last who asked still waits: at most one is left behind for each mount.
mount_ask() {
  mount_words "$1" "$2"
  [ -n "$mount_ready" ] || return 0
  if mount_waits; then return 0; fi
  : >"$mount_key.asked.$$"
  # What is mounted is asked for its size, which always goes to the server. What is not mounted yet
  # stays so: its server is asked for a sign of life (RPC's procedure 0 of program 100003, NFS).
  (
    sh -c '
      echo $$ >"$1.pid"
      if grep -qF " $2 nfs" /proc/mounts; then
        said=$(timeout -s KILL 4 stat -f -c . -- "$2" 2>&1 >/dev/null); code=$?
      elif command -v rpcinfo >/dev/null; then
        # Straight to the port: a server need not let anybody ask its portmapper.
        name=${3#\[}
        ip=$(timeout -s KILL 4 getent ahosts "${name%\]}" | sed "s/ .*//;q")
        case $ip in *:*) net=tcp6 ;; *) net=tcp ;; esac
        if [ -z "$ip" ]; then said="no address is known for it"; code=1
        else
          said=$(timeout -s KILL 4 rpcinfo -T $net -a "$ip.$(($4 / 256)).$(($4 % 256))" 100003 2>&1 >/dev/null)
          code=$?
        fi
      else said=; code=unasked; fi
      printf "%s %s\n" "$code" "$said" | head -n 1 >"$1.new.$5"
      rm -f "$1.pid"
      mv "$1.new.$5" "$1.answer.$5"
    ' skep-mount "$mount_key" "$1" "$2" "$3" "$$" </dev/null >/dev/null 2>&1 &
  )
}
mount_pause() {
  [ $mount_waited -lt 60 ] || return 1
  mount_waited=$((mount_waited + 1))
  sleep 0.1 2>/dev/null || { sleep 1; mount_waited=$((mount_waited + 9)); }
}
mount_tell() {
  mount_words "$2" "$3"
  begin "mount$1"
  if [ -n "$mount_ready" ]; then
    if [ ! -e "$mount_key.asked.$$" ]; then
      while mount_waits; do mount_pause || break; done
      mount_ask "$2" "$3" "$4"
    fi
    if [ -e "$mount_key.asked.$$" ]; then
      while [ ! -e "$mount_key.answer.$$" ]; do mount_pause || break; done
    fi
    if [ -e "$mount_key.answer.$$" ]; then printf 'answer '; cat "$mount_key.answer.$$"
    else printf 'answer none\n'; fi
    rm -f "$mount_key.asked.$$" "$mount_key.answer.$$"
  else
    printf 'answer unasked\n'
  fi
  grep -F " $2 " /proc/self/mountinfo
  [ -r /proc/self/mountinfo ]
  end "mount$1" $?
}
mount_waited=0
mount_ready=
if command -v timeout >/dev/null && mkdir -p /run/skep && chmod 700 /run/skep && [ -w /run/skep ]; then
  mount_ready=1
  # Answers that came after nobody waited for them any more.
  find /run/skep -name 'mount-*.answer.*' -mmin +10 -exec rm -f {} + 2>/dev/null
fi
