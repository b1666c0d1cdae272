"""The walls of the house, read from its files: who may import what and read the environment, what README promises."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import dagster as dg
import pytest

from xmkt_assets.definitions import build_defs
from xmkt_assets.resources import REPOSITORY, SQL_FOLDER

PACKAGE = REPOSITORY / "xmkt_assets"
PURE_PACKAGES = (
    "contracts",
    "raw",
    "segments",
    "recommenders",
    "campaigns",
    "evaluation",
    "simulate",
    "adapters",
    "erasure",
)
PURE_MODULES = (
    "agreement.py",
    "audits.py",
    "exports.py",
    "identity_terms.py",
    "known_tables.py",
    "lake_address.py",
    "locks.py",
    "machine.py",
    "maintenance.py",
    "notices.py",
    "overlap.py",
    "processes.py",
    "promises.py",
    "pseudonyms.py",
    "published.py",
    "purposes.py",
    "secrets.py",
    "showing.py",
    "spill.py",
    "spreadsheet.py",
    "sql_binding.py",
    "sql_check.py",
    "sql_columns.py",
    "sql_file.py",
    "sql_lineage.py",
    "sql_lint.py",
    "sql_mistakes.py",
    "sql_models.py",
    "sql_portability.py",
    "sql_spark.py",
    "sql_windows.py",
    "table_diff.py",
    "warehouse.py",
    "withdrawals.py",
)
HEAVY = {"torch", "transformers", "mlflow", "sklearn", "lightgbm", "implicit", "scipy", "matplotlib", "pandas"}
MODULES = sorted(PACKAGE.rglob("*.py"))
PURE = sorted(p for name in PURE_PACKAGES for p in (PACKAGE / name).rglob("*.py")) + [PACKAGE / m for m in PURE_MODULES]
# The half of pydantic that it pins to itself.
BROUGHT_ALONG = {"pydantic-core"}
README = REPOSITORY / "README.md"
MAKEFILE = REPOSITORY / "Makefile"


def shown(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@cache
def defs() -> dg.Definitions:
    return build_defs()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(node: ast.AST) -> set[str]:
    """First words of what one statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return {node.module.split(".")[0]}
    return set()


def imports_anywhere(path: Path) -> set[str]:
    return {name for node in ast.walk(tree_of(path)) for name in imported(node)}


def imports_at_the_top(path: Path) -> set[str]:
    """What importing the module imports: not what stands in functions or under TYPE_CHECKING."""
    return {name for node in _executed(tree_of(path)) for name in imported(node)}


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _executed(child)


# ── who may import what ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", PURE, ids=shown)
def test_pure_logic_knows_neither_dagster_nor_mlflow(path: Path) -> None:
    assert imports_anywhere(path) & {"dagster", "mlflow"} == set()


def test_pure_logic_does_not_import_the_rooms_that_know_dagster() -> None:
    """Else Dagster would come in by the back door."""
    knowing = {p.stem for p in PACKAGE.glob("*.py") if "dagster" in imports_anywhere(p)} | {"assets", "automation"}
    assert {"resources", "partitions", "sql_assets"} < knowing
    for path in PURE:
        names = {
            f"{node.module}.{alias.name}".split(".")[1]
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "xmkt_assets"
            for alias in node.names
        }
        # Adapters and the simulator have a command of their own, which asks resources where the home is.
        if path.name != "__main__.py":
            assert names & knowing == set(), shown(path)


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_importing_a_module_imports_no_heavy_library(path: Path) -> None:
    """They cost 10 to 25 s cold, and every Dagster process imports every module."""
    assert imports_at_the_top(path) & HEAVY == set()


def test_the_search_for_heavy_imports_finds_them_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ntry:\n    import sklearn.base\n"
        "except ImportError:\n    pass\nclass A:\n    from scipy import stats\n    def f(self):\n"
        "        import mlflow\n",
        encoding="utf-8",
    )
    assert imports_at_the_top(path) & HEAVY == {"sklearn", "scipy"}
    assert imports_anywhere(path) & HEAVY == {"torch", "sklearn", "scipy", "mlflow"}


