"""Where documents are cut."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.knowledge.parsing.blocks import Block
from handlers.knowledge.parsing.chunker import MOST_CHARACTERS, MOST_CHUNKS, chunks_of
from handlers.knowledge.parsing.pieces import WHOLE_LINES, WHOLE_TEXT
from handlers.knowledge.parsing.sentences import sentences_of, words_of
from tests.handlers.knowledge.parsing.reading import refused

SENTENCE = "The quick brown fox jumps over the lazy dog near the river. "  # 12 words


def text(words: int, headings: tuple[str, ...] = ("A", "B")) -> Block:
    return Block("text", (SENTENCE * (words // 12 + 1)).strip(), headings)


def test_paragraphs_stay_whole_and_chunks_are_even():
    """Six paragraphs of 100 words are three chunks of 200, not two and a rest."""
    found = list(chunks_of(text(95) for _ in range(6)))
    assert len(found) == 3
    assert all(180 <= words_of(chunk.text) <= 240 for chunk in found)


def test_overlap_is_of_the_same_section_only():
    """The next chunk begins with the end of the one before; that of another section does not."""
    parts = [Block("text", f"{SENTENCE * 15}End {number}.", ("A", "B")) for number in range(2)]
    first, second, other = chunks_of([*parts, text(180, ("A", "C"))])
    assert second.text.startswith(f"{SENTENCE}End 0.")
    assert first.text.endswith("End 0.")
    assert not other.text.startswith("End")


def test_long_paragraph_is_cut_at_sentences():
    """No sentence is in halves, as long as it is one."""
    found = list(chunks_of([text(1000)]))
    assert len(found) > 3
    assert all(chunk.text.endswith("river.") and words_of(chunk.text) <= WHOLE_TEXT + 40 for chunk in found)


def test_long_table_is_cut_at_rows_with_its_header():
    """Each part can be read by itself, and has its lines."""
    rows = "\n".join(f"option {number} | {SENTENCE}" for number in range(100))
    table = Block("table", rows, first_line=3, last_line=102, header="option | meaning", by_line=True)
    found = list(chunks_of([table]))
    assert all(chunk.text.startswith("option | meaning\noption ") for chunk in found)
    assert all(chunk.kind == "table" for chunk in found)
    lines = [(chunk.place.first_line or 0, chunk.place.last_line or 0) for chunk in found]
    assert lines[0][0] == 3
    assert lines[-1][1] == 102
    assert [after[0] - before[1] for before, after in pairwise(lines)] == [1] * (len(lines) - 1)


def test_record_is_a_chunk_of_its_own():
    """However short it is: it is found and cited alone."""
    records = [Block("record", f"name: {name}", record=name) for name in ("Ada", "Jane")]
    assert [(chunk.text, chunk.place.record) for chunk in chunks_of(records)] == [
        ("name: Ada", "Ada"),
        ("name: Jane", "Jane"),
    ]


def test_chunks_of_a_document_are_bounded():
    """One document cannot fill an index."""
    with refused("DOCUMENT_TOO_LARGE"):
        list(chunks_of(Block("record", str(number)) for number in range(MOST_CHUNKS + 1)))


def test_text_without_spaces_is_cut_too():
    """Base64, and scripts that have none."""
    for long in ("x" * 100_000, "山" * 100_000):
        found = list(chunks_of([Block("text", long)]))
        assert all(len(chunk.text) <= 2_500 for chunk in found)
        assert sum(len(chunk.text) for chunk in found) == 100_000


BLOCKS = st.builds(
    Block,
    kind=st.sampled_from(["text", "table", "code", "record"]),
    text=st.text(st.sampled_from(" \n.aZ|山é\u3002"), min_size=1, max_size=5_000).map(lambda text: text * 3 + "a"),
    headings=st.sampled_from([(), ("A",), ("A", "B"), ("A", "C"), ("A", "B", "D"), ("E",)]),
    page=st.sampled_from([None, 1, 2]),
    header=st.sampled_from(["", "a | b"]),
    by_line=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(BLOCKS, max_size=8))
def test_nothing_is_lost_and_bounds_hold(blocks: list[Block]):
    """Every character that is no white space is in some chunk, and no chunk is over the bounds."""
    found = list(chunks_of(blocks))
    assert all(len(chunk.text) <= MOST_CHARACTERS for chunk in found)
    assert all(words_of(chunk.text) <= WHOLE_LINES + WHOLE_TEXT + 100 for chunk in found)
    for character in "aZ山é|":
        held = sum(chunk.text.count(character) for chunk in found)
        assert held >= sum(block.text.count(character) for block in blocks)


def test_sentences():
    """Without knowing a language; closing quotes belong to what they close."""
    assert sentences_of('He said "Go!" Then he went. e.g. this stays. 2nd follows. 終わり。次。') == [
        'He said "Go!"',
        "Then he went. e.g. this stays.",
        "2nd follows.",
        "終わり。",
        "次。",
    ]
