"""Tables played with bounds that a few steps meet.

At N1 and N2 on hand falls at issue, as `wms` counts it; at N4 it falls at pick, as `wcs` does.
"""

#: Bounds low enough to be met in a few steps.
LOW_BOUNDS = {
    "WINDOW_DELTAS_MAX": 2,
    "BOOKINGS_MAX": 2,
    "LEDGER_BACKLOG_MAX": 12,
    "LEDGER_KEPT_MIN": 2,
    "OPERATIONS_FOR_ANY": 2,
    "ORDER_RESERVATIONS_MAX": 2,
    "SCRIPT_ROWS_MAX": 4,
    "REAP_ROWS_MAX": 2,
    "SETTLED_LINES_MAX": 1,
}

AT_THE_BOUNDS = {
    "below the window there is no guess, until a snapshot says what is there": """
        receive N1 C 1 seq=20 → OK
        receive N1 C 1 seq=22 → OK
        receive N1 C 1 seq=24 → OK
        receive N1 C 1 seq=20 → SEQUENCE_BELOW_WINDOW C
        receive N1 C 1 seq=19 → SEQUENCE_BELOW_WINDOW C
        count N1 C 5 seq=19 → SEQUENCE_BELOW_WINDOW C
        receive N1 C 1 seq=21 → OK
        row C N1 on_hand=4
        count N1 C 9 seq=23 → OK
        row C N1 on_hand=10
        receive N1 C 1 seq=19 → DUPLICATE
    """,
    "a full backlog refuses new holds and nothing else": """
        reserve R1 A 1 → OK 1×1
        receive N1 A 1 → OK
        receive N1 A 1 → OK
        receive N1 A 1 → OK
        receive N1 A 1 → OK
        receive N1 A 1 → OK
        receive N1 A 1 → OK
        reserve R2 A 1 → LEDGER_BACKLOG
        reserve R1 A 1 → OK 1×1 replayed
        confirm R1 → OK 1×1
        receive N1 A 1 → OK
        published
        reserve R2 A 1 → OK 1×1
    """,
    "results are kept, never evicted: confirm and a whole release always have a place": """
        reserve R1 A 5 → OK 1×5
        extend R1 ttl=20m → OK
        release R1 1 1 → OK 1×1
        extend R1 ttl=30m → OPERATIONS_FULL
        release R1 1 1 → OPERATIONS_FULL
        confirm R1 → OK 1×4
        release R1 → OK 1×4
    """,
    "an order has a bounded number of reservations": """
        reserve R1 A 1 order=O1 → OK 1×1
        reserve R2 A 1 order=O1 → OK 1×1
        reserve R3 A 1 order=O1 → ORDER_FULL
        reserve R3 A 1 order=O2 → OK 1×1
    """,
    "lines times nodes are bounded": """
        reserve R1 A 1 B 1 C 1 → TOO_MANY_ROWS
        reserve R1 A 1 B 1 C 1 nodes=N1 → INSUFFICIENT_STOCK C:1/0
    """,
    "more due holds than a call may give back: it goes on until none is left": """
        reserve R1 A 1 B 1 ttl=1s nodes=N1 → OK 1×1 2×1
        reserve R2 A 1 B 1 ttl=1s nodes=N1 → OK 1×1 2×1
        reserve R3 A 1 B 1 ttl=1s nodes=N1 → OK 1×1 2×1
        tick 1s
        reserve R4 A 13 → OK 1×10 2×3
    """,
    "a snapshot books so many shipments and leaves the others to the next": """
        reserve R1 A 3 → OK 1×3
        confirm R1 → OK 1×3
        fulfil R1 S1 1 1 → OK 1×1
        fulfil R1 S2 1 1 → OK 1×1
        fulfil R1 S3 1 1 → OK 1×1
        count N1 A 7 → OK
        row A N1 on_hand=7 shipped_unbooked=1
        count N1 A 7 → OK
        row A N1 on_hand=7 shipped_unbooked=0
    """,
    "a registration that is more than an entry may hold goes into several": """
        register A B C alias=WAIT,OTHER seq=30 → OK
        claims OTHER A B C
        register A B C seq=31 details={"category":"a-category-with-a-long-name"} → OK
        claims OTHER
    """,
    "whoever comes second does not open the pool again": """
        open epoch=0 → DUPLICATE
        reserve R1 A 1 → OK 1×1
        open epoch=1 → OK
        open epoch=1 → DUPLICATE
        confirm R1 → OK 1×1
    """,
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

#: An entry that few lines fill.
SMALL_ENTRIES = {"LEDGER_ENTRY_BYTES_MAX": 1_100, "ENTRY_HEAD_BYTES": 0}
LONG = "A-SKU-WITH-A-NAME-SO-LONG-THAT-IT-FILLS-THE-LEDGER-ENTRY-"

IN_SMALL_ENTRIES = {
    "a hold whose ledger entry would be too large is refused before it is written": f"""
        register {LONG}1 {LONG}2 {LONG}3 {LONG}4 → OK
        receive N1 {LONG}1 1 → OK
        receive N1 {LONG}2 1 → OK
        receive N1 {LONG}3 1 → OK
        receive N1 {LONG}4 1 → OK
        reserve R1 {LONG}1 1 {LONG}2 1 {LONG}3 1 {LONG}4 1 nodes=N1 → TOO_MANY_ROWS
        reserve R1 {LONG}1 1 {LONG}2 1 {LONG}3 1 A 1 nodes=N1 → OK 1×1 2×1 3×1 4×1
    """,
    "an event whose ledger entry could be too large is refused before it is written": f"""
        register {LONG}1 {LONG}2 → OK
        receive N1 {LONG}1 1 {LONG}2 1 → TOO_MANY_ROWS
        receive N1 A 1 B 1 seq=20 → OK
        count N1 A 1 B 1 C 1 → TOO_MANY_ROWS
        ship N1 S1 A 1 B 1 C 1 seq=21 → TOO_MANY_ROWS
        ship N1 S1 A 1 B 1 C 1 source=erp seq=22 → TOO_MANY_ROWS
        count N1 A 1 B 1 seq=20 as=lie → SEQUENCE_CONFLICT A B
        receive N1 A 1 B 1 seq=20 → DUPLICATE
    """,
    "a snapshot books no more shipments than its ledger entry holds": """
        reserve R1 A 7 → OK 1×7
        confirm R1 → OK 1×7
        fulfil R1 S1 1 1 → OK 1×1
        fulfil R1 S2 1 1 → OK 1×1
        fulfil R1 S3 1 1 → OK 1×1
        fulfil R1 S4 1 1 → OK 1×1
        fulfil R1 S5 1 1 → OK 1×1
        fulfil R1 S6 1 1 → OK 1×1
        fulfil R1 S7 1 1 → OK 1×1
        count N1 A 3 → OK
        row A N1 shipped_unbooked=1
        count N1 A 3 → OK
        row A N1 shipped_unbooked=0
    """,
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
