"""Tables of picks, of what they are for and of what books them.

At N1 and N2 on hand falls at issue, as `wms` counts it; at N4 it falls at pick, as `wcs` does.
"""

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
}
