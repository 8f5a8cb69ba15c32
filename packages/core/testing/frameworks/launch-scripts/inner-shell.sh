#!/bin/bash
# The launcher starts a shell that is given its text in one word.
ARGS="--num-layers 61 --hidden-size 7168 --num-attention-heads 128 --multi-latent-attention --kv-lora-rank 512"
ARGS="$ARGS --moe-layer-freq '([0]*3+[1]*58)' --num-experts 256"
srun -N 32 --ntasks-per-node 8 bash -c "python -u pretrain_gpt.py ${ARGS} --expert-model-parallel-size 64"
