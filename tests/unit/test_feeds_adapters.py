"""Each outside format: what real messages of it become, that a copy becomes the same, and that bad ones say precisely what is wrong."""

import base64
import hashlib
import hmac
import io
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atp import canonical, limits
from atp.events import TYPES, Event, type_of
from atp.model.status import ExceptionReason
from atp.model.verbs import Count, NodeConfig, Provision, SourceConfig
from consumers.feeds import ADAPTERS, FeedSettings, Mistake
from consumers.feeds.s4hana import MOVEMENTS
from tests.unit.model_world import CONTEXT, World

EXAMPLES = Path(__file__).resolve().parents[1] / "feeds"
DC1, STORE1 = "urn:epc:id:sgln:4012345.00001.0", "urn:epc:id:sgln:4012345.00002.0"
NODES = {
    "s4hana": {"1010/101A": "DC1", "1010/SHOP": "STORE1", "1010/SCRP": "", "1020": "DC2"},
    "wms": {DC1: "DC1", STORE1: "STORE1"},
    "pos": {"6b365a0c-a2a8-4774-8904-06cedede22e6": "STORE1"},
    "shopify": {"24826418": "STORE1", "7": ""},
    "csv": {"0100": "DC1", "0200": "STORE1"},
}
GTIN, OTHER_GTIN = "04012345111118", "04012345222227"


def feed(adapter: str) -> FeedSettings:
    return FeedSettings(
        name=f"{adapter}-feed", adapter=adapter, pool="main", source="outside", nodes=NODES[adapter], time_zone="Europe/Berlin"
    )


def read(adapter: str, data: bytes) -> list[Event | Mistake]:
    return list(ADAPTERS[adapter].read(io.BytesIO(data), feed(adapter)))


def example(name: str) -> bytes:
    return (EXAMPLES / name).read_bytes()


def shown(event: Event | Mistake) -> tuple[str, str, dict[str, Any]]:
    """Type, id and what is said in `data`, without what is not."""
    assert not isinstance(event, Mistake), event.error.detail
    data = {key: value for key, value in msgspec.to_builtins(event.data).items() if value not in (0, "", None)}
    data["lines"] = [{key: value for key, value in line.items() if value not in ("", None)} for line in data["lines"]]
    for line in data["lines"]:
        for figure in ("on_hand", "damaged", "quality_hold", "own_reserved"):
            if type_of(event) in {"adjustment", "snapshot", "cycle_count"} and line.get(figure) == 0 and figure != "on_hand":
                del line[figure]
    return type_of(event), event.id, data


def mistakes(adapter: str, data: bytes) -> list[str]:
    return [found.error.detail for found in read(adapter, data) if isinstance(found, Mistake)]


def quantity(sku: str, units: int, **others: Any) -> dict[str, Any]:
    return {"sku": sku, "quantity": units, **others}


def gtin(code: str, **others: Any) -> dict[str, Any]:
    return {"alias": code, **others}


