"""A checkout: show what there is, hold the basket, offer less if it is short, then commit it, or let it go if nobody pays.

`python examples/checkout.py HOST:PORT`
"""

import sys
from collections.abc import Callable

from atp_client import AtpClient, AtpError, Confirmed, Held, InsufficientStock, State, WrongState, uuid7

Basket = dict[str, int]
HOLD_MS = 10 * 60_000  # as long as paying may take


def show(stock: AtpClient, basket: Basket) -> None:
    """A reading for the basket's page: it holds nothing."""
    for line in stock.availability(basket).lines:
        print(f"{line.sku}: {basket[line.sku]} wanted, {'in stock' if line.fulfillable else f'only {line.available} left'}")


def hold(stock: AtpClient, basket_id: str, basket: Basket) -> Basket:
    """What is held: the basket, or as much of it as there is."""
    match stock.reserve(basket, reservation_id=basket_id, ttl_ms=HOLD_MS):
        case Held():
            return basket
        case InsufficientStock(shortfalls=shortfalls):  # nothing is held, so the same id is free for a smaller basket
            there = basket | {short.sku: short.available for short in shortfalls}
            smaller = {sku: quantity for sku, quantity in there.items() if quantity}
            print(f"there is less than wanted: {smaller}")
            return hold(stock, basket_id, smaller) if smaller else {}


def finish(stock: AtpClient, basket_id: str, pay: Callable[[], bool]) -> bool:
    """Commits what was paid for. Whoever paid late gets it too, if it is still there."""
    if not pay():
        stock.release(basket_id)
        return False
    match stock.confirm(basket_id, operation_key="paid"):
        case Confirmed() | WrongState(state=State.CONFIRMED):
            return True
        case WrongState(state=State.EXPIRED):
            return isinstance(stock.confirm(basket_id, operation_key="paid-late", reacquire=True), Confirmed)
        case _:
            return False


def main(address: str) -> None:
    wanted = {"MUG-WHITE": 2, "KETTLE-STEEL": 2}
    with AtpClient(address, pool="main", channel="web") as stock:
        try:
            show(stock, wanted)
            for customer, pay in (("Ada has no money", lambda: False), ("Bob pays", lambda: True)):
                basket_id = uuid7()  # kept with the basket: whoever goes on with it sends the same calls
                held = hold(stock, basket_id, wanted)
                print(f"{customer}: {held} {'sold' if finish(stock, basket_id, pay) else 'let go'}")
        except AtpError as error:  # the call or the service is at fault: the sentence says what to do next
            sys.exit(str(error))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("say where the service is: python examples/checkout.py HOST:PORT")
    main(sys.argv[1])
