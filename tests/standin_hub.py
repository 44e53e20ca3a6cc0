"""A Hugging Face hub on loopback: enough of its API for downloads, and ways to make it fail.

Point `HF_ENDPOINT` at `url` before huggingface_hub is imported.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>revision|tree|refs)(?:/(?P<revision>[^/]+))?")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
SUITE_LAYERS = (2, 5, 8, 11, 14, 17, 20, 22)


@dataclass
class Repo:
    """One commit with its files; `revisions` maps branch and tag names, and the hash, to the commit."""

    files: dict[str, bytes]
    gated: bool = False

    @property
    def commit(self) -> str:
        return hashlib.sha1(
            b"".join(name.encode() + self.files[name] for name in sorted(self.files))
        ).hexdigest()

    @property
    def revisions(self) -> dict[str, str]:
        return {"main": self.commit, "v1": self.commit, self.commit: self.commit}


def model_repo(folder: Path) -> Repo:
    """The files of a model folder, with the other weights that CLIP repositories hold beside them."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    others = ("pytorch_model.bin", "open_clip_pytorch_model.bin", "open_clip_model.safetensors", "README.md")
    return Repo(files | {name: b"not to be fetched" for name in others if name not in files})


def suite_repo(checkpoints: dict[int, bytes] | None = None) -> Repo:
    """Eight checkpoints and a README, named as the CLIP-Scope suite does; contents by layer if given."""
    contents = checkpoints or {}
    files = {
        f"{layer}_resid/12000{layer:02}184.pt": contents.get(layer, f"checkpoint of {layer}".encode())
        for layer in SUITE_LAYERS
    }
    return Repo(files | {"README.md": b"# A suite"})


@dataclass
class StandInHub:
    """Serves `repos` by `org/name` while it is entered.

    `requests` is every (method, path) seen. `cut_at` makes the next `n_cuts` bodies over 10,000 bytes
    end early; `status` answers every request with that error instead.
    """

    repos: dict[str, Repo]
    requests: list[tuple[str, str]] = field(default_factory=list)
    cut_at: int | None = None
    n_cuts: int = 0
    status: int | None = None

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"standin": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def downloaded(self) -> set[str]:
        """The paths of all files whose bodies were asked for."""
        return {
            match["path"]
            for method, path in self.requests
            if method == "GET" and (match := _FILE.match(path))
        }


class _Handler(BaseHTTPRequestHandler):
    standin: StandInHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
        """Quiet: `StandInHub.requests` is the log."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.standin.requests.append((self.command, path))
        if self.standin.status is not None:
            self._error(self.standin.status, "")
            return
        match = _API.fullmatch(path) or _FILE.fullmatch(path)
        repo = self.standin.repos.get(match["repo"]) if match else None
        if match is None or repo is None:
            self._error(404, "RepoNotFound")
        elif repo.gated:
            self._error(403, "GatedRepo")
        elif match.re is _API and match["what"] == "refs":
            self._json(_refs(repo))
        elif match["revision"] not in repo.revisions:
            self._error(404, "RevisionNotFound")
        elif match.re is _API:
            self._json(_tree(repo) if match["what"] == "tree" else _model(match["repo"], repo))
        elif match["path"] not in repo.files:
            self._error(404, "EntryNotFound")
        else:
            self._file(repo, repo.files[match["path"]])

    def _error(self, status: int, code: str) -> None:
        self._head(status, 0, {"X-Error-Code": code, "X-Error-Message": code})

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self._head(200, len(body), {"Content-Type": "application/json"})
        self.wfile.write(body)

    def _file(self, repo: Repo, content: bytes) -> None:
        first = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(first[1]) if first else 0
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": repo.commit}
        if first:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(206 if first else 200, len(content) - start, headers)
        if self.command == "GET":
            self._body(content[start:])

    def _body(self, body: bytes) -> None:
        if self.standin.cut_at is not None and self.standin.n_cuts > 0 and len(body) > 10_000:
            self.standin.n_cuts -= 1
            body = body[: self.standin.cut_at]
            self.close_connection = True
        self.wfile.write(body)

    def _head(self, status: int, n_bytes: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(n_bytes))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _model(repo_id: str, repo: Repo) -> dict[str, object]:
    return {"id": repo_id, "sha": repo.commit, "siblings": [{"rfilename": name} for name in repo.files]}


def _tree(repo: Repo) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = []
    for name, content in repo.files.items():
        entry: dict[str, object] = {
            "type": "file",
            "path": name,
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
        }
        if len(content) > 1000:
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
        entries.append(entry)
    return entries


def _refs(repo: Repo) -> dict[str, object]:
    def ref(kind: str, name: str) -> dict[str, str]:
        return {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": repo.commit}

    return {"branches": [ref("heads", "main")], "tags": [ref("tags", "v1")], "converts": []}