EXPECTED: list[tuple[str, str, list[tuple[str, str, dict[str, Any]]]]] = [
    (
        "s4hana",
        "s4hana_goods_receipt_v2.json",
        [
            (
                "receipt",
                "5000000417-2026-1-receipt",
                {"node": "DC1", "document": "4500001234", "lines": [quantity("TEA-EARL-GREY", 120), quantity("MUG-WHITE", 400)]},
            ),
            (
                "adjustment",
                "5000000417-2026-3-adjustment",
                {"node": "DC1", "reason": "movement type 101", "lines": [{"sku": "MUG-WHITE", "on_hand": 40, "quality_hold": 40}]},
            ),
        ],
    ),
    (
        "s4hana",
        "s4hana_day_v4.json",
        [
            (
                "shipment",
                "4900000881-2026-1-shipment",
                {"node": "DC1", "shipment_id": "80005501", "order_reference": "4711", "lines": [quantity("TEA-EARL-GREY", 2)]},
            ),
            ("shipment", "4900000881-2026-2-shipment", {"node": "DC1", "shipment_id": "80005502", "lines": [quantity("MUG-WHITE", 1)]}),
            (
                "transfer_out",
                "4900000882-2026-1-transfer_out",
                {"node": "DC1", "transfer_id": "4900000882-2026", "to_node": "STORE1", "lines": [quantity("MUG-WHITE", 6)]},
            ),
            (
                "transfer_in",
                "4900000882-2026-1-transfer_in",
                {"node": "STORE1", "transfer_id": "4900000882-2026", "from_node": "DC1", "lines": [quantity("MUG-WHITE", 6)]},
            ),
            (
                "transfer_out",
                "4900000883-2026-1-transfer_out",
                {"node": "DC1", "transfer_id": "ST-9", "to_node": "DC2", "lines": [quantity("MUG-WHITE", 3)]},
            ),
            (
                "transfer_in",
                "4900000884-2026-1-transfer_in",
                {"node": "DC2", "transfer_id": "ST-9", "from_node": "DC1", "lines": [quantity("MUG-WHITE", 3)]},
            ),
            (
                "status_change",
                "4900000885-2026-1-status_change",
                {
                    "node": "DC1",
                    "reason": "movement type 321",
                    "lines": [quantity("MUG-WHITE", 40, **{"from": "quality_hold", "to": "sellable"})],
                },
            ),
            (
                "adjustment",
                "4900000886-2026-1-adjustment",
                {
                    "node": "DC1",
                    "reason": "movement type 555",
                    "lines": [{"sku": "MUG-WHITE", "unit": "CAR", "on_hand": -1, "damaged": -1}],
                },
            ),
            (
                "return",
                "4900000886-2026-3-return",
                {"node": "DC1", "disposition": "sellable", "order_reference": "4711", "lines": [quantity("TEA-EARL-GREY", 1)]},
            ),
        ],
    ),
    (
        "wms",
        "epcis_document.json",
        [
            (
                "receipt",
                "urn:uuid:374d95fc-9457-4a51-bd6a-0bba133845a8",
                {"node": "DC1", "document": "1152", "lines": [gtin(GTIN, quantity=120), gtin(OTHER_GTIN, quantity=40)]},
            ),
            (
                "adjustment",
                "45b17c05e70c60a90e9940ffd2130f66",
                {"node": "DC1", "reason": "received: damaged", "lines": [gtin(GTIN, on_hand=3, damaged=3)]},
            ),
            (
                "pick",
                "urn:uuid:00000000-0000-4000-8000-000000000003",
                {"node": "DC1", "order_reference": "4711", "lines": [gtin(GTIN, quantity=2)]},
            ),
            (
                "pack",
                "urn:uuid:00000000-0000-4000-8000-000000000004",
                {"node": "DC1", "order_reference": "4711", "package_id": "4012345.0111111111", "lines": [gtin(GTIN, quantity=2)]},
            ),
            (
                "shipment",
                "urn:uuid:00000000-0000-4000-8000-000000000006",
                {"node": "DC1", "shipment_id": "SHIP-5501", "order_reference": "4711", "lines": [gtin(GTIN, quantity=2)]},
            ),
            (
                "transfer_out",
                "urn:uuid:00000000-0000-4000-8000-000000000007",
                {"node": "DC1", "transfer_id": "TR-12", "to_node": "STORE1", "lines": [gtin(GTIN, quantity=12)]},
            ),
            (
                "transfer_in",
                "urn:uuid:00000000-0000-4000-8000-000000000008",
                {"node": "STORE1", "transfer_id": "TR-12", "from_node": "DC1", "lines": [gtin(GTIN, quantity=12)]},
            ),
            (
                "status_change",
                "urn:uuid:00000000-0000-4000-8000-000000000009",
                {"node": "DC1", "reason": "damaged", "lines": [gtin(GTIN, quantity=2, **{"from": "sellable", "to": "damaged"})]},
            ),
            (
                "adjustment",
                "urn:uuid:00000000-0000-4000-8000-00000000000a",
                {"node": "DC1", "reason": "destroyed", "lines": [gtin(GTIN, on_hand=-5, damaged=-5)]},
            ),
            (
                "snapshot",
                "urn:uuid:00000000-0000-4000-8000-00000000000b",
                {
                    "node": "DC1",
                    "as_of": "2026-01-02T22:00:00+01:00",
                    "scope": "partial",
                    "part": 1,
                    "parts": 1,
                    "lines": [gtin(GTIN, on_hand=100), gtin(OTHER_GTIN, on_hand=0)],
                },
            ),
            (
                "return",
                "urn:uuid:00000000-0000-4000-8000-00000000000c",
                {"node": "DC1", "disposition": "quality_hold", "order_reference": "4711", "lines": [gtin(GTIN, quantity=1)]},
            ),
        ],
    ),
    (
        "pos",
        "loyverse_receipts.json",
        [
            (
                "sale",
                "2-1008",
                {
                    "node": "STORE1",
                    "transaction_id": "2-1008",
                    "lines": [quantity("TEA-EARL-GREY", 2), gtin("loyverse:5409a01e-b5b3-44de-b336-bf650cbf179b", quantity=1)],
                },
            ),
            ("sale_return", "2-1011", {"node": "STORE1", "disposition": "sellable", "lines": [quantity("TEA-EARL-GREY", 1)]}),
            ("sale", "2-1012", {"node": "STORE1", "transaction_id": "2-1012", "lines": [quantity("TEA-EARL-GREY", 1)]}),
            ("sale_return", "2-1012-cancelled", {"node": "STORE1", "disposition": "sellable", "lines": [quantity("TEA-EARL-GREY", 1)]}),
        ],
    ),
    (
        "shopify",
        "shopify_inventory_levels_update.json",
        [
            (
                "snapshot",
                "271878346596884015-24826418-20260102T101500-0500-12",
                {
                    "node": "STORE1",
                    "as_of": "2026-01-02T10:15:00-05:00",
                    "scope": "partial",
                    "part": 1,
                    "parts": 1,
                    "lines": [gtin("shopify:271878346596884015", on_hand=12)],
                },
            ),
        ],
    ),
    (
        "csv",
        "erp_movements.csv",
        [
            (
                "receipt",
                "GRN-88121",
                {
                    "node": "DC1",
                    "sequence": 1,
                    "document": "4500001234",
                    "lines": [quantity("TEA-EARL-GREY", 10, unit="BOX"), quantity("MUG-WHITE", 400)],
                },
            ),
            (
                "adjustment",
                "ADJ-301",
                {
                    "node": "STORE1",
                    "sequence": 1,
                    "reason": "broken; thrown away",
                    "lines": [{"sku": "MUG-WHITE", "on_hand": -3, "damaged": -3}],
                },
            ),
        ],
    ),
    (
        "csv",
        "erp_counts.csv",
        [
            (
                "cycle_count",
                "CC-1",
                {"node": "STORE1", "sequence": 7, "as_of": "2026-01-02T12:00:00+01:00", "lines": [{"sku": "MUG-WHITE", "on_hand": 11}]},
            ),
            (
                "snapshot",
                "NIGHT-0102-DC1",
                {
                    "node": "DC1",
                    "sequence": 5,
                    "as_of": "2026-01-02T22:00:00+01:00",
                    "scope": "full",
                    "part": 1,
                    "parts": 1,
                    "lines": [{"sku": "TEA-EARL-GREY", "on_hand": 119}, {"sku": "MUG-WHITE", "on_hand": 400, "damaged": 3}],
                },
            ),
            (
                "snapshot",
                "NIGHT-0102-STORE1",
                {
                    "node": "STORE1",
                    "sequence": 9,
                    "as_of": "2026-01-02T22:00:00+01:00",
                    "scope": "partial",
                    "part": 1,
                    "parts": 1,
                    "lines": [{"sku": "TEA-EARL-GREY", "on_hand": 4, "quality_hold": 1}],
                },
            ),
        ],
    ),
]


