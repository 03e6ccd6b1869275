"""The work behind `atp provision`: the file applied, or all that is wrong with it; and which feeds do not fit what it says."""

import asyncio
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import typer

from atp.errors import InvalidRequestError
from atp.model.verbs import SourceConfig
from atp.words import counted
from cli import config, exit_codes
from cli.config import Configuration
from cli.exit_codes import CommandError
from consumers.feeds import misfits
from consumers.provision import provision


def run(file: Path, store_url: str | None, nats_url: str | None) -> None:
    found = config.load(store_url=store_url, nats_url=nats_url)
    try:
        report = asyncio.run(provision(file, partial(config.store_of, found), config.nats(found)))
    except InvalidRequestError as error:
        mistakes = [f"{mistake.field}: {mistake.description}" for mistake in error.violations]
        message = "\n  ".join([f"{counted(len(mistakes), 'mistake')} in {file}; nothing was changed:", *mistakes])
        raise CommandError(message, exit_codes.USAGE) from error
    typer.echo(report)
    for warning in warnings(found, report.pool, report.sources):
        typer.secho(warning, fg=typer.colors.YELLOW, err=True)


def warnings(found: Configuration, pool: str, sources: Iterable[SourceConfig]) -> Iterator[str]:
    """Of each feed of the pool whose source the file does not name, or describes otherwise than its format needs."""
    named = {source.id: source for source in sources}
    for name, feed in found.feeds.items():
        if feed.pool != pool:
            continue
        if feed.source not in named:
            yield f"feeds.{name}: source {feed.source} is not in this file: add it, or correct feeds.{name}.source"
            continue
        for misfit in misfits(feed.adapter, named[feed.source]):
            yield f"feeds.{name}: for the adapter {feed.adapter} source {feed.source} needs {misfit}: correct it and provision again"
