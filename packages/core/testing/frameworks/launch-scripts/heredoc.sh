#!/bin/bash
# Text that is only written down is no command; substitutions whose output the text decides.
cat <<END > job.yaml
torchrun pretrain_gpt.py --num-layers 1 --hidden-size 1
END
DIR=$(dirname "/data/corpus/text_document")
STAGES=$(expr 2 \* 2)
SIZE=`echo 4096`
printf 'starting\n'
if false; then
  torchrun pretrain_gpt.py --num-layers 99 --hidden-size 1
elif true && ! [[ "$SIZE" == 40?? && $STAGES = 3 ]]; then
  torchrun --nproc_per_node 8 pretrain_gpt.py --hidden-size $SIZE --num-layers 16 --pipeline-model-parallel-size $STAGES --data-path "$(basename $DIR)" --data-cache-path ${DIR//corpus/cache}
fi
rm -f job.yaml
