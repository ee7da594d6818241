# What is asked of an engine in a swarm beyond its own answers, after docker_section, whose $info it uses.
# Whatever the login left in the environment is no answer.
info=
# The engine's data root: its own word, else that of its configuration.
certificates_section() {
  case $info in
    *'"DockerRootDir":"'*) root=${info#*'"DockerRootDir":"'}; root=${root%%'"'*} ;;
    *)
      root=
      [ -r /etc/docker/daemon.json ] && root=$(sed -n 's/.*"\(data-root\|graph\)"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\2/p' /etc/docker/daemon.json)
      ;;
  esac
  folder=${root:-/var/lib/docker}/swarm/certificates
  begin certificates
  code=0
  if remote "$folder"; then code=11
  elif [ ! -e "$folder/swarm-node.crt" ]; then missing "$folder/swarm-node.crt"; code=$?
  elif [ ! -r "$folder/swarm-node.crt" ]; then code=12
  else
    guard 5 cat "$folder/swarm-node.crt"
    printf '\nskep-authority\n'
    guard 5 cat "$folder/swarm-root-ca.crt"
    code=$?
  fi
  end certificates $code
}
# Digests, so that no secret leaves the host; `printf` is the shell's own, so that none is in an argument.
digest_of() {
  case $1 in
    *"\"$2\":\""*) value=${1#*"\"$2\":\""}; value=${value%%'"'*} ;;
    *) value= ;;
  esac
  [ -n "$value" ] && printf '%s' "$value" | sha256sum | cut -d ' ' -f 1
  value=
}
secrets_section() {
  case $info in
    *'"ControlAvailable":true,"Error":"'[!\"]*) return ;;
    *'"ControlAvailable":true'*) ;;
    *) begin secrets; end secrets 10; return ;;
  esac
  begin secrets
  if command -v call >/dev/null && command -v sha256sum >/dev/null; then
    swarm=$(call 8 /swarm)
    code=$?
    tokens=${swarm#*'"JoinTokens":'}
    printf 'worker=%s\nmanager=%s\n' "$(digest_of "$tokens" Worker)" "$(digest_of "$tokens" Manager)"
    case $info in
      *'"AutoLockManagers":true'*)
        key=$(call 8 /swarm/unlockkey) || code=$?
        printf 'key=%s\n' "$(digest_of "$key" UnlockKey)"
        ;;
    esac
    swarm= tokens= key=
    [ $code = 28 ] && code=124
  else
    code=15
  fi
  end secrets $code
}
