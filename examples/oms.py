"""An order's way through stock: held, committed when paid, shipped when packed, the rest given back. Run it twice: it is done once.

`python examples/oms.py HOST:PORT`
"""

import sys

from atp_client import AtpClient, InsufficientStock

if len(sys.argv) != 2:
    sys.exit("say where the service is: python examples/oms.py HOST:PORT")
with AtpClient(sys.argv[1], pool="main", channel="web") as stock:
    held = stock.reserve({"TEA-EARL-GREY": 2, "MUG-WHITE": 1}, reservation_id="order-4712", order_reference="4712")
    if isinstance(held, InsufficientStock):
        sys.exit(f"short of {', '.join(short.sku for short in held.shortfalls)}")
    stock.confirm("order-4712", operation_key="payment-4712")
    tea = next(move for move in held.moves if move.sku == "TEA-EARL-GREY")
    stock.fulfil("order-4712", [tea.number], shipment_id=f"{tea.node}-0815")
    stock.release("order-4712", operation_key="cancelled-mug")
    for reservation in stock.list("4712"):
        print(reservation.reservation_id, reservation.state)
        for line in reservation.lines:
            print(f"{line.sku}: {line.quantity} held at {line.node}, {line.shipped} shipped, {line.released} given back")
