"""Tables of what happens to orders on their way out: picks, shipments of whole orders, cancellations, and transfers between nodes.

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


def taken_back_in_every_order() -> dict[str, str]:
    """5 of 10 units are picked, put back, picked again and shipped, told of in every order: no more than the other 5 are ever promised."""
    told = {
        "pick": "pick N4 A 5 of=R1 seq=20 → OK",
        "back": "unpick N4 A 5 of=R1 seq=21 → OK",
        "again": "pick N4 A 5 of=R1 seq=22 → OK",
        "ship": "ship N4 S1 A 5 of=R1 source=wcs seq=23 → OK",
    }
    return {
        f"taken back, told of in the order {', '.join(order)}": f"""
        receive N4 A 10 source=wcs seq=9 → OK
        reserve R1 A 5 channel=depot → OK 1×5
        confirm R1 → OK 1×5
        {
            '''
        at-most A N4 5
        '''.join(told[what] for what in order)
        }
        row A N4 on_hand=5 allocated=0 shipped_unbooked=0 picked=0
        available A N4 5
    """
        for order in permutations(told)
    }


TAKEN_BACK = {
    "a pick that is taken back while its order stands": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 5 channel=depot → OK 1×5
        confirm R1 → OK 1×5
        pick N4 A 5 of=R1 → OK
        unpick N4 A 3 of=R1 seq=20 → OK
        unpick N4 A 3 of=R1 seq=20 → DUPLICATE
        unpick N4 A 3 of=R1 seq=20 as=lie → SEQUENCE_CONFLICT E20
        row A N4 on_hand=8 allocated=5 picked=2
        available A N4 5
        pick N4 A 3 of=R1 → OK
        fulfil R1 S1 → OK 1×5
        raised nothing
        row A N4 on_hand=5 allocated=0 picked=0 shipped_unbooked=0
        available A N4 5
    """,
    "it takes from what was picked last, whichever reservation of the order it names": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 3 channel=depot order=O1 → OK 1×3
        reserve R2 A 3 channel=depot order=O1 → OK 1×3
        confirm R1 → OK 1×3
        pick N4 A 6 order=O1 → OK
        unpick N4 A 4 of=R2 → OK
        row A N4 on_hand=8 picked=2
        unpick N4 A 1 order=O1 → OK
        row A N4 on_hand=9 reserved=3 allocated=3 picked=1
        fulfil R1 S1 1 1 → OK 1×1
        row A N4 allocated=2 picked=0 shipped_unbooked=0
        available A N4 4
    """,
    "what an order has let go of is put back, before or after it is heard to": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot → OK 1×6
        confirm R1 → OK 1×6
        pick N4 A 4 of=R1 → OK
        release R1 1 3 → OK 1×3
        row A N4 on_hand=6 allocated=3 picked=3
        unpick N4 A 1 of=R1 → OK
        row A N4 on_hand=7 allocated=3 picked=3
        available A N4 7
        unpick N4 A 1 of=R1 → OK
        row A N4 on_hand=8 picked=2
        available A N4 7
        unpick N4 A 2 of=R1 → OK
        row A N4 on_hand=10 allocated=3 picked=0
        release R1 → OK 1×3
        available A N4 10
    """,
    "a pick that was not heard of before its order let go is known to be put back": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 4 channel=depot → OK 1×4
        release R1 → OK 1×4
        pick N4 A 4 of=R1 → OK
        raised PICK_WITHOUT_ALLOCATION 4
        available A N4 6
        unpick N4 A 4 of=R1 → OK
        raised nothing
        row A N4 on_hand=10 picked=0 shipped_unbooked=0
        unpick N4 A 1 of=R1 → OK
        row A N4 on_hand=11 shipped_unbooked=1
        pick N4 A 1 of=R1 → OK
        raised nothing
        row A N4 on_hand=10 shipped_unbooked=0
    """,
    "a hold that expires lets go of what is picked for it, and it is put back": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot ttl=1s → OK 1×6
        pick N4 A 4 of=R1 → OK
        tick 1s
        unpick N4 A 4 of=R1 → OK
        row A N4 on_hand=10 reserved=0 picked=0 shipped_unbooked=0
        confirm R1 reacquire=yes → OK 1×6
        available A N4 4
    """,
    "put back, and told so before the pick: it is not promised meanwhile": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot order=O1 → OK 1×6
        unpick N4 A 4 of=R1 → OK
        row A N4 on_hand=14 reserved=6 shipped_unbooked=4
        available A N4 4
        pick N4 A 3 order=O1 → OK
        row A N4 on_hand=11 shipped_unbooked=1 picked=0
        pick N4 A 2 order=O1 → OK
        row A N4 on_hand=9 reserved=6 shipped_unbooked=0 picked=1
        available A N4 4
    """,
    "put back, told so before the pick, and counted: the count has both": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot → OK 1×6
        unpick N4 A 4 of=R1 seq=21 → OK
        available A N4 4
        tick 1s
        count N4 A 10 source=wcs seq=30 → OK
        row A N4 on_hand=10 reserved=6 shipped_unbooked=0
        available A N4 4
        pick N4 A 4 of=R1 seq=20 → OK
        raised nothing
        row A N4 on_hand=10 picked=0
        pick N4 A 6 of=R1 seq=31 → OK
        row A N4 on_hand=4 picked=6
        available A N4 4
    """,
    "what a count contains is put back all the same": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot → OK 1×6
        pick N4 A 4 of=R1 seq=20 → OK
        count N4 A 10 source=wcs seq=30 → OK
        row A N4 on_hand=10 picked=4
        unpick N4 A 4 of=R1 seq=21 → OK
        row A N4 on_hand=10 picked=0 shipped_unbooked=0
        available A N4 4
        unpick N4 A 1 of=R1 seq=22 → OK
        row A N4 on_hand=10 picked=0 shipped_unbooked=0
        pick N4 A 1 of=R1 seq=19 → OK
        row A N4 on_hand=10 picked=0
        available A N4 4
    """,
    "what left was picked again, and that is heard of last": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 5 channel=depot → OK 1×5
        confirm R1 → OK 1×5
        pick N4 A 5 of=R1 seq=20 → OK
        fulfil R1 S1 → OK 1×5
        count N4 A 10 source=wcs seq=22 as_of=-1000 → OK
        unpick N4 A 5 of=R1 seq=21 → OK
        row A N4 on_hand=10 shipped_unbooked=5
        available A N4 5
        pick N4 A 5 of=R1 seq=23 → OK
        raised nothing
        row A N4 on_hand=5 shipped_unbooked=0
        available A N4 5
    """,
    "a late pick books the oldest first: what stays was shipped after every count that could contain it": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 5 channel=depot → OK 1×5
        confirm R1 → OK 1×5
        fulfil R1 S2 1 2 → OK 1×2
        tick 2s
        fulfil R1 S1 1 2 → OK 1×2
        pick N4 A 2 of=R1 seq=20 → OK
        count N4 A 8 source=wcs seq=21 as_of=-1000 → OK
        row A N4 on_hand=8 shipped_unbooked=2
        available A N4 5
        pick N4 A 2 of=R1 seq=22 → OK
        available A N4 5
    """,
    "of what nobody holds any more the stock rises, and it is told": """
        receive N4 A 10 B 5 source=wcs → OK
        unpick N4 A 2 B 1 of=RX → OK
        raised REVERSAL_WITHOUT_PICK 3
        row A N4 on_hand=12 shipped_unbooked=0
        reserve R1 A 2 channel=depot order=O1 → OK 1×2
        unpick N4 B 1 order=O1 → OK
        raised REVERSAL_WITHOUT_PICK 1
        unpick N4 X 1 of=R1 → UNKNOWN_SKU X
    """,
    "where on hand falls at issue it is the order's story, and of others it is kept for comparison": """
        reserve R1 A 5 nodes=N1 → OK 1×5
        unpick N1 A 3 of=R1 source=wms seq=20 → OK
        row A N1 on_hand=10 reserved=5 picked=0
        unpick N1 A 3 of=R1 source=wms seq=20 → DUPLICATE
        pick N1 A 5 of=R1 source=wcs → OK
        unpick N1 A 2 of=R1 source=wcs → OK
        raised nothing
        said A N1 wcs on_hand=-3
        row A N1 on_hand=10 reserved=5 picked=0
    """,
}

PICKS = {
    "what was picked is not taken off twice, and is there once": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot → OK 1×6
        confirm R1 → OK 1×6
        pick N4 A 4 of=R1 → OK
        row A N4 on_hand=6 allocated=6 picked=4
        available A N4 4
        pick N4 A 2 of=R1 seq=20 → OK
        pick N4 A 2 of=R1 seq=20 → DUPLICATE
        pick N4 A 2 of=R1 seq=20 as=lie → SEQUENCE_CONFLICT E20
        row A N4 on_hand=4 allocated=6 picked=6
        ship N4 S1 A 6 of=R1 source=wcs → OK
        raised nothing
        row A N4 on_hand=4 allocated=0 picked=0 shipped_unbooked=0
        available A N4 4
    """,
    "an order that lets go of what was picked: it is beside its shelf until it is put back": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot → OK 1×6
        confirm R1 → OK 1×6
        pick N4 A 4 of=R1 → OK
        release R1 1 1 → OK 1×1
        row A N4 on_hand=6 allocated=5 picked=4
        available A N4 5
        release R1 1 3 → OK 1×3
        row A N4 allocated=2 picked=2
        available A N4 6
        release R1 → OK 1×2
        row A N4 on_hand=6 allocated=0 picked=0
        available A N4 6
        receive N4 A 4 source=wcs → OK
        available A N4 10
    """,
    "it was put back before the order is heard to let go": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot → OK 1×6
        confirm R1 → OK 1×6
        pick N4 A 4 of=R1 → OK
        receive N4 A 4 source=wcs → OK
        at-most A N4 10
        release R1 → OK 1×6
        row A N4 on_hand=10 allocated=0 picked=0
        available A N4 10
    """,
    "a hold that expires after its pick: reads leave both out, and the units are not back": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot ttl=1s → OK 1×6
        pick N4 A 4 of=R1 → OK
        row A N4 on_hand=6 reserved=6 picked=4
        available A N4 4
        tick 1s
        available A N4 6
        confirm R1 → EXPIRED
        row A N4 on_hand=6 reserved=0 picked=0
        available A N4 6
        confirm R1 reacquire=yes → OK 1×6
        row A N4 allocated=6 picked=0
        available A N4 0
    """,
    "a pick of a hold stays with it when it is confirmed": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot → OK 1×6
        pick N4 A 4 of=R1 → OK
        confirm R1 → OK 1×6
        row A N4 on_hand=6 reserved=0 allocated=6 picked=4
        fulfil R1 S1 1 5 → OK 1×5
        row A N4 allocated=1 picked=0 shipped_unbooked=1
        available A N4 4
        pick N4 A 2 of=R1 → OK
        row A N4 on_hand=4 allocated=1 picked=1 shipped_unbooked=0
        available A N4 4
    """,
    "a cancelled order gives up what is picked last": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot order=O1 → OK 1×6
        confirm R1 → OK 1×6
        pick N4 A 4 order=O1 → OK
        cancel O1 A 1 → OK
        row A N4 allocated=5 picked=4
        available A N4 5
        cancel O1 → OK
        row A N4 on_hand=6 allocated=0 picked=0
        available A N4 6
        pick N4 A 1 order=O1 → OK
        raised PICK_WITHOUT_ALLOCATION 1
        row A N4 on_hand=5 picked=0
        available A N4 5
    """,
    "a pick that a snapshot contains still says what the units are for": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 6 channel=depot → OK 1×6
        count N4 A 6 source=wcs seq=30 → OK
        raised nothing
        available A N4 0
        pick N4 A 4 of=R1 seq=20 → OK
        row A N4 on_hand=6 reserved=6 picked=4
        available A N4 4
        count N4 A 4 source=wcs seq=32 → OK
        raised nothing
        pick N4 A 2 of=R1 seq=31 → OK
        row A N4 on_hand=4 reserved=6 picked=6
        available A N4 4
    """,
    "a late pick of what was shipped and counted leaves alone what is open": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 8 channel=depot → OK 1×8
        confirm R1 → OK 1×8
        fulfil R1 S1 1 5 → OK 1×5
        count N4 A 5 source=wcs seq=30 → OK
        row A N4 on_hand=5 allocated=3 shipped_unbooked=0
        available A N4 2
        pick N4 A 5 of=R1 seq=20 → OK
        raised nothing
        row A N4 on_hand=5 allocated=3 picked=0
        available A N4 2
        pick N4 A 3 of=R1 seq=31 → OK
        row A N4 on_hand=2 allocated=3 picked=3
        available A N4 2
    """,
    "a late pick may be of what was counted, or of what was shipped since: the count comes first": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 5 channel=depot → OK 1×5
        confirm R1 → OK 1×5
        fulfil R1 S1 1 3 → OK 1×3
        count N4 A 7 source=wcs seq=30 → OK
        tick 1s
        fulfil R1 S2 → OK 1×2
        row A N4 on_hand=7 allocated=0 shipped_unbooked=2
        pick N4 A 3 of=R1 seq=20 → OK
        row A N4 on_hand=7 shipped_unbooked=2
        available A N4 5
        pick N4 A 2 of=R1 seq=31 → OK
        row A N4 on_hand=5 shipped_unbooked=0
        available A N4 5
        pick N4 A 1 of=R1 seq=21 → OK
        raised nothing
        pick N4 A 1 of=R1 seq=32 → OK
        raised PICK_WITHOUT_ALLOCATION 1
    """,
    "a pick that comes after a snapshot with it and the shipment of its units is not taken for one of what is still open": """
        register P → OK
        count N4 P 10 source=wcs seq=9 as_of=-2000 → OK
        tick 3s
        reserve R1 P 5 channel=depot → OK 1×5
        confirm R1 → OK 1×5
        fulfil R1 S1 1 3 → OK 1×3
        count N4 P 7 source=wcs seq=11 → OK
        available P N4 5
        pick N4 P 3 of=R1 seq=10 → OK
        row P N4 on_hand=7 allocated=2 shipped_unbooked=0 picked=0
        available P N4 5
        pick N4 P 2 of=R1 seq=12 → OK
        row P N4 on_hand=5 allocated=2 picked=2
        available P N4 5
    """,
    "nor for one of what was shipped after the snapshot": """
        register P → OK
        count N4 P 10 source=wcs seq=9 as_of=-2000 → OK
        tick 3s
        reserve R1 P 5 channel=depot order=O1 → OK 1×5
        confirm R1 → OK 1×5
        ship N4 S1 P 3 order=O1 source=wcs → OK
        count N4 P 7 source=wcs seq=11 → OK
        tick 1s
        fulfil R1 S2 → OK 1×2
        row P N4 on_hand=7 allocated=0 shipped_unbooked=2
        pick N4 P 3 order=O1 seq=10 → OK
        row P N4 on_hand=7 shipped_unbooked=2
        pick N4 P 2 order=O1 seq=12 → OK
        raised nothing
        row P N4 on_hand=5 shipped_unbooked=0 picked=0
    """,
    "picks of one reservation at a time, of shipments over two of them, with a snapshot between": """
        register P → OK
        count N4 P 20 source=wcs seq=9 as_of=-2000 → OK
        tick 3s
        reserve R1 P 5 order=O1 channel=depot → OK 1×5
        reserve R2 P 5 order=O1 channel=depot → OK 1×5
        confirm R1 → OK 1×5
        confirm R2 → OK 1×5
        ship N4 S1 P 7 order=O1 source=wcs → OK
        count N4 P 13 source=wcs seq=12 → OK
        row P N4 allocated=3 shipped_unbooked=0
        tick 1s
        ship N4 S2 P 3 order=O1 source=wcs → OK
        row P N4 allocated=0 shipped_unbooked=3
        pick N4 P 2 of=R2 seq=11 → OK
        pick N4 P 5 of=R1 seq=10 → OK
        row P N4 on_hand=13 shipped_unbooked=3
        available P N4 10
        pick N4 P 3 of=R2 seq=13 → OK
        raised nothing
        row P N4 on_hand=10 shipped_unbooked=0 picked=0
        available P N4 10
    """,
    "more is picked than any order has open, and it is told": """
        receive N4 A 10 B 5 source=wcs → OK
        reserve R1 A 2 B 1 channel=depot → OK 1×2 2×1
        pick N4 A 3 B 2 of=R1 → OK
        raised PICK_WITHOUT_ALLOCATION 2
        row A N4 on_hand=7 reserved=2 picked=2
        row B N4 on_hand=3 reserved=1 picked=1
        available A N4 7
        pick N4 A 1 → OK
        raised PICK_WITHOUT_ALLOCATION 1
        pick N4 A 1 of=RX → OK
        raised PICK_WITHOUT_ALLOCATION 1
        pick N4 X 1 of=R1 → UNKNOWN_SKU X
        pick N4 A 1 of=R1 seq=40 source=fax → UNKNOWN_SOURCE fax
    """,
    "an order's pick goes to the confirmed before the held, then to the oldest": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 2 channel=depot order=O1 → OK 1×2
        reserve R2 A 2 channel=depot order=O1 → OK 1×2
        reserve R3 A 2 channel=depot order=O1 → OK 1×2
        confirm R3 → OK 1×2
        pick N4 A 3 order=O1 → OK
        release R2 → OK 1×2
        row A N4 reserved=2 allocated=2 picked=3
        release R1 → OK 1×2
        row A N4 reserved=0 allocated=2 picked=2
    """,
    "where on hand falls at issue a pick is the order's story alone": """
        reserve R1 A 5 → OK 1×5
        pick N1 A 3 of=R1 source=wms seq=20 → OK
        raised nothing
        row A N1 on_hand=10 reserved=5 picked=0
        pick N1 A 3 of=R1 source=wms seq=20 → DUPLICATE
    """,
    "what others say of picks and shipments is kept for comparison": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 5 → OK 1×5
        pick N1 A 3 of=R1 source=wcs → OK
        said A N1 wcs on_hand=-3
        row A N1 on_hand=10 reserved=5 picked=0
        ship N1 S1 A 3 of=R1 source=wcs → DUPLICATE
        ship N4 S1 A 3 source=wms → OK
        said A N4 wms on_hand=-3
        row A N4 on_hand=10
        raised nothing
    """,
    "a shipment told of before its pick stands in shipped unbooked until then": """
        receive N4 A 10 source=wcs → OK
        reserve R1 A 5 channel=depot → OK 1×5
        confirm R1 → OK 1×5
        ship N4 S1 A 4 of=R1 source=wcs → OK
        row A N4 on_hand=10 allocated=1 shipped_unbooked=4
        ship N4 S1 A 4 of=R1 source=wcs → DUPLICATE
        ship N4 S1 A 3 of=R1 source=wcs → SHIPMENT_CONFLICT lines
        ship N1 S1 A 4 of=R1 → SHIPMENT_CONFLICT node
        ship N4 S1 A 4 of=R2 source=wcs → SHIPMENT_CONFLICT reservation_id
        pick N4 A 3 of=R1 → OK
        row A N4 on_hand=7 allocated=1 shipped_unbooked=1 picked=0
        pick N4 A 2 of=R1 → OK
        row A N4 on_hand=5 allocated=1 shipped_unbooked=0 picked=1
        available A N4 5
    """,
    "accounts of a shipment that differ are told where on hand falls at pick, too": """
        receive N4 A 10 B 5 source=wcs → OK
        reserve R1 A 5 B 1 channel=depot → OK 1×5 2×1
        confirm R1 → OK 1×5 2×1
        pick N4 A 5 B 1 of=R1 → OK
        fulfil R1 S1 → OK 1×5 2×1
        ship N4 S1 A 4 of=R1 source=wcs → OK
        raised SHIPMENT_DIFFERS 2
        row A N4 on_hand=5 allocated=0 picked=0 shipped_unbooked=0
        ship N4 S1 A 4 of=R1 source=wcs → DUPLICATE
    """,
    "a shipment that found no allocation is not settled with other lines": """
        receive N4 A 10 source=wcs → OK
        ship N4 S1 A 4 source=wcs → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 4
        row A N4 on_hand=10 shipped_unbooked=0
        reserve R1 A 5 channel=depot → OK 1×5
        confirm R1 → OK 1×5
        fulfil R1 S1 → KEY_REUSED lines
        fulfil R1 S1 1 4 → OK 1×4
        row A N4 allocated=1 shipped_unbooked=4
        pick N4 A 4 of=R1 → OK
        row A N4 on_hand=6 allocated=1 shipped_unbooked=0
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

ORDERS = {
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
}

TRANSFERS = {
    "what left and has not come is in transit, and is not promised": """
        leaves N1 N2 T1 A 6 B 1 seq=20 → OK
        row A N1 on_hand=4
        row A N2 on_hand=3 in_transit=6
        available A N2 3
        leaves N1 N2 T1 A 6 B 1 seq=20 → DUPLICATE
        comes N2 N1 T1 A 2 → OK
        row A N2 on_hand=5 in_transit=4
        comes N2 N1 T1 A 4 B 1 seq=30 → OK
        comes N2 N1 T1 A 4 B 1 seq=30 → DUPLICATE
        row A N2 on_hand=9 in_transit=0
        row B N2 on_hand=1 in_transit=0
        raised nothing
    """,
    "it came before it left": """
        comes N2 N1 T1 A 4 → OK
        raised nothing
        row A N2 on_hand=7 in_transit=0
        leaves N1 N2 T1 A 6 → OK
        raised nothing
        row A N1 on_hand=4
        row A N2 on_hand=7 in_transit=2
        comes N2 N1 T1 A 2 → OK
        row A N2 on_hand=9 in_transit=0
    """,
    "more came than left: it is told, until the rest is heard of": """
        comes N2 N1 T1 A 4 B 1 → OK
        leaves N1 N2 T1 A 3 → OK
        raised TRANSFER_DIFFERS 2
        comes N2 N1 T1 A 1 → OK
        raised TRANSFER_DIFFERS 3
        leaves N1 N2 T1 A 2 → OK
        raised TRANSFER_DIFFERS 1
        leaves N1 N2 T1 A 1 → OK
        raised nothing
        row A N2 on_hand=8 in_transit=1
        leaves N1 N2 T1 B 1 → OK
        raised TRANSFER_DIFFERS 0 resolved
    """,
    "to a node that is not the pool's, and that becomes so": """
        leaves N1 N9 T1 A 3 → OK
        row A N1 on_hand=7
        row A N9 in_transit=0
        locate N9 store Europe/Rome → OK
        leaves N1 N9 T1 B 1 → OK
        row B N9 in_transit=1
        row A N9 in_transit=0
        leaves N1 N9 T1 A 1 → OK
        row A N9 in_transit=4
    """,
    "what a later count contains has left or come as well": """
        count N1 A 4 seq=30 → OK
        leaves N1 N2 T1 A 6 seq=20 → OK
        row A N1 on_hand=4
        row A N2 in_transit=6
        count N2 A 9 seq=31 → OK
        comes N2 N1 T1 A 6 seq=21 → OK
        row A N2 on_hand=9 in_transit=0
    """,
    "to where it came from, and from where it was said to go": """
        leaves N1 N1 T1 A 2 → OK
        row A N1 on_hand=8 in_transit=2
        comes N1 N1 T1 A 2 → OK
        row A N1 on_hand=10 in_transit=0
        leaves N1 N2 T2 A 2 → OK
        comes N1 N2 T2 A 2 → OK
        row A N1 on_hand=10
        row A N2 in_transit=0
    """,
    "what others say of transfers is kept for comparison": """
        leaves N1 N2 T1 A 2 source=erp seq=20 → OK
        said A N1 erp on_hand=-2
        row A N1 on_hand=10
        row A N2 in_transit=0
        leaves N1 N2 T1 A 2 source=erp seq=20 → DUPLICATE
        comes N2 N1 T1 A 2 source=pos → OK
        said A N2 pos on_hand=2
        leaves N1 N2 T1 A 2 → OK
        row A N2 in_transit=2
        leaves N1 N2 T1 X 2 → UNKNOWN_SKU X
        leaves N9 N2 T1 A 2 → UNKNOWN_NODE N9
    """,
    "so much in transit that it cannot be counted": """
        leaves N1 N2 T1 A 1000000000 → OK
        leaves N1 N2 T1 A 1000000000 → OK
        leaves N1 N2 T1 A 100000000 → OK
        count N1 A 10 B 1 → OK
        leaves N1 N2 T1 A 900000000 B 1 → QUANTITY_OUT_OF_RANGE A
        row B N1 on_hand=1
        row B N2 in_transit=0
        row A N2 in_transit=2100000000
    """,
}

ORDER_SCENARIOS = PICKS | TAKEN_BACK | ORDERS | TRANSFERS | told_in_every_order() | taken_back_in_every_order()

ORDERS_AT_THE_BOUNDS = {
    "an event settles so many lines of an order and no more": """
        receive N4 A 6 source=wcs → OK
        reserve R1 A 2 order=O1 channel=depot → OK 1×2
        reserve R2 A 2 order=O1 channel=depot → OK 1×2
        confirm R1 → OK 1×2
        pick N4 A 4 order=O1 → OK
        raised PICK_WITHOUT_ALLOCATION 2
        row A N4 on_hand=2 allocated=2 reserved=2 picked=2
        ship N4 S1 A 4 order=O1 source=wcs → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 2
        row A N4 on_hand=2 allocated=0 reserved=2 picked=0
    """,
    "a pick books so many shipments and no more": """
        receive N4 A 6 source=wcs → OK
        reserve R1 A 4 channel=depot → OK 1×4
        confirm R1 → OK 1×4
        ship N4 S1 A 1 of=R1 source=wcs → OK
        ship N4 S2 A 1 of=R1 source=wcs → OK
        pick N4 A 2 of=R1 → OK
        raised PICK_WITHOUT_ALLOCATION 2
        row A N4 on_hand=4 allocated=2 shipped_unbooked=2 picked=0
    """,
}

ORDERS_AT_THE_BOUNDS |= {
    "units put back whose lines have no room are not promised": """
        receive N4 A 6 source=wcs → OK
        reserve R1 A 2 order=O1 channel=depot → OK 1×2
        reserve R2 A 2 order=O1 channel=depot → OK 1×2
        pick N4 A 2 of=R1 → OK
        pick N4 A 2 of=R2 → OK
        unpick N4 A 4 order=O1 → OK
        raised nothing
        row A N4 on_hand=6 reserved=4 picked=2 shipped_unbooked=2
        available A N4 2
    """,
    "a pick that is taken back too late to be placed is taken back all the same, and told": """
        receive N4 A 10 source=wcs seq=10 → OK
        reserve R1 A 4 channel=depot → OK 1×4
        pick N4 A 4 of=R1 seq=11 → OK
        receive N4 A 1 source=wcs seq=20 → OK
        receive N4 A 1 source=wcs seq=21 → OK
        receive N4 A 1 source=wcs seq=22 → OK
        receive N4 A 1 source=wcs seq=23 → OK
        receive N4 A 1 source=wcs seq=24 → OK
        pick N4 A 1 of=R1 seq=13 → SEQUENCE_BELOW_WINDOW A
        unpick N4 A 3 of=R1 seq=12 → OK
        raised REVERSAL_BELOW_WINDOW 3
        row A N4 on_hand=11 reserved=4 picked=1
        unpick N4 A 3 of=R1 seq=12 → DUPLICATE
        count N4 A 14 source=wcs seq=30 → OK
        row A N4 on_hand=14 reserved=4 picked=1
        available A N4 11
    """,
}

ORDERS_IN_SMALL_ENTRIES = {
    "what a cancelled order gives up is one entry, or several": """
        reserve R1 A 1 B 1 order=O1 nodes=N1 → OK 1×1 2×1
        reserve R2 A 1 B 1 order=O1 nodes=N1 → OK 1×1 2×1
        reserve R3 A 1 B 1 order=O1 nodes=N1 → OK 1×1 2×1
        reserve R4 A 1 B 1 order=O1 nodes=N1 → OK 1×1 2×1
        reserve R5 A 1 order=O1 nodes=N1 → OK 1×1
        reserve R6 A 1 order=O1 nodes=N1 → OK 1×1
        cancel O1 → OK
        confirm R6 → RELEASED
        confirm R1 → RELEASED
        row A N1 reserved=0
        row B N1 reserved=0
    """,
}
