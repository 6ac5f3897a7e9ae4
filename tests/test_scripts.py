"""A habit of Lua scripts: they touch no key but what they are told by KEYS (docs/architecture.md, "In a cluster").

Read as text, by the few forms in which these scripts are written: where a key comes from is followed back through names, fields,
parameters and functions to KEYS. What cannot be followed is refused, so who writes a script in other forms finds that here.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
# Scripts before which others stand, as their callers put them together.
BEFORE = {
    "apply": ("leases", "rooms"),
    "reap": ("leases", "rooms"),
    "page": ("leases", "rooms"),
    "beat": ("leases",),
    "left": ("leases",),
}
SHARED = {"leases", "rooms"}
WITHOUT_KEY = {"TIME", "INFO", "SPUBLISH"}
NAME = re.compile(r"([a-z_]+)(?:\.([a-z_]+)|\[[a-z_]+\])?")
FUNCTION = re.compile(r"^( *)local function (\w+)\(([^)]*)\)$(.*?)^\1end$", re.MULTILINE | re.DOTALL)


def test_scripts_touch_no_key_but_those_of_keys():
    """Else a cluster cannot refuse a script of whose keys a part has moved, and it is half done."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.lua"],  # noqa: S607 - git of the PATH
        cwd=CHECKOUT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    paths = [CHECKOUT / line for line in listed.stdout.splitlines()]
    whole = {
        path: "\n".join(path.with_name(f"{name}.lua").read_text() for name in (*BEFORE.get(path.stem, ()), path.stem))
        for path in paths
        if path.stem not in SHARED
    }
    assert len(whole) >= 12
    assert {str(path): found for path, text in whole.items() if (found := undeclared(text))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "redis.call('GET', KEYS[1] .. ':more')",
        "redis.call('GET', 'a name')",
        "redis.call('GET', ARGV[1])",
        "redis.call(ARGV[1], KEYS[1])",
        "local key = KEYS[1] .. 'x'\nredis.call('GET', key)",
        "local one, two = KEYS[1], ARGV[1]\nredis.call('GET', two)",
        "local key = KEYS[1]\nkey = ARGV[1]\nredis.pcall('GET', key)",
        "local room = {}\nroom[what] = PREFIX .. what\nredis.call('GET', room.head)",
        "local room = { head = ARGV[1] }\nredis.call('GET', room.head)",
        "local function get(key)\n    return redis.call('GET', key)\nend\nget(KEYS[1])\nget(ARGV[1])",
        "local function name_of(what)\n    return KEYS[1] .. what\nend\nredis.call('GET', name_of('x'))",
        "local function name_of(what)\n    return KEYS[1] .. what\nend\nlocal key = name_of('x')\nredis.call('GET', key)",
        "for _, key in ipairs(ARGV) do\n    redis.call('GET', key)\nend",
        "local key = KEYS[1]\nfor _, key in ipairs(ARGV) do\n    redis.call('GET', key)\nend",
    ],
)
def test_keys_of_other_origin_are_found(text: str):
    """As they were written once, or could be."""
    assert undeclared(text) != []


@pytest.mark.parametrize(
    "text",
    [
        "redis.call('GET', KEYS[index + 1])",
        "redis.call('TIME')",
        "local tail, feed = KEYS[1], ARGV[1]\nredis.call('XLEN', tail)",
        "local function get(key)\n    return redis.call('GET', key)\nend\nget(KEYS[1])",
        (
            "local function room_of(first)\n    local room = {}\n    room[what] = KEYS[first]\n    return room\nend\n"
            "local room = room_of(ARGV[1])\nredis.call('GET', room.head)"
        ),
    ],
)
def test_keys_of_keys_are_not(text: str):
    """However they came to where they are used."""
    assert undeclared(text) == []


def undeclared(text: str) -> list[str]:
    """Return the expressions that stand in place of a key and do not come from KEYS."""
    text = re.sub(r"--.*", "", text)
    functions = {name: (parameters, body) for _, name, parameters, body in FUNCTION.findall(text)}
    found: list[str] = []
    wanted: list[str] = []
    for arguments in calls(text, r"redis\.p?call"):
        command = re.fullmatch(r"'([A-Z]+)'", arguments[0])
        if command is None:
            found.append(arguments[0])
        elif command[1] not in WITHOUT_KEY:
            wanted.append(arguments[1])
    seen: set[str] = set()
    while wanted:
        key = wanted.pop()
        if key in seen or re.fullmatch(r"KEYS\[[^\[\]]+\]", key):
            continue
        seen.add(key)
        origins = origins_of(key, text, functions)
        wanted += origins
        if not origins:
            found.append(key)
    return found


def origins_of(key: str, text: str, functions: dict[str, tuple[str, str]]) -> list[str]:
    """Return the expressions that `key` may stand for; none where that cannot be told."""
    made = re.fullmatch(r"(\w+)\(.*\)", key)
    if made and made[1] in functions:
        return re.findall(r"\breturn (.+)", functions[made[1]][1])
    if key in ("{}", "true"):  # no name
        return ["KEYS[none]"]
    if not (name := NAME.fullmatch(key)):
        return []
    root, field = name.groups()
    return [*assigned(root, field, text), *passed(root, text, functions)]


def assigned(root: str, field: str | None, text: str) -> Iterator[str]:
    """Return what is assigned to a name, and to its fields."""
    for names, values in re.findall(r"(?:^|\n) *(?:local )?([a-z_, ]+) = (.+)", text):
        each = dict(zip(names.split(", "), split(values), strict=False))
        if root in each:
            inside = re.fullmatch(r"\{ (\w+) = (.+) \}", each[root])
            yield each[root] if inside is None else inside[2] if inside[1] == field else "{}"
    yield from re.findall(rf"(?:^|\n) *{root}(?:\.\w+|\[\w+\]) = (.+)", text)
    yield from re.findall(rf"\bfor [\w, ]*\b{root}\b[\w, ]* in .+", text)


def passed(root: str, text: str, functions: dict[str, tuple[str, str]]) -> Iterator[str]:
    """Return what is passed for a parameter of that name, in whatever function has one."""
    for name, (parameters, _) in functions.items():
        if root in parameters.split(", "):
            for arguments in calls(text, rf"(?<!function )\b{name}"):
                yield arguments[parameters.split(", ").index(root)]


def calls(text: str, function: str) -> Iterator[list[str]]:
    """Return the arguments of each call."""
    for call in re.finditer(rf"{function}\(", text):
        yield split(text[call.end() :])


def split(text: str) -> list[str]:
    """Return what stands between commas, up to the bracket that closes more than there are, or the end."""
    depth, parts = 0, [""]
    for piece in re.findall(r"'[^']*'|.", text, re.DOTALL):
        depth += (piece in "([{") - (piece in ")]}")
        if depth < 0:
            break
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts]
