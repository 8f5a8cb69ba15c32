#!/bin/bash
# Exports, variables in front of a command, maps, indirection and a condition on a variable that is not set.
export NCCL_IB_TIMEOUT=19
export NVTE_FWD_LAYERNORM_SM_MARGIN=16
declare -A LAYERS=([small]=12 [large]="48")
SIZE=large
small_heads=12
large_heads=32
HEADS_OF=${SIZE}_heads
FLAGS=()
FLAGS[0]="--num-layers"
FLAGS[1]=${LAYERS[$SIZE]}
FLAGS+=("--num-attention-heads" "${!HEADS_OF}")
if [ -z "$CHECKPOINT" ]; then
  FLAGS+=(--no-load-optim)
fi
echo "${#FLAGS[@]} flags"
CUDA_DEVICE_MAX_CONNECTIONS=32 OMP_NUM_THREADS=1 torchrun --nproc-per-node=4 pretrain_gpt.py "${FLAGS[@]}" --seed ${SEED:=1234} --train-iters ${SEED:0:2}
