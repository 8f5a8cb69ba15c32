#!/bin/bash
# A sweep: the same run for several degrees, stopping early, with what arithmetic and substrings give.
BASE="--num-layers 24 --hidden-size 2048 --num-attention-heads 16 --num-experts 64 --bf16"
i=0
for ep in 1 2 4 8 16; do
  if [ $ep -eq 4 ]; then continue; fi
  [ $ep -gt 8 ] && break
  for tp in {1..2}; do
    i=$((i + 1))
    TAG=run-$i-ep${ep}
    MICRO=$((8 / tp))
    torchrun --nproc_per_node 8 pretrain_gpt.py $BASE --expert-model-parallel-size $ep --tensor-model-parallel-size $tp --micro-batch-size $MICRO --save ${TAG#run-} --wandb-exp-name ${TAG%-*}
  done
done
