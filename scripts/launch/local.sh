#!/usr/bin/env bash
# mpirun on this one machine: more ranks than cores allowed, ranks yield while they wait, root allowed
# (containers run as root). Arguments go to mpirun as they are: scripts/launch/local.sh -np 4 program …
set -eu
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none
if [ "$(id -u)" = 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# In containers without ptrace rights the single-copy path prints errors before it falls back.
export OMPI_MCA_btl_vader_single_copy_mechanism="${OMPI_MCA_btl_vader_single_copy_mechanism:-none}"
# Ranks cannot see what mpirun writes to: tell them when it is a terminal, for progress lines.
if [ -t 1 ]; then export TESSERA_TERMINAL=1; fi

# Watches this process, which mpirun takes over; nobody's child, so that mpirun does not take it for a rank.
("$(dirname "$0")/watch_mpirun.sh" $$ </dev/null >/dev/null &)
exec mpirun "$@"
