"""``python -m xmkt_assets_tests.benchmarks [NAME …]``: run benchmarks and print one table."""

import argparse
import sys
import time
from types import ModuleType
from typing import Final

from xmkt_assets_tests.benchmarks import (
    association_rules,
    day_replacement,
    event_log,
    profile_scale,
    qini,
    raw_loading,
    recommenders,
    refresh_dbt,
    scale_day,
    scale_graph,
    sql_layer,
)
from xmkt_assets_tests.benchmarks.measure import machine, table

BENCHMARKS: Final[tuple[ModuleType, ...]] = (
    association_rules,
    raw_loading,
    day_replacement,
    recommenders,
    qini,
    event_log,
    sql_layer,
    refresh_dbt,
    scale_graph,
    scale_day,
    profile_scale,
)
BY_NAME: Final = {module.__name__.rsplit(".", 1)[-1]: module for module in BENCHMARKS}


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, whatever the ratios: a bar that is missed is shown, not raised."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in BY_NAME]:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    print(f"Benchmarks on {machine()}, {chosen.repeats} turns of either side. Ratio = ours / peer: below 1 is faster.")
    compared = []
    for name in chosen.names or BY_NAME:
        started = time.perf_counter()
        sizes = {size: getattr(chosen, f"{name}_{size}") for size in BY_NAME[name].SIZES}
        found = BY_NAME[name].run(sizes, chosen.repeats)
        compared += [(name, one) for one in found]
        print(f"  {name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    print(table(compared))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xmkt_assets_tests.benchmarks",
        description="Our way beside the plain way, in the same run, taking turns.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BY_NAME)} (default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of either side")
    for name, module in BY_NAME.items():
        for size, default in module.SIZES.items():
            option = f"--{name}-{size}".replace("_", "-")
            parser.add_argument(option, dest=f"{name}_{size}", type=int, default=default, help=f"size of {name}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
