"""What the users of `deploy/redis/users.acl` may do at the store: what the scripts of their part need, to the last command."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.retry import Retry

from atp.store import scripts
from cli.embedded import StoreServer
from tests.e2e.secured import NOBODY, acl, password, secured_store

#: The scripts that each part runs, and the commands that it sends itself.
PARTS: dict[str, tuple[str, str]] = {
    "atp-service": ("reserve confirm release extend fulfil expire availability explain reservations", "XRANGE"),
    "atp-consumers": (
        (
            "adjust count complete ship pick transfer cancel note register setitemstates locate setlocationstate park unpark expire "
            "reservations open close published replay contents leftout heard copy load"
        ),
        "EXISTS HGET HKEYS SCAN XRANGE",
    ),
    "atp-admin": ("provision contents expire reservations open close replay unpark copy load index repair", "EXISTS HGET SCAN XRANGE"),
}
EVERYBODY = "EVALSHA SCRIPT|LOAD INFO HMGET"
REPLAYED = "HSET HDEL PERSIST PEXPIREAT ZADD ZREM DEL"  # the commands of after-images
HARM = (
    "FLUSHALL, FLUSHDB, SWAPDB 0 1, KEYS *, RANDOMKEY, SHUTDOWN NOSAVE, SAVE, BGREWRITEAOF, MONITOR, CONFIG GET *, "
    "CONFIG SET appendonly no, ACL LIST, ACL SETUSER x, ACL LOAD, CLIENT LIST, CLIENT KILL 1, SCRIPT FLUSH, SCRIPT KILL, FUNCTION FLUSH, "
    "REPLICAOF 127.0.0.1 1, CLUSTER INFO, MODULE LIST, EVAL return 0, SELECT 1, GET {p}:x, SET {p}:x 1, UNLINK {p}:x, RENAME {p}:x {p}:y, "
    "COPY {p}:x {p}:y, DUMP {p}:x, RESTORE {p}:x 0 x, MIGRATE h 1 {p}:x 0 1, SUBSCRIBE x, "
    "PUBLISH x 1, OBJECT ENCODING {p}:x, XDEL {p}:x 1-0"
)


@pytest.fixture(scope="module", params=["valkey", "redis"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    if request.param == "redis":
        request.getfixturevalue("redis7")  # skips where there is none
    with secured_store(tmp_path_factory.mktemp("store"), request.param) as server:
        yield server


def connected(store: StoreServer, user: str | None = None) -> redis.Redis:
    """As a user, or not logged in; a refusal is not tried again."""
    known = {"username": user, "password": password(user)} if user else {}
    return redis.Redis(port=store.port, **known, protocol=2, driver_info=None, retry=Retry(NoBackoff(), 0))


def denied(connection: redis.Redis, command: str) -> bool:
    """Whether the user lacks the right to a command or its key; any other answer is another matter."""
    try:
        connection.execute_command(*command.split())
    except NoPermissionError:
        return True
    except ResponseError:
        return False
    return False


def commands_of(names: str) -> set[str]:
    """The commands that scripts send, comments left out."""
    found: set[str] = set()
    made = scripts.load()
    for name in names.split():
        text = re.sub(r"--\[\[.*?\]\]|--[^\n]*", "", made[name].text, flags=re.DOTALL)
        found |= set(re.findall(r"\b(?:call|write)\(\s*'([A-Z]+)'", text))
        if "unpack(image)" in text:
            found |= set(REPLAYED.split())
    return found


@pytest.mark.parametrize("user", PARTS)
def test_a_user_has_the_commands_that_its_scripts_send_and_no_other(user: str) -> None:
    named, own = PARTS[user]
    needed = commands_of(named) | set(own.split()) | set(EVERYBODY.split())
    rights = acl()[user]
    assert rights[: rights.index("-@all") + 1] == ["on", "resetchannels", NOBODY, "~{*}:*", "-@all"]
    assert set(rights[rights.index("-@all") + 1 :]) == {f"+{command.lower()}" for command in needed}


def test_every_script_and_every_image_is_in_the_lists_above() -> None:
    assert {name for named, _ in PARTS.values() for name in named.split()} == set(scripts.names())
    images = {command for name in scripts.names() for command in re.findall(r"\bwrite\('([A-Z]+)'", scripts.load()[name].text)}
    assert images | {"DEL"} == set(REPLAYED.split())


def test_only_the_operator_has_all_and_nobody_has_a_password_yet() -> None:
    assert set(acl()) == {"default", *PARTS}
    assert acl()["default"] == ["on", NOBODY, "~*", "&*", "+@all"]


@pytest.mark.parametrize("user", PARTS)
def test_no_user_can_do_harm_or_leave_the_keys_of_pools(store: StoreServer, user: str) -> None:
    with connected(store, user) as connection:
        assert connection.execute_command("HMGET", "{p}:pool", "rev") == [None]
        outside = ("HMGET pool rev", "HSET p}:pool rev 1", "HGETALL {p}x")
        assert [command for command in (*HARM.split(", "), *outside) if not denied(connection, command)] == []


@pytest.mark.parametrize("user", PARTS)
def test_only_the_consumers_trim_a_ledger(store: StoreServer, user: str) -> None:
    with connected(store, user) as connection:
        assert denied(connection, "XTRIM {p}:ledger MAXLEN 0") == (user != "atp-consumers")


@pytest.mark.parametrize("user", ["default", *PARTS])
def test_nobody_comes_in_without_the_password(store: StoreServer, user: str) -> None:
    with connected(store) as connection:
        for wrong in ("", "0" * 64, password("another")):
            with pytest.raises(AuthenticationError):
                connection.execute_command("AUTH", user, wrong)


def test_a_default_user_that_is_switched_off_keeps_the_rights_to_load_the_file(store: StoreServer, tmp_path: Path) -> None:
    with secured_store(tmp_path, store.kind, appendonly="yes", appendfsync="always") as closed:
        users = tmp_path / "users.acl"
        users.write_text(users.read_text().replace("user default on ", "user default off "))
        closed.restart()
        with connected(closed, "atp-service") as connection:
            # Two commands: they stand in the file as one transaction.
            digest = connection.script_load("redis.call('HSET', KEYS[1], 'a', 1) redis.call('HSET', KEYS[1], 'b', 2)")
            connection.evalsha(digest, 1, "{p}:x")
        closed.restart()
        with connected(closed, "atp-service") as connection:
            assert connection.hgetall("{p}:x") == {b"a": b"1", b"b": b"2"}
