"""What an audit looks at when it begins with a checkpoint: all that is there, a few names at a time."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from atp.audit import records
from atp.audit.records import RowName, Touched
from atp.checkpoint import Manifest
from atp.checkpoint import records as records_of
from atp.ledger import Entry
from atp.replay import Key, Replay

#: The entry that nobody made, in which all begins.
NO_ENTRY: Final = Entry(0, 0, 0, 0, "", "", "", "", [], [], [])
_SLICE: Final = 200

_encode = msgspec.msgpack.Encoder().encode


class Start:
    """A replay on its way from a checkpoint to where an audit can begin: to the revision at which the checkpoint is whole."""

    def __init__(self, manifest: Manifest, *, comparing: bool = False) -> None:
        """`comparing` as for the audit to come: without it, what no rule asks for is not kept."""
        self.manifest = manifest
        self.comparing = comparing
        self.replay = Replay()
        self.replay.begin(manifest)

    def put(self, piece: bytes) -> None:
        for record in records_of(piece):
            # What has an expiry is over; what takes it up again writes it whole.
            if self.comparing or (records.is_audited(record.name) and not record.expiry_ms):
                self.replay.put(record)

    @property
    def is_whole(self) -> bool:
        return self.replay.revision >= self.manifest.whole

    def apply(self, entry: Entry) -> None:
        """Takes the next entry behind the revision at which the copy was begun, until it is whole. Raises ReplayError."""
        self.replay.apply(entry)

    def prune(self) -> Iterator[None]:
        """Takes out what entries have brought in since, and no rule asks for. Gives way again and again."""
        for number, name in enumerate([] if self.comparing else list(self.replay.keys)):
            if number % _SLICE == 0:
                yield
            if not records.is_audited(name) or records.is_over(self.replay, name):
                self.replay.forget(name)


def names(replay: Replay) -> Iterator[Touched]:
    """Records and what indexes name, each once; all but rows. Until all are known it is none, again and again."""
    total = records.touched(NO_ENTRY)
    for number, (name, key) in enumerate(replay.keys.items()):
        if number % _SLICE == 0:
            yield records.touched(NO_ENTRY)
        if not name.startswith("stk:"):
            some = records.touched(_as_written(name, key))
            for kind in Touched.__struct_fields__:
                getattr(total, kind).update(getattr(some, kind))
    left = [iter(getattr(total, kind)) for kind in Touched.__struct_fields__]
    while any(slices := [set(islice(one, _SLICE)) for one in left]):
        yield Touched(*slices)


def rows(replay: Replay) -> Iterator[set[RowName]]:
    """Every row, each once."""
    for name in [name for name in replay.keys if name.startswith("stk:")]:
        yield records.touched(_as_written(name, replay.keys[name])).rows


def _as_written(name: str, key: Key) -> Entry:
    """An entry that names a key field by field, as one that wrote it would; a record of many fields is one all the same."""
    said = msgspec.Raw(_encode(name))
    fields = (msgspec.Raw(_encode(field.decode())) for field in (islice(key, 1) if name.startswith("rsv:") else key))
    return msgspec.structs.replace(NO_ENTRY, images=[[said, said, field, field] for field in fields])
