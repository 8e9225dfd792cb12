"""What sweeps leave beside the tables of a store: manifests, pages, and which source it is of."""

import json
from collections.abc import Iterator
from typing import Any

from pyarrow import fs

from fer_ray.storage.uris import lost_on_error

SWEEPS = "sweeps"
SOURCE = "source.json"  # at the store's top
KEPT = 50  # manifests and pages that stay, however old


class Archive:
    """The files of a store that are no tables.

    Args:
        uri: Of the store, for messages.
        filesystem: It lies in.
        root: Its place there.

    Raises:
        StoreLostError: By any method: it cannot be read or written.
    """

    def __init__(self, uri: str, filesystem: fs.FileSystem, root: str) -> None:
        self._uri, self._fs, self._root = uri, filesystem, root

    def write(self, name: str, text: str) -> None:
        """Write a file below the store whole: readers see the old one or the new one."""
        file = f"{self._root}/{name}"
        folder, _, last = file.rpartition("/")
        with lost_on_error(self._uri):
            self._fs.create_dir(folder, recursive=True)
            local = isinstance(self._fs, fs.LocalFileSystem)
            partial = f"{folder}/.{last}.tmp"
            with self._fs.open_output_stream(partial if local else file) as opened:
                opened.write(text.encode())
            if local:
                self._fs.move(partial, file)

    def manifests(self) -> Iterator[dict[str, Any]]:
        """What sweeps told of themselves, the newest first."""
        for name in sorted(self._names(".json"), reverse=True):
            text = self._read(f"{SWEEPS}/{name}")
            if text is not None:  # removed since by another sweep
                yield json.loads(text)

    def source(self) -> str | None:
        """The source that the store's rows are of, as the last sweep that published named it."""
        text = self._read(SOURCE)
        return None if text is None else str(json.loads(text)["source"])

    def keep_source(self, source: str) -> None:
        """Remember the source."""
        if source != self.source():
            self.write(SOURCE, json.dumps({"source": source}, ensure_ascii=False) + "\n")

    def prune(self, before: str) -> int:
        """Remove manifests and pages of sweeps whose names sort before that, but for the newest.

        Returns:
            How many sweeps were forgotten.
        """
        old = sorted(name[:-5] for name in self._names(".json"))[:-KEPT]
        gone = [name for name in old if name < before]
        with lost_on_error(self._uri):
            for name in (f"{one}{ending}" for one in gone for ending in (".html", ".json")):
                try:
                    self._fs.delete_file(f"{self._root}/{SWEEPS}/{name}")
                except FileNotFoundError:  # no page, or another sweep was quicker
                    continue
        return len(gone)

    def _names(self, ending: str) -> list[str]:
        folder = fs.FileSelector(f"{self._root}/{SWEEPS}", allow_not_found=True)
        with lost_on_error(self._uri):
            found = [info.base_name for info in self._fs.get_file_info(folder)]
        return [name for name in found if name.endswith(ending) and not name.startswith(".")]

    def _read(self, name: str) -> bytes | None:
        with lost_on_error(self._uri):
            try:
                with self._fs.open_input_file(f"{self._root}/{name}") as opened:
                    return bytes(opened.read())
            except FileNotFoundError:
                return None
