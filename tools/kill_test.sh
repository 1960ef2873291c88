#!/usr/bin/env bash
# Kills a process that writes models and patches over each other at random moments, and looks at what is left each time.
#   KILLS=10000 tools/kill_test.sh
# A kill takes about as long as a JVM takes to start. With POWER_CUTS=20 the crash points are also tried with so many power cuts each.
set -euo pipefail
cd "$(dirname "$0")/.."
mvn -B -ntp -pl portllm-io -am -Dsurefire.failIfNoSpecifiedTests=false -Dtest='KillTest,CrashSafetyTest' \
  -Dportllm.kills="${KILLS:-1000}" -Dportllm.powerCuts="${POWER_CUTS:-1}" test
