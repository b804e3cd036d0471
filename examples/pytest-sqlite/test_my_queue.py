"""contend's fixtures come with installing it."""

import pytest
from my_queue import MyQueue


def test_no_job_is_handed_to_two_workers(contend):
    contend.race(MyQueue, workers=4, jobs=200).assert_passed()


@pytest.mark.contend(workers=2, batch=1)
def test_nor_in_any_order_of_statements(contend):
    contend.explore(MyQueue).assert_passed()


def test_a_claim_is_one_statement_whatever_its_size(statement_count):
    with statement_count(limit=1) as counted:
        queue = MyQueue(counted.url)
        queue.install()
        queue.enqueue([{"payload": number} for number in range(20)])
        counted.reset()
        queue.claim("w0", 10)
