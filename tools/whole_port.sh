#!/usr/bin/env bash
# Ports a generated model whole with the portllm command and prints wall time and peak resident memory, beside what cat takes.
#
# usage: tools/whole_port.sh [SCRATCH]      after `mvn package`; SCRATCH defaults to portllm-bench/target/whole
#
# SIZE=1.1b      0.01b, 0.1b or 1.1b: the size of the models, generated in SCRATCH/SIZE unless they are there
# SHARDS=1       the number of files of each model
# HEAP=256m      the command's -Xmx
# LIMIT_MB=600   exit code 1 if a port's peak resident memory reaches this
# VERIFY=PYTHON  a Python with torch and safetensors: compares each port with torch, byte for byte
# JAVA=java      the JVM
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
size=${SIZE:-1.1b} shards=${SHARDS:-1} heap=${HEAP:-256m} limit=${LIMIT_MB:-600} java=${JAVA:-java}
scratch=${1:-$root/portllm-bench/target/whole}/$size-$shards
jar=$root/portllm-cli/target/portllm.jar
classes=$root/portllm-bench/target/classes
for needed in "$jar" "$classes"; do
  [ -e "$needed" ] || { echo "$needed is not there: run mvn package" >&2; exit 2; }
done
mkdir -p "$scratch"
log=$scratch/log

generate() { # FOLDER-OPTION NAME OPTION...: a folder is made under another name and moved, so that one that is there is complete
  local option=$1 name=$2; shift 2
  [ -e "$scratch/$name" ] && return
  rm -rf "$scratch/$name.part"
  "$java" -Xmx"$heap" -cp "$classes:$jar" io.portllm.bench.generate.GenerateModel --weights "$size" "$@" "$option" "$scratch/$name.part"
  mv "$scratch/$name.part" "$scratch/$name"
}
generate -o base --shards "$shards" --seed 1
generate -o fine-tuned --shards "$shards" --seed 1 --perturb 2:0.05
generate -o new-base --shards "$shards" --seed 1 --perturb 3:0.05
generate --adapter adapter --seed 1

# Runs a command and sets seconds and peak (MB, of the largest of its processes).
measure() {
  local start end kb=0 now pid status
  start=$(date +%s.%N)
  if [ -x /usr/bin/time ]; then
    /usr/bin/time -o "$scratch/time" -f %M "$@" >"$log" 2>&1 && status=0 || status=$?
    kb=$(tail -n 1 "$scratch/time")
  else
    "$@" >"$log" 2>&1 & pid=$!
    # The last value seen is the peak: VmHWM only grows.
    while now=$(awk '/^VmHWM/ {print $2}' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do kb=$now; sleep 0.02; done
    wait "$pid" && status=0 || status=$?
  fi
  end=$(date +%s.%N)
  [ "$status" = 0 ] || { cat "$log" >&2; echo "exit code $status: $*" >&2; exit 1; }
  seconds=$(awk "BEGIN {printf \"%.1f\", $end - $start}")
  peak=$((kb / 1024))
}

say() { # NAME GIGABYTES
  awk "BEGIN {printf \"%-34s %6.1f s  %5d MB peak  %5.2f GB moved, %5.2f GB/s\n\", \"$1\", $seconds, $peak, $2, $2 / ($seconds + 0.001)}"
}

gigabytes() { stat -Lc %s "$@" | awk '{sum += $1} END {print sum / 1e9}'; }
sum() { awk "BEGIN {print $1 + $2}"; }

failed=0
port() { # NAME GIGABYTES VERIFY-OPTIONS -- PORT-OPTIONS
  local name=$1 moved=$2 verify=(); shift 2
  while [ "$1" != -- ]; do verify+=("$1"); shift; done; shift
  rm -rf "$scratch/ported"
  measure "$java" -Xmx"$heap" -jar "$jar" port "$@" --base "$scratch/base" --onto "$scratch/new-base" -o "$scratch/ported" --no-record
  say "$name" "$moved"
  [ "$peak" -lt "$limit" ] || { echo "FAILED: $peak MB, the limit is $limit MB"; failed=1; }
  if [ -n "${VERIFY:-}" ]; then
    PYTHONDONTWRITEBYTECODE=1 "$VERIFY" "$root/tools/reference_port.py" "${verify[@]}" \
      --onto "$scratch/new-base" --ported "$scratch/ported" ||
      failed=1
  fi
}

all=$(gigabytes "$scratch"/{base,fine-tuned,new-base}/*.safetensors)
one=$(gigabytes "$scratch"/new-base/*.safetensors)
"$java" -version 2>&1 | head -n 1
echo "$size weights in $shards file(s) of bf16, $(nproc) processors, -Xmx$heap"

# Reading what a port reads and writing what it writes, forced to the disk as a port is.
write="cat '$scratch'/new-base/*.safetensors >'$scratch/copy'; sync '$scratch/copy'"
measure bash -c "cat '$scratch'/{base,fine-tuned}/*.safetensors >/dev/null; $write"
say "cat: read three, write one" "$(sum "$all" "$one")"
rm -f "$scratch/copy"
measure bash -c "$write"
say "cat: read one, write one" "$(sum "$one" "$one")"
rm -f "$scratch/copy"

port "port, full weight" "$(sum "$all" "$one")" --fine-tuned "$scratch/fine-tuned" --base "$scratch/base" -- \
  --fine-tuned "$scratch/fine-tuned"
port "port, LoRA of rank 16" "$(sum "$one" "$one")" --adapter "$scratch/adapter" -- --adapter "$scratch/adapter"
rm -rf "$scratch/ported"
exit $failed
