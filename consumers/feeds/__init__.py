"""Formats of other systems, one file each: from what they send to canonical events. An adapter is added with its file and a line here."""

from typing import Final

from atp.model.verbs import SourceConfig
from consumers.feeds import csv_files, pos, s4hana, shopify, wms
from consumers.feeds.adapter import Adapter, FeedSettings, Mistake

_ALL: Final = (csv_files.ADAPTER, pos.ADAPTER, s4hana.ADAPTER, shopify.ADAPTER, wms.ADAPTER)

#: By the name that a feed's settings give.
ADAPTERS: Final[dict[str, Adapter]] = {adapter.name: adapter for adapter in _ALL}

__all__ = ["ADAPTERS", "Adapter", "FeedSettings", "Mistake", "misfits"]


def misfits(adapter: str, source: SourceConfig) -> list[str]:
    """What a source would have to be provisioned with for a format, and is not."""
    fits = ADAPTERS[adapter]
    pairs = (("order", fits.order, source.order), ("snapshots", fits.snapshots, source.snapshots))
    return [f'{name} = "{needed}", and has "{given}"' for name, needed, given in pairs if needed not in {"", given}]
