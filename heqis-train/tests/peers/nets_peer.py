"""Checks models with the official ONNX checker and computes them with ONNX Runtime.

Usage: python nets_peer.py DIR, where DIR holds jobs.json, a list of {model, rows, inputs}: a file name, the number of items,
and a file of little-endian f32 for each input. A model of static batch N runs items / N times; each output is written to
MODEL.OUTPUT.f32.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime

folder = pathlib.Path(sys.argv[1])
for job in json.loads((folder / "jobs.json").read_text()):
    path = str(folder / job["model"])
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 13 and model.ir_version == 7, path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    data = {}
    for tensor in session.get_inputs():
        values = numpy.fromfile(folder / job["inputs"][tensor.name], dtype="<f4")
        data[tensor.name] = values.reshape([job["rows"], *tensor.shape[1:]])
    batch = session.get_inputs()[0].shape[0]
    names = [output.name for output in session.get_outputs()]
    parts = [
        session.run(names, {name: values[start : start + batch] for name, values in data.items()})
        for start in range(0, job["rows"], batch)
    ]
    for index, name in enumerate(names):
        whole = numpy.concatenate([part[index] for part in parts])
        whole.astype("<f4").tofile(folder / f"{job['model']}.{name}.f32")
