"""Options that several commands share, so that one word means one thing everywhere."""

from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_POOL: Final = "main"
DEFAULT_CHANNEL: Final = "web"
FILE_VARIABLE: Final = "ATP_CONFIG_FILE"

PoolOption = Annotated[str, typer.Option("--pool", envvar="ATP_POOL", help="The stock pool.")]
ChannelOption = Annotated[str, typer.Option("--channel", help="The channel that is sold through.")]
NodesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--node", help="A node to take from; repeat it in order of preference. Without it: the channel's own.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for scripts instead of tables.")]
KeyOption = Annotated[
    str,
    typer.Option("--key", help="The key that makes a second call harmless; without it every call is a new one.", show_default=False),
]

OriginOption = Annotated[
    str,
    typer.Option("--from", metavar="latest|start|REVISION", help="The checkpoint to begin with: the latest, none, or one by its revision."),
]

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", envvar=FILE_VARIABLE, help="The configuration file (docs/configuration.md).", show_default=False),
]
StoreUrlOption = Annotated[
    str | None, typer.Option("--store-url", help="The Redis or Valkey server, redis://host:port.", show_default=False)
]
NatsUrlOption = Annotated[str | None, typer.Option("--nats-url", help="The NATS server, nats://host:port.", show_default=False)]
