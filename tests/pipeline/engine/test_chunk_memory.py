"""The memory of chunks against a dictionary, which is what it means."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.chunk_memory import ChunkMemory

CAPACITY = 8
chunks = st.tuples(st.integers(0, 2), st.integers(0, 12) | st.just(2**63 - 1), st.integers(0, 2**32 - 1))


@given(st.lists(chunks, max_size=60), st.integers(0, 2), st.integers(0, 14), st.integers(1, 10))
def test_it_remembers_what_a_dictionary_in_order_of_use_would(
    added: list[tuple[int, int, int]], epoch: int, before_sequence: int, count: int
) -> None:
    memory, model = ChunkMemory(CAPACITY), dict[tuple[int, int], int]()
    for of_epoch, sequence, crc in added:
        memory.add(of_epoch, sequence, crc)
        model.pop((of_epoch, sequence), None)
        model[of_epoch, sequence] = crc
        while len(model) > CAPACITY:
            del model[next(iter(model))]
    for of_epoch, sequence, _ in added:
        assert memory.crc_of(of_epoch, sequence) == model.get((of_epoch, sequence))
    assert memory.crc_of(epoch, 99) is None
    before = [
        (sequence, crc)
        for (of_epoch, sequence), crc in model.items()
        if of_epoch == epoch and sequence < before_sequence
    ]
    assert memory.newest(epoch, before_sequence, count) == before[-count:]
