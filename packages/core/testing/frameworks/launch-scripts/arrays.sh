#!/bin/bash
# Arrays by subject, as the examples of Megatron-LM have them; one element behind a comment, one array grown later.
set -euo pipefail
export CUDA_DEVICE_MAX_CONNECTIONS=1
GPUS_PER_NODE=8
NNODES=${NNODES:-"4"}
WORLD_SIZE=$(($GPUS_PER_NODE * $NNODES))
LAUNCHER_ARGS=(
    --nproc_per_node $GPUS_PER_NODE
    --nnodes "$NNODES"
    --node_rank ${NODE_RANK:-0}
)
MODEL_ARGS=(
    --num-layers 32        # layers
    --hidden-size 4096
    # --num-layers 2
    --num-attention-heads 32
    --seq-length $((2 ** 12))
    --max-position-embeddings 4096
)
MOE_ARGS=(--num-experts 8 --moe-router-topk 2 --expert-model-parallel-size $((WORLD_SIZE / 4 > 8 ? 8 : WORLD_SIZE / 4)))
if [ -n "${PROFILE:-}" ]; then
    MOE_ARGS+=(--profile)
fi
if [[ $WORLD_SIZE -ge 32 && "$NNODES" != "1" ]]; then
    MODEL_ARGS+=(--tensor-model-parallel-size 4 --sequence-parallel)
else
    MODEL_ARGS+=(--tensor-model-parallel-size 1)
fi
torchrun "${LAUNCHER_ARGS[@]}" pretrain_gpt.py "${MODEL_ARGS[@]}" ${MOE_ARGS[@]} --micro-batch-size 1 --global-batch-size $((WORLD_SIZE * 2)) --bf16
