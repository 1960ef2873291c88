#!/usr/bin/env bash
# Writes the patch between two models with each kind of compression, and prints what the command reports, with wall time and peak memory.
#
# usage: tools/lossy_sizes.sh FINE_TUNED BASE [SCRATCH]      after `mvn package`; each patch is deleted once it was measured
#
# HEAP=256m      the command's -Xmx
# JAR=…          the command; default portllm-cli/target/portllm.jar
# JAVA=java      the JVM
set -euo pipefail -f
root=$(cd "$(dirname "$0")/.." && pwd)
jar=${JAR:-$root/portllm-cli/target/portllm.jar} heap=${HEAP:-256m} java=${JAVA:-java}
[ $# -ge 2 ] || { echo "usage: $0 FINE_TUNED BASE [SCRATCH]" >&2; exit 2; }
scratch=$(mktemp -d -p "${3:-/tmp}")
trap 'rm -rf "$scratch"' EXIT
patch=$scratch/p.patch.safetensors
for options in "--bands 2:8,32:3,64:2" "--bits 8" "--bits 4" "--bits 1" "--bits 1 --compress *_proj.weight *embed* *head*" "--density 0.1" "--density 0.1 --bits 4" "--density 0.05 --bits 1 --compress *_proj.weight *embed* *head*"; do
  start=$(date +%s)
  # shellcheck disable=SC2086
  "$java" -Xmx"$heap" -jar "$jar" diff --fine-tuned "$1" --base "$2" $options --no-sketches -o "$patch" --force >"$scratch/log" & pid=$!
  peak=0
  # The last value seen is the peak: VmHWM only grows.
  while now=$(awk '/^VmHWM/ {print $2}' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do peak=$now; sleep 0.1; done
  wait "$pid"
  echo "$options: $(stat -c %s "$patch") bytes, $(($(date +%s) - start)) s, $((peak / 1024)) MB peak; $(tail -n 1 "$scratch/log")"
done
