"""Habits of this code that no linter knows: how tests wait, what files are called, how long they are."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
CODE = ("hub", "rest", "handlers", "rooms", "core", "benchmarks", "tests", "sdks/python")
# The one file that may let real time pass.
MAY_SLEEP = CHECKOUT / "tests" / "harness" / "waiting.py"
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
FORBIDDEN_MODULES = {"unittest.mock", "mock", "freezegun", "time_machine"}
TIME_MODULES = {"time", "datetime", "core.clock", "asyncio"}
# A test file may hold one more class of cases than code may hold ideas.
MOST_LINES, MOST_TEST_LINES = 400, 600
MOST_FUNCTION_LINES = 60
# Over the limit, each with its reason.
LONG_FILES: dict[str, str] = {}


def python_files(*folders: str) -> list[Path]:
    """Return the files of these folders that git knows or would know."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders],  # noqa: S607 - git of the PATH
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (CHECKOUT / line for line in listed.stdout.splitlines())
    return [path for path in paths if path.suffix == ".py" and path.exists()]


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` of such an expression, or nothing."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Return the line and the name of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def sleeps_in(tree: ast.AST) -> Iterator[int]:
    """Return the lines that call a sleep for another time than a literal 0."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or dotted(node.func) not in ("asyncio.sleep", "time.sleep", "anyio.sleep"):
            continue
        zero = node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
        if not zero:
            yield node.lineno


def patched_time_in(tree: ast.AST) -> Iterator[int]:
    """Return the lines that monkeypatch something of a module that keeps time."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or dotted(node.func) != "monkeypatch.setattr" or not node.args:
            continue
        target = node.args[0]
        name = target.value if isinstance(target, ast.Constant) else dotted(target)
        module = str(name).rpartition(".")[0] if isinstance(target, ast.Constant) else str(name)
        if module in TIME_MODULES:
            yield node.lineno


def place(path: Path, line: int) -> str:
    """Return `file:line` below the checkout."""
    return f"{path.relative_to(CHECKOUT)}:{line}"


def test_tests_wait_for_conditions_and_never_sleep():
    """A sleep is either too short, and the test fails at times, or too long, and everybody waits."""
    found = [
        place(path, line)
        for path in python_files("tests")
        if path != MAY_SLEEP
        for line in sleeps_in(ast.parse(path.read_text()))
    ]
    assert found == []


def test_tests_have_no_mocks_and_do_not_patch_time():
    """Fakes stand only at ports that we own; time is injected."""
    found: list[str] = []
    for path in python_files("tests"):
        tree = ast.parse(path.read_text())
        found += [place(path, line) for line, name in imported(tree) if name in FORBIDDEN_MODULES]
        found += [place(path, line) for line in patched_time_in(tree)]
    assert found == []


def test_code_reads_no_clock_but_the_injected_one():
    """core/clock.py is the one seam; a second one is a test that cannot hold time."""
    seams = {CHECKOUT / "core" / "clock.py", CHECKOUT / "core" / "ids.py"}
    allowed = {*seams, CHECKOUT / "sdks" / "python" / "aimatrix" / "live" / "clock.py"}
    calls = {
        "time.time",
        "time.monotonic",
        "time.sleep",
        "asyncio.sleep",
        "datetime.now",
        "datetime.datetime.now",
        "datetime.utcnow",
    }
    found: list[str] = []
    for path in python_files("hub", "rest", "handlers", "rooms", "core", "sdks/python"):
        # The engines' supervisor is a process of its own, without a hub in it.
        if path in allowed or "engines" in path.parts:
            continue
        found += [
            place(path, node.lineno)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and dotted(node.func) in calls and not is_yield(node)
        ]
    assert found == []


def is_yield(call: ast.Call) -> bool:
    """Tell whether this is `asyncio.sleep(0)`."""
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def test_files_are_named_by_their_subject():
    """A file called utils collects what nobody finds again."""
    found = [
        str(path.relative_to(CHECKOUT))
        for path in python_files(*CODE)
        if FORBIDDEN_NAMES & {path.stem, *path.relative_to(CHECKOUT).parts[:-1]}
    ]
    assert found == []


def test_files_are_short_or_listed_with_a_reason():
    """A long file is most often two; the exceptions say why they are not."""
    long: dict[str, int] = {}
    for path in python_files(*CODE):
        lines = len(path.read_text().splitlines())
        if lines > (MOST_TEST_LINES if "tests" in path.relative_to(CHECKOUT).parts else MOST_LINES):
            long[str(path.relative_to(CHECKOUT))] = lines
    unexplained = {name: lines for name, lines in long.items() if name not in LONG_FILES}
    assert unexplained == {}
    assert set(LONG_FILES) <= set(long), "listed as long, but no longer so"


def literals_in(tree: ast.AST) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Return the line and the values of every Literal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and dotted(node.value) == "Literal":
            values = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            yield node.lineno, tuple(ast.unparse(value) for value in values)


def test_literals_of_the_same_values_have_one_order():
    """They are equal, so `| None` of one is that of the other, and what is made of it depends on which was made first."""
    orders: dict[frozenset[str], tuple[str, ...]] = {}
    found: list[str] = []
    for path in python_files("hub", "rest", "handlers", "rooms", "core"):
        for line, values in literals_in(ast.parse(path.read_text())):
            if orders.setdefault(frozenset(values), values) != values:
                found.append(place(path, line))
    assert found == []


def test_functions_fit_on_a_page():
    """No function has over 60 lines, its docstring counted."""
    found = [
        f"{place(path, node.lineno)} {node.name}"
        for path in python_files(*CODE)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= MOST_FUNCTION_LINES
    ]
    assert found == []
