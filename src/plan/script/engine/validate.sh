command -v dockerd >/dev/null || return 0
# The flags of the unit are given as well: a key must not be given twice.
files=
words=
inside=
set -f
if command -v systemctl >/dev/null; then
  for line in $(systemctl show --no-pager -p ExecStart -p EnvironmentFiles docker.service 2>/dev/null || :); do
    case $line in
      EnvironmentFiles=*) files=${line#*=} ;;
      argv\[\]=*) inside=1 ;;
      ';') inside= ;;
      *) [ -z "$inside" ] || words="$words $line" ;;
    esac
  done
fi
set --
for word in $words; do
  case $word in
    '$'*)
      name=${word#?}
      name=${name#\{}
      name=${name%\}}
      word=
      if [ -r "$files" ]; then word=$(sed -n "s/^$name=//p" "$files" | tr -d "\"'"); fi
      ;;
    --config-file | --config-file=*)
      fail 1 "docker.service reads another file than /etc/docker/daemon.json: $word"
      ;;
  esac
  set -- "$@" $word
done
set +f
# Where an engine without superuser's rights can read it, and nobody else.
folder=/run/skep-check
rm -rf $folder
mkdir -m 711 $folder
content >$folder/daemon.json
status=0
case $(dockerd --help 2>&1) in
  *--validate*)
    answer=$(dockerd "$@" --validate --config-file $folder/daemon.json 2>&1) || status=$?
    ;;
  *)
    # Before 23.0 there is no such option. But an engine reads all of its configuration first, and
    # then ends at once when it is not the superuser's, before it has made any file (20.10 and later).
    if command -v setpriv >/dev/null; then
      chown 65534:65534 $folder/daemon.json
      chmod 400 $folder/daemon.json
      set -- setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs dockerd "$@"
      if command -v timeout >/dev/null; then set -- timeout -k 5 30 "$@"; fi
      answer=$("$@" --config-file $folder/daemon.json 2>&1) || :
      case $answer in *'unable to configure the Docker daemon'*) status=1 ;; esac
    fi
    ;;
esac
rm -rf $folder
[ $status = 0 ] || fail 1 "$(printf '%s\n' "$answer" | hide)"
