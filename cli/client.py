"""The gRPC service as the commands see it: a client for one command, and errors as sentences with what to do next."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from atp_client import AtpClient, AtpError, InvalidRequestError
from cli import exit_codes
from cli.exit_codes import CommandError
from inventory.availability.v1 import reservation_pb2 as pb

TIMEOUT_S: Final = 10.0
_ENVIRONMENT: Final = ("ATP_TOKEN", "ATP_TOKEN_FILE", "ATP_CA_FILE", "ATP_CERTIFICATE_FILE", "ATP_KEY_FILE")
_NAMES: Final = re.compile(r" \(.*\)\. ", re.DOTALL)
#: The option of a command that makes a call the same when it is sent again, by the client's argument.
_KEY_OPTIONS: Final = {"reservation_id": "--id", "operation_key": "--key", "shipment_id": "--shipment"}


@contextlib.contextmanager
def connect(address: str, pool: str, channel: str = "") -> Iterator[AtpClient]:
    """The service at `host:port`, for the calls of one command; a person decides on retries. What fails raises CommandError.

    The environment says how to reach a service that is secured: ATP_TOKEN, or ATP_TOKEN_FILE for a file with one; ATP_CA_FILE,
    ATP_CERTIFICATE_FILE and ATP_KEY_FILE.
    """
    try:
        client = AtpClient(
            address,
            pool=pool,
            channel=channel,
            timeout_s=TIMEOUT_S,
            retry=False,
            token=_token(),
            ca_file=os.environ.get("ATP_CA_FILE") or None,
            certificate_file=os.environ.get("ATP_CERTIFICATE_FILE") or None,
            key_file=os.environ.get("ATP_KEY_FILE") or None,
        )
    except (ValueError, OSError) as error:
        told_by = ["--address", *(_ENVIRONMENT if any(map(os.environ.get, _ENVIRONMENT)) else ())]
        raise CommandError(f"{error} ({', '.join(told_by)})", exit_codes.USAGE) from error
    with client:
        try:
            yield client
        except AtpError as error:
            raise _for_people(error, address) from error


def _token() -> str | None:
    file = os.environ.get("ATP_TOKEN_FILE")
    return os.environ.get("ATP_TOKEN") or (Path(file).read_text().strip() if file else None)


def _for_people(error: AtpError, address: str) -> CommandError:
    """The service's own sentence, which names the reason and what to do next, and each field that was wrong."""
    code = exit_codes.of_status(error.code) or exit_codes.UNREACHABLE
    message = error.message
    if not error.reason:  # not an answer of the service: the call did not get there, or its answer not back
        message = f"{error.code.name}: {error.message}"
        if error.code is grpc.StatusCode.UNAVAILABLE:
            tls = "look at ATP_CA_FILE" if os.environ.get("ATP_CA_FILE") else "if it speaks TLS, say ATP_CA_FILE"
            message = f"no service answers at {address}: start it with `atp up`, or say --address; {tls}. ({error.message})"
    elif isinstance(error, InvalidRequestError) and error.violations:
        # Where each field has a line of its own, the names in the sentence are too many.
        lines = [_NAMES.sub(". ", message, count=1), *(f"  {wrong.field} {wrong.description}" for wrong in error.violations)]
        message = "\n".join(lines)
    if error.outcome_unknown:
        same = " ".join(f"{_KEY_OPTIONS[name]} {key}" for name, key in error.same_call.items())
        message += f"\nIt may have been done or not: the same command again with {same} is harmless, and tells."
    return CommandError(message, code)


def as_json(message: Message) -> str:
    """An answer as the contract's JSON: its field names, every field, numbers of 64 bits as text."""
    return json_format.MessageToJson(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def outcome(value: pb.Outcome.ValueType) -> str:
    """The engine's own name."""
    return pb.Outcome.Name(value).removeprefix("OUTCOME_")


def state(value: pb.Reservation.State.ValueType) -> str:
    return pb.Reservation.State.Name(value).removeprefix("STATE_")


def time_ms(time: Timestamp) -> int:
    return time.ToMilliseconds()
