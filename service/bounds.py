"""Bounds of the gRPC face; those of the engine are in atp/limits.py."""

from typing import Final

from atp import limits

AVAILABILITY_ROWS_MAX: Final = 50_000  # lines × nodes of one BatchGetAvailability: an answer of some 2 MiB
PAGE_LINES_MAX: Final = limits.SCRIPT_ROWS_MAX  # lines of reservations on one page, unless one alone has more

REFUSED_PARTS_MAX: Final = 100  # of a snapshot, listed
STREAM_TIMEOUT_S: Final = 600.0  # for a call that streams and says no deadline

REQUEST_BYTES_MAX: Final = 1024 * 1024
RESPONSE_BYTES_MAX: Final = 4 * 1024 * 1024  # what a grpc client takes by default
CALLS_MAX: Final = 2 * limits.CALLS_IN_FLIGHT_MAX  # grpc sheds beyond this; the store refuses by name before

HANDSHAKE_S: Final = 10.0  # from a connection to its first words, TLS included; by itself gRPC waits two minutes

NAMES_MAX: Final = 10  # names listed in the metadata of an error
MESSAGE_NAMES_MAX: Final = 3  # names listed in its sentence
VIOLATIONS_MAX: Final = 20  # field violations listed

TOKEN_CHARS_MAX: Final = 4 * 1024  # gRPC takes some 8 KiB of metadata in all
TOKENS_KEPT_MAX: Final = 4 * 1024  # verified tokens: until they expire, or their keys change
CERTIFICATES_KEPT_MAX: Final = 1024  # names read from certificates
CLOCK_LEEWAY_S: Final = 30.0  # how far the clocks of issuer and service may be apart
KEYS_REREAD_S: Final = 60.0  # a key taken out of its file is believed no longer than this
KEYS_REREAD_S_MIN: Final = 5.0  # between two looks at the file for keys that tokens name
KEYS_BYTES_MAX: Final = 256 * 1024
CERTIFICATE_REREAD_S: Final = 10.0  # between two looks for a renewed certificate

POOLS_SHOWN_MAX: Final = 100  # pools that metrics name
POOL_LOOK_S: Final = 10.0  # between two looks at each of them
POOL_KEPT_S: Final = 60.0  # how long after its last call a pool is still looked at

HEALTH_PROBE_S: Final = 0.5  # between two looks at the store
HEALTH_PROBE_TIMEOUT_S: Final = 1.0
KEEPALIVE_MS_MIN: Final = 5_000  # a client may ask more seldom than so whether we are still there
NOTICE_S: Final = 0.25  # from NOT_SERVING to the stop: who looks goes elsewhere, and has no call that gRPC drops with a bare CANCELLED
DRAIN_S: Final = limits.CALL_TIMEOUT_MS_DEFAULT / 1000 + 1  # how long calls under way may take once the service is asked to stop

assert TOKEN_CHARS_MAX * TOKENS_KEPT_MAX <= 16 * 1024 * 1024
assert KEYS_REREAD_S_MIN < KEYS_REREAD_S
_WANT_BYTES = 4 * limits.ID_CHARS_MAX + 16  # a SKU of four-byte characters, a quantity and framing
assert _WANT_BYTES * limits.RESERVATION_LINES_MAX < REQUEST_BYTES_MAX
assert (4 * limits.ID_CHARS_MAX + 64) * limits.AVAILABILITY_SKUS_MAX + (
    limits.NAME_CHARS_MAX + 12
) * AVAILABILITY_ROWS_MAX < RESPONSE_BYTES_MAX
assert (4 * limits.ID_CHARS_MAX + limits.NAME_CHARS_MAX + 48) * 2 * PAGE_LINES_MAX < RESPONSE_BYTES_MAX
