# bash completion for cenote(1)
_cenote()
{
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
  local common="--url --config --set --help --version"
  local settings="profile max-connections min-connections max-opening max-waiters acquire-timeout-ms \
    lease-timeout-ms lease-extend-max-ms shutdown-timeout-ms health-check-interval-ms \
    idle-timeout-ms max-connection-age-ms connect-timeout-ms statement-timeout-ms \
    cancel-timeout-ms check-after-ms retries retry-delay-ms connect-backoff-ms \
    simple-connections simple-depth simple-batch simple-wire simple-slow-ms breaker-failures \
    breaker-window-ms breaker-open-ms breaker-open-max-ms login-breaker-failures stateless-functions \
    connect-backoff-max-ms slow-statement-ms max-result-bytes max-result-rows memory-pressure \
    tls-verify transaction-pooler sqlite-confined http-connections http-insecure http-endpoint application-name tls-ca-file auth-token log"
  local gateway="\
    threads max-connections-per-pool pool-idle-ms max-clients max-body-bytes max-response-bytes \
    head-timeout-ms body-timeout-ms keepalive-timeout-ms write-timeout-ms stream-timeout-ms \
    drain-delay-ms login-failures-per-minute secret-ttl-ms listen tls-cert tls-key \
    admin-token-file sql-token-file jwt-key-file host-names origins sql-hosts audit-log"
  [ "$command" = serve ] && settings="$settings $gateway"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W "query check bench serve stats top config help --help --version" -- "$cur")
    return
  fi
  case $prev in
    --config | --tls-cert | --tls-key | --admin-token-file | --sql-token-file | --jwt-key-file | --audit-log | \
      --token-file | --ca-file)
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      compopt -o filenames 2>/dev/null
      return ;;
    --scenario)
      mapfile -t COMPREPLY < <(compgen -W "concurrent pooled mixed stress exhaustion all" -- "$cur")
      return ;;
    --path)
      mapfile -t COMPREPLY < <(compgen -W "simple pool" -- "$cur")
      return ;;
    --types)
      mapfile -t COMPREPLY < <(compgen -W "auto text integer real boolean blob" -- "$cur")
      return ;;
    --set)
      mapfile -t COMPREPLY < <(compgen -S = -W "${settings//-/_}" -- "$cur")
      compopt -o nospace 2>/dev/null
      return ;;
    --url)
      mapfile -t COMPREPLY < <(compgen -W "sqlite: postgresql:// neon:// libsql://" -- "$cur")
      compopt -o nospace 2>/dev/null
      return ;;
  esac
  case $command in
    help) mapfile -t COMPREPLY < <(compgen -W "query check bench serve stats top config" -- "$cur") && return ;;
    query) common="$common --json --csv --null --path --types" ;;
    bench) common="$common --json --scenario --rounds" ;;
    check | config) common="$common --json" ;;
    stats) common="--gateway --token-file --ca-file --watch --json --help --version" settings="" ;;
    top) common="--gateway --token-file --ca-file --once --help --version" settings="" ;;
  esac
  case $cur in
    -*)
      local name words=$common
      for name in $settings; do words="$words --$name"; done
      mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur") ;;
  esac
}
complete -F _cenote cenote
