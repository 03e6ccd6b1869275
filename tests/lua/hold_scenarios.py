"""Tables of holds: taken, confirmed, extended, released and expired, each once whatever number of times it is asked for."""

HOLDS = {
    "a hold takes stock, and what is short is named": """
        reserve R1 A 8 → OK 1×8
        row A N1 on_hand=10 reserved=8
        reserve R2 A 6 B 5 → INSUFFICIENT_STOCK A:6/5 B:5/4
        row A N1 reserved=8
    """,
    "a line is split over nodes in the order asked": """
        reserve R1 A 12 → OK 1×10 2×2
        reserve R2 A 1 nodes=N2,N1 → OK 1×1
        row A N2 reserved=3
    """,
    "one SKU twice in a basket is added up first": """
        reserve R1 B 3 B 2 → INSUFFICIENT_STOCK B:5/4
        reserve R1 B 3 B 1 → OK 1×4
    """,
    "partial takes what there is, and refuses only if there is nothing": """
        reserve R1 A 1 B 6 partial=yes → OK B:6/4 1×1 2×4
        reserve R1 A 1 B 6 partial=yes → OK B:6/4 1×1 2×4 replayed
        reserve R2 B 1 partial=yes → INSUFFICIENT_STOCK B:1/0
    """,
    "safety stock is kept back from holds, not from confirmed ones": """
        register A seq=2 safety=8 → OK
        available A N1 2
        reserve R1 A 3 nodes=N1 → INSUFFICIENT_STOCK A:3/2
        reserve R2 A 2 nodes=N1 → OK 1×2
        confirm R2 → OK 1×2
    """,
    "a known key answers as it did first, another request under it is told apart": """
        reserve R1 A 2 ttl=1m order=O1 → OK 1×2
        reserve R1 A 2 ttl=1m order=O1 → OK 1×2 replayed
        reserve R1 A 3 ttl=2m order=O1 → KEY_REUSED ttl_ms lines
        confirm R1 key=k → OK 1×2
        confirm R1 key=k → OK 1×2 replayed
        release R1 key=k → KEY_REUSED verb
        release R1 1 1 key=k2 → OK 1×1
        release R1 1 2 key=k2 → KEY_REUSED lines
        release R1 1 1 key=k2 → OK 1×1 replayed
        reserve R1 A 2 ttl=1m order=O1 → OK 1×2 replayed
    """,
    "a refusal is evaluated anew": """
        reserve R1 B 5 → INSUFFICIENT_STOCK B:5/4
        receive N1 B 1 → OK
        reserve R1 B 5 → OK 1×5
    """,
    "expiry is exact and gives everything back": """
        reserve R1 A 5 B 1 ttl=1s → OK 1×5 2×1
        reserve R2 A 13 → INSUFFICIENT_STOCK A:13/8
        tick 1s
        available A N1 10
        reserve R3 A 13 → OK 1×10 2×3
        confirm R1 → EXPIRED
        release R1 → EXPIRED
        extend R1 ttl=1m → EXPIRED
        fulfil R1 S1 → EXPIRED
    """,
    "an expired hold can be confirmed again while stock lasts": """
        reserve R1 A 5 ttl=1s nodes=N1 order=O1 → OK 1×5
        tick 2s
        reserve R2 A 6 ttl=1m nodes=N1 → OK 1×6
        confirm R1 reacquire=yes → INSUFFICIENT_STOCK A:5/4
        release R2 → OK 1×6
        confirm R1 reacquire=yes → OK 1×5
        row A N1 reserved=0 allocated=5
        confirm R1 → CONFIRMED
    """,
    "extend moves expiry away, never nearer": """
        reserve R1 A 1 ttl=1m → OK 1×1
        extend R1 ttl=2m key=k → OK
        extend R1 ttl=1s → OK
        tick 1m
        available A N1 9
        extend R1 ttl=2m key=k → OK replayed
        tick 1m
        extend R1 ttl=1m → EXPIRED
    """,
    "release of named lines, then of the rest": """
        reserve R1 A 5 B 2 → OK 1×5 2×2
        release R1 3 1 → UNKNOWN_LINE 3
        release R1 1 6 → EXCEEDS_HELD 1
        release R1 1 2 2 0 → OK 1×2 2×2
        row A N1 reserved=3
        confirm R1 → OK 1×3
        release R1 2 1 → EXCEEDS_HELD 2
        release R1 → OK 1×3
        row A N1 allocated=0
        release R1 → RELEASED
        confirm R1 → RELEASED
        release RX → UNKNOWN_RESERVATION RX
    """,
    "an old or future UUIDv7 is refused when nobody knows it": """
        reserve 01890a5d-ac96-774b-bcce-b302099a8057 A 1 → RESERVATION_ID_STALE
        reserve ffffffff-ac96-774b-bcce-b302099a8057 A 1 → RESERVATION_ID_STALE
        reserve 01890a5d-ac96-474b-bcce-b302099a8057 A 1 → OK 1×1
    """,
}
