"""PyTorch's side of the training benchmark, driven over standard input so that runs can be interleaved.

    python train_pytorch.py --network vanilla|convolutional --batch N --threads N --data FILE.npy [--seconds S]

FILE.npy holds float32 [samples, 784] in [0, 1]. The first line that is printed says that everything is ready and which
of the equivalent configurations was the quickest, with `rss_after_import_bytes` before any data were read; then

    go N    trains for N more steps (`go` alone: for S seconds) and prints a line
    end     ends, as does the end of the input

Every line is one JSON object. In that of a run, `samples_per_second` is over these steps, `loss` is the mean of the
last of them, and `peak_rss_bytes` is over the process's life.

PyTorch runs as an expert would run it, eagerly and in float32: the data lie in memory as one tensor, an epoch's order is
a permutation, a batch is one `index_select`, gradients are set to None, and the loss is read once a run. The memory
format and Adam's implementation are tried out, and the quickest stay.
"""

import argparse
import json
import os
import resource
import sys
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=["vanilla", "convolutional"], required=True)
    parser.add_argument("--batch", type=positive(int), required=True)
    parser.add_argument("--threads", type=positive(int), required=True)
    parser.add_argument("--data", required=True, metavar="FILE.npy")
    parser.add_argument("--seconds", type=positive(float), default=2.0, help="of a run without a number of steps")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def positive(kind):
    def parse(text):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
        return value

    parse.__name__ = kind.__name__
    return parse


options = arguments()
# Before the import: it sets the number of threads that OpenMP starts with.
os.environ["OMP_NUM_THREADS"] = str(options.threads)
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import torch
from torch import nn

torch.set_num_threads(options.threads)
torch.set_num_interop_threads(1)


def vanilla():
    return nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 784), nn.Sigmoid())


def convolutional():
    def conv(inputs, outputs, padding=1):
        return [nn.Conv2d(inputs, outputs, 3, padding=padding), nn.ReLU()]

    def pool():
        # Rounds up, as Keras's `same` does: 28, 14, 7, 4.
        return nn.MaxPool2d(2, ceil_mode=True)

    def up():
        return nn.Upsample(scale_factor=2, mode="nearest")

    encoder = [*conv(1, 16), pool(), *conv(16, 8), pool(), *conv(8, 8), pool()]
    decoder = [*conv(8, 8), up(), *conv(8, 8), up(), *conv(8, 16, padding=0), up()]
    return nn.Sequential(*encoder, *decoder, nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid())


def keras_initialization(network):
    """Glorot's uniform distribution and biases of zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


class Training:
    """A network on its way, in one of the configurations."""

    def __init__(self, data, memory_format, fused):
        self.configuration = {
            "memory_format": str(memory_format).removeprefix("torch."),
            "adam": "fused" if fused else "default",
        }
        self.generator = torch.Generator().manual_seed(options.seed)
        torch.manual_seed(options.seed)
        self.network = vanilla() if options.network == "vanilla" else convolutional()
        keras_initialization(self.network)
        self.network = self.network.to(memory_format=memory_format)
        self.data, self.memory_format = data, memory_format
        parameters = self.network.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-7, fused=fused or None)
        self.loss = nn.MSELoss()
        self.order, self.at = None, len(data)

    def batch(self):
        if self.at + options.batch > len(self.data):
            self.order, self.at = torch.randperm(len(self.data), generator=self.generator), 0
        picked = self.data.index_select(0, self.order[self.at : self.at + options.batch])
        self.at += options.batch
        # One channel: both memory formats are the same bytes.
        return picked if picked.dim() == 2 else picked.contiguous(memory_format=self.memory_format)

    def step(self):
        batch = self.batch()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.network(batch), batch)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def run(self, steps=None, seconds=None):
        """Trains for a number of steps, or for a time: how many steps it were, how long they took, the last loss."""
        start, done = time.perf_counter(), 0
        while done < steps if steps else time.perf_counter() - start < seconds:
            loss = self.step()
            done += 1
        loss = loss.item()
        return done, time.perf_counter() - start, loss


def read_data():
    data = np.load(options.data)
    if data.dtype != np.float32 or data.ndim != 2 or data.shape[1] != 784:
        sys.exit(f"{options.data}: expected float32 [samples, 784], got {data.dtype} {list(data.shape)}")
    if len(data) < options.batch:
        sys.exit(f"{options.data}: expected at least a batch of {options.batch} samples, got {len(data)}")
    if not (data.min() >= 0 and data.max() <= 1):
        sys.exit(f"{options.data}: expected values from 0 to 1, got {data.min()} to {data.max()}")
    data = torch.from_numpy(data)
    return data if options.network == "vanilla" else data.view(-1, 1, 28, 28)


def quickest(data):
    """Tries the configurations in turns, three times each, and keeps the one with the quickest turn."""
    formats = [torch.contiguous_format]
    if options.network == "convolutional":
        formats.append(torch.channels_last)
    candidates = [Training(data, memory_format, fused) for memory_format in formats for fused in (True, False)]
    best = [float("inf")] * len(candidates)
    for training in candidates:
        training.run(steps=10)
    for _ in range(3):
        for index, training in enumerate(candidates):
            steps, seconds, _ = training.run(seconds=0.3)
            best[index] = min(best[index], seconds / steps)
    return candidates[best.index(min(best))]


def say(**fields):
    print(json.dumps(fields), flush=True)


def peak_rss_bytes():
    # Linux counts kibibytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main():
    empty = peak_rss_bytes()
    training = quickest(read_data())
    subject = {"peer": "pytorch", "version": torch.__version__, "network": options.network, "batch": options.batch}
    subject |= {"threads": options.threads}
    say(**subject, ready=True, **training.configuration, rss_after_import_bytes=empty)
    for line in sys.stdin:
        match line.split():
            case ["go"]:
                steps, seconds, loss = training.run(seconds=options.seconds)
            case ["go", count] if count.isdecimal() and int(count) > 0:
                steps, seconds, loss = training.run(steps=int(count))
            case ["end"]:
                return
            case _:
                sys.exit(f"standard input: expected `go`, `go STEPS` or `end`, got {line.rstrip()!r}")
        rate = steps * options.batch / seconds
        measured = {"steps": steps, "seconds": seconds, "samples_per_second": rate}
        say(**subject, **measured, loss=loss, peak_rss_bytes=peak_rss_bytes())


if __name__ == "__main__":
    main()
