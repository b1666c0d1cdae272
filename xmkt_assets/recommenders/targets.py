"""What is recommended: courses and products. Everything in which the two differ stands here and nowhere else."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Target:
    """One kind of item. `metric` decides who wins; `exclude_owned` says whether an item is offered once only."""

    name: str
    metric: str
    exclude_owned: bool

    @property
    def registered_model(self) -> str:
        """Name in the model registry."""
        return f"{self.name}_recommender"

    @property
    def experiment(self) -> str:
        return f"recommenders/{self.name}"


# A course is bought once. Insurance is bought again: 17 % of purchases by known Bruun customers repeat a product.
COURSES: Final = Target("course", metric="ndcg@10", exclude_owned=True)
PRODUCTS: Final = Target("product", metric="ndcg@5", exclude_owned=False)
