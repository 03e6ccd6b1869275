"""Tables of whole orders: shipped, short, cancelled, packed, and told of in every order.

At N1 and N2 on hand falls at issue, as `wms` counts it; at N4 it falls at pick, as `wcs` does.
"""

from itertools import permutations


def told_in_every_order() -> dict[str, str]:
    """One order of 5 of 10 units is picked, shipped and fulfilled; the three tell of it in every order.

    Each order is played without a snapshot, and with one between pick and shipment that comes before, between or after them. No more than
    the 5 that are left are ever promised, and all end the same.
    """
    return {
        f"told of in the order {', '.join(order)}": "".join(_variant(order, number, at) for number, at in enumerate((None, 0, 1, 2, 3)))
        for order in permutations(("pick", "ship", "fulfil"))
    }


def _variant(order: tuple[str, ...], number: int, snapshot_at: int | None) -> str:
    sku, reservation, shipment, place = f"P{number}", f"RP{number}", f"SP{number}", 100 + 10 * number
    replayed = " replayed" if order.index("ship") < order.index("fulfil") else ""
    steps = [
        {
            "pick": f"pick N4 {sku} 5 of={reservation} seq={place} → OK",
            "ship": f"ship N4 {shipment} {sku} 5 of={reservation} source=wcs → OK",
            "fulfil": f"fulfil {reservation} {shipment} → OK 1×5{replayed}",
        }[what]
        for what in order
    ]
    if snapshot_at is not None:
        steps.insert(snapshot_at, f"count N4 {sku} 5 source=wcs seq={place + 1} as_of=-1000 → OK")
    return f"""
        register {sku} → OK
        count N4 {sku} 10 source=wcs seq={place - 1} as_of=-2000 → OK
        tick 3s
        reserve {reservation} {sku} 5 channel=depot → OK 1×5
        confirm {reservation} → OK 1×5
        {
        f'''
        raised nothing
        at-most {sku} N4 5
        '''.join(steps)
    }
        raised nothing
        row {sku} N4 on_hand=5 allocated=0 shipped_unbooked=0 picked=0
        available {sku} N4 5
    """


