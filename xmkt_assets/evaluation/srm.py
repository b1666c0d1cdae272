"""Sample-ratio check: do the arms hold as many people as the design says?

A ratio that chance does not explain means that people went missing from one arm more than from another; no effect
can be read then. Thresholds: p < .001 blocks the readout, p < .01 warns (references: Fabijan et al. 2019, KDD,
"Diagnosing sample ratio mismatch"; design document of this project).
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

BLOCKS_BELOW: Final = 0.001
WARNS_BELOW: Final = 0.01
SHARE_TOLERANCE: Final = 0.01

Verdict = Literal["pass", "warn", "block", "not applicable"]


class SampleRatio(NamedTuple):
    """Outcome of the check. `p_value` is None where it does not apply; `reason` says what was found, in words."""

    verdict: Verdict
    p_value: float | None
    reason: str


def sample_ratio(counts: Mapping[str, int], shares: Mapping[str, float | None]) -> SampleRatio:
    """Chi-square test of the people per arm against the designed share of each arm.

    Args:
        counts: arm → people; shares: arm → probability of assignment; the same arms, shares adding to 1.
    """
    problem = _design_problem(counts, shares)
    if problem:
        return SampleRatio("not applicable", None, problem)
    from scipy import stats

    arms = sorted(counts)
    observed = [counts[arm] for arm in arms]
    total, scale = sum(observed), sum(shares[arm] or 0.0 for arm in arms)
    expected = [total * (shares[arm] or 0.0) / scale for arm in arms]
    p_value = float(stats.chisquare(observed, expected).pvalue)
    return SampleRatio(_verdict(p_value), p_value, _words(arms, observed, expected))


def _design_problem(counts: Mapping[str, int], shares: Mapping[str, float | None]) -> str | None:
    unknown = sorted(arm for arm in counts if shares.get(arm) is None)
    if unknown:
        return f"no assignment share is given for {', '.join(unknown)}"
    if len(counts) < 2 or not sum(counts.values()):
        return f"{len(counts)} arm(s) with {sum(counts.values())} people; a ratio needs two arms with people"
    total = sum(share or 0.0 for share in shares.values())
    if abs(total - 1) > SHARE_TOLERANCE:
        return (
            f"the shares of the arms that have people add to {total:.3f}, not 1: an arm is missing or a share is wrong"
        )
    return None


def _verdict(p_value: float) -> Verdict:
    if p_value < BLOCKS_BELOW:
        return "block"
    return "warn" if p_value < WARNS_BELOW else "pass"


def _words(arms: list[str], observed: list[int], expected: list[float]) -> str:
    each = (f"{arm} {n:,} (designed {e:,.0f})" for arm, n, e in zip(arms, observed, expected, strict=True))
    return ", ".join(each)
