"""The order in which jobs leave a queue, and which of them have no room."""

from __future__ import annotations

from collections import Counter

import attrs
from hypothesis import given, strategies as st

from alephscript.client.calls import Delivery, HubMeta
from alephscript.client.queues import FairQueue


@attrs.define(eq=False)
class Waiting:
    """A job of a caller."""

    caller: str
    number: int = 0
    priority: int = 0
    request: Delivery = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        meta = HubMeta(priority=self.priority)
        self.request = Delivery("GET_X", None, 1, meta, "R", self.caller, str(self.number))


def fill(*jobs: Waiting) -> FairQueue[Waiting]:
    """A queue of jobs."""
    queue: FairQueue[Waiting] = FairQueue()
    for job in jobs:
        queue.add(job)
    return queue


def empty(queue: FairQueue[Waiting]) -> list[Waiting]:
    """All jobs in the order in which they leave, each beginning as the one before has begun."""
    order = []
    while queue.size:
        expected = queue.find_next()
        job = queue.take()
        assert job is expected
        queue.served = job.caller
        order.append(job)
    return order


def test_a_caller_with_one_job_does_not_wait_for_all_of_another_one() -> None:
    """It is the next, if the other one has just been served."""
    queue = fill(*(Waiting("greedy", each) for each in range(200)))
    queue.served = "greedy"
    queue.add(Waiting("polite"))
    assert [each.caller for each in empty(queue)][:3] == ["polite", "greedy", "greedy"]


def test_a_caller_that_comes_back_each_time_has_no_more_than_its_turn() -> None:
    """To ask one by one is no way to go before others."""
    queue = fill(*(Waiting("many", each) for each in range(5)), Waiting("again"))
    order = []
    for _ in range(8):
        job = queue.take()
        queue.served = job.caller
        order.append(job.caller)
        if job.caller == "again":
            queue.add(Waiting("again"))
    assert order == ["many", "again"] * 4


jobs = st.lists(
    st.builds(
        Waiting,
        st.sampled_from("abc"),
        st.integers(0, 9),
        st.sampled_from([0, 0, 0, -1, 2]),
    ),
    max_size=30,
)


@given(jobs)
def test_every_job_leaves_once_each_caller_s_in_order_the_most_urgent_first(
    waiting: list[Waiting],
) -> None:
    """And between two jobs of one caller there is one of each other caller that waits."""
    order = empty(fill(*waiting))
    assert sorted(map(id, order)) == sorted(map(id, waiting))
    assert [each.priority for each in order] == sorted((e.priority for e in order), reverse=True)
    for priority in {each.priority for each in waiting}:
        level = [each for each in order if each.priority == priority]
        for caller in "abc":
            expected = [e for e in waiting if (e.caller, e.priority) == (caller, priority)]
            assert [each for each in level if each.caller == caller] == expected
        served: Counter[str] = Counter()
        left = Counter(each.caller for each in level)
        for job in level:
            # Nobody is served twice more than somebody who has waited all the time.
            others = [served[each] for each in left if left[each] > served[each]]
            assert served[job.caller] <= min(others)
            served[job.caller] += 1


@given(jobs, st.data())
def test_jobs_that_give_up_leave_the_others_in_their_order(
    waiting: list[Waiting], data: st.DataObject
) -> None:
    """As if they had never been there."""
    given_up = data.draw(st.lists(st.sampled_from(waiting), unique_by=id)) if waiting else []
    queue = fill(*waiting)
    for job in given_up:
        queue.remove(job)
    left = [each for each in waiting if not any(each is gone for gone in given_up)]
    assert len(queue) == len(left)
    order = empty(queue)
    assert sorted(map(id, order)) == sorted(map(id, left))
    for caller in "abc":
        kept = [each for each in left if each.caller == caller]
        kept.sort(key=lambda each: -each.priority)
        assert [each for each in order if each.caller == caller] == kept


def test_in_a_full_queue_the_last_job_of_the_caller_with_most_has_no_room() -> None:
    """Unless the caller of the new one would have as many; or the new one is less urgent."""
    queue = fill(*(Waiting("greedy", each) for each in range(3)), Waiting("polite"))
    late = Waiting("late")
    assert queue.choose_refused(late) == queue.choose_refused(Waiting("polite"))
    assert queue.choose_refused(late).number == 2
    more = Waiting("greedy", 3)
    assert queue.choose_refused(more) is more
    background = Waiting("late", priority=-1)
    assert queue.choose_refused(background) is background
    urgent = Waiting("greedy", priority=1)
    assert queue.choose_refused(urgent).number == 2


def test_a_queue_without_room_for_anybody_refuses_whoever_comes() -> None:
    """Whatever the urgency."""
    job = Waiting("a", priority=9)
    assert fill().choose_refused(job) is job


def test_a_queue_that_was_cleared_is_as_new() -> None:
    """Its priority, too."""
    queue = fill(Waiting("a", priority=9), Waiting("b"))
    queue.clear()
    queue.add(Waiting("c"))
    assert [each.caller for each in empty(queue)] == ["c"]
