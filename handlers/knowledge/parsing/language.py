"""The language of a document, by py3langid: one that a stemmer knows, or "simple". No I/O."""

from collections.abc import Iterable
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

SIMPLE = "simple"
STEMMED = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
# Without a stemmer, but in scripts of their own or close to others: they must not be taken for what they are not.
_OTHERS = ("bg", "he", "hr", "ja", "ka", "ko", "mk", "sk", "sl", "th", "uk", "ur", "vi", "zh", "zxx")
# py3langid's confidence is calibrated; names, numbers and code stay below this, sentences of five words are above.
LEAST_CONFIDENCE = 0.7
SAMPLE_CHARACTERS = 1_500
# So much from the beginning of each chunk: the licence on top, or the code in it, is not the language of the whole.
_A_CHUNK = 400


@cache
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([*STEMMED, *_OTHERS])
    return identifier


def load() -> None:
    """Read the model, which takes half a second, before the first document comes."""
    _identifier()


def language_of(texts: Iterable[str]) -> str:
    """Return the name of the stemmer for a document of these texts, or "simple" where that is unsure."""
    sample = ""
    for text in texts:
        sample += text[:_A_CHUNK] + "\n"
        if len(sample) >= SAMPLE_CHARACTERS:
            break
    found, confidence = _identifier().classify(sample)
    return STEMMED.get(found, SIMPLE) if confidence >= LEAST_CONFIDENCE else SIMPLE
