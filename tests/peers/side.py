"""What a peer's side of the benchmarks has in common with the other's: its command line, its data, its protocol.

    python side_NAME.py --work train|encode|reconstruct --network vanilla|multilayer|convolutional --threads N
                        --data FILE.npy [--batch N]

FILE.npy holds float32 [samples, 784] in [0, 1]. A side works when a line on its standard input says so, so that several
can take turns within the life of their processes. It prints a line when everything is ready, then for each

    go STEPS BATCH

it trains for STEPS steps, or lets STEPS batches go through the network, and prints a line. It ends with its input. Every
line is one JSON object:

| of the first line | |
| --- | --- |
| `version`, `configuration` | the peer's, and which of the equivalent configurations was the quickest |
| `rss_after_import_bytes` | before any data were read |
| `first_batch_seconds` | training only: from the data in memory as NumPy has read them to the end of the first step, with whatever is compiled for it; the import is not counted |

| of the others | |
| --- | --- |
| `samples_per_second` | over these steps |
| `loss` | training only: of the last step |
| `peak_rss_bytes` | over the process's life |
"""

import argparse
import json
import os
import resource
import sys
import time


def arguments():
    parser = argparse.ArgumentParser(description="One side of a benchmark: see side.py")
    parser.add_argument("--work", choices=["train", "encode", "reconstruct"], required=True)
    parser.add_argument("--network", choices=["vanilla", "multilayer", "convolutional"], required=True)
    parser.add_argument("--threads", type=positive, required=True)
    parser.add_argument("--data", required=True, metavar="FILE.npy")
    parser.add_argument("--batch", type=positive, default=32, help="that configurations are tried with")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text}")
    return number


def processors(threads):
    """Leaves the process as many processors as it is to have threads, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def read_data(options):
    """The data, and when they were in memory."""
    import numpy as np

    data = np.load(options.data)
    if data.dtype != np.float32 or data.ndim != 2 or data.shape[1] != 784:
        sys.exit(f"{options.data}: expected float32 [samples, 784], got {data.dtype} {list(data.shape)}")
    if len(data) < options.batch:
        sys.exit(f"{options.data}: expected at least a batch of {options.batch} samples, got {len(data)}")
    if not (data.min() >= 0 and data.max() <= 1):
        sys.exit(f"{options.data}: expected values from 0 to 1, got {data.min()} to {data.max()}")
    return data, time.perf_counter()


def quickest(candidates, work):
    """Tries the candidates in turns, three times each for about 0.3 seconds, and keeps the one with the quickest turn.

    `work(candidate, steps)` gives the seconds that the steps took.
    """
    if len(candidates) == 1:
        return candidates[0]
    counts, best = [], [float("inf")] * len(candidates)
    for candidate in candidates:
        work(candidate, 8)
        counts.append(max(8, round(8 * 0.3 / work(candidate, 8))))
    for _ in range(3):
        for index, candidate in enumerate(candidates):
            best[index] = min(best[index], work(candidate, counts[index]) / counts[index])
    return candidates[best.index(min(best))]


def peak_rss_bytes():
    # Linux counts kibibytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def serve(options, ready, work):
    """Says `ready`, and answers every line. `work(steps, batch)` gives the seconds, and more to be said."""
    say(network=options.network, work=options.work, threads=options.threads, **ready)
    for line in sys.stdin:
        match line.split():
            case ["go", steps, batch] if steps.isdecimal() and batch.isdecimal() and int(steps) and int(batch):
                seconds, more = work(int(steps), int(batch))
            case _:
                sys.exit(f"standard input: expected `go STEPS BATCH`, got {line.rstrip()!r}")
        rate = int(steps) * int(batch) / seconds
        say(samples_per_second=rate, seconds=seconds, **more, peak_rss_bytes=peak_rss_bytes())


def say(**fields):
    print(json.dumps(fields), flush=True)
