#!/usr/bin/env bash
# Builds the last commit in two clones, in folders of other names and with other clocks' zones, and compares the jars of all modules and the published BOM.
#
# usage: tools/reproducible.sh [SCRATCH]      SCRATCH defaults to a temporary folder
#
# MAVEN="mvn -o"   the Maven to run
# Exit code 1 if a file differs.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
scratch=${1:-$(mktemp -d)}
maven=${MAVEN:-mvn}
build() { # NAME ZONE LANGUAGE
  git clone -q "$root" "$scratch/$1"
  (cd "$scratch/$1" && TZ=$2 LC_ALL=$3 $maven -B -ntp -q -DskipTests package
    find portllm-*/target -maxdepth 1 \( -name '*.jar' ! -name 'original-*' -o -name .flattened-pom.xml \) | sort | xargs sha256sum > "$scratch/$1.sha256")
}
build one UTC C
build the-other-one Pacific/Chatham C.UTF-8
cat "$scratch/one.sha256"
diff "$scratch/one.sha256" "$scratch/the-other-one.sha256" && echo "the same: $(wc -l < "$scratch/one.sha256") files"
