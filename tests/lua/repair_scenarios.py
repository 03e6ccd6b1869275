"""Tables of repairs. Those of counters leave a ledger that breaks rule 2 on its way: the auditor finds it, as it must."""

REPAIRS = {
    "a person puts figures right, once, and says why": """
        repair P1 A N1 on_hand 10 12 A N1 damaged 0 1 B N1 on_hand 4 3 → OK
        row A N1 on_hand=12 damaged=1
        row B N1 on_hand=3
        repair P1 A N1 on_hand 10 12 A N1 damaged 0 1 B N1 on_hand 4 3 → DUPLICATE
        repair P1 A N1 on_hand 10 12 A N1 damaged 0 1 B N1 on_hand 4 3 why=another → KEY_REUSED repair_id
        repair P1 A N1 on_hand 12 13 → KEY_REUSED repair_id
        row A N1 on_hand=12
    """,
    "a figure that has moved meanwhile is left alone, and all others with it": """
        receive N1 A 1 → OK
        repair P1 A N1 on_hand 10 12 B N1 on_hand 4 5 A N1 picked 1 0 → FIGURE_MOVED A/N1/on_hand=11 A/N1/picked=0
        row B N1 on_hand=4
        repair P1 A N1 on_hand 11 12 B N1 on_hand 4 5 → OK
        row A N1 on_hand=12
        row B N1 on_hand=5
    """,
    "what comes later adds to what was put right, and a snapshot rules again": """
        repair P1 A N1 on_hand 10 12 → OK
        receive N1 A 5 seq=20 → OK
        row A N1 on_hand=17
        count N1 A 9 seq=30 → OK
        row A N1 on_hand=9
    """,
    "a repair that leaves less than is promised says so, and so does one that makes it good": """
        reserve R1 A 8 nodes=N1 → OK 1×8
        repair P1 A N1 on_hand 10 5 → OK
        raised OVERCOMMITTED 3
        repair P2 A N1 on_hand 5 8 → OK
        raised OVERCOMMITTED 0 resolved
    """,
    "only what there is can be repaired, and only to what can be": """
        repair P1 X N1 on_hand 0 1 → UNKNOWN_SKU X
        repair P1 A N9 on_hand 0 1 → UNKNOWN_NODE N9
        repair P1 C N2 on_hand 0 2147483648 B N1 reserved 0 -1 → QUANTITY_OUT_OF_RANGE C B
        repair P1 A N1 on_hand 10 -2147483648 → QUANTITY_OUT_OF_RANGE A
        repair P1 C N3 on_hand 0 -2 → OK
        row C N3 on_hand=-2
    """,
    "a repair is decided when no hold is due": """
        reserve R1 A 8 nodes=N1 ttl=1s → OK 1×8
        tick 1s
        repair P1 A N1 reserved 8 7 → FIGURE_MOVED A/N1/reserved=0
    """,
}

REPAIRS_OF_COUNTERS = {
    "each counter can be put right": """
        repair P1 A N1 reserved 0 3 A N1 allocated 0 2 A N1 shipped_unbooked 0 1 A N1 in_transit 0 4 A N1 picked 0 1 → OK
        row A N1 on_hand=10 reserved=3 allocated=2 shipped_unbooked=1 in_transit=4 picked=1
        available A N1 5
        repair P2 A N1 reserved 3 0 A N1 allocated 2 0 A N1 shipped_unbooked 1 0 A N1 in_transit 4 0 A N1 picked 1 0 → OK
        available A N1 10
    """,
}
