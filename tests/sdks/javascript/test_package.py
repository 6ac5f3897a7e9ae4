"""The package: the shared vectors in Node, its size, its types, and that it needs nothing."""

import gzip
import json
import re
import subprocess

import jsonschema

from tests.harness.node_reader import SDK

LIVE = SDK / "live"
VECTORS = SDK.parent / "vectors"
# A module of its own, for who wants it: `@aimatrix/sdk/members`.
BESIDE = "members.js"
MOST_BYTES = 12 * 1024
# Fetched only where no socket comes through.
FALLBACK = {"events.js", "followed.js"}
MOST_BYTES_OF_FALLBACK = 6 * 1024
COMMENTS = re.compile(r"/\*\*.*?\*/|^\s*//[^\n]*$", re.DOTALL | re.MULTILINE)


def sources() -> dict[str, str]:
    """Return the files of the live part."""
    return {file.name: file.read_text() for file in sorted(LIVE.glob("*.js")) if file.name != BESIDE}


def packed(texts: list[str]) -> int:
    """Return how many bytes they are together, packed."""
    return len(gzip.compress("".join(texts).encode(), 9))


def test_vectors_are_as_their_schema_says():
    """Names are unique over all files: they are how SDKs speak of a rule."""
    schema = json.loads((VECTORS / "schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    names: list[str] = []
    for file in sorted(VECTORS.glob("*.json")):
        if file.name != "schema.json":
            vectors = json.loads(file.read_text())
            jsonschema.Draft202012Validator(schema).validate(vectors)
            names += [each["name"] for each in vectors["vectors"]]
    assert len(names) > 100
    assert len(set(names)) == len(names)
    of_events = VECTORS / "events"
    schema = json.loads((of_events / "schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads((of_events / "followed.json").read_text()))


def test_machine_does_as_the_vectors_say(node: tuple[str, ...]):
    """Every vector, in Node, by the package's own test."""
    done = subprocess.run(
        [*node, "--test", str(SDK / "test")], capture_output=True, text=True, check=False, timeout=60, cwd=SDK
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert int(re.findall(r"^# pass (\d+)$", done.stdout, re.MULTILINE)[0]) > 100


def test_live_part_is_small():
    """As it is served it has 12 KB packed, comments and all; what is fetched beside it has 6."""
    files = sources()
    served = packed([text for name, text in files.items() if name not in FALLBACK])
    beside = packed([files[name] for name in FALLBACK])
    code = packed([COMMENTS.sub("", text) for text in files.values()])
    print(f"packed: {served} bytes as served, {beside} of the fallback; {code} of code alone")
    assert served <= MOST_BYTES
    assert beside <= MOST_BYTES_OF_FALLBACK


def test_package_depends_on_nothing():
    """Neither packages nor modules of Node: what is imported stands beside it."""
    package = json.loads((SDK / "package.json").read_text())
    assert not [name for name in package if "ependencies" in name]
    imported = {found for text in sources().values() for found in re.findall(r'(?:from |import\()"([^"]+)"', text)}
    assert imported <= {f"./{name}" for name in sources()}
    assert re.findall(r'from "([^"]+)"', (LIVE / BESIDE).read_text()) == ["./rules.js"]
    assert {path for path in package["files"] if not (SDK / path).exists()} == set()


def test_types_compile(type_compiler: str):
    """`types.d.ts`, and uses of it."""
    command = [
        type_compiler,
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--module",
        "nodenext",
        "--lib",
        "es2022,dom",
    ]
    done = subprocess.run(
        [*command, str(SDK / "test" / "types.ts")], capture_output=True, text=True, check=False, cwd=SDK
    )
    assert done.returncode == 0, done.stdout
