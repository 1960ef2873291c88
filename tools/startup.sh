#!/usr/bin/env bash
# Start-up cost of the samples and the command, in milliseconds of wall time (median of 11 runs), and the sizes of their jars.
# Build first, with the JDK that JAVA_HOME names: mvn -q -B -ntp -DskipTests package. Then: tools/startup.sh
set -euo pipefail
cd "$(dirname "$0")/.."
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
models=portllm-cli/src/main/resources/io/portllm/cli/demo/models
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

median() {
  local i start
  for i in $(seq 11); do
    rm -rf "$out/ported"
    start=$(date +%s%N)
    "$@" >"$out/log" 2>&1 || { cat "$out/log" >&2; exit 1; }
    echo $((($(date +%s%N) - start) / 1000000))
  done | sort -n | sed -n 6p
}

row() { printf '| %s | %s |\n' "$1" "$(median "${@:2}")"; }

port=("$models/climbs-lora" "$models/v1" "$models/v2" "$out/ported")
"$java" -version 2>&1 | sed -n 2p
echo '| start | ms |'
echo '|---|---|'
row 'the JVM alone (`java -version`)' "$java" -version
row '`portllm.jar --version`' "$java" -jar portllm-cli/target/portllm.jar --version
row '`portllm.jar info` of a 0.8 M-weight model' "$java" -jar portllm-cli/target/portllm.jar info "$models/v1"
row 'class path: check, port, record, verify' "$java" -cp 'samples/class-path/target/classes:samples/class-path/target/lib/*' \
  io.portllm.samples.classpath.ClinicPort "${port[@]}"
row 'fat jar: the same' "$java" -jar samples/fat-jar/target/clinic-port.jar "${port[@]}"
row 'jlink image: the same' samples/jlink/target/clinic-port/bin/java -cp 'samples/jlink/target/clinic-port/app/*' \
  io.portllm.samples.classpath.ClinicPort "${port[@]}"
echo
du -sb portllm-core/target/portllm-core-*[0-9T].jar portllm-io/target/portllm-io-*[0-9T].jar portllm-cli/target/portllm.jar \
  samples/fat-jar/target/clinic-port.jar samples/spring-boot/target/port-service.jar samples/jlink/target/clinic-port 2>/dev/null |
  awk '{printf "%6.1f MB  %s\n", $1 / 1e6, $2}'
