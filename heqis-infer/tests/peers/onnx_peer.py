"""Checks a model with the official ONNX checker and computes it with ONNX Runtime.

Usage: python onnx_peer.py DIR, where DIR holds model.onnx (one f32 input) and input.json (its elements).
Prints what the two saw as JSON.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime

folder = pathlib.Path(sys.argv[1])
path = str(folder / "model.onnx")
model = onnx.load(path)
onnx.checker.check_model(model, full_check=True)

session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
(tensor,) = session.get_inputs()
data = numpy.array(json.loads((folder / "input.json").read_text()), dtype=numpy.float32).reshape(tensor.shape)
names = [output.name for output in session.get_outputs()]
values = session.run(names, {tensor.name: data})
print(
    json.dumps(
        {
            "ir_version": model.ir_version,
            "opset": model.opset_import[0].version,
            "metadata": {entry.key: entry.value for entry in model.metadata_props},
            "outputs": {name: value.ravel().tolist() for name, value in zip(names, values)},
        }
    )
)
