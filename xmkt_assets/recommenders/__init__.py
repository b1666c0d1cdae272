"""Recommenders: who may like what. Pure logic; assets, MLflow and the lake stand elsewhere.

A recommender is one module and its name in `RECOMMENDERS`, simplest first: of two equally good ones the earlier wins.
"""

from typing import Final

from xmkt_assets.recommenders.als import ALS
from xmkt_assets.recommenders.base import Fitted, Recommender
from xmkt_assets.recommenders.item_knn import ItemKNN
from xmkt_assets.recommenders.popularity import Popularity, RecentPopularity

BASELINE: Final = Popularity()
RECOMMENDERS: Final[tuple[Recommender, ...]] = (BASELINE, RecentPopularity(), ItemKNN(), ALS())

__all__ = ["ALS", "BASELINE", "RECOMMENDERS", "Fitted", "ItemKNN", "Popularity", "RecentPopularity", "Recommender"]
