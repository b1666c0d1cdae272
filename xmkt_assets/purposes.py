"""What people's data may be used for, and by which stage. Pure, and short on purpose: a compliance officer reads it.

A person consents per purpose; a stage serves one purpose and reaches people only through the gate of that purpose
(``dbt_like_sql/staging/gate_<purpose>.sql``). That nothing goes round a gate is proven by
``xmkt_assets_tests/test_consent_gate.py`` over the whole graph. Who has consented is decided in
``dbt_like_sql/staging/consent_decisions.sql``.
"""

from collections.abc import Mapping
from typing import Final

PURPOSES: Final = ("profiling", "joint_marketing", "measurement", "sensitive_profiling")
STAGE_PURPOSES: Final[Mapping[str, str]] = {
    "segments": "profiling",
    "recommenders": "profiling",
    "campaigns": "joint_marketing",
    "evaluation": "measurement",
}
SENSITIVE: Final = "sensitive_profiling"
# Tables made from what contracts grade sensitive: claims and declared income. Each person in them consented to that
# separately. They stay in the lake for the firm's own data teams: no recommender, campaign or evaluation reads them,
# and they are not in the published file, which the other firm opens too.
SENSITIVE_TABLES: Final = (
    "segments.risk_examples",
    "segments.claim_risk",
    "segments.claim_risk_validation",
    "segments.claim_risk_comparison",
    "segments.model_comparison",
    "segments.fairness",
    "segments.model_drift",
    "segments.sensitive_profile",
)
# Reads declared income through the sensitive gate to leave people out (an insurer must not sell what somebody cannot
# carry); no column of it is computed from the income.
SUITABILITY: Final = "recommenders.product_eligibility"


def purposes_of(table: str) -> tuple[str, ...]:
    """Purposes that every person in `table` must not have refused; none where the table serves no purpose."""
    stage, _, name = table.partition(".")
    if stage == "staging" and name.startswith("gate_"):
        own = name.removeprefix("gate_")
        return ("profiling", own) if own == SENSITIVE else (own,)
    if stage not in STAGE_PURPOSES:
        return ()
    return (STAGE_PURPOSES[stage], SENSITIVE) if table in SENSITIVE_TABLES else (STAGE_PURPOSES[stage],)
