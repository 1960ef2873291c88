#!/usr/bin/env bash
# Measures anew what docs/reference/performance.md says of processors, and puts the tables there. On a machine with nothing else to do;
# all of it takes about an hour.
#
# usage: tools/performance.sh FOLDER [whole] [growth] [kernels] [extraction]     all four, unless some are named
#
# FOLDER gets models of 7 GB, and needs 20 GB more while it runs.
# JAVAS="java"   the JVMs, the first of which is 25 or later: with it everything is built
# PYTHON=        a Python with torch, safetensors, transformers and peft, perhaps with mergekit
# LLAMA=         llama.cpp's llama-export-lora
# ROUNDS=5       of each row of whole ports
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:?usage: tools/performance.sh FOLDER [whole] [growth] [kernels] [extraction]}
shift
parts=("$@")
[ $# -gt 0 ] || parts=(whole growth kernels extraction)
page=$root/docs/reference/performance.md
read -ra javas <<<"${JAVAS:-java}"
java=(); for each in "${javas[@]}"; do java+=(--java "$each"); done
export JAVA_HOME=${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v "${javas[0]}")")")")} PYTHONDONTWRITEBYTECODE=1
(cd "$root" && mvn -B -q -ntp -pl portllm-bench -am -DskipTests package) >&2
paste() { python3 "$root/tools/paste.py" "$page" "$1"; }

for part in "${parts[@]}"; do
  case $part in
    whole)
      more=()
      [ -z "${PYTHON:-}" ] || more+=(--python "$PYTHON")
      [ -z "${LLAMA:-}" ] || more+=(--llama "$LLAMA")
      python3 "$root/tools/whole_port_peers.py" "$folder" "${java[@]}" --rounds "${ROUNDS:-5}" "${more[@]}" | paste whole ;;
    growth) python3 "$root/tools/growth.py" "$folder" "${java[@]}" --random | paste growth ;;
    kernels) for each in "${javas[@]}"; do JAVA=$each "$root/tools/kernels.sh" -p dtype=BF16,F16,F32; echo; done | paste kernels ;;
    extraction)
      for each in "${javas[@]}"; do JAVA=$each MAIN=io.portllm.bench.kernel.ExtractionTable "$root/tools/kernels.sh"; echo; done |
        paste extraction ;;
    *) echo "$part is none of whole, growth, kernels, extraction" >&2; exit 2 ;;
  esac
done
