import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shared.datasets.order import round_robin, test_batches, training_batches
from shared.errors import UsageError

test_batches.__test__ = False  # a function of the project, not a test


@given(
    count=st.integers(1, 400),
    world=st.integers(1, 5),
    share=st.integers(2, 20),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 9),
)
def test_training_shards_partition_the_epoch_for_any_number_of_processes(count, world, share, seed, epoch):
    size = share * world
    ranks = [training_batches(count, size, seed=seed, epoch=epoch, rank=r, world=world) for r in range(world)]
    assert len({len(batches) for batches in ranks}) == 1  # equally many steps, or a process would wait for ever
    assert all(len(batch) >= 2 for batches in ranks for batch in batches)
    used = torch.cat([torch.empty(0, dtype=torch.int64), *(batch for batches in ranks for batch in batches)])
    assert len(used.unique()) == len(used)
    dropped = count - len(used)
    assert dropped == (count % size if count % size < 2 * world else 0)
    # A step sees the same samples whatever the number of processes.
    for step, batch in enumerate(training_batches(count, size, seed=seed, epoch=epoch)[: len(ranks[0])]):
        assert sorted(torch.cat([batches[step] for batches in ranks]).tolist()) == sorted(batch.tolist())


@given(count=st.integers(1, 400), world=st.integers(1, 5), size=st.integers(1, 64))
def test_evaluation_shards_hold_each_sample_once(count, world, size):
    if count < -(-count // size) * world:
        with pytest.raises(UsageError, match="fewer processes"):
            test_batches(count, size, world=world)
        return
    ranks = [test_batches(count, size, rank=r, world=world) for r in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert sorted(torch.cat([b for batches in ranks for b in batches]).tolist()) == list(range(count))
    assert all(1 <= len(batch) <= size for batches in ranks for batch in batches)


def test_a_batch_too_small_for_the_processes_is_refused():
    with pytest.raises(UsageError, match="batch size 6"):
        training_batches(100, 6, seed=0, epoch=0, world=4)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=80))
def test_round_robin_deals_the_classes_in_turn_and_keeps_each_class_in_order(labels):
    numbers = torch.tensor(labels)
    order = round_robin(numbers)
    assert sorted(order.tolist()) == list(range(len(labels)))
    queues = {label: [i for i, other in enumerate(labels) if other == label] for label in sorted(set(labels))}
    expected = []
    while any(queues.values()):
        expected += [queue.pop(0) for queue in queues.values() if queue]
    assert order.tolist() == expected
