"""Adds an event to the golden ones: `python -m tests.golden.add events-v1/receipt_of_a_return < event.json`.

A golden event is two files, the bytes as a source sent them and the verb that they meant, and a line in SHA256SUMS. One that is there is
never written again: docs/events.md says how events may change.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from atp import canonical
from atp.canonical import Items

FOLDER: Final = Path(__file__).parent
SUMS: Final = FOLDER / "SHA256SUMS"
VERB_SUFFIX: Final = ".verb.json"
#: What the names and packs of golden events stand for.
ITEMS: Final = Items(skus={"ALIAS-2": "SKU-2", "04012345111118": "SKU-2"}, packs={("SKU-1", "BOX"): 12})


def names() -> list[str]:
    """All golden events, by folder and name."""
    return sorted(
        str(path.relative_to(FOLDER)).removesuffix(".json") for path in FOLDER.glob("*/*.json") if not path.name.endswith(VERB_SUFFIX)
    )


def bytes_of(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()


def verb_of(name: str) -> Any:
    """What it meant when it was added."""
    return msgspec.json.decode((FOLDER / f"{name}{VERB_SUFFIX}").read_bytes())


def meaning(data: bytes) -> Any:
    """The verb that an event asks for, its fields by name."""
    return told(canonical.request_of(canonical.read(data), ITEMS))


def told(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {"verb": type(value).__name__} | {field: told(getattr(value, field)) for field in value.__struct_fields__}
    return [told(one) for one in value] if isinstance(value, list) else value


def sums() -> dict[str, str]:
    """Digests by file, as they are now."""
    files = sorted(path for path in FOLDER.glob("*/*.json"))
    return {str(path.relative_to(FOLDER)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def add(name: str, data: bytes) -> None:
    """Raises FileExistsError, and ContentError for what is no event."""
    verb = msgspec.json.format(msgspec.json.encode(meaning(data)), indent=1)
    files = {f"{name}.json": data, f"{name}{VERB_SUFFIX}": verb + b"\n"}
    for file, content in files.items():
        with (FOLDER / file).open("xb") as new:
            new.write(content)
    with SUMS.open("a") as listed:
        listed.writelines(f"{hashlib.sha256(content).hexdigest()}  {file}\n" for file, content in files.items())


if __name__ == "__main__":
    add(sys.argv[1], sys.stdin.buffer.read())
