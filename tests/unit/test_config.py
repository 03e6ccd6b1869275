"""The configuration: layers, mistakes all at once, and what each part is handed."""

import os
from pathlib import Path

import pytest

from atp.model.verbs import SourceConfig
from cli import config
from cli.addresses import DATA_DIR, Run, write_run
from cli.config import ConfigurationError, doc
from cli.config.sections import FAMILIES, SECTIONS
from cli.provisioning import warnings
from consumers.feeds import ADAPTERS
from service.call import Scope

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, text: str) -> dict[str, str]:
    """The environment that names a file with this text."""
    path = folder / "atp.toml"
    path.write_text(text)
    return {"ATP_CONFIG_FILE": str(path)}


def mistakes(environment: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        config.load(environment)
    return raised.value.mistakes


def test_with_nothing_said_everything_has_its_default() -> None:
    found = config.load({})
    assert config.service(found).listen == "127.0.0.1:0"
    assert config.service(found).token is None
    assert config.log(found).format == "people"


def test_the_later_layer_wins(folder: Path) -> None:
    DATA_DIR.mkdir()
    write_run(DATA_DIR, Run("redis://up:1", "nats://up:2", "up:3", {"up": os.getpid()}))
    assert config.store_of(config.load({}), "main").url == "redis://up:1"
    environment = written(folder, '[store]\nurl = "redis://file:1"')
    assert config.store_of(config.load(environment), "main").url == "redis://file:1"
    environment["ATP_STORE_URL"] = "redis://environment:1"
    assert config.store_of(config.load(environment), "main").url == "redis://environment:1"
    assert config.store_of(config.load(environment, store_url="redis://option:1"), "main").url == "redis://option:1"


def test_an_empty_variable_counts_as_not_set(folder: Path) -> None:
    environment = written(folder, '[nats]\nurl = "nats://file:1"')
    assert config.nats(config.load({**environment, "ATP_NATS_URL": ""})).url == "nats://file:1"


def test_a_pool_is_in_the_store_that_is_named_for_it(folder: Path) -> None:
    found = config.load(written(folder, '[store]\nurl="redis://a:1"\n[stores.north]\nurl="redis://b:2"\n[pools]\nde="north"'))
    assert [config.store_of(found, pool).url for pool in ("de", "fr")] == ["redis://b:2", "redis://a:1"]
    stores = config.stores(found)
    assert stores.of("de") is not stores.of("fr")
    assert len(list(stores)) == 2


def test_files_are_found_from_the_folder_of_the_file_that_names_them(folder: Path) -> None:
    (folder / "etc").mkdir()
    for name in ("ca.pem", "key.pem"):
        (folder / "etc" / name).touch()
    environment = written(folder / "etc", '[store]\nca_file="ca.pem"\n[token]\nissuer="i"\naudience="a"\nkey_file="key.pem"')
    found = config.load({**environment, "ATP_STORE_URL": "rediss://a:1"})
    assert config.store_of(found, "").ca_file == folder / "etc" / "ca.pem"
    assert (token := config.service(found).token) is not None
    assert token.key_file == folder / "etc" / "key.pem"


def test_clients_are_handed_on_with_their_scopes_and_pools(folder: Path) -> None:
    for name in ("a.pem", "a.key", "ca.pem"):
        (folder / name).touch()
    service = '[service]\ncertificate_file="a.pem"\nkey_file="a.key"\nclient_ca_file="ca.pem"\nlisten="0.0.0.0:1"'
    found = config.load(written(folder, f'{service}\n[clients."oms.example"]\nscopes=["read","reserve"]\npools=["de"]'))
    client = config.service(found).clients["oms.example"]
    assert (client.scopes, client.pools) == ({Scope.READ, Scope.RESERVE}, {"de"})


def test_all_mistakes_are_told_at_once_each_with_where_it_was_made(folder: Path) -> None:
    environment = written(
        folder,
        """
        [store]
        url = "http://store"
        passwort = "x"
        [nats]
        credentials_file = "nobody.creds"
        [stores.north]
        username = "u"
        [pools]
        de = "south"
        [token]
        issuer = "i"
        [clients.oms]
        scopes = ["fly"]
        [lager]
        """,
    )
    file = environment["ATP_CONFIG_FILE"]
    found = mistakes({**environment, "ATP_SERVICE_LISTEN": "nowhere", "ATP_LOG_LEVL": "info", "ATP_LOG_FORMAT": "xml"})
    assert found == [
        f"[lager] ({file}): there is no such table; there are {', '.join([*SECTIONS, *FAMILIES, 'pools'])}",
        "ATP_LOG_LEVL: there is no such setting; did you mean ATP_LOG_LEVEL?",
        f"store.url ({file}): a store address reads redis://host:port/database, rediss:// for TLS, or unix:///path, not 'http://store'",
        f"store.passwort ({file}): there is no such setting; did you mean password?",
        f"nats.credentials_file ({file}): {folder / 'nobody.creds'} is no file",
        "service.listen (ATP_SERVICE_LISTEN): an address to listen on reads host:port, with a port from 0 to 65535, not 'nowhere'",
        "log.format (ATP_LOG_FORMAT): input should be 'people' or 'json'",
        f"clients.oms.scopes ({file}): input should be 'read', 'reserve', 'feed' or 'admin'",
        "stores.north.url: is missing",
        "pools.de: there is no table [stores.south]",
        "token.audience: is missing",
        "token: one of key_file and jwks_file says which signatures are believed",
        "clients: their certificates need an authority: set service.client_ca_file",
    ]


def test_feeds_are_handed_on_with_the_ways_that_their_messages_come(folder: Path) -> None:
    (folder / "drop").mkdir()
    (folder / "key").write_text("geheim\n")
    ways = '[webhooks]\nlisten="127.0.0.1:8090"\n[files]\nfolder="drop"\n'
    feed = (
        '[feeds.erp]\nadapter="s4hana"\npool="de"\nsource="erp"\nsecret_file="key"\ntime_zone="Europe/Berlin"\nnodes={"1000"="DC1","9"=""}'
    )
    found = config.ways_in(config.load(written(folder, ways + feed)))
    assert (found.listen, found.folder, found.configured) == (("127.0.0.1", 8090), folder / "drop", {"webhooks", "files"})
    (erp,) = found.feeds
    assert (erp.name, erp.adapter, erp.pool, erp.source, erp.secret) == ("erp", "s4hana", "de", "erp", "geheim")
    assert (erp.nodes, erp.time_zone) == ({"1000": "DC1", "9": ""}, "Europe/Berlin")
    assert not config.ways_in(config.load({})).configured


def test_all_mistakes_about_feeds_are_told_at_once(folder: Path) -> None:
    environment = written(
        folder,
        """
        [webhooks]
        listen = "here"
        [files]
        folder = "nowhere"
        [feeds."a b"]
        adapter = "fax"
        pool = "p q"
        nodes = { "1" = "D C" }
        time_zone = "Mars"
        """,
    )
    file = environment["ATP_CONFIG_FILE"]
    assert mistakes(environment) == [
        f"webhooks.listen ({file}): an address to listen on reads host:port, with a port from 0 to 65535, not 'here'",
        f"files.folder ({file}): {folder / 'nowhere'} is no folder",
        f"feeds.a b.adapter ({file}): must be one of {', '.join(ADAPTERS)}, is 'fax'",
        f"feeds.a b.pool ({file}): 'p q' must be 1 to 32 of A-Z a-z 0-9 _ -",
        "feeds.a b.source: is missing",
        f"feeds.a b.nodes ({file}): 'D C' must be 1 to 32 of A-Z a-z 0-9 _ -",
        f"feeds.a b.time_zone ({file}): must be a time zone such as Europe/Paris, is 'Mars'",
        "feeds.a b: must be 1 to 32 of A-Z a-z 0-9 _ -",
        "webhooks.listen: no feed has a secret, so no webhook could be taken: set secret or secret_file in [feeds.NAME]",
    ]
    twice = '[feeds.a]\nadapter="csv"\npool="p"\nsource="s"\nnodes={}\nsecret="x"\nsecret_file="atp.toml"'
    assert mistakes(written(folder, twice)) == ["feeds.a: one of secret and secret_file is enough"]
    assert mistakes(written(folder, f'[files]\nfolder="{folder}"')) == [
        "files.folder: there is no feed whose files they could be: set [feeds.NAME]"
    ]


@pytest.mark.parametrize("text", ["[store", "store = 1", "[stores]\nnorth = 1"])
def test_a_file_of_another_form_is_one_mistake(folder: Path, text: str) -> None:
    assert len(mistakes(written(folder, text))) == 1


def test_a_file_that_is_not_there_is_a_mistake() -> None:
    assert mistakes({"ATP_CONFIG_FILE": "nowhere.toml"}) == ["nowhere.toml cannot be read: No such file or directory"]


def test_nobody_listens_to_the_world_without_asking_who_calls() -> None:
    assert "nobody is asked who they are" in mistakes({"ATP_SERVICE_LISTEN": "0.0.0.0:8443"})[0]


def test_a_password_is_never_shown() -> None:
    secret = "geheim"
    environment = {"ATP_STORE_URL": f"redis://u:{secret}@a:1", "ATP_NATS_PASSWORD": secret, "ATP_NATS_URL": f"bogus://u:{secret}@b"}
    assert all(secret not in mistake for mistake in mistakes(environment))
    environment["ATP_NATS_URL"] = f"nats://u:{secret}@b:1"
    environment |= written(Path.cwd(), f'[feeds.a]\nadapter="csv"\npool="p"\nsource="s"\nnodes={{}}\nsecret="{secret}"')
    assert all(secret not in value for _, _, value, _ in config.shown(config.load(environment)))


def test_the_page_of_the_documentation_is_what_the_code_says() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == doc.document(), "python -m cli.config.doc > docs/configuration.md"


def test_every_setting_has_its_sentence() -> None:
    assert [(table, name) for table, kind in SECTIONS.items() for name, field in kind.model_fields.items() if not field.description] == []


def test_a_feed_whose_source_does_not_fit_its_format_is_told_with_what_to_correct(folder: Path) -> None:
    feeds = {
        "shop": ("shopify", "main", "shop"),
        "till": ("pos", "main", "shop"),
        "books": ("csv", "main", "sap"),
        "far": ("wms", "de", "x"),
    }
    tables = [f'[feeds.{name}]\nadapter = "{one[0]}"\npool = "{one[1]}"\nsource = "{one[2]}"\nnodes = {{}}' for name, one in feeds.items()]
    found = config.load(written(folder, "\n".join(tables)))
    assert list(warnings(found, "main", [SourceConfig("shop", registers_items=False, order="id")])) == [
        'feeds.shop: for the adapter shopify source shop needs order = "time", and has "id": correct it and provision again',
        'feeds.shop: for the adapter shopify source shop needs snapshots = "net", and has "gross": correct it and provision again',
        "feeds.books: source sap is not in this file: add it, or correct feeds.books.source",
    ]
