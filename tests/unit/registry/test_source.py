"""What a model_path may say."""

from pathlib import Path

import pytest

from inference.errors import ModelPathRefused
from inference.registry.source import Source, read, roots_of


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("/models/a.onnx", Source(path=Path("/models/a.onnx"))),
        ("file:///models/a%20b.onnx", Source(path=Path("/models/a b.onnx"))),
        ("file://localhost/models/a.onnx", Source(path=Path("/models/a.onnx"))),
        ("upload:0123", Source(upload_id="0123")),
    ],
)
def test_paths_urls_and_uploads_are_told_apart(text, source):
    assert read(text) == source


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must be an absolute path"),
        ("/a\0b", "must be an absolute path"),
        ("/" + "a" * 5000, "must be an absolute path"),
        ("models/a.onnx", "must begin with '/'"),
        ("../a.onnx", "must begin with '/'"),
        ("s3://bucket/a.onnx", "s3:// is not available yet"),
        ("http://host/a.onnx", "http:// is not accepted"),
        ("file://host/a.onnx", "must not name another host"),
        ("file:///a%00b", "needs an absolute path"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text, sentence):
    with pytest.raises(ModelPathRefused, match=sentence):
        read(text)


def test_no_roots_means_anywhere():
    assert roots_of("") == ()
    assert roots_of("/a:/b/") == (Path("/a"), Path("/b"))
