"""CART: a classification tree small enough to be read (Breiman, Friedman, Olshen & Stone 1984).

Here: growing, cost-complexity pruning chosen by cross-validation, shares of the classes per leaf, conditions of a leaf.
Not here: what the classes and features mean (``interest_features``), whether the tree is good enough to be used
(``next_interest``), what its leaves are worth on other people (``interest_rules``).

The cost of a node is its deviance (log loss), since shares are wanted and not only the likeliest class. The pruning
parameter is the largest whose cross-validated log loss is within one standard error of the best (ibid., 3.4.3); the
standard error is that of the difference on the same people, which tells two trees apart that a common error would not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xmkt_assets.segments.intervals import Floats

Ints = NDArray[np.int64]
Matrix = NDArray[np.float32]

FOLDS: Final = 5
LEAST_LEAF: Final = 10  # people
LEAF_SHARE: Final = 0.005  # of the people it is grown on
MOST_LEAVES: Final = 48  # before pruning
# The shares of all people count in each leaf as this many people more (m-estimate, Cestnik 1990): none is ever 0.
PRIOR_PEOPLE: Final = 10.0
_LEAF: Final = -1


@dataclass(frozen=True)
class Tree:
    """A fitted tree as arrays of one length, a node each, parents before children; `left` is -1 at a leaf.

    A row goes left where its `feature` is at most `threshold`. `shares`: (nodes, classes), smoothed; `risk`: deviance
    of a node times its part of all people, so that the risk of a tree is the sum over its leaves.
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    shares: Floats
    risk: Floats

    def leaf_of(self, rows: Matrix) -> Ints:
        """Leaf each row falls into, shape (n,)."""
        node = np.zeros(len(rows), dtype=np.int64)
        moving = np.flatnonzero(self.left[node] != _LEAF)
        while len(moving):
            at = node[moving]
            goes_left = rows[moving, self.feature[at]] <= self.threshold[at]
            node[moving] = np.where(goes_left, self.left[at], self.right[at])
            moving = moving[self.left[node[moving]] != _LEAF]
        return node

    def shares_of(self, rows: Matrix) -> Floats:
        """Share of each class per row, shape (n, classes)."""
        return self.shares[self.leaf_of(rows)]

    @property
    def leaves(self) -> tuple[int, ...]:
        """Leaves from the left to the right, by their number."""
        return tuple(node for node in self._from_left(0) if self.left[node] == _LEAF)

    def bounds(self, leaf: int) -> dict[int, tuple[float, float]]:
        """Conditions of a leaf, merged per feature: feature -> (more than, at most), in the order first asked."""
        found: dict[int, tuple[float, float]] = {}
        for node, child in self._way_to(leaf):
            feature, threshold = int(self.feature[node]), float(self.threshold[node])
            over, upto = found.get(feature, (-np.inf, np.inf))
            is_left = child == self.left[node]
            found[feature] = (over, min(upto, threshold)) if is_left else (max(over, threshold), upto)
        return found

    def pruned(self, alpha: float) -> "Tree":
        """The smallest subtree of least risk + `alpha` x leaves (ibid., 3.3)."""
        cost, left = np.zeros(len(self.left)), self.left.copy()
        for node in reversed(range(len(left))):
            cost[node] = self.risk[node] + alpha
            if left[node] != _LEAF:
                split = cost[left[node]] + cost[self.right[node]]
                left[node] = left[node] if split < cost[node] - 1e-12 else _LEAF
                cost[node] = min(cost[node], split)
        return replace(self, left=left)

    def alphas(self) -> Floats:
        """One pruning parameter for each tree of the pruning sequence, from nothing pruned to the root alone: geometric
        means of neighbouring weakest links (ibid., 3.4.2), the last infinite."""
        tree, links = self.pruned(0.0), [0.0]
        while tree.left[0] != _LEAF:
            links.append(float(tree._weakest_link()) * (1 + 1e-9) + 1e-12)
            tree = tree.pruned(links[-1])
        return np.array([*(np.sqrt(a * b) for a, b in pairwise(links)), np.inf])

    def _weakest_link(self) -> float:
        """The smallest rise of risk per leaf that pruning one node would cost (ibid., 3.8)."""
        risk, leaves = self.risk.copy(), np.ones(len(self.left))
        link = np.inf
        for node in reversed(self._from_left(0)):
            if self.left[node] != _LEAF:
                children = [self.left[node], self.right[node]]
                risk[node], leaves[node] = risk[children].sum(), leaves[children].sum()
                link = min(link, (self.risk[node] - risk[node]) / (leaves[node] - 1))
        return float(link)

    def _from_left(self, node: int) -> list[int]:
        """Nodes that are still part of the tree, parents before children."""
        if self.left[node] == _LEAF:
            return [node]
        return [node, *self._from_left(int(self.left[node])), *self._from_left(int(self.right[node]))]

    def _way_to(self, leaf: int) -> Iterator[tuple[int, int]]:
        """(node, child taken) from the root down to a leaf."""
        parent = {int(c): n for n in self._from_left(0) if self.left[n] != _LEAF for c in (self.left[n], self.right[n])}
        way = [leaf]
        while way[-1] in parent:
            way.append(parent[way[-1]])
        down = way[::-1]
        yield from pairwise(down)


