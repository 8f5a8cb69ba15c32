#!/bin/bash
# Parses arguments of its own, with defaults, before it launches.
set -- --tp 4 --experts 16 --flash
TP=1
EXPERTS=8
EXTRA=()
while [[ $# -gt 0 ]]; do
  case "$1" in
    --tp)
      TP="$2"
      shift 2
      ;;
    --experts)
      EXPERTS=$2
      shift
      shift
      ;;
    --flash) EXTRA+=(--attention-backend flash); shift ;;
    *) shift ;;
  esac
done
python pretrain_gpt.py --tensor-model-parallel-size "$TP" --num-experts "${EXPERTS}" "${EXTRA[@]}" --num-layers 4
