"""The same shingles, signatures and verified pairs as `shingles` and `minhash` give, compiled by numba.

Every function here has a NumPy counterpart with equal results (tests hold them together); `kernels` decides which
one a column is worth. A column's UTF-8 bytes are read as Arrow holds them: no Python string is made.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from studio.text.folding import DROPPED

_K = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_F1, _F2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_S13, _S16 = np.uint32(13), np.uint32(16)
_S32, _S33 = np.uint64(32), np.uint64(33)
_SPACE = np.uint64(0x20)
_NONE = np.uint32(0)
_DROP = np.uint32(DROPPED)
_SMALL_SORT = 48


@njit(inline="always")
def _fmix64(h):
    h = (h ^ (h >> _S33)) * _M1
    h = (h ^ (h >> _S33)) * _M2
    return h ^ (h >> _S33)


@njit(inline="always")
def _fmix32(h):
    h = np.uint32((h ^ (h >> _S16)) * _F1)
    h = np.uint32((h ^ (h >> _S13)) * _F2)
    return np.uint32(h ^ (h >> _S16))


@njit(inline="always")
def _code_at(data, i):
    """The code point that begins at byte `i` of valid UTF-8, and where the next one begins."""
    c = np.uint32(data[i])
    if c < 0x80:
        return c, i + 1
    if c < 0xE0:
        return np.uint32(((c & 0x1F) << 6) | (data[i + 1] & 0x3F)), i + 2
    if c < 0xF0:
        return np.uint32(((c & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F)), i + 3
    return (
        np.uint32(
            ((c & 0x07) << 18) | ((data[i + 1] & 0x3F) << 12) | ((data[i + 2] & 0x3F) << 6) | (data[i + 3] & 0x3F)
        ),
        i + 4,
    )


@njit(cache=True, parallel=True, nogil=True)
def needs_normalising(data, offsets, contextual):
    """Which texts hold a character whose folding depends on its neighbours."""
    count = len(offsets) - 1
    result = np.zeros(count, np.bool_)
    for row in prange(count):
        i = offsets[row]
        while i < offsets[row + 1]:
            if data[i] < 0x80:
                i += 1
                continue
            code, i = _code_at(data, i)
            if contextual[code]:
                result[row] = True
                break
    return result


@njit(nogil=True)
def _words(data, start, stop, folded, place, out):
    """Hash the words of one text into `out`; return how many there are. A word's hash is `ragged.row_hash`'s."""
    count, length, total = 0, 0, np.uint64(0)
    i = start
    while i < stop:
        code, i = _code_at(data, i)
        letter = folded[code]
        if letter == _DROP:
            continue
        if letter != _NONE:
            mixed = place[length] if length < len(place) else _fmix64(np.uint64(length))
            total += _fmix64(np.uint64(letter) ^ mixed)
            length += 1
        elif length:
            out[count] = _fmix64(total ^ _fmix64(np.uint64(length)))
            count += 1
            length, total = 0, np.uint64(0)
    if length:
        out[count] = _fmix64(total ^ _fmix64(np.uint64(length)))
        count += 1
    return count


@njit(nogil=True)
def _characters(data, start, stop, folded, out):
    """The words of one text with one space before, between and after; return the length."""
    count, inside = 0, False
    i = start
    while i < stop:
        code, i = _code_at(data, i)
        letter = folded[code]
        if letter == _DROP:
            continue
        if letter != _NONE:
            if not inside:
                out[count] = _SPACE
                count += 1
            out[count] = np.uint64(letter)
            count += 1
        inside = letter != _NONE
    if count:
        out[count] = _SPACE
        count += 1
    return count


@njit(nogil=True)
def _windows(units, count, size, out):
    """Hash every run of `size` of the mixed `units` into `out`, sorted and unique; return how many are left."""
    if count == 0:
        return 0
    reach = min(count, size)
    windows = count - reach + 1
    for i in range(windows):
        total = np.uint64(reach)
        for step in range(reach):
            total = total * _K + units[i + step]
        out[i] = np.uint32(_fmix64(total) >> _S32)
    if windows > _SMALL_SORT:
        ordered = np.sort(out[:windows])
        for i in range(windows):
            out[i] = ordered[i]
    else:
        for i in range(1, windows):
            value, j = out[i], i - 1
            while j >= 0 and out[j] > value:
                out[j + 1] = out[j]
                j -= 1
            out[j + 1] = value
    left = 1
    for i in range(1, windows):
        if out[i] != out[left - 1]:
            out[left] = out[i]
            left += 1
    return left


@njit(nogil=True)
def _copy(source, count, target, at):
    for i in range(count):
        target[at + i] = source[i]


@njit(nogil=True)
def _grown(block, used, more):
    larger = np.empty(max(2 * len(block), used + more), block.dtype)
    _copy(block, used, larger, 0)
    return larger


@njit(nogil=True)
def _longest(offsets, rows, low, high):
    longest = 0
    for k in range(low, high):
        longest = max(longest, offsets[rows[k] + 1] - offsets[rows[k]])
    return longest


@njit(nogil=True)
def _stats_part(data, offsets, rows, folded, place, low, high, counts, keys):
    words = np.empty(_longest(offsets, rows, low, high) // 2 + 2, np.uint64)
    for k in range(low, high):
        n = _words(data, offsets[rows[k]], offsets[rows[k] + 1], folded, place, words)
        total = np.uint64(0)
        for i in range(n):
            total += _fmix64(words[i] ^ _fmix64(np.uint64(i)))
        counts[k], keys[k] = n, _fmix64(total ^ _fmix64(np.uint64(n)))


@njit(cache=True, parallel=True, nogil=True)
def word_stats(data, offsets, rows, folded, place, parts):
    """Count the words of the texts `rows`, and hash each text's words in order."""
    count = len(rows)
    counts, keys = np.zeros(count, np.int64), np.empty(count, np.uint64)
    for part in prange(parts):
        low, high = count * part // parts, count * (part + 1) // parts
        _stats_part(data, offsets, rows, folded, place, low, high, counts, keys)
    return counts, keys


