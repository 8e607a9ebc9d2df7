"""A file of the blob store as an answer: streamed, in parts if asked for, and not at all to whom has it already."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

PIECE_BYTES = 256 * 1024


class Pieces:
    """`size_bytes` of an open file, from where it stands; `close` is called by the server, whatever became of it."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._left = size_bytes

    def __iter__(self) -> Iterator[bytes]:
        with self._file:
            while self._left > 0 and (piece := self._file.read(min(PIECE_BYTES, self._left))):
                self._left -= len(piece)
                yield piece

    def close(self) -> None:
        """Closes the file; more than once does no harm."""
        self._file.close()


def answer(path: Path, *, sha256: str, size_bytes: int, content_type: str) -> Response:
    """The response to a GET of this content: 200, 206 with a `Range`, or 304; its ETag is its hash.

    Raises FileNotFoundError; RequestedRangeNotSatisfiable, which is answered with 416.
    """
    headers = {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"}
    if sha256 in request.if_none_match:
        return Response(status=304, headers=headers)
    start, stop, status = 0, size_bytes, 200
    if (wanted := request.range) is not None and request.if_range.etag in (None, sha256):
        asked = wanted.range_for_length(size_bytes)
        if asked is None:
            raise RequestedRangeNotSatisfiable(size_bytes)
        (start, stop), status = asked, 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size_bytes}"
    headers["Content-Length"] = str(stop - start)
    headers["X-Accel-Buffering"] = "no"  # or the front would write all of it to its disk first
    file = path.open("rb")
    file.seek(start)
    return Response(Pieces(file, stop - start), status, headers, content_type=content_type, direct_passthrough=True)
