"""What linters cannot see: scripts that say what they do, documents that name real things, nothing of anybody's machine in the files."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.core
import typer.main

from atp import limits
from atp.model.status import Status
from cli.main import app

ROOT = Path(__file__).resolve().parents[1]
FUNCTION_LINES_MAX = 50
TOP_FOLDERS = (
    "atp",
    "atp_client",
    "examples",
    "service",
    "consumers",
    "inventory",
    "cli",
    "proto",
    "docs",
    "tests",
    "benchmarks",
    "loadtests",
    ".ci",
)


def committed(*suffixes: str) -> list[Path]:
    """The files of the project, as git knows them: committed or about to be."""
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = (ROOT / name for name in listing.splitlines())
    return sorted(path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""  # not text


def written_code(path: Path) -> Iterator[str]:
    """What a Markdown file shows as code: fenced blocks, line by line, and spans."""
    text = path.read_text()
    for block in re.findall(r"^```.*?$(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


SCRIPTS = sorted((ROOT / "atp/lua").glob("*.lua"))
INCLUDES = sorted((ROOT / "atp/lua/include").glob("*.lua"))
PYTHON = [path for path in committed(".py") if not name(path).startswith("inventory/")]
PROSE = committed(".md")


def test_there_is_something_to_look_at() -> None:
    assert SCRIPTS
    assert INCLUDES
    assert len(PYTHON) > len(TOP_FOLDERS)


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_a_script_opens_with_its_purpose_its_keys_its_arguments_and_what_it_returns(script: Path) -> None:
    form = rf"#!lua(?: flags=[a-z,-]+)?\n--\[\[ {script.stem}: \S.*?\n  KEYS\[1\]  \S.*?\n  ARGV\[1\]  \S.*?\n  Returns  \S.*?\]\]\n"
    assert re.match(form, script.read_text(), re.DOTALL), "the header is not of the form of atp/lua/reserve.lua"


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_a_script_returns_only_answers_that_have_a_name(script: Path) -> None:
    header = script.read_text().partition("]]")[0]
    words = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", header.partition("Returns")[2]))
    unknown = {word for word in words if word not in Status.__members__ and not hasattr(limits, word)}
    assert not unknown


@pytest.mark.parametrize("script", [*SCRIPTS, *INCLUDES], ids=name)
def test_an_include_exists_and_says_what_it_is_for(script: Path) -> None:
    for included in re.findall(r"^--@include (.*)$", script.read_text(), re.MULTILINE):
        for stem in included.split():
            assert (ROOT / f"atp/lua/include/{stem}.lua").is_file(), stem
    if script in INCLUDES:
        assert re.match(rf"-- {script.stem}: \S", script.read_text())


@pytest.mark.parametrize("path", PROSE, ids=name)
def test_every_make_target_that_is_mentioned_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for code in written_code(path):
        for target in re.findall(r"(?:^|[\s&;])make ([a-z-]+)", code):
            assert target in targets, f"make {target}"


@pytest.mark.parametrize("path", PROSE, ids=name)
def test_every_atp_command_and_option_that_is_mentioned_exists(path: Path) -> None:
    for code in written_code(path):
        for line in re.findall(r"(?:^|[\s&;/])atp ([a-z][^|&;#]*)", code):
            unknown = unknown_words(line.split())
            assert not unknown, f"atp {line}: {unknown}"


def unknown_words(words: list[str]) -> list[str]:
    """Of the words after `atp`, the command or the options that do not exist."""
    command = typer.main.get_command(app)
    while isinstance(command, typer.core.TyperGroup):
        if command.invoke_without_command and (not words or words[0].startswith("--")):
            break
        if not words or words[0] not in command.commands:
            return words[:1] or ["(a command is missing)"]
        command, words = command.commands[words[0]], words[1:]
    known = {flag for parameter in command.params for flag in [*parameter.opts, *parameter.secondary_opts]} | {"--help"}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]


@pytest.mark.parametrize("path", [*PROSE, *PYTHON, *SCRIPTS, *INCLUDES, ROOT / "Makefile", ROOT / "pyproject.toml"], ids=name)
def test_every_file_that_is_named_in_a_text_exists(path: Path) -> None:
    named = re.findall(r"`([\w.*/-]+/[\w.*-]*)`", text_of(path))
    for reference in named:
        if reference.split("/")[0] in TOP_FOLDERS:
            assert list(ROOT.glob(reference.rstrip("/"))), reference


@pytest.mark.parametrize("path", PROSE, ids=name)
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", committed(), ids=name)
def test_no_file_knows_the_machine_it_was_written_on(path: Path) -> None:
    text = text_of(path)
    folders = {str(ROOT.parent), str(Path.home())} - {"/", "/tmp", "/root"}
    for folder in folders:
        assert not re.search(rf"(?<![\w.-]){re.escape(folder)}/", text), folder
    assert not re.search(r"(?<![\w.-])/(?:home|Users)/\w+/", text), "somebody's home"
    assert not re.search(r"--(?:extra-)?index-url[ =]|--find-links[ =]|file:/{3}", text), "the address of an index"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "requirements-image.lock"])
def test_a_lock_holds_nothing_but_names_and_versions(lock: str) -> None:
    line_form = re.compile(r"[a-z0-9-]+==[0-9][\w.]*(?: ; [\w ='!\"<>.()]+)?")
    odd = [line for line in (ROOT / lock).read_text().splitlines() if not line_form.fullmatch(line)]
    assert not odd


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_a_suppression_gives_its_reason_on_the_line(path: Path) -> None:
    form = re.compile(r"# (?:noqa(?:: [A-Z0-9, ]+)?|type: ignore(?:\[[\w, -]+\])?|pragma: \w+(?: \w+)?|ruff: noqa.*?)(?P<reason>$|[ (].*$)")
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if found := form.search(line):
            assert len(found["reason"].strip(" #()")) > 5, f"line {number}: {line.strip()}"


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"
