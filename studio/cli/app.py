"""`harrier-studio …`: the commands and their options. Each imports the engine only when it runs."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(
    name="harrier-studio",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Curate query/passage pairs for retrieval embedders: find duplicates, see the exact prompts, decide with undo, "
        "export a cleaned dataset with its audit.\n\n"
        "Data goes to stdout, words to stderr. Exit codes: 0 ok, 1 findings (--fail-on, verify), 2 usage, 3 bad input, "
        "4 unavailable (lock, disk, network), 70 internal fault, 130 interrupted."
    ),
)
config_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Settings: where they are, what they say.")
app.add_typer(config_app, name="config")


class FormatName(str, Enum):
    """Names of the export formats, spelled here so that --help needs no engine."""

    parquet = "parquet"
    jsonl = "jsonl"
    csv = "csv"
    hf = "hf"
    flagembedding = "flagembedding"
    tevatron = "tevatron"
    beir = "beir"


class PanelName(str, Enum):
    """Names of the interface's panels, spelled here so that --help needs no engine."""

    pairs = "pairs"
    duplicates = "duplicates"
    false_negatives = "false_negatives"
    prompts = "prompts"
    train = "train"
    runs = "runs"
    evaluate = "evaluate"
    export = "export"


class RewriteName(str, Enum):
    """What `rewrite` can do."""

    boilerplate = "boilerplate"
    pii = "pii"
    mojibake = "mojibake"


class DtypeName(str, Enum):
    """Precisions a model can be loaded in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class FailOn(str, Enum):
    """From which band on findings make the exit code 1."""

    never = "never"
    auto = "auto"
    review = "review"


Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE", help="JSONL, CSV, TSV, Parquet, Arrow (.gz/.zst too), a dataset folder, or a hub dataset id."
    ),
]
ProjectDir = Annotated[Path, typer.Option("--project", "-p", help="The project's directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Query = Annotated[Optional[str], typer.Option(help="Column that holds the query.")]
Positive = Annotated[Optional[str], typer.Option(help="Column that holds the positive passage.")]
Negative = Annotated[Optional[list[str]], typer.Option(help="Column that holds a hard negative (repeatable).")]
Score = Annotated[Optional[str], typer.Option(help="Column that holds a similarity score.")]
Label = Annotated[Optional[str], typer.Option(help="Column that holds a label.")]
Group = Annotated[Optional[str], typer.Option(help="Column that names the source document.")]
Split = Annotated[Optional[str], typer.Option(help="Column that names the split.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first bad row instead of setting it aside.")]
Prompt = Annotated[
    Optional[str], typer.Option("--prompt", help="Preset of the prompt contract, such as portuguese_qa.")
]
Set = Annotated[
    Optional[list[str]],
    typer.Option("--set", metavar="CHECK.KEY=VALUE", help="Change a check's setting for this run (repeatable)."),
]
Method = Annotated[
    Optional[str],
    typer.Option(help="minhash or exact, for near_duplicates and near_queries.", show_default=False),
]
FailOnBand = Annotated[
    FailOn, typer.Option("--fail-on", help="Exit with 1 when anything is in this band or a surer one.")
]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="Directory to write; an earlier export there is replaced whole.")
]
Format = Annotated[FormatName, typer.Option("--format", "-f", help="What the data files look like.")]


def _version(wanted: bool) -> None:
    if wanted:
        from studio import __version__

        print(f"harrier-studio {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options that stand before any command."""


@app.command("open")
def open_(
    place: Annotated[
        Optional[Path],
        typer.Argument(metavar="[PROJECT|FILE]", help="A project, or a file or folder of pairs to make one of."),
    ] = None,
    panel: Annotated[PanelName, typer.Option(help="The panel to begin with.")] = PanelName.pairs,
    read_only: Annotated[bool, typer.Option("--read-only", help="Change nothing.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Print the panel as plain lines instead.")] = False,
    theme: Annotated[Optional[str], typer.Option(help="A theme's name; default: your own.")] = None,
) -> None:
    """Open the studio; `open` itself may be left out. Without a place: the project here, or the first screen."""
    from studio.cli import opening

    opening.open_studio(place, panel.value, read_only, plain, theme=theme)


