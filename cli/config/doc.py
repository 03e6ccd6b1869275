"""Makes docs/configuration.md: `python -m cli.config.doc > docs/configuration.md`."""

import sys
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from cli.config.load import PREFIX
from cli.config.sections import SECTIONS, ClientSection, FeedSection, Section

_OPENING: Final = """\
# Configuration

Everything has a default that is right on one machine. Settings come from, the later the stronger:

1. what `atp up` wrote into `.atp`, if it runs in this folder: its servers' addresses;
2. a TOML file: `--config FILE`, or `ATP_CONFIG_FILE`. Relative paths in it are taken from its folder;
3. the environment: `ATP_`, the table, `_`, the name, all in capitals, as in `ATP_STORE_URL`. An empty variable counts as not set;
4. the options of a command, where it has them.

A process that finds mistakes lists all of them and does not start (exit code 2); `atp config` lists them too, or shows what is in force and
where each setting comes from. Bounds of the engine are no settings: they are in `atp/limits.py`.

```toml
[store]
url = "rediss://store.internal:6379/0"
username = "atp-service"
ca_file = "tls/ca.pem" # the password is in ATP_STORE_PASSWORD

[nats]
url = "tls://nats.internal:4222"
credentials_file = "nats/consumers.creds"

[service]
listen = "0.0.0.0:8443"
certificate_file = "tls/service.pem"
key_file = "tls/service.key"

[token]
issuer = "https://login.example.com/"
audience = "atp"
jwks_file = "jwks.json"

[metrics]
listen = "0.0.0.0:9464"
```
"""
_POOLS: Final = """
## Pools on several stores

A pool is whole in one store. Those named here are in a store of their own choice, all others in `[store]`. Every process of an installation
must be told the same: a pool that two stores are taken for is written to in both, and only one of them reaches the ledger.

```toml
[stores.north] # takes what [store] takes
url = "redis://north.internal:6379/0"

[pools]
de = "north"
se = "north"
```
"""
_CLIENTS: Final = """
```toml
[clients."checkout.example.com"]
scopes = ["read", "reserve"]
pools = ["de"]
```
"""
_FEEDS: Final = """
```toml
[feeds.erp]
adapter = "s4hana"
pool = "de"
source = "erp"
secret_file = "secrets/erp"
time_zone = "Europe/Berlin"

[feeds.erp.nodes]
"1000/0001" = "DC1"
"1000/0009" = "" # scrap: no concern of ours
```
"""


def document() -> str:
    """The whole page."""
    parts = [_OPENING]
    for name, section in SECTIONS.items():
        parts.append(_table(section, f"[{name}]", f"{PREFIX}{name.upper()}_"))
        if name == "store":
            parts.append(_POOLS)
        if name == "files":
            parts += [_table(FeedSection, "[feeds.NAME]", ""), _FEEDS]
        if name == "token":
            parts += [_table(ClientSection, "[clients.NAME]", ""), _CLIENTS]
    return "".join(parts)


def _table(section: type[Section], name: str, prefix: str) -> str:
    heads = ["setting", "environment", "default", ""] if prefix else ["setting", "default", ""]
    rows = [" | ".join(heads), "|".join(["---"] * len(heads)), *_rows(section, prefix)]
    lines = "\n".join(f"| {row} |" if "---" not in row else f"|{row}|" for row in rows)
    return f"\n## {section.title}: `{name}`\n\n{' '.join((section.__doc__ or '').split())}\n\n{lines}\n"


def _rows(section: type[Section], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        variable = [f"`{prefix}{name.upper()}`"] if prefix else []
        sentence = " ".join((field.description or "").split())
        yield " | ".join([f"`{name}`", *variable, _default(field.default), sentence])


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "must be set"
    value = value.get_secret_value() if isinstance(value, SecretStr) else value.value if isinstance(value, Enum) else value
    return "" if value in {None, "", frozenset()} else f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.stdout.write(document())
