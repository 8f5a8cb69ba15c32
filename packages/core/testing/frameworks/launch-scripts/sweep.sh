#!/bin/bash
# One run for each line of a list, its columns read into variables.
SWEEP=("2,4,1,8,true" "4,2,1,4,true" "1,8,2,16,false")
for ROW in "${SWEEP[@]}"; do
  KEEP=$IFS
  IFS=',' read -r TP PP CP EP SP <<< "$ROW"
  IFS=$KEEP
  EXTRA=()
  if [ "$SP" = "true" ]; then EXTRA+=(--sequence-parallel); fi
  torchrun --nproc_per_node 8 pretrain_gpt.py --tensor-model-parallel-size $TP --pipeline-model-parallel-size $PP \
    --context-parallel-size $CP --expert-model-parallel-size $EP "${EXTRA[@]}"
done
read -r FIRST REST <<< "hidden 4096 and more"
read -ra SIZES <<< "24 2048"
torchrun pretrain_gpt.py --num-layers ${SIZES[0]} --hidden-size ${SIZES[1]} --name "$FIRST" --note "$REST"
