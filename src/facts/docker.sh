SOCKET=/var/run/docker.sock
# An HTTP call to the local engine, bounded by the first argument in seconds: prints the body and,
# on a line of its own, the HTTP status. Debian always has perl-base; a fresh host has no curl, and
# the engine's package does not always bring the CLI.
if command -v curl >/dev/null; then
  call() { guard $(($1 + 1)) curl -s --max-time "$1" -w '\n%{http_code}\n' --unix-socket $SOCKET "http://docker$2"; }
elif command -v perl >/dev/null && perl -MIO::Socket::UNIX -e 1; then
  call() {
    guard "$1" perl -MIO::Socket::UNIX -e '
      my $socket = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 7;
      print $socket "GET $ARGV[1] HTTP/1.0\r\nHost: docker\r\n\r\n";
      local $/;
      my ($head, $body) = split /\r\n\r\n/, <$socket>, 2;
      $head =~ m{^HTTP/\S+ (\d+)} or exit 52;
      print "$body\n$1\n";
    ' $SOCKET "$2"
  }
fi
# An engine known not to run. Where a flag of its unit moves the data root, what is left in the
# usual one says nothing about it.
stopped() {
  printf '%s\n' "$1"
  [ -n "$flag" ] && end engine 16 || end engine 13
}
# The flags that the unit gives the engine, one word in a line. Debian's unit takes some from a
# variable of /etc/default/docker.
flags_section() {
  answer=$1
  files=
  words=
  inside=
  set -f
  for line in $show; do
    case $line in
      EnvironmentFiles=*) files=${line#*=} ;;
      argv\[\]=*) inside=1 ;;
      ';') inside= ;;
      *) [ -n "$inside" ] && words="$words $line" ;;
    esac
  done
  given=
  for word in $words; do
    case $word in
      '$'*)
        name=${word#?}
        name=${name#\{}
        name=${name%\}}
        word=
        [ -r "$files" ] && ! remote "$files" && word=$(sed -n "s/^$name=//p" "$files" | tr -d "\"'")
        ;;
    esac
    given="$given $word"
  done
  begin flags
  for word in $given; do printf '%s\n' "$word"; done
  end flags "$answer"
  set +f
}
docker_section() {
  cli=$(command -v docker)
  daemon=$(command -v dockerd)
  load=
  active=
  flag=
  if [ -d /run/systemd/system ]; then
    show=$(guard 5 systemctl show --no-pager -p LoadState -p ActiveState -p ExecStart -p EnvironmentFiles docker.service)
    flags_section $?
    for line in $show; do
      case $line in
        LoadState=*) load=${line#*=} ;;
        ActiveState=*) active=${line#*=} ;;
        --data-root* | -g | --graph*) flag=1 ;;
      esac
    done
  fi
  begin engine
  if [ ! -S $SOCKET ] && [ -z "$daemon" ] && { [ -z "$cli" ] || [ "$load" = not-found ]; }; then
    end engine 10
    return
  fi
  # With socket activation, merely connecting would start a stopped engine: look first.
  if [ "$load" != not-found ]; then
    case $active in inactive | failed) stopped "$active"; return ;; esac
  fi
  if [ ! -S $SOCKET ]; then
    case $active in
      '') stopped 'there is no socket' ;;
      *) printf 'the unit is %s and there is no socket\n' "$active"; end engine 14 ;;
    esac
    return
  fi
  if [ ! -w $SOCKET ]; then end engine 12; return; fi
  if command -v call >/dev/null; then
    info=$(call 8 /info)
    code=$?
    case $code in
      7) [ -z "$active" ] && code=13 || code=14 ;;
      28) code=124 ;;
    esac
  elif [ -n "$cli" ]; then
    info=$(guard 8 docker -H unix://$SOCKET info --format '{{json .}}' 2>&1)
    code=$?
  else
    code=15
  fi
  printf '%s\n' "$info"
  end engine $code
  [ $code = 0 ] || return
  # Without quorum `/nodes` can hang, and `/info` has told why already.
  case $info in
    *'"ControlAvailable":true,"Error":"'[!\"]*) return ;;
    *'"ControlAvailable":true'*) ;;
    *) return ;;
  esac
  begin nodes
  if command -v call >/dev/null; then
    call 8 /nodes
    code=$?
    [ $code = 28 ] && code=124
  else
    guard 8 docker -H unix://$SOCKET node inspect $(guard 8 docker -H unix://$SOCKET node ls -q) 2>&1
    code=$?
  fi
  end nodes $code
  if [ -n "$ingress" ]; then
    begin ingress
    call 8 /networks
    code=$?
    end ingress $code
    begin published
    call 8 /services
    code=$?
    end published $code
  fi
  [ -n "$services" ] || return
  begin services
  if command -v call >/dev/null; then
    call 8 '/services?status=true'
    code=$?
    [ $code = 28 ] && code=124
  else
    echo 'neither `curl` nor `perl` is there to ask the engine with'
    code=1
  fi
  end services $code
}
