"""Stacks as py-spy writes them, and the flame graph that is drawn of them: one small SVG without script, or a path of this machine.

A box is a function, as wide as the share of looks in which it, or what it has called, was running; who called it stands below.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape
from zlib import crc32

Stacks = Mapping[tuple[str, ...], int]

WIDTH, HEIGHT, FONT, HEAD = 1200, 17, 11, 30
# A letter of the font is about so wide.
LETTER = 6.4
# Boxes narrower than this many pixels are left out: nobody could point at them.
LEAST = 1.5
# What uvloop's loop is in libuv.
LOOP = "uv_run"
# What tells nothing: addresses without a symbol, and macros that the compiler has merged with what they stand beside.
_NAMELESS = re.compile(r"0x[0-9a-f]+ |Py_X?DECREF ")
# `name (path/file.py:12)`; native frames have their library there.
_FRAME = re.compile(r"^(?P<name>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")
_HERE = re.compile(r"(?:^|/)((?:hub|rest|handlers|rooms|core)/[\w/]+\.py)$")


def read_stacks(text: str) -> Stacks:
    """Read lines of `frame;frame;... count`, outermost first, from the event loop on.

    What differs only by line becomes one. Other threads wait, which native stacks do not tell from work: they are left out.
    """
    stacks: dict[tuple[str, ...], int] = {}
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        names = [shown(frame) for frame in frames.split(";") if not _NAMELESS.match(frame)]
        loop = next((at for at, name in enumerate(names) if name.startswith(LOOP)), None)
        if loop is not None:
            stack = tuple(names[loop:])
            stacks[stack] = stacks.get(stack, 0) + int(count)
    return stacks


def shown(frame: str) -> str:
    """Return a frame's name with its file: of this repository by its path in it, of others by the name alone."""
    found = _FRAME.match(frame)
    if found is None:
        return frame.rpartition("/")[2]
    own = _HERE.search(found["file"])
    file = own[1] if own is not None else found["file"].rpartition("/")[2]
    return f"{found['name']} ({file})" if file else found["name"]


@dataclass(slots=True)
class _Box:
    count: int = 0
    above: dict[str, "_Box"] = field(default_factory=dict[str, "_Box"])


def drawn(stacks: Stacks, title: str) -> str:
    """Return the SVG."""
    root = _Box()
    for stack, count in stacks.items():
        root.count += count
        box = root
        for frame in stack:
            box = box.above.setdefault(frame, _Box())
            box.count += count
    scale = WIDTH / max(root.count, 1)
    height = HEAD + (_depth(root, scale) + 1) * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="{FONT}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="6" y="18" font-size="13">{escape(title)}</text>',
        *_boxes(root, root.count, 0.0, height - HEIGHT, scale),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _depth(box: _Box, scale: float) -> int:
    return max((1 + _depth(each, scale) for each in box.above.values() if each.count * scale >= LEAST), default=0)


def _boxes(box: _Box, total: int, left: float, top: int, scale: float) -> list[str]:
    parts: list[str] = []
    for name, each in sorted(box.above.items()):
        width = each.count * scale
        if width >= LEAST:
            parts.append(_drawn_box(name, each.count / total, left, top, width))
            parts += _boxes(each, total, left, top - HEIGHT, scale)
        left += width
    return parts


def _drawn_box(name: str, share: float, left: float, top: int, width: float) -> str:
    letters = int((width - 4) / LETTER)
    label = name if len(name) <= letters else name[: max(letters - 1, 0)] + "…"
    text = f'<text x="{left + 2:.1f}" y="{top + 12}">{escape(label)}</text>' if letters >= 3 else ""
    # Ours stand out.
    hue = 205 if ".py)" in name and "/" in name else 30
    light = 62 + crc32(name.encode()) % 18
    box = f'<rect x="{left:.1f}" y="{top}" width="{width - 0.5:.1f}" height="{HEIGHT - 1}" fill="hsl({hue},70%,{light}%)"/>'
    return f"<g><title>{escape(name)}: {share:.1%}</title>{box}{text}</g>"