def test_only_tracking_imports_mlflow() -> None:
    assert {shown(p) for p in MODULES if "mlflow" in imports_anywhere(p)} <= {"xmkt_assets/tracking.py"}


@pytest.mark.parametrize("path", [*(PACKAGE / "assets").glob("*.py"), PACKAGE / "sql_assets.py"], ids=shown)
def test_modules_of_assets_do_not_turn_annotations_into_text(path: Path) -> None:
    """Dagster reads them, and fails at definition on text."""
    assert "__future__" not in imports_anywhere(path)


def test_every_library_imported_is_declared_in_pyproject() -> None:
    declared = {_normal(re.split(r"[<>=\[;\s]", d)[0]) for d in _project()["dependencies"]}
    distributions = packages_distributions()
    own = {"xmkt_assets", "xmkt_assets_tests"}
    declared |= BROUGHT_ALONG
    for path in MODULES:
        for name in imports_anywhere(path) - own:
            if name in distributions:
                assert {_normal(d) for d in distributions[name]} & declared, f"{shown(path)} imports {name}"


def test_every_declared_library_has_a_pinned_version() -> None:
    pins = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    pinned = {_normal(line.split("==")[0]) for line in pins.splitlines() if "==" in line}
    groups = [_project()["dependencies"], _project()["optional-dependencies"]["dev"]]
    assert {_normal(re.split(r"[<>=\[;\s]", d)[0]) for group in groups for d in group} <= pinned


def _project() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# ── the environment ──────────────────────────────────────────────────────────────────────────────────────────────────

# tracking: mlflow reads its own switches when it is imported, so they must be set before; nothing is read there.
SETS_ONLY = {"xmkt_assets/tracking.py"}
# dev: hands this process's environment on to the servers it starts; it looks at nothing in it.
HANDS_ON = {"xmkt_assets/dev.py"}


def uses_of_environment(path: Path) -> list[str]:
    """Every expression of a module that touches os.environ or os.getenv."""
    nodes = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.Attribute) and n.attr in ("environ", "getenv")]
    touched = [n for n in nodes if ast.unparse(n.value) == "os"]
    direct = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.ImportFrom) and n.module == "os"]
    imported_names = [a.name for n in direct for a in n.names if a.name in ("environ", "getenv")]
    return [*(_around(path, n) for n in touched), *imported_names]


def _around(path: Path, node: ast.Attribute) -> str:
    return path.read_text(encoding="utf-8").splitlines()[node.lineno - 1].strip()


def test_only_resources_reads_the_environment() -> None:
    found = {shown(p): uses_of_environment(p) for p in MODULES}
    using = {name for name, lines in found.items() if lines}
    assert "xmkt_assets/resources.py" in using
    assert using <= {"xmkt_assets/resources.py"} | SETS_ONLY | HANDS_ON
    for name in SETS_ONLY:
        assert all(line.startswith("os.environ.setdefault(") for line in found[name]), name
    for name in HANDS_ON & using:
        assert all("**os.environ" in line for line in found[name]), name


# ── the tree ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_there_is_no_drawer_for_everything() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert [shown(p) for p in MODULES if p.name in drawers] == []


def test_every_module_opens_by_saying_what_belongs_in_it() -> None:
    assert [shown(p) for p in MODULES if not ast.get_docstring(tree_of(p))] == []


@pytest.mark.parametrize("stage", ["raw", "segments", "recommenders", "campaigns", "evaluation"])
def test_a_stage_word_names_its_package_its_assets_and_its_tests(stage: str) -> None:
    assert (PACKAGE / stage / "__init__.py").exists()
    assets = PACKAGE / "assets"
    assert (assets / f"{stage}.py").exists() != (assets / stage / "__init__.py").exists()
    assert list((REPOSITORY / "xmkt_assets_tests").glob(f"test_{stage}*.py"))


def test_every_folder_of_sql_is_a_stage_or_the_checks() -> None:
    folders = {p.name for p in SQL_FOLDER.iterdir() if p.is_dir() and list(p.glob("*.sql"))}
    assert folders <= {"staging", "segments", "recommenders", "campaigns", "evaluation", "text", "checks"}


