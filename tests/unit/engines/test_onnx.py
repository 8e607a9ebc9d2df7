"""The ONNX adapter's own work, without ONNX Runtime."""

from types import SimpleNamespace

import numpy as np
import pytest

from inference.engines.base import LoadSpec
from inference.engines.onnx import OnnxEngine, _cuda_options, _refuse_impossible
from inference.engines.onnx_file import NotProtobuf, external_names
from inference.errors import EngineFailed, EngineLoadFailed, OutOfMemory, RunStopped


def node(name="x", kind="tensor(float)", shape=("N", 3)):
    return SimpleNamespace(name=name, type=kind, shape=list(shape))


class Options:
    """ONNX Runtime's RunOptions."""

    terminate = False


class Session:
    """What ONNX Runtime's session answers to."""

    def __init__(self, answer=None, inputs=None):
        self.answer, self.inputs, self.outputs = answer, inputs or [node()], [node("y")]
        self.during = None

    def get_inputs(self):
        return self.inputs

    def get_outputs(self):
        return self.outputs

    def run(self, names, feeds, options):
        if self.during:
            self.during()
        if options.terminate:
            raise RuntimeError("Exiting due to terminate flag being set to true.")
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer for _ in names]


def test_symbolic_axes_are_open():
    engine = OnnxEngine(Session(inputs=(node(shape=("N", None, -1, 4)),)), "cpu", Options)

    assert engine.inputs[0].shape == (None, None, None, 4)


def test_outputs_come_under_their_names():
    answer = np.ones((1, 3), np.float32)

    assert OnnxEngine(Session(answer), "cpu", Options).run({"x": answer}) == {"y": answer}


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc", OutOfMemory, "not enough memory"),
        ("bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 9", OutOfMemory, "not enough memory"),
        ("CUDA failure 2: out of memory ; GPU=0", OutOfMemory, "not enough memory"),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got 5\nExpected 4", EngineFailed, "input: Got 5 Expected 4."),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. Name:'a b' "
            "Status Message: /src/core/reshape.h:91 onnxruntime::Reshape::Reshape(const A&, bool) cannot reshape",
            EngineFailed,
            "input: in a Reshape node: cannot reshape.",
        ),
    ],
)
def test_what_the_runtime_says_becomes_one_plain_sentence(text, kind, message):
    engine = OnnxEngine(Session(RuntimeError(text)), "cpu", Options)

    with pytest.raises(kind) as caught:
        engine.run({})

    assert type(caught.value) is kind
    assert message in caught.value.message


def test_a_call_that_is_stopped_says_so_and_the_next_one_runs():
    session = Session(np.ones((1, 3), np.float32))
    engine = OnnxEngine(session, "cpu", Options)
    engine.stop()  # nothing is under way: it must not hit the next call

    session.during = engine.stop
    with pytest.raises(RunStopped):
        engine.run({})
    session.during = None

    assert engine.run({})["y"].shape == (1, 3)


def test_a_python_memory_error_is_out_of_memory():
    with pytest.raises(OutOfMemory):
        OnnxEngine(Session(MemoryError()), "cpu", Options).run({})


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (node(kind="tensor(string)"), "is of type tensor"),
        (node(kind="seq(map(int64,tensor(float)))"), "Export it without ZipMap"),
        (node(kind="tensor(bfloat16)"), "is not carried"),
        (node(shape=()), "the first axis must be the batch"),
    ],
)
def test_what_cannot_be_carried_is_refused(bad, sentence):
    with pytest.raises(EngineLoadFailed, match=sentence):
        OnnxEngine(Session(inputs=(bad,)), "cpu", Options)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"provider": "cuda"}, "has no CUDA in it"),
        ({"provider": "tpu"}, "Provider 'tpu' is unknown"),
        ({"options": {"fast": 1}}, "option 'fast' is unknown"),
        ({"options": {"optimisation": 3}}, "must be one of none, basic"),
        ({"options": {"gpu_memory_bytes": True}}, "whole number"),
    ],
)
def test_an_impossible_wish_is_refused(spec, sentence):
    with pytest.raises(EngineLoadFailed, match=sentence):
        _refuse_impossible(LoadSpec(path=None, **spec), ["CPUExecutionProvider"])


def test_a_gpu_memory_limit_is_passed_on():
    assert _cuda_options({"gpu_memory_bytes": 5})["gpu_mem_limit"] == 5
    assert "gpu_mem_limit" not in _cuda_options({})


def field(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


WEIGHT = field(13, field(1, b"location") + field(2, b"w.bin")) + field(13, field(1, b"offset") + field(2, b"0"))


@pytest.mark.parametrize(
    "model",
    [
        field(7, field(5, WEIGHT)),  # a weight of the graph
        field(7, field(1, field(5, field(5, WEIGHT)))),  # a node's constant
        field(7, field(1, field(5, field(6, field(5, WEIGHT))))),  # inside a loop
        field(7, field(1, field(5, field(11, field(5, WEIGHT))))),
        field(7, bytes([15 << 3 | 2, len(field(1, WEIGHT))]) + field(1, WEIGHT)),  # sparse
        b"\x08\x08" + field(7, b"") + field(7, field(5, WEIGHT)),  # a second graph, which merges
        b"\x0d0000" + b"\x0900000000" + field(7, field(5, WEIGHT)),  # behind other kinds of field
    ],
)
def test_files_that_a_model_names_are_found_wherever_it_hides_them(model):
    assert external_names(model) == ["w.bin"]


def test_a_model_that_stands_alone_names_none():
    assert external_names(field(7, field(5, field(9, b"\x00" * 16)))) == []


@pytest.mark.parametrize(
    "content", [b"hello", b"\xff" * 20, field(7, b"abc")[:-1], b"\x08", b"\x0b", field(7, b"\x3a\x05")]
)
def test_what_is_no_protobuf_is_said(content):
    with pytest.raises(NotProtobuf):
        external_names(content)


def test_endless_nesting_is_refused():
    deep = WEIGHT
    for _ in range(40):
        deep = _long(1, _long(5, _long(6, deep)))

    with pytest.raises(NotProtobuf, match="nested too deeply"):
        external_names(_long(7, deep))


def _long(number, content):
    size, length = b"", len(content)
    while length > 0x7F:
        size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content
