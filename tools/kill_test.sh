#!/usr/bin/env bash
# Kills a process that writes models and patches over each other at random moments, and looks at what is left each time.
#   KILLS=10000 tools/kill_test.sh
# A kill takes about as long as a JVM takes to start; its classes are loaded from an archive. IN=FOLDER is where outputs are: on a file
# system in memory (IN=/dev/shm) most kills fall into writing and not into waiting for the disk. With POWER_CUTS=20 the crash points are
# also tried with so many power cuts each.
set -euo pipefail
cd "$(dirname "$0")/.."
mvn -B -q -ntp -Pfuzz -pl portllm-io -am -DskipTests package
work=$PWD/portllm-io/target/kill
rm -rf "$work"
mkdir -p "$work/in" "$work/out"
# Not the module's own jar, whose version would stand in the records: what is expected is written by classes that have none.
jar cf "$work/tests.jar" -C portllm-io/target/test-classes . -C portllm-io/target/classes .
classpath=$work/tests.jar:$(cat portllm-io/target/fuzz.classpath)
# Whoever writes a few outputs and ends has loaded what the processes that are killed will load.
java -cp "$classpath" 'io.portllm.io.write.KillTest$Inputs' "$work/in"
java -XX:ArchiveClassesAtExit="$work/classes.jsa" -XX:+UseSerialGC -Xmx64m -cp "$classpath" \
  'io.portllm.io.write.KillTest$Child' "$work/in" "$work/out" 40 >/dev/null 2>&1
tests=KillTest
[ "${POWER_CUTS:-0}" = 0 ] || tests=KillTest,CrashSafetyTest
mvn -B -ntp -pl portllm-io -am -Dsurefire.failIfNoSpecifiedTests=false -Dtest="$tests" \
  -Dportllm.kills="${KILLS:-1000}" -Dportllm.powerCuts="${POWER_CUTS:-1}" -Djava.io.tmpdir="${IN:-/tmp}" \
  -Dportllm.child="-Xlog:disable -XX:SharedArchiveFile=$work/classes.jsa -cp $classpath" test
