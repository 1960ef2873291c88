#!/bin/sh
# Compiles the GPU kernels to PTX, which is checked in: the build needs no CUDA. Run it after a change of merge.cu, with nvcc and ptxas of
# CUDA 12 or 13 on the path; GpuKernelsTest fails where the PTX is not that of the source.
#
# PTX of version 7.0 for compute capability 7.5 serves every CUDA driver from 11.0 on. For the instructions that newer GPUs have there is
# PTX beside it: of the same version for compute capability 8.0, and for weights of 8 bits of version 8.1 for 8.9. nvcc writes the version of its own CUDA, which
# older drivers refuse; the kernels use nothing newer, which ptxas checks.
set -eu
cd "$(dirname "$0")/../portllm-core"
digest=$(sha256sum src/main/cuda/merge.cu | cut -d ' ' -f 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p src/main/resources/io/portllm/internal/cuda
compile() {
  nvcc -ptx -arch=compute_$2 -fmad=false -std=c++17 -diag-suppress 177 -DWEIGHTS=$1 src/main/cuda/merge.cu -o "$work/all.ptx"
  {
    echo "// merge.cu sha256 $digest"
    sed -e '/^[[:space:]]*\/\//d' -e '/^$/d' -e "s/^\.version .*/.version $3/" "$work/all.ptx"
  } > "$work/merge.ptx"
  for sm in 75 80 89 90 120; do
    if [ $sm -ge $2 ] && nvcc --list-gpu-code | grep -qx "sm_$sm"; then
      ptxas -arch=sm_$sm "$work/merge.ptx" -o "$work/merge.cubin"
    fi
  done
  gzip -9 -n -c "$work/merge.ptx" > src/main/resources/io/portllm/internal/cuda/merge.$1.$2.ptx.gz
}
rm -f src/main/resources/io/portllm/internal/cuda/merge.*.ptx.gz
for type in F32 F16 BF16 F8_E4M3 F8_E5M2; do
  compile $type 75 7.0
done
for type in F32 F16 BF16; do
  compile $type 80 7.0
done
for type in F8_E4M3 F8_E5M2; do
  compile $type 89 8.1
done
