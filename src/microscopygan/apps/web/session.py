"""All that is open on the page: images, their options, their results; one for each start."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shlex
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ...image.atomic import remove
from ...image.formats import FORMATS, contents, list_images, write
from ...image.image import Image
from ...restoration.models import MODELS
from ..restore_options import RestoreOptions
from .diagnosis import described, diagnose_image
from .downloads import Tickets
from .form import fields, read_options
from .images import PageImage, look, output_base
from .planes import Pyramid
from .restoring import Order, Queue
from .root_folder import RESULTS, RootFolder
from .uploads import Receiver, SentFolder, check_expansion, check_unopened
from .work_folder import WorkFolder

_MOST = 500  # images on the page
_OPEN = 4  # images that are kept open
_INSIDE = rf"[\\/]?(?:[0-9a-f]{{32}}[\\/])?(?:{RESULTS}[\\/][0-9a-f]{{16}}[\\/])?"  # of uploads
_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[\\/](?:[^\s:'\"\\/]+[\\/])+")


class Session:
    """The images of the page, and what is done with them.

    Parameters
    ----------
    root
        The folder to choose images from, None where there is none.
    lost
        What earlier servers lost, a sentence each.

    Attributes
    ----------
    token, key
        What each request is asked for; and what gives it to the first browser, once.
    receiver, tickets
        Uploads and downloads.
    quit
        Set once the page has asked for the end.
    """

    def __init__(self, root: RootFolder | None = None, lost: Iterable[str] = ()) -> None:
        self.root, self.lost = root, list(lost)
        self.token, self._keys = secrets.token_urlsafe(32), {secrets.token_urlsafe(16)}
        self.work, self.receiver, self.tickets = WorkFolder(), Receiver(), Tickets()
        self.quit = threading.Event()
        self._images: dict[str, PageImage] = {}
        self._folders: dict[str, SentFolder] = {}
        self._opened: OrderedDict[tuple[Any, ...], Pyramid] = OrderedDict()
        self._written: set[Path] = set()  # results below the root that this session has made
        self._version = 0
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self.queue = Queue(self.changed, self.plain)

    def close(self) -> None:
        """Stop all work, and remove all temporary files."""
        self.queue.close()
        self.work.close()

    # who may come in

    def new_key(self) -> str:
        """Return a key that `enter` takes once."""
        key = secrets.token_urlsafe(16)
        self._keys.add(key)
        return key

    def enter(self, key: str) -> str:
        """Return the token for a key, which is used up, or for itself.

        Raises
        ------
        KeyError
            No such key, or not any more.
        """
        if secrets.compare_digest(key.encode(), self.token.encode()):
            return self.token
        self._keys.remove(key)
        return self.token

    # what the page shows

    def changed(self) -> None:
        """Tell the page that something is different, and keep the journal true."""
        orders = self.queue.orders()
        with self._lock:
            self._version += 1
            images = list(self._images.values())
            self.work.note(
                uploads=(one.name for one in images if one.folder),
                restoring=(order.image.name for order in orders),
                results=(one.name for one in images if self._waits_for_download(one)),
                outputs=(one.output for one in orders if not self._is_temporary(one.output)),
            )

    @property
    def version(self) -> int:
        """Grows with each change."""
        return self._version

    def described(self) -> dict[str, Any]:
        """Return all that the page shows."""
        return {
            "images": [self._described(image) for image in list(self._images.values())],
            "lost": self.lost,
            "root": None if self.root is None else self.root.path.name or "/",
        }

    def _described(self, image: PageImage) -> dict[str, Any]:
        place, saved = image.result, ""
        if place is not None and self.root is not None and not self._is_temporary(place):
            saved = self.root.name(place)
        return image.described() | {"saved": saved}

    def _waits_for_download(self, image: PageImage) -> bool:
        there = image.result is not None and not image.fetched
        return there and self._is_temporary(image.result)

    def _is_temporary(self, path: Path | None) -> bool:
        return path is not None and path.is_relative_to(self.work.path)

    def form(self) -> dict[str, Any]:
        """Return the fields of the options, and the models."""
        suffixes = [s for form in FORMATS if form.opens and not form.folder for s in form.suffixes]
        return {"fields": fields(), "models": list(self.models()), "suffixes": suffixes}

    def models(self) -> dict[str, str]:
        """Return the models that may be used: those that ship, and those below the root."""
        models = {name: name for name in MODELS}
        if self.root is not None:
            models |= {name: str(self.root.path / name) for name in self.root.models()}
        return models

    def plain(self, line: str) -> str:
        """Return a message without any folder of this machine."""
        places = {self.work.path, self.work.path.resolve()}
        places |= set() if self.root is None else {self.root.path}
        for place in places:
            line = re.sub(re.escape(str(place)) + _INSIDE, "", line)
        return _FOLDERS.sub("", line)

    # images

    def image(self, identity: str) -> PageImage:
        """Return an image of the page.

        Raises
        ------
        KeyError
            There is none, or not any more.
        """
        return self._images[identity]

    def images(self, identities: Iterable[str]) -> list[PageImage]:
        """Return images of the page; those that are not there any more are left out."""
        return [self._images[one] for one in identities if one in self._images]

    def add_upload(self, path: Path) -> list[PageImage]:
        """Open what has been sent; it is removed where it is no image.

        Raises
        ------
        ValueError, OSError
            It cannot be opened, or states too many pixels.
        """
        try:
            check_unopened(path)
            images = [self._look(one, path.parent) for one in list_images([path], sets=False)]
            for image in images:
                check_expansion(path, image.header)
            return self._add(images)
        except BaseException:
            remove(path.parent)
            raise

    def add_from_root(self, paths: Iterable[str]) -> list[PageImage]:
        """Open images of the folder by their paths in it; those that are open already stay so.

        Raises
        ------
        ValueError, OSError
            There is no such folder, a path leads out of it, or is no image.
        """
        if self.root is None:
            raise ValueError("expected a folder to choose from; start with --root FOLDER")
        places = [self.root.resolve(path) for path in paths]
        sources = [one for place in places for one in list_images([place])]
        there = {image.source for image in self._images.values()}
        return self._add([self._look(one, None) for one in sources if one not in there])

    def add_sample(self) -> list[PageImage]:
        """Open a sample: nuclei with simulated noise."""
        from ..napari.samples import noisy_nuclei

        pixels, about, _ = noisy_nuclei()[1]
        folder = self.work.path / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        path = folder / f"{about['name'].replace(' ', '_')}.tif"
        write(path, Image(pixels, "YX", {"Y": 0.1, "X": 0.1}))
        return self.add_upload(path)

    def _look(self, source: Path, folder: Path | None) -> PageImage:
        """Open an image for the page, without files that its user may not name."""
        shared = len(contents(source).files) > 1 and not output_base(source).is_dir()
        apart = shared and (folder is not None or not self._is_whole(source))
        image, answers = look(source, this_file=apart)
        below = self.root if folder is None else None
        name = source.name if below is None else below.name(source)
        return PageImage(name, source, folder, apart, image.header, answers)

    def _is_whole(self, source: Path) -> bool:
        return self.root is not None and self.root.holds_all_of(source)

    def _add(self, images: list[PageImage]) -> list[PageImage]:
        if len(self._images) + len(images) > _MOST:
            raise ValueError(f"expected at most {_MOST} images at once; remove some from the list")
        self._images |= {image.identity: image for image in images}
        self.changed()
        return images

    def remove(self, image: PageImage) -> None:
        """Take an image from the page; an upload, and its result, are removed with it."""
        self.queue.stop(image)
        self.queue.wait_for(image)
        self._images.pop(image.identity, None)
        folder, result = image.folder, image.result
        remove(self._report(image))
        if result is not None and self._is_temporary(result):
            remove(result)
        if folder and not any(other.folder == folder for other in self._images.values()):
            remove(folder)
        self.changed()

    def tell(self, image: PageImage, axes: str | None, voxel_size: str | None) -> None:
        """Take what its user says of an image.

        Raises
        ------
        ValueError
            Axes or sizes that cannot be, or an image that is being restored.
        """
        if image.busy:
            raise ValueError(f"{image.name}: it is being restored; stop that first")
        RestoreOptions(axes=axes, voxel_size=voxel_size)
        image.tell(axes, voxel_size)
        self.changed()

    def opened(self, image: PageImage, which: str) -> Pyramid:
        """Return an image, or its result, open; the last ones stay open."""
        place = image.source if which == "input" else image.result
        changed = place.stat().st_mtime_ns if place is not None and place.exists() else 0
        key = (image.identity, which, image.axes, place, changed)
        with self._lock:
            if key not in self._opened:
                opened = image.open() if which == "input" else image.open_result()
                self._opened[key] = Pyramid.of(opened)
                while len(self._opened) > _OPEN:
                    self._opened.popitem(last=False)
            self._opened.move_to_end(key)
            return self._opened[key]

    # Zarr folders that are sent file by file

    def begin_folder(self, path: Path) -> str:
        """Begin an upload of several files; return its identity."""
        identity = secrets.token_hex(8)
        path.mkdir()
        self._folders[identity] = SentFolder(path)
        return identity

    def folder(self, identity: str) -> SentFolder:
        """Return a folder that is being sent.

        Raises
        ------
        KeyError
            There is no such upload.
        """
        return self._folders[identity]

    def end_folder(self, identity: str) -> list[PageImage]:
        """Open what has been sent; see `add_upload`."""
        return self.add_upload(self._folders.pop(identity).path)

    # options

    def options(self, values: Mapping[str, Any]) -> RestoreOptions:
        """Return the options that the page's form states.

        Raises
        ------
        ValueError
            As `read_options`.
        """
        return read_options(values, self.models())

    def options_for(self, image: PageImage, options: RestoreOptions) -> RestoreOptions:
        """Return the options with what was said of an image.

        Raises
        ------
        ValueError
            Its axes, or the sizes that the axial task needs, are not known.
        """
        if image.answers and image.axes is None:
            raise ValueError(f"{image.name}: say first what its axes are")
        said = {"axes": image.axes, "voxel_size": image.voxel_size}
        stated = options.changed(**{k: v for k, v in said.items() if v is not None})
        sizes = image.header.pixel_size | (stated.arguments()["pixel_size"] or {})
        if options.task == "axial" and not {"Z", "Y", "X"} <= sizes.keys():
            raise ValueError(f"{image.name}: say first how large its pixels are, along Z, Y and X")
        return stated

    def runs(self, options: RestoreOptions) -> RestoreOptions:
        """Return options with the model as a file of this machine."""
        return options.changed(model=self.models()[options.model])

    def command(self, image: PageImage, options: RestoreOptions) -> str:
        """Return the command that gives the same bytes where the image lies."""
        stated = self.options_for(image, options)
        place = self._output(image)
        if self._is_temporary(place) or self.root is None:
            output = f"{RESULTS}/{image.result_name}"
        else:
            output = self.root.name(place)
        command = stated.command([image.name], output)
        return f"{command} --this-file" if image.this_file else command

    def restore(self, image: PageImage, options: RestoreOptions) -> None:
        """Let an image wait for its restoration.

        Raises
        ------
        ValueError
            As for `options_for`.
        OSError
            The result's folder cannot be made.
        """
        stated = self.options_for(image, options)
        output = self._output(image)
        output.parent.mkdir(parents=True, exist_ok=True)
        self._written.add(output)
        self.queue.add(Order(image, self.runs(stated), output, self.key_of(stated)))

    def key_of(self, options: RestoreOptions) -> str:
        """Return a text, never empty, that says which options these are."""
        return shlex.join(["restore", *options.words()])

    def _output(self, image: PageImage) -> Path:
        """Return where a result goes: beside an upload, or into a folder below the root.

        Where that may not be written to, it is temporary, too.
        """
        if image.folder is None and self.root is not None and os.access(self.root.path, os.W_OK):
            inner = PurePosixPath(image.name.partition("#")[0]).parent
            return self._free(self.root.path / RESULTS / inner / image.result_name)
        return (image.folder or self.work.path) / RESULTS / image.identity / image.result_name

    def _free(self, path: Path) -> Path:
        """Return a name that is free, or that this session has written before."""
        free, number = path, 2
        while free.exists() and free not in self._written:
            stem, dot, suffixes = path.name.partition(".")
            free, number = path.with_name(f"{stem}_{number}{dot}{suffixes}"), number + 1
        return free

    # what is wrong

    def diagnose(self, image: PageImage, options: RestoreOptions) -> dict[str, Any]:
        """Find out what is wrong with an image; see `diagnosis`.

        Raises
        ------
        ValueError, OSError, ModuleNotFoundError
            As for `options_for` and `diagnose_image`.
        """
        restorer = self.queue.open_model(self.runs(self.options_for(image, options)))
        with self._looking:
            found = diagnose_image(image, restorer, self._report(image))
        return described(found, self.queue.told)

    def report(self, image: PageImage) -> str:
        """Return the last part of an address for the report of a diagnosis.

        Raises
        ------
        ValueError
            There is none.
        """
        stem = PurePosixPath(image.name).name.partition(".")[0]
        return self.tickets.make_for(f"{stem}_diagnosis.html", self._report(image))

    def _report(self, image: PageImage) -> Path:
        return self.work.path / f"{image.identity}.html"

    # events

    async def until_changed(self, version: int, seconds: float) -> int:
        """Wait until something is different from a version, or so long; return the version."""
        for _ in range(max(1, round(seconds / 0.05))):
            if self._version != version or self.quit.is_set():
                break
            await asyncio.sleep(0.05)
        return self._version
