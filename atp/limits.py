"""Every bound of the engine, in one place, with its unit in its name; relations between bounds are asserted at import."""

from typing import Final

# --- requests -------------------------------------------------------------------------------------------------
AVAILABILITY_SKUS_MAX: Final = 500
RESERVATION_LINES_MAX: Final = 1_000
ITEM_LINES_MAX: Final = 1_000  # items that one event registers
EVENT_LINES_MAX: Final = 200  # lines of any other event: each takes its whole window into the ledger entry
SNAPSHOT_PARTS_MAX: Final = 100_000  # of a full snapshot
REPAIR_LINES_MAX: Final = 200  # figures that one repair puts right
ITEM_NAMES_MAX: Final = 20  # GTINs of an item, and as many aliases
ITEM_PACKS_MAX: Final = 20
PACK_UNITS_MAX: Final = 1_000_000  # base units in one pack
RHYTHM_S_MAX: Final = 31 * 24 * 3_600  # how long a source may say that it is silent
TEXT_CHARS_MAX: Final = 200  # a reason, a time zone
QUANTITY_MAX: Final = 1_000_000_000  # units on one line, after a SKU named twice has been added up
HOLD_TTL_MS_MIN: Final = 1_000
HOLD_TTL_MS_DEFAULT: Final = 15 * 60_000
HOLD_TTL_MS_MAX: Final = 31 * 24 * 3_600_000
PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 100

# --- names ----------------------------------------------------------------------------------------------------
NAME_CHARS_MAX: Final = 32  # pool, node, source, channel
ID_CHARS_MAX: Final = 64  # SKU, reservation, order reference, operation key, shipment, event

# --- the store ------------------------------------------------------------------------------------------------
SCRIPT_ROWS_MAX: Final = 2_000  # stock rows one script may touch: lines × listed nodes
REAP_ROWS_MAX: Final = 500  # rows given back by expiry before the verb itself runs
FIGURE_MAX: Final = 2**31 - 1  # magnitude of any stock figure: eight of them and a revision stay within 64 bytes
ROW_BYTES_MAX: Final = 64  # a longer value turns the SKU's listpack into a hash table
LEDGER_ENTRY_BYTES_MAX: Final = 512 * 1024
LEDGER_ROW_BYTES: Final = 112  # what a held row adds to an entry beside its names: figures, facts, line record and framing
LEDGER_ITEM_BYTES: Final = 128  # the same for a registered item, beside its SKU and its details
LEDGER_NAME_BYTES: Final = 20  # … and for each of its aliases, beside the alias and the SKU
EVENT_LINE_BYTES: Final = 363  # the same for a line of an event, beside its names and its window: a row, a comparison, facts, an exception
WINDOW_DELTA_BYTES: Final = 29  # and for each delta of its window
BOOKING_BYTES: Final = 94  # and for each shipment that a snapshot books, beside its names
ENTRY_HEAD_BYTES: Final = 2_048  # and for all that an event writes once: its names, and what is known of it
LEDGER_BACKLOG_MAX: Final = 1_000_000  # entries not yet in JetStream at which new reserves are refused
LEDGER_KEPT_MIN: Final = 10_000  # published entries that stay readable in the store
OPERATIONS_MAX: Final = 64  # results kept with a reservation
OPERATIONS_FOR_ANY: Final = OPERATIONS_MAX - 2  # the last two places belong to confirm and to a whole release
ORDER_RESERVATIONS_MAX: Final = 100
WINDOW_DELTAS_MAX: Final = 64  # latest deltas kept per SKU, node and source; what is older cannot be told apart any more
BOOKINGS_MAX: Final = 500  # shipments that one snapshot books; those beyond wait for the next
SETTLED_LINES_MAX: Final = 250  # lines of reservations that one event ships or marks as picked; what is beyond finds no allocation
SETTLED_LINE_BYTES: Final = 600  # what each of them writes at most
RETURNED_LINE_BYTES: Final = 400  # … and a line of units that were put back before their pick was heard of
WAITING_PER_SKU_MAX: Final = 1_000  # events parked until their SKU is registered
WAITING_READ_MAX: Final = 32  # of them read at once, and given their turn
WAITING_BYTES_MAX: Final = 256 * 1024**2  # of all that are parked in a pool: wrong names must not fill its store

