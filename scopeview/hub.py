"""Finds the local path of a model or SAE suite, given a path or a hub id `org/name[@revision][:folder]`.

Knows no file formats. Downloads go through huggingface_hub, so its cache, `HF_HOME`, `HF_ENDPOINT`,
`HF_TOKEN` and `HF_HUB_OFFLINE` mean what they mean everywhere else.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from scopeview.errors import RevisionError, ScopeviewError, TransferError

_HUB_ID = re.compile(
    r"(?P<repo_id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?::(?P<within>[\w~-][\w.~-]*(?:/[\w~-][\w.~-]*)*))?"
)
_CACHE_FOLDER = re.compile(r"models--(?P<organisation>[\w.-]+?)--(?P<name>[\w.-]+)")
_MAX_NAMES_SHOWN = 8


@dataclass(frozen=True)
class Resolved:
    """`ref` as given, the local `path`, and, for the hub, the repository and the full commit hash.

    `within` is the folder or file of the repository that `path` is; None: all of it.
    """

    ref: str
    path: Path
    repo_id: str | None
    revision: str | None
    within: str | None = None


def resolve(ref: str, *, patterns: Sequence[str]) -> Resolved:
    """Returns an existing local path, or fetches the files of a hub repository that match `patterns`.

    `*` in a pattern matches slashes too. A commit hash that is in the cache needs no request at all.

    Raises `RevisionError` for what the hub (or, offline, the cache) does not have, and `TransferError` for an
    interrupted download.
    """
    local = Path(ref).expanduser()
    if ref and local.exists():
        return Resolved(ref, local, None, None)
    match = _HUB_ID.fullmatch(ref)
    if match is None:
        raise RevisionError(
            f"{ref!r} is neither an existing folder nor a Hugging Face id (org/name or org/name@revision, "
            "and :folder for a part of it)"
        )
    repo_id, revision, within = match["repo_id"], match["revision"], match["within"]
    if within is not None:
        patterns = [within, *(f"{within}/{pattern}" for pattern in patterns)]
    try:
        folder = snapshot_download(
            repo_id, revision=revision, allow_patterns=list(patterns), tqdm_class=_TerminalBar
        )
    except Exception as error:  # the HTTP client's own errors differ from one huggingface_hub to the next
        raise _translate_error(ref, repo_id, revision, patterns, error) from error
    snapshot = Path(folder)
    _check_something_matched(ref, repo_id, snapshot, patterns)
    return Resolved(ref, snapshot / (within or ""), repo_id, snapshot.name, within)


def cached_repo_id(path: Path) -> str | None:
    """The repository whose Hugging Face cache contains this path; None for any other path."""
    found = [match for part in path.parts if (match := _CACHE_FOLDER.fullmatch(part))]
    return f"{found[-1]['organisation']}/{found[-1]['name']}" if found else None


class _TerminalBar(tqdm):
    """Progress of downloads on a terminal, and nothing in a log file."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options["disable"] = options.get("disable") or None  # None: off unless it is a terminal
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]


def _translate_error(
    ref: str, repo_id: str, revision: str | None, patterns: Sequence[str], error: Exception
) -> ScopeviewError:
    where = constants.ENDPOINT
    match error:
        case HFValidationError():
            return RevisionError(f"{ref!r} is no Hugging Face id: {error}")
        case GatedRepoError():
            return RevisionError(
                f"{repo_id} is gated: accept its terms at {where}/{repo_id} and set HF_TOKEN"
            )
        case RepositoryNotFoundError():
            return RevisionError(
                f"{repo_id} is neither a local folder nor a repository at {where} (if private, set HF_TOKEN)"
            )
        case RevisionNotFoundError():
            return RevisionError(f"{repo_id} has no revision {revision!r}{_known_revisions(repo_id)}")
        case LocalEntryNotFoundError() if constants.HF_HUB_OFFLINE:
            command = _download_command(repo_id, revision, patterns)
            return RevisionError(
                f"{ref} is not (wholly) in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids "
                f"downloading it. On a connection, run: {command}"
            )
        case EntryNotFoundError() if not isinstance(error, LocalEntryNotFoundError):
            return RevisionError(f"{ref} lists a file that {where} does not have: {_first_line(error)}")
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            return RevisionError(f"{where} refuses access to {repo_id}: {_first_line(error)}; check HF_TOKEN")
        case _:
            return TransferError(
                f"downloading {ref} from {where} broke off: {_first_line(error.__cause__ or error)}. "
                f"Run the same command again: what has arrived is kept"
            )


def _check_something_matched(ref: str, repo_id: str, snapshot: Path, patterns: Sequence[str]) -> None:
    here = (path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file())
    if any(fnmatch(name, pattern) for name in here for pattern in patterns):
        return
    try:
        names = sorted(HfApi().list_repo_files(repo_id, revision=snapshot.name))
    except Exception:  # only to say more: what is wrong is known already
        names = []
    more = ", ..." if len(names) > _MAX_NAMES_SHOWN else ""
    there = f"; it has {', '.join(names[:_MAX_NAMES_SHOWN])}{more}" if names else ""
    wanted = " or ".join(patterns[:_MAX_NAMES_SHOWN])
    others = " or others" if len(patterns) > _MAX_NAMES_SHOWN else ""
    raise RevisionError(f"{ref} has no file that matches {wanted}{others}{there}")


def _known_revisions(repo_id: str) -> str:
    """Revisions for a message, such as `; it has main, v1`; empty if the hub does not answer."""
    try:
        refs = HfApi().list_repo_refs(repo_id)
    except Exception:  # only to say more: what is wrong is known already
        return ""
    names = [ref.name for ref in [*refs.branches, *refs.tags]]
    return f"; it has {', '.join(names[:_MAX_NAMES_SHOWN])}, and its commit hashes" if names else ""


def _download_command(repo_id: str, revision: str | None, patterns: Sequence[str]) -> str:
    pinned = ["--revision", revision] if revision else []
    included = [word for pattern in patterns for word in ("--include", pattern)]
    return shlex.join(["hf", "download", repo_id, *pinned, *included])


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
