#!/usr/bin/env bash
# Ends the mpirun of the given process id when its last rank has been gone for five seconds.
#
# Open MPI 4.1's mpirun at times hangs in its own clean-up after a job that failed (in PMIx_server_finalize,
# one to four runs of a hundred); it then leaves its last ranks as zombies. Does nothing on a kernel that does
# not list children in /proc. Returns within a second of the end of mpirun, also while nobody has waited for it:
# a parent that reads the common standard error to its end before it waits would otherwise wait for this watch.
set -u
pid=$1
ranks_seen=0 alone=0

mpirun_lives() {
  local stat
  read -r stat 2>/dev/null <"/proc/$pid/stat" || return 1
  case ${stat##*) } in Z*) return 1 ;; esac
}

some_rank_lives() {
  local children child stat
  read -r children 2>/dev/null <"/proc/$pid/task/$pid/children"
  for child in $children; do
    read -r stat 2>/dev/null <"/proc/$child/stat" || continue
    case ${stat##*) } in Z*) ;; *) return 0 ;; esac
  done
  return 1
}

while sleep 0.25 && mpirun_lives; do
  if some_rank_lives; then
    ranks_seen=1 alone=0
  elif [ "$ranks_seen" = 1 ]; then
    alone=$((alone + 1))
  fi
  if [ "$alone" = 20 ]; then
    echo "tessera: mpirun did not end after its last rank; ending it" >&2
    kill -KILL "$pid" 2>/dev/null
    exit
  fi
done
