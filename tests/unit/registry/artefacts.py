"""Model files of many formats, made by hand; those that run code leave a mark when they are loaded."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Trap:
    """Makes a folder at `path` when it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self):
        return os.makedirs, (self._path, 0o777, True)


def trap(path: str | Path = "trap", protocol: int = 4) -> bytes:
    return pickle.dumps(Trap(str(path)), protocol)


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(members: Mapping[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def field(number: int, content: bytes | int) -> bytes:
    """One field of a protobuf message."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def onnx(domain: str = "", **attributes: object) -> bytes:
    """A real ONNX model, with a node of a domain of its own where one is named."""
    node = helper.make_node("Strange" if domain else "Relu", ["x"], ["y"], domain=domain, **attributes)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    sets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    graph = helper.make_graph([node], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=sets, ir_version=8, producer_name="a maker")
    model.metadata_props.add(key="author", value="somebody")
    return bytes(model.SerializeToString())


def safetensors(padding: int = 0) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode() + b" " * padding
    return struct.pack("<Q", len(header)) + header + b"\0\0\0\0"


def graph_def() -> bytes:
    return field(1, field(1, b"x") + field(2, b"ReadFile")) + field(4, field(1, 1000))


def saved_model() -> bytes:
    return field(1, 1) + field(2, field(1, field(1, b"v2")) + field(2, graph_def()))


def torch_members(**more: bytes) -> dict[str, bytes]:
    return {"model/data.pkl": trap(), "model/data/0": bytes(64), "model/version": b"3\n"} | more


DATA: dict[str, tuple[bytes, str]] = {
    "ONNX": (onnx(), "ONNX"),
    "ONNX with an operator of somebody else": (onnx("com.example.mine"), "ONNX"),
    "safetensors": (safetensors(), "safetensors"),
    "safetensors that begin as pickles do": (safetensors(0x0280 - len(safetensors()) + 12), "safetensors"),
    "GGUF": (b"GGUF" + struct.pack("<IQQ", 3, 291, 24) + bytes(64), "GGUF"),
    "TFLite": (b"\x1c\0\0\0TFL3" + bytes(64), "TFLite"),
    "OpenVINO IR": (b'<?xml version="1.0"?>\n<net name="m" version="11">\n<layers/></net>', "OpenVINO IR"),
    "array": (saved(np.arange(6.0)), "NumPy array"),
    "arrays": (zipped({"a.npy": saved(np.arange(6.0)), "b.npy": saved(np.arange(3))}), "zip archive"),
    "zip of an ONNX model": (zipped({"m.onnx": onnx(), "labels.txt": b"cat\ndog\n"}), "zip archive"),
    "zip bomb of nothing but zeros": (zipped({"zeros": bytes(1 << 26)}), "zip archive"),
    "tar of an ONNX model": (tarred({"m.onnx": onnx()}), "unknown format"),
    "prose": (b"a model that only its engine for tests understands", "unknown format"),
    "one word": (b"weights", "unknown format"),
    "labels": (b"cat\ndog\nbird\n", "unknown format"),
    "figures": (b"2.5 0.5\n1.5 0.25\n", "unknown format"),
    "JSON": (b'{"learner": {"class_name_of_none": 1}}', "unknown format"),
    "zeros": (bytes(4096), "unknown format"),
    "empty": (b"", "empty file"),
}  # fmt: skip
"""What -> the bytes, and the name they must get."""

CODE: dict[str, tuple[bytes, str]] = {
    **{f"pickle, protocol {protocol}": (trap(protocol=protocol), "pickle") for protocol in PROTOCOLS},
    **{f"pickle of data, protocol {one}": (pickle.dumps({"w": [1.0, "v"]}, one), "pickle") for one in PROTOCOLS},
    "pickle behind a megabyte of data": (pickle.dumps((bytes(1 << 20), Trap("trap"))), "pickle"),
    "pickle that breaks after its call": (trap()[:-1] + b"\xff\xff", "pickle"),
    "pickle of a class, old form": (b"(S'trap'\nios\nmkdir\n.", "pickle"),
    "early PyTorch": (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + trap(protocol=2), "pickle"),
    "pickle with an ONNX model behind it": (trap(protocol=2) + onnx(), "pickle"),
    "PyTorch": (zipped(torch_members(), zipfile.ZIP_STORED), "PyTorch archive"),
    "PyTorch behind an ONNX model": (onnx() + zipped(torch_members()), "PyTorch archive"),
    "TorchScript": (
        zipped(torch_members(**{"model/code/__torch__.py": b"def forward(): ...", "model/constants.pkl": trap()})),
        "TorchScript archive",
    ),
    "Keras": (zipped({"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b""}), "Keras archive"),
    "zipped SavedModel": (zipped({"m/saved_model.pb": saved_model(), "m/variables/x": b""}), "TensorFlow SavedModel"),
    "zip of a pickle by another name": (
        zipped({"weights.bin": trap()}), "zip archive with pickle in it ('weights.bin')"),
    "zip of a pickle with a long beginning": (
        zipped({"w": pickle.dumps((bytes(1 << 20), Trap("trap")))}), "zip archive with pickle in it ('w')"),
    "zip of a zip": (zipped({"inner": zipped({"w": trap()})}), "zip archive with another archive in it"),
    "zip of a library": (zipped({"ops.so": b"\x7fELF"}), "archive with a program"),
    "zip by a method that is not looked into": (zipped({"w": trap()}, zipfile.ZIP_LZMA), "zip archive"),
    "zip without its end": (zipped({"w": bytes(1000)})[:-30], "zip archive"),
    "zip with thousands of files": (zipped({f"f{n}": b"" for n in range(2500)}), "zip archive of 2500 files"),
    "zip whose directory is huge": (zipped({f"{n}{'x' * 60_000}": b"" for n in range(40)}), "zip archive"),
    "arrays of objects": (
        zipped({"a.npy": saved(np.array([Trap("trap")], dtype=object))}),
        "zip archive with NumPy array of objects in it ('a.npy')",
    ),
    "array of objects": (saved(np.array([{}], dtype=object)), "NumPy array of objects"),
    "tar of a pickle": (tarred({"sys_info": trap()}), "tar archive with pickle in it ('sys_info')"),
    "old tar of a pickle": (
        tarred({"readme": b"x", "t": trap()}, tarfile.GNU_FORMAT), "tar archive with pickle in it ('t')"),
    "joblib, gzip": (gzip.compress(trap()), "compressed file with pickle in it"),
    "joblib, zlib": (zlib.compress(trap()), "compressed file with pickle in it"),
    "joblib, bz2": (bz2.compress(trap()), "compressed file with pickle in it"),
    "joblib, xz": (lzma.compress(trap()), "compressed file with pickle in it"),
    "joblib, lzma": (lzma.compress(trap(), lzma.FORMAT_ALONE), "compressed file with pickle in it"),
    "joblib, LZ4": (b"\x04\x22\x4d\x18" + bytes(32), "LZ4-compressed file"),
    "compressed tar": (
        gzip.compress(tarred({"a": bytes(1 << 21), "b": trap()})), "compressed file with another archive in it"),
    "ELF": (b"\x7fELF\x02\x01\x01" + bytes(57), "ELF program or library"),
    "PE": (b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0", "Windows program or library"),
    "Mach-O": (b"\xcf\xfa\xed\xfe" + bytes(60), "Mach-O program or library"),
    "Python": (b"# a model\nimport os\nos.mkdir('trap')\n", "source code"),
    "Python in one expression": (b"__import__('os').mkdir('trap')", "source code"),
    "shell script": (b"#!/bin/sh\nmkdir trap\n", "script"),
    "YAML": (b"a: !!python/object/apply:os.mkdir ['trap']\n", "YAML with Python objects"),
    "Keras JSON": (b'{"class_name": "Functional", "keras_version": "2"}', "Keras model in JSON"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5 file"),
    "HDF5 behind a block of one's own": (bytes(1024) + b"\x89HDF\r\n\x1a\n", "HDF5 file"),
    "SavedModel": (saved_model(), "TensorFlow SavedModel"),
    "SavedModel that is an ONNX model too": (onnx() + saved_model(), "TensorFlow SavedModel"),
    "GraphDef": (graph_def(), "TensorFlow graph"),
    "TensorRT": (b"ftrt" + bytes(60), "TensorRT plan"),
    "TensorRT behind an exporter's head": (struct.pack("<I", 2) + b"{}ftrt" + bytes(60), "TensorRT plan"),
}  # fmt: skip
"""As `DATA`, for what runs code of its maker."""
