"""Records what PyTorch and Keras answer, for `tests/host/recorded_figures.rs` to hold narrows-core against.

    python record_figures.py [figures.json]

A case is a small network, written as narrows-core's serde has it, with its loss and where its numbers come from:
a 32-bit linear congruential generator that draws the parameters, then the inputs, then the targets. So only answers
are recorded. The quantities are

    output              the network's answer to the batch
    loss                the batch's mean loss
    parameter_gradient  of that loss, layer after layer, each layer's weights and then its biases
    input_gradient      of that loss
    losses, parameters  the loss before each of the optimizer's steps, and the parameters after the last

in Keras's layouts: pictures [sample][y][x][channel], kernels [ky][kx][channel in][channel out]. Every peer is held
against PyTorch in float64 before anything is written: where one is further from it than rounding explains, the case must
give the reason under `differs`, and where one is not, it must not.
"""

import json
import os
import platform
import sys
import zlib

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# PyTorch's optimizers import Triton where it is installed, whose LLVM does not go with TensorFlow's in one process.
sys.modules["triton"] = None

import keras
import numpy as np
import tensorflow as tf
import torch
import torch.nn.functional as F

tf.get_logger().setLevel("ERROR")
torch.set_num_threads(1)

# ---------------------------------------------------------------------------------------------------------------- cases


def flat(length):
    return {"Flat": {"length": length}}


def picture(height, width, channels):
    return {"Picture": {"height": height, "width": width, "channels": channels}}


def dense(units, activation="Linear"):
    return {"Dense": {"units": units, "activation": activation}}


def conv2d(filters, kernel_size, strides=(1, 1), padding="Same", activation="Linear"):
    return {
        "Conv2d": {
            "filters": filters,
            "kernel_size": kernel_size,
            "strides": strides,
            "padding": padding,
            "activation": activation,
        }
    }


def max_pool2d(pool_size, strides, padding):
    return {"MaxPool2d": {"pool_size": pool_size, "strides": strides, "padding": padding}}


def up_sample2d(size):
    return {"UpSample2d": {"size": size}}


FLATTEN = "Flatten"


def reshape(target):
    return {"Reshape": {"target": target}}


ADAM = {"Adam": {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}}
MOMENTUM = {"Sgd": {"learning_rate": 0.1, "momentum": 0.9}}
PLAIN = {"Sgd": {"learning_rate": 0.1, "momentum": 0.0}}

DENSE_AUTOENCODER = (flat(12), [dense(5, "Relu"), dense(12, "Sigmoid")])
CONVOLUTIONAL_AUTOENCODER = (
    picture(7, 6, 1),
    [
        conv2d(4, (3, 3), activation="Relu"),
        max_pool2d((2, 2), (2, 2), "Same"),
        conv2d(2, (3, 3), activation="Relu"),
        up_sample2d((2, 2)),
        conv2d(1, (2, 1), padding="Valid", activation="Sigmoid"),
    ],
)


