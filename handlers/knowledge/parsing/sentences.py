"""Where sentences end, and how long texts are: by rules that need no language. No I/O."""

import re

# After a full stop, question or exclamation mark (with closing quotes), before something that is no lower-case letter. CJK marks
# need no space. "e.g. Jane" is cut wrongly, which costs nothing here: sentences only tell where a long paragraph may be cut.
_END = re.compile(r"[.!?\u2026][\"'\u201d\u2019)\]]*(?=\s+[^\sa-z])|[\u3002\uff01\uff1f]")
# Scripts that have no spaces between words: two characters count as one word.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")


def words_of(text: str) -> int:
    """Return about how many words `text` has."""
    count = len(text.split())
    return count if text.isascii() else count + len(_UNSPACED.findall(text)) // 2


def sentences_of(text: str) -> list[str]:
    """Cut `text` into sentences, without the white space between them."""
    found: list[str] = []
    begin = 0
    for end in _END.finditer(text):
        found.append(text[begin : end.end()].strip())
        begin = end.end()
    if rest := text[begin:].strip():
        found.append(rest)
    return found


def cut_at_spaces(text: str, characters: int) -> list[str]:
    """Cut `text` into parts of at most `characters`, at white space where there is some in the last half."""
    parts: list[str] = []
    begin = 0
    while len(text) - begin > characters:
        end = begin + characters
        space = max(text.rfind(" ", begin + characters // 2, end), text.rfind("\n", begin + characters // 2, end))
        cut = space if space > begin else end
        parts.append(text[begin:cut])
        begin = cut + 1 if cut == space else cut
    parts.append(text[begin:])
    return [part for part in parts if part.strip()]
