"""Formats of other systems, one file each: from what they send to canonical events. An adapter is added with its file and a line here."""

from typing import Final

from consumers.feeds import csv_files, pos, s4hana, shopify, wms
from consumers.feeds.adapter import Adapter, FeedSettings, Mistake

_ALL: Final = (csv_files.ADAPTER, pos.ADAPTER, s4hana.ADAPTER, shopify.ADAPTER, wms.ADAPTER)

#: By the name that a feed's settings give.
ADAPTERS: Final[dict[str, Adapter]] = {adapter.name: adapter for adapter in _ALL}

__all__ = ["ADAPTERS", "Adapter", "FeedSettings", "Mistake"]
