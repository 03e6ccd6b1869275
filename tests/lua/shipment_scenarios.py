"""Tables of shipments of one reservation, as the order's own account and the node's authority tell of them, and of what books them."""

SHIPMENTS = {
    "fulfil settles once and waits for the authority's booking": """
        reserve R1 A 5 B 2 → OK 1×5 2×2
        fulfil R1 S1 → HELD
        confirm R1 → OK 1×5 2×2
        fulfil R1 S1 1 6 → EXCEEDS_HELD 1
        fulfil R1 S1 1 3 → OK 1×3
        fulfil R1 S1 1 3 → OK 1×3 replayed
        fulfil R1 S1 1 2 → KEY_REUSED lines
        row A N1 on_hand=10 allocated=2 shipped_unbooked=3
        ship N1 S1 A 3 of=R1 → OK
        row A N1 on_hand=7 allocated=2 shipped_unbooked=0
        raised nothing
        fulfil R1 S2 → OK 1×2 2×2
        confirm R1 → FULFILLED
        row A N1 allocated=0 shipped_unbooked=2
    """,
    "the feed before the order's own account ends in the same stock": """
        reserve R1 A 5 → OK 1×5
        confirm R1 → OK 1×5
        ship N1 S1 A 5 of=R1 → OK
        row A N1 on_hand=5 allocated=0 shipped_unbooked=0
        fulfil R1 S1 1 5 → OK 1×5 replayed
        fulfil R1 S1 1 4 → KEY_REUSED lines
        row A N1 on_hand=5 allocated=0 shipped_unbooked=0
    """,
    "a shipment is one node's": """
        reserve R1 A 12 → OK 1×10 2×2
        confirm R1 → OK 1×10 2×2
        fulfil R1 S1 → SHIPMENT_SPANS_NODES N1 N2
        fulfil R1 S1 2 0 → OK 2×2
        reserve R2 A 1 nodes=N2 → OK 1×1
        fulfil R2 S1 → KEY_REUSED reservation_id
    """,
    "a snapshot books what was shipped before it, in either order": """
        reserve R1 A 6 → OK 1×6
        confirm R1 → OK 1×6
        tick 5s
        fulfil R1 S1 1 2 shipped=-2000 → OK 1×2
        fulfil R1 S2 1 2 → OK 1×2
        count N1 A 8 as_of=-1000 → OK
        row A N1 on_hand=8 allocated=2 shipped_unbooked=2
        fulfil R1 S3 1 2 shipped=-1500 → OK 1×2
        row A N1 on_hand=8 allocated=0 shipped_unbooked=2
        ship N1 S2 A 2 of=R1 → OK
        row A N1 on_hand=6 shipped_unbooked=0
        ship N1 S1 A 2 of=R1 seq=2 → OK
        row A N1 on_hand=6 shipped_unbooked=0
    """,
    "no wrong clock makes a snapshot seem to contain what was shipped after it": """
        count N1 A 10 as_of=60000 → OK
        tick 1s
        reserve R1 A 6 → OK 1×6
        confirm R1 → OK 1×6
        fulfil R1 S1 1 2 shipped=-600000 → OK 1×2
        fulfil R1 S2 1 2 shipped=600000 → OK 1×2
        fulfil R1 S3 → OK 1×2
        row A N1 on_hand=10 allocated=0 shipped_unbooked=6
        count N1 A 4 → OK
        row A N1 on_hand=4 shipped_unbooked=0
    """,
    "what was shipped is believed, and what found no allocation is told": """
        ship N1 S1 A 2 → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 2
        reserve R1 A 3 → OK 1×3
        ship N1 S2 A 2 of=R1 → OK
        raised SHIPMENT_UNCONFIRMED 2
        row A N1 on_hand=6 reserved=1
        confirm R1 → OK 1×1
        ship N1 S3 A 2 of=R1 → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 1
        row A N1 on_hand=4 allocated=0
        ship N1 S4 A 1 of=R1 → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 1
        ship N1 S5 A 1 of=RX → OK
        raised SHIPMENT_WITHOUT_ALLOCATION 1
    """,
    "a shipment known with other content is a conflict, the same again a duplicate": """
        ship N1 S1 A 2 seq=20 → OK
        ship N1 S1 A 2 seq=20 → DUPLICATE
        ship N1 S1 A 2 seq=21 → DUPLICATE
        ship N1 S1 A 3 seq=22 → SHIPMENT_CONFLICT lines
        ship N2 S1 A 2 seq=23 → SHIPMENT_CONFLICT node
        ship N1 S2 A 3 seq=20 as=lie → SEQUENCE_CONFLICT A
        row A N1 on_hand=8
    """,
    "the authority's own figures win over the order's account": """
        reserve R1 A 5 B 1 → OK 1×5 2×1
        confirm R1 → OK 1×5 2×1
        fulfil R1 S1 → OK 1×5 2×1
        ship N1 S1 A 4 of=R1 → OK
        raised SHIPMENT_DIFFERS 2
        row A N1 on_hand=6 shipped_unbooked=0
        row B N1 on_hand=4 shipped_unbooked=0
    """,
}
