"""Trains the handwritten-digit classifier that this folder ships, and writes its files.

Needs scikit-learn and onnx, which Penstock itself does not. The data come with scikit-learn (1,797 images of 8 x 8
pixels, 0 to 16). A quarter of them, chosen by a fixed seed, is never trained on and becomes `test_images.npz`.

    python examples/digits/train.py             # writes model.onnx and test_images.npz beside this file
    python examples/digits/train.py --check     # trains again and compares with the shipped files; writes nothing
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).parent
SEED = 7


def train() -> tuple[MLPClassifier, np.ndarray, np.ndarray]:
    """The classifier, and the images and labels that it has not seen."""
    digits = load_digits()
    images = digits.images.astype(np.uint8)
    seen, unseen, seen_labels, labels = train_test_split(
        images, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target
    )
    model = MLPClassifier(hidden_layer_sizes=(64,), alpha=1e-2, max_iter=400, random_state=SEED)
    model.fit(_input(seen), seen_labels)
    return model, unseen, labels.astype(np.int64)


def to_onnx(model: MLPClassifier) -> bytes:
    """input float32 [N, 64] -> probabilities float32 [N, 10], label int64 [N]."""
    nodes = [
        helper.make_node("Gemm", ["input", "w0", "b0"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "w1", "b1"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    weights = [
        numpy_helper.from_array(array.astype(np.float32), f"{kind}{layer}")
        for layer in (0, 1)
        for kind, array in (("w", model.coefs_[layer]), ("b", model.intercepts_[layer]))
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 64])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        ],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    built = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="penstock-digits")
    checker.check_model(built, full_check=True)
    return built.SerializeToString()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the shipped files, write nothing")
    arguments = parser.parse_args()
    model, images, labels = train()
    accuracy = float(model.score(_input(images), labels))
    print(f"accuracy on {len(labels)} images not trained on: {accuracy:.4f}")
    if arguments.check:
        return _compare(model, images, labels, accuracy)
    (HERE / "model.onnx").write_bytes(to_onnx(model))
    np.savez_compressed(HERE / "test_images.npz", images=images, labels=labels)
    return 0


def _compare(model: MLPClassifier, images: np.ndarray, labels: np.ndarray, accuracy: float) -> int:
    """Another version of NumPy may move a weight in its last digits; an image or the accuracy must not move."""
    shipped = np.load(HERE / "test_images.npz")
    same_images = np.array_equal(shipped["images"], images) and np.array_equal(shipped["labels"], labels)
    shipped_accuracy = _shipped_accuracy(images, labels)
    print(f"accuracy of the shipped model: {shipped_accuracy:.4f}; same images: {same_images}")
    return 0 if same_images and abs(shipped_accuracy - accuracy) < 0.005 else 1


def _shipped_accuracy(images: np.ndarray, labels: np.ndarray) -> float:
    from onnx.reference import ReferenceEvaluator

    _, found = ReferenceEvaluator(str(HERE / "model.onnx")).run(None, {"input": _input(images)})
    return float((found == labels).mean())


def _input(images: np.ndarray) -> np.ndarray:
    return (images.reshape(len(images), 64) / 16).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
