from __future__ import annotations

import threading

import numpy as np

from streamer.ops.memory import PicturePool


def test_planes_have_their_sizes_and_do_not_overlap() -> None:
    y, u, v = PicturePool(16, 10).lease()
    assert (y.shape, u.shape, v.shape) == ((10, 16), (5, 8), (5, 8))
    for value, plane in enumerate((y, u, v)):
        plane[...] = value
    assert [set(plane.ravel().tolist()) for plane in (y, u, v)] == [{0}, {1}, {2}]


def test_memory_comes_back_by_itself_and_is_lent_again() -> None:
    pool = PicturePool(16, 10)
    addresses = set()
    for _ in range(50):
        planes = pool.lease()
        addresses.add(planes[0].ctypes.data)
        del planes
    assert pool.allocated == 1
    assert len(addresses) == 1


def test_one_plane_or_a_part_of_one_keeps_the_whole_picture() -> None:
    pool = PicturePool(16, 10)
    kept = pool.lease()[2][1:, 2:]
    kept[...] = 77
    others = [pool.lease() for _ in range(4)]
    for planes in others:
        for plane in planes:
            plane[...] = 0
    assert (kept == 77).all()
    assert not any(np.shares_memory(kept, plane) for planes in others for plane in planes)


def test_a_pool_holds_no_more_than_were_alive_at_once() -> None:
    pool = PicturePool(16, 10)
    alive = [pool.lease() for _ in range(3)]
    for _ in range(100):
        alive.pop(0)
        alive.append(pool.lease())
    assert pool.allocated == 3


def test_pictures_may_die_in_any_thread() -> None:
    pool = PicturePool(64, 64)
    for _ in range(20):
        lent = [pool.lease() for _ in range(4)]
        threads = [threading.Thread(target=lent.pop) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert pool.allocated <= 8


def test_a_picture_outlives_its_pool() -> None:
    pool = PicturePool(16, 10)
    planes = pool.lease()
    planes[0][...] = 5
    del pool
    assert (planes[0] == 5).all()
