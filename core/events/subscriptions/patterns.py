"""Globs over event types and subjects: `*` stands for any characters, dots and slashes too; all else for itself."""

import re

_SPECIAL = re.compile(r"[\\%_]")


def like_pattern(glob: str) -> str:
    """Return the pattern of LIKE that matches what `glob` matches."""
    return _SPECIAL.sub(r"\\\g<0>", glob).replace("*", "%")
