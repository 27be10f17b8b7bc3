"""The mesh page: which file of the package answers which path, under which headers; and where the
pages of an installed Admin UI are.

May go in: files of `page/` and headers. May not: what the page shows, which the page asks for over
a websocket as a member does, and under `/mesh` (decision 0028).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

__all__ = ["Headers", "MeshPage", "find_admin_ui"]

Headers = list[tuple[bytes, bytes]]

_FOLDER = Path(__file__).parent / "page"

# Not guessed: what `mimetypes` knows of .mjs differs by machine, and a browser runs no module of
# another type.
_KINDS = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".mjs": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}

_HEADERS = [
    # A page that frames this one could have its visitors call capabilities by their clicks.
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # Kept, but checked each time: another version of the hub brings another page.
    (b"cache-control", b"no-cache"),
]


class _File(NamedTuple):
    headers: Headers
    body: bytes
    tag: str


class MeshPage:
    """The files of the page, read once: no other file can be asked for."""

    def __init__(self) -> None:
        files = {each.name: _file(each) for each in _FOLDER.iterdir() if each.suffix in _KINDS}
        self._files = {f"/{name}": file for name, file in files.items()}
        self._files["/"] = files["index.html"]

    def answer(self, path: str, known: str = "") -> tuple[int, Headers, bytes] | None:
        """Return status, headers and body for a path; None if the page has no such file.

        Args:
            path: The path of the request.
            known: ``If-None-Match``: the tags of the files that the browser has already.
        """
        file = self._files.get(path)
        if file is None:
            return None
        return (304, file.headers, b"") if file.tag in known else (200, file.headers, file.body)


def _file(path: Path) -> _File:
    body = path.read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    kind = (b"content-type", _KINDS[path.suffix])
    return _File([kind, (b"etag", tag.encode()), *_HEADERS], body, tag)


def find_admin_ui(folder: Path) -> Path | None:
    """Find the pages of an installed Admin UI in a folder; None if there are none."""
    for pages in (
        folder,
        folder / "ui" / "dist",
        folder / "@socket.io" / "admin-ui" / "ui" / "dist",
    ):
        if (pages / "index.html").is_file():
            return pages.resolve()
    return None