def cases():
    listed = []

    def case(name, network, loss="MeanSquaredError", batch=3, optimizer=None, scales=(1.0, 0.5), **more):
        shape, layers = network
        input_scale, parameter_scale = scales
        listed.append(
            {
                "name": name,
                "seed": zlib.crc32(name.encode()),
                "input": shape,
                "layers": layers,
                "loss": loss,
                "batch": batch,
                "training": optimizer and {"optimizer": optimizer, "steps": 10},
                "input_scale": input_scale,
                "parameter_scale": parameter_scale,
                "differs": {},
                **more,
            }
        )

    for inputs, units, batch in [(1, 1, 1), (5, 4, 3), (17, 9, 2), (64, 3, 5)]:
        case(f"dense {inputs} to {units}", (flat(inputs), [dense(units)]), batch=batch)

    for kernel, strides, padding, shape in [
        ((1, 1), (1, 1), "Same", (3, 4, 2)),
        ((3, 3), (1, 1), "Same", (5, 6, 2)),
        ((3, 3), (1, 1), "Valid", (5, 6, 2)),
        ((3, 3), (2, 2), "Same", (7, 6, 2)),
        ((3, 3), (2, 2), "Valid", (7, 6, 2)),
        ((2, 2), (1, 1), "Same", (4, 5, 2)),
        ((2, 3), (2, 1), "Same", (5, 5, 3)),
        ((3, 2), (1, 3), "Valid", (5, 8, 1)),
        ((4, 4), (3, 2), "Same", (7, 7, 2)),
        ((1, 1), (2, 3), "Same", (5, 7, 2)),
        ((1, 2), (3, 3), "Valid", (7, 8, 2)),
        ((5, 5), (1, 1), "Same", (3, 4, 2)),
        ((5, 3), (2, 2), "Valid", (5, 3, 3)),
        ((1, 5), (1, 2), "Same", (1, 11, 2)),
    ]:
        layers = [conv2d(3, kernel, strides, padding)]
        case(f"conv2d {kernel} by {strides} {padding} on {shape}", (picture(*shape), layers), batch=2)

    for pool, strides, padding, shape in [
        ((2, 2), (2, 2), "Same", (7, 6, 2)),
        ((2, 2), (2, 2), "Valid", (7, 6, 2)),
        ((3, 3), (2, 2), "Same", (7, 5, 2)),
        ((3, 3), (2, 2), "Valid", (7, 5, 2)),
        ((3, 2), (1, 3), "Same", (5, 8, 2)),
        ((2, 3), (3, 1), "Valid", (8, 5, 2)),
        ((1, 1), (2, 2), "Same", (5, 5, 1)),
        ((1, 3), (1, 2), "Same", (1, 9, 2)),
    ]:
        layers = [max_pool2d(pool, strides, padding)]
        case(f"max_pooling2d {pool} by {strides} {padding} on {shape}", (picture(*shape), layers), batch=2)
    case(
        "max_pooling2d of equal values",
        (picture(5, 5, 2), [max_pool2d((3, 2), (2, 2), "Same")]),
        batch=2,
        scales=(0.0, 0.5),
    )

    for size, shape in [((2, 2), (3, 2, 2)), ((3, 1), (2, 3, 3)), ((1, 4), (1, 3, 2))]:
        case(f"up_sampling2d {size} on {shape}", (picture(*shape), [up_sample2d(size)]), batch=2)
    case("reshape and flatten", (flat(24), [reshape(picture(4, 3, 2)), conv2d(2, (2, 2)), FLATTEN, dense(3)]))

    for activation in ["Relu", "Sigmoid", "Tanh", "Softmax"]:
        case(f"dense {activation}", (flat(9), [dense(11, activation)]))
        case(f"dense {activation} far from zero", (flat(9), [dense(11, activation)]), scales=(2.0, 1.0))
        case(f"conv2d {activation}", (picture(4, 3, 2), [conv2d(3, (3, 3), activation=activation)]), batch=2)
    case("dense Relu at zero", (flat(4), [dense(5, "Relu")]), scales=(1.0, 0.0))

    hidden = [dense(8, "Tanh")]
    case("binary cross-entropy of sigmoid", (flat(10), [*hidden, dense(10, "Sigmoid")]), "BinaryCrossEntropy")
    mistaken = "with TensorFlow, the inputs of a last softmax are taken for those of a sigmoid"
    case(
        "binary cross-entropy of softmax",
        (flat(10), [*hidden, dense(6, "Softmax")]),
        "BinaryCrossEntropy",
        probabilities=True,
        differs={"keras": {"loss": mistaken, "parameter_gradient": mistaken, "input_gradient": mistaken}},
    )
    case(
        "binary cross-entropy of a picture",
        (picture(4, 3, 2), [conv2d(2, (3, 3), activation="Sigmoid")]),
        "BinaryCrossEntropy",
        batch=2,
    )
    case("categorical cross-entropy of softmax", (flat(10), [*hidden, dense(6, "Softmax")]), "CategoricalCrossEntropy")
    logits = "the loss is computed from the logits and so has no bound; clipped probabilities bound it at 16.1"
    clipped = "the gradient is zero where the probability is clipped"
    # So far out that no probability lies just below 1, where 1 - p has few bits and its logarithm fewer.
    case(
        "binary cross-entropy of a saturated sigmoid",
        (flat(6), [dense(7, "Sigmoid")]),
        "BinaryCrossEntropy",
        scales=(8.0, 100.0),
        probabilities=True,
        differs={
            "pytorch": {"loss": logits},
            "keras": {"loss": logits},
            "keras of probabilities": {"parameter_gradient": clipped, "input_gradient": clipped},
        },
    )

    for name, network in [("dense", DENSE_AUTOENCODER), ("convolutional", CONVOLUTIONAL_AUTOENCODER)]:
        case(f"ten steps of Adam, {name}", network, batch=4, optimizer=ADAM)
        case(f"ten steps of SGD with momentum, {name}", network, batch=4, optimizer=MOMENTUM)
        case(f"ten steps of SGD, {name}", network, "BinaryCrossEntropy", batch=4, optimizer=PLAIN)
    case(
        "ten steps of Adam with a large epsilon",
        DENSE_AUTOENCODER,
        batch=4,
        optimizer={"Adam": {**ADAM["Adam"], "epsilon": 1e-3}},
        pytorch_epsilon=True,
        differs={
            "pytorch": {
                quantity: "epsilon is added to sqrt(v / (1 - beta_2^t)), where Keras adds it to sqrt(v)"
                for quantity in ["losses", "parameters"]
            }
        },
    )
    return listed


