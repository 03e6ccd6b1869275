"""Every sabotage still finds its place in the scripts; whether the tests catch it, `make mutants` shows."""

import pytest

from atp.store import scripts
from tests.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_the_sabotaged_check_stands_once_in_its_script(mutant: Mutant) -> None:
    assert (scripts._SOURCE / mutant.file).read_text().count(mutant.original) == 1
