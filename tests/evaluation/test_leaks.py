"""Queries that training has seen are found, whichever way it saw them, and others are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from studio.evaluation.leaks import leaked
from studio.evaluation.sets import About, Judged, RetrievalSet
from studio.evaluation.trec import QRELS
from studio.project.project import Project

MakeProject = Callable[..., Project]
LONG = (
    "O pagamento da conta de luz pode ser feito no banco, na lotérica, pelo aplicativo da companhia ou por débito "
    "automático, até o dia do vencimento que está impresso no canto direito da fatura, sem multa e sem juros."
)
OTHER = (
    "A biblioteca abre de segunda a sexta das nove às dezoito horas, e empresta até cinco livros por quinze dias a "
    "quem tiver carteirinha, que se faz na hora com documento e comprovante de residência."
)


def asked(**pairs: tuple[str, str]) -> RetrievalSet:
    """Queries, each with its one passage."""
    queries = pl.DataFrame(
        [(name, query) for name, (query, _) in pairs.items()], schema=["query_id", "text"], orient="row"
    )
    corpus = pl.DataFrame(
        [(f"p-{name}", text) for name, (_, text) in pairs.items()], schema=["passage_id", "text"], orient="row"
    )
    qrels = pl.DataFrame([(name, f"p-{name}", 1.0) for name in pairs], schema=QRELS, orient="row")
    return RetrievalSet.of(Judged(queries, corpus, qrels), About("x", "y"))


def whys(evaluated: RetrievalSet, project: Project, trained: pl.Series | None = None) -> Mapping[str, str]:
    return dict(leaked(evaluated, project, trained).iter_rows())


def test_equal_and_near_queries_and_answers_are_told_apart(make_project: MakeProject) -> None:
    project = make_project(
        [
            {"query": "Como faço para pagar a conta de luz atrasada?", "positive": LONG, "split": "train"},
            {"query": "Qual o horário da biblioteca municipal?", "positive": "Das nove às dezoito.", "split": "train"},
            {"query": "Como renovo a minha carteirinha?", "positive": OTHER, "split": "test"},
        ]
    )
    found = whys(
        asked(
            query=("como  faço para pagar a conta de luz atrasada?", "Outra resposta."),
            near=("Qual o horario da bibliotéca municipal?", "Mais uma resposta."),
            answer=("Onde se paga a energia?", LONG),
            alike=("Onde é que se paga a energia elétrica?", LONG.replace("companhia", "compania")),
            clean=("Quando vence o meu contrato?", OTHER),
            number=("Qual o horário da biblioteca municipal 2?", "Não se sabe."),
        ),
        project,
    )
    assert found["query"] == "the query equals that of training row r0"
    assert found["near"].startswith("the query is near (Jaccard ") and found["near"].endswith("training row r1")
    assert found["answer"] == "its passage p-answer equals that of training row r0"
    assert found["alike"].startswith("its passage p-alike is near (Jaccard 0.9")
    assert list(found) == ["query", "near", "answer", "alike"]


def test_only_rows_that_train_count(make_project: MakeProject) -> None:
    project = make_project(
        [
            {"query": "quem atende no balcão", "positive": "a recepção", "split": "test"},
            {"query": "quando abre a portaria", "positive": "às sete da manhã", "split": "leaked"},
            {"query": "onde fica o prédio azul", "positive": "na rua principal", "split": "train"},
        ]
    )
    evaluated = asked(
        a=("quem atende no balcão", "a recepção"),
        b=("quando abre a portaria", "às sete da manhã"),
        c=("onde fica o prédio azul", "na rua principal"),
    )
    assert list(whys(evaluated, project)) == ["c"]
    assert list(whys(evaluated, project, pl.Series(["r1"]))) == ["b"]
    assert not whys(evaluated, project, pl.Series([], dtype=pl.String))