# --- time -----------------------------------------------------------------------------------------------------
RETENTION_MS: Final = 24 * 3_600_000  # how long a record outlives its terminal state
SHIPMENT_RETENTION_MS: Final = 8 * 24 * 3_600_000  # how long a booked shipment is known: longer than JetStream can deliver its event again
ID_AHEAD_MS_MAX: Final = 5 * 60_000  # how far ahead of script time a UUIDv7 may be
AS_OF_AHEAD_MS_MAX: Final = 5 * 60_000  # how far ahead of the clock a snapshot may say it was counted

# --- calls to the store ---------------------------------------------------------------------------------------
CALLS_IN_FLIGHT_MAX: Final = 10_000
CALL_TIMEOUT_MS_DEFAULT: Final = 5_000
REAP_ROUNDS_MAX: Final = 1_000
EXPLAIN_ENTRIES_MAX: Final = LEDGER_KEPT_MIN  # looked through, backwards, for the last changes of a row's terms
EXPLAIN_PAGE_ENTRIES_MAX: Final = 200  # of them read at once …
EXPLAIN_PAGE_BYTES: Final = 128 * 1024  # … fewer where they are so large that a page would have more than about this
EXPLAIN_SEARCHES_MAX: Final = 4  # such searches at a time, of one process in one store; others wait
EXPLAIN_SEARCH_MS_MAX: Final = 1_000  # and half of the call's time at most

# --- checkpoints ----------------------------------------------------------------------------------------------
COPY_FIELDS_MAX: Final = 500  # at which one read ends: a key that is no longer small is read in several
COPY_BYTES_MAX: Final = 256 * 1024  # likewise, and of one piece
CHECKPOINT_MESSAGE_BYTES_MAX: Final = 700 * 1024
LOAD_LEASE_MS: Final = 5_000  # without a sign of life from whoever loads, another may take over
RESTORED_KEPT_MS: Final = 3_600_000  # a record past its retention outlives its being put back by this

# --- drift ----------------------------------------------------------------------------------------------------
DRIFT_EXCUSED_MS_MAX: Final = 48 * 3_600_000  # how old a statement may be whose difference timing still explains
DRIFT_WORST_KEPT: Final = 20  # differences that are told one by one
DRIFT_TOLD_KEPT: Final = 500_000  # SKUs that differ, remembered by one pass so that none is counted twice

# --- NATS -----------------------------------------------------------------------------------------------------
EVENT_BYTES_MAX: Final = 256 * 1024
RELAY_BATCH_ENTRIES_MAX: Final = 500
RELAY_BATCH_BYTES_MAX: Final = 768 * 1024
NATS_PAYLOAD_BYTES_MAX: Final = 1024 * 1024
#: Events of a pool sent to its store at once: a store works off what one connection sends before it turns to the others.
FEED_FETCH_MAX: Final = 128
PLAIN_LINES_PER_CALL_MAX: Final = 64  # of events that go to the store in one call: others wait for them
FEED_ACK_WAIT_MS: Final = 4_000  # as soon as may be: a hot SKU's window moves on meanwhile. A worker says all the time that it is at it
GAPS_KEPT_MAX: Final = 16  # runs of missing sequences per source and node; past it the oldest is forgotten
HEARD_NOTES_PER_CALL: Final = 500  # events whose arrival one call tells the store
HEARD_NOTES_MAX: Final = 2_000  # events whose arrival a worker keeps in mind while the store does not take it

