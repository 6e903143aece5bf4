"""PyTorch's side of the benchmarks; how it is driven stands in side.py.

PyTorch runs as an expert would run it, eagerly and in float32. To train: the data lie in memory as one tensor, an epoch's
order is a permutation, a batch is one `index_select`, gradients are set to None, and the loss is read once a run. To
infer: in inference mode, with the batches cut beforehand. The memory format and Adam's implementation are tried out, and
the quickest stay.
"""

import os

import side

options = side.arguments()
# Before the import: it sets the number of threads that OpenMP starts with.
os.environ["OMP_NUM_THREADS"] = str(options.threads)
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import time

import torch
from torch import nn

torch.set_num_threads(options.threads)
torch.set_num_interop_threads(1)


def dense(*sizes):
    """Relu between the layers, sigmoid at the end."""
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return [*layers[:-1], nn.Sigmoid()]


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
    return [*encoder, *decoder, nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid()]


# The layers, and how many of them make the code.
NETWORKS = {
    "vanilla": (lambda: dense(784, 64, 784), 2),
    "multilayer": (lambda: dense(784, 128, 64, 128, 784), 4),
    "convolutional": (convolutional, 9),
}


def network():
    """As many layers as the work takes, with Keras's initialization: Glorot's uniform distribution and biases of zero."""
    torch.manual_seed(options.seed)
    layers, code = NETWORKS[options.network]
    whole = nn.Sequential(*layers())
    for module in whole.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return whole[:code] if options.work == "encode" else whole


class Training:
    """A network on its way, in one of the configurations."""

    def __init__(self, data, memory_format, fused):
        self.configuration = {
            "memory_format": str(memory_format).removeprefix("torch."),
            "adam": "fused" if fused else "default",
        }
        self.generator = torch.Generator().manual_seed(options.seed)
        self.network = network().to(memory_format=memory_format)
        self.data, self.memory_format = data, memory_format
        parameters = self.network.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-7, fused=fused or None)
        self.loss = nn.MSELoss()
        self.order, self.at = None, len(data)

    def next(self, batch):
        if self.at + batch > len(self.data):
            self.order, self.at = torch.randperm(len(self.data), generator=self.generator), 0
        picked = self.data.index_select(0, self.order[self.at : self.at + batch])
        self.at += batch
        # One channel: both memory formats are the same bytes.
        return picked if picked.dim() == 2 else picked.contiguous(memory_format=self.memory_format)

    def step(self, size):
        batch = self.next(size)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.network(batch), batch)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def run(self, steps, batch):
        start = time.perf_counter()
        for _ in range(steps):
            loss = self.step(batch)
        loss = loss.item()
        return time.perf_counter() - start, {"loss": loss}


class Inference:
    """A network at work, in one of the configurations."""

    def __init__(self, data, memory_format):
        self.configuration = {"memory_format": str(memory_format).removeprefix("torch.")}
        self.network = network().eval().to(memory_format=memory_format)
        self.data = data if data.dim() == 2 else data.contiguous(memory_format=memory_format)
        self.batches = {}

    def run(self, steps, batch):
        if batch not in self.batches:
            whole = len(self.data) // batch * batch
            self.batches[batch] = self.data[:whole].split(batch)
        batches, network = self.batches[batch], self.network
        with torch.inference_mode():
            start = time.perf_counter()
            for step in range(steps):
                network(batches[step % len(batches)])
            return time.perf_counter() - start, {}


def main():
    empty = side.peak_rss_bytes()
    data, loaded = side.read_data(options)
    data = torch.from_numpy(data)
    formats = [torch.contiguous_format]
    if options.network == "convolutional":
        data = data.view(-1, 1, 28, 28)
        formats.append(torch.channels_last)
    ready = {"version": torch.__version__, "rss_after_import_bytes": empty}
    if options.work == "train":
        candidates = [Training(data, formats[0], False)]
        candidates[0].run(1, options.batch)
        ready["first_batch_seconds"] = time.perf_counter() - loaded
        candidates = [Training(data, format, fused) for format in formats for fused in (True, False)]
    else:
        candidates = [Inference(data, format) for format in formats]
    best = side.quickest(candidates, lambda candidate, steps: candidate.run(steps, options.batch)[0])
    side.serve(options, ready | {"configuration": best.configuration}, best.run)


if __name__ == "__main__":
    main()
