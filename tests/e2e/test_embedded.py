"""The embedded servers are real: they survive a crash with what they acknowledged, keep their port, and leave nothing behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nats
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cli import embedded, processes
from cli.embedded import NatsServer, ServerError, StoreServer


def client(server: StoreServer) -> redis.Redis:
    return redis.Redis(host=embedded.HOST, port=server.port, protocol=2, decode_responses=True)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def test_each_store_answers_with_its_own_pid_and_listens_on_loopback_only(store_server: StoreServer) -> None:
    info = client(store_server).info("server")
    assert info["process_id"] == store_server.pid
    assert client(store_server).config_get("bind")["bind"] == "127.0.0.1"


def test_the_store_is_durable_unless_told_otherwise(tmp_path: Path) -> None:
    with StoreServer(tmp_path) as server:
        settings = client(server).config_get("*")
    wanted = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}
    assert {name: settings[name] for name in wanted} == wanted


def test_the_store_comes_back_from_a_crash_on_its_port_with_what_it_acknowledged(tmp_path: Path) -> None:
    with StoreServer(tmp_path / "it's a folder") as server:
        client(server).set("kept", "yes")
        port, pid = server.port, server.pid
        server.kill()
        assert not alive(pid)
        server.start()
        assert (server.port, client(server).get("kept")) == (port, "yes")
        assert server.pid != pid
        server.restart()
        assert (server.port, client(server).get("kept")) == (port, "yes")


async def publish_and_count(server: NatsServer, *, make: bool) -> int:
    connection = await nats.connect(server.url)
    try:
        stream = connection.jetstream()
        if make:
            await stream.add_stream(name="kept", subjects=["kept.>"])
        await stream.publish("kept.one", b"yes")
        return int((await stream.stream_info("kept")).state.messages)
    finally:
        await connection.close()


def test_jetstream_comes_back_from_a_crash_on_its_port_with_what_it_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    with NatsServer(folder) as server:
        assert "sync_interval: always" in (folder / "nats.conf").read_text()
        assert asyncio.run(publish_and_count(server, make=True)) == 1
        port = server.port
        server.kill()
        server.start()
        assert server.port == port
        assert asyncio.run(publish_and_count(server, make=False)) == 2


@pytest.mark.parametrize("kind", [StoreServer, NatsServer])
def test_a_server_whose_port_is_taken_says_so_and_leaves_nothing_running(kind: type[StoreServer | NatsServer], tmp_path: Path) -> None:
    with kind(tmp_path / "first") as first:
        second = kind(tmp_path / "second", port=first.port)
        with pytest.raises(embedded.PortTakenError, match=r"already in use|answered by"):
            second.start()
        assert first.running
        assert not second.running


@pytest.mark.parametrize("kind", [StoreServer, NatsServer])
def test_another_server_that_answers_at_the_port_is_not_taken_for_ours(
    kind: type[StoreServer | NatsServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kind(tmp_path / "stale") as stale:
        monkeypatch.setattr(kind, "_command", lambda _: ["/bin/sleep", "60"])  # it lives, but it is not the one that answers
        with pytest.raises(embedded.PortTakenError, match="is answered by"):
            kind(tmp_path / "ours", port=stale.port).start()


def test_a_server_that_picks_its_port_tries_another_when_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((embedded.HOST, 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], embedded.free_port()])
        monkeypatch.setattr(embedded, "free_port", lambda: next(ports))
        with StoreServer(tmp_path) as server:
            assert server.port != taken.getsockname()[1]


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="no-such-setting"):
        StoreServer(tmp_path, options={"no-such-setting": "1"}).start()


def test_a_program_that_is_nowhere_is_named_with_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerError, match="redis-server"):
        embedded.store_binary("redis")


def test_a_frozen_server_is_not_ended_but_does_not_answer(tmp_path: Path) -> None:
    with StoreServer(tmp_path) as server:
        server.pause()
        impatient = redis.Redis(host=embedded.HOST, port=server.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0))
        with pytest.raises(redis.TimeoutError):
            impatient.ping()
        server.resume()
        assert client(server).ping()


PARENT = """
import sys, time
from pathlib import Path
from cli.embedded import NatsServer, StoreServer
folder = Path(sys.argv[1])
print(StoreServer(folder / "store").start().pid, NatsServer(folder / "nats").start().pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_servers_die_with_a_parent_that_is_killed_and_ignore_the_terminals_interrupt(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        assert all(os.getpgid(pid) == pid for pid in pids), "a group of its own: Ctrl-C does not reach it"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        for pid in pids:
            wait_until_gone(pid)


def test_a_process_that_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    process = processes.spawn([sys.executable, "-c", deaf], tmp_path / "deaf.log")
    while "deaf" not in processes.log_tail(tmp_path / "deaf.log"):
        time.sleep(0.01)
    assert not processes.stop(process, grace_s=0.2)
    assert process.returncode == -signal.SIGKILL