# -------------------------------------------------------------------------------------------------------------- numbers


class Numbers:
    """x' = 1664525 x + 1013904223 mod 2^32; the upper 24 bits, exactly in float32, in [-1, 1)."""

    def __init__(self, seed):
        self.state = seed

    def draw(self, count, scale):
        numbers = np.empty(count, np.float32)
        for index in range(count):
            self.state = (1664525 * self.state + 1013904223) % 2**32
            numbers[index] = np.float32(self.state >> 8) / np.float32(2**23) - np.float32(1)
        return numbers * np.float32(scale)


def targets(numbers, shape, loss):
    """In [0, 1); for categorical cross-entropy each sample is divided by its sum in ascending order."""
    drawn = ((numbers.draw(int(np.prod(shape)), 1.0) + np.float32(1)) * np.float32(0.5)).reshape(shape)
    if loss == "CategoricalCrossEntropy":
        for row in drawn:
            total = np.float32(0)
            for value in row:
                total += value
            row /= total
    return drawn


def extent(shape):
    ((_, sizes),) = shape.items()
    return tuple(sizes.values())


def kind_of(layer):
    return (layer, {}) if isinstance(layer, str) else next(iter(layer.items()))


# ---------------------------------------------------------------------------------------------------------------- peers


class KerasPeer:
    LOSSES = {
        "MeanSquaredError": keras.losses.MeanSquaredError,
        "BinaryCrossEntropy": keras.losses.BinaryCrossentropy,
        "CategoricalCrossEntropy": keras.losses.CategoricalCrossentropy,
    }

    def __init__(self, case, probabilities=False):
        # With TensorFlow, Keras finds the logits of a last sigmoid or softmax and computes cross-entropies from them. A
        # tensor that does not come from the activation itself is taken for the probabilities that it is.
        self.case, self.seen_by_loss = case, tf.identity if probabilities else lambda output: output
        self.model = keras.Sequential([keras.Input(extent(case["input"])), *map(self.layer, case["layers"])])
        self.loss = self.LOSSES[case["loss"]]()

    @staticmethod
    def layer(layer):
        kind, options = kind_of(layer)
        options = {key: value.lower() if isinstance(value, str) else value for key, value in options.items()}
        if kind == "Reshape":
            return keras.layers.Reshape(extent(options["target"]))
        classes = {
            "Dense": keras.layers.Dense,
            "Conv2d": keras.layers.Conv2D,
            "MaxPool2d": keras.layers.MaxPooling2D,
            "UpSample2d": keras.layers.UpSampling2D,
            "Flatten": keras.layers.Flatten,
        }
        return classes[kind](**options)

    def shapes(self):
        return [tuple(weights.shape) for weights in self.model.weights]

    def output_shape(self):
        return self.model.output_shape[1:]

    def set(self, parameters):
        sizes = [int(np.prod(shape)) for shape in self.shapes()]
        parts = np.split(parameters, np.cumsum(sizes)[:-1]) if sizes else []
        self.model.set_weights([part.reshape(shape) for part, shape in zip(parts, self.shapes(), strict=True)])

    def gradients(self, parameters, batch, target):
        self.set(parameters)
        batch = tf.constant(batch)

        @tf.function
        def evaluate():
            with tf.GradientTape() as tape:
                tape.watch(batch)
                output = self.model(batch, training=True)
                loss = self.loss(target, self.seen_by_loss(output))
            return output, loss, tape.gradient(loss, [batch, *self.model.trainable_weights])

        output, loss, (down, *gradients) = evaluate()
        return {
            "output": output.numpy(),
            "loss": loss.numpy(),
            "parameter_gradient": flattened([gradient.numpy() for gradient in gradients]),
            "input_gradient": down.numpy(),
        }

    def train(self, parameters, batches):
        self.set(parameters)
        ((kind, options),) = self.case["training"]["optimizer"].items()
        optimizer = {"Adam": keras.optimizers.Adam, "Sgd": keras.optimizers.SGD}[kind](**options)
        self.model.compile(optimizer, self.loss, jit_compile=False)
        losses = []
        for batch, target in batches:
            self.model.reset_metrics()
            losses.append(self.model.train_on_batch(batch, target))
        return {"losses": np.float32(losses), "parameters": flattened(self.model.get_weights())}