@njit(nogil=True)
def _sequence_part(data, offsets, rows, folded, place, low, high, starts, result):
    words = np.empty(_longest(offsets, rows, low, high) // 2 + 2, np.uint64)
    for k in range(low, high):
        n = _words(data, offsets[rows[k]], offsets[rows[k] + 1], folded, place, words)
        _copy(words, n, result, starts[k])


@njit(cache=True, parallel=True, nogil=True)
def word_sequences(data, offsets, rows, folded, place, starts, parts):
    """The hashes of the words of the texts `rows`, in order; `starts` says where each text's words begin and end."""
    count = len(rows)
    result = np.empty(starts[count], np.uint64)
    for part in prange(parts):
        low, high = count * part // parts, count * (part + 1) // parts
        _sequence_part(data, offsets, rows, folded, place, low, high, starts, result)
    return result


@njit(nogil=True)
def _shingle_part(data, offsets, rows, folded, place, by_word, size, low, high, sizes):
    longest = _longest(offsets, rows, low, high)
    # A word takes two bytes at least with what parts it from the next; a character may be any byte.
    units = np.empty(longest // 2 + 2 if by_word else 2 * longest + 2, np.uint64)
    values = np.empty(len(units), np.uint32)
    block = np.empty(1 << 16, np.uint32)
    used = 0
    for k in range(low, high):
        start, stop = offsets[rows[k]], offsets[rows[k] + 1]
        if by_word:
            n = _words(data, start, stop, folded, place, units)
        else:
            n = _characters(data, start, stop, folded, units)
        for i in range(n):
            units[i] = _fmix64(units[i])
        n = _windows(units, n, size, values)
        if used + n > len(block):
            block = _grown(block, used, n)
        _copy(values, n, block, used)
        used += n
        sizes[k] = n
    return block[:used].copy()


@njit(cache=True, parallel=True, nogil=True)
def shingle_sets(data, offsets, rows, folded, place, by_word, size, parts):
    """Sorted unique shingles of the texts `rows`, and how many each has."""
    count = len(rows)
    sizes, room = np.zeros(count, np.int64), np.zeros(parts + 1, np.int64)
    found = [np.empty(0, np.uint32) for _ in range(parts)]
    for part in prange(parts):
        low, high = count * part // parts, count * (part + 1) // parts
        found[part] = _shingle_part(data, offsets, rows, folded, place, by_word, size, low, high, sizes)
        room[part + 1] = len(found[part])
    for part in range(parts):
        room[part + 1] += room[part]
    result = np.empty(room[parts], np.uint32)
    for part in prange(parts):
        _copy(found[part], len(found[part]), result, room[part])
    return result, sizes


@njit(cache=True, parallel=True, nogil=True)
def row_hash(values, offsets):
    """One 64-bit hash a row: `ragged.row_hash`."""
    count = len(offsets) - 1
    result = np.empty(count, np.uint64)
    for row in prange(count):
        total = np.uint64(0)
        for i in range(offsets[row], offsets[row + 1]):
            total += _fmix64(np.uint64(values[i]) ^ _fmix64(np.uint64(i - offsets[row])))
        result[row] = _fmix64(total ^ _fmix64(np.uint64(offsets[row + 1] - offsets[row])))
    return result


@njit(cache=True, parallel=True, nogil=True)
def signatures(values, offsets, a, b, parts, result):
    """Write MinHash signatures (datasketch's affine32 scheme) into `result`, one line a set.

    Values are taken four at a time, so that the minimum is vectorised.
    """
    count, width = len(offsets) - 1, len(a)
    for part in prange(parts):
        for row in range(count * part // parts, count * (part + 1) // parts):
            line = result[row]
            line[:] = np.uint32(0xFFFFFFFF)
            i, stop = offsets[row], offsets[row + 1]
            while i + 4 <= stop:
                x0, x1 = _fmix32(values[i]), _fmix32(values[i + 1])
                x2, x3 = _fmix32(values[i + 2]), _fmix32(values[i + 3])
                for k in range(width):
                    ak, bk = a[k], b[k]
                    v0, v1 = np.uint32(ak * x0 + bk), np.uint32(ak * x1 + bk)
                    v2, v3 = np.uint32(ak * x2 + bk), np.uint32(ak * x3 + bk)
                    line[k] = min(line[k], min(min(v0, v1), min(v2, v3)))
                i += 4
            while i < stop:
                x0 = _fmix32(values[i])
                for k in range(width):
                    line[k] = min(line[k], np.uint32(a[k] * x0 + b[k]))
                i += 1


@njit(inline="always")
def _shared(values, i, i_stop, j, j_stop):
    """How many values two sorted sets share."""
    n = 0
    while i < i_stop and j < j_stop:
        x, y = values[i], values[j]
        n += x == y
        i += x <= y
        j += y <= x
    return n


@njit(cache=True, parallel=True, nogil=True)
def band_keys(signature, width, keys, first):
    """Write one key a band and row of a block of signatures: into `keys[:, first:]`, as `minhash.band_keys`."""
    bands = len(keys)
    for row in prange(len(signature)):
        for band in range(bands):
            total = np.uint64(0)
            for k in range(band * width, (band + 1) * width):
                total = total * _K + np.uint64(signature[row, k])
            keys[band, first + row] = np.uint32(_fmix64(total) >> _S32)


@njit(nogil=True)
def _ordered_by_key(keys, bits):
    """Rows by key, equal keys by row: a counting sort of the top `bits`, then insertion within."""
    count, buckets, shift = len(keys), 1 << bits, np.uint32(32 - bits)
    starts = np.zeros(buckets + 1, np.int64)
    for i in range(count):
        starts[np.int64(keys[i] >> shift) + 1] += 1
    for i in range(buckets):
        starts[i + 1] += starts[i]
    place = starts[:-1].copy()
    order = np.empty(count, np.int32)
    for i in range(count):
        bucket = np.int64(keys[i] >> shift)
        order[place[bucket]] = i
        place[bucket] += 1
    for bucket in range(buckets):
        for i in range(starts[bucket] + 1, starts[bucket + 1]):
            row, j = order[i], i - 1
            while j >= starts[bucket] and keys[order[j]] > keys[row]:
                order[j + 1] = order[j]
                j -= 1
            order[j + 1] = row
    return order


@njit(nogil=True)
def _band_pairs(every_key, values, offsets, band, before, floor, max_bucket, reach, crowded):
    """Verified pairs that agree in `band`, what they share, and how many buckets were capped.

    In a bucket of more than `max_bucket` rows each row meets the bucket's first `reach` rows and its next `reach`.
    Such rows are marked in `crowded[band]`: a pair that agreed in an earlier band was compared there unless its bucket
    was crowded. Of earlier bands only those under `before` are done for certain.
    """
    keys = every_key[band]
    count = len(keys)
    bits = 1
    while (1 << bits) < count:
        bits += 1
    order = _ordered_by_key(keys, bits)
    one, other, common = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.int32)
    used, capped, low = 0, 0, 0
    while low < count:
        high = low + 1
        while high < count and keys[order[high]] == keys[order[low]]:
            high += 1
        whole = high - low <= max_bucket
        capped += not whole
        for x in range(low, high):
            crowded[band, order[x]] = not whole
        for x in range(low, high - 1):
            i = order[x]
            last = high if whole or x - low < reach else min(high, x + 1 + reach)
            for y in range(x + 1, last):
                j = order[y]
                known = False
                for earlier in range(before):
                    if every_key[earlier, i] == every_key[earlier, j] and not crowded[earlier, i]:
                        known = True
                        break
                if known:
                    continue
                first, second = offsets[i + 1] - offsets[i], offsets[j + 1] - offsets[j]
                if min(first, second) < floor * max(first, second):
                    continue
                n = _shared(values, offsets[i], offsets[i + 1], offsets[j], offsets[j + 1])
                if n < floor * (first + second - n):
                    continue
                if used == len(one):
                    one, other, common = _grown(one, used, 1), _grown(other, used, 1), _grown(common, used, 1)
                one[used], other[used], common[used] = i, j, n
                used += 1
        low = high
    return one[:used].copy(), other[:used].copy(), common[:used].copy(), capped


@njit(cache=True, parallel=True, nogil=True)
def near_in_bands(keys, values, offsets, first, stop, floor, max_bucket, reach, crowded):
    """`_band_pairs` of the bands [first, stop): three arrays one after another, and the capped buckets.

    A pair may come from several of these bands, and from none of those before them.
    """
    bands = stop - first
    ones = [np.empty(0, np.int32) for _ in range(bands)]
    others = [np.empty(0, np.int32) for _ in range(bands)]
    commons = [np.empty(0, np.int32) for _ in range(bands)]
    capped = np.zeros(bands, np.int64)
    for band in prange(bands):
        one, other, common, cut = _band_pairs(
            keys, values, offsets, first + band, first, floor, max_bucket, reach, crowded
        )
        ones[band], others[band], commons[band], capped[band] = one, other, common, cut
    total = 0
    for band in range(bands):
        total += len(ones[band])
    one, other, common = np.empty(total, np.int32), np.empty(total, np.int32), np.empty(total, np.int32)
    used = 0
    for band in range(bands):
        size = len(ones[band])
        _copy(ones[band], size, one, used)
        _copy(others[band], size, other, used)
        _copy(commons[band], size, common, used)
        used += size
    return one, other, common, capped.sum()
