"""Computes windows with ONNX Runtime, after the official checker has passed the model.

python -c SCRIPT MODEL COUNT: reads COUNT windows of each input, in the model's order, as little-endian f32 from the standard
input; writes one line of JSON about itself and then the outputs in the same way.
"""

import json
import sys

import numpy
import onnx
import onnxruntime

path, count = sys.argv[1], int(sys.argv[2])
model = onnx.load(path)
onnx.checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
inputs = {}
for tensor in session.get_inputs():
    size = count * int(numpy.prod(tensor.shape)) * 4
    inputs[tensor.name] = numpy.frombuffer(sys.stdin.buffer.read(size), "<f4").reshape([count] + tensor.shape)
names = [output.name for output in session.get_outputs()]
rows = [session.run(names, {name: data[row] for name, data in inputs.items()}) for row in range(count)]
about = {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__, "opset": model.opset_import[0].version}
sys.stdout.buffer.write(json.dumps(about).encode() + b"\n")
for output in range(len(names)):
    for row in rows:
        sys.stdout.buffer.write(numpy.ascontiguousarray(row[output], "<f4").tobytes())
