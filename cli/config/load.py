"""Reads the configuration from its layers, and says everything that is wrong with it at once."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from pydantic import ValidationError

from atp.requests import NAME_RULE, is_name
from atp.words import counted
from cli.config.sections import FAMILIES, POOLS, SECTIONS, ClientSection, FeedSection, Section, ServiceSection, StoreSection
from service.listen import objection

PREFIX: Final = "ATP_"
#: Where a command that calls the service finds its token (cli/client.py): these only look like settings of ours.
_OF_CALLERS: Final = {"ATP_TOKEN_FILE"}
#: How the names of settings end that are paths.
_PATHS: Final = ("_file", "folder")
_SECRETS: Final = {"secret", "secret_file"}


class ConfigurationError(Exception):
    """The configuration is wrong; each mistake is a line that names the setting and where it was set."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n  ".join([f"{counted(len(mistakes), 'mistake')} in the configuration (docs/configuration.md):", *mistakes]))
        self.mistakes = mistakes


class Set(NamedTuple):
    """A value and the layer that set it."""

    value: Any
    origin: str


class Layers:
    """Settings as they were found, by table and name; a later layer wins."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Set]] = {}
        self.mistakes: list[str] = []

    def put(self, table: str, name: str, value: Any, origin: str) -> None:
        self.tables.setdefault(table, {})[name] = Set(value, origin)

    def take_file(self, path: Path) -> None:
        """The TOML file: relative paths in it are taken from its folder."""
        try:
            content = tomllib.loads(path.read_text())
        except OSError as error:
            self.mistakes.append(f"{path} cannot be read: {error.strerror}")
            return
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self.mistakes.append(f"{path} is not TOML: {error}")
            return
        for table, fields in content.items():
            self._take_table(path, table, fields)

    def _take_table(self, path: Path, table: str, fields: Any) -> None:
        if table not in {*SECTIONS, *FAMILIES, POOLS}:
            self.mistakes.append(f"[{table}] ({path}): there is no such table{_nearest(table, [*SECTIONS, *FAMILIES, POOLS])}")
        elif not isinstance(fields, dict):
            self.mistakes.append(f"{table} ({path}): must be a table")
        elif table in FAMILIES:
            for name, inner in fields.items():
                self._take_table_of(path, f"{table}.{name}", inner)
        else:
            self._take_table_of(path, table, fields)

    def _take_table_of(self, path: Path, table: str, fields: Any) -> None:
        if not isinstance(fields, dict):
            self.mistakes.append(f"{table} ({path}): must be a table")
            return
        self.tables.setdefault(table, {})
        for name, value in fields.items():
            is_relative = name.endswith(_PATHS) and isinstance(value, str)
            self.put(table, name, str(path.parent / value) if is_relative else value, str(path))

    def take_environment(self, environment: Mapping[str, str]) -> None:
        """`ATP_<TABLE>_<NAME>`; an empty one counts as not set. Variables that begin with no table's name are other commands'."""
        for variable, value in sorted(environment.items()):
            table, _, name = variable.removeprefix(PREFIX).lower().partition("_")
            if not variable.startswith(PREFIX) or table not in SECTIONS or not name or not value or variable in _OF_CALLERS:
                continue
            if name in SECTIONS[table].model_fields:
                self.put(table, name, value, variable)
            else:
                known = [f"{PREFIX}{table}_{field}".upper() for field in SECTIONS[table].model_fields]
                self.mistakes.append(f"{variable}: there is no such setting{_nearest(variable, known)}")


class Configuration(NamedTuple):
    """All sections, checked; `layers` tells where each setting comes from."""

    sections: dict[str, Section]
    stores: dict[str, StoreSection]
    clients: dict[str, ClientSection]
    feeds: dict[str, FeedSection]
    pools: dict[str, str]
    layers: Layers


def check(layers: Layers) -> Configuration:
    """Raises ConfigurationError with every mistake of all layers."""
    mistakes = layers.mistakes
    sections = {name: found for name, kind in SECTIONS.items() if (found := _section(layers, name, kind))}
    families: dict[str, dict[str, Any]] = {}
    for family, kind in FAMILIES.items():
        tables = [table for table in layers.tables if table.startswith(f"{family}.")]
        families[family] = {table.partition(".")[2]: found for table in tables if (found := _section(layers, table, kind))}
    pools = {name: str(setting.value) for name, setting in layers.tables.get(POOLS, {}).items()}
    mistakes += _across(layers, sections, pools)
    if mistakes:
        raise ConfigurationError(mistakes)
    return Configuration(sections, families["stores"], families["clients"], families["feeds"], pools, layers)


def _section(layers: Layers, table: str, kind: type[Section]) -> Section | None:
    """The section if its settings are right, each by itself; else their mistakes are noted."""
    settings = layers.tables.get(table, {})
    try:
        return kind.model_validate({name: setting.value for name, setting in settings.items()})
    except ValidationError as error:
        for found in error.errors():
            name = str(found["loc"][0])
            where = f"{table}.{name}" + (f" ({settings[name].origin})" if name in settings else "")
            layers.mistakes.append(f"{where}: {_sentence(found, list(kind.model_fields), name)}")
    return None


def _sentence(found: Any, known: list[str], name: str) -> str:
    match found["type"]:
        case "extra_forbidden":
            return f"there is no such setting{_nearest(name, known)}"
        case "missing":
            return "is missing"
        case "value_error":
            return str(found["ctx"]["error"])
        case _:
            return str(found["msg"])[0].lower() + str(found["msg"])[1:]


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"


def _across(layers: Layers, sections: Mapping[str, Section], pools: Mapping[str, str]) -> list[str]:
    """What is wrong between settings, as far as it can be seen."""
    tables = layers.tables
    wrong = []
    for table in ("store", "nats", "service", *(name for name in tables if name.startswith("stores."))):
        given = tables.get(table, {})
        if ("certificate_file" in given) != ("key_file" in given):
            wrong.append(f"{table}: certificate_file and key_file go together")
    for table in ("store", *(name for name in tables if name.startswith("stores."))):
        given = tables.get(table, {})
        url = given.get("url")
        if url and ("ca_file" in given or "certificate_file" in given) and not str(url.value).startswith("rediss://"):
            wrong.append(f"{table}.url ({url.origin}): certificates are of use with rediss:// only; correct it, or leave them out")
    wrong += [f"{name}.url: is missing" for name in tables if name.startswith("stores.") and "url" not in tables[name]]
    wrong += [f"pools.{pool}: there is no table [stores.{store}]" for pool, store in pools.items() if f"stores.{store}" not in tables]
    return [*wrong, *_across_service(layers, sections), *_across_feeds(layers)]


def _across_feeds(layers: Layers) -> list[str]:
    feeds = {table.partition(".")[2]: given for table, given in layers.tables.items() if table.startswith("feeds.")}
    wrong = [f"feeds.{name}: {NAME_RULE}" for name in feeds if not is_name(name)]
    wrong += [f"feeds.{name}: one of secret and secret_file is enough" for name, given in feeds.items() if given.keys() >= _SECRETS]
    if "listen" in layers.tables.get("webhooks", {}) and not any(_SECRETS & given.keys() for given in feeds.values()):
        wrong.append("webhooks.listen: no feed has a secret, so no webhook could be taken: set secret or secret_file in [feeds.NAME]")
    if "folder" in layers.tables.get("files", {}) and not feeds:
        wrong.append("files.folder: there is no feed whose files they could be: set [feeds.NAME]")
    return wrong


def _across_service(layers: Layers, sections: Mapping[str, Section]) -> list[str]:
    given = {name: layers.tables.get(name, {}) for name in ("service", "token")}
    clients = any(name.startswith("clients.") for name in layers.tables)
    wrong = []
    if given["token"]:
        wrong += [f"token.{name}: is missing" for name in ("issuer", "audience") if name not in given["token"]]
        if ("key_file" in given["token"]) == ("jwks_file" in given["token"]):
            wrong.append("token: one of key_file and jwks_file says which signatures are believed")
    if "client_ca_file" in given["service"] and "certificate_file" not in given["service"]:
        wrong.append("service.client_ca_file: callers show certificates only over TLS: set certificate_file and key_file too")
    if clients and "client_ca_file" not in given["service"]:
        wrong.append("clients: their certificates need an authority: set service.client_ca_file")
    if service := cast(ServiceSection | None, sections.get("service")):
        tokens_in_clear = bool(given["token"]) and service.certificate_file is None and not service.plaintext
        why_not = objection(service.listen, knows_callers=clients or bool(given["token"]), tokens_in_clear=tokens_in_clear)
        wrong += [f"service.listen: {why_not}"] if why_not else []
    return wrong
