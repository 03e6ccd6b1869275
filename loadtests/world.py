"""The pool of a run: nodes, SKUs, much of most and few of the hot ones; made over NATS as an ERP and a warehouse would."""

from typing import Final

from atp import limits
from cli import history
from cli.retail.engine import Engine, SimulationError, provision_pool
from cli.retail.feed import Feed
from cli.retail.readback import wait_for

NODES: Final = ("DC1", "DC2", "STORE1")
CHANNEL: Final = "web"
HOT_UNITS: Final = 40  # at each node: gone before the peak is over
TAIL_UNITS: Final = 5_000  # at each of two nodes: the most wanted of the tail lasts for the run, the others for ever

#: Units by node and SKU.
Supply = dict[str, dict[str, int]]


def names(skus: int, hot: int) -> list[str]:
    """The SKUs, the hot ones first."""
    return [f"HOT-{number:02d}" if number < hot else f"SKU-{number:06d}" for number in range(skus)]


def supply(skus: list[str], hot: int) -> Supply:
    """Hot SKUs lie at all nodes, each of the others at two of them in turn, so that many baskets leave from several nodes."""
    found: Supply = {node: dict.fromkeys(skus[:hot], HOT_UNITS) for node in NODES}
    for number, sku in enumerate(skus[hot:]):
        for step in (0, 1):
            found[NODES[(number + step) % len(NODES)]][sku] = TAIL_UNITS
    return found


def there(stock: Supply) -> dict[str, int]:
    """Units by SKU, over all nodes."""
    found: dict[str, int] = {}
    for units in stock.values():
        for sku, count in units.items():
            found[sku] = found.get(sku, 0) + count
    return found


async def make(engine: Engine, pool: str, skus: list[str], stock: Supply) -> None:
    """Makes the pool and returns once all its stock is in the store. Raises SimulationError if it does not come."""
    await provision_pool(engine, pool, NODES, CHANNEL)
    async with history.jetstream(engine.nats) as js, history.connected(engine.store) as store:
        feed = Feed(js, pool)
        await feed.items([(sku, 0) for sku in skus])
        for node, units in stock.items():
            lines = list(units.items())
            for start in range(0, len(lines), limits.EVENT_LINES_MAX):
                await feed.receipt(node, lines[start : start + limits.EVENT_LINES_MAX])

        async def still(missing: set[str]) -> set[str]:
            """From the store itself: the service may want a token."""
            found = await store.availability(pool, CHANNEL, [], sorted(missing))
            return {line.sku for line in found.lines if {node: row.on_hand for node, row in line.rows} != at_nodes(stock, line.sku)}

        if missing := await wait_for(skus, still):
            raise SimulationError(f"the stock of {len(missing)} SKUs has not arrived, as of {min(missing)}. Do the consumers run?")


def at_nodes(stock: Supply, sku: str) -> dict[str, int]:
    """Units of a SKU by node."""
    return {node: units[sku] for node, units in stock.items() if sku in units}