@pytest.mark.parametrize(("adapter", "name", "expected"), EXPECTED, ids=[name for _, name, _ in EXPECTED])
def test_a_real_message_becomes_these_events(adapter: str, name: str, expected: list[tuple[str, str, dict[str, Any]]]) -> None:
    assert [shown(event) for event in read(adapter, example(name))] == expected


@pytest.mark.parametrize(("adapter", "name"), [(adapter, name) for adapter, name, _ in EXPECTED])
def test_each_event_can_be_applied_and_a_copy_of_the_message_says_the_same(adapter: str, name: str) -> None:
    for event, copy in zip(read(adapter, example(name)), read(adapter, example(name)), strict=True):
        assert not isinstance(event, Mistake)
        canonical.check(event)
        assert canonical.decode(canonical.subject_of("main", event), canonical.encode(event)).event == event
        assert copy == event


def test_every_example_is_read_and_every_adapter_has_one() -> None:
    assert {name for _, name, _ in EXPECTED} == {path.name for path in EXAMPLES.iterdir()}
    assert {adapter for adapter, _, _ in EXPECTED} == set(ADAPTERS)


# --- bad ones -----------------------------------------------------------------------------------------------------
def material_document(**item: Any) -> bytes:
    whole = {"MaterialDocumentItem": "7", "Material": "A", "Plant": "1010", "StorageLocation": "101A", "GoodsMovementType": "101"}
    head = {"MaterialDocument": "49", "MaterialDocumentYear": "2026", "CreationDate": "2026-01-02", "CreationTime": "08:00:00"}
    return json.dumps({**head, "to_MaterialDocumentItem": [{**whole, "QuantityInEntryUnit": "2", "EntryUnit": "EA", **item}]}).encode()


