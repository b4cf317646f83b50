import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from studio.errors import Cancelled, ConfigError, InputError, StudioError, UnavailableError
from studio.models import embed as embedding
from studio.models import vectors
from studio.models.embed import Encoder, embed, embedding_key, loaded_model, model_fingerprint, release_model
from studio.models.load import ModelSpec
from studio.models.neighbours import F32

TEXTS = ["segunda via da fatura", "uma frase bem mais longa do que as outras, para a ordem", "", "ok", "é só isto 👍🏽"]
MANY = [f"pergunta número {number} {'longa ' * (number % 7)}" for number in range(60)]


@pytest.fixture
def encoder(tiny: str) -> Encoder:
    return Encoder(ModelSpec(tiny, 32, device="cpu"))


@pytest.fixture
def copy(tiny: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    release_model()


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The texts of each call of `encode`, as they come."""
    from sentence_transformers import SentenceTransformer

    calls: list[list[str]] = []
    true = SentenceTransformer.encode

    def counted(self: SentenceTransformer, texts: list[str], **options: object) -> object:
        calls.append(texts)
        return true(self, texts, **options)

    monkeypatch.setattr(SentenceTransformer, "encode", counted)
    return calls


def fake_vectors(monkeypatch: pytest.MonkeyPatch, vector: float) -> None:
    from sentence_transformers import SentenceTransformer

    def encode(self: SentenceTransformer, texts: list[str], **_: object) -> F32:
        return np.array([[vector, 0] if text == "bad" else [1, 0] for text in texts], np.float32)

    monkeypatch.setattr(SentenceTransformer, "encode", encode)


def only(store: Path) -> Path:
    (folder,) = store.iterdir()
    return folder


@pytest.mark.parametrize("prompt", ["", "Instruct: responda\nQuery: "])
def test_rows_are_those_of_plain_encode_in_the_order_of_the_texts(
    encoder: Encoder, tmp_path: Path, prompt: str
) -> None:
    texts = [*TEXTS, *TEXTS[::-1], "ok"]
    found = embed(encoder, texts, prompt, tmp_path)
    plain = loaded_model(encoder.spec).encode(texts, prompt=prompt, normalize_embeddings=True)
    assert found.dtype == np.float32 and found.shape == plain.shape
    assert (found * plain).sum(axis=1).min() >= 0.9999
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6
    assert np.array_equal(found[3], found[-1])
    assert np.array_equal(embed(encoder, pl.Series(texts), prompt, tmp_path), found)


def test_equal_texts_are_encoded_once_the_longest_first_and_never_again(
    encoder: Encoder, tmp_path: Path, encoded: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    embed(encoder, TEXTS * 2, "", tmp_path, lambda *step: told.append(step))
    assert [text for call in encoded for text in call] == sorted(TEXTS, key=len, reverse=True)
    assert told == [("load the model", 0, 1), ("load the model", 1, 1), ("embed texts", 0, 5), ("embed texts", 5, 5)]
    encoded.clear()
    embed(encoder, ["novo", *TEXTS], "", tmp_path)
    assert encoded == [["novo"]]
    encoded.clear()
    monkeypatch.setattr(embedding, "load_model", lambda spec: pytest.fail("the model was loaded"))
    release_model()
    embed(encoder, [*TEXTS, "novo"], "", tmp_path, lambda *step: pytest.fail(f"{step}"))
    assert encoded == []


def test_a_cache_in_the_same_order_is_not_copied(encoder: Encoder, tmp_path: Path) -> None:
    texts = sorted(TEXTS, key=len, reverse=True)
    first = embed(encoder, texts, "", tmp_path)
    assert isinstance(first, np.memmap) and np.array_equal(embed(encoder, texts[1:3], "", tmp_path), first[1:3])
    first[:] = 0  # in memory only
    assert embed(encoder, texts, "", tmp_path).any(axis=1).all()


def test_two_prompts_load_the_model_once(
    encoder: Encoder, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release_model()
    loads = []
    true = embedding.load_model
    monkeypatch.setattr(embedding, "load_model", lambda spec: (loads.append(spec), true(spec))[1])
    embed(encoder, ["a"], "Query: ", tmp_path / "store")
    embed(encoder, ["a"], "", tmp_path / "store")
    loaded_model(encoder.spec)
    assert len(loads) == 1 and len(list((tmp_path / "store").iterdir())) == 2
    release_model()
    loaded_model(encoder.spec)
    loaded_model(ModelSpec(str(copy), 32, device="cpu"))
    assert len(loads) == 3


def test_an_empty_prompt_is_not_the_default_prompt(copy: Path, tmp_path: Path) -> None:
    path = copy / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prompts": {"q": "Q: "}, "default_prompt_name": "q"}))
    encoder = Encoder(ModelSpec(str(copy), 32, device="cpu"))
    store = tmp_path / "store"
    raw, prompted = embed(encoder, ["fatura"], "", store), embed(encoder, ["fatura"], "Q: ", store)
    model = loaded_model(encoder.spec)
    assert np.allclose(prompted, model.encode(["fatura"]), atol=1e-5), "plain encode applies the default prompt"
    assert np.allclose(raw, model.encode(["fatura"], prompt=""), atol=1e-5)
    assert not np.allclose(raw, prompted, atol=1e-2)


def test_the_key_is_of_all_that_vectors_depend_on(encoder: Encoder, tiny: str, copy: Path) -> None:
    key = embedding_key(encoder, "")
    same = Encoder(ModelSpec(str(copy), 32, dtype="float32", device="cpu"), batch_size=7, devices=("cpu",))
    assert embedding_key(same, "") == key, "a copy elsewhere, other batches and a dtype in words give the same vectors"
    (copy / "README.md").write_text("another card")
    assert embedding_key(same, "") == key
    keys = {
        key,
        embedding_key(encoder, "Query: "),
        embedding_key(encoder, "Query:"),
        embedding_key(Encoder(ModelSpec(tiny, 33, device="cpu")), ""),
        embedding_key(Encoder(ModelSpec(tiny, 32, dtype="bfloat16", device="cpu")), ""),
    }
    weights = copy / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(bytes(changed))
    keys.add(embedding_key(same, ""))
    pooling = copy / "1_Pooling" / "config.json"
    pooling.write_text(pooling.read_text() + "\n")
    keys.add(embedding_key(same, ""))
    assert len(keys) == 7


def test_a_hub_model_is_known_by_its_commit(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    pinned = ModelSpec("owner/name", 32, revision="b" * 40)
    assert model_fingerprint(pinned) == f"owner/name@{'b' * 40}", "nobody is asked"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnavailableError):
        model_fingerprint(ModelSpec("owner/name", 32))
    repo = tmp_path / "models--owner--name"
    shutil.copytree(tiny, repo / "snapshots" / ("a" * 40))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    assert model_fingerprint(ModelSpec("owner/name", 32)) == f"owner/name@{'a' * 40}"


KILLED = """
import sys
from pathlib import Path
from studio.models.embed import Encoder, embed
from studio.models.load import ModelSpec

def told(step, done, total):
    print(step, done, total, flush=True)
    if step == "embed texts" and done >= 8:
        sys.stdin.readline()

texts = Path(sys.argv[3]).read_text().splitlines()
embed(Encoder(ModelSpec(sys.argv[1], 32, device="cpu"), batch_size=8), texts, "", Path(sys.argv[2]), told)
"""


def test_a_kill_keeps_the_chunks_that_were_told(
    encoder: Encoder, tiny: str, tmp_path: Path, encoded: list[list[str]]
) -> None:
    store, texts = tmp_path / "store", tmp_path / "texts"
    texts.write_text("\n".join(MANY))
    command = [sys.executable, "-c", KILLED, tiny, str(store), str(texts)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert any(line.startswith("embed texts 8 ") for line in child.stdout)
        # It waits inside the progress callback, the lock in its hand.
        embed(encoder, sorted(MANY, key=len, reverse=True)[:8], "", store)
        assert encoded == [], "what is on the disk can be read while another process writes"
        child.send_signal(signal.SIGKILL)
    found = embed(encoder, MANY, "", store)
    again = [text for call in encoded for text in call]
    assert again == sorted(MANY, key=len, reverse=True)[8:]
    plain = loaded_model(encoder.spec).encode(MANY, prompt="")
    assert (found * plain).sum(axis=1).min() >= 0.9999


@pytest.mark.parametrize(("vectors_cut", "hashes_cut"), [(1, 0), (700, 0), (0, 5), (3, 17), (0, 16)])
def test_a_torn_tail_is_cut_off(
    encoder: Encoder, tmp_path: Path, encoded: list[list[str]], vectors_cut: int, hashes_cut: int
) -> None:
    whole = embed(encoder, TEXTS, "", tmp_path).copy()
    folder = only(tmp_path)
    for name, cut in (("vectors.f32", vectors_cut), ("hashes", hashes_cut)):
        path = folder / name
        os.truncate(path, path.stat().st_size - cut)
    encoded.clear()
    assert np.allclose(embed(encoder, TEXTS, "", tmp_path), whole, atol=1e-5)
    lost = max(-(-vectors_cut // (4 * whole.shape[1])), -(-hashes_cut // 16))
    assert [text for call in encoded for text in call] == sorted(TEXTS, key=len, reverse=True)[5 - lost :]
    assert (folder / "vectors.f32").stat().st_size == whole.nbytes and (folder / "hashes").stat().st_size == 5 * 16


def test_chunks_grow_while_they_are_quick(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_vectors(monkeypatch, 1)
    monkeypatch.setattr(embedding, "_SHORT_SECONDS", 60)
    told = []
    embed(encoder, MANY, "", tmp_path, lambda _, done, __: told.append(done))
    assert told[2:] == [0, 16, 48, 60]
    monkeypatch.setattr(embedding, "_SHORT_SECONDS", -1)
    monkeypatch.setattr(embedding, "_LONG_SECONDS", -1)
    told.clear()
    embed(Encoder(encoder.spec, batch_size=30), MANY, "other", tmp_path, lambda _, done, __: told.append(done))
    assert told[2:] == [0, 30, 60]


def test_cancelling_keeps_what_is_done(encoder: Encoder, tmp_path: Path, encoded: list[list[str]]) -> None:
    def stop(step: str, done: int, total: int | None) -> None:
        if step == "embed texts" and done:
            raise Cancelled

    with pytest.raises(Cancelled):
        embed(encoder, MANY, "", tmp_path, stop)
    assert len(encoded) == 1
    embed(encoder, MANY, "", tmp_path)
    assert sorted(text for call in encoded for text in call) == sorted(MANY)


@pytest.mark.parametrize(("length", "dtype"), [(float("nan"), "bfloat16"), (0.0, "float32"), (0.9, "float32")])
def test_a_vector_that_is_not_of_length_1_is_refused(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: float, dtype: str
) -> None:
    fake_vectors(monkeypatch, length)
    encoder = Encoder(ModelSpec(tiny, 32, dtype=dtype, device="cpu"), batch_size=1)  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        embed(encoder, ["first", "bad", "ok"], "", tmp_path)
    assert caught.value.where == "text 1 (counted from 0)" and dtype in str(caught.value.why) and caught.value.remedy
    assert len(embed(encoder, ["first"], "", tmp_path)) == 1, "those before it are kept"


def test_float16_names_gemma(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="float16"):
        embed(Encoder(ModelSpec(encoder.spec.id_or_path, 32, dtype="float16", device="cpu")), ["a"], "", tmp_path)
    with pytest.raises(InputError, match="Gemma"):
        embedding._of_length_1(np.array([[np.nan, 1]], np.float32), np.array([0]), "float16")


def test_bfloat16_vectors_come_as_float32_of_length_1(tiny: str, encoder: Encoder, tmp_path: Path) -> None:
    found = embed(Encoder(ModelSpec(tiny, 32, dtype="bfloat16", device="cpu")), TEXTS, "", tmp_path)
    assert found.dtype == np.float32 and np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6
    assert (found * embed(encoder, TEXTS, "", tmp_path)).sum(axis=1).min() > 0.99


def test_batches_are_halved_when_memory_runs_out(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    sizes: list[int] = []
    room = 4

    def encode(self: SentenceTransformer, texts: list[str], batch_size: int, **_: object) -> F32:
        sizes.append(batch_size)
        if batch_size > room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return np.ones((len(texts), 1), np.float32)

    monkeypatch.setattr(SentenceTransformer, "encode", encode)
    assert len(embed(encoder, MANY, "", tmp_path)) == 60
    assert sizes[:3] == [16, 8, 4] and set(sizes[3:]) == {4}
    room = 0
    with pytest.raises(UnavailableError, match="smaller maximum length"):
        embed(encoder, ["another"], "", tmp_path)


def test_texts_that_are_none(encoder: Encoder, tmp_path: Path) -> None:
    for texts in (["a", "b\ud83d"], ["a", None], pl.Series(["a", None]), ["a", 7]):
        with pytest.raises(InputError) as caught:
            embed(encoder, texts, "", tmp_path)  # type: ignore[arg-type]
        assert caught.value.where == "text 1 (counted from 0)" and caught.value.why and caught.value.remedy
    with pytest.raises(InputError, match="prompt"):
        embed(encoder, ["a"], "Q\ud83d", tmp_path)
    assert not list(tmp_path.iterdir())
    assert embed(encoder, [], "", tmp_path).shape == (0, 0)


def test_a_length_beyond_the_positions_is_refused(tiny: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at most 32768"):
        embed(Encoder(ModelSpec(tiny, 40_000, device="cpu")), ["a"], "", tmp_path)
    with pytest.raises(ConfigError):
        Encoder(ModelSpec(tiny, 32), batch_size=0)


@pytest.mark.parametrize(
    "damage",
    [
        lambda manifest: manifest.unlink(),
        lambda manifest: manifest.write_text("{"),
        lambda manifest: manifest.write_bytes(b"\xff"),
        lambda manifest: manifest.write_text("[]"),
        lambda manifest: manifest.write_text(manifest.read_text().replace('"dim": ', '"dim": -')),
        lambda manifest: manifest.write_text(manifest.read_text().replace('"max_length": 32', '"max_length": 33')),
    ],
)
def test_a_damaged_manifest_is_told_with_what_to_do(encoder: Encoder, tmp_path: Path, damage) -> None:
    embed(encoder, TEXTS, "", tmp_path)
    damage(only(tmp_path) / "manifest.json")
    with pytest.raises(InputError) as caught:
        embed(encoder, TEXTS, "", tmp_path)
    assert "delete" in str(caught.value.remedy) and caught.value.where == str(only(tmp_path))
    shutil.rmtree(only(tmp_path))
    assert len(embed(encoder, TEXTS, "", tmp_path)) == 5


def test_a_manifest_is_for_people(encoder: Encoder, tiny: str, tmp_path: Path) -> None:
    embed(encoder, TEXTS, "Frage: é\n", tmp_path)
    manifest = json.loads((only(tmp_path) / "manifest.json").read_text())
    assert only(tmp_path).name == embedding_key(encoder, "Frage: é\n")
    assert (manifest["model"], manifest["prompt"], manifest["max_length"]) == (tiny, "Frage: é\n", 32)
    assert manifest["dtype"] == "float32" and manifest["fingerprint"].startswith("sha256:")


def test_one_writes_at_a_time(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_PATIENCE", 0.0)
    held, go_on = threading.Event(), threading.Event()

    def hold(step: str, done: int, total: int | None) -> None:
        if step == "embed texts":
            held.set()
            go_on.wait(60)

    writer = threading.Thread(target=embed, args=(encoder, ["a"], "", tmp_path, hold))
    writer.start()
    assert held.wait(60)
    told: list[str] = []
    with pytest.raises(UnavailableError, match="Another process"):
        embed(encoder, ["b"], "", tmp_path, lambda step, *_: told.append(step))
    assert told == ["wait for another process that embeds"]
    go_on.set()
    writer.join(60)
    assert len(embed(encoder, ["a", "b"], "", tmp_path)) == 2


def test_a_place_that_cannot_be_written(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudioError):
        embed(encoder, ["a"], "", tmp_path / "file")


def test_many_rows_come_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_ROWS_A_BLOCK", 7)
    random = np.random.default_rng(1)
    stored = random.normal(size=(100, 5)).astype(np.float32)
    hashes = vectors.text_hashes(pl.Series([str(number) for number in range(100)]))
    store = vectors.VectorStore(tmp_path / "key", {"a": 1}, {})
    assert store.take(np.empty(0, np.int64)).shape == (0, 0) and (store.find(hashes) == -1).all()
    with store.writing() as writer:
        for low in range(0, 100, 30):
            writer.append(hashes[low : low + 30], stored[low : low + 30])
        with pytest.raises(InputError, match="dim"):
            writer.append(hashes[:1], stored[:1, :3])
    asked = random.integers(0, 100, 333)
    assert np.array_equal(store.take(store.find(hashes[asked])), stored[asked])
    assert len(store) == 100 and store.dim == 5


def test_devices_are_chosen_when_none_is_named(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    spec = ModelSpec(tiny, 32)
    assert embedding._devices(Encoder(ModelSpec(tiny, 32, device="cpu")), 10_000) == ("cpu",)
    assert embedding._devices(Encoder(spec, devices=("cpu", "cpu")), 1) == ("cpu", "cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert embedding._devices(Encoder(spec), 10_000) == ("cuda:0", "cuda:1")
    assert len(embedding._devices(Encoder(spec), 10)) == 1


@pytest.mark.slow
def test_several_devices_give_the_same_vectors(encoder: Encoder, tmp_path: Path) -> None:
    several = Encoder(encoder.spec, batch_size=4, devices=("cpu", "cpu"))
    found = embed(several, MANY, "Q: ", tmp_path / "several")
    assert (found * embed(encoder, MANY, "Q: ", tmp_path / "one")).sum(axis=1).min() >= 0.9999


def test_importing_and_reading_the_cache_leave_torch_alone(encoder: Encoder, tiny: str, tmp_path: Path) -> None:
    embed(encoder, TEXTS, "", tmp_path)
    script = f"""
import sys
from pathlib import Path
from studio.models.embed import Encoder, embed
from studio.models.load import ModelSpec
found = embed(Encoder(ModelSpec({tiny!r}, 32, device="cpu")), {TEXTS!r}, "", Path({str(tmp_path)!r}))
assert found.shape[0] == 5
assert not {{"torch", "transformers", "sentence_transformers"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
