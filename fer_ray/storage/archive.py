"""The files of a store other than its tables: manifests, pages, and the URI of its source."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pyarrow import fs

from fer_ray.storage.objects.uris import store_lost_on_error

SWEEPS = "sweeps"  # folder of manifests and pages
SOURCE = "source.json"
SCRATCH = "scratch"  # folder of what running sweeps write for their own tasks
MIN_SWEEPS = 50  # manifests and pages that are never pruned, however old they are


class Archive:
    """The files of a store other than its tables.

    Args:
        uri: URI of the store, for messages.
        filesystem: File system of the store.
        root: Path of the store in it.

    Raises:
        StoreLostError: By any method: the store cannot be read or written.
    """

    def __init__(self, uri: str, filesystem: fs.FileSystem, root: str) -> None:
        self._uri, self._fs, self._root = uri, filesystem, root

    def write(self, name: str, text: str) -> None:
        """Write a file of the store atomically."""
        file = f"{self._root}/{name}"
        folder, _, last = file.rpartition("/")
        with store_lost_on_error(self._uri):
            self._fs.create_dir(folder, recursive=True)
            local = isinstance(self._fs, fs.LocalFileSystem)  # object stores write atomically
            partial = f"{folder}/.{last}.tmp"
            with self._fs.open_output_stream(partial if local else file) as stream:
                stream.write(text.encode())
            if local:
                self._fs.move(partial, file)

    def manifests(self) -> Iterator[dict[str, Any]]:
        """Yield the manifests of sweeps, the newest first."""
        for name in reversed(self._manifest_names()):
            text = self._read(f"{SWEEPS}/{name}")
            if text is not None:  # another sweep may have removed it
                yield json.loads(text)

    def source(self) -> str | None:
        """URI of the source that the store's rows describe; None before the first publication."""
        text = self._read(SOURCE)
        return None if text is None else str(json.loads(text)["source"])

    def write_source(self, source: str) -> None:
        """Record the URI of the source that the store's rows describe."""
        if source != self.source():
            self.write(SOURCE, json.dumps({"source": source}, ensure_ascii=False) + "\n")

    def prune(self, before: str, keep: int = MIN_SWEEPS) -> int:
        """Remove manifests and pages of sweeps whose names sort before `before`.

        Args:
            before: A sweep name, or its beginning.
            keep: Number of the newest sweeps whose files remain in any case.

        Returns:
            Number of sweeps whose files were removed.
        """
        names = [name.removesuffix(".json") for name in self._manifest_names()]
        expired = [name for name in names[: max(0, len(names) - keep)] if name < before]
        with store_lost_on_error(self._uri):
            for name in (f"{sweep}{ending}" for sweep in expired for ending in (".html", ".json")):
                try:
                    self._fs.delete_file(f"{self._root}/{SWEEPS}/{name}")
                except FileNotFoundError:  # it has no page, or another sweep removed it
                    continue
        return len(expired)

    def remove_scratch(self, sweep: str) -> None:
        """Remove the scratch folder of a sweep."""
        with store_lost_on_error(self._uri), suppress(FileNotFoundError):
            self._fs.delete_dir(f"{self._root}/{SCRATCH}/{sweep}")

    def prune_scratch(self, before: str) -> None:
        """Remove the scratch folders of killed sweeps whose names sort before `before`."""
        for name in self._names(SCRATCH):
            if name < before:
                self.remove_scratch(name)

    def _manifest_names(self) -> list[str]:
        names = sorted(self._names(SWEEPS))
        return [name for name in names if name.endswith(".json") and not name.startswith(".")]

    def _names(self, folder: str) -> list[str]:
        selector = fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True)
        with store_lost_on_error(self._uri):
            return [info.base_name for info in self._fs.get_file_info(selector)]

    def _read(self, name: str) -> bytes | None:
        with store_lost_on_error(self._uri):
            try:
                with self._fs.open_input_file(f"{self._root}/{name}") as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None
