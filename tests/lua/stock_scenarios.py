"""Tables of figures: what sources say of the stock at a node, in whatever order, and whose word counts."""

STOCK_FIGURES = {
    "reality shrinks below commitments: nothing more is promised and it is told, until it recovers": """
        reserve R1 A 8 nodes=N1 → OK 1×8
        adjust N1 A -5 → OK
        raised OVERCOMMITTED 3
        available A N1 0
        confirm R1 → OK 1×8
        raised nothing
        receive N1 A 2 → OK
        raised nothing
        receive N1 A 1 → OK
        raised OVERCOMMITTED 0 resolved
    """,
    "damaged and quality hold are on hand but not sold; a return comes back as it is": """
        adjust N1 A 3 to=damaged → OK
        return N1 A 2 to=quality_hold → OK
        row A N1 on_hand=12 damaged=3 quality_hold=2
        available A N1 7
        return N1 A 1 → OK
        available A N1 8
    """,
    "order does not matter: deltas, snapshots, duplicates": """
        count N1 C 100 seq=50 → OK
        receive N1 C 5 seq=52 → OK
        receive N1 C 7 seq=49 → DUPLICATE
        row C N1 on_hand=105
        receive N1 C 1 seq=51 → OK
        count N1 C 200 seq=51 → SEQUENCE_CONFLICT C
        count N1 C 10 seq=40 → DUPLICATE
        receive N1 C 5 seq=52 → DUPLICATE
        receive N1 C 6 seq=52 as=lie → SEQUENCE_CONFLICT C
        count N1 C 103 seq=53 → OK
        row C N1 on_hand=103
        count N1 C 103 seq=53 → DUPLICATE
        count N1 C 104 seq=53 as=lie → SEQUENCE_CONFLICT C
        receive N1 C 4 seq=50 → DUPLICATE
    """,
    "a snapshot of one figure leaves the others, whatever comes before or after it": """
        adjust N1 A 2 to=damaged seq=10 → OK
        receive N1 A 5 seq=12 → OK
        count N1 A 20 only=on_hand seq=11 → OK
        row A N1 on_hand=25 damaged=2
        adjust N1 A 1 to=damaged seq=9 → OK
        return N1 A 4 to=damaged seq=8 → OK
        row A N1 on_hand=25 damaged=7
        receive N1 A 3 seq=7 → DUPLICATE
        count N1 A 0 only=damaged damaged=1 seq=13 → OK
        row A N1 on_hand=25 damaged=1
        adjust N1 A 6 to=damaged seq=12 as=lie → SEQUENCE_CONFLICT A
        adjust N1 A 6 to=damaged seq=10 → DUPLICATE
        count N1 A 30 only=on_hand,damaged damaged=4 seq=12 as=lie → SEQUENCE_CONFLICT A
        count N1 A 30 only=on_hand,damaged damaged=4 seq=11 → DUPLICATE
        count N1 A 99 only=on_hand,damaged damaged=9 seq=6 → DUPLICATE
        count N1 A 40 seq=14 → OK
        row A N1 on_hand=40 damaged=0
    """,
    "each figure has its authority": """
        hand N1 to=wms damaged=lab → OK
        return N1 A 2 to=damaged → OK
        row A N1 on_hand=12 damaged=0
        said A N1 wms on_hand=0 damaged=2
        adjust N1 A 3 to=damaged source=lab at=500 → OK
        row A N1 on_hand=12 damaged=3
        receive N1 A 7 source=lab at=501 → OK
        row A N1 on_hand=12
        said A N1 lab on_hand=7 damaged=0
        count N1 A 50 damaged=1 quality_hold=9 source=lab at=502 → OK
        row A N1 on_hand=12 damaged=1 quality_hold=0
        said A N1 lab on_hand=50 damaged=0 quality_hold=9
        count N1 A 9 damaged=6 → OK
        row A N1 on_hand=9 damaged=1
        said A N1 wms damaged=6
    """,
    "what others say of a node is kept beside it and changes nothing": """
        reserve R1 A 3 → OK 1×3
        confirm R1 → OK 1×3
        fulfil R1 S1 → OK 1×3
        receive N1 A 5 source=erp seq=1 → OK
        raised nothing
        ship N1 S1 A 3 of=R1 source=erp seq=2 → OK
        raised nothing
        row A N1 on_hand=10 shipped_unbooked=3
        said A N1 erp on_hand=2
        count N1 A 100 source=erp seq=3 → OK
        row A N1 on_hand=10 shipped_unbooked=3
        said A N1 erp on_hand=100
        count N1 A 100 source=erp seq=3 → DUPLICATE
        ship N1 S1 A 3 of=R1 source=erp seq=2 → DUPLICATE
        receive N1 A 2147483647 source=erp seq=4 → QUANTITY_OUT_OF_RANGE A
        receive N1 X 1 source=erp seq=4 → UNKNOWN_SKU X
        ship N1 S1 A 3 of=R1 → OK
        row A N1 on_hand=7 shipped_unbooked=0
    """,
    "a place without an authority has no stock until it is given one": """
        receive N3 A 5 → OK
        row A N3 on_hand=0
        said A N3 wms on_hand=5
        hand N3 to=wms → OK
        receive N3 A 2 → OK
        row A N3 on_hand=2
        count N3 A 7 → OK
        row A N3 on_hand=7
    """,
    "an authority that is handed over keeps the stock and begins its own count of events": """
        count N1 A 10 seq=1000 → OK
        hand N1 to=erp → OK
        receive N1 A 5 source=erp seq=1 → OK
        receive N1 A 5 source=erp seq=1 → DUPLICATE
        row A N1 on_hand=15
        receive N1 A 3 seq=1001 → OK
        row A N1 on_hand=15
        count N1 A 12 source=erp seq=2 → OK
        row A N1 on_hand=12
        said A N1 wms on_hand=3
        hand N1 to=wms → OK
        receive N1 A 1 seq=1002 → OK
        row A N1 on_hand=13
    """,
    "a new issuer's figures book what its snapshots contain, not what those of the old one did": """
        count N1 A 10 → OK
        reserve R1 A 4 → OK 1×4
        confirm R1 → OK 1×4
        hand N1 to=erp → OK
        fulfil R1 S1 1 1 → OK 1×1
        row A N1 shipped_unbooked=1
        count N1 A 9 → OK
        row A N1 on_hand=10 shipped_unbooked=1
        count N1 A 9 only=damaged source=erp seq=1 → OK
        row A N1 on_hand=10 shipped_unbooked=1
        count N1 A 9 only=on_hand source=erp seq=2 → OK
        row A N1 on_hand=9 shipped_unbooked=0
        fulfil R1 S2 1 1 → OK 1×1
        row A N1 shipped_unbooked=0
    """,
    "a net snapshot has taken off what its source has reserved": """
        count N1 A 6 reserved=4 → OK
        row A N1 on_hand=6
        hand N1 to=pos → OK
        count N1 A 6 reserved=4 source=pos id=D1 → OK
        row A N1 on_hand=10
        count N1 A 6 reserved=1 only=damaged source=pos id=D2 → OK
        row A N1 on_hand=10 damaged=0
    """,
    "a source that has times is put in their order": """
        hand N1 to=lab → OK
        receive N1 C 2 source=lab at=30 → OK
        count N1 C 50 source=lab at=20 → OK
        receive N1 C 1 source=lab at=10 → DUPLICATE
        receive N1 C 4 source=lab at=25 seq=1 → OK
        receive N1 C 4 source=lab at=25 seq=2 → DUPLICATE
        receive N1 C 5 source=lab at=25 as=lie → SEQUENCE_CONFLICT C
        row C N1 on_hand=56
        receive N1 C 4 source=lab seq=9 → SEQUENCE_MISSING lab
        receive N1 C 4 at=9 seq=0 → SEQUENCE_MISSING wms
    """,
    "a source that has nothing but ids counts each once, and in the order in which they come": """
        hand N1 to=pos → OK
        receive N1 C 5 B 1 source=pos id=D1 → OK
        receive N1 C 5 B 1 source=pos id=D1 → DUPLICATE
        receive N1 C 6 source=pos id=D1 as=lie → SEQUENCE_CONFLICT D1
        count N1 C 20 source=pos id=D3 → OK
        receive N1 C 2 source=pos id=D2 → OK
        count N1 C 20 source=pos id=D3 → DUPLICATE
        row C N1 on_hand=22
        receive N1 X 5 source=pos id=D4 → UNKNOWN_SKU X
        register X seq=50 → OK
        receive N1 X 5 source=pos id=D4 → OK
        count N1 C 20 part=1/1 source=pos id=D5 → SEQUENCE_MISSING pos
    """,
    "a full snapshot is whole once all its parts have come, in whatever order": """
        count N1 A 8 part=3/3 seq=20 → OK
        count N1 A 8 part=3/3 seq=20 → DUPLICATE
        count N1 part=1/3 seq=20 as=1 → OK
        count N1 B 2 part=2/4 seq=20 as=2 → SEQUENCE_CONFLICT E20
        complete N1 seq=21 → DUPLICATE
        count N1 B 2 part=2/3 seq=20 as=2 → OK complete
        count N1 A 8 part=3/3 seq=20 → DUPLICATE complete
        complete N1 seq=20 → OK
        complete N1 seq=20 → DUPLICATE
        count N1 B 2 part=2/3 seq=20 as=2 → DUPLICATE
        row B N1 on_hand=2
    """,
    "what comes late while a full snapshot is being completed was in it, whether it comes before or after": """
        count N1 A 8 part=1/1 seq=20 → OK complete
        receive N1 C 5 seq=18 → OK
        complete N1 seq=20 begun=1 → OK
        receive N1 X 5 seq=17 → UNKNOWN_SKU X
        register X seq=50 → OK
        receive N1 X 5 seq=17 → DUPLICATE
        count N1 A 8 part=1/1 seq=20 → DUPLICATE complete
        complete N1 seq=20 begun=1 → DUPLICATE
        count N1 C 0 seq=20 as= → OK
        row C N1 on_hand=0
        complete N1 seq=20 → OK
        count N1 A 8 part=1/1 seq=20 → DUPLICATE
    """,
    "what a full snapshot left out was 0 then, even if nobody knew it": """
        count N1 A 8 part=1/1 seq=20 → OK complete
        complete N1 seq=20 → OK
        receive N1 C 5 seq=19 → DUPLICATE
        receive N1 C 5 seq=20 → SEQUENCE_CONFLICT C
        count N1 C 0 seq=20 → DUPLICATE
        receive N1 C 5 seq=21 → OK
        count N1 C 0 seq=20 → DUPLICATE
        row C N1 on_hand=5
        count N1 A 9 part=1/2 seq=18 → DUPLICATE
        count N1 A 7 part=2/2 seq=30 → OK
        count N1 C 6 part=1/2 seq=30 as=1 → OK complete
        complete N1 seq=30 → OK
        row C N1 on_hand=6
    """,
    "a count of yesterday is that of its place, and books what had left by then": """
        reserve R1 A 6 → OK 1×6
        confirm R1 → OK 1×6
        tick 1h
        fulfil R1 S1 1 2 → OK 1×2
        tick 24h
        fulfil R1 S2 1 3 → OK 1×3
        receive N1 A 20 seq=40 → OK
        count N1 A 8 seq=30 as_of=-82800000 → OK
        row A N1 on_hand=28 shipped_unbooked=3
        count N1 A 1 seq=29 → DUPLICATE
        ship N1 S2 A 3 of=R1 seq=41 → OK
        row A N1 on_hand=25 shipped_unbooked=0
    """,
    "a figure past the bound is refused whole": """
        receive N1 A 2147483647 B 1 → QUANTITY_OUT_OF_RANGE A
        count N1 A 2147483647 → OK
        receive N1 A 1 → QUANTITY_OUT_OF_RANGE A
        row B N1 on_hand=4
    """,
}