def epcis(**others: Any) -> bytes:
    event = {
        "type": "ObjectEvent",
        "eventTime": "2026-01-02T08:00:00Z",
        "action": "OBSERVE",
        "bizStep": "receiving",
        "bizLocation": {"id": DC1},
    }
    return json.dumps({**event, "quantityList": [{"epcClass": f"https://id.gs1.org/01/{GTIN}", "quantity": 2}], **others}).encode()


def receipt(**others: Any) -> bytes:
    whole = {"receipt_number": "1-1", "receipt_type": "SALE", "receipt_date": "2026-01-02T08:00:00Z", "store_id": next(iter(NODES["pos"]))}
    return json.dumps({"receipts": [{**whole, "line_items": [{"sku": "A", "quantity": 1}], **others}]}).encode()


def level(**others: Any) -> bytes:
    whole = {"inventory_item_id": 1, "location_id": 24826418, "available": 3, "updated_at": "2026-01-02T08:00:00Z"}
    return json.dumps({**whole, **others}).encode()


BAD = [
    (
        "s4hana",
        material_document(GoodsMovementType="999"),
        "material document '49-2026', item '7': GoodsMovementType '999' has no meaning here",
    ),
    ("s4hana", material_document(Plant="9999"), "location '9999/101A' is not among the nodes of feed s4hana-feed"),
    ("s4hana", material_document(QuantityInEntryUnit="1.5"), "QuantityInEntryUnit: '1.5' is not a whole number of units"),
    ("s4hana", material_document(QuantityInBaseUnit="-"), "QuantityInBaseUnit: '-' is not a number of units"),
    ("s4hana", material_document(InventoryStockType="06"), "InventoryStockType '06' is no stock of a node"),
    ("s4hana", material_document(InventorySpecialStockType="K"), "InventorySpecialStockType 'K'"),
    ("s4hana", material_document(GoodsMovementType="303", IssuingOrReceivingPlant="1020"), "ReferenceDocument is empty"),
    ("s4hana", material_document(GoodsMovementType="311"), "IssuingOrReceivingPlant is empty"),
    ("s4hana", material_document(Material=7), "`$.to_MaterialDocumentItem[0].Material`"),
    (
        "s4hana",
        material_document().replace(b"08:00:00", b"8 o'clock"),
        "CreationDate, CreationTime: '2026-01-02', \"8 o'clock\" are no date",
    ),
    ("s4hana", b'{"d": 7}', "Expected `object | array`, got `int`"),
    ("wms", epcis(bizStep="repackaging"), "bizStep 'repackaging' has no meaning here"),
    ("wms", epcis(bizLocation={"id": "urn:epc:id:sgln:9.9.9"}), "location 'urn:epc:id:sgln:9.9.9' is not among the nodes"),
    ("wms", epcis(bizLocation=None), "readPoint and bizLocation are missing"),
    ("wms", epcis(bizStep="shipping"), "bizTransactionList names no desadv"),
    ("wms", epcis(bizStep="picking"), "bizTransactionList names no po"),
    ("wms", epcis(bizStep="cycle_counting", disposition="sellable_accessible"), "count all that is there"),
    ("wms", epcis(bizStep="inspecting", disposition="in_progress"), "does not say what the units are good for"),
    ("wms", epcis(errorDeclaration={"reason": "did_not_occur"}), "errorDeclaration"),
    ("wms", epcis(quantityList=[{"epcClass": "urn:epc:id:sscc:4012345.0111111111", "quantity": 1}]), "names no trade item"),
    ("wms", epcis(quantityList=[{"epcClass": "https://id.gs1.org/01/04012345111119", "quantity": 1}]), "its check digit is wrong"),
    ("wms", epcis(quantityList=[]), "epcList and quantityList are empty"),
    ("wms", epcis(type="TransformationEvent"), "a 'TransformationEvent' of step 'receiving' is not read"),
    ("pos", receipt(store_id="elsewhere"), "location 'elsewhere' is not among the nodes"),
    ("pos", receipt(line_items=[{"sku": "A", "quantity": 0.3}]), "line_items[0].quantity: 0.3 is not a whole number"),
    ("pos", receipt(line_items=[{"quantity": 1}]), "line_items[0] names no item"),
    ("pos", receipt(receipt_type="VOID"), "`$.receipt_type`"),
    ("pos", receipt(line_items=[{"sku": f"S{number}", "quantity": 1} for number in range(201)]), "a sale has at most 200 lines"),
    ("shopify", level(location_id=8), "location '8' is not among the nodes"),
    ("shopify", level(available="many"), "`$.available`"),
    ("shopify", level(updated_at="2126-01-02T08:00:00Z"), "time must lie between"),
    ("shopify", b"available=3", "JSON is malformed"),
    ("shopify", b"\xff", "JSON is malformed"),
]


