from __future__ import annotations

import threading

from lisa_tool.engine.cache import ByteBoundedCache


def test_what_is_put_is_found() -> None:
    cache: ByteBoundedCache[str] = ByteBoundedCache(10)
    cache.put("a", "A", 4)
    assert cache.get("a") == "A"
    assert cache.get("b") is None
    assert cache.used_bytes == 4


def test_what_was_used_longest_ago_goes_first() -> None:
    cache: ByteBoundedCache[str] = ByteBoundedCache(10)
    for key in "ab":
        cache.put(key, key.upper(), 5)
    assert cache.get("a") == "A"
    cache.put("c", "C", 5)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", None, "C")


def test_the_bound_is_exact() -> None:
    cache: ByteBoundedCache[str] = ByteBoundedCache(10)
    cache.put("a", "A", 4)
    cache.put("b", "B", 6)
    assert cache.get("a") == "A" and cache.used_bytes == 10
    cache.put("c", "C", 1)
    assert cache.get("b") is None and cache.used_bytes == 5


def test_one_large_value_makes_several_go() -> None:
    cache: ByteBoundedCache[str] = ByteBoundedCache(10)
    for key in "abc":
        cache.put(key, key, 3)
    cache.put("d", "d", 7)
    assert [cache.get(key) for key in "abcd"] == [None, None, "c", "d"]


def test_a_value_over_the_whole_bound_is_not_kept_and_removes_only_its_predecessor() -> None:
    cache: ByteBoundedCache[str] = ByteBoundedCache(10)
    cache.put("a", "A", 5)
    cache.put("b", "old", 5)
    cache.put("b", "new", 11)
    assert (cache.get("a"), cache.get("b"), cache.used_bytes) == ("A", None, 5)


def test_putting_a_key_again_replaces_its_value_and_size() -> None:
    cache: ByteBoundedCache[str] = ByteBoundedCache(10)
    cache.put("a", "old", 9)
    cache.put("a", "new", 2)
    assert (cache.get("a"), cache.used_bytes) == ("new", 2)


def test_a_bound_of_zero_keeps_nothing() -> None:
    cache: ByteBoundedCache[str] = ByteBoundedCache(0)
    cache.put("a", "A", 1)
    assert cache.get("a") is None and cache.used_bytes == 0


def test_clear_lets_go_of_everything() -> None:
    cache: ByteBoundedCache[str] = ByteBoundedCache(10)
    cache.put("a", "A", 5)
    cache.clear()
    assert cache.get("a") is None and cache.used_bytes == 0


def test_many_threads_keep_the_bound_and_the_count() -> None:
    cache: ByteBoundedCache[int] = ByteBoundedCache(100)
    start = threading.Barrier(8)

    def use(seed: int) -> None:
        start.wait(30)
        for i in range(500):
            key = (seed * i) % 40
            cache.put(key, key, 1 + key % 7)
            assert cache.get(key) in (None, key)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    kept = [key for key in range(40) if cache.get(key) is not None]
    assert cache.used_bytes == sum(1 + key % 7 for key in kept) <= 100
