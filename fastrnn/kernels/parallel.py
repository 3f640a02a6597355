"""How threads share a kernel: jobs of numbered parts, claimed by the first thread that is free.

The words of a pool (below) are all that threads have in common. A kernel that owns the pool
publishes a job; workers that are awake (threads.py) and the caller itself claim its parts, one by
one. Nothing waits for a thread that has not begun: without workers the caller does all parts, so
nothing can deadlock, whatever is scheduled when. Results must not depend on which thread
runs a part.
"""

from fastrnn.kernels.jit import jit, kernel
from fastrnn.kernels.machine import (
    atomic_add,
    atomic_read,
    atomic_replace,
    atomic_write,
    call_if_any,
    call_with_block,
    flush_denormals,
    invoke,
    invoke_in_team,
    keep_denormals,
    outlined,
    pause,
    restore_mode,
)

# The words of a pool, each on a cache line of its own where threads write them.
OWNED = 0  # a kernel has the pool
CLAIM = 8  # the job: its number << 32 | its parts << 16 | the next part to claim
CODE, DATA = 16, 17  # of the job, for `invoke`
DONE = 24  # parts that are done
FAILED = 32  # a part raised (only with NUMBA_BOUNDSCHECK)
YIELD = 33  # address of the system's function that lets other threads run, or 0
CALLED = 34  # how often workers were called (threads.py)
SERVING = 40  # workers that look for jobs
IN_STEP = 48  # in lockstep: chunks done, of all steps together
CHUNKS = 56  # 8 words for each chunk: the step it waits for, its owner
# A team, the threads of another library that help in place of workers (team.py):
TEAM = CHUNKS + 8 * 64  # of which thread, by its number; 0: there is none
START, SIZE = TEAM + 1, TEAM + 2  # address of GOMP_parallel; threads, the caller's included
GETTID = TEAM + 3  # address of the function that tells a thread's number
MOVED = TEAM + 4  # its threads may not use all CPUs that they might
MOVE, CPUS = TEAM + 5, TEAM + 6  # addresses of sched_setaffinity and of a mask: all those
CPUS_SIZE = TEAM + 7  # bytes of the mask
MET = TEAM + 8  # how many threads but the caller's were met in the last job
MATES = TEAM + 16  # their numbers
MOST_MATES = 64
WORDS = MATES + MOST_MATES

_GRACE = 300  # failed claims before a chunk of another thread is taken: some microseconds
_PATIENCE = 2000  # pauses before a waiting thread lets others run: tens of microseconds


@jit
def acquire(pool):
    """Return whether the pool is this caller's now; a caller that cannot have it works alone."""
    return atomic_replace(pool, OWNED, 0, 1)


@jit
def release(pool):
    """Give the pool back."""
    atomic_write(pool, OWNED, 0)


@jit
def _raise_if(failed, pool, owned):
    """Raise what a part raised: only an access outside an array, with NUMBA_BOUNDSCHECK."""
    if failed:
        if owned:
            pool[FAILED] = 0
            release(pool)
        raise IndexError("a kernel left its array: please report this")


@jit
def wait_a_little(pool, waited):
    """Pause; after a while let other threads have the core. `waited` counts the calls."""
    if waited % _PATIENCE == _PATIENCE - 1:
        call_if_any(pool[YIELD])
    else:
        pause()


@jit
def _help(pool):
    """Claim and run parts until none is left; return whether any was."""
    any_part = False
    while True:
        word = atomic_read(pool, CLAIM)
        part = word & 0xFFFF
        if part >= (word >> 16) & 0xFFFF:
            return any_part
        if atomic_replace(pool, CLAIM, word, word + 1):
            # Now the job cannot end before this part does: its code and data are valid.
            any_part = True
            if invoke(pool[CODE], pool[DATA], part):
                pool[FAILED] = 1
                atomic_add(pool, IN_STEP, 1 << 60)  # past the end: no thread waits for its chunk
            atomic_add(pool, DONE, 1)


@jit
def _join(_, pool, master):
    """Help as a thread of a team."""
    mode = flush_denormals()
    me = call_if_any(pool[GETTID])
    if me != master:
        if pool[MOVED]:
            call_with_block(pool[MOVE], 0, pool[CPUS_SIZE], pool[CPUS])
        pool[MATES + (atomic_add(pool, MET, 1) & (MOST_MATES - 1))] = me
    _help(pool)
    restore_mode(mode)


@jit
def share(pool, owned, parts, outline):
    """Run `parts` parts (at most 65,535) of what `machine.outlined` returned.

    If the caller owns the pool, whoever serves helps, or the caller's team; else it runs them one
    after the other.
    """
    code, data = outline
    if not owned or parts == 1:
        failed = 0
        for part in range(parts):
            failed += invoke(code, data, part)
        _raise_if(failed, pool, owned)
        return
    pool[CODE] = code
    pool[DATA] = data
    pool[DONE] = 0
    number = (atomic_read(pool, CLAIM) >> 32) + 1 & 0x3FFFFFFF
    atomic_write(pool, CLAIM, number << 32 | parts << 16)
    master = atomic_read(pool, TEAM)
    if master and call_if_any(pool[GETTID]) == master:
        atomic_write(pool, MET, 0)
        code, data = outlined(_join, (pool, master))
        mode = keep_denormals()  # threads that are made now, for the other library, inherit it
        invoke_in_team(pool[START], pool[SIZE], code, data)
        restore_mode(mode)
        pool[MOVED] = 0
    else:
        _help(pool)
    waited = 0
    while atomic_read(pool, DONE) < parts:
        wait_a_little(pool, waited)
        waited += 1
    _raise_if(pool[FAILED], pool, owned)


@kernel
def serve(pool, patience):
    """Help with jobs until no kernel had the pool and nobody called for `patience` pauses."""
    mode = flush_denormals()
    called = -1
    # A caller looks at SERVING: a worker that leaves and a caller must not miss each other.
    while called != atomic_read(pool, CALLED):
        atomic_add(pool, SERVING, 1)
        waited = 0
        while waited < patience:
            if _help(pool):
                waited = 0
            wait_a_little(pool, waited)
            now = atomic_read(pool, CALLED)
            waited = 1 if atomic_read(pool, OWNED) or called != now else waited + 1
            called = now
        atomic_add(pool, SERVING, -1)
    restore_mode(mode)


# Lockstep: steps that need all of the step before. Each step has the same chunks; a thread does
# those it owns, and a chunk left unclaimed for a while is stolen by a waiting thread. So a thread
# that is late, or never comes, costs a moment, and each keeps its own weights in its own cache.


@jit
def start_lockstep(pool, first, chunks, members):
    """Prepare a run of `chunks` chunks (at most 64) in lockstep, whose first step is `first`."""
    pool[IN_STEP] = first * chunks
    for chunk in range(chunks):
        pool[CHUNKS + 8 * chunk] = first
        pool[CHUNKS + 8 * chunk + 1] = chunk * members // chunks


@jit
def lockstep_step(pool, chunks):
    """Return the step that the chunks have come to."""
    return atomic_read(pool, IN_STEP) // chunks


@jit
def claim_chunk(pool, step, me, chunks, waited):
    """Return a chunk of this step for thread `me` to do, or -1. `waited` counts failed calls."""
    for chunk in range(chunks):
        word = CHUNKS + 8 * chunk
        if pool[word + 1] == me or waited > _GRACE:
            if atomic_replace(pool, word, step, step + 1):
                pool[word + 1] = me
                return chunk
    return -1


@jit
def chunk_done(pool):
    """Say that a claimed chunk is computed."""
    atomic_add(pool, IN_STEP, 1)