@pytest.mark.parametrize(("adapter", "data", "detail"), BAD)
def test_a_bad_message_says_what_is_wrong_and_where(adapter: str, data: bytes, detail: str) -> None:
    found = mistakes(adapter, data)
    assert len(found) == 1
    assert detail in found[0]


def test_a_bad_document_costs_its_neighbours_nothing_and_carries_itself_alone() -> None:
    good, bad = material_document(), material_document(GoodsMovementType="999")
    first, mistake, last = read("s4hana", b'{"value": [' + good + b"," + bad + b"," + good + b"]}")
    assert first == last
    assert isinstance(mistake, Mistake)
    assert (mistake.place, mistake.original) == ("document 2", bad)


def test_a_message_that_is_too_large_is_not_read() -> None:
    (mistake,) = read("shopify", level() + b" " * limits.FEED_BODY_BYTES_MAX)
    assert isinstance(mistake, Mistake)
    assert mistake.error.reason == ExceptionReason.TOO_LARGE


def test_what_happens_where_it_is_of_no_concern_is_left_out() -> None:
    assert read("shopify", level(location_id=7)) == []
    assert read("shopify", level(available=None)) == []
    assert read("s4hana", material_document(StorageLocation="SCRP")) == []
    (event,) = read(
        "s4hana", material_document(GoodsMovementType="311", IssuingOrReceivingPlant="1010", IssuingOrReceivingStorageLoc="SCRP")
    )
    assert shown(event)[2]["lines"] == [{"sku": "A", "unit": "EA", "on_hand": -2}]


