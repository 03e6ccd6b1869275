"""Generates the package `inventory` from the contract; with --check says whether the committed code is current, and changes nothing."""  # noqa: INP001 (a script)

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

SOURCES = Path(__file__).parent
TARGET = SOURCES.parent / "inventory"
WELL_KNOWN_TYPES = Path(grpc_tools.__file__).parent / "_proto"
PLUGINS = Path(sys.executable).parent


def run_protoc(sources: list[Path], outputs: list[str]) -> None:
    plugins = [f"--plugin=protoc-gen-{name}={PLUGINS / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")]
    if protoc.main(["protoc", f"-I{SOURCES}", f"-I{WELL_KNOWN_TYPES}", *plugins, *outputs, *map(str, sources)]) != 0:
        sys.exit("protoc failed")


def generate(folder: Path) -> None:
    """Writes the package into `folder`: messages, stubs, and their types with the contract's comments."""
    sources = sorted(SOURCES.rglob("*.proto"))
    services = [path for path in sources if path.stem.endswith("_service")]
    run_protoc(sources, [f"--python_out={folder}", f"--mypy_out=quiet:{folder}"])
    run_protoc(services, [f"--grpc_python_out={folder}", f"--mypy_grpc_out=quiet:{folder}"])
    package = folder / TARGET.name
    for inner in (package, *(path for path in package.rglob("*") if path.is_dir())):
        (inner / "__init__.py").write_text('"""Generated from the contract in proto/ by `make proto`; never edited."""\n')
    (package / "py.typed").touch()


def files(package: Path) -> set[Path]:
    return {path.relative_to(package) for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def differences(fresh: Path, committed: Path) -> list[Path]:
    """Files that one of the two packages lacks, or that are not the same in both."""
    both = files(fresh) & files(committed)
    _, different, unreadable = filecmp.cmpfiles(fresh, committed, [str(path) for path in both], shallow=False)
    return sorted((files(fresh) ^ files(committed)) | {Path(path) for path in different + unreadable})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if the committed code is not current")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as temporary:
        generate(Path(temporary))
        fresh = Path(temporary) / TARGET.name
        stale = differences(fresh, TARGET)
        if check:
            sys.exit(f"not current, run `make proto`: {', '.join(map(str, stale))}" if stale else 0)
        for path in stale:
            target = TARGET / path
            if (fresh / path).exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((fresh / path).read_bytes())
            else:
                target.unlink()
            print(target.relative_to(SOURCES.parent))


if __name__ == "__main__":
    main()
