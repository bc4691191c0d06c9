#!/usr/bin/env bash
# The CIFAR-10 models, trained and measured on one GPU, in stages that each end by themselves within MINUTES (default 9).
#
#     benchmarks/cifar10_models.sh speed        steps per second against peers (pip install denoising-diffusion-pytorch), share of the GPU's bf16 peak
#     benchmarks/cifar10_models.sh train64      cifar10-64; call it again and again: it goes on until STEPS64 are done
#     benchmarks/cifar10_models.sh measure64    FID, KID, precision and recall at eta = 0, S = 10 to 100; samples
#     benchmarks/cifar10_models.sh tables64     table 1 and table 2; call again until it says that all is done
#     benchmarks/cifar10_models.sh train128, measure128          the same for cifar10-128
#     benchmarks/cifar10_models.sh adaptive     mse, published and mended at one budget, two seeds each, and their FID
#
# DATA is a folder with cifar10/{train,test}/<class>/ (or what torchvision downloads), INCEPTION the weights of FID's network in
# torch-fidelity's form, RUNS where runs are kept, RESULTS where the JSON files go, REFERENCE what FID compares with: train, or an .npz
# file of statistics (which gives no KID, precision and recall). TINY=1 does everything at a scale that a laptop's
# processor manages in minutes: it proves the commands and measures nothing.
set -euo pipefail
: "${DATA:=data}" "${INCEPTION:=inception.pth}" "${RUNS:=runs}" "${RESULTS:=results}" "${MINUTES:=9}" "${PYTHON:=python}" "${TINY:=}" "${REFERENCE:=train}"
mkdir -p "$RUNS" "$RESULTS"

# Large batches with the learning rate of Adam's usual root scaling (2e-4 at 128), a short warm-up, an average over the last few percent of
# a run that is a hundred times shorter than the paper's, and a rate that falls to 0 at its end.
BATCH=512 STEPS64=30000 STEPS128=12000 STEPS_ADAPTIVE=4000
FAST=(--batch $BATCH --lr 4e-4 --warmup 500 --lr-final 0 --ema 0.9995 --precision bf16 --compile on --save-every 1000 --sample-every 5000)
N=50000 N_CELL=10000 LIST="10 20 50 100" FID_STEPS="10 20 50 100" SHOWN=50
if [ -n "$TINY" ]; then
  STEPS64=4 STEPS128=3 STEPS_ADAPTIVE=3 N=24 N_CELL=24 LIST="2 3" FID_STEPS="2 3" SHOWN=3
  FAST=(--batch 4 --lr 4e-4 --warmup 2 --lr-final 0 --ema 0.9 --save-every 2 --sample-every 100 --threads 1 --unet.ch 32)
fi
DDIM="$PYTHON -m ddim_edu"

# train NAME RECIPE STEPS [OPTIONS]: begin, or go on; a run that is finished is left alone
train() {
  local name=$1 recipe=$2 steps=$3; shift 3
  if [ -e "$RUNS/$name/state.pt" ]; then
    timeout "${MINUTES}m" $DDIM.train --resume "$RUNS/$name" --data-dir "$DATA" || stopped $?
  else
    timeout "${MINUTES}m" $DDIM.train "$recipe" --steps "$steps" "${FAST[@]}" "$@" --out "$RUNS/$name" --data-dir "$DATA" || stopped $?
  fi
}
# timeout gives 124, and training that was asked to stop 130: both have saved
stopped() { [ "$1" = 124 ] || [ "$1" = 130 ] || exit "$1"; echo "time is up; call again to go on"; }

# fid NAME STEPS SPACING N
fid() {
  timeout "${MINUTES}m" $DDIM.evaluate fid "$RUNS/$1" --features inception --inception-weights "$INCEPTION" --data-dir "$DATA" \
      --reference "$REFERENCE" --steps "$2" --spacing "$3" -n "$4" --out "$RESULTS/fid_$1_S$2.json" || stopped $?
}

case "${1:-}" in
speed)
  if [ -n "$TINY" ]; then
    $PYTHON benchmarks/bench_training.py --recipe cifar10-64 --batch 2 --rounds 1 --repeats 1 --out "$RESULTS/bench_training_gpu.json"
  else
    $PYTHON benchmarks/bench_training.py --recipe cifar10-64 cifar10-128 --batch 256 --repeats 20 --out "$RESULTS/bench_training_gpu.json"
  fi ;;
train64) train cifar10-64 cifar10-64 $STEPS64 ;;
train128) train cifar10-128 cifar10-128 $STEPS128 ;;
measure64 | measure128)
  name=cifar10-${1#measure}
  for S in $FID_STEPS; do fid "$name" "$S" quadratic $N; done
  $DDIM.sample "$RUNS/$name" --steps "$SHOWN" --spacing quadratic -n 64 --out "$RESULTS/$name.png" ;;
tables64)
  timeout "${MINUTES}m" $DDIM.evaluate table1 "$RUNS/cifar10-64" --features inception --inception-weights "$INCEPTION" --data-dir "$DATA" \
      --reference "$REFERENCE" --spacings quadratic --steps $LIST -n $N_CELL --out "$RESULTS/table1_cifar10-64.json" || stopped $?
  timeout "${MINUTES}m" $DDIM.evaluate table2 "$RUNS/cifar10-64" --spacing leading --data-dir "$DATA" ${TINY:+-n 4 --steps 2 3} \
      --out "$RESULTS/table2_cifar10-64.json" || stopped $? ;;
adaptive)
  for seed in 0 1; do
    for loss in mse published mended; do
      name=cifar10-64-$loss-$seed
      train "$name" cifar10-64-adaptive $STEPS_ADAPTIVE --loss "$loss" --seed "$seed"
      fid "$name" "$SHOWN" quadratic $N_CELL
    done
  done ;;
*) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
