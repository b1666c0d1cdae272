"""The stages as Dagster assets, in the order data flows. Read `STAGES` first.

Each module is wiring only: inputs, one call into the pure package of the same name, metadata. SQL tables are not
listed here: every file of ``dbt_like_sql/`` is an asset by itself.
"""

from collections.abc import Sequence
from typing import Final

import dagster as dg

from xmkt_assets.assets import (
    agreement,
    campaigns,
    erasure,
    evaluation,
    exports,
    notices,
    raw,
    recommenders,
    segments,
    withdrawals,
)

STAGES: Final[dict[str, Sequence[dg.AssetsDefinition | dg.AssetSpec]]] = {
    "raw": raw.ASSETS,
    "staging": [*agreement.ASSETS, *notices.ASSETS, *withdrawals.ASSETS, *erasure.ASSETS],
    "segments": segments.ASSETS,
    "recommenders": recommenders.ASSETS,
    "campaigns": [*campaigns.ASSETS, *exports.ASSETS],
    "evaluation": evaluation.ASSETS,
}
