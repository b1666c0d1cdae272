"""What each column of a table made by Python means, so that its page says it before the first materialisation.

The words stand beside what makes the table; here they are only brought together. SQL files say theirs themselves.
"""

from collections.abc import Mapping

import dagster as dg

from xmkt_assets import identity_terms, notices, overlap, withdrawals
from xmkt_assets.campaigns.tables import CAMPAIGN_LIST_COLUMNS, EXCLUSIONS_COLUMNS
from xmkt_assets.erasure import suppression, work
from xmkt_assets.evaluation.tables import CURVES_COLUMNS, RESULTS_COLUMNS
from xmkt_assets.known_tables import known_tables
from xmkt_assets.raw.books import LEDGER, LEDGER_COLUMNS, QUARANTINE, QUARANTINE_COLUMNS
from xmkt_assets.raw.fixes import FIXES, FIXES_COLUMNS
from xmkt_assets.raw.late import LATE, LATE_COLUMNS
from xmkt_assets.recommenders.tables import MEANINGS
from xmkt_assets.segments import drift_table
from xmkt_assets.segments.fairness import FAIRNESS_COLUMNS
from xmkt_assets.segments.interest_rules import RULES_COLUMNS
from xmkt_assets.segments.next_interest import SCORES_COLUMNS
from xmkt_assets.segments.rules import tables as association_rules
from xmkt_assets.segments.score_tables import meanings
from xmkt_assets.segments.sentiment import SENTIMENT_COLUMNS
from xmkt_assets.segments.tables import CHOICE_COLUMNS, CLUSTERS_COLUMNS
from xmkt_assets.segments.targets import TARGETS

STRAYS_COLUMNS = {
    "source_file": "Path of the file under the landing folder",
    "reason": "Why it belongs to no feed, and what to do about it",
    "seen_at": "When it was last seen (UTC)",
}


def column_meanings() -> dict[str, Mapping[str, str]]:
    """Table → column → meaning, of every table that a Python asset makes; feeds have theirs in their contract."""
    of_targets = {
        f"recommenders.{target}_{name}": meaning.columns
        for target in ("course", "product")
        for name, meaning in MEANINGS.items()
    }
    return {
        LEDGER: LEDGER_COLUMNS,
        QUARANTINE: QUARANTINE_COLUMNS,
        LATE: LATE_COLUMNS,
        FIXES: FIXES_COLUMNS,
        "raw.landing_strays": STRAYS_COLUMNS,
        suppression.TABLE: suppression.COLUMNS,
        work.ERASURES: work.COLUMNS,
        withdrawals.APPLIED: withdrawals.COLUMNS,
        identity_terms.KEYS_TABLE: identity_terms.KEYS_COLUMNS,
        identity_terms.RULES_TABLE: identity_terms.RULES_COLUMNS,
        notices.TABLE: notices.COLUMNS,
        overlap.TABLE: overlap.COLUMNS,
        "segments.cluster_choice": CHOICE_COLUMNS,
        "segments.person_clusters": CLUSTERS_COLUMNS,
        "segments.fairness": FAIRNESS_COLUMNS,
        "segments.review_sentiment": SENTIMENT_COLUMNS,
        association_rules.RULES_TABLE: association_rules.RULES_COLUMNS,
        "segments.next_interest": SCORES_COLUMNS,
        "segments.interest_rules": RULES_COLUMNS,
        **{table: m.columns for target in TARGETS for table, m in meanings(target).items()},
        drift_table.TABLE: drift_table.COLUMNS,
        **of_targets,
        "campaigns.campaign_list": CAMPAIGN_LIST_COLUMNS,
        "campaigns.exclusions": EXCLUSIONS_COLUMNS,
        "evaluation.experiment_results": {name: meaning for name, (_, meaning) in RESULTS_COLUMNS.items()},
        "evaluation.uplift_curves": {name: meaning for name, (_, meaning) in CURVES_COLUMNS.items()},
    }


def table_schemas() -> dict[str, dg.TableSchema]:
    """The same as Dagster shows it, with types."""
    types = known_tables()
    return {
        table: dg.TableSchema(columns=[dg.TableColumn(n, types[table].get(n, ""), words) for n, words in meant.items()])
        for table, meant in column_meanings().items()
    }
