"""The schedule: every job once, no host above its limit or within its pause, none waiting for another."""

import httpx2
from hypothesis import given
from hypothesis import strategies as st

from hangtag.catalogue.web.hosts import Job, Schedule


def job(host, number=0):
    return Job(f"http://{host}/{number}", httpx2.URL(f"http://{host}/{number}"))


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 4), st.randoms(use_true_random=False))
def test_a_simulation_of_servers_that_answer_fail_and_ask_to_wait(hosts, limit, chance):
    schedule = Schedule(limit, limit)
    jobs = [job(f"h{host}.example", number) for number, host in enumerate(hosts)]
    for each in jobs:
        schedule.add(each)
    now, under_way, done, steps = 0.0, [], [], 0
    while len(done) < len(jobs):
        steps += 1
        assert steps < 10_000
        while (taken := schedule.take(now)) is not None:
            host, each = taken
            assert host.not_before <= now
            under_way.append((now, host, each))
            assert sum(other is host for _, other, _ in under_way) <= limit
        if not under_way:
            wait = schedule.wait(now)
            assert wait is not None, "nothing is under way and nothing will be due"
            now += wait + 1e-9
            continue
        started, host, each = under_way.pop(chance.randrange(len(under_way)))
        now += chance.random()
        schedule.release(host)
        event = chance.randrange(4)
        if event == 0 and each.waits < 3:
            each.waits += 1
            host.asked_to_wait(now + 3, started)
            schedule.add(each, when=max(host.not_before, now + 3))
        elif event == 1 and each.hops < 2:
            each.hops += 1
            each.at = httpx2.URL(f"http://h{chance.randrange(5)}.example/")
            schedule.add(each, first=True)
        else:
            host.answered(0.1)
            done.append(each)
    assert sorted(map(id, done)) == sorted(map(id, jobs))
    assert schedule.take(now + 1e6) is None


def test_hosts_take_turns_and_a_paused_one_holds_up_none():
    schedule = Schedule(2, 2)
    for number in range(3):
        schedule.add(job("a.example", number))
    schedule.add(job("b.example"))
    order = [schedule.take(0.0) for _ in range(3)]
    assert [host.name for host, _ in order] == ["a.example", "b.example", "a.example"]
    assert schedule.take(0.0) is None  # a is at its limit
    host = order[0][0]
    host.asked_to_wait(5.0, 0.0)
    schedule.release(host)
    schedule.release(host)
    schedule.add(job("c.example"))
    assert schedule.take(1.0)[0].name == "c.example"
    assert schedule.take(4.9) is None
    assert schedule.wait(4.0) == 1.0
    assert schedule.take(5.0)[0] is host


def test_one_wait_among_many_good_answers_is_one_file_s_and_a_second_is_the_host_s():
    host = Schedule(8, 8).host(job("a.example"))
    for _ in range(16):
        host.answered(0.1)
    host.asked_to_wait(9.0, started=1.0)
    assert (host.limit, host.not_before) == (8, 0.0)
    host.asked_to_wait(9.0, started=1.1)
    assert (host.limit, host.not_before) == (4, 9.0)
    host.asked_to_wait(9.5, started=1.2)  # was under way already
    assert (host.limit, host.not_before) == (4, 9.0)
    for _ in range(16):
        host.answered(0.1)
    assert host.limit == 5


def test_patience_follows_the_slowest_of_the_last_answers():
    host = Schedule(8, 8).host(job("a.example"))
    assert host.patience(15.0, last=False) == 15.0
    for _ in range(16):
        host.answered(0.02)
    assert (host.patience(15.0, last=False), host.patience(15.0, last=True)) == (1.0, 2.0)
    host.answered(0.4)
    assert host.patience(15.0, last=False) == 4.0
    host.answered(3.0)
    assert host.patience(15.0, last=False) == 15.0
    for _ in range(64):
        host.answered(0.02)
    assert host.patience(15.0, last=False) == 1.0


def test_crawl_delay_spaces_requests():
    schedule = Schedule(8, 8)
    for number in range(3):
        schedule.add(job("a.example", number))
    schedule.host(job("a.example")).interval = 2.0
    taken = [now for now in (0.0, 1.0, 2.0, 3.9, 4.0) if schedule.take(now)]
    assert taken == [0.0, 2.0, 4.0]


def test_silence_is_counted_in_rounds():
    host = Schedule(8, 8).host(job("a.example"))
    assert [host.silent(started, now=5.0) for started in (0.0, 0.1, 0.2)] == [1, 1, 1]
    assert host.silent(5.5, now=10.0) == 2
    host.answered()
    assert host.silent(11.0, now=12.0) == 1
