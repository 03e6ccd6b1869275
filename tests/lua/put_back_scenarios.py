"""Tables of picks that are taken back: the units are put back in their place.

At N1 and N2 on hand falls at issue, as `wms` counts it; at N4 it falls at pick, as `wcs` does.
"""

from itertools import permutations


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

PUT_BACK = TAKEN_BACK | taken_back_in_every_order()
