"""How many of what, in a sentence."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 unit`, `1,250 units`; `plural` where an s alone does not make it."""
    return f"{number:,} {noun if abs(number) == 1 else plural or f'{noun}s'}"
