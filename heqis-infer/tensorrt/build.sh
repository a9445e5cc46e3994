#!/bin/sh
# Builds libheqis_tensorrt.so on a board, against the TensorRT and CUDA headers that it has.
#
#   build.sh OUTPUT [INCLUDE_DIR]...
#
# JetPack keeps the headers in /usr/include/aarch64-linux-gnu and /usr/local/cuda/include, which are always searched.
set -eu
output=${1:?usage: build.sh OUTPUT [INCLUDE_DIR]...}
shift
source=$(dirname "$0")/shim.cpp
includes=
for dir in "$@" /usr/local/cuda/include /usr/local/cuda/targets/aarch64-linux/include; do
    includes="$includes -I$dir"
done
# enqueueV2 is deprecated in TensorRT 8.5 and removed in 10, where the shim uses enqueueV3.
# shellcheck disable=SC2086
exec "${CXX:-c++}" -std=c++14 -O2 -Wall -Wextra -Wno-deprecated-declarations -Wno-unused-parameter \
    -shared -fPIC -fvisibility=hidden $includes -o "$output" "$source" -ldl -lpthread
