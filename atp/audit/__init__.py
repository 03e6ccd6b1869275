"""The auditor: follows a pool's ledger and says where a rule that never bends was bent. Shares no code with the scripts it judges."""

from atp.audit.beginning import Start
from atp.audit.contents import difference, is_operational
from atp.audit.findings import VerifyReport
from atp.audit.ledger import AUDITED_RULES, Audit, Miscount

__all__ = ["AUDITED_RULES", "Audit", "Miscount", "Start", "VerifyReport", "difference", "is_operational"]
