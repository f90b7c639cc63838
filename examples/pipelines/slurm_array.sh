#!/bin/bash
#SBATCH --job-name=restore
#SBATCH --array=0-15
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=01:00:00
#
# Restores the TIFF images of a folder, shared out among the tasks of a SLURM array:
#
#     sbatch slurm_array.sh IMAGES RESTORED [options of microscopygan restore]
#
# A second submission goes on where the first was stopped. Threads and memory are those that SLURM
# grants to a task.
set -euo pipefail

images=$1
restored=$2
shift 2

mapfile -d '' -t all < <(find "$images" -maxdepth 1 -type f \( -name '*.tif' -o -name '*.tiff' \) -print0 | sort -z)
step=${SLURM_ARRAY_TASK_COUNT:-1}
first=$((${SLURM_ARRAY_TASK_ID:-0} - ${SLURM_ARRAY_TASK_MIN:-0}))
share=()
for ((k = first; k < ${#all[@]}; k += step)); do
  share+=("${all[k]}")
done
if [ "${#share[@]}" -eq 0 ]; then
  echo "nothing to do: more tasks than images"
  exit 0
fi
mkdir -p "$restored"
exec microscopygan restore "${share[@]}" -o "$restored" --resume --quiet --json "$@"
