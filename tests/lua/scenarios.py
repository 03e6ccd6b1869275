"""All tables: title → steps, and the bounds that they are played with.

Each starts from two nodes: web sells from N1 then N2, shop from N2; wms is the authority, erp registers items.
"""

from typing import Any

from tests.lua.bound_scenarios import AT_THE_BOUNDS, IN_SMALL_ENTRIES, LOW_BOUNDS, SMALL_ENTRIES
from tests.lua.catalogue_scenarios import CATALOGUE
from tests.lua.hold_scenarios import HOLDS
from tests.lua.order_scenarios import ORDERS
from tests.lua.pick_scenarios import PICKS
from tests.lua.put_back_scenarios import PUT_BACK
from tests.lua.repair_scenarios import REPAIRS, REPAIRS_OF_COUNTERS
from tests.lua.shipment_scenarios import SHIPMENTS
from tests.lua.stock_scenarios import STOCK_FIGURES
from tests.lua.transfer_scenarios import TRANSFERS

STOCK = """
    register A B C seq=1 → OK
    receive N1 A 10 B 4 → OK
    receive N2 A 3 → OK
"""

SCENARIOS = PICKS | PUT_BACK | ORDERS | TRANSFERS | HOLDS | SHIPMENTS | STOCK_FIGURES | CATALOGUE | REPAIRS

ALL: dict[str, tuple[str, dict[str, Any]]] = {
    title: (STOCK + steps, bounds)
    for table, bounds in ((SCENARIOS, {}), (REPAIRS_OF_COUNTERS, {}), (AT_THE_BOUNDS, LOW_BOUNDS), (IN_SMALL_ENTRIES, SMALL_ENTRIES))
    for title, steps in table.items()
}
