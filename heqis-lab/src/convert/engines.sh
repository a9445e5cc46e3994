#!/bin/sh
# Builds a TensorRT engine of every model next to this script, on the board that will run it.
#
# An engine fits one version of TensorRT and one GPU; both are written next to it as trtexec names them.
set -eu
cd "$(dirname "$0")"
trtexec=${HEQIS_TRTEXEC:-/usr/src/tensorrt/bin/trtexec}
for model in */model.onnx; do
    place=$(dirname "$model")
    echo "$place"
    # One run of zero duration: the flags that skip it differ between versions.
    "$trtexec" --onnx="$model" --saveEngine="$place/model.engine" --fp16 --iterations=1 --duration=0 --warmUp=0 \
        >"$place/trtexec.log" 2>&1 || { tail -n 3 "$place/trtexec.log" >&2; exit 1; }
    version=$(sed -n 's/.*TensorRT version: *\([0-9.]*\).*/\1/p' "$place/trtexec.log" | head -n 1)
    gpu=$(sed -n 's/.*Selected Device: *//p' "$place/trtexec.log" | head -n 1)
    printf '{"tensorrt": "%s", "gpu": "%s"}\n' "$version" "$gpu" >"$place/model.engine.json"
done