def grow(rows: Matrix, labels: Ints, *, classes: int, seed: int) -> Tree:
    """The unpruned tree. `rows`: (n, features); `labels`: (n,), 0 to `classes` - 1, of which some may not occur."""
    from sklearn.tree import DecisionTreeClassifier

    least = max(LEAST_LEAF, round(LEAF_SHARE * len(rows)))
    grown = DecisionTreeClassifier(
        criterion="log_loss", min_samples_leaf=least, max_leaf_nodes=MOST_LEAVES, random_state=seed
    ).fit(rows, labels)
    return _as_arrays(grown, base=base_shares(labels, classes=classes), people=len(rows))


def choose_alpha(tree: Tree, rows: Matrix, labels: Ints, *, classes: int, seed: int) -> float:
    """The pruning parameter of `tree` by cross-validated log loss on the people it was grown on, with the one-standard-
    error rule of this module."""
    alphas = tree.alphas()
    fold = np.random.default_rng(seed).permutation(len(rows)) % FOLDS
    losses = np.empty((len(rows), len(alphas)))
    for number in range(FOLDS):
        out = fold == number
        grown = grow(rows[~out], labels[~out], classes=classes, seed=seed)
        for n, alpha in enumerate(alphas):
            losses[out, n] = log_losses(grown.pruned(alpha).shares_of(rows[out]), labels[out])
    best = int(losses.mean(axis=0).argmin())
    worse = losses - losses[:, [best]]
    error = worse.std(axis=0) / np.sqrt(len(rows))
    return float(alphas[np.flatnonzero(worse.mean(axis=0) <= error + 1e-12).max()])


def base_shares(labels: Ints, *, classes: int) -> Floats:
    """Share of each class among all, one person more in each, so that none is 0."""
    counts = np.bincount(labels, minlength=classes) + 1.0
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def log_losses(shares: Floats, labels: Ints) -> Floats:
    """Minus the logarithm of the share given to what happened, per row."""
    return np.asarray(-np.log(np.maximum(shares[np.arange(len(labels)), labels], 1e-12)), dtype=np.float64)


def _as_arrays(grown: Any, *, base: Floats, people: int) -> Tree:
    """scikit-learn's tree, with smoothed shares of all classes."""
    fitted = grown.tree_
    in_node = fitted.weighted_n_node_samples
    counts = np.zeros((fitted.node_count, len(base)))
    counts[:, grown.classes_] = fitted.value[:, 0, :] * in_node[:, None]
    return Tree(
        feature=fitted.feature.astype(np.int64),
        threshold=fitted.threshold.astype(np.float64),
        left=fitted.children_left.astype(np.int64),
        right=fitted.children_right.astype(np.int64),
        shares=(counts + PRIOR_PEOPLE * base) / (in_node + PRIOR_PEOPLE)[:, None],
        risk=fitted.impurity * np.log(2) * in_node / people,  # scikit-learn counts entropy in bits
    )
