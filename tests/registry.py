"""A registry of images for tests, on this machine: as much of its protocol as a download needs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Registry:
    """What the registry holds, and what it was asked for. ``address`` is its host and port."""

    address: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def push(self, tag: str, layers: Iterable[bytes]) -> str:
        """Let a tag name an image of these layers; return its digest."""
        contents = list(layers)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(each) for each in contents]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._blob(
                "application/vnd.oci.image.config.v1+json", json.dumps(config).encode()
            ),
            "layers": [
                self._blob("application/vnd.oci.image.layer.v1.tar", each) for each in contents
            ],
        }
        described = self._blob(_MANIFEST, json.dumps(manifest).encode())
        self.tags[tag] = str(described["digest"])
        return self.tags[tag]

    def _blob(self, media: str, content: bytes) -> dict[str, object]:
        self.blobs[_digest(content)] = content
        return {"mediaType": media, "digest": _digest(content), "size": len(content)}

    def find(self, path: str) -> bytes | None:
        """Return what a path of the protocol names."""
        last = path.rpartition("/")[2]
        return b"{}" if path == "/v2/" else self.blobs.get(self.tags.get(last, last))


@contextmanager
def registry() -> Iterator[Registry]:
    """Serve a registry that is empty yet."""
    held = Registry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = held.find(self.path)
            held.asked.append(self.path)
            self.send_response(404 if body is None else 200)
            if "/manifests/" in self.path:
                self.send_header("Content-Type", _MANIFEST)
                self.send_header("Docker-Content-Digest", _digest(body or b""))
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET  # noqa: N815  # what http.server calls it

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
