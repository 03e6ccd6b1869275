"""Tables of items and locations: their names and states, and the events that wait for an item."""

CATALOGUE = {
    "unknown names are named, and one authority speaks for a node": """
        reserve R1 A 1 channel=fax → UNKNOWN_CHANNEL fax
        reserve R1 A 1 nodes=N1,N9,N8 → UNKNOWN_NODE N9 N8
        reserve R1 A 1 channel=shop nodes=N1 → NODE_NOT_IN_CHANNEL N1
        reserve R1 A 1 X 1 Y 1 → UNKNOWN_SKU X Y
        receive N1 X 1 → UNKNOWN_SKU X
        receive N9 A 1 → UNKNOWN_NODE N9
        receive N1 A 1 source=fax → UNKNOWN_SOURCE fax
        register A source=wms → NOT_AUTHORITY wms
        register A source=fax → UNKNOWN_SOURCE fax
        row A N1 on_hand=10
    """,
    "the catalogue's latest word counts": """
        register A seq=7 safety=1 → OK
        register A seq=6 safety=9 → DUPLICATE
        register A seq=7 safety=1 → DUPLICATE
        register A seq=7 safety=2 as=lie → SEQUENCE_CONFLICT A
        available A N1 9
    """,
    "an item has the names of its latest registration, and two items may claim one": """
        register A alias=X,Y seq=10 details={"category":"tea"} → OK
        register B alias=X seq=11 → OK
        claims X A B
        register A alias=Y,Z seq=12 → OK
        claims X B
        claims Y A
        claims Z A
        register A alias=X seq=11 as=late → DUPLICATE
        claims X B
        register A seq=13 → OK
        claims Y
        claims Z
        reserve R1 A 13 → OK 1×10 2×3
    """,
    "nothing of a blocked item is promised, and what is held stays held": """
        reserve R1 A 2 → OK 1×2
        reserve R2 A 1 ttl=1s → OK 1×1
        state A blocked seq=30 → OK
        available A N1 0
        row A N1 on_hand=10 reserved=3
        reserve R3 A 1 → INSUFFICIENT_STOCK A:1/0
        reserve R3 A 1 B 1 partial=yes → OK A:1/0 1×1
        confirm R1 → OK 1×2
        tick 2s
        confirm R2 reacquire=yes → INSUFFICIENT_STOCK A:1/0
        fulfil R1 S1 → OK 1×2
        receive N1 A 5 → OK
        state A active seq=29 as=late → DUPLICATE
        state A active seq=31 → OK
        confirm R2 reacquire=yes → OK 1×1
        available A N1 12
    """,
    "a discontinued item is sold to the last, its safety stock too": """
        register A seq=30 safety=4 → OK
        available A N1 6
        state A discontinued seq=30 → OK
        available A N1 10
        reserve R1 A 13 → OK 1×10 2×3
        register A seq=31 safety=2 → OK
        available A N1 0
        state A discontinued seq=30 → DUPLICATE
        state A blocked seq=30 as=lie → SEQUENCE_CONFLICT A
        state A X Y blocked → UNKNOWN_SKU X Y
        state A blocked source=wms → NOT_AUTHORITY wms
        state A blocked source=fax → UNKNOWN_SOURCE fax
    """,
    "nothing is promised from a node that is shut, and what is held there stays held": """
        reserve R1 A 2 → OK 1×2
        reserve R2 A 1 ttl=1s → OK 1×1
        node N1 blocked seq=5 → OK
        available A N1 0
        row A N1 on_hand=10 reserved=3
        reserve R3 A 4 → INSUFFICIENT_STOCK A:4/3
        reserve R3 A 3 → OK 1×3
        row A N2 reserved=3
        node N2 closed seq=5 → OK
        confirm R1 → OK 1×2
        tick 2s
        confirm R2 reacquire=yes → INSUFFICIENT_STOCK A:1/0
        receive N1 A 1 → OK
        fulfil R1 S1 → OK 1×2
        node N1 active seq=4 as=late → DUPLICATE
        available A N1 0
        node N1 active seq=5 as=lie → SEQUENCE_CONFLICT N1
        node N1 active seq=6 → OK
        confirm R2 reacquire=yes → OK 1×1
        reserve R4 A 9 → INSUFFICIENT_STOCK A:9/8
        node N2 active seq=6 → OK
        node N8 closed → UNKNOWN_NODE N8
        node N1 closed source=wms → NOT_AUTHORITY wms
        node N1 closed source=fax → UNKNOWN_SOURCE fax
    """,
    "a location makes itself known, and keeps the authorities that it was given": """
        locate N9 store Europe/Rome seq=5 → OK
        locate N9 store Europe/Rome seq=5 → DUPLICATE
        locate N9 kiosk Europe/Rome seq=4 as=late → DUPLICATE
        locate N9 kiosk Europe/Rome seq=5 as=lie → SEQUENCE_CONFLICT N9
        receive N9 A 5 → OK
        row A N9 on_hand=0
        node N9 closed seq=4 → OK
        locate N9 kiosk Europe/Rome seq=6 → OK
        locate N1 dark_store Europe/Paris seq=6 → OK
        receive N1 A 5 → OK
        row A N1 on_hand=15
        locate N1 store Europe/Rome source=wms → NOT_AUTHORITY wms
        locate N1 store Europe/Rome source=fax → UNKNOWN_SOURCE fax
    """,
    "a statement stands where its source's order says, and without one as it came": """
        state A blocked seq=100 source=lab → OK
        state A active seq=99 as=late source=lab → DUPLICATE
        state A active seq=0 source=lab → SEQUENCE_MISSING lab
        register A seq=0 → SEQUENCE_MISSING erp
        register B safety=3 seq=9 source=pos → OK
        available B N1 1
        register B safety=1 seq=8 source=pos → OK
        available B N1 3
        register B safety=3 seq=9 source=pos → DUPLICATE
        register B safety=2 seq=9 as=lie source=pos → SEQUENCE_CONFLICT E9
        available B N1 3
        state B blocked seq=7 source=pos → OK
        state B active seq=6 source=pos → OK
        state B blocked seq=7 source=pos → DUPLICATE
        locate N2 kiosk Europe/Rome seq=5 source=pos → OK
        node N2 closed seq=4 source=pos → OK
        node N2 active seq=3 source=pos → OK
        node N2 closed seq=4 source=pos → DUPLICATE
        available A N2 0
        state A active seq=101 source=lab → OK
        available A N2 3
    """,
    "an event waits until its item is known, by its SKU or by the name that it was given": """
        park X nobody/X → UNKNOWN_SOURCE nobody
        park X nobody/X alias=yes → UNKNOWN_SOURCE nobody
        park X wms/e-X → OK
        raised UNKNOWN_SKU 0
        park X wms/e-X → DUPLICATE
        park Y wms/e-Y alias=yes → OK
        register A alias=Y seq=40 → OK Y
        register A alias=Y seq=40 → DUPLICATE Y
        park Y wms/f-Y alias=yes → SKU_KNOWN
        park Y wms/f-Y → OK
        park A wms/f-A alias=yes → OK
        park A wms/g-A → SKU_KNOWN
        register X Y seq=41 → OK X Y
        unpark Y wms/e-Y → OK
        raised UNKNOWN_SKU 0 resolved
        unpark Y wms/f-Y → OK
        unpark Y wms/f-Y → DUPLICATE
        register Y alias=X seq=42 → OK X
    """,
    "a waiting event is discarded while nobody can have given it its turn, and not after that": """
        park X wms/e-X → OK
        discard X wms/e-X → OK
        raised UNKNOWN_SKU 0 resolved
        discard X wms/e-X → DUPLICATE
        park X wms/f-X → OK
        park Y wms/f-Y alias=yes → OK
        register A alias=X seq=40 → OK X
        discard X wms/f-X → OK
        park X wms/g-X → OK
        register X alias=Y seq=41 → OK X Y
        discard X wms/g-X → SKU_KNOWN
        discard Y wms/f-Y alias=yes → SKU_KNOWN
        unpark X wms/g-X → OK
        discard X wms/g-X → DUPLICATE
        register X seq=42 → OK
        discard Y wms/f-Y alias=yes → OK
    """,
}
