SOCKET=/var/run/docker.sock
unit=docker.service
# What is begun here is ended here, also when the connection is lost: a host must not be left between
# two configurations.
trap '' HUP PIPE TERM
within() {
  if command -v timeout >/dev/null; then timeout -k 5 "$@" 9>&-; else shift; "$@" 9>&-; fi
}
# Asks the local engine for a path, and prints the answer.
if command -v curl >/dev/null; then
  ask() { within 7 curl -s --max-time 5 --unix-socket $SOCKET "http://docker$1"; }
else
  ask() {
    within 7 perl -MIO::Socket::UNIX -e '
      my $socket = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 7;
      print $socket "GET $ARGV[1] HTTP/1.0\r\nHost: docker\r\n\r\n";
      local $/;
      my ($head, $body) = split /\r\n\r\n/, <$socket>, 2;
      $head =~ m{^HTTP/\S+ \d+} or exit 52;
      print $body;
    ' $SOCKET "$1"
  }
fi
# Ends well as soon as the engine answers, locked or not; gives up after 120 s, or when systemd has.
answers() {
  waited=0
  until ask /_ping >/dev/null 2>&1; do
    [ "$waited" -lt 120 ] || return 1
    if systemctl is-failed --quiet -- $unit; then return 1; fi
    sleep 1
    waited=$((waited + 1))
  done
}
# Starts or restarts the engine and waits until it answers.
bring_up() {
  # A unit that failed often is refused by systemd's limit of starts until it is reset.
  systemctl reset-failed -- $unit 2>/dev/null || :
  within 180 systemctl "$1" -- $unit >/dev/null 2>&1 && answers
}
# The engine's own last words since a moment, without the passwords in addresses.
last_words() {
  words=$(journalctl --no-pager -q -o cat -t dockerd --since "@$1" 2>/dev/null | grep -Ev 'level=(info|debug|warning)' | tail -n 5)
  [ -n "$words" ] || words=$(journalctl --no-pager -q -o cat -u $unit --since "@$1" 2>/dev/null | tail -n 5)
  printf '%s\n' "$words" | hide
}
former() { sed -n '2s/^former: //p' "$marker" 2>/dev/null || :; }
# Prints the former file.
former_text() { tail -n +3 "$marker"; }
# Whether the file is the former one.
is_former() {
  case $(former) in
    none) [ ! -e "$file" ] ;;
    [0-7]*) [ -e "$file" ] && former_text | cmp -s - "$file" ;;
    *) return 1 ;;
  esac
}
put_back() {
  case $(former) in
    none) rm -f "$file" ;;
    [0-7]*) former_text | replace "$file" "$(former)" ;;
    *) return 1 ;;
  esac
}
