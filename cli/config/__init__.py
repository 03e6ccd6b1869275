"""The configuration of a process: read from its layers, checked whole, and handed on as what each part takes."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from atp.drift import Tolerance
from atp.store import Store, Stores, StoreSettings
from atp.store.address import without_password
from cli import addresses
from cli.config.load import Configuration, ConfigurationError, Layers, check
from cli.config.sections import (
    CheckpointSection,
    DriftSection,
    FeedSection,
    FilesSection,
    LogSection,
    MetricsSection,
    NatsSection,
    Section,
    ServiceSection,
    StoreSection,
    TokenSection,
    TraceSection,
    WebhooksSection,
)
from cli.exit_codes import UNREACHABLE, CommandError
from cli.options import FILE_VARIABLE
from consumers.checkpoint_role import Cadence
from consumers.connection import NatsSettings
from consumers.drift_role import DriftSettings
from consumers.feeds import FeedSettings
from consumers.ways_in import WaysIn
from service.listen import split
from service.settings import ClientSettings, ServerTls, ServiceSettings, TokenSettings

__all__ = [
    "Configuration",
    "ConfigurationError",
    "checkpoint",
    "drift",
    "is_told",
    "load",
    "log",
    "metrics",
    "nats",
    "nats_if_told",
    "service",
    "shown",
    "store_of",
    "stores",
    "trace",
    "ways_in",
]


def load(environment: Mapping[str, str] = os.environ, **options: str | None) -> Configuration:
    """All layers: the file is the one that ATP_CONFIG_FILE names, an option is `table_name`.

    Raises ConfigurationError with every mistake.
    """
    layers = Layers()
    if run := addresses.read_run():
        layers.put("store", "url", run.store_url, str(addresses.RUN_PATH))
        layers.put("nats", "url", run.nats_url, str(addresses.RUN_PATH))
    if named := environment.get(FILE_VARIABLE):
        layers.take_file(Path(named))
    layers.take_environment(environment)
    for option, value in options.items():
        if value is not None:
            table, _, name = option.partition("_")
            layers.put(table, name, value, f"--{option.replace('_', '-')}")
    return check(layers)


def store_of(configuration: Configuration, pool: str) -> StoreSettings:
    """The store that has a pool. Raises CommandError if none is known."""
    if pool in configuration.pools:
        return _store(configuration.stores[configuration.pools[pool]])
    section = cast(StoreSection, configuration.sections["store"])
    if section.url is None:
        raise _nothing_runs("the store", "--store-url", "ATP_STORE_URL")
    return _store(section)


def stores(configuration: Configuration) -> Stores:
    """All stores, not yet connected. Raises CommandError if none is known."""
    named = {name: Store(_store(section)) for name, section in configuration.stores.items()}
    return Stores(Store(store_of(configuration, "")), {pool: named[name] for pool, name in configuration.pools.items()})


def is_told(configuration: Configuration) -> bool:
    """Whether anything said where servers are."""
    return any("url" in configuration.layers.tables.get(table, {}) for table in ("store", "nats"))


def nats(configuration: Configuration) -> NatsSettings:
    """Raises CommandError if no server is known."""
    if (settings := nats_if_told(configuration)) is None:
        raise _nothing_runs("NATS", "--nats-url", "ATP_NATS_URL")
    return settings


def nats_if_told(configuration: Configuration) -> NatsSettings | None:
    """The same, or none if no server is known."""
    section = cast(NatsSection, configuration.sections["nats"])
    if section.url is None:
        return None
    return NatsSettings(
        section.url,
        section.credentials_file,
        section.username,
        section.password.get_secret_value(),
        section.ca_file,
        section.certificate_file,
        section.key_file,
    )


def service(configuration: Configuration) -> ServiceSettings:
    section = cast(ServiceSection, configuration.sections["service"])
    token = cast(TokenSection, configuration.sections["token"])
    tls = None
    if section.certificate_file and section.key_file:
        tls = ServerTls(section.certificate_file, section.key_file, section.client_ca_file)
    tokens = TokenSettings(token.issuer, token.audience, token.key_file, token.jwks_file) if token.issuer else None
    clients = {name: ClientSettings(client.scopes, client.pools, client.sources) for name, client in configuration.clients.items()}
    return ServiceSettings(section.listen, tls, tokens, clients, section.plaintext)


def ways_in(configuration: Configuration) -> WaysIn:
    listen = cast(WebhooksSection, configuration.sections["webhooks"]).listen
    folder = cast(FilesSection, configuration.sections["files"]).folder
    feeds = tuple(_feed(name, section) for name, section in configuration.feeds.items())
    return WaysIn(feeds, split(listen) if listen else None, folder)


def checkpoint(configuration: Configuration) -> Cadence:
    section = cast(CheckpointSection, configuration.sections["checkpoint"])
    return Cadence(section.every_hours, section.every_entries)


def drift(configuration: Configuration) -> DriftSettings:
    section = cast(DriftSection, configuration.sections["drift"])
    return DriftSettings(section.every_minutes, Tolerance(section.units, section.value))


def log(configuration: Configuration) -> LogSection:
    return cast(LogSection, configuration.sections["log"])


def metrics(configuration: Configuration) -> MetricsSection:
    return cast(MetricsSection, configuration.sections["metrics"])


def trace(configuration: Configuration) -> TraceSection:
    return cast(TraceSection, configuration.sections["trace"])


def shown(configuration: Configuration) -> Iterator[tuple[str, str, str, str]]:
    """Every setting in force: table, name, value and where it comes from; secrets are not shown."""
    sections: dict[str, Section] = dict(configuration.sections)
    sections |= {f"stores.{name}": section for name, section in configuration.stores.items()}
    sections |= {f"clients.{name}": section for name, section in configuration.clients.items()}
    sections |= {f"feeds.{name}": section for name, section in configuration.feeds.items()}
    for table, section in sections.items():
        settings = configuration.layers.tables.get(table, {})
        for name in type(section).model_fields:
            value = getattr(section, name)
            text = ", ".join(sorted(value)) if isinstance(value, frozenset) else "" if value is None else str(value)
            yield table, name, without_password(text) if name == "url" else text, settings[name].origin if name in settings else "default"
    for pool, store in configuration.pools.items():
        yield "pools", pool, store, configuration.layers.tables["pools"][pool].origin


def _store(section: StoreSection) -> StoreSettings:
    return StoreSettings(
        section.url or "",
        section.username,
        section.password.get_secret_value(),
        section.ca_file,
        section.certificate_file,
        section.key_file,
    )


def _feed(name: str, section: FeedSection) -> FeedSettings:
    secret = section.secret_file.read_text().strip() if section.secret_file else section.secret.get_secret_value()
    return FeedSettings(
        name=name,
        adapter=section.adapter,
        pool=section.pool,
        source=section.source,
        nodes=section.nodes,
        secret=secret,
        time_zone=section.time_zone,
    )


def _nothing_runs(what: str, option: str, variable: str) -> CommandError:
    return CommandError(
        f"nothing runs in {addresses.DATA_DIR}, and nobody said where {what} is: start it with `atp up`, or say {option} (or {variable}, "
        "or a configuration file)",
        UNREACHABLE,
    )
