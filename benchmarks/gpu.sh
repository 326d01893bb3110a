#!/usr/bin/env bash
# All that a GPU is wanted for, in one call of at most nine minutes; called again, it goes on.
#
#   benchmarks/gpu.sh cifar10.npz OUT
#   WHEELS=wheels COMMIT=0123abc benchmarks/gpu.sh cifar10.npz OUT --seconds=530
#   benchmarks/gpu.sh small.npz OUT --toy      a little of each on a CPU, in minutes
#
# Throughput of ResNet-18 and ResNet-50, bfloat16 and float32, beside PyTorch; then SimCLR and CARE
# with a ResNet-18 on CIFAR-10 for the time that is left, from checkpoint to checkpoint, each
# measured on test when it has ended. OUT holds the numbers, the runs, and README.md with the tables.
# The .npz has train_images, train_labels, test_images and test_labels.
#
# It says which packages are missing. What a machine without network lacks comes from a folder of
# wheels, made where there is one; TFDS and grain are not needed. COMMIT names that of a copy without
# .git. (--python-version is that of the machine.)
#
#   pip download --no-deps --only-binary=:all: --python-version 3.12 -d wheels \
#       ml-collections dm-pix clu tensorboardX
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here/..:$here${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
if [ -n "${WHEELS:-}" ]; then
  python3 -m pip install --quiet --no-index --no-deps --find-links "$WHEELS" "$WHEELS"/*.whl
fi
exec python3 "$here/gpu.py" "$@"
