"""Makes docs/events.md: `python -m cli.catalogue > docs/events.md`.

The prose is `cli/data/events/page.md.in`, an example of each type stands beside it, and everything else is what `atp/events.py` says.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import msgspec
from msgspec import inspect

from atp import events, limits

_DATA: Final = Path(__file__).parent / "data/events"
_BLOCK: Final = re.compile(r"^\{\{(event|struct) (\w+)\}\}$", re.MULTILINE)
_BOUND: Final = re.compile(r"\{\{([A-Z_]+)\}\}")


def document() -> str:
    """The whole page."""
    page = (_DATA / "page.md.in").read_text()
    page = _BLOCK.sub(lambda found: _event(found[2]) if found[1] == "event" else _struct(found[2]), page)
    return _BOUND.sub(lambda found: f"{getattr(limits, found[1]):,}", page)


def example(kind: str) -> str:
    """An event of the type, as a source would send it."""
    return (_DATA / f"{kind}.json").read_text()


def _event(name: str) -> str:
    kind = events.TYPES[name]
    data = get_type_hints(kind)["data"]
    return f"#### `{name}`\n{_first_line(kind)}\n\n{_table(data)}\n\n```json\n{example(name)}```"


def _struct(name: str) -> str:
    struct = getattr(events, name)
    told = _first_line(struct)
    return (f"{told}\n\n" if told else "") + _table(struct)


def _first_line(struct: type) -> str:
    return (struct.__doc__ or "").partition("\n")[0] if _is_written(struct) else ""


def _table(struct: type) -> str:
    rows = ["| field | form | default | meaning |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(struct):
        if struct is not events.Data and field.name in events.Data.__struct_fields__:
            continue  # what every event says stands in a table of its own
        cells = (f"`{field.encode_name}`", _type(inspect.type_info(field.type)), _default(field), _text(struct, field.name))
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows)


# --- types --------------------------------------------------------------------------------------------------------
def _pattern(alias: object) -> str:
    _, meta = get_args(alias)
    return str(meta.pattern)


#: Forms of text by their pattern: what it means, for people.
_FORMS: Final = {
    _pattern(events.Name): f"1 to {limits.NAME_CHARS_MAX} of A-Z a-z 0-9 _ -",
    _pattern(events.OptionalName): f"at most {limits.NAME_CHARS_MAX} of A-Z a-z 0-9 _ -",
    _pattern(events.Id): f"1 to {limits.ID_CHARS_MAX} printable characters without spaces",
    _pattern(events.OptionalId): f"at most {limits.ID_CHARS_MAX} printable characters without spaces",
    _pattern(events.Currency): "three capital letters",
    r"^(\d{8}|\d{12,14})$": "8, 12, 13 or 14 digits, the last of them the check digit",
}


def _type(kind: inspect.Type) -> str:
    """A type with its bounds, in words."""
    form = ""
    match kind:
        case inspect.IntType():
            form = f"whole number, {kind.ge:,} to {kind.le:,}".replace("-", "−")
        case inspect.StrType(pattern=None):
            form = f"text of at most {kind.max_length} characters"
        case inspect.StrType(pattern=pattern):
            form = _FORMS[str(pattern)]
        case inspect.DateTimeType():
            form = "time, RFC 3339 with its offset from UTC"
        case inspect.LiteralType():
            form = "one of " + ", ".join(f"`{value}`" for value in kind.values)
        case inspect.UnionType():
            form = _type(next(one for one in kind.types if not isinstance(one, inspect.NoneType)))
    return form or _composed(kind)


def _composed(kind: inspect.Type) -> str:
    match kind:
        case inspect.ListType(min_length=1, max_length=1):
            return f"one {_type(kind.item_type)}"
        case inspect.ListType():
            return f"{f'{kind.min_length} to' if kind.min_length else 'at most'} {kind.max_length:,} of: {_type(kind.item_type)}"
        case inspect.DictType():
            return f"at most {kind.max_length} names, with each a {_type(kind.value_type)}"
        case inspect.StructType():
            return f"[{kind.cls.__name__}](#{kind.cls.__name__.lower()})"
    raise TypeError(f"how is {kind} said?")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "**must be said**"
    value: Any = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return "" if value in ("", None, [], {}) else f"`{value}`"


# --- what the source says beside its fields -----------------------------------------------------------------------
@cache
def _source() -> tuple[ast.Module, dict[int, str]]:
    """The module, and its `#:` comments by line."""
    text = Path(str(events.__file__)).read_text()
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = {token.start[0]: token.string.removeprefix("#:").strip() for token in tokens if token.string.startswith("#:")}
    return ast.parse(text), comments


def _classes() -> Iterator[ast.ClassDef]:
    return (node for node in _source()[0].body if isinstance(node, ast.ClassDef))


def _is_written(struct: type) -> bool:
    """Whether the source has a docstring for it, and not for a base alone."""
    return any(node.name == struct.__name__ and ast.get_docstring(node) for node in _classes())


@cache
def _texts() -> dict[tuple[str, str], str]:
    """What stands beside each field, by class; the text above the name of its type, if nothing does."""
    module, comments = _source()
    above = {
        node.targets[0].id: comments.get(node.lineno - 1, "")
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return {
        (owner.name, node.target.id): comments.get(node.end_lineno or 0, "") or above.get(ast.unparse(node.annotation), "")
        for owner in _classes()
        for node in owner.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _text(struct: type, name: str) -> str:
    return next((_texts()[owner.__name__, name] for owner in struct.__mro__ if (owner.__name__, name) in _texts()), "")


if __name__ == "__main__":
    sys.stdout.write(document())
