#!/usr/bin/env bash
# Builds, times each kernel on one core, and prints a table beside a copy of memory that is measured in the same run.
#
# usage: tools/kernels.sh [JMH options]     JDK 25, so that the jar has the vector kernels
#   tools/kernels.sh -p dtype=BF16,F32 -p change=DIFFERENCE,RANK_16
#
# JAVA=java                                        the JVM to time, such as one of 17
# MAIN=io.portllm.bench.kernel.ExtractionTable     the speed of extraction and composition instead
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
java=${JAVA:-java}
(cd "$root" && mvn -B -q -ntp -Pkernels -pl portllm-bench -am -DskipTests package) >&2
vectors=()
version=$("$java" -XshowSettings:properties -version 2>&1 | sed -n 's/ *java.specification.version = //p')
[ "$version" -lt 25 ] || vectors=(--add-modules jdk.incubator.vector --sun-misc-unsafe-memory-access=allow)
# The jar comes first: of class folders, a JVM takes the plain classes alone.
classpath=$root/portllm-bench/target/classes:$root/portllm-cli/target/portllm.jar:$(cat "$root/portllm-bench/target/kernels.classpath")
main=${MAIN:-io.portllm.bench.kernel.KernelTable}
# What JMH says, warnings of its JVMs included, is no part of the table.
[ "$main" != io.portllm.bench.kernel.KernelTable ] || set -- -o "$root/portllm-bench/target/kernels.log" "$@"
exec "$java" "${vectors[@]}" -Xmx512m -XX:MaxDirectMemorySize=1g -cp "$classpath" "$main" "$@"
