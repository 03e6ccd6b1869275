"""Where the service may listen."""

import pytest

from service.listen import ListenError, loopback_address


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("127.8.9.10:0", "127.8.9.10:0"),
        ("localhost:50051", "127.0.0.1:50051"),
        ("[::1]:50051", "[::1]:50051"),
    ],
)
def test_this_machine_is_fine(listen: str, address: str) -> None:
    assert loopback_address(listen) == address


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:1", "[::]:1", ":1", "*:1", "192.168.1.7:1", "example.com:1", "localhost.example.com:1", "::1:1"]
)
def test_anything_else_is_refused_and_told_why(listen: str) -> None:
    with pytest.raises(ListenError, match="no authentication yet"):
        loopback_address(listen)


@pytest.mark.parametrize("listen", ["", "localhost", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:²"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ListenError, match="host:port"):
        loopback_address(listen)
