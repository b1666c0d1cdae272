"""Matrix factorisation of implicit feedback by alternating least squares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from xmkt_assets.recommenders.base import RECENT_DAYS, BoolArray, Fitted, FloatArray, History, Recommender
from xmkt_assets.recommenders.popularity import recent_then_all

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Factors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FittedALS(Fitted):
    """`person_factors` (persons, f) and `item_factors` (items, f); their products are the scores."""

    person_factors: Factors
    item_factors: Factors

    def score(self, person_ids: Sequence[str], candidates: BoolArray) -> FloatArray:
        rows = self.history.rows(person_ids)
        scores = np.full((len(rows), len(self.history.item_ids)), np.nan)
        scores[rows >= 0] = self.person_factors[rows[rows >= 0]] @ self.item_factors.T
        return scores


@dataclass(frozen=True)
class ALS(Recommender):
    """Latent factors (library ``implicit``; Hu, Koren, Volinsky 2008): ``P_ij = sum_k alpha_k r_ik r_kj``.

    Person i, item j, k over the factors: ``r_ik`` = factor k of the person, ``r_kj`` = factor k of the item,
    ``alpha_k`` = 1. Minimises ``sum_ij c_ij (p_ij - x_i y_j)^2 + regularisation (|x|^2 + |y|^2)`` with p = 1 where
    there is any interaction and confidence c = `confidence` × weight there, 1 elsewhere. Cold people fall back to
    recent popularity. At most a quarter as many factors as items: with 16 products, 32 factors fit noise.
    """

    factors: int = 32
    regularisation: float = 10.0
    confidence: float = 40.0
    iterations: int = 15
    seed: int = 7

    @property
    def name(self) -> str:
        return "als"

    def fit(self, interactions: pl.DataFrame, items: pl.DataFrame, people: pl.DataFrame) -> FittedALS:
        history = History.of(interactions, items)
        prior = recent_then_all(history.bought_recently, history.bought)
        return FittedALS(history, prior, RECENT_DAYS, *self._factorise(history.weights))

    def _factorise(self, weights: "csr_matrix") -> tuple[Factors, Factors]:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        persons, items = weights.shape
        factors = max(1, min(self.factors, items // 4))
        if weights.nnz == 0:
            return np.zeros((persons, factors), np.float32), np.zeros((items, factors), np.float32)
        with threadpool_limits(limits=1, user_api="blas"):  # implicit's own threads fight OpenBLAS's: 10 times slower
            model = AlternatingLeastSquares(
                factors=factors,
                regularization=self.regularisation,
                alpha=self.confidence,
                iterations=self.iterations,
                random_state=self.seed,
            )
            model.fit(weights, show_progress=False)
        return model.user_factors, model.item_factors