# Where Keras clips probabilities: epsilon(), and 1 - epsilon() as float32 has it.
CLIP = (1e-7, 1 - 2.0**-23)


class PyTorchPeer:
    ACTIVATIONS = {
        "Linear": lambda x: x,
        "Relu": torch.relu,
        "Sigmoid": torch.sigmoid,
        "Tanh": torch.tanh,
        "Softmax": lambda x: torch.softmax(x, -1),
    }

    def __init__(self, case, shapes, dtype):
        self.case, self.shapes, self.dtype = case, shapes, dtype

    def run(self, parameters, batch):
        """The last layer's answer, and what it was before its activation."""
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        parts = [part.view(shape) for part, shape in zip(parameters.split(sizes), self.shapes)] if sizes else []
        parts, x, before = iter(parts), batch, batch
        for layer in self.case["layers"]:
            kind, options = kind_of(layer)
            if kind == "Flatten":
                x = x.flatten(1)
            elif kind == "Reshape":
                x = x.reshape(-1, *extent(options["target"]))
            elif kind == "Dense":
                x = F.linear(x, next(parts).T, next(parts))
            else:
                x = self.planes(kind, options, x.permute(0, 3, 1, 2), parts).permute(0, 2, 3, 1)
            before = x
            x = self.ACTIVATIONS[options.get("activation", "Linear")](x)
        return x, before

    @staticmethod
    def planes(kind, options, x, parts):
        """A layer on [sample][channel][y][x]."""
        if kind == "UpSample2d":
            return F.interpolate(x, scale_factor=options["size"], mode="nearest")
        size, strides = options.get("kernel_size") or options["pool_size"], options["strides"]
        if options["padding"] == "Same":
            # PyTorch pads both sides alike; Keras puts the odd place after. F.pad starts with the last axis.
            around = []
            for places, extent_of_window, stride in reversed(list(zip(x.shape[2:], size, strides))):
                missing = max((-(-places // stride) - 1) * stride + extent_of_window - places, 0)
                around += [missing // 2, missing - missing // 2]
            x = F.pad(x, around, value=0.0 if kind == "Conv2d" else -torch.inf)
        if kind == "MaxPool2d":
            return F.max_pool2d(x, size, strides)
        return F.conv2d(x, next(parts).permute(3, 2, 0, 1).contiguous(), next(parts), strides)

    def loss(self, output, before, target):
        name, last = self.case["loss"], kind_of(self.case["layers"][-1])[1].get("activation")
        if name == "CategoricalCrossEntropy":
            return F.cross_entropy(before, target)
        if name == "BinaryCrossEntropy" and last == "Sigmoid":
            loss = F.binary_cross_entropy_with_logits(before, target)
            if self.dtype == torch.float64:
                # The contract: the gradient of the logits, but the value of probabilities clipped as Keras documents it.
                clipped = output.detach().clamp(*CLIP)
                loss = loss - loss.detach() + F.binary_cross_entropy(clipped, target)
            return loss
        return (F.binary_cross_entropy if name == "BinaryCrossEntropy" else F.mse_loss)(output, target)

    def tensor(self, numbers, leaf=False):
        return torch.tensor(numbers, dtype=self.dtype, requires_grad=leaf)

    def gradients(self, parameters, batch, target):
        parameters, batch = self.tensor(parameters, True), self.tensor(batch, True)
        output, before = self.run(parameters, batch)
        loss = self.loss(output, before, self.tensor(target))
        loss.backward()
        gradient = np.zeros(0) if parameters.grad is None else parameters.grad.numpy()
        return {
            "output": output.detach().numpy(),
            "loss": loss.detach().numpy(),
            "parameter_gradient": gradient,
            "input_gradient": batch.grad.numpy(),
        }

    def train(self, parameters, batches):
        parameters = self.tensor(parameters, True)
        ((kind, options),) = self.case["training"]["optimizer"].items()
        if kind == "Adam":
            betas = options["beta_1"], options["beta_2"]
            optimizer = torch.optim.Adam([parameters], options["learning_rate"], betas, options["epsilon"])
        else:
            optimizer = torch.optim.SGD([parameters], options["learning_rate"], options["momentum"])
        losses = []
        for step, (batch, target) in enumerate(batches, 1):
            if kind == "Adam" and not (self.case.get("pytorch_epsilon") and self.dtype == torch.float32):
                # Keras adds epsilon before the correction of the bias.
                optimizer.param_groups[0]["eps"] = options["epsilon"] / (1 - options["beta_2"] ** step) ** 0.5
            optimizer.zero_grad()
            loss = self.loss(*self.run(parameters, self.tensor(batch)), self.tensor(target))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return {"losses": np.array(losses), "parameters": parameters.detach().numpy()}


def flattened(arrays):
    return np.concatenate([array.ravel() for array in arrays]) if arrays else np.zeros(0)


# ------------------------------------------------------------------------------------------------------------- recording

EPSILON = 2.0**-23

# How far rounding brings a peer from float64, in units of EPSILON times the largest value of the quantity: all of them
# are sums of at most some tens of products. The most that was seen are 5.3, in a gradient.
ROUNDING = 8


def answers(case):
    """What each peer says, and PyTorch in float64."""
    keras.backend.clear_session()
    graph = KerasPeer(case)
    shapes = graph.shapes()
    peers = {
        "float64": PyTorchPeer(case, shapes, torch.float64),
        "pytorch": PyTorchPeer(case, shapes, torch.float32),
        "keras": graph,
    }
    if case.get("probabilities"):
        peers["keras of probabilities"] = KerasPeer(case, probabilities=True)
    numbers = Numbers(case["seed"])
    parameters = numbers.draw(sum(int(np.prod(shape)) for shape in shapes), case["parameter_scale"])
    input_shape, output_shape = [(case["batch"], *shape) for shape in (extent(case["input"]), graph.output_shape())]

    def batch():
        drawn = numbers.draw(int(np.prod(input_shape)), case["input_scale"]).reshape(input_shape)
        return drawn, targets(numbers, output_shape, case["loss"])

    if case["training"]:
        batches = [batch() for _ in range(case["training"]["steps"])]
        return {name: peer.train(parameters, batches) for name, peer in peers.items()}
    drawn = batch()
    return {name: peer.gradients(parameters, *drawn) for name, peer in peers.items()}


def check(case, exact, said, worst):
    """Holds the peers against float64, and `differs` against what is found."""
    for peer, quantities in said.items():
        for quantity, values in quantities.items():
            reference, values = np.ravel(exact[quantity]), np.ravel(values)
            assert reference.shape == values.shape and np.isfinite(values).all(), (case["name"], peer, quantity)
            if not reference.size:
                continue
            largest = np.abs(reference).max()
            distance = np.abs(values - reference).max() / (EPSILON * largest) if largest else 0.0
            explained = quantity in case["differs"].get(peer, {})
            if explained == (distance <= ROUNDING):
                sys.exit(f"{case['name']}: {peer}: {quantity}: {distance:.1f} units from float64, differs: {explained}")
            if not explained and distance > worst.get((quantity, peer), (-1,))[0]:
                worst[quantity, peer] = (distance, case["name"])


def recorded(values):
    return json.dumps([float(f"{value:.9g}") for value in np.ravel(values).tolist()], separators=(",", ":"))


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "figures.json")
    versions = {
        "python": platform.python_version(),
        "pytorch": torch.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    }
    lines, worst = [], {}
    for case in cases():
        said = answers(case)
        check(case, said.pop("float64"), said, worst)
        own = {key: value for key, value in case.items() if key not in ("probabilities", "pytorch_epsilon")}
        texts = (
            f"{json.dumps(peer)}:{{" + ",".join(f'"{key}":{recorded(values)}' for key, values in quantities.items()) + "}"
            for peer, quantities in said.items()
        )
        lines.append(json.dumps(own, separators=(",", ":"))[:-1] + ',"answers":{' + ",".join(texts) + "}}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'{{"versions":{json.dumps(versions)},\n"cases":[\n' + ",\n".join(lines) + "\n]}\n")
    print(f"{path}: {len(lines)} cases, {os.path.getsize(path)} bytes")
    for (quantity, peer), (distance, name) in sorted(worst.items()):
        print(f"{quantity:20}{peer:14}{distance:6.1f} units from float64, in {name!r}")


if __name__ == "__main__":
    main()
