"""Tables that SQL files may read and no SQL file makes: those of feeds and of Python assets, column by column. Pure.

Written out with DuckDB's types, so that ``make sql-check`` and tests know them without importing what makes them (a
second of Dagster, polars and models). A test compares them with the assets and their schemas: a new Python asset, or a
new column of one, is one line here.
"""

from typing import Final

from xmkt_assets.contracts import contracts

_FEED: Final = "partner varchar, dt date, {}, source_file varchar, source_row bigint, loaded_at timestamp"
_LEADERBOARD: Final = (
    "as_of_on date, target varchar, model varchar, metric varchar, compared_with varchar, value double, "
    "ci_low double, ci_high double, cases bigint, persons bigint, fit_seconds double, note varchar, run_id varchar"
)
_CHAMPION: Final = (
    "as_of_on date, target varchar, outcome varchar, model varchar, challenger varchar, champion_before varchar, "
    "metric varchar, gain double, gain_low double, gain_high double, model_version bigint, is_champion boolean, "
    "run_id varchar, reason varchar"
)
_RECOMMENDATIONS: Final = (
    "as_of_on date, person_id varchar, item_id varchar, rank bigint, score double, basis varchar, model varchar, "
    "model_version bigint, reason varchar"
)
_TARGETS: Final = ("claim_risk", "lapse_risk", "course_purchase", "product_purchase")
_SCORES: Final = (
    "as_of_on date, person_id varchar, {0}_share double, {0}_band varchar, model varchar, why varchar, "
    "reason varchar, model_version bigint"
)
_VALIDATION: Final = (
    "as_of_on date, person_id varchar, observed_at timestamp, is_positive boolean, predicted_share double, fold bigint"
)
_COMPARISON: Final = (
    "as_of_on date, target varchar, candidate varchar, metric varchar, value double, low double, high double, "
    "is_chosen boolean"
)
_PYTHON_MADE: Final[dict[str, str]] = {
    "raw.erased_subjects": "partner varchar, subject_key varchar, request_id varchar, erased_at timestamp",
    "raw.file_ledger": (
        "partner varchar, feed varchar, dt date, source_file varchar, size_bytes bigint, sha256 varchar, "
        "contract_version varchar, status varchar, rows_in bigint, rows_loaded bigint, rows_quarantined bigint, "
        "rows_duplicate bigint, rows_kept bigint, note varchar, run_id varchar, loaded_at timestamp"
    ),
    "raw.landing_strays": "source_file varchar, reason varchar, seen_at timestamp",
    "raw.late_rows": "partner varchar, feed varchar, dt date, event_on date, row_count bigint, run_id varchar",
    "raw.quarantine": (
        "partner varchar, feed varchar, dt date, source_file varchar, source_row bigint, source_line bigint, "
        "column_name varchar, reason varchar, next_step varchar, raw_text varchar, run_id varchar, "
        "quarantined_at timestamp"
    ),
    "raw.quarantine_fixes": (
        "partner varchar, feed varchar, dt date, source_file varchar, source_row bigint, row_mark varchar, "
        "decision varchar, fixed_text varchar, note varchar, decided_by varchar, decided_at timestamp, run_id varchar"
    ),
    "staging.erasures": (
        "request_id varchar, table_name varchar, asked_on date, erased_at timestamp, scope varchar, status varchar, "
        "rows_of_person_before bigint, rows_of_person_after bigint, rows_overwritten bigint, rows_before bigint, "
        "rows_after bigint, snapshots_expired bigint, first_readable_snapshot bigint, files_changed bigint, "
        "models_trained_with bigint, run_id varchar"
    ),
    "staging.hash_keys": "version varchar, position bigint, agreed_on date, retired_on date, fingerprint varchar",
    "staging.identifier_rules": (
        "kind varchar, precedence bigint, is_proof boolean, at_most_accounts bigint, "
        "birth_year_tolerance_years bigint, meaning varchar"
    ),
    "staging.notices": (
        "notice_version varchar, purpose varchar, recipient varchar, valid_from_on date, valid_until_on date, "
        "languages varchar, link varchar, meaning varchar"
    ),
    "staging.overlap_report": (
        "breakdown varchar, age_band varchar, city_band varchar, gender varchar, course_only bigint, "
        "insurer_only bigint, both_firms bigint, is_suppressed boolean"
    ),
    "staging.withdrawals_applied": (
        "run_id varchar, table_name varchar, applied_at timestamp, purposes varchar, action varchar, people bigint, "
        "rows_removed bigint"
    ),
    "segments.person_clusters": (
        "as_of_on date, person_id varchar, cluster bigint, value_label varchar, membership_strength double, "
        "why varchar, method varchar, reason varchar, model_version bigint"
    ),
    "segments.review_sentiment": (
        "as_of_on date, review_id varchar, person_id varchar, sentiment_share double, reason varchar, "
        "model_version bigint"
    ),
    "segments.cluster_choice": (
        "as_of_on date, method varchar, k bigint, silhouette double, silhouette_low double, silhouette_high double, "
        "stability double, stability_low double, stability_high double, is_chosen boolean, why varchar"
    ),
    **{f"segments.{target}": _SCORES.format(target) for target in _TARGETS},
    **{f"segments.{target}_validation": _VALIDATION for target in _TARGETS},
    **{f"segments.{target}_comparison": _COMPARISON for target in _TARGETS},
    "segments.fairness": (
        "as_of_on date, target varchar, attribute varchar, group_name varchar, people bigint, positives bigint, "
        "selection_share double, selection_low double, selection_high double, selection_ratio double, "
        "selection_ratio_low double, selection_ratio_high double, mean_predicted_share double, observed_share double, "
        "calibration_ratio double, calibration_ratio_low double, calibration_ratio_high double, "
        "true_positive_rate double, true_positive_low double, true_positive_high double, false_positive_rate double, "
        "false_positive_low double, false_positive_high double, finding varchar, reason varchar"
    ),
    "segments.next_interest": (
        "as_of_on date, person_id varchar, rank bigint, topic varchar, share double, why varchar, model varchar, "
        "reason varchar, model_version bigint"
    ),
    "segments.interest_rules": (
        "as_of_on date, rule_id bigint, rule varchar, topic varchar, people bigint, people_share double, "
        "precision double, precision_low double, precision_high double, base_share double, lift double, "
        "p_value double, q_value double, is_above_chance boolean, model_version bigint"
    ),
    "segments.model_drift": (
        "as_of_on date, model varchar, model_version bigint, trained_as_of_on date, feature varchar, kind varchar, "
        "psi double, psi_by_chance double, ks double, p_value double, level varchar, people bigint, "
        "people_trained bigint, null_share double, null_share_trained double, reason varchar"
    ),
    "segments.association_rules": (
        "as_of_on date, scope varchar, antecedent varchar, consequent varchar, in_words varchar, people bigint, "
        "antecedent_people bigint, expected_people double, support_share double, confidence_share double, lift double, "
        "leverage double, p_value double, q_value double, is_cross_firm boolean"
    ),
    "recommenders.course_leaderboard": _LEADERBOARD,
    "recommenders.product_leaderboard": _LEADERBOARD,
    "recommenders.course_champion": _CHAMPION,
    "recommenders.product_champion": _CHAMPION,
    "recommenders.course_recommendations": _RECOMMENDATIONS,
    "recommenders.product_recommendations": _RECOMMENDATIONS,
    "campaigns.campaign_list": (
        "campaign_id varchar, person_id varchar, arm varchar, course_id varchar, product_id varchar, channel varchar, "
        "treatment_share double, assignment_share double, consent_id varchar, score double, reason varchar, "
        "user_id varchar, customer_id varchar, as_of_on date, launched_on date, outcome_until_on date, "
        "contact_cost_fen bigint, incentive_fen bigint, course_model_version varchar, product_model_version varchar, "
        "goal_metric varchar, budget_fen bigint"
    ),
    "campaigns.exclusions": (
        "campaign_id varchar, person_id varchar, step bigint, rule varchar, detail varchar, as_of_on date"
    ),
    "evaluation.experiment_results": (
        "campaign_id varchar, arm varchar, metric varchar, source varchar, unit varchar, is_goal boolean, "
        "status varchar, note varchar, treated_count bigint, control_count bigint, treated_mean double, "
        "control_mean double, difference double, standard_error double, interval_low double, interval_high double, "
        "p_value double, srm_p_value double, srm_verdict varchar, launched_on date, outcome_until_on date, "
        "measured_on date, is_preliminary boolean, verdict varchar"
    ),
    "evaluation.uplift_curves": (
        "campaign_id varchar, arm varchar, metric varchar, score_name varchar, share double, gain double, "
        "gain_low double, gain_high double, random_gain double, qini double, qini_low double, qini_high double, "
        "person_count bigint, note varchar"
    ),
}


def known_tables() -> dict[str, dict[str, str]]:
    """Table → its columns and their DuckDB types, of everything that feeds and Python assets make."""
    feeds = {
        f"raw.{contract.feed}": _typed(_FEED.format(", ".join(f"{c.name} {c.duckdb_type}" for c in contract.columns)))
        for contract in contracts().values()
    }
    return {**feeds, **{table: _typed(columns) for table, columns in _PYTHON_MADE.items()}}


def _typed(columns: str) -> dict[str, str]:
    pairs = (column.split(maxsplit=1) for column in columns.split(", "))
    return {name: kind.upper() for name, kind in pairs}
