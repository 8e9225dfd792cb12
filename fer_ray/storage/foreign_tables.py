"""Files and tables of the user where a sweep keeps its tables: cleaning up would remove them."""

import re
from typing import get_args

from pyarrow import fs

from fer_ray.errors import UserError
from fer_ray.storage.delta_store import Store
from fer_ray.storage.objects.uris import store_lost_on_error
from fer_ray.storage.snapshot import Snapshot, TableName

KEY = "sha256"  # a column of each table of a store
_WRITTEN_FILE = re.compile(r".+-[0-9a-f]{32}\.parquet")  # named by `unique_name`
_ANY_FILE = re.compile(r".*\.parquet", re.DOTALL)
_IGNORED = ("_", ".")  # first characters of names that cleaning up does not touch


def require_own_tables(store: Store) -> None:
    """Check, before a sweep writes, that the folders of its tables contain nothing else.

    Raises:
        UserError: They contain files or a table that no sweep has written.
        StoreLostError: The store cannot be read.
    """
    for name in get_args(TableName):
        snapshot = store.snapshot(name)
        with store_lost_on_error(store.uri):
            foreign = _foreign_files(snapshot)
        if foreign or (snapshot.table is not None and KEY not in snapshot.schema.names):
            example = f", such as {foreign[0]}" if foreign else ""
            raise UserError(
                f"{snapshot.folder.uri} contains data that no sweep has written{example}. A sweep "
                "would remove files there. Pass another --store."
            )


def _foreign_files(snapshot: Snapshot) -> list[str]:
    folder = snapshot.folder
    infos = folder.filesystem.get_file_info(fs.FileSelector(folder.root, allow_not_found=True))
    names = [info.base_name for info in infos if not info.base_name.startswith(_IGNORED)]
    # Delta Lake names the files that it writes itself, into an existing table, in another way.
    own = _WRITTEN_FILE if snapshot.table is None else _ANY_FILE
    return sorted(name for name in names if not own.fullmatch(name))
