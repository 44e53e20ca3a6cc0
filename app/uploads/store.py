"""Uploads on disk: `{id}.json` and `{id}.webp`, flat in one folder.

The square that the model saw is kept, as a fresh WebP without metadata or loss, and its codes: it can be
analyzed again with the same result. The bytes that were sent are never written. An upload that expires or is
deleted loses both and leaves a tombstone, so that its link says 410 and not 404; a month later the tombstone
goes too.

An upload whose sha256 is in the operator's block-list is shown to nobody while it is there.
"""

import hashlib
import hmac
import json
import logging
import math
import re
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from app.moderation.blocklist import BlockList
from app.web.errors import ProblemError, disk_problems, is_disk_full
from scopeview.errors import InputError, NotFoundError
from scopeview.images import Grey16
from scopeview.store.files import atomic_write, write_json
from scopeview.store.records import Code

log = logging.getLogger("scopeview.uploads")

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
TOMBSTONE_S = 30 * 24 * 3600.0
EXTENDED_TTL_S = 30 * 24 * 3600.0
"""How long an upload is kept, from when it was sent, if its sender asks for longer."""

State = Literal["kept", "deleted", "expired"]


@dataclass(frozen=True)
class Upload:
    """One upload as `{id}.json` holds it."""

    upload_id: str
    index: str  # slug
    version: str  # of the index it was analyzed for
    created_s: float  # since 1970
    expires_s: float
    delete_key_sha256: str
    state: State
    codes: list[Code]
    crop_sha256: str = ""  # of the square's pixels: what the worker remembers it by
    sha256: str = ""  # of the file that was sent; empty for uploads of versions that did not note it
    grey_16_bit: Grey16 | None = None  # how 16-bit grayscale became 8-bit; None for all other files

    @property
    def sha256s(self) -> tuple[str, ...]:
        """The hashes that a block-list may name: either one blocks the upload."""
        return self.sha256, self.crop_sha256


class NewUpload(NamedTuple):
    """A new upload, and the key that deletes it: returned once, stored only as a hash."""

    upload: Upload
    delete_key: str


_UPLOAD = TypeAdapter(Upload)
_PROBE_BYTES = 64 * 1024  # about what an upload takes
PROBE_EVERY_S = 10.0