@pytest.mark.parametrize("came", list(itertools.permutations((12, 3, -1))), ids=str)
def test_of_a_shops_levels_of_one_second_the_lowest_stands_in_whatever_order_they_come(came: tuple[int, ...]) -> None:
    it = World()
    shop = SourceConfig("outside", False, order="time", snapshots="net")
    it.do(Provision(CONTEXT, [NodeConfig("STORE1", "store", "UTC", shop.id)], [], [shop]))

    def apply(**said: Any) -> str:
        (event,) = read("shopify", level(**said))
        assert not isinstance(event, Mistake)
        request = canonical.request_of(event, canonical.Items({"shopify:1": "A"}))
        assert isinstance(request, Count)
        return it.do(request).status

    assert {apply(available=units) for units in (*came, *came)} == {"OK", "DUPLICATE"}
    assert it.pool.row("A", "STORE1").on_hand == -1
    assert (apply(available=12, updated_at="2026-01-02T08:00:01Z"), it.pool.row("A", "STORE1").on_hand) == ("OK", 12)


def test_a_long_document_becomes_several_events_of_different_ids() -> None:
    item = msgspec.json.decode(material_document())["to_MaterialDocumentItem"][0]
    items = [{**item, "MaterialDocumentItem": str(number), "Material": f"M{number}"} for number in range(limits.EVENT_LINES_MAX + 1)]
    whole = {**msgspec.json.decode(material_document()), "to_MaterialDocumentItem": items}
    found = [shown(event) for event in read("s4hana", msgspec.json.encode(whole))]
    assert [event_id for _, event_id, _ in found] == ["49-2026-0-receipt", "49-2026-0-receipt.2"]
    assert [len(data["lines"]) for _, _, data in found] == [limits.EVENT_LINES_MAX, 1]


@pytest.mark.parametrize("movement", sorted(MOVEMENTS))
def test_every_movement_type_makes_events_that_can_be_applied(movement: str) -> None:
    others = {"IssuingOrReceivingPlant": "1020", "Delivery": "8000"}
    data = material_document(GoodsMovementType=movement, **others).replace(b'"to_Mat', b'"ReferenceDocument": "R1", "to_Mat')
    found = read("s4hana", data)
    assert not any(isinstance(event, Mistake) for event in found)
    assert bool(found) == bool(MOVEMENTS[movement].kind)


def test_a_refund_that_is_cancelled_is_a_sale_again() -> None:
    found = read("pos", receipt(receipt_type="REFUND", cancelled_at="2026-01-02T09:00:00Z"))
    assert [shown(event)[:2] for event in found] == [("sale_return", "1-1"), ("sale", "1-1-cancelled")]


def test_a_repeated_event_of_a_warehouse_without_an_id_is_known_by_what_it_says() -> None:
    (one,), (copy,), (other,) = read("wms", epcis()), read("wms", epcis(action="OBSERVE")), read("wms", epcis(action="ADD"))
    assert shown(one) == shown(copy)
    assert shown(one)[1] != shown(other)[1]


# --- who sends ----------------------------------------------------------------------------------------------------
def generic(body: bytes, secret: str, when: float) -> dict[str, str]:
    mark = hmac.new(secret.encode(), f"{int(when)}.".encode() + body, hashlib.sha256).hexdigest()
    return {"x-atp-signature": f"t={int(when)},v1={mark}"}


def base64_hmac(header: str, digest: str) -> Callable[[bytes, str, float], dict[str, str]]:
    return lambda body, secret, _when: {header: base64.b64encode(hmac.new(secret.encode(), body, digest).digest()).decode()}


SIGNED = [
    ("s4hana", generic),
    ("shopify", base64_hmac("x-shopify-hmac-sha256", "sha256")),
    ("pos", base64_hmac("x-loyverse-signature", "sha1")),
]


@pytest.mark.parametrize(("adapter", "sign"), SIGNED)
def test_a_signature_is_right_for_one_body_and_one_secret(adapter: str, sign: Callable[[bytes, str, float], dict[str, str]]) -> None:
    verify = ADAPTERS[adapter].verify
    headers = sign(b"body", "secret", time.time())
    assert verify(headers, b"body", "secret")
    assert not verify(headers, b"bodY", "secret")
    assert not verify(headers, b"body", "Secret")
    assert not verify({}, b"body", "secret")
    assert not verify(sign(b"body", "", time.time()), b"body", "")
    assert not verify({name: value + "é" for name, value in headers.items()}, b"body", "secret")