OF_AN_ORDER = {
    "an order's shipment takes the confirmed before the held, and one reservation's answer is its own": """
        reserve R1 A 3 order=O1 nodes=N1 → OK 1×3
        reserve R2 A 3 order=O1 nodes=N1 → OK 1×3
        confirm R2 → OK 1×3
        ship N1 S1 A 2 order=O1 → OK
        raised nothing
        row A N1 on_hand=8 reserved=3 allocated=1
        fulfil R2 S1 → OK 1×2 replayed
        fulfil R1 S1 → KEY_REUSED reservation_id
        ship N1 S2 A 4 order=O1 → OK
        raised SHIPMENT_UNCONFIRMED 3
        row A N1 on_hand=4 reserved=0 allocated=0
        confirm R1 → FULFILLED
        confirm R2 → FULFILLED
        fulfil R2 S2 → KEY_REUSED reservation_id
        ship N1 S3 A 1 order=O1 → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 1
        ship N1 S2 A 4 order=O1 → DUPLICATE
    """,
    "an order's shipment that its account told of before": """
        reserve R1 A 3 order=O1 → OK 1×3
        confirm R1 → OK 1×3
        fulfil R1 S1 1 2 → OK 1×2
        ship N1 S1 A 2 order=O1 → OK
        raised nothing
        row A N1 on_hand=8 allocated=1 shipped_unbooked=0
    """,
    "a sale of an order over the counter is its shipment": """
        reserve R1 A 2 order=O1 channel=shop → OK 1×2
        confirm R1 → OK 1×2
        ship N2 T1 A 2 order=O1 kind=sale → OK
        row A N2 on_hand=1 allocated=0
        ship N2 T1 A 2 order=O1 kind=sale → DUPLICATE
        ship N2 T2 A 1 order=OX → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 1
    """,
    "an order's shipment over two reservations, and then its pick": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 3 order=O1 channel=depot → OK 1×3
        reserve R2 A 3 order=O1 channel=depot → OK 1×3
        confirm R2 → OK 1×3
        ship N4 S1 A 5 order=O1 source=wcs → OK
        raised SHIPMENT_UNCONFIRMED 2
        row A N4 on_hand=10 reserved=1 allocated=0 shipped_unbooked=5
        pick N4 A 2 of=R2 → OK
        row A N4 on_hand=8 shipped_unbooked=3
        pick N4 A 4 order=O1 → OK
        raised nothing
        row A N4 on_hand=4 reserved=1 shipped_unbooked=0 picked=1
        available A N4 4
    """,
    "the pick of an order, and then its shipment over two reservations": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 3 order=O1 channel=depot → OK 1×3
        reserve R2 A 3 order=O1 channel=depot → OK 1×3
        confirm R2 → OK 1×3
        pick N4 A 6 order=O1 → OK
        row A N4 on_hand=4 reserved=3 allocated=3 picked=6
        ship N4 S1 A 5 order=O1 source=wcs → OK
        row A N4 on_hand=4 reserved=1 allocated=0 picked=1 shipped_unbooked=0
        available A N4 4
    """,
    "a pick books no other order's shipment": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 3 order=O1 channel=depot → OK 1×3
        reserve R2 A 3 order=O2 channel=depot → OK 1×3
        confirm R1 → OK 1×3
        ship N4 S2 A 3 of=R1 source=wcs → OK
        ship N4 S1 A 1 of=R2 source=wcs → OK
        row A N4 on_hand=10 reserved=2 shipped_unbooked=4
        pick N4 A 3 order=O1 → OK
        row A N4 on_hand=7 reserved=2 shipped_unbooked=1
        pick N4 A 3 order=O2 → OK
        row A N4 on_hand=4 reserved=2 shipped_unbooked=0 picked=2
        available A N4 4
    """,
    "a pick that names the order, a shipment that names one of its reservations, and a count": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 3 order=O1 channel=depot → OK 1×3
        reserve R2 A 3 order=O1 channel=depot → OK 1×3
        reserve R3 A 2 order=O1 channel=depot → OK 1×2
        confirm R1 → OK 1×3
        confirm R2 → OK 1×3
        pick N4 A 4 order=O1 → OK
        fulfil R2 S1 → OK 1×3
        row A N4 on_hand=6 reserved=2 allocated=3 picked=1 shipped_unbooked=0
        available A N4 2
        ship N4 S2 A 1 of=R3 source=wcs → OK
        row A N4 reserved=1 allocated=3 picked=0 shipped_unbooked=0
        count N4 A 6 source=wcs → OK
        available A N4 2
        pick N4 A 4 order=O1 → OK
        raised nothing
        row A N4 on_hand=2 reserved=1 allocated=3 picked=4
        available A N4 2
    """,
    "a pick that names a reservation when another of its order has shipped": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 3 order=O1 channel=depot → OK 1×3
        reserve R2 A 3 order=O1 channel=depot → OK 1×3
        confirm R1 → OK 1×3
        ship N4 S1 A 3 order=O1 source=wcs → OK
        row A N4 on_hand=10 reserved=3 allocated=0 shipped_unbooked=3
        pick N4 A 3 of=R2 → OK
        row A N4 on_hand=7 reserved=3 shipped_unbooked=0 picked=0
        count N4 A 7 source=wcs → OK
        available A N4 4
        pick N4 A 3 of=R1 → OK
        raised nothing
        row A N4 on_hand=4 reserved=3 picked=3
        available A N4 4
    """,
    "a cancelled order gives up what is not shipped, the newest reservation first": """
        reserve R1 A 4 B 2 order=O1 nodes=N1 → OK 1×4 2×2
        confirm R1 → OK 1×4 2×2
        reserve R2 A 3 order=O1 nodes=N1 → OK 1×3
        ship N1 S1 A 1 of=R1 → OK
        cancel O1 A 4 seq=40 → OK
        row A N1 on_hand=9 reserved=0 allocated=2
        row B N1 allocated=2
        confirm R2 → RELEASED
        cancel O1 A 4 seq=40 → DUPLICATE
        cancel O1 A 5 seq=40 as=lie → SEQUENCE_CONFLICT E40
        row A N1 allocated=2
        cancel O1 → OK
        row A N1 on_hand=9 allocated=0
        row B N1 allocated=0
        confirm R1 → FULFILLED
        cancel O1 → OK
        cancel OX → UNKNOWN_ORDER OX
        cancel O1 source=fax → UNKNOWN_SOURCE fax
    """,
    "an order that is cancelled before it is confirmed, or after it expired": """
        reserve R1 A 4 order=O1 → OK 1×4
        cancel O1 → OK
        row A N1 reserved=0
        confirm R1 → RELEASED
        reserve R2 A 4 order=O2 ttl=1s → OK 1×4
        tick 1s
        cancel O2 A 2 → OK
        confirm R2 → EXPIRED
        row A N1 reserved=0
    """,
    "a package is told of once": """
        reserve R1 A 4 order=O1 → OK 1×4
        pack N1 of=O1 seq=40 → OK
        pack N1 of=O1 seq=40 → DUPLICATE
        pack N1 of=O2 seq=40 as=lie → SEQUENCE_CONFLICT E40
        pack N9 of=O1 → UNKNOWN_NODE N9
        pack N1 source=fax → UNKNOWN_SOURCE fax
        row A N1 on_hand=10 reserved=4
    """,
    "units that a picker did not find are off the books, and their order is told": """
        reserve R1 A 10 nodes=N1 → OK 1×10
        confirm R1 → OK 1×10
        short N1 A 2 of=R1 → OK
        raised PICK_SHORT 2 OVERCOMMITTED 2
        short N1 B 1 A 3 source=erp seq=1 → OK
        raised nothing
        row A N1 on_hand=8 allocated=10
    """,
    "units that were to be picked and are not there are told with their order": """
        reserve R1 A 5 order=O1 → OK 1×5
        short N1 A 5 of=O1 → OK
        raised PICK_SHORT 5
        row A N1 on_hand=5 reserved=5
        available A N1 0
        short N1 A 1 source=erp → OK
        raised nothing
        short N1 A 1 seq=40 → OK
        short N1 A 1 seq=40 → DUPLICATE
    """,
    "an order is short, and told so once, whether a count contains it or not": """
        count N1 A 7 B 5 seq=30 → OK
        short N1 A 2 B 1 of=O1 seq=20 → OK
        raised PICK_SHORT 3
        row A N1 on_hand=7
        short N1 A 2 B 1 of=O1 seq=20 → DUPLICATE
        short N1 A 2 B 2 of=O1 seq=20 as=lie → SEQUENCE_CONFLICT E20
        short N1 A 2 of=O1 seq=31 → OK
        raised PICK_SHORT 2
        count N1 A 5 seq=32 → OK
        short N1 A 2 of=O1 seq=31 → DUPLICATE
        row A N1 on_hand=5
    """,
    "an order that is short is not told so again under another id": """
        short N1 A 2 of=O1 seq=20 id=first → OK
        raised PICK_SHORT 2
        short N1 A 2 of=O1 seq=20 id=second → OK
        raised nothing
        row A N1 on_hand=8
    """,
}

ORDERS = OF_AN_ORDER | told_in_every_order()
