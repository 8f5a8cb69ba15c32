#!/bin/bash
# A script that hands another one to the queue: its variables are filled in, those with a backslash later.
TP=${TP:-2}
MODEL=qwen3-30b
FLAGS=(
  --tensor-model-parallel-size ${TP}
  --expert-model-parallel-size 8
  --num-experts 128
)
CMD="
cd /;
python /workspace/pretrain_gpt.py ${FLAGS[@]} --save /results/${MODEL}"
sbatch <<EOF
#!/bin/bash
#SBATCH --job-name=${MODEL}
STEPS=100
srun --mpi=pmix -l bash -x -c "${CMD} --train-iters \${STEPS}" 2>/dev/null
EOF
cat > job.txt <<EOF
torchrun pretrain_gpt.py --num-layers 99 --hidden-size 1
EOF
rm -f job.txt
