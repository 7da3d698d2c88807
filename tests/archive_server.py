"""A small HTTP server on the loopback interface that serves one file, well or badly."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = b"<!DOCTYPE html>\n<html><head><title>Please\n log in</title></head></html>"


class ArchiveServer:
    """Serves `content` at `url`, in a thread.

    Attributes:
        mode: "whole"; "cut", which closes each connection after `piece` bytes; "hang", which sends
            nothing after the first `piece` bytes of the file; "page", an HTML page; or a status, "503".
        asked: the Range headers of all requests, None for one without.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.mode = content, "whole"
        self.piece = max(1, len(content) // 3)
        self.asked: list[str | None] = []
        self._released = threading.Event()

    @contextmanager
    def serving(self) -> Iterator["ArchiveServer"]:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                ours._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz"
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            try:
                yield self
            finally:
                self._released.set()
                server.shutdown()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted, page = request.headers.get("Range"), self.mode == "page"
        self.asked.append(wanted)
        start = 0 if wanted is None or page else int(wanted.removeprefix("bytes=").rstrip("-"))
        body = PAGE if page else self.content
        if self.mode.isdigit() or start >= len(body):
            request.send_error(int(self.mode) if self.mode.isdigit() else 416)
            return
        request.send_response(206 if start else 200)
        if page:
            request.send_header("Content-Type", "text/html; charset=utf-8")
        request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        end = {"cut": start + self.piece, "hang": max(start, self.piece)}.get(self.mode, len(body))
        request.wfile.write(body[start:end])
        if self.mode == "hang":
            request.wfile.flush()
            self._released.wait(120)
