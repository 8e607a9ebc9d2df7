"""Engines of one host that share their weights answer as those do that each have a copy."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from inference.engines import catalog, onnx_shared
from inference.engines.base import LoadSpec
from inference.errors import EngineLoadFailed

pytest.importorskip("onnxruntime")

WIDTH = 64


@pytest.fixture
def model(tmp_path):
    """Two layers of 16 KiB of weights each."""
    rng = np.random.default_rng(7)
    weights = [
        numpy_helper.from_array(rng.standard_normal((WIDTH, WIDTH), np.float32), name) for name in ("first", "second")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["middle"]),
        helper.make_node("Relu", ["middle"], ["positive"]),
        helper.make_node("MatMul", ["positive", "second"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model")
    return tmp_path / "model"


def load(model, derived, **options):
    return catalog.find("onnx")(LoadSpec(path=model, derived=derived, options=options))


@pytest.mark.parametrize("level", ["all", "none"])
def test_shared_weights_give_the_same_answers_from_one_file_that_never_changes(model, tmp_path, level):
    x = np.random.default_rng(1).standard_normal((5, WIDTH), np.float32)
    wanted = load(model, None, optimisation=level).run({"x": x})["y"]

    engines = [load(model, tmp_path / "derived" / "sha", optimisation=level, share_weights=True) for _ in range(2)]
    (weights,) = (tmp_path / "derived").rglob(onnx_shared.WEIGHTS)
    before = weights.stat()
    engines.append(load(model, tmp_path / "derived" / "sha", optimisation=level, share_weights=True))

    for engine in engines:
        np.testing.assert_allclose(engine.run({"x": x})["y"], wanted, rtol=1e-4, atol=1e-3)
    assert (before.st_size, before.st_mode & 0o777) == (2 * WIDTH * WIDTH * 4, 0o444)
    assert (weights.stat().st_ino, weights.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    with open("/proc/self/maps") as maps:  # noqa: PTH123 - the kernel's
        assert str(weights) in maps.read()


def test_what_was_kept_for_models_that_are_gone_goes(model, tmp_path):
    for sha in ("here", "gone"):
        load(model, tmp_path / "derived" / sha, share_weights=True)

    onnx_shared.forget_others(tmp_path / "derived", lambda name: name == "here")
    onnx_shared.forget_others(tmp_path / "never", lambda name: False)

    assert [path.name for path in (tmp_path / "derived").iterdir()] == ["here"]


def test_the_option_is_true_or_false(model, tmp_path):
    with pytest.raises(EngineLoadFailed, match="'share_weights' must be true or false"):
        load(model, tmp_path, share_weights="yes")
