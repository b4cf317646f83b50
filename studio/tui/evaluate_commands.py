"""What the keys of the Evaluate panel do, and what `?` says of it."""

from __future__ import annotations

from studio.tui.command import Command


def _of(name: str, keys: str, action: str, label: str, words: str, *, footer: bool = False) -> Command:
    return Command(f"evaluate.{name}", keys, action, label, words, footer=footer)


EVALUATE = (
    _of("tab", "t", "next_tab(1)", "Tab", "To the next tab: systems, queries, slices, operational.", footer=True),
    _of("tab_back", "T", "next_tab(-1)", "Tab back", "To the tab before."),
    _of("miss", "n", "miss", "Send miss", "Send what the system missed to Pairs or to False negatives; asks where.",
        footer=True),
    _of("new", "N", "new", "New", "Evaluate: a set, systems, the metric that decides.", footer=True),
    _of("go_on", "e", "go_on", "Go on", "Do what is missing of the evaluation, and try again what could not be run."),
    _of("reference", "b", "reference", "Reference", "Compare the others of its class with the system under the cursor.",
        footer=True),
    _of("metric", "m", "next_metric", "Metric", "Make the table by the next metric.", footer=True),
    _of("which", "f", "next_which", "Filter", "Queries: losses, wins, ties or all.", footer=True),
    _of("by", "d", "next_by", "By", "Slices: by length, language, source, tag, or whether training saw the query."),
    _of("earlier", "left_square_bracket", "system(-1)", "Earlier", "Look at the system before."),
    _of("later", "right_square_bracket", "system(1)", "Later", "Look at the next system."),
    _of("in_pairs", "w", "in_pairs", "In Pairs", "Show the rows of the query in Pairs."),
    _of("copy", "y", "copy", "Copy", "Copy the command that makes this evaluation again."),
    _of("read", "space", "read", "Read on", "Scroll what is below or at the right, the list keeps the focus."),
    _of("again", "r,f5", "again", "Again", "Look at the files now."),
    _of("left", "left,h", "pane(-1)", "Left", "To the pane before."),
    _of("right", "right,l", "pane(1)", "Right", "To the next pane."),
    _of("down", "j", "move('cursor_down')", "Down", "One line down."),
    _of("up", "k", "move('cursor_up')", "Up", "One line up."),
    _of("first", "g", "move('first')", "First", "To the first line."),
    _of("last", "G", "move('last')", "Last", "To the last line."),
)  # fmt: skip

HELP_WORDS = (
    "Evaluate shows what was measured: evaluations (✓ done, ◧ not finished, ✗ no "
    "system could be run) and finished runs (▪), newest first.\n"
    "Systems are compared only with those of their class: dense with dense, lexical with lexical, hybrid with "
    "hybrid, reranked with reranked. ◆ is the reference of its class; b pins another. Each row has its score, how "
    "far it is above the reference, the 95 % interval of that over queries, its p, and on how many queries it is "
    "better, equal and worse. p is after Holm: with many systems one is above by chance. Bold is what chance alone "
    "hardly brings about (p below .05). ↳ is cut or coded, and compared with the same model's whole vectors: the "
    "last column names them if there is room, and the line below the table. ✗ could not be run; why stands beside "
    "it. ▸ is what the tabs show.\n"
    "Queries: where the system under the cursor is worse than the reference, the worst first, with the rank of the "
    "first relevant passage under both (– is deeper than what was kept). Enter shows gold and retrieved side by "
    "side. ⚑ marks queries that training has seen, or whose answer it has: they are counted apart.\n"
    "n sends a miss: to False negatives, where the passages above the right one that nobody judged are judged; or "
    "to Pairs, where the row is marked as missed. It keeps the evidence, and u takes it back.\n"
    "Slices: whether a difference comes from long queries, one language, one source. Operational: what running a "
    "system costs, and what shorter or coarser vectors lose."
)
