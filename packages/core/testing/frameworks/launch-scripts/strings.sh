#!/usr/bin/env bash
# Long strings with line continuations, put together and split again by the shell.
TP=2; PP=4
EP=8
NAME="mixtral-tp${TP}-pp${PP}"
OPTIONS=" \
    --tensor-model-parallel-size ${TP} \
    --pipeline-model-parallel-size ${PP} \
    --expert-model-parallel-size ${EP} \
    --num-layers 32 --hidden-size 4096 \
    --num-attention-heads 32 "
OPTIONS="${OPTIONS} --num-experts 8"
OPTIONS+=" --moe-token-dispatcher-type alltoall"
[[ $TP -gt 1 ]] && OPTIONS="$OPTIONS --sequence-parallel"
[ "$PP" -gt 8 ] && OPTIONS="$OPTIONS --num-virtual-stages-per-pipeline-rank 2" || echo "no virtual stages"
COMMAND="python -u pretrain_gpt.py ${OPTIONS} --save checkpoints/$NAME --micro-batch-size 1 --global-batch-size 256"
echo "${COMMAND}"
eval ${COMMAND}
