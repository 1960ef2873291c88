#!/usr/bin/env bash
# Kills a process before each call to the system that changes the disk (open to create, write, pwrite64, fsync, ftruncate64, rename, mkdir,
# unlink, rmdir), for each kind of output, over another and onto nothing, and looks at what is left each time. Needs Linux and gcc.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/portllm-io/target/kill
mkdir -p "$work"
gcc -Wall -Wextra -O1 -shared -fPIC -o "$work/kill_at_call.so" tools/kill_at_call.c -ldl
mvn -B -ntp -pl portllm-io -am -Dsurefire.failIfNoSpecifiedTests=false -Dtest=CallKillTest \
  -Dportllm.killAtCall="$work/kill_at_call.so" test
