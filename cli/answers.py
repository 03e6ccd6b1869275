"""Answers of the service, shown to people or as the contract's JSON; the exit code is the answer's."""

from collections.abc import Sequence
from typing import Final

import typer

from atp.words import counted
from cli import exit_codes, output
from cli.client import as_json, outcome, state, time_ms
from inventory.availability.v1 import availability_service_pb2 as availability
from inventory.availability.v1 import reservation_pb2 as pb
from inventory.availability.v1 import reservation_service_pb2 as rpc

NODES_SHOWN_MAX: Final = 12

Answer = rpc.ReserveResponse | rpc.ConfirmResponse | rpc.ReleaseResponse | rpc.ExtendResponse | rpc.FulfilResponse

#: What an outcome that is not OK means for a person, and what to do next.
ADVICE: Final = {
    "HELD": "It is held, not confirmed: atp confirm {id} comes first.",
    "CONFIRMED": "It is confirmed already, and does not expire.",
    "FULFILLED": "It is fulfilled: nothing of it is open any more.",
    "RELEASED": "It was released: nothing of it is open any more.",
    "EXPIRED": "The hold has expired, its units are back in stock. atp confirm {id} --reacquire takes them again if they are still there.",
    "EXCEEDS_HELD": "That is more than is open on a line. atp show {id} says what is open.",
    "INSUFFICIENT_STOCK": "Not all of it can be promised; nothing was changed.",
}

#: What a person must know of an item or a node that is not simply active.
ITEM_WORDS: Final[dict[int, str]] = {availability.ITEM_STATE_BLOCKED: "blocked", availability.ITEM_STATE_DISCONTINUED: "discontinued"}
NODE_WORDS: Final[dict[int, str]] = {availability.NODE_STATE_BLOCKED: "blocked", availability.NODE_STATE_CLOSED: "closed"}
ITEM_SENTENCES: Final[dict[int, str]] = {
    availability.ITEM_STATE_BLOCKED: "{sku} is blocked: nothing of it is promised.",
    availability.ITEM_STATE_DISCONTINUED: "{sku} is discontinued: what is left of it is sold, the safety stock too.",
}


# --- what can be promised -------------------------------------------------------------------------------------------------
def show_availability(answer: availability.BatchGetAvailabilityResponse, wanted: Sequence[int], pool: str, *, json: bool) -> None:
    """Lines of SKUs; `wanted` has 0 where no quantity was asked about. Exit 1 if something wanted cannot be had, or is not known."""
    if json:
        typer.echo(as_json(answer))
    elif len(answer.lines) == 1:
        _say_one(answer.lines[0], wanted[0], pool)
    else:
        _show_many(answer, wanted)
    if not all(_is_well(line, quantity) for line, quantity in zip(answer.lines, wanted, strict=True)):
        raise typer.Exit(exit_codes.REFUSED)


def _is_known(line: availability.AvailabilityLine) -> bool:
    return line.status == availability.SkuStatus.SKU_STATUS_KNOWN


def _is_well(line: availability.AvailabilityLine, wanted: int) -> bool:
    return _is_known(line) and (line.fulfillable or not wanted)


def _say_one(line: availability.AvailabilityLine, wanted: int, pool: str) -> None:
    out = output.console()
    if not _is_known(line):
        out.print(f"{line.sku} is not registered in pool {pool}: the item feed registers it, or correct the name.", style="yellow")
        return
    nodes = ", ".join(f"{node.available} at {node.node}{' (shut)' if node.shut else ''}" for node in line.nodes)
    out.print(f"{line.available} can be promised: {nodes or 'no node ever had stock of it'}")
    _say_item_state(line.sku, line.state)
    if wanted:
        out.print(f"{wanted} wanted: {'yes' if line.fulfillable else 'no'}", style="green" if line.fulfillable else "yellow")
    if line.nodes:
        out.print(f"Why: atp explain {line.sku} --node {line.nodes[0].node}", style="dim")


def _say_item_state(sku: str, state: int) -> None:
    if state in ITEM_SENTENCES:
        output.console().print(ITEM_SENTENCES[state].format(sku=sku), style="yellow")


def _show_many(answer: availability.BatchGetAvailabilityResponse, wanted: Sequence[int]) -> None:
    nodes = list(dict.fromkeys(node.node for line in answer.lines for node in line.nodes))[:NODES_SHOWN_MAX]
    columns = ["SKU", "can be promised#", *(f"{node}#" for node in nodes)] + (["wanted#", ""] if any(wanted) else [])
    rows = []
    for line, quantity in zip(answer.lines, wanted, strict=True):
        at = {node.node: "shut" if node.shut else node.available for node in line.nodes}
        state = f" ({ITEM_WORDS[line.state]})" if line.state in ITEM_WORDS else ""
        row: list[object] = [line.sku + state, line.available if _is_known(line) else "unknown", *(at.get(node, "") for node in nodes)]
        if any(wanted):
            row += [quantity or "", "" if _is_well(line, quantity) else "no"]
        rows.append(row)
    out = output.console()
    out.print(output.table(columns, rows))
    out.print("Why: atp explain SKU --node NODE", style="dim")