class UploadStore:
    """The stored uploads. Thread-safe."""

    def __init__(
        self, folder: Path, *, ttl_s: float, max_uploads: int, blocklist: BlockList | None = None
    ) -> None:
        self.folder = folder
        self._blocklist = blocklist or BlockList()
        self.clock = time.time
        self._ttl_s, self._max_uploads = ttl_s, max_uploads
        self._n_kept = 0
        self._next_expiry_s = math.inf  # of those that are kept
        self._unremoved: set[str] = set()  # deleted, but their files cannot be removed from the disk for now
        self._probed: tuple[float, str | None] = (-math.inf, None)
        self._lock = threading.Lock()

    @property
    def n_kept(self) -> int:
        return self._n_kept

    def open(self) -> None:
        """Makes the folder and counts the uploads in it. Raises `InputError` if it cannot be made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise InputError(f"the folder of uploads, {self.folder}: {error.strerror or error}") from None
        self.sweep()

    def why_unwritable(self) -> str | None:
        """Returns why nothing can be kept now, in words without paths; None if it can.

        Finds out by writing, now and then.
        """
        probed_s, why = self._probed
        if self.clock() - probed_s >= PROBE_EVERY_S:
            why = self._probe()
            self._probed = (self.clock(), why)
        return why

    def _probe(self) -> str | None:
        part = self.folder / f"{secrets.token_urlsafe(16)}.part"
        try:
            try:
                part.write_bytes(bytes(_PROBE_BYTES))
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            return "the disk is full" if is_disk_full(error) else "the disk cannot be written to"
        return None

    def refuse_when_full(self) -> None:
        """Raises a 503 while the operator's limit of stored uploads is reached; expired ones do not count."""
        if self._n_kept >= self._max_uploads and self.clock() >= self._next_expiry_s:
            self.sweep()
        if self._n_kept >= self._max_uploads:
            detail = "The upload storage of this server is full. Some uploads expire soon; try again later."
            raise ProblemError(503, "full", detail, {"Retry-After": "600"})

    def refuse_blocked(self, *sha256s: str) -> None:
        """Raises a 403 for an image that the operator's block-list names."""
        if self._blocks(sha256s):
            raise ProblemError(403, "blocked", "The operator of this server blocked this image.")

    def _blocks(self, sha256s: Iterable[str]) -> bool:
        return not self._blocklist.rules().sha256s.isdisjoint(sha256s)

    def keep(
        self,
        index: str,
        version: str,
        webp: bytes,
        codes: list[Code],
        *,
        crop_sha256: str = "",
        sha256: str = "",
        grey_16_bit: Grey16 | None = None,
    ) -> NewUpload:
        """Stores the image, `webp`. The JSON is written last: an upload without it does not exist.

        Raises a 507 when the disk is full and a 503 when it cannot be written to; then nothing is left of it.
        """
        delete_key, now = secrets.token_urlsafe(16), self.clock()
        upload = Upload(
            upload_id=secrets.token_urlsafe(16),
            index=index,
            version=version,
            created_s=now,
            expires_s=now + self._ttl_s,
            delete_key_sha256=_hashed(delete_key),
            state="kept",
            codes=codes,
            crop_sha256=crop_sha256,
            sha256=sha256,
            grey_16_bit=grey_16_bit,
        )
        with disk_problems(self.folder):
            self._write_both(upload, webp)
        with self._lock:
            self._n_kept += 1
            self._next_expiry_s = min(self._next_expiry_s, upload.expires_s)
        return NewUpload(upload, delete_key)

    def _write_both(self, upload: Upload, webp: bytes) -> None:
        path = self._path(upload.upload_id, "webp")
        with atomic_write(path) as part:
            part.write_bytes(webp)
        try:
            self._write(upload)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def get(self, index: str, upload_id: str) -> Upload:
        """Returns the upload. Raises `NotFoundError` if it never existed, a 410 if it is gone or blocked."""
        upload = self._read(upload_id) if _ID.fullmatch(upload_id) else None
        if upload is None or upload.index != index:
            raise NotFoundError(f"{index} has no such upload. Check that the link was copied completely.")
        if upload.state == "deleted" or upload_id in self._unremoved:
            raise ProblemError(410, "gone", "This upload was deleted by the person who sent it.")
        if upload.state == "expired" or self.clock() >= upload.expires_s:
            raise ProblemError(410, "gone", "This upload has expired. Images are kept for a short time only.")
        if self._blocks(upload.sha256s):
            raise ProblemError(410, "gone", "This upload was removed by the operator of this server.")
        return upload

    def image(self, index: str, upload_id: str) -> bytes:
        """Returns the image as WebP. Raises as `get` does."""
        upload = self.get(index, upload_id)
        try:
            return self._path(upload.upload_id, "webp").read_bytes()
        except FileNotFoundError:  # deleted between the two reads
            raise ProblemError(410, "gone", "This upload was deleted by the person who sent it.") from None

    def delete(self, index: str, upload_id: str, delete_key: str) -> None:
        """Deletes the upload. Raises as `get` does, a 403 for a wrong key, and a 503 if the disk refuses.

        If the disk refuses, the upload is shown to nobody from now on, and its removal is tried again.
        """
        upload = self._own(index, upload_id, delete_key)
        try:
            self._bury(upload, "deleted")
        except OSError as error:
            log.exception("upload %s... cannot be removed from %s", upload_id[:4], self.folder)
            self._unremoved.add(upload_id)
            detail = (
                "This image is no longer shown, but this server cannot remove it from its disk"
                " yet. It tries again by itself."
            )
            raise ProblemError(503, "not_removed_yet", detail) from error

    def keep_longer(self, index: str, upload_id: str, delete_key: str) -> Upload:
        """Keeps the upload for `EXTENDED_TTL_S` from when it was sent, or longer, and returns it.

        Raises as `get` does, a 403 for a wrong key, and a 507 or a 503 when the disk cannot be written to.
        """
        upload = self._own(index, upload_id, delete_key)
        kept = replace(upload, expires_s=max(upload.expires_s, upload.created_s + EXTENDED_TTL_S))
        with disk_problems(self.folder):
            self._write(kept)
        return kept

    def _own(self, index: str, upload_id: str, delete_key: str) -> Upload:
        upload = self.get(index, upload_id)
        if not may_delete(upload, delete_key):
            detail = "Only the browser that sent this image, or someone with its delete link, can do that."
            raise ProblemError(403, "wrong_delete_key", detail)
        return upload

    def sweep(self) -> int:
        """Turns expired uploads into tombstones, removes old tombstones and images without a JSON.

        Files that the disk refuses are logged and left for the next time; returns the number of them.
        """
        now, kept, n_failed = self.clock(), list[Upload](), 0
        for path in [*self.folder.glob("*.json"), *self.folder.glob("*.webp"), *self.folder.glob("*.part")]:
            if _ID.fullmatch(path.name.partition(".")[0]) is None:
                continue
            try:
                if path.suffix == ".json":
                    kept += self._sweep_upload(path.stem, now)
                else:
                    self._sweep_stray(path, now)
            except OSError as error:
                n_failed += 1
                log.warning("%s cannot be swept: %s", self.folder, error.strerror or error)
        with self._lock:
            self._n_kept = len(kept)
            self._next_expiry_s = min((upload.expires_s for upload in kept), default=math.inf)
        return n_failed

    def _sweep_upload(self, upload_id: str, now: float) -> list[Upload]:
        """Sweeps one upload, and returns it if it is still kept, else nothing."""
        upload = self._read(upload_id)
        if upload is None:
            return []
        if upload_id in self._unremoved:
            self._bury(upload, "deleted")
            self._unremoved.discard(upload_id)
        elif upload.expires_s + TOMBSTONE_S < now:
            self._path(upload_id, "json").unlink(missing_ok=True)
        elif upload.state == "kept" and upload.expires_s <= now:
            self._bury(upload, "expired")
        return [upload] if upload.state == "kept" and upload.expires_s > now else []

    def _sweep_stray(self, path: Path, now: float) -> None:
        """Removes a file without a JSON: a kill between image and JSON leaves the image.

        It has to be an hour old, which is longer than any upload takes.
        """
        has_json = path.suffix == ".webp" and path.with_suffix(".json").exists()
        if not has_json and path.stat().st_mtime < now - 3600:
            path.unlink(missing_ok=True)

    def _bury(self, upload: Upload, state: State) -> None:
        """Removes the image and leaves a tombstone.

        The image goes first, so that it is gone even if the disk has no room for a tombstone; then the JSON
        goes as well, and the link says 404 instead of 410.
        """
        self._path(upload.upload_id, "webp").unlink(missing_ok=True)
        try:
            self._write(_tombstone(upload, state))
        except OSError:
            self._path(upload.upload_id, "json").unlink(missing_ok=True)
        with self._lock:
            self._n_kept = max(self._n_kept - 1, 0)

    def _path(self, upload_id: str, suffix: str) -> Path:
        assert _ID.fullmatch(upload_id), "an id is checked before it becomes a path"
        return self.folder / f"{upload_id}.{suffix}"

    def _read(self, upload_id: str) -> Upload | None:
        try:
            return _UPLOAD.validate_json(self._path(upload_id, "json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def _write(self, upload: Upload) -> None:
        content = json.loads(_UPLOAD.dump_json(upload))
        write_json(self._path(upload.upload_id, "json"), content)


def _tombstone(upload: Upload, state: State) -> Upload:
    return replace(upload, state=state, codes=[], delete_key_sha256="", crop_sha256="", sha256="")


def may_delete(upload: Upload, delete_key: str) -> bool:
    return hmac.compare_digest(_hashed(delete_key), upload.delete_key_sha256)


def _hashed(delete_key: str) -> str:
    return hashlib.sha256(delete_key.encode()).hexdigest()
