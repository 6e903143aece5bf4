"""JAX's side of the benchmarks; how it is driven stands in side.py.

JAX runs as an expert would run it, jitted and in float32. To train: the data lie on the device, a batch is gathered from
the epoch's permutation within the jitted step, parameters and moments are donated, and the loss is read once a run. To
infer: with the batches put on the device beforehand. How many steps one call takes is tried out, and whether calls are
dispatched asynchronously, and the quickest stay.

Adam is written out in Keras's form, in which epsilon is added to sqrt(v) before the correction of the bias: optax's has
it after. XLA has no setting that holds it to a number of threads, so the process is left as many processors.
"""

import os
import sys

import side

options = side.arguments()
side.processors(options.threads)
os.environ["JAX_PLATFORMS"] = "cpu"
if options.threads == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-7


def dense(inputs, outputs, activation):
    def layer(parameters, x):
        weights, bias = parameters
        return activation(x @ weights + bias)

    return layer, (inputs, outputs)


def conv(inputs, outputs, activation, padding="SAME"):
    def layer(parameters, x):
        weights, bias = parameters
        sums = lax.conv_general_dilated(x, weights, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return activation(sums + bias)

    return layer, (3, 3, inputs, outputs)


def pool():
    def layer(_, x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")

    return layer, None


def up():
    def layer(_, x):
        return x.repeat(2, axis=1).repeat(2, axis=2)

    return layer, None


relu, sigmoid = jax.nn.relu, jax.nn.sigmoid

# The layers, and how many of them make the code.
NETWORKS = {
    "vanilla": ([dense(784, 64, relu), dense(64, 784, sigmoid)], 1),
    "multilayer": (
        [dense(784, 128, relu), dense(128, 64, relu), dense(64, 128, relu), dense(128, 784, sigmoid)],
        2,
    ),
    "convolutional": (
        [conv(1, 16, relu), pool(), conv(16, 8, relu), pool(), conv(8, 8, relu), pool()]
        + [conv(8, 8, relu), up(), conv(8, 8, relu), up(), conv(8, 16, relu, "VALID"), up(), conv(16, 1, sigmoid)],
        6,
    ),
}
LAYERS, CODE = NETWORKS[options.network]
if options.work == "encode":
    LAYERS = LAYERS[:CODE]


def initial(key):
    """Keras's initialization: Glorot's uniform distribution and biases of zero."""
    parameters = []
    for _, shape in LAYERS:
        if shape is None:
            parameters.append(())
            continue
        key, drawn = jax.random.split(key)
        weights = jax.nn.initializers.glorot_uniform()(drawn, shape)
        parameters.append((weights, jnp.zeros(shape[-1])))
    return parameters


def apply(parameters, x):
    for (layer, _), own in zip(LAYERS, parameters):
        x = layer(own, x)
    return x


def loss_of(parameters, batch):
    return jnp.mean(jnp.square(apply(parameters, batch) - batch))


def update(state, batch):
    parameters, first, second, step = state
    loss, gradients = jax.value_and_grad(loss_of)(parameters, batch)
    step += 1
    rate = RATE * jnp.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
    first = jax.tree.map(lambda m, g: m + (g - m) * (1 - BETA_1), first, gradients)
    second = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - BETA_2), second, gradients)
    parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), parameters, first, second)
    return (parameters, first, second, step), loss


@partial(jax.jit, donate_argnums=0)
def train_step(state, data, picked):
    return update(state, data[picked])


@partial(jax.jit, donate_argnums=0)
def train_steps(state, data, picked):
    """As many steps as `picked` has rows."""
    state, losses = lax.scan(lambda state, picked: update(state, data[picked]), state, picked)
    return state, losses[-1]


@jax.jit
def infer(parameters, batch):
    return apply(parameters, batch)


class Training:
    """A network on its way."""

    def __init__(self, data, steps_a_call):
        self.configuration = {"steps_a_call": steps_a_call}
        self.data, self.steps_a_call = data, steps_a_call
        self.random = np.random.default_rng(options.seed)
        parameters = initial(jax.random.key(options.seed))
        # Each has memory of its own, for all of it is donated.
        first, second = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
        self.state = parameters, first, second, jnp.zeros((), jnp.float32)
        self.order, self.at = None, len(data)

    def next(self, batch):
        if self.at + batch > len(self.data):
            self.order, self.at = self.random.permutation(len(self.data)).astype(np.int32), 0
        picked = self.order[self.at : self.at + batch]
        self.at += batch
        return picked

    def run(self, steps, batch):
        start, done = time.perf_counter(), 0
        while done < steps:
            if self.steps_a_call == 1 or steps - done < self.steps_a_call:
                self.state, loss = train_step(self.state, self.data, self.next(batch))
                done += 1
            else:
                picked = np.stack([self.next(batch) for _ in range(self.steps_a_call)])
                self.state, loss = train_steps(self.state, self.data, picked)
                done += self.steps_a_call
        loss = float(jax.block_until_ready((self.state, loss))[1])
        return time.perf_counter() - start, {"loss": loss}


class Inference:
    """A network at work."""

    configuration = {}

    def __init__(self, data):
        self.parameters, self.data, self.batches = initial(jax.random.key(options.seed)), data, {}

    def run(self, steps, batch):
        if batch not in self.batches:
            whole = len(self.data) // batch * batch
            self.batches[batch] = [jnp.asarray(self.data[at : at + batch]) for at in range(0, whole, batch)]
        batches, parameters = self.batches[batch], self.parameters
        start, given = time.perf_counter(), []
        for step in range(steps):
            given.append(infer(parameters, batches[step % len(batches)]))
        jax.block_until_ready(given)
        return time.perf_counter() - start, {}


def main():
    empty = side.peak_rss_bytes()
    data, loaded = side.read_data(options)
    if options.network == "convolutional":
        data = data.reshape(-1, 28, 28, 1)
    ready = {"version": jax.__version__, "rss_after_import_bytes": empty}
    if options.work == "train":
        data = jnp.asarray(data)
        candidates = [Training(data, 1)]
        candidates[0].run(1, options.batch)
        ready["first_batch_seconds"] = time.perf_counter() - loaded
        candidates.append(Training(data, 16))
        # A turn's first steps compile what it needs.
        candidates[1].run(16, options.batch)
    else:
        candidates = [Inference(data)]
    best = side.quickest(candidates, lambda candidate, steps: candidate.run(steps, options.batch)[0])
    side.serve(options, ready | {"configuration": best.configuration}, best.run)


if __name__ == "__main__":
    sys.exit(main())
