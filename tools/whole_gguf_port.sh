#!/usr/bin/env bash
# Ports onto generated GGUF models whole with the portllm command and prints wall time, processor time and peak resident memory, beside what cat takes.
#
# usage: tools/whole_gguf_port.sh [SCRATCH]      after `mvn package`; SCRATCH defaults to portllm-bench/target/whole
#
# SIZE=1.1b                      0.01b, 0.1b or 1.1b: the size of the models, generated in SCRATCH/gguf-SIZE unless they are there
# TYPES="bf16 q8_0 q4_0 q4_k"    the types of the new bases
# HEAP=256m                      the command's -Xmx
# LIMIT_MB=700                   exit code 1 if a port's peak resident memory reaches this
# JAVA=java                      the JVM
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
size=${SIZE:-1.1b} types=${TYPES:-bf16 q8_0 q4_0 q4_k} heap=${HEAP:-256m} limit=${LIMIT_MB:-700} java=${JAVA:-java}
scratch=${1:-$root/portllm-bench/target/whole}/gguf-$size
jar=$root/portllm-cli/target/portllm.jar
classes=$root/portllm-bench/target/classes
for needed in "$jar" "$classes"; do
  [ -e "$needed" ] || { echo "$needed is not there: run mvn package" >&2; exit 2; }
done
mkdir -p "$scratch"
log=$scratch/log

generate() { # OPTION NAME OPTION...: made under another name and moved, so that one that is there is complete
  local option=$1 name=$2; shift 2
  [ -e "$scratch/$name" ] && return
  rm -rf "$scratch/part-$name"
  "$java" -Xmx"$heap" -cp "$classes:$jar" io.portllm.bench.generate.GenerateModel --weights "$size" --seed 1 "$@" "$option" "$scratch/part-$name" >"$log"
  mv "$scratch/part-$name" "$scratch/$name"
}

# Seconds that all children so far have used of the processors.
used() { awk 'NR == 2 {split($1, u, /[ms]/); split($2, s, /[ms]/); print 60 * (u[1] + s[1]) + u[2] + s[2]}'; }

# Runs a command and sets seconds, cpu (seconds) and peak (MB).
measure() {
  local start end before kb=0 now pid status
  times >"$scratch/times"; before=$(used <"$scratch/times")
  start=$(date +%s.%N)
  "$@" >"$log" 2>&1 & pid=$!
  # The last value seen is the peak: VmHWM only grows.
  while now=$(awk '/^VmHWM/ {print $2}' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do kb=$now; sleep 0.02; done
  wait "$pid" && status=0 || status=$?
  end=$(date +%s.%N)
  [ "$status" = 0 ] || { cat "$log" >&2; echo "exit code $status: $*" >&2; exit 1; }
  times >"$scratch/times"; cpu=$(awk "BEGIN {print $(used <"$scratch/times") - $before}")
  seconds=$(awk "BEGIN {printf \"%.1f\", $end - $start}")
  peak=$((kb / 1024))
}

say() { # NAME GIGABYTES
  awk "BEGIN {printf \"%-34s %6.1f s  %6.1f s of processors  %5d MB peak  %5.2f GB moved, %5.2f GB/s\n\", \"$1\", $seconds, $cpu, $peak, $2, $2 / ($seconds + 0.001)}"
}

gigabytes() { stat -Lc %s "$@" | awk '{sum += $1} END {print sum / 1e9}'; }
sum() { awk "BEGIN {print $1 + $2}"; }

failed=0
port() { # NAME GIGABYTES NEW-BASE PORT-OPTIONS
  local name=$1 moved=$2 onto=$3; shift 3
  rm -f "$scratch/ported.gguf"
  measure "$java" -Xmx"$heap" -jar "$jar" port "$@" --base "$scratch/base" --onto "$onto" -o "$scratch/ported.gguf" --no-record
  say "$name" "$moved"
  grep "quantised again" "$log" | sed 's/^/  /' || true
  [ "$peak" -lt "$limit" ] || { echo "FAILED: $peak MB, the limit is $limit MB"; failed=1; }
}

generate -o base
generate -o fine-tuned --perturb 2:0.05
generate --adapter adapter
"$java" -version 2>&1 | head -n 1
echo "$size weights, $(nproc) processors, -Xmx$heap"
two=$(gigabytes "$scratch"/{base,fine-tuned}/*.safetensors)
for type in $types; do
  base=$scratch/new-base-$type.gguf
  generate --gguf "new-base-$type.gguf" --type "$type" --perturb 3:0.05
  one=$(gigabytes "$base")
  write="cat '$base' >'$scratch/copy'; sync '$scratch/copy'"
  measure bash -c "cat '$scratch'/{base,fine-tuned}/*.safetensors >/dev/null; $write"
  say "$type: cat, read three, write one" "$(sum "$two" "$(sum "$one" "$one")")"
  measure bash -c "$write"
  say "$type: cat, read one, write one" "$(sum "$one" "$one")"
  rm -f "$scratch/copy"
  port "$type: port, full weight" "$(sum "$two" "$(sum "$one" "$one")")" "$base" --fine-tuned "$scratch/fine-tuned"
  port "$type: port, LoRA of rank 16" "$(sum "$one" "$one")" "$base" --adapter "$scratch/adapter"
done
rm -f "$scratch/ported.gguf"
exit $failed
