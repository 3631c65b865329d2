"""Servers that hold archives: small ones in this process, which count what they are asked."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


@dataclass
class Server:
    """The address of a server, and the requests it got as ``METHOD path``."""

    url: str
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def s3() -> Iterator[Server]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Server(f"http://{host}:{port}")
    server.stop()


@pytest.fixture(scope="session")
def gs() -> Iterator[Server]:
    create = pytest.importorskip("gcp_storage_emulator.server").create_server
    server = create("127.0.0.1", 0, in_memory=True, default_bucket="kept")
    server.start()
    host, port = server._api._httpd.server_address
    yield Server(f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def webdav(tmp_path: Path) -> Iterator[Server]:
    """Return a WebDAV server that knows one user, ann, whose password is `secret`."""
    app = pytest.importorskip("wsgidav.wsgidav_app")
    root = tmp_path / "webdav"
    root.mkdir()
    users = {"ann": {"password": "secret"}}
    quiet = {"verbose": 0, "logging": {"enable_loggers": []}}
    config = {"provider_mapping": {"/": str(root)}, "simple_dc": {"user_mapping": {"*": users}}}
    made = Server("")
    counted = _Counted(app.WsgiDAVApp({**config, **quiet}), made.requests)
    server = pytest.importorskip("cheroot.wsgi").Server(("127.0.0.1", 0), counted)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    made.url = f"webdav+http://127.0.0.1:{server.bind_addr[1]}"
    yield made
    server.stop()
    thread.join()


class _Counted:
    """A WSGI application that notes its requests."""

    def __init__(self, app: Callable[..., Iterable[bytes]], requests: list[str]) -> None:
        self._app = app
        self._requests = requests

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401
        self._requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        return self._app(environ, start)
