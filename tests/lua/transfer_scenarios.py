"""Tables of transfers between nodes."""

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
