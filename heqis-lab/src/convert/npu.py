"""Converts an ONNX model for Rockchip's NPU, and computes windows in the toolkit's simulator of it.

python -c SCRIPT MODEL CHIP PRECISION CALIBRATION COUNT [OUT]: reads CALIBRATION and then COUNT windows of each input, in the
model's order, as little-endian f32 from the standard input; builds the model for CHIP in PRECISION (fp16 or int8, which needs
the calibration); writes it to OUT when that is given; writes one line of JSON about itself to the standard output and then
the simulator's outputs, each for all windows.
"""

import json
import os
import sys
import tempfile

# The toolkit prints to the standard output, which must hold the result alone.
result = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)

import numpy
import onnx
from rknn.api import RKNN

path, chip, precision, calibration, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
out = sys.argv[6] if len(sys.argv) > 6 else None
graph = onnx.load(path).graph
filled = {tensor.name for tensor in graph.initializer}
shapes = [
    [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim] for info in graph.input if info.name not in filled
]


def read(windows):
    data = [numpy.frombuffer(sys.stdin.buffer.read(windows * int(numpy.prod(s)) * 4), "<f4") for s in shapes]
    return [[part.reshape([windows] + s)[row] for part, s in zip(data, shapes)] for row in range(windows)]


def done(step, code):
    if code != 0:
        sys.exit(f"{step} failed with {code}")


samples, windows = read(calibration), read(count)
rknn = RKNN(verbose=False)
done("config", rknn.config(target_platform=chip) or 0)
done("load_onnx", rknn.load_onnx(path))
with tempfile.TemporaryDirectory() as directory:
    lines = []
    for row, sample in enumerate(samples):
        names = [os.path.join(directory, f"{row}_{i}.npy") for i in range(len(sample))]
        for name, data in zip(names, sample):
            numpy.save(name, data)
        lines.append(" ".join(names))
    dataset = os.path.join(directory, "dataset.txt")
    with open(dataset, "w") as file:
        file.write("\n".join(lines) + "\n")
    quantised = precision == "int8"
    done("build", rknn.build(do_quantization=quantised, dataset=dataset if quantised else None))
if out:
    done("export_rknn", rknn.export_rknn(out))
done("init_runtime", rknn.init_runtime() if count else 0)
formats = ["nchw"] * len(shapes) if any(len(s) == 4 for s in shapes) else None
rows = [rknn.inference(inputs=window, data_format=formats) for window in windows]
from importlib.metadata import version

result.write(json.dumps({"rknn-toolkit2": version("rknn-toolkit2"), "chip": chip, "precision": precision}).encode() + b"\n")
for output in range(len(rows[0]) if rows else 0):
    for row in rows:
        result.write(numpy.ascontiguousarray(row[output], "<f4").tobytes())
result.flush()