# --- what comes in from other systems -------------------------------------------------------------------------
FEED_BODY_BYTES_MAX: Final = 8 * 1024 * 1024  # a webhook's body, or a file that is one piece
FEED_LINE_BYTES_MAX: Final = 64 * 1024  # a line of a file
FEED_FILE_SNAPSHOTS_MAX: Final = 1_000  # in one file: each takes room for the lines of an event
FEED_FILE_MISTAKES_MAX: Final = 1_000  # told one by one; of more in one file their number
WEBHOOK_SIGNATURE_AGE_S_MAX: Final = 5 * 60
WEBHOOK_CONNECTIONS_MAX: Final = 32  # at once; each may hold a body
WEBHOOK_HEAD_BYTES_MAX: Final = 16 * 1024
WEBHOOK_REQUEST_S_MAX: Final = 10.0  # from the first word of a request, or from the answer before it, to its last
ADJUST_EVENTS_MAX: Final = 1_000  # events in one call
SYNC_ID_CHARS_MAX: Final = ID_CHARS_MAX - len(f".{SNAPSHOT_PARTS_MAX}")  # of a snapshot: each part is an event, whose id ends in its number
INTAKE_AT_ONCE_MAX: Final = 64  # events of one call, body or file that are on their way to JetStream
INTAKE_IN_FLIGHT_MAX: Final = 1_000  # events of one process that are on their way to JetStream
INTAKE_ACK_MS_MAX: Final = 3_000  # how long one is waited for

assert REAP_ROWS_MAX <= SCRIPT_ROWS_MAX
assert RESERVATION_LINES_MAX <= SCRIPT_ROWS_MAX and ITEM_LINES_MAX <= SCRIPT_ROWS_MAX
# An event whose SKUs and node are named in 32 bytes each is never too large; with longer names it may be, once its windows are full.
assert ENTRY_HEAD_BYTES + EVENT_LINES_MAX * (10 * 36 + EVENT_LINE_BYTES + WINDOW_DELTAS_MAX * WINDOW_DELTA_BYTES) < LEDGER_ENTRY_BYTES_MAX
assert EVENT_LINES_MAX <= SETTLED_LINES_MAX  # so that one reservation gives all it has
assert ENTRY_HEAD_BYTES + REPAIR_LINES_MAX * (5 * 4 * ID_CHARS_MAX + EVENT_LINE_BYTES) < LEDGER_ENTRY_BYTES_MAX
assert LEDGER_ENTRY_BYTES_MAX + SETTLED_LINES_MAX * SETTLED_LINE_BYTES + EVENT_LINES_MAX * RETURNED_LINE_BYTES < RELAY_BATCH_BYTES_MAX
assert HOLD_TTL_MS_MIN < HOLD_TTL_MS_DEFAULT < HOLD_TTL_MS_MAX
assert QUANTITY_MAX <= FIGURE_MAX
assert ROW_BYTES_MAX >= 1 + 8 * 5 + 9  # MessagePack: the array's head, eight figures and a revision at their longest
assert EVENT_BYTES_MAX < LEDGER_ENTRY_BYTES_MAX < RELAY_BATCH_BYTES_MAX < NATS_PAYLOAD_BYTES_MAX
assert COPY_BYTES_MAX + EVENT_BYTES_MAX < CHECKPOINT_MESSAGE_BYTES_MAX < NATS_PAYLOAD_BYTES_MAX
assert WAITING_READ_MAX <= FEED_FETCH_MAX and WAITING_READ_MAX * EVENT_BYTES_MAX <= 8 * 1024**2
assert PAGE_SIZE_MAX >= ORDER_RESERVATIONS_MAX
assert WEBHOOK_CONNECTIONS_MAX * FEED_BODY_BYTES_MAX <= 256 * 1024 * 1024
assert INTAKE_AT_ONCE_MAX <= INTAKE_IN_FLIGHT_MAX
assert INTAKE_ACK_MS_MAX < CALL_TIMEOUT_MS_DEFAULT
