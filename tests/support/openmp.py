"""An OpenMP of the tests' own, as kernels see one: threads that run regions. For test_team.py."""

import ctypes
import os
import queue
import threading

REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
START = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)


class OpenMP:
    """GOMP_parallel by Python's threads, made anew for each region.

    Attributes:
        regions: how many threads each had.
        functions: what a Team wants: addresses.
    """

    def __init__(self):
        self.regions = []
        self._kept = START(self._parallel)  # C calls it
        process = ctypes.CDLL(None)
        functions = self._kept, process.gettid, process.sched_setaffinity
        self.functions = [ctypes.cast(f, ctypes.c_void_p).value for f in functions]

    def _parallel(self, function, data, threads, _flags):
        self.regions.append(threads)
        run = REGION(function)
        others = [threading.Thread(target=run, args=(data,)) for _ in range(threads - 1)]
        for other in others:
            other.start()
        run(data)
        for other in others:
            other.join()


class Sleepers:
    """A team of threads that sleep between regions, as OpenMP's do after a while."""

    def __init__(self, count):
        self.jobs = [queue.SimpleQueue() for _ in range(count)]
        self.done, self.seen = queue.SimpleQueue(), []
        self.threads = [
            threading.Thread(target=self._work, args=(jobs,), daemon=True) for jobs in self.jobs
        ]
        for thread in self.threads:
            thread.start()
        self._kept = START(self._parallel)
        self.start = ctypes.cast(self._kept, ctypes.c_void_p).value

    def _work(self, jobs):
        while (job := jobs.get()) is not None:
            self.seen.append(os.sched_getaffinity(0))
            job[0](job[1])
            self.done.put(None)

    def _parallel(self, function, data, threads, _flags):
        run = REGION(function)
        for jobs in self.jobs:
            jobs.put((run, data))
        run(data)
        for _ in self.jobs:
            self.done.get()

    def end(self):
        for jobs in self.jobs:
            jobs.put(None)
        for thread in self.threads:
            thread.join(30)
