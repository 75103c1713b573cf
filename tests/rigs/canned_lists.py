"""A cluster of which only the lists are there, of any length."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from rigs import http_peers

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def cluster(answers: dict[str, Any]) -> Iterator[int]:
    """Serve these lists; every write is a success."""
    payloads = {
        name: json.dumps({"generation": 1, "data": data}).encode() for name, data in answers.items()
    }
    done = json.dumps(
        {"generation": 1, "data": {"ok": True, "generation": 1, "version": 1, "pairs": {}}}
    ).encode()

    class Handler(http_peers.Handler):
        def serve(self) -> None:
            self.read_body()
            payload = payloads.get(self.path.rpartition("/")[2], done)
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

    with http_peers.serving(Handler, None) as port:
        yield port
