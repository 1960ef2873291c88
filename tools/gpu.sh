#!/usr/bin/env bash
# Checks and times the GPU path on a machine that has a GPU, a CUDA driver and nothing of this project: not even a JDK.
#
#   tools/gpu.sh pack DIR         here, with JDK 25 or later as JAVA_HOME: builds, and puts all that is needed into DIR (about 35 MB)
#   DIR/gpu.sh run [PART...]      there; Linux on the processor of this machine. Parts, all of them unless some are named:
#     check      the kernels and resident models against plain Java
#     kernels    bytes a second of each kernel, beside a copy and torch
#     swap       LoRA patches swapped on resident models of 1.1 and 6.7 billion weights, beside PEFT and torch
#     port       whole ports of files by each merger, and by the command on each device
#
# torch, transformers and peft are asked for the comparisons only. Figures: docs/reference/performance.md.
set -euo pipefail

pack() {
  local dir=$1 here
  mkdir -p "$dir/lib"
  dir=$(cd "$dir" && pwd)
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  cd "$here"
  mvn -B -ntp -q dependency:copy -Dartifact=org.junit.platform:junit-platform-console-standalone:6.1.3 -DoutputDirectory="$dir/lib"
  mvn -B -ntp -q -pl portllm-bench,portllm-cli -am -DskipTests package dependency:copy-dependencies -DincludeScope=runtime \
    -DincludeGroupIds=com.google.guava,com.fasterxml.jackson.core,info.picocli -DoutputDirectory="$dir/lib"
  for module in core io bench cli; do
    cp "portllm-$module/target/portllm-$module-0.1.0-SNAPSHOT.jar" "$dir/lib/$module.jar"
  done
  zip -q -d "$dir/lib/cli.jar" '*.safetensors'
  (cd portllm-core/target/test-classes && "$JAVA_HOME/bin/jar" cf "$dir/lib/core-tests.jar" io/portllm)
  rm -rf "$dir/jdk"
  "$JAVA_HOME/bin/jlink" --strip-debug --no-header-files --no-man-pages --compress zip-9 --output "$dir/jdk" \
    --add-modules java.base,java.logging,java.management,java.naming,java.sql,jdk.incubator.vector,jdk.unsupported
  tar cJf "$dir/jdk.tar.xz" -C "$dir" jdk
  rm -rf "$dir/jdk"
  for family in llama gemma3-oov; do
    if [ -d "../shared/golden/hf-gguf/$family" ]; then
      mkdir -p "$dir/gguf/$family"
      cp -rL "../shared/golden/hf-gguf/$family"/{new-base.gguf,hf/base,hf/fine-tuned} "$dir/gguf/$family"
    fi
  done
  cp tools/gpu.sh tools/gpu_peers.py "$dir"
}

run() {
  local dir work out cp
  dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  work=$(mktemp -d -p "${PORTLLM_GPU_WORK:-/dev/shm}")
  trap "rm -rf '$work'" EXIT
  tar xJf "$dir/jdk.tar.xz" -C "$work"
  cp=$(printf '%s:' "$dir"/lib/*.jar)
  java() {
    "$work/jdk/bin/java" --enable-native-access=ALL-UNNAMED --add-modules jdk.incubator.vector -cp "$cp" "$@" 2>&1 \
      | grep -v 'Using incubator modules'
  }
  [ $# -gt 0 ] || set -- check kernels swap port
  for part in "$@"; do
    echo "== $part $(date +%T)"
    "$part"
  done
}

check() {
  java -Xmx8g org.junit.platform.console.ConsoleLauncher execute --disable-banner --disable-ansi-colors --details=summary \
    -c io.portllm.internal.kernel.CudaMergerIT -c io.portllm.cuda.ResidentModelIT
}

kernels() {
  java -Xmx8g io.portllm.bench.gpu.KernelSpeed
  python3 "$dir/gpu_peers.py" kernels
}

swap() {
  java -Xmx8g io.portllm.bench.gpu.SwapSpeed 1.1b 7b
  python3 "$dir/gpu_peers.py" swaps 1.1b 7b
}

port() {
  local make="java io.portllm.bench.generate.GenerateModel --weights 1.1b"
  $make --seed 1 -o "$work/base" --adapter "$work/adapter"
  $make --seed 1 --perturb 2:0.1 -o "$work/new-base"
  $make --seed 1 --perturb 3:0.05 -o "$work/tuned"
  java -Xmx4g io.portllm.bench.gpu.PortSpeed "$work/base" "$work/new-base" "$work/tuned" "$work/adapter" "$work"
  byCommand "full weights" --fine-tuned "$work/tuned" --base "$work/base" --onto "$work/new-base"
  byCommand LoRA --adapter "$work/adapter" --base "$work/base" --onto "$work/new-base"
  # Small GGUF models, if the golden ones were there to be packed.
  for model in "$dir"/gguf/*/; do
    [ -e "$model" ] || continue
    byCommand "GGUF-$(basename "$model")" --fine-tuned "$model/fine-tuned" --base "$model/base" --onto "$model/new-base.gguf"
  done
}

# The command on either device, by the clock, and whether it writes the same file.
byCommand() {
  local what=$1 device started file
  shift
  for device in cpu cuda; do
    file=$work/command-$device.${what%% *}
    case $what in GGUF*) file=$file.gguf ;; *) file=$file.safetensors ;; esac
    started=$(date +%s.%N)
    java -Xmx4g io.portllm.cli.Main port "$@" --device $device --no-record -o "$file" | grep -v '%' || true
    echo "command, $what, --device $device: $(date +%s.%N | awk -v from="$started" '{printf "%.2f s", $1 - from}')"
  done
  cmp "$work"/command-cpu."${what%% *}".* "$work"/command-cuda."${what%% *}".* && echo "command, $what: same files"
  rm -f "$work"/command-cpu.* "$work"/command-cuda.*
}

command=$1
shift
"$command" "$@"
