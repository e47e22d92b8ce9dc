"""The mirror's cache of package files, against an archive on this machine's loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab.world.services import mirror

_POOL = "/debian/pool/main/h/hello/hello_1_amd64.deb"
_INDEX = "/debian/dists/bookworm/InRelease"


class Archive:
    """An archive that counts what it is asked and can be out of order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200
        self.content = b"content"
        archive = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                archive.asked.append(self.path)
                status = 304 if "If-Modified-Since" in self.headers else archive.status
                status = archive.status if archive.status != 200 else status
                body = archive.content if status == 200 else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def archive() -> Iterator[Archive]:
    found = Archive()
    yield found
    found.close()


@pytest.fixture
def packages(archive: Archive, tmp_path: Path) -> mirror.Cache:
    return mirror.Cache(tmp_path, {archive.host: "http"})


def test_a_file_that_many_ask_for_at_once_is_fetched_once(
    archive: Archive, packages: mirror.Cache
) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: packages.file(archive.host, _POOL), range(8)))

    assert {path.read_bytes() for path in found} == {b"content"}
    assert archive.asked == [_POOL]


def test_a_package_is_kept_for_good(
    archive: Archive, packages: mirror.Cache, tmp_path: Path
) -> None:
    packages.file(archive.host, _POOL)
    archive.status = 500

    later = mirror.Cache(tmp_path, {archive.host: "http"})

    assert later.file(archive.host, _POOL).read_bytes() == b"content"


def test_an_index_is_asked_for_again_but_not_sent_again(
    archive: Archive, packages: mirror.Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.file(archive.host, _INDEX)
    monkeypatch.setattr(mirror, "_FRESH_SECONDS", 0)

    packages.file(archive.host, _INDEX)

    assert archive.asked == [_INDEX, _INDEX]


def test_a_fresh_index_is_not_asked_for(archive: Archive, packages: mirror.Cache) -> None:
    packages.file(archive.host, _INDEX)
    packages.file(archive.host, _INDEX)

    assert archive.asked == [_INDEX]


def test_an_older_index_is_served_when_the_archive_is_out_of_order(
    archive: Archive, packages: mirror.Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.file(archive.host, _INDEX)
    monkeypatch.setattr(mirror, "_FRESH_SECONDS", 0)
    archive.status = 503

    assert packages.file(archive.host, _INDEX).read_bytes() == b"content"


def test_a_file_the_archive_does_not_have_is_refused_and_not_kept(
    archive: Archive, packages: mirror.Cache, tmp_path: Path
) -> None:
    archive.status = 404

    with pytest.raises(mirror.RefusedError, match="404"):
        packages.file(archive.host, _INDEX)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
