"""Where the server keeps uploads and results, and what became of them where it was killed."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...image.atomic import Lock, discard_interrupted, remove, write_text

_PREFIX = "microscopygan-web-"
_JOURNAL = "journal.json"


class WorkFolder:
    """A folder for temporary files that nobody else can look into; gone when it is closed.

    It keeps a journal: what would be lost if the program were killed.

    Attributes
    ----------
    path
        The folder.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir()) / f"{_PREFIX}{secrets.token_hex(8)}"
        self._lock = Lock(self.path)
        self._written = ""
        self.path.mkdir(mode=0o700)

    def note(
        self,
        *,
        uploads: Iterable[str] = (),
        restoring: Iterable[str] = (),
        results: Iterable[str] = (),
        outputs: Iterable[Path] = (),
    ) -> None:
        """Write the journal anew, where it says something else.

        Parameters
        ----------
        uploads, restoring, results
            Names of images that were sent, that wait or are being restored, and whose results
            nobody has fetched.
        outputs
            Files outside of this folder that are being written.
        """
        journal = {"uploads": list(uploads), "restoring": list(restoring)}
        journal |= {"results": list(results), "outputs": [str(path) for path in outputs]}
        text = json.dumps(journal)
        if text != self._written and self.path.is_dir():
            write_text(self.path / _JOURNAL, text, overwrite=True)
            self._written = text

    def close(self) -> None:
        """Remove the folder and all that is in it."""
        remove(self.path)
        self._lock.release()


def clear_lost() -> list[str]:
    """Remove what servers of this user left that were killed, and return what was lost.

    Returns
    -------
    list of str
        Sentences; none where nothing was.
    """
    lost: list[str] = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        if _is_ours(folder):
            try:
                lock = Lock(folder)
            except OSError:  # its server runs
                continue
            journal = _read(folder / _JOURNAL)
            _discard(journal.get("outputs", ()))
            remove(folder)
            lock.release()
            lost += _told(journal)
    return lost


def _is_ours(folder: Path) -> bool:
    """Whether a folder belongs to this user; others may put anything into a shared one."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return journal if isinstance(journal, dict) else {}


def _discard(outputs: Iterable[str]) -> None:
    for output in outputs:
        try:
            discard_interrupted(Path(output))
        except OSError:
            continue


def _told(journal: Mapping[str, Any]) -> list[str]:
    """Say what a journal lists.

    Examples
    --------
    >>> _told({"uploads": ["a.tif"], "restoring": ["a.tif"], "results": []})
    ['The page was ended before it was done. Not restored to the end: a.tif. Uploads that are gone:
    a.tif. Nothing half-written is left; drop the images again.']
    """
    parts = {
        "Not restored to the end": journal.get("restoring"),
        "Results that were not downloaded": journal.get("results"),
        "Uploads that are gone": journal.get("uploads"),
    }
    named = [f"{what}: {', '.join(map(str, names))}." for what, names in parts.items() if names]
    if not named:
        return []
    first, last = "The page was ended before it was done.", "Nothing half-written is left; "
    return [" ".join([first, *named, f"{last}drop the images again."])]