def show_explanation(answer: availability.ExplainAvailabilityResponse, sku: str, node: str) -> None:
    """Each term with the change behind it, and whose word counts for it."""
    rows: list[list[object]] = [
        [term.name.replace("_", " "), f"{term.contribution:+,}", term.source, _behind(term, answer.searched_revision)]
        for term in answer.terms
    ]
    out = output.console()
    columns = [f"{sku} at {node}", "units#", "source", "the change behind it"]
    out.print(output.table(columns, [*rows, ["can be promised", answer.available, "", ""]]))
    for term in answer.terms:
        if term.units and not term.contribution:
            out.print(f"{term.name.replace('_', ' ')}: {counted(term.units, 'unit')} that will count only later.")
    _say_item_state(sku, answer.item_state)
    if answer.node_state in NODE_WORDS:
        out.print(f"{node} is {NODE_WORDS[answer.node_state]}: nothing is promised from it.", style="yellow")
    if answer.due:
        out.print(f"Holds that have expired still stand there with {counted(answer.due, 'unit')}: back in stock already.")
    if answer.HasField("entry"):
        entry = answer.entry
        when = output.at(time_ms(entry.time))
        out.print(
            f"Last changed {when} by {entry.verb} of {entry.cause}, asked for by {entry.actor or 'the engine'}; revision {entry.revision}."
        )
    elif answer.row_revision:
        out.print(f"Last changed at revision {answer.row_revision}: atp ledger --from {answer.row_revision} shows it.")
    else:
        out.print("Nothing ever happened to it.")
    if answer.searched_revision > 1:
        out.print(f"Looked back to revision {answer.searched_revision}; what is older: atp ledger --sku {sku} --from 1", style="dim")


def _behind(term: availability.Term, searched_revision: int) -> str:
    """The last change of a term: when, by how many units, what it was and whose doing."""
    if not term.HasField("changed"):
        return f"none since revision {searched_revision}" if searched_revision > 1 else ""
    changed = term.changed
    units = f"{changed.delta:+,} " if changed.delta else ""
    correlation = f", correlation {changed.correlation}" if changed.correlation else ""
    what = f"{changed.verb} of {changed.cause} by {changed.actor or 'the engine'}"
    return f"{output.at(time_ms(changed.time))} {units}{what} (revision {changed.revision}{correlation})"


# --- reservations -----------------------------------------------------------------------------------------------------
def show_change(answer: Answer, done: str, *, json: bool) -> None:
    """What a verb did, or why not; ends the command with the exit code of the outcome."""
    name = outcome(answer.outcome)
    if json:
        typer.echo(as_json(answer))
    elif name == "OK":
        out = output.console()
        again = " This call was made before: that was its first answer." if answer.replayed else ""
        until = f" until {output.at(time_ms(answer.expire_time))}" if answer.HasField("expire_time") else ""
        out.print(f"{answer.reservation_id}: {done}. It is {state(answer.state)}{until}.{again}", style="green")
        if not isinstance(answer, rpc.ExtendResponse):  # that moves nothing
            rows = [(move.number, move.sku, move.node, move.quantity) for move in answer.moves]
            out.print(output.table(["line#", "SKU", "node", "units#"], rows))
    else:
        output.console().print(f"{name}: {ADVICE[name].format(id=answer.reservation_id)}", style="yellow")
    if not json and isinstance(answer, rpc.ReserveResponse | rpc.ConfirmResponse):
        _show_shortfalls(answer.shortfalls)
    raise typer.Exit(exit_codes.OK if name == "OK" else exit_codes.REFUSED)


def _show_shortfalls(shortfalls: Sequence[pb.Shortfall]) -> None:
    if shortfalls:
        rows = [(short.sku, short.requested, short.available) for short in shortfalls]
        output.console().print(output.table(["short of", "wanted#", "could be had#"], rows))


def show_reservation(reservation: pb.Reservation) -> None:
    out = output.console()
    until = f" until {output.at(time_ms(reservation.expire_time))}" if reservation.HasField("expire_time") else ""
    order = f" for order {reservation.order_reference}" if reservation.order_reference else ""
    out.print(f"{reservation.reservation_id}: {state(reservation.state)}{until}", style="bold")
    out.print(f"made {output.at(time_ms(reservation.create_time))} through {reservation.channel}{order}", style="dim")
    rows = [(line.number, line.sku, line.node, line.quantity, line.released, line.shipped, line.open) for line in reservation.lines]
    out.print(output.table(["line#", "SKU", "node", "held#", "released#", "shipped#", "open#"], rows))
    _show_shortfalls(reservation.shortfalls)
