#!/bin/bash
NNODES=${NNODES:-2}
MODEL_ARGS=(
  --num-layers 48 --hidden-size 2048 --ffn-hidden-size 6144 --num-attention-heads 32 --kv-channels 128
  --group-query-attention --num-query-groups 4 --qk-layernorm --swiglu --normalization RMSNorm
  --disable-bias-linear --untie-embeddings-and-output-weights --vocab-size 151936
  --seq-length 4096 --max-position-embeddings 40960 --position-embedding-type rope
)
MOE_ARGS=(
  --num-experts 128 --moe-router-topk 8 --moe-ffn-hidden-size 768 --moe-grouped-gemm
  --moe-token-dispatcher-type alltoall --expert-model-parallel-size 8 --expert-tensor-parallel-size 1
)
torchrun --nnodes $NNODES --nproc-per-node 8 pretrain_gpt.py "${MODEL_ARGS[@]}" "${MOE_ARGS[@]}" \
  --tensor-model-parallel-size 1 --pipeline-model-parallel-size 2 --micro-batch-size 2 --global-batch-size 256 \
  --use-distributed-optimizer --bf16