@app.command()
def demo(
    project: Annotated[
        Optional[Path], typer.Option("--project", "-p", help="Keep the sample project here (default: thrown away).")
    ] = None,
    out: Annotated[Optional[Path], typer.Option("--out", "-o", help="Keep the cleaned export here (a report).")] = None,
    report: Annotated[bool, typer.Option("--report", help="Print the report on a terminal, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Open the studio on the embedded sample project, with a short tour; without a terminal, print a report.

    The report runs the main job: import, checks, decisions, preview, export, verification.
    """
    if report or as_json or out or not (sys.stdin.isatty() and sys.stdout.isatty()):
        from studio.cli import sampling

        sampling.demo(project, out, as_json)
    else:
        from studio.cli import opening

        opening.demo(project)


@app.command("import")
def import_(
    sources: Sources,
    project: Annotated[Path, typer.Option("--project", "-p", help="Directory to make the project in.")],
    query: Query = None,
    positive: Positive = None,
    negative: Negative = None,
    score: Score = None,
    label: Label = None,
    group: Group = None,
    split: Split = None,
    prompt: Prompt = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Read pairs into a new project. Column roles are detected; name them where they are not."""
    from studio.cli import jobs

    named = jobs.roles(query, positive, negative, score, label, group, split)
    jobs.import_pairs(sources, project, named, prompt, strict, as_json)


@app.command()
def info(project: ProjectDir = Path("."), as_json: AsJson = False) -> None:
    """Show a project's shape, counts, lengths, languages and decisions by reason."""
    from studio.cli import jobs

    jobs.info(project, as_json)


@app.command()
def check(
    names: Annotated[Optional[list[str]], typer.Argument(metavar="NAME", help="Checks to run; all by default.")] = None,
    project: ProjectDir = Path("."),
    settings: Set = None,
    method: Method = None,
    explain: Annotated[
        Optional[str],
        typer.Option(metavar="ROW", help="Run nothing; say all that is known of this row (number or row_id)."),
    ] = None,
    fail_on: FailOnBand = FailOn.never,
    as_json: AsJson = False,
) -> None:
    """Run detectors and store their evidence. They find; they never decide.

    What was found before for the same rows and settings is not computed again.
    """
    from studio.cli import jobs

    if explain is not None:
        from studio.cli import explaining

        explaining.explain(project, explain, as_json)
        return
    jobs.check(names or [], project, jobs.overrides(settings, method), fail_on.value, as_json)


@app.command()
def decide(
    project: ProjectDir = Path("."),
    auto: Annotated[bool, typer.Option("--auto", help="Apply what is certain: the auto band of the evidence.")] = False,
    source: Annotated[
        Optional[Path], typer.Option("--from", help="Append decisions from a JSONL file (see docs/decisions.md).")
    ] = None,
    keep: Annotated[Optional[list[str]], typer.Option(help="Keep this row whatever a rule says (repeatable).")] = None,
    drop: Annotated[Optional[list[str]], typer.Option(help="Leave this row out (repeatable).")] = None,
    reason: Annotated[Optional[str], typer.Option(help="Why, for --keep and --drop.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Undo the latest decision in force.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Bring back what was undone last.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the ledger, undone decisions too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decide, undo, redo, list. Each decision is saved the moment it is made; nothing is ever rewritten."""
    from studio.cli import decisions

    decisions.decide(project, auto, source, keep or [], drop or [], reason, undo, redo, list_, as_json)


@app.command()
def split(
    project: ProjectDir = Path("."),
    test: Annotated[Optional[float], typer.Option(help="Share of the rows to test with.", min=0, max=1)] = 0.1,
    validation: Annotated[
        Optional[float], typer.Option(help="Share of the rows to validate with.", min=0, max=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 1,
    strict: Annotated[
        bool, typer.Option("--strict", help="Keep together what near-duplicate checks have for review, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Split the kept rows: no answer group on two sides, stratified by length and language.

    An earlier split is replaced; rows imported into a protected split stay where they are.
    """
    from studio.cli import changing

    changing.split(project, test, validation, seed, strict, as_json)


@app.command()
def rewrite(
    what: Annotated[RewriteName, typer.Argument(help="What to do to the texts of the kept rows.")],
    project: ProjectDir = Path("."),
    kind: Annotated[
        Optional[list[str]], typer.Option(help="With pii: only this kind of personal data (repeatable).")
    ] = None,
    preview: Annotated[int, typer.Option(help="Show this many changes.", min=0)] = 5,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this, only show what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Edit many texts at once, as one decision that can be undone: cut boilerplate, redact, mend wrong decodings."""
    from studio.cli import changing

    changing.rewrite(project, what.value, kind or [], preview, apply, as_json)


@app.command()
def preview(
    project: ProjectDir = Path("."),
    rows: Annotated[
        Optional[str], typer.Option(help="Row numbers from 1, ranges or row_ids, with commas: 1,5,10-12.")
    ] = None,
    sample: Annotated[Optional[int], typer.Option(min=1, help="This many rows, evenly spaced.")] = None,
    model: Annotated[Optional[str], typer.Option(help="Folder or hub id; default: the project's model.")] = None,
    max_length: Annotated[Optional[int], typer.Option(min=8, help="Tokens a text is cut at.")] = None,
    prompt: Annotated[Optional[str], typer.Option(help="A preset's name; default: the project's contract.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the exact strings and tokens the model will read, where they are cut and which position is pooled."""
    from studio.cli import prompting

    prompting.preview(project, rows, sample, model, max_length, prompt, as_json)


@app.command()
def export(
    out: Out,
    project: ProjectDir = Path("."),
    fmt: Format = FormatName.parquet,
    as_json: AsJson = False,
) -> None:
    """Write the curated dataset with its card and its audit. Twice the same project gives the same bytes."""
    from studio.cli import jobs

    jobs.export(project, out, fmt.value, as_json)


@app.command()
def verify(
    out: Annotated[Path, typer.Argument(help="A directory that `export` or `clean` wrote.")],
    project: Annotated[
        Optional[Path], typer.Option("--project", "-p", help="Also rebuild the export from this project and compare.")
    ] = None,
    source: Annotated[
        Optional[list[str]], typer.Option(help="Also rebuild it from these source files (repeatable) and compare.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay an export's audit and compare hashes. Exit code 1 when anything differs."""
    from studio.cli import jobs

    jobs.verify(out, project, source or [], as_json)


@app.command()
def clean(
    sources: Sources,
    out: Out,
    fmt: Format = FormatName.parquet,
    settings: Set = None,
    method: Method = None,
    query: Query = None,
    positive: Positive = None,
    negative: Negative = None,
    score: Score = None,
    label: Label = None,
    group: Group = None,
    split: Split = None,
    prompt: Prompt = None,
    strict: Strict = False,
    fail_on: FailOnBand = FailOn.never,
    as_json: AsJson = False,
) -> None:
    """Import, check, apply what is certain and export, in one go; no project is kept."""
    from studio.cli import jobs

    roles = jobs.roles(query, positive, negative, score, label, group, split)
    jobs.clean(sources, out, fmt.value, jobs.overrides(settings, method), roles, prompt, strict, fail_on.value, as_json)


@app.command()
def show(
    panel: Annotated[str, typer.Argument(metavar="PANEL", help="pairs, duplicates, prompts or export.")] = "pairs",
    project: ProjectDir = Path("."),
    where: Annotated[
        str, typer.Option(metavar="FILTER", help="For pairs and prompts: a filter, as typed in the interface.")
    ] = "",
    limit: Annotated[
        Optional[int], typer.Option(min=1, help="How many rows, clusters or previews.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what a panel of the interface shows as plain lines, for screen readers, logs and pipes."""
    from studio.cli import showing

    showing.show(panel, project, where, limit, as_json)


@app.command()
def screenshot(
    panel: Annotated[PanelName, typer.Argument(help="Which panel.")] = PanelName.pairs,
    project: ProjectDir = Path("."),
    size: Annotated[str, typer.Option(metavar="COLUMNSxLINES", help="Size of the terminal.")] = "140x40",
    out: Annotated[
        Optional[Path], typer.Option("--out", "-o", metavar="FILE.svg", help="File to write (default: stdout).")
    ] = None,
    theme: Annotated[Optional[str], typer.Option(help="A theme's name; default: your own.")] = None,
    keys: Annotated[str, typer.Option(help='Keys to press first, such as "down down space".')] = "",
) -> None:
    """Draw a panel as an SVG picture, without a terminal. The same project gives the same picture."""
    from studio.cli import picturing

    picturing.picture(panel.value, project, size, out, theme, keys)


@app.command()
def serve(
    project: Annotated[Path, typer.Argument(help="The project to serve.")] = Path("."),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any that is free.")] = 8000,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Let the browser decide, edit and export; else read-only.")
    ] = False,
    host: Annotated[str, typer.Option(help="Only a name of this machine itself.")] = "127.0.0.1",
) -> None:
    """Show the studio in a browser on this machine, read-only unless --allow-changes is given."""
    from studio.cli import serving

    serving.serve(project, port, allow_changes, host)


@app.command()
def selftest(
    project: Annotated[
        Optional[Path],
        typer.Option("--project", "-p", help="Plant into this project's own rows, with its settings; nothing is kept."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which faults are planted where.")] = 1,
    per_kind: Annotated[
        Optional[int],
        typer.Option(
            min=1, help="Planted rows a kind of fault (sample: 7, own rows: 50; half as many faults of single rows)."
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=50, help="Own rows at most, drawn by the seed.")] = 20_000,
    as_json: AsJson = False,
) -> None:
    """Measure the detectors: plant known faults and look-alikes into the sample, or your own rows, and count.

    Prints precision and recall by detector and by kind of fault, B-cubed of the clusters, and how many rows the rules
    changed that they should not have.
    """
    from studio.cli import sampling

    sampling.selftest(project, seed, per_kind, rows, as_json)


@app.command()
def doctor(
    model: Annotated[Optional[str], typer.Option(help="Also load and examine this model (folder or hub id).")] = None,
    max_length: Annotated[int, typer.Option(min=3, help="Tokens a text is cut at.")] = 512,
    dtype: Annotated[DtypeName, typer.Option(help="Precision of the weights.")] = DtypeName.auto,
    device: Annotated[Optional[str], typer.Option(help="Such as cpu or cuda:0.", show_default=False)] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model; read it first.")
    ] = False,
    golden: Annotated[
        bool,
        typer.Option("--golden", help="Compute its vectors by other means too: transformers alone, saved and loaded."),
    ] = False,
    project: Annotated[
        Optional[Path],
        typer.Option("--project", "-p", help="With --golden: its prompts must be those of this project."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Examine this installation, and a model if one is named: pooling, end-of-sequence, prompts, precision, memory."""
    from studio.cli import prompting

    prompting.doctor(model, max_length, dtype.value, device, trust_remote_code, golden, project, as_json)


@config_app.command("path")
def config_path() -> None:
    """Print where your own settings file is (or would be)."""
    from studio.cli import configuring

    configuring.path()


@config_app.command("show")
def config_show(
    project: Annotated[Optional[Path], typer.Option("--project", "-p", help="Show this project's settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print every setting in force, defaults included, as TOML."""
    from studio.cli import configuring

    configuring.show(project, as_json)


@config_app.command("validate")
def config_validate(
    project: Annotated[Optional[Path], typer.Option("--project", "-p", help="Check this project's settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check the settings: an unknown key or a wrong value is an error that names it."""
    from studio.cli import configuring

    configuring.validate(project, as_json)