def test_every_sql_file_is_an_asset_and_every_query_of_checks_an_asset_check() -> None:
    graph = defs().resolve_asset_graph()
    tables = {tuple(key.path) for key in graph.get_all_asset_keys()}
    checks = {key.name for key in graph.asset_check_keys}
    for path in SQL_FOLDER.rglob("*.sql"):
        known = path.stem in checks if path.parent.name == "checks" else (path.parent.name, path.stem) in tables
        assert known, shown(path)


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    kinds = {".py", ".sql", ".yaml", ".toml", ".md", ".txt", ""}
    places = [*REPOSITORY.iterdir(), *PACKAGE.rglob("*"), *SQL_FOLDER.rglob("*"), *Path(__file__).parent.rglob("*")]
    files = [p for p in places if p.is_file() and p.suffix in kinds and not _is_made(p)]
    assert len(files) > 100
    named = {shown(p) for p in files if re.search(r"(?<![\w.])/(?:work|root|home|Users)/\w", p.read_text("utf-8"))}
    assert named == set()


def _is_made(path: Path) -> bool:
    """Whether a tool made it: caches, not files of the repository."""
    return any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(REPOSITORY).parts[:-1])


# ── what README promises ─────────────────────────────────────────────────────────────────────────────────────────────


def code_of_readme() -> str:
    """What stands in backticks or in code blocks."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```.*?```", text, flags=re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join([*blocks, *spans])


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_every_command_of_readme_is_a_target_of_the_makefile() -> None:
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code_of_readme()))
    assert {"demo", "test", "dev", "sql", "real", "bench"} <= named
    assert named <= make_targets()


def test_every_target_that_help_shows_is_in_readme_or_leads_to_one_that_is() -> None:
    shown_targets = set(re.findall(r"^([a-z][a-z-]*):.*##", MAKEFILE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code_of_readme()))
    unnamed = shown_targets - named
    assert unnamed <= {"setup", "clean"}  # every other target sets up by itself; clean says what it does


def rows_of_change_table() -> list[str]:
    """Right-hand cells of the table "to change | edit"."""
    lines = README.read_text(encoding="utf-8").splitlines()
    start = lines.index("| to change | edit |")
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(line.strip("|").split("|")[1])
    return rows


def test_every_path_of_the_table_to_change_x_edit_y_exists() -> None:
    rows = rows_of_change_table()
    assert len(rows) > 10
    for cell in rows:
        paths = [name for name in re.findall(r"`([^`]+)`", cell) if "/" in name]
        assert paths, cell
        for name in paths:
            assert (REPOSITORY / name).exists(), name


def test_every_python_name_of_that_table_is_in_the_file_beside_it() -> None:
    for cell in rows_of_change_table():
        quoted = re.findall(r"`([^`]+)`", cell)
        for name in (n for n in quoted if n.isidentifier() and n.isupper()):
            files = [REPOSITORY / n for n in quoted if n.endswith(".py")]
            assert any(name in f.read_text(encoding="utf-8") for f in files), name


def test_every_file_and_table_that_readme_names_is_there() -> None:
    text = README.read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:xmkt_assets|xmkt_assets_tests|dbt_like_sql)/[\w./]+)`", text))
    assert {n for n in files if "<" not in n and not (REPOSITORY / n).exists()} == set()
    graph = defs().resolve_asset_graph()
    tables = {".".join(key.path) for key in graph.get_all_asset_keys()}
    stages = "raw|staging|segments|recommenders|campaigns|evaluation"
    named = set(re.findall(rf"`((?:{stages})\.[a-z_]+)`", text))
    assert len(named) > 5
    assert named <= tables


def test_every_job_and_sensor_that_readme_names_is_defined() -> None:
    text = README.read_text(encoding="utf-8")
    repository = defs().get_repository_def()
    jobs, sensors = {j.name for j in repository.get_all_jobs()}, {s.name for s in repository.sensor_defs}
    for name in ("load_partner_drops", "retrain", "plan_campaign", "evaluate_and_publish"):
        assert name in jobs
        assert f"`{name}`" in text
    assert "new_partner_drops" in sensors
    assert "`new_partner_drops`" in text