@pytest.mark.parametrize("off", [-limits.WEBHOOK_SIGNATURE_AGE_S_MAX - 60, limits.WEBHOOK_SIGNATURE_AGE_S_MAX + 60])
def test_the_generic_signature_is_good_for_five_minutes(off: int) -> None:
    verify = ADAPTERS["csv"].verify
    assert verify(generic(b"body", "secret", time.time() + off / 2), b"body", "secret")
    assert not verify(generic(b"body", "secret", time.time() + off), b"body", "secret")


# --- anything ------------------------------------------------------------------------------------------------------
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=8,
)
WHOLE: dict[str, list[bytes]] = {
    "s4hana": [material_document(GoodsMovementType=movement, Delivery="1") for movement in ("101", "303", "311", "321", "601", "653")],
    "wms": [epcis(bizStep=step) for step in ("receiving", "shipping", "inspecting", "cycle_counting", "destroying", "packing")],
    "pos": [receipt()],
    "shopify": [level()],
}


def _changed(draw: st.DrawFn, value: Any) -> Any:
    """The document with one value anywhere in it replaced by anything, or by what stands elsewhere in such documents."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: _changed(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        return [_changed(draw, value[0]), *value[1:]]
    return draw(
        JSON
        | st.sampled_from(
            ["/Date(99999999999999)/", "PT99H", "1E9999", "-1", "0", "9" * 30, "\x85", "\ud800", "urn:epc:id:sgtin:1.2.3", ""]
        )
    )


@st.composite
def almost(draw: st.DrawFn) -> tuple[str, bytes]:
    adapter = draw(st.sampled_from(sorted(WHOLE)))
    document = json.loads(draw(st.sampled_from(WHOLE[adapter])))
    for _ in range(draw(st.integers(1, 3))):
        document = _changed(draw, document)
    return adapter, json.dumps(document).encode()


@settings(max_examples=400, deadline=None)
@given(almost())
def test_whatever_the_json_it_becomes_good_events_or_mistakes_and_nothing_is_raised(found: tuple[str, bytes]) -> None:
    adapter, data = found
    for event in read(adapter, data):
        if isinstance(event, Mistake):
            assert event.error.detail
        else:
            assert type_of(event) in TYPES
            canonical.check(event)


@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\x00", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b'"\\ud800"', b"null", b"7"])
def test_whatever_the_bytes_nothing_is_raised(adapter: str, data: bytes) -> None:
    assert all(isinstance(event, Mistake) for event in read(adapter, data))


def test_a_message_of_mistakes_alone_tells_of_the_first_and_counts_the_others() -> None:
    many = limits.FEED_FILE_MISTAKES_MAX + 7
    receipts = ",".join(map(str, range(many)))
    found = read("pos", f'{{"receipts": [{receipts}]}}'.encode())
    assert len(found) == limits.FEED_FILE_MISTAKES_MAX + 1
    assert isinstance(found[-1], Mistake)
    assert found[-1].error.detail.startswith("7 more mistakes are not told one by one")


def test_a_mistake_that_quotes_the_message_does_not_quote_all_of_it() -> None:
    receipt = {"receipt_number": "1", "receipt_type": "S" * 2_000_000}
    (found,) = read("pos", msgspec.json.encode({"receipts": [receipt]}))
    assert isinstance(found, Mistake)
    assert found.error.detail.startswith("Invalid enum value 'SSS")
    assert len(found.error.detail) < limits.FEED_LINE_BYTES_MAX


@pytest.mark.parametrize(("adapter", "wrapping"), [("wms", b"event"), ("s4hana", b"d")])
def test_a_message_is_not_unwrapped_for_ever(adapter: str, wrapping: bytes) -> None:
    (found,) = read(adapter, b'{"%s":' % wrapping * 20 + b"[]" + b"}" * 20)
    assert isinstance(found, Mistake)
    assert found.error.detail.endswith("more often than once each.")
