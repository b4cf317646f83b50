"""Draw the batches of an epoch so that no two rows of one batch are in conflict, and (almost) every row is used.

The rows are dealt like cards. Sorted by their heaviest key, keys in random order and rows in random order within a key,
row after row goes to the next batch; with no more rows to a key than there are batches, the rows of a key land in
different ones. Rows without keys come last and fill the batches up. What a row's other keys still have in conflict (few
rows) is mended by exchanges with batches that have none of its keys. So a key of many rows costs no more than many keys
of few, its rows are spread evenly over the epoch, and nothing is ever scanned again and again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from studio.mining.conflicts import RowKeys

Ints = NDArray[np.int64]

_BATCHES_TRIED = 96
_ROWS_TRIED = 6
_POOL_TRIED = 64
_FRONTS_TRIED = 4


@dataclass(frozen=True)
class Drawn:
    """The batches of one epoch.

    Attributes:
        batches: row numbers; full ones first, in random order, then those that are short, the longest first.
        full: how many batches are full.
        left_over: how many rows are in no batch.
    """

    batches: list[list[int]]
    full: int
    left_over: int


def draw_batches(
    keys: RowKeys, batch_size: int, rng_seed: tuple[int, ...], *, drop_last: bool = False, across: int = 1
) -> Drawn:
    """Draw one epoch: every row at most once, no two rows of a batch with a key in common.

    The same arguments give the same batches, in every process. A key of more rows than there are batches leaves the
    rest of its rows over, others in each epoch, and the number of batches is chosen so that they are full
    nonetheless. Short batches come last, unless `drop_last`: those at least half full (where no batch can be full: half
    as long as the longest), and then one more of at least two rows. A batch of one row teaches nothing.

    Args:
        keys: the rows' keys, `Conflicts.keys`.
        batch_size: rows a batch.
        rng_seed: the seed and the epoch, each 0 or more.
        drop_last: draw full batches only.
        across: how many devices see each other's batches as negatives. That many batches in a row are free of conflicts
            together. Above 1 all batches are full and their number is a multiple of `across`: what is missing from the
            last step would be filled by accelerate with rows it has not checked.

    Raises:
        ValueError: `batch_size` or `across` is below 1.
    """
    if batch_size < 1 or across < 1:
        raise ValueError(f"batch_size and across must be 1 or more, not {batch_size} and {across}")
    size = batch_size * across
    whole = drop_last or across > 1
    least = size if whole else max(2, (size + 1) // 2)
    rng = np.random.default_rng(rng_seed)

    dealt, rest = _deal(keys, size, rng)
    table = _Table(dealt, keys, rng)
    rest += table.mend(_in_conflict(dealt, keys))
    full, short, rest = table.level(rest)
    full = rng.permuted(full, axis=1)
    if whole:
        rest += [row for batch in short for row in batch]
        short = []
    if not whole and not len(full):
        least = max(2, (max(map(len, [*short, *_tail(list(rest), keys, size, size)])) + 1) // 2)
    short += _tail(rest, keys, size, least)
    short.sort(key=len, reverse=True)
    kept = [batch for batch in short if len(batch) >= least]
    if not whole and len(kept) < len(short) and len(short[len(kept)]) >= 2:
        kept.append(short[len(kept)])
    batches: list[list[int]] = full.reshape(-1, batch_size).tolist()
    for batch in kept:
        batches += [batch[start : start + batch_size] for start in range(0, len(batch), batch_size)]
    return Drawn(batches, sum(len(batch) == batch_size for batch in batches), keys.rows - sum(map(len, batches)))


def _deal(keys: RowKeys, size: int, rng: np.random.Generator) -> tuple[Ints, list[int]]:
    """Deal the rows to as many batches of `size` rows as can be full.

    Returns:
        The batches, shape (batches, size), without two rows of one heaviest key in one of them; and the other rows.
    """
    order = rng.permutation(keys.rows)
    ranks = _ranks(keys, order)
    count = _most_batches(ranks, size)
    ranks = ranks[order]
    chosen, excess = order[ranks < count], order[ranks >= count]
    has_keys = np.diff(keys.offsets)[chosen] > 0
    free, keyed = chosen[~has_keys], chosen[has_keys]
    # What is too much for full batches, less than one more batch, is to be the short one: rows without keys, and then
    # one row of each key.
    surplus = len(chosen) - count * size
    spare, free = free[:surplus], free[surplus:]
    if surplus > len(spare):
        one_of_each = np.zeros(len(keyed), bool)
        one_of_each[np.unique(_heaviest(keys, keyed), return_index=True)[1]] = True
        first = np.argsort(~one_of_each, kind="stable")[: surplus - len(spare)]
        spare, keyed = np.r_[spare, keyed[first]], np.delete(keyed, first)

    keyed = keyed[np.argsort(rng.permutation(len(keys.sizes))[_heaviest(keys, keyed)], kind="stable")]
    dealt = np.r_[keyed, free].reshape(size, count).T if count else np.empty((0, size), np.int64)
    return dealt[rng.permutation(count)], np.r_[excess, spare].tolist()


def _heaviest(keys: RowKeys, rows: Ints) -> NDArray[np.int32]:
    """The key of most rows of each of these rows, which all have one."""
    return keys.keys[keys.offsets[rows]]


def _most_batches(ranks: Ints, size: int) -> int:
    """How many batches the rows can fill when T batches can hold the rows of rank below T."""
    most = len(ranks) // size
    usable = np.cumsum(np.bincount(np.minimum(ranks, most), minlength=most + 1))[:most]
    fits = np.flatnonzero(usable >= np.arange(1, most + 1) * size)
    return int(fits[-1]) + 1 if len(fits) else 0


def _ranks(keys: RowKeys, order: Ints) -> Ints:
    """How many rows that come earlier in `order` share a key with each row, for the key of most such rows."""
    place = np.empty(keys.rows, np.int64)
    place[order] = np.arange(keys.rows)
    by_key = np.argsort(keys.keys.astype(np.int64) * keys.rows + place[keys.holders])
    starts = np.cumsum(keys.sizes, dtype=np.int64) - keys.sizes
    ranks = np.empty(len(by_key), np.int64)
    ranks[by_key] = np.arange(len(by_key)) - starts[keys.keys[by_key]]
    most = np.zeros(keys.rows, np.int64)
    having = np.flatnonzero(np.diff(keys.offsets))
    if len(having):
        most[having] = np.maximum.reduceat(ranks, keys.offsets[having])
    return most


def _in_conflict(dealt: Ints, keys: RowKeys) -> list[tuple[int, int]]:
    """The (row, batch) to take out of the dealt batches so that no key is twice in one; rows of heavy keys stay."""
    batch_of = np.full(keys.rows, -1, np.int64)
    batch_of[dealt.ravel()] = np.repeat(np.arange(len(dealt)), dealt.shape[1])
    entries = np.flatnonzero(batch_of[keys.holders] >= 0)
    met = batch_of[keys.holders[entries]] * len(keys.sizes) + keys.keys[entries]
    in_order = np.sort(met)
    twice = in_order[1:][in_order[1:] == in_order[:-1]]
    if not len(twice):
        return []
    here = twice[np.minimum(np.searchsorted(twice, met), len(twice) - 1)] == met
    entries, met = entries[here], met[here]
    rows = keys.holders[entries]
    weight = keys.sizes[_heaviest(keys, rows)]
    order = np.lexsort((rows, -weight, met))
    met, rows, weight = met[order], rows[order], weight[order]
    again = met[1:] == met[:-1]
    _, firsts = np.unique(rows[1:][again], return_index=True)
    out, weight = rows[1:][again][firsts], weight[1:][again][firsts]
    out = out[np.argsort(-weight, kind="stable")]
    return list(zip(out.tolist(), batch_of[out].tolist(), strict=True))


@dataclass
class _Open:
    """A batch that is being changed."""

    rows: list[int]
    taken: set[int]


@dataclass
class _Table:
    """The dealt batches, of which few are changed."""

    dealt: Ints
    keys: RowKeys
    rng: np.random.Generator
    opened: dict[int, _Open] = field(default_factory=dict)

    def mend(self, out: list[tuple[int, int]]) -> list[int]:
        """Take rows out of their batches and find each another place; return those for which there is none."""
        leaving: dict[int, set[int]] = {}
        for row, batch in out:
            leaving.setdefault(batch, set()).add(row)
        for batch, rows in leaving.items():
            self._open(batch, without=rows)
        return [row for row, batch in out if not self._seat(row, batch)]

    def level(self, pool: list[int]) -> tuple[Ints, list[list[int]], list[int]]:
        """Fill the holes from `pool` and from the shortest of the batches that have one.

        Returns:
            The full batches, shape (batches, size); the short ones; and the rows that are in none.
        """
        size = self.dealt.shape[1]
        short = [batch for batch, changed in self.opened.items() if len(changed.rows) < size]
        for batch in short:
            self._fill(self.opened[batch], pool, size)
        short = [batch for batch in short if len(self.opened[batch].rows) < size]
        short.sort(key=lambda batch: len(self.opened[batch].rows), reverse=True)
        missing = sum(size - len(self.opened[batch].rows) for batch in short)
        lost = []
        for _ in range(-(-missing // size)):
            giver, before = short[-1], len(self.opened[short[-1]].rows)
            given = self.opened[giver].rows
            for batch in short[:-1]:
                if given:
                    self._fill(self.opened[batch], given, size)
            if len(given) == before:
                break
            lost.append(giver)
            pool += given
            short = [batch for batch in short[:-1] if len(self.opened[batch].rows) < size]
            if not short:
                break
        for batch, changed in self.opened.items():
            if len(changed.rows) == size:
                self.dealt[batch] = changed.rows
        full = np.delete(self.dealt, [*short, *lost], axis=0)
        return full, [self.opened[batch].rows for batch in short], pool

    def _open(self, batch: int, without: set[int] | None = None) -> _Open:
        if batch not in self.opened:
            rows: list[int] = self.dealt[batch].tolist()
            if without:
                rows = [row for row in rows if row not in without]
            taken: set[int] = set()
            for row in rows:
                taken.update(self.keys.row(row))
            self.opened[batch] = _Open(rows, taken)
        return self.opened[batch]

    def _seat(self, row: int, batch: int) -> bool:
        """Put a row back if it fits by now, or into another batch, in exchange for a row that fits here."""
        own = self.keys.row(row)
        home = self._open(batch)
        if home.taken.isdisjoint(own):
            _add(home, row, own)
            return True
        for other in self.rng.integers(len(self.dealt), size=_BATCHES_TRIED).tolist():
            there = self._open(other)
            if not there.rows or not there.taken.isdisjoint(own):
                continue
            # Rows without keys were dealt last and are at the end.
            for place in [-1, *self.rng.integers(len(there.rows), size=_ROWS_TRIED).tolist()]:
                swapped = there.rows[place]
                theirs = self.keys.row(swapped)
                if home.taken.isdisjoint(theirs):
                    del there.rows[place]
                    there.taken.difference_update(theirs)
                    there.rows.insert(0, row)
                    there.taken.update(own)
                    _add(home, swapped, theirs)
                    return True
        return False

    def _fill(self, batch: _Open, pool: list[int], size: int) -> None:
        """Move rows that fit from the pool into a batch; rows without keys are at the pool's end."""
        at = len(pool) - 1
        tried = 0
        while len(batch.rows) < size and at >= 0 and tried < _POOL_TRIED:
            own = self.keys.row(pool[at])
            if batch.taken.isdisjoint(own):
                _add(batch, pool[at], own)
                pool[at] = pool[-1]
                pool.pop()
            else:
                tried += 1
            at -= 1


def _add(batch: _Open, row: int, own: list[int]) -> None:
    batch.rows.append(row)
    batch.taken.update(own)


def _tail(pool: list[int], keys: RowKeys, size: int, least: int) -> list[list[int]]:
    """Draw batches from what is left, as full as can be; the last is the first of fewer than `least` rows."""
    free: list[int] = []
    queues: dict[int, list[int]] = {}
    for row in pool:
        own = keys.row(row)
        if own:
            queues.setdefault(own[0], []).append(row)
        else:
            free.append(row)
    waiting = list(queues.values())
    batches: list[list[int]] = []
    while True:
        batch = _Open([], set())
        waiting.sort(key=len, reverse=True)
        for queue in waiting:
            if len(batch.rows) == size:
                break
            for back in range(len(queue) - 1, max(len(queue) - 1 - _FRONTS_TRIED, -1), -1):
                own = keys.row(queue[back])
                if batch.taken.isdisjoint(own):
                    _add(batch, queue.pop(back), own)
                    break
        filling = size - len(batch.rows)
        batch.rows += free[:filling]
        del free[:filling]
        batches.append(batch.rows)
        if len(batch.rows) < least:
            return batches
        waiting = [queue for queue in waiting if queue]
