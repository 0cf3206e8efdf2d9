#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A PostgreSQL primary "p" and two streaming replicas "r1" and "r2" in a folder, on ports that follow
# each other. Commits wait until one replica has them.
#
#   servers.sh create DIR PORT       makes and starts all three
#   servers.sh kill DIR NAME         as a crash does
#   servers.sh stop DIR NAME         it hangs ...
#   servers.sh cont DIR NAME         ... until then
#   servers.sh start DIR NAME PORT   starts one again; p then waits for no replica
#   servers.sh remove DIR            kills all

set -euo pipefail

bin=$(find /usr/lib/postgresql/*/bin -maxdepth 0 | tail -1)
command=$1
dir=$2

# PostgreSQL refuses to run as root; its package makes a user.
pg() {
  if [[ $(id -u) == 0 ]]; then
    setpriv --reuid=postgres --regid=postgres --init-groups env -C "$dir" HOME="$dir" "$@"
  else
    env -C "$dir" HOME="$dir" "$@"
  fi
}
start() { pg "$bin/pg_ctl" -D "$dir/$1" -o "-p $2" -l "$dir/$1.log" -w start >/dev/null; }
# send SIGNAL NAME: to the server and all its processes
send() {
  local first
  first=$(head -1 "$dir/$2/postmaster.pid" 2>/dev/null) || return 0
  mapfile -t children < <(pgrep -P "$first" || true)
  kill "-$1" "$first" "${children[@]}" 2>/dev/null || true
}
end() { send KILL "$1"; }

case $command in
  create)
    port=$3
    if [[ $(id -u) == 0 ]]; then chown postgres: "$dir"; fi
    pg "$bin/initdb" -D "$dir/p" -A trust -U postgres --no-sync --no-instructions -E UTF8 \
      --locale=C >/dev/null
    pg tee -a "$dir/p/postgresql.conf" >/dev/null <<CONF
listen_addresses='127.0.0.1'
unix_socket_directories='$dir'
fsync=off
shared_buffers=16MB
max_connections=60
wal_receiver_status_interval=1s
wal_retrieve_retry_interval=100ms
CONF
    start p "$port"
    for i in 1 2; do
      pg "$bin/pg_basebackup" -D "$dir/r$i" -h 127.0.0.1 -p "$port" -U postgres -R -X stream \
        -c fast --no-sync
      pg sed -i "s/^primary_conninfo = '/&application_name=r$i /" "$dir/r$i/postgresql.auto.conf"
      start "r$i" $((port + i))
    done
    pg "$bin/psql" -qAt -h 127.0.0.1 -p "$port" -U postgres \
      -c "alter system set synchronous_standby_names='ANY 1 (r1, r2)'" \
      -c "select pg_reload_conf()" >/dev/null
    ;;
  kill) end "$3" ;;
  stop) send STOP "$3" ;;
  cont) send CONT "$3" ;;
  start)
    rm -f "$dir/$3/postmaster.pid" "$dir/.s.PGSQL.$4.lock"  # the dead one may not be reaped yet
    if [[ $3 == p ]]; then
      pg tee -a "$dir/p/postgresql.auto.conf" >/dev/null <<<"synchronous_standby_names=''"
    fi
    start "$3" "$4"
    ;;
  remove)
    for name in p r1 r2; do end "$name"; done
    rm -rf "$dir"
    ;;
esac
