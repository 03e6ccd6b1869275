"""What can go wrong with a call, as exceptions; what the business answers is a `Result`, not an error."""

from typing import NamedTuple

from atp.model.status import Status


class AtpError(Exception):
    """The base of every error that a caller of the domain may see."""


class Violation(NamedTuple):
    """One field of a request that is wrong: its path and what it should be."""

    field: str
    description: str


class InvalidRequestError(AtpError):
    """The request breaks documented bounds or forms; every violation found is listed. Sending it again cannot help."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = violations


class RefusedError(AtpError):
    """The engine refuses the call by name: an unknown name, a reused key, a pool that is not open."""

    def __init__(self, status: Status, detail: list[str]) -> None:
        super().__init__(f"{status}: {', '.join(detail)}" if detail else str(status))
        self.status = status
        self.detail = detail


class StoreUnavailableError(AtpError):
    """The store cannot be reached. If `outcome_unknown`, the call was sent and its reply lost: it may have been applied."""

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class StoreRefusedError(StoreUnavailableError):
    """The store is there, but does not let us: a wrong password, a missing right, a certificate that one side does not believe."""


class StoreBusyError(AtpError):
    """As many calls are in flight as the bound allows; nothing was sent."""


class CallTimeoutError(AtpError):
    """The reply did not come before the call's deadline; a call that was sent may still be applied."""


class IntakeUnavailableError(AtpError):
    """The stream of events cannot be reached. If `outcome_unknown`, something was sent to it that may be there: sent again, it is known."""

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown
