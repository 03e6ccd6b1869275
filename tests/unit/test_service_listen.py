"""Where the service may listen."""

from pathlib import Path

import pytest

from service.call import Scope
from service.listen import ListenError, address
from service.settings import ClientSettings, ServerTls, ServiceSettings, TokenSettings

TOKEN = TokenSettings("https://login.example.com/", "atp", key_file=Path("key.pem"))
TLS = ServerTls(Path("a.pem"), Path("a.key"))
CLIENTS = {"checkout": ClientSettings(frozenset({Scope.READ}))}
BEYOND = ["0.0.0.0:1", "[::]:1", ":1", "*:1", "192.168.1.7:1", "example.com:1", "localhost.example.com:1", "::1:1"]


@pytest.mark.parametrize(
    ("listen", "taken"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("127.8.9.10:0", "127.8.9.10:0"),
        ("localhost:50051", "127.0.0.1:50051"),
        ("[::1]:50051", "[::1]:50051"),
    ],
)
def test_this_machine_is_fine(listen: str, taken: str) -> None:
    assert address(ServiceSettings(listen)) == taken


@pytest.mark.parametrize("listen", BEYOND)
def test_beyond_it_callers_must_be_known(listen: str) -> None:
    with pytest.raises(ListenError, match="nobody is asked who they are"):
        address(ServiceSettings(listen, TLS))


@pytest.mark.parametrize("listen", BEYOND)
def test_beyond_it_tokens_do_not_travel_in_the_clear(listen: str) -> None:
    with pytest.raises(ListenError, match="in the clear"):
        address(ServiceSettings(listen, token=TOKEN))


@pytest.mark.parametrize(
    "settings",
    [
        ServiceSettings("0.0.0.0:1", TLS, TOKEN),
        ServiceSettings("0.0.0.0:1", TLS, clients=CLIENTS),
        ServiceSettings("0.0.0.0:1", token=TOKEN, plaintext=True),
    ],
)
def test_who_knows_its_callers_may_listen_anywhere(settings: ServiceSettings) -> None:
    assert address(settings) == "0.0.0.0:1"


@pytest.mark.parametrize("listen", ["", "localhost", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:²"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ListenError, match="host:port"):
        address(ServiceSettings(listen))
