#!/usr/bin/env bash
# Runs a CUDA test program on this machine's GPU, or, without one, under the PTX interpreter in the given order:
#   on_gpu_or_interpreter.sh forward|reverse|shuffle libptxrun_cudart.so program
# Says which. TESSERA_INTERPRET=1 takes the interpreter though there is a GPU.
set -eu
order=$1 stand_in=$2
shift 2
if [ -z "${TESSERA_INTERPRET:-}" ] && command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then
  echo "on the GPU: $(nvidia-smi -L | head -1)"
  exec "$@"
fi
echo "no GPU: under the PTX interpreter, blocks in order $order"
export PTXRUN_ORDER=$order
case $order in
  reverse) export PTXRUN_NOISE=1 ;;
  shuffle) export PTXRUN_LAZY=1 PTXRUN_SEED=1 ;;
esac
LD_PRELOAD=$stand_in exec "$@"
