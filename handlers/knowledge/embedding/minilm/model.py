"""all-MiniLM-L6-v2 in numpy: a BERT encoder, the mean of its tokens, of length one. Runs in a process of its own (worker.py).

The architecture is that of Devlin et al., "BERT" (2018), as MiniLM (Wang et al., 2020) uses it, pooled as Sentence-BERT does
(Reimers and Gurevych, 2019); what the weights are called and how they lie in the file is safetensors' format. Texts are not padded:
the dense layers see the tokens of all texts in one matrix, attention sees each text by itself.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
DIMENSIONS = 384
# Longer texts are cut. The model takes 512, but has learnt from 128; 256 take twice the time and find no more (`make eval`).
MOST_TOKENS = 128
# The dense layers' largest matrix stays in the second level cache.
TOKENS_AT_ONCE = 512
_LAYERS, _HEADS, _EPSILON = 6, 12, 1e-12
_WIDTH = DIMENSIONS // _HEADS
_ROOT_HALF = np.float32(0.7071067811865476)
_NAMED = {"F32": np.float32, "I64": np.int64}


class _Dense:
    """A linear layer; the weights of several that have one input are put together."""

    def __init__(self, tensors: dict[str, Any], *names: str) -> None:
        self.weight: Floats = np.concatenate([tensors[f"{name}.weight"] for name in names])
        self.bias: Floats = np.concatenate([tensors[f"{name}.bias"] for name in names])
        if len(names) == 1:
            # One by itself stays where the file is mapped, in memory that all processes of the hub share.
            self.weight = tensors[f"{names[0]}.weight"]

    def __call__(self, x: Floats) -> Floats:
        out: Floats = x @ self.weight.T
        out += self.bias
        return out


class _Norm:
    """Layer normalisation (Ba et al., 2016)."""

    def __init__(self, tensors: dict[str, Any], name: str) -> None:
        self.weight: Floats = tensors[f"{name}.weight"]
        self.bias: Floats = tensors[f"{name}.bias"]

    def __call__(self, x: Floats) -> Floats:
        x -= x.mean(axis=1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=1, keepdims=True) + np.float32(_EPSILON))
        x *= self.weight
        x += self.bias
        return x


class _Layer:
    def __init__(self, tensors: dict[str, Any], number: int) -> None:
        name = f"encoder.layer.{number}"
        each = (f"{name}.attention.self.{part}" for part in ("query", "key", "value"))
        self.inward = _Dense(tensors, *each)
        self.outward = _Dense(tensors, f"{name}.attention.output.dense")
        self.attended = _Norm(tensors, f"{name}.attention.output.LayerNorm")
        self.wide = _Dense(tensors, f"{name}.intermediate.dense")
        self.narrow = _Dense(tensors, f"{name}.output.dense")
        self.ended = _Norm(tensors, f"{name}.output.LayerNorm")

    def __call__(self, x: Floats, ends: list[int]) -> Floats:
        x = self.attended(x + self.outward(_attention(self.inward(x), ends)))
        return self.ended(x + self.narrow(_gelu(self.wide(x))))


def _attention(mixed: Floats, ends: list[int]) -> Floats:
    """Return what each token takes from the tokens of its text (Vaswani et al., 2017); `mixed` is query, key and value."""
    out = np.empty((len(mixed), DIMENSIONS), np.float32)
    scale = np.float32(1 / np.sqrt(_WIDTH))
    begin = 0
    for end in ends:
        part = mixed[begin:end].reshape(end - begin, 3, _HEADS, _WIDTH).transpose(1, 2, 0, 3)
        scores = (part[0] * scale) @ part[1].transpose(0, 2, 1)
        scores -= scores.max(axis=2, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=2, keepdims=True)
        out[begin:end] = (scores @ part[2]).transpose(1, 0, 2).reshape(end - begin, DIMENSIONS)
        begin = end
    return out


def _gelu(x: Floats) -> Floats:
    """Return x * (1 + erf(x / sqrt(2))) / 2, within 2e-7 (erf by Abramowitz and Stegun, 7.1.26)."""
    z = np.abs(x)
    z *= _ROOT_HALF
    t = z * np.float32(0.3275911)
    t += np.float32(1)
    np.reciprocal(t, out=t)
    series = t * np.float32(1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series += np.float32(factor)
        series *= t
    np.square(z, out=z)
    np.negative(z, out=z)
    series *= np.exp(z, out=z)  # 1 - erf(|x| / sqrt(2))
    # x > 0: x - x * series / 2; x < 0: x * series / 2
    series *= np.abs(x)
    series *= np.float32(-0.5)
    series += np.maximum(x, np.float32(0))
    return series


class MiniLM:
    """The model of a folder. Raises OSError or ValueError where the folder holds none."""

    def __init__(self, folder: Path) -> None:
        # By name, since types are checked where the extra is not installed too.
        self._tokenizer: Any = import_module("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._tokenizer.no_padding()
        tensors = _mapped(folder / "model.safetensors")
        self._words: Floats = tensors["embeddings.word_embeddings.weight"]
        # There is one segment: its type is added to each position.
        types = tensors["embeddings.token_type_embeddings.weight"]
        self._places: Floats = tensors["embeddings.position_embeddings.weight"][:MOST_TOKENS] + types[0]
        self._begun = _Norm(tensors, "embeddings.LayerNorm")
        self._layers = [_Layer(tensors, number) for number in range(_LAYERS)]

    def embed(self, texts: list[str]) -> Floats:
        """Return a row of length one for each text."""
        tokens: list[list[int]] = [each.ids for each in self._tokenizer.encode_batch_fast(texts)]
        out = np.empty((len(texts), DIMENSIONS), np.float32)
        for group in _groups(tokens):
            out[group] = self._encoded([tokens[index] for index in group])
        return out

    def _encoded(self, tokens: list[list[int]]) -> Floats:
        lengths = [len(each) for each in tokens]
        ends: list[int] = np.cumsum(lengths).tolist()
        places = np.concatenate([np.arange(length) for length in lengths])
        x = self._begun(self._words[np.concatenate(tokens)] + self._places[places])
        for layer in self._layers:
            x = layer(x, ends)
        pooled: Floats = np.add.reduceat(x, [0, *ends[:-1]], axis=0)
        # The mean and the sum of a text have one direction.
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def _groups(tokens: list[list[int]]) -> list[list[int]]:
    """Return the texts' numbers in groups that have TOKENS_AT_ONCE at most."""
    groups: list[list[int]] = [[]]
    room = TOKENS_AT_ONCE
    for index, each in enumerate(tokens):
        if len(each) > room and groups[-1]:
            groups.append([])
            room = TOKENS_AT_ONCE
        groups[-1].append(index)
        room -= len(each)
    return [group for group in groups if group]


def _mapped(path: Path) -> dict[str, Any]:
    """Return the tensors of a safetensors file, mapped: the header's length, the header (JSON: names and places), the numbers."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(size))
    data = np.memmap(path, np.uint8, "r", offset=8 + size)
    return {
        name: data[slice(*about["data_offsets"])].view(_NAMED[about["dtype"]]).reshape(about["shape"])
        for name, about in header.items()
        if name != "__metadata__"
    }
