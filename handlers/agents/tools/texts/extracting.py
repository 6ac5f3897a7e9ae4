"""What stands in a text by its form: addresses, dates, numbers, names. Every rule takes time in proportion to the text. No I/O."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Literal, get_args

Kind = Literal["emails", "dates", "numbers", "urls", "names"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# Of each kind.
MOST_FOUND = 200

_EMAIL = re.compile(
    r"(?<![\w.+%-])[A-Za-z0-9_][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}\b"
)
_URL = re.compile(r"\b(?:https?|ftp)://[^\s<>\"'`{}|\\^\[\]]{1,2000}", re.IGNORECASE)
_BEHIND_URL = ".,;:!?)"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<{0}>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DATE = re.compile(
    rf"(?<![\w./-])(?:(?P<y1>\d{{4}})-(?P<m1>\d\d)-(?P<d1>\d\d)(?!\d)"
    rf"|(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\.?\s(?:of\s)?{_MONTH.format('m2')},?\s(?P<y2>\d{{4}})\b"
    rf"|{_MONTH.format('m3')}\s(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?,?\s(?P<y3>\d{{4}})\b"
    r"|(?P<d4>\d{1,2})\.\s?(?P<m4>\d{1,2})\.\s?(?P<y4>\d{4})(?![\w-])"
    r"|\d{1,2}/\d{1,2}/(?:\d{4}|\d\d)(?![\w/]))",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\w.,])[+-]?(?:\d{1,3}(?:,\d{3}){1,6}|\d{1,30})(?:\.\d{1,30})?(?:\s?%)?(?!\w)(?![.,]\d)")
_WORD = r"[A-ZÀ-ÖØ-Þ][\w'\u2019-]{0,40}"
_NAME = re.compile(rf"(?<![\w@./]){_WORD}(?: (?:(?:van|von|de|der|den|di|da|del|la) ){{0,2}}{_WORD}){{0,5}}")
_TITLE = re.compile(r"(?:Mr|Mrs|Ms|Dr|Prof)\.? ")
# After these, or at the beginning of a line, a capital letter is no sign of a name.
_SENTENCE = re.compile(r"(?:^|[.!?:\u2026][\"'\u201d\u2019)\]]*\s|\n\s*[-*#>\d.]*\s*)$")
_COMMON = (
    "i a an the this that these those it he she we they you his her its our their my your there here what when where who why how "
    "which if in on at by for from of to with as and or but not no yes is are was were be do does did has have had can could will "
    "would should may might must please thanks hello dear hi also however then so because while after before all every some most "
    "monday tuesday wednesday thursday friday saturday sunday january february march april june july august september october "
    "november december"
)
_USUAL = frozenset(_COMMON.split())


def extracted(text: str, kinds: Sequence[Kind]) -> dict[Kind, list[str]]:
    """Return what of each kind stands in a text, in the order in which it first does, each once.

    Dates that are written unmistakably come as YYYY-MM-DD; 03/04/2026 stays as it stands. What is part of an address or of a date
    is no number and no name.
    """
    readers: Mapping[Kind, Callable[[str], Iterator[str]]] = {
        "emails": _emails,
        "dates": _dates,
        "numbers": _numbers,
        "urls": _urls,
        "names": _names,
    }
    return {kind: _first(readers[kind](text)) for kind in kinds}


def _first(found: Iterator[str]) -> list[str]:
    kept: dict[str, None] = {}
    for each in found:
        kept[each] = None
        if len(kept) == MOST_FOUND:
            break
    return list(kept)


def _emails(text: str) -> Iterator[str]:
    return (found[0] for found in _EMAIL.finditer(text))


def _urls(text: str) -> Iterator[str]:
    for found in _URL.finditer(text):
        url = found[0].rstrip(_BEHIND_URL)
        # A parenthesis that opens within it belongs to it.
        yield f"{url})" if url.count("(") > url.count(")") and found[0][len(url) :].startswith(")") else url


def _dates(text: str) -> Iterator[str]:
    for found in _DATE.finditer(text):
        day = _day(found)
        if day is not None:
            yield day


def _day(found: re.Match[str]) -> str | None:
    for form in "1234":
        year = found[f"y{form}"]
        if year is not None:
            month = found[f"m{form}"]
            number = int(month) if month.isdecimal() else _MONTHS.index(month[:3].lower()) + 1
            try:
                return date(int(year), number, int(found[f"d{form}"])).isoformat()
            except ValueError:
                return None  # the 31st of a month that has 30
    return found[0]


def _numbers(text: str) -> Iterator[str]:
    return (found[0] for found in _NUMBER.finditer(_without(text, _EMAIL, _URL, _DATE)))


def _names(text: str) -> Iterator[str]:
    text = _without(text, _EMAIL, _URL, _DATE)
    found = list(_NAME.finditer(text))
    # What has a capital letter in mid-sentence has it at the beginning of one for the same reason.
    sure = {each[0] for each in found if not _begins_sentence(text, each.start())}
    for each in found:
        name = _trimmed(each[0])
        if not name:
            continue
        is_titled = _TITLE.search(text, max(0, each.start() - 6), each.start()) is not None
        if is_titled or " " in name or name in sure or each[0] in sure:
            yield name


def _trimmed(name: str) -> str:
    words = name.removesuffix("'s").removesuffix("\u2019s").split(" ")
    while words and words[0].casefold() in _USUAL:
        words.pop(0)
    while words and (words[-1].casefold() in _USUAL or not words[-1][:1].isupper()):
        words.pop()
    return "" if len(words) == 1 and len(words[0]) < 2 else " ".join(words)


def _begins_sentence(text: str, at: int) -> bool:
    return _SENTENCE.search(text[max(0, at - 8) : at]) is not None if at else True


def _without(text: str, *patterns: re.Pattern[str]) -> str:
    for pattern in patterns:
        text = pattern.sub(lambda found: " " * len(found[0]), text)
    return text
