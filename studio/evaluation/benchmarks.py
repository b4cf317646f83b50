"""Known benchmarks by name: where they are, with which instruction, and whether Harrier was trained on them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from studio.errors import UsageError
from studio.evaluation.hub import judged_configs, load_files, load_judged, load_splits
from studio.evaluation.judged_tables import choose_split
from studio.evaluation.loaded import Loaded
from studio.evaluation.sets import About, SetKind
from studio.pairs.read import as_records
from studio.pairs.roles import NO_ROLES, Roles
from studio.progress import Progress, silent
from studio.prompts.presets import query_prompt
from studio.text.safe import visible

_DATASET = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")
_SEEN = frozenset({"FEVER", "FiQA2018", "MSMARCO", "NFCorpus", "NQ", "QuoraRetrieval", "SciFact"})
"""Tasks below that mteb's metadata of harrier-oss-v1 (`training_datasets`) names as training data."""
_LIKELY = {
    "HotpotQA": "HotpotQAHardNegatives",
    "STSB-pt": "STSB and GermanSTSBenchmark, translations of the same pairs",
}
"""Tasks whose relatives that metadata names."""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark of the catalogue.

    Attributes:
        name: what it is called here.
        dataset: its id on the hub.
        revision: the commit that MTEB measures at; None: the newest.
        split: the split that its authors measure on; None: told by what there is.
        config: the subset, such as a language; "": the whole.
        files: of corpus, queries and judgements, where the dataset is plain files; else empty.
        instruction: the task in a sentence, as Harrier's authors word it for MTEB, else as MTEB does; "": none known.
        self_hits_removed: whether MTEB takes a passage with the query's id out of the ranking.
        task: the task of MTEB that it is, or a part of; "": none.
        kind: what it asks.
        roles: its columns, where their names do not tell.
        note: what else a person should know.
    """

    name: str
    dataset: str
    revision: str | None = None
    split: str | None = None
    config: str = ""
    files: tuple[str, str, str] | None = None
    instruction: str = ""
    self_hits_removed: bool = False
    task: str = ""
    kind: SetKind = SetKind.RETRIEVAL
    roles: Roles = NO_ROLES
    note: str = ""

    @property
    def trained_on(self) -> str:
        """Why Harrier may have been trained on it, or ""."""
        if self.task in _SEEN:
            return f"in Harrier's training data: mteb's metadata of the model names {self.task}"
        if self.task in _LIKELY:
            return f"likely in Harrier's training data: mteb's metadata of the model names {_LIKELY[self.task]}"
        return ""


_REFUTE = "Given a claim, find documents that refute the claim"
_CLIMATE = "Given a claim about climate change, retrieve documents that support or refute the claim"
_ENTITY = "Given a query, retrieve relevant entity descriptions from DBPedia"
_CLAIM = "Given a claim, retrieve documents that support or refute the claim"
_MONEY = "Given a financial question, retrieve user replies that best answer the question"
_HOPS = "Given a multi-hop question, retrieve documents that can help answer the question"
_WEB = "Given a web search query, retrieve relevant passages that answer the query"
_HEALTH = "Given a question, retrieve relevant documents that best answer the question"
_WIKIPEDIA = "Given a question, retrieve Wikipedia passages that answer the question"
_SAME = "Given a question, retrieve questions that are semantically equivalent to the given question"
_CITED = "Given a scientific paper title, retrieve paper abstracts that are cited by the given paper"
_SCIENCE = "Given a scientific claim, retrieve documents that support or refute the claim"
_COVID = "Given a medical query, retrieve documents that answer the query"
_ARGUMENT = "Given a question, retrieve detailed and persuasive arguments that answer the question"
_PASSAGE = "Retrieval the relevant passage for the given query"
_ALIKE = "Retrieve semantically similar text"

# Name, NanoBEIR's revision, MTEB's dataset and revision, instruction, whether MTEB removes self-hits from the whole.
_BEIR = (
    ("ArguAna", "8f4a982d470a32c45817738b9d29042ca55d75ad", "arguana", "c22ab2a51041ffd869aaddef7af8d8215647e41a",
     _REFUTE, True),
    ("ClimateFEVER", "96741bfa30b9f56db8c9eb7d08e775ed6474f206", "climate-fever",
     "47f2ac6acb640fc46020b02a5b59fdda04d39380", _CLIMATE, False),
    ("DBPedia", "438f1c25129f05db6238699b5afdc9c6b58d2096", "dbpedia", "c0f706b76e590d620bd6618b3ca8efdd34e2d659",
     _ENTITY, False),
    ("FEVER", "a8bfdf1bf15181167a7e22e69cf8754bdea9b4c8", "fever", "bea83ef9e8fb933d90a2f1d5515737465d613e12",
     _CLAIM, True),
    ("FiQA2018", "4163ba032953d5044a7a6244261413f609c14342", "fiqa", "27a168819829fe9bcd655c2df245fb19452e8e06",
     _MONEY, True),
    ("HotpotQA", "d79c0cdda980aba54842756770928035e1b61a51", "hotpotqa", "ab518f4d6fcca38d87c25209f94beba119d02014",
     _HOPS, False),
    ("MSMARCO", "7b8ff22f2771dc65ac5b439f222eb19a1f56abda", "msmarco", "c5a29a104738b98a9e76336939199e264163d4a0",
     _WEB, True),
    ("NFCorpus", "dd542a7efb9ad2136b9e00768b60fca9038f8156", "nfcorpus", "ec0fa4fe99da2ff19ca1214b7966684033a58814",
     _HEALTH, False),
    ("NQ", "77540146379abf95df8326a3c5bb9eb21c7146c3", "nq", "b774495ed302d8c44a3a7ea25c90dbce03968f31",
     _WIKIPEDIA, False),
    ("QuoraRetrieval", "2ab2d73e6c862026282808b913a34f4136928545", "quora",
     "e4e08e0b7dbe3c8700f0daef558ff32256715259", _SAME, True),
    ("SCIDOCS", "484eb90549fc3f0b9c42b3551e80ceb999515537", "scidocs", "f8c2fcf00f625baaa80f62ec5bd9e1fff3b8ae88",
     _CITED, False),
    ("SciFact", "309f1d1ae3ae2e092444a8a0c25bed59b82318bc", "scifact", "d56462d0e63a25450459c4f213e49ffdb866f7f9",
     _SCIENCE, False),
    ("Touche2020", "0d2f26ed8c5ad309f95c7f9499c70a40e140fccd", "touche2020",
     "a34f9a33db75fa0cbb21bb5cfc3dae8dc8bec93f", _ARGUMENT, False),
)  # fmt: skip
_ASSIN2 = Benchmark(
    "ASSIN2",
    "nilc-nlp/assin2",
    "0ff9c86779e06855536d8775ce5550550e1e5a2d",
    "test",
    instruction=_ALIKE,
    kind=SetKind.SIMILARITY,
    roles=Roles(query="premise", positive="hypothesis", score="relatedness_score"),
)
_CATALOGUE = (
    *(
        Benchmark(f"Nano{name}", f"zeta-alpha-ai/Nano{name}", nano, "train", instruction=task, task=name)
        for name, nano, _, _, task, _ in _BEIR
    ),
    *(
        Benchmark(
            name, f"mteb/{dataset}", revision, "dev" if name == "MSMARCO" else "test",
            instruction=task, self_hits_removed=removed, task=name,
        )
        for name, _, dataset, revision, task, removed in _BEIR
    ),
    Benchmark(
        "TRECCOVID", "mteb/trec-covid", "bb9466bac8153a0349341eb1b22e06409e78ef4e", "test", instruction=_COVID
    ),
    Benchmark(
        "WebFAQ-pt", "mteb/WebFAQRetrieval", "f64f483ad0f31d2e78209d524c14a4a867965959", "test", "por",
    ),
    Benchmark(
        "Wikipedia-pt", "mteb/WikipediaRetrievalMultilingual", "5f6c91d21f2f5b9afb663858d19848fbd223c775", "test",
        "pt", instruction=_PASSAGE,
    ),
    Benchmark(
        "MultiLongDoc-pt", "mteb/MultiLongDocRetrieval", "837028901907a7d419b4ab906f28e011ce1cc824", "test", "pt",
        note="its documents are long: the maximum length decides",
    ),
    Benchmark(
        "Quati", "unicamp-dl/quati", "e5279055bba3e7ba1bece5c0eddd0ba232df49c3",
        files=("quati_1M.tsv", "topics/quati_test_topics.tsv", "qrels/quati_1M_qrels.txt"),
        note="relevance from 0 to 3, judged by a language model; few passages a query are judged: look at judged@10",
    ),
    Benchmark("Quati-mteb", "pt-mteb/quati_1M_retrieval"),
    Benchmark(
        "JurisTCU", "LeandroRibeiro/JurisTCU", "ac7bea9e580626a586ffea69b245d26f5a73d44e",
        files=("doc.csv", "query.csv", "qrel.csv"),
        note="a passage is the statement of a ruling (ENUNCIADO); relevance from 0 to 3",
    ),
    _ASSIN2,
    replace(
        _ASSIN2,
        name="ASSIN2-RTE",
        roles=replace(_ASSIN2.roles, score="entailment_judgment"),
        note="the score of a pair is whether one sentence entails the other (0 or 1), so the correlation stays below 1",
    ),
    Benchmark(
        "SICK-BR", "eduagarcia/sick-br", "0cdfb1d51ef339011c067688a3b75b82f927c097", "test",
        instruction=_ALIKE, kind=SetKind.SIMILARITY,
        roles=Roles(query="sentence_A", positive="sentence_B", score="relatedness_score"),
        note="MTEB measures a sample of it",
    ),
    Benchmark(
        "STSB-pt", "mteb/stsb_multi_mt", "29afa2569dcedaaa2fe6a3dcfebab33d28b82e8c", "test", "pt",
        instruction=_ALIKE, task="STSB-pt", kind=SetKind.SIMILARITY,
        roles=Roles(query="sentence1", positive="sentence2", score="similarity_score"),
        note="translated by machine",
    ),
)  # fmt: skip
BENCHMARKS = {benchmark.name: benchmark for benchmark in _CATALOGUE}
"""Every benchmark by name."""
GROUPS = {"NanoBEIR": tuple(f"Nano{name}" for name, *_ in _BEIR)}
"""Names that stand for several benchmarks."""


def names_a_benchmark(name: str) -> bool:
    """Whether a name is of the catalogue, of a group of it, or could be the id of a dataset on the hub."""
    return _known(name) is not None or name.lower() in map(str.lower, GROUPS) or bool(_DATASET.fullmatch(name))


def expanded(name: str) -> tuple[str, ...]:
    """The sets that a name stands for: those of a group, or the name itself."""
    return next((names for group, names in GROUPS.items() if group.lower() == name.lower()), (name,))


def nearest_names(name: str) -> list[str]:
    """Names of the catalogue that look like this one."""
    lower = {known.lower(): known for known in (*BENCHMARKS, *GROUPS)}
    return [lower[near] for near in difflib.get_close_matches(name.lower(), lower, n=2, cutoff=0.6)]


def load_benchmark(
    name: str,
    split: str | None = None,
    revision: str | None = None,
    roles: Roles = NO_ROLES,
    progress: Progress = silent,
    place: str | None = None,
) -> Loaded:
    """Load a benchmark by its name, or any dataset in MTEB's layout, or of items, by its id.

    Args:
        name: of the catalogue, or `org/name`, or `org/name:config`.
        split: which judgements or rows; None: what the benchmark's authors measure on.
        revision: commit, tag or branch; None: what the catalogue names.
        roles: columns named by hand; they win over those of the catalogue.
        progress: told of each step.
        place: a local folder that holds the dataset as the hub does; None: the hub, or its cache.

    Raises:
        UsageError: the name stands for several sets, or the split is not there.
        InputError: there is no such dataset, or it cannot be loaded.
        UnavailableError: the hub cannot be reached, and the dataset is not in its cache.
    """
    if expanded(name) != (name,):
        raise UsageError(
            f"`{name}` stands for {len(expanded(name))} sets.", remedy=f"name them: {', '.join(expanded(name))}"
        )
    known = _known(name)
    dataset, _, config = name.partition(":")
    found = known or Benchmark(name, dataset, config=config)
    at = revision or found.revision
    about = About(
        found.name,
        f"{found.dataset}{':' if found.config else ''}{found.config} at {at or 'its newest revision'}",
        query_prompt=query_prompt(found.instruction) if found.instruction else None,
        trained_on=found.trained_on,
        self_hits_removed=found.self_hits_removed,
        notes=(found.note,) if found.note else (),
    )
    source, wanted = place or found.dataset, split or found.split
    if found.files:
        if split:
            raise UsageError(f"`{found.name}` has one set of judgements, and no splits.", remedy="leave the split out")
        return Loaded(about, tables=load_files(source, found.files, None if place else at, progress))
    configs = judged_configs(source, found.config, None if place else at) if known is None or _judged(found) else None
    if configs:
        return Loaded(about, tables=load_judged(source, configs, wanted, None if place else at, progress))
    splits = load_splits(source, found.config or None, None if place else at, progress)
    chosen = choose_split(list(splits), wanted, visible(source))
    about = replace(about, origin=f"{about.origin}, split {chosen}")
    return Loaded(
        about,
        lines=tuple(as_records(splits[chosen])),
        roles=roles if roles != NO_ROLES else found.roles,
        kind=found.kind if known else None,
    )


def _judged(found: Benchmark) -> bool:
    return found.kind is SetKind.RETRIEVAL


def _known(name: str) -> Benchmark | None:
    """The benchmark of a name, whatever its case, or of a dataset's id."""
    for benchmark in _CATALOGUE:
        if name.lower() == benchmark.name.lower():
            return benchmark
    return next((benchmark for benchmark in _CATALOGUE if name == benchmark.dataset and not benchmark.config), None)
