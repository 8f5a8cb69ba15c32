#!/bin/bash
# The size of the model by a case, its numbers in local variables of functions.
MODEL=${MODEL:-8x22b}
case $MODEL in
  8x7b)
    LAYERS=32
    HIDDEN=4096
    HEADS=32
    ;;
  8x22b | 8x22B)
    LAYERS=56
    HIDDEN=6144
    HEADS=48
    ;;
  *)
    echo "unknown model $MODEL"
    exit 1
    ;;
esac
layout() {
  local tensor=$1
  local expert=${2:-1}
  LAYOUT="--tensor-model-parallel-size $tensor --expert-model-parallel-size $expert"
  if ((tensor > 1)); then
    LAYOUT="$LAYOUT --sequence-parallel"
  fi
}
layout 4 8
function launch {
  torchrun --nproc_per_node=8 --nnodes=16 pretrain_gpt.py --num-layers $LAYERS --hidden-size $HIDDEN --num-attention-heads $HEADS $LAYOUT "$@"
}
launch --num-experts 8 --save "dir with spaces/${MODEL^^}"
