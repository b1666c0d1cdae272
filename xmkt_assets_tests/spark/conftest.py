"""These tests need the extra ``spark``: ``make test-spark`` runs them in an environment that has it."""

from importlib.util import find_spec

import pytest

HAS_SPARK = find_spec("pyspark") is not None
collect_ignore = [] if HAS_SPARK else ["test_same_rows.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if HAS_SPARK:
        from xmkt_assets_tests.spark.small_lake import read_models

        exempt = [model for model in read_models().values() if model.engine]
        terminalreporter.write_line(f"{len(read_models()) - len(exempt)} models compared, {len(exempt)} exempt")
        for model in exempt:
            terminalreporter.write_line(f"  {model.table}: {model.engine_reason}")
