#!/usr/bin/env bash
# Fuzzes each reader of files from elsewhere with Jazzer, from the corpora that are checked in.
#   SECONDS_EACH=3600 tools/fuzz.sh [safetensors index gguf adapter patch vocabulary]
# New inputs gather in portllm-io/target/fuzz/TARGET; findings are the crash-* files there. A finding that is mended belongs into
# portllm-io/src/test/resources/fuzz/TARGET, which every build runs (CorpusTest). Adapters may hold regular expressions, whose steps are
# counted: Jazzer's complaint about any such is switched off.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${SECONDS_EACH:-60}
targets=("$@")
[ $# -gt 0 ] || targets=(safetensors index gguf adapter patch vocabulary)
mvn -B -q -ntp -Pfuzz -pl portllm-io -am -DskipTests package
cd portllm-io
classpath=target/test-classes:target/classes:$(cat target/fuzz.classpath)
found=0
for target in "${targets[@]}"; do
  work=target/fuzz/$target
  mkdir -p "$work"
  echo "== $target, $seconds s"
  java -Xmx512m -cp "$classpath" com.code_intelligence.jazzer.Jazzer \
    --target_class=io.portllm.io.fuzz.FuzzTests --target_method="$target" --instrumentation_includes='io.portllm.**' \
    --disabled_hooks='com.code_intelligence.jazzer.sanitizers.RegexInjection' \
    --reproducer_path="$work" -artifact_prefix="$work/" -max_total_time="$seconds" -max_len=4096 \
    "$work" "src/test/resources/fuzz/$target" 2>&1 | tee "$work/log" | grep -E 'Done|cov:|DEDUP|Exception|Error|artifact' | tail -3 || true
  ! grep -q 'Java Exception' "$work/log" || { found=1; echo "finding in $target: $work/log"; }
done
exit $found
