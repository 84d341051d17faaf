#!/usr/bin/env bash
# Ranks of this machine as ranks of several nodes: rank R runs as the R-th name, with stores of its own.
#   scripts/launch/local.sh -np 4 scripts/launch/as_nodes.sh a,a,b,b program …
set -eu
IFS=, read -ra names <<<"${1:?names, one for each rank, separated by commas}"
shift
rank=${OMPI_COMM_WORLD_RANK:-0}
export TESSERA_NODE=${names[rank]:?a name for rank $rank}
exec "$@"
