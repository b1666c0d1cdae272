"""Two ways to find groups among points, and the group that is nearest to a point. Pure numbers: no people, no names.

k-means (Lloyd 1982, started as Arthur & Vassilvitskii 2007) improves the centres of a given number of groups. Ward
(1963) joins the two groups whose union adds the least to the squared distances from the centres, from single points up
to one group; one tree holds every number of groups. Its tree grows with the square of the points, so it is built of a
sample, and everybody goes to the nearest of the centres found. Not here: how many groups (``cluster_choice``).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xmkt_assets.segments.intervals import Floats

Ints = NDArray[np.int64]

KMEANS: Final = "k-means"
WARD: Final = "ward"
FIT_SAMPLE: Final = 20_000  # points k-means is fitted on at most
TREE_SAMPLE: Final = 2_000  # points a tree is built of at most: 16 MB of distances
CHUNK: Final = 100_000  # points assigned at a time


def centres_by_k(points: Floats, *, method: str, ks: Iterable[int], seed: int, starts: int = 5) -> dict[int, Floats]:
    """Centres of each number of groups `ks`, shape (groups, features).

    There are never more groups than different points. `starts`: of k-means; the best one counts.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; wanted one of {', '.join(METHODS)}. Correct the configuration.")
    return METHODS[method](points, tuple(ks), seed, starts)


def nearest(points: Floats, centres: Floats) -> tuple[Ints, Floats]:
    """(which centre is nearest, how far inside its group a point lies), each of shape (points,).

    The second is 1 − a / b with a, b the distances to the nearest and the second nearest centre: 0 on the border, 1 in
    the centre (the simplified silhouette of Vendramin, Campello & Hruschka 2010, section 3). With one centre it is 1.
    """
    groups, inside = np.empty(len(points), dtype=np.int64), np.ones(len(points))
    for at in range(0, len(points), CHUNK):
        part = slice(at, at + CHUNK)
        distances = distances_to(points[part], centres)
        groups[part] = distances.argmin(axis=1)
        if len(centres) > 1:
            two = np.partition(distances, 1, axis=1)
            inside[part] = 1.0 - two[:, 0] / np.maximum(two[:, 1], 1e-300)
    return groups, inside


def distances_to(points: Floats, centres: Floats) -> Floats:
    """Euclidean distances, shape (points, centres)."""
    return np.stack([np.sqrt(((points - centre) ** 2).sum(axis=1)) for centre in centres], axis=1)


def sampled(points: Floats, *, most: int, seed: int) -> Floats:
    """At most `most` of the points, drawn without replacement, in their order."""
    if len(points) <= most:
        return points
    drawn = np.random.default_rng(seed).choice(len(points), size=most, replace=False)
    return points[np.sort(drawn)]


def _kmeans(points: Floats, ks: tuple[int, ...], seed: int, starts: int) -> dict[int, Floats]:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    sample = sampled(points, most=FIT_SAMPLE, seed=seed)
    most = len(np.unique(sample, axis=0))
    found = {}
    with threadpool_limits(limits=1):  # so few points: threads that wait for each other cost ten times the work
        for k in ks:
            fitted = KMeans(n_clusters=min(k, most), n_init=starts, random_state=seed, tol=1e-3).fit(sample)
            found[k] = np.asarray(fitted.cluster_centers_, dtype=np.float64)
    return found


def _ward(points: Floats, ks: tuple[int, ...], seed: int, _: int) -> dict[int, Floats]:
    from scipy.cluster.hierarchy import linkage

    sample = sampled(points, most=TREE_SAMPLE, seed=seed)
    most = len(np.unique(sample, axis=0))
    if most == 1:
        return dict.fromkeys(ks, sample[:1])
    tree = np.asarray(linkage(sample, method="ward"))
    return {k: _means(sample, cut(tree, min(k, most))) for k in ks}


METHODS: Final[Mapping[str, Callable[[Floats, tuple[int, ...], int, int], dict[int, Floats]]]] = {
    KMEANS: _kmeans,
    WARD: _ward,
}


def cut(tree: Floats, k: int) -> Ints:
    """Group of each point when the tree of `scipy.cluster.hierarchy.linkage` is cut into exactly `k` groups.

    (scipy's own ``fcluster`` gives fewer where heights are equal.)
    """
    points = len(tree) + 1
    root = np.arange(2 * points - 1)
    for merge in range(points - k - 1, -1, -1):  # from the last union that is kept down to the first
        one, other = int(tree[merge, 0]), int(tree[merge, 1])
        root[one] = root[other] = root[points + merge]
    return np.asarray(np.unique(root[:points], return_inverse=True)[1], dtype=np.int64)


def _means(points: Floats, groups: Ints) -> Floats:
    return np.stack([points[groups == g].mean(axis=0) for g in range(int(groups.max()) + 1)])
