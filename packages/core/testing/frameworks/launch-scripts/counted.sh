#!/bin/bash
# What layers have experts is counted, joined and printed into a variable; arguments are taken from the second on.
set -e
export CUDA_DEVICE_MAX_CONNECTIONS=1
LAYERS=6
DENSE=2
marks=()
for ((i = 0; i < LAYERS; i++)); do
  if ((i < DENSE)); then marks+=(0); else marks+=(1); fi
done
printf -v FREQUENCY "[%s]" "$(IFS=','; echo "${marks[*]}")"
run() {
  local size=$1
  torchrun --nproc_per_node 8 pretrain_gpt.py --moe-layer-freq "$FREQUENCY" --num-layers $LAYERS "${@:2}" --joined "${marks[*]}"
  for ((j = 0, k = 8; j < 3; j++, k /= 2)); do
    if ((j == 1)); then continue; fi
    torchrun --nproc_per_node "$k" pretrain_gpt.py --micro-batch-size $j "${marks[@]:4}" --size "$size" ${@:3:1}
  done
}
run 8 --tensor-model-parallel-size 2 --sequence-parallel
cat <<SETTINGS > ./settings.sh
TENSOR=4
SETTINGS
source ./settings.sh
torchrun --nproc_per_node 8 pretrain_gpt.py --tensor-model-parallel-size $TENSOR
