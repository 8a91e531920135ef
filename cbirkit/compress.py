"""Encoders as ONNX files, in 32, 16 or 8 bits: small and quick enough for a phone or a web page, and still an encoder.

An ONNX file holds the whole way from pixels to an embedding: scaling, network, pooling and L2 normalisation. Only resizing is left to
the caller; how to resize stands in the file's metadata, so that every precision sees the same pixels.
"""

import copy
import hashlib
import itertools
import json
import os
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.base import clone

from cbirkit._atomic import reason_of, write_bytes
from cbirkit._optional import require
from cbirkit.encoders import Deep, base

PRECISIONS = ("float32", "float16", "int8")
_KEY = "cbirkit"  # of the metadata
_LAYERS = ["Conv", "MatMul", "Gemm"]
_DOMAINS = {"", "ai.onnx", "com.microsoft"}  # of operators that onnxruntime brings


def to_onnx(encoder, path, *, precision="float32", calibration=None):
    """Write an encoder as one ONNX file, which `OnnxEncoder` reads.

    Parameters
    ----------
    encoder : Deep or OnnxEncoder
        At one scale; or a file in float32, which is quicker to make others of than exporting anew.
    path : path-like
        Its folder is made if need be; an older file stays whole until the new one is on the disk.
    precision : {"float32", "float16", "int8"}
        Of weights and sums. "int8" is *static* quantisation: the weights of each output channel, and the activations between
        layers, become whole numbers of 8 bits. The steps of the activations are fixed by what they reach on `calibration`.
    calibration : ImageCollection or sequence of RGB uint8 arrays (h, w, 3)
        For "int8" only: a few hundred images like those to be encoded, and none that a result is measured on.

    Returns
    -------
    pathlib.Path
        `path`

    Raises
    ------
    TypeError, ValueError
        The encoder is neither, has several scales, or is not in float32; there is no such precision; `calibration` is missing, or
        of no use.
    ImportError
        onnx, onnxscript or onnxruntime is not installed.
    OSError
        The file cannot be written.

    Notes
    -----
    The graph takes ``pixels``, uint8 (n, height, width, 3), RGB, and gives ``embedding``, float32 (n, n_dims). "int8" writes
    QDQ nodes (``QuantizeLinear``, ``DequantizeLinear``), which each runtime fuses with the layers between them; one that does not,
    computes the same in float. Ranges are minimum and maximum over `calibration`.

    References
    ----------
    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR 2018,
    arXiv 1712.05877; Nagel et al., "A white paper on neural network quantization", 2021, arXiv 2106.08295.
    """
    base.check_choice("precision", precision, PRECISIONS)
    if (precision == "int8") != (calibration is not None):
        raise ValueError('calibration images are for precision="int8", which needs them, and for no other')  # fmt: skip
    if isinstance(encoder, OnnxEncoder):
        (_, step, told), model = encoder.parts, require("onnx").load_model_from_string(encoder.data)
        name = told["encoder"]
        if told["precision"] != "float32":
            raise ValueError(f"the file is in {told['precision']}; begin with one in float32")
    elif not isinstance(encoder, Deep) or tuple(encoder.scales) != (1.0,):
        raise TypeError(f"only a cbirkit.encoders.Deep of one scale, or an OnnxEncoder, can be written as ONNX, got {encoder!r}")  # fmt: skip
    else:
        step, name = encoder.preprocessing, " ".join(repr(encoder).split())
        model = _exported(encoder, step)
    if precision == "float16":
        model = require("onnxruntime.transformers.float16").convert_float_to_float16(model, keep_io_types=True)  # fmt: skip
    elif precision == "int8":
        resized = [step.resized(image) for image in base.read_images(calibration)]
        if not resized:
            raise ValueError("calibration holds no image; pass a few hundred like those to be encoded")  # fmt: skip
        model = _quantised(model, np.stack(resized))
    del model.metadata_props[:]
    told = {"preprocessing": asdict(step), "precision": precision, "encoder": name}
    model.metadata_props.add(key=_KEY, value=json.dumps(told))
    write_bytes(path, model.SerializeToString())
    return Path(path)


def _exported(encoder, step):
    """The graph of an encoder in float32: an ``onnx.ModelProto``."""
    torch, *_ = map(require, ("torch", "onnx", "onnxscript"))
    from cbirkit.nets.extraction import fused

    encoder = clone(encoder).set_params(device="cpu", precision="float32")
    example = np.random.default_rng(0).integers(0, 256, (2, *step.shape, 3), dtype=np.uint8)
    extractor = encoder.extractor
    mean, std = torch.tensor([step.mean, step.std])

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = fused(encoder.network, step.to_tensor(list(example)))

        def forward(self, pixels):
            scaled = (pixels.float() * (1 / (255 * std)) - mean / std).permute(0, 3, 1, 2)
            vectors = extractor.pool(self.network(scaled), step.shape, encoder.pooling, encoder.p)
            return torch.nn.functional.normalize(vectors) if encoder.normalise else vectors

    names, sizes = ("pixels",), {"pixels": {0: torch.export.Dim("n")}}
    with torch.no_grad():
        program = torch.onnx.export(Whole().eval(), (torch.from_numpy(example),), dynamo=True, verbose=False, input_names=names, output_names=["embedding"], dynamic_shapes=sizes)  # fmt: skip
    return program.model_proto


def _quantised(model, images):
    """A model in static int8; its activations get the ranges that they have on `images`, uint8 (n, height, width, 3)."""
    library, onnx = require("onnxruntime.quantization"), require("onnx")
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(library.CalibrationDataReader):
        batches = ({"pixels": images[i : i + 16]} for i in range(0, len(images), 16))

        def get_next(self):
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, f"{name}.onnx") for name in ("float", "ready", "int8")]
        onnx.save(model, paths[0])
        quant_pre_process(paths[0], paths[1], skip_symbolic_shape=True)
        nodes = onnx.load(paths[1]).graph.node
        # pooling and normalisation stay in float: they may divide by what 8 bits make 0
        last = max(i for i, node in enumerate(nodes) if node.op_type in _LAYERS)
        how = {"per_channel": True, "nodes_to_exclude": [node.name for node in nodes[last + 1 :]]}
        how["op_types_to_quantize"] = [*_LAYERS, "Add", "Relu", "Clip"]
        library.quantize_static(*paths[1:], Reader(), **how)
        return onnx.load(paths[2])


@dataclass(eq=False, repr=False)
class OnnxEncoder(base.PerImage):
    """An encoder that runs an ONNX file of `to_onnx`, by onnxruntime on the processor.

    Parameters
    ----------
    path : path-like
        The file. It is read once; a saved `Retriever` carries it along. It cannot run code: what is not made of the operators of ONNX
        and onnxruntime, or asks for other files, is refused.
    batch_size : int
        Images that run through the network together.
    n_threads : int
        Threads within an operator; one, so that timings can be compared.

    Notes
    -----
    Images are resized as the original encoder does it, and encoded alike in batches of any size, to the precision of the file.
    """

    path: object
    batch_size: int = 16
    n_threads: int = 1
    _not_identity = ("path", "batch_size", "n_threads")

    def _check(self):
        base.check_count("batch_size", self.batch_size)
        base.check_count("n_threads", self.n_threads)

    def set_params(self, **params):
        """Set parameters; another `path` is read anew."""
        if "path" in params:
            vars(self).pop("model_", None)
        vars(self).pop("_cache", None)
        return super().set_params(**params)

    def transform(self, images):
        """Encode images: float32 (n_images, n_dims); parameters and errors as of `PerImage`.

        Raises
        ------
        FileNotFoundError, ValueError
            There is no such file; or it is no encoder that `to_onnx` wrote.
        """
        self._check()
        return base.stack(self._rows(base.read_images(images)), images)

    def _rows(self, images):
        session, step, _ = self.parts
        resized = map(step.resized, images)
        while chunk := list(itertools.islice(resized, self.batch_size)):
            yield from session.run(["embedding"], {"pixels": np.stack(chunk)})[0]

    @property
    def data(self):
        """The file: bytes."""
        if not hasattr(self, "model_"):
            path = Path(self.path)
            if not path.is_file():
                raise FileNotFoundError(f"there is no ONNX file {str(path)!r}; write one with cbirkit.compress.to_onnx")  # fmt: skip
            self.model_ = np.fromfile(path, np.uint8)
        return self.model_.tobytes()

    @property
    def parts(self):
        """onnxruntime's session, the `cbirkit.nets.preprocessing.Preprocessing`, and what the file says of itself, a dict of
        "precision", "encoder" (its repr) and "preprocessing"."""
        if not hasattr(self, "_cache"):
            from cbirkit.nets.preprocessing import Preprocessing

            try:
                told = _checked(self.data)
                step = Preprocessing(**told["preprocessing"])
                options = require("onnxruntime").SessionOptions()
                # quiet: errors become one sentence below
                options.intra_op_num_threads, options.log_severity_level = self.n_threads, 4
                session = require("onnxruntime").InferenceSession(self.data, options, providers=["CPUExecutionProvider"])  # fmt: skip
                shape = session.get_inputs()[0].shape[1:]
                if shape != [*step.shape, 3] or np.prod(step.shape) > 2**26:
                    raise ValueError(f"it takes {shape}, and its metadata say {[*step.shape, 3]}")
            # what a stranger wrote makes readers raise whatever they like
            except Exception as error:
                if isinstance(error, ImportError | FileNotFoundError):
                    raise
                raise ValueError(f"{str(self.path)!r} is no encoder that cbirkit.compress.to_onnx wrote: {reason_of(error)[:200]}") from error  # fmt: skip
            self._cache = session, step, told
        return self._cache

    def _identity_state(self):
        return {"model": hashlib.sha256(self.data).hexdigest()}

    def __getstate__(self):
        self.data  # noqa: B018  (the file goes along)
        state = {key: value for key, value in vars(self).items() if key != "_cache"}
        return state | {"path": os.fspath(self.path)}

    def __sklearn_clone__(self):
        # the file that was read is what this encoder is, not what it learned
        return copy.copy(self)


def _checked(data):
    """The metadata of a model; ValueError where it is not ours, or asks for what lies outside the file."""
    onnx = require("onnx")
    model = onnx.load_model_from_string(data)
    found = {entry.key: entry.value for entry in model.metadata_props}
    if _KEY not in found:
        raise ValueError("it has no metadata of cbirkit")
    values = [value for node in model.graph.node for value in node.attribute]
    if any(t.external_data for t in [*model.graph.initializer, *(value.t for value in values)]) or any(v.HasField("g") or v.graphs for v in values):  # fmt: skip
        raise ValueError("it asks for another file, or its graph holds graphs")
    if beyond := {part.domain for part in [*model.graph.node, *model.functions]} - _DOMAINS:
        raise ValueError(f"it uses operators of {sorted(beyond)}")
    return dict(json.loads(found[_KEY]))


def operations(path):
    """How often each operator stands in the graph of an ONNX file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Counter
        From the name of an operator ("Conv", "QuantizeLinear" …) to a number; functions of the model are not looked into.
    """
    return Counter(node.op_type for node in require("onnx").load(os.fspath(path)).graph.node)


def latency(encoders, images, *, repeats=20):
    """Milliseconds per call of ``encoder.transform(images)``, of several encoders in turn.

    Parameters
    ----------
    encoders : dict of str to encoder
        Each is called twice before the clock starts. In each round each encoder has one turn, so that what else the machine does
        meets all of them.
    images : sequence of images
        One, as a phone meets them, or a batch.
    repeats : int
        Rounds.

    Returns
    -------
    dict of str to float
        Medians over the rounds.

    Examples
    --------
    >>> from cbirkit.encoders import TinyImage
    >>> list(latency({"tiny image": TinyImage()}, [np.zeros((8, 8, 3), np.uint8)], repeats=3))
    ['tiny image']
    """
    base.check_count("repeats", repeats)
    spent = {name: [] for name in encoders}
    for encoder in [*encoders.values()] * 2:
        encoder.transform(images)
    for _ in range(repeats):
        for name, encoder in encoders.items():
            start = time.perf_counter()
            encoder.transform(images)
            spent[name].append(1000 * (time.perf_counter() - start))
    return {name: float(np.median(times)) for name, times in spent.items()}


def neighbour_overlap(one, other, k=10):
    """Which fraction of each item's `k` nearest others stays the same: do two encoders find the same images?

    Parameters
    ----------
    one, other : ndarray (n, d) and (n, e)
        Embeddings of the same items, none of them zero; `other` may have other dimensions.
    k : int
        Less than n.

    Returns
    -------
    ndarray (n,), float64
        From 0 to 1; by cosine. Of equal similarities the first item counts as nearer.

    Examples
    --------
    >>> neighbour_overlap(np.eye(4), -np.eye(4), k=3)
    array([1., 1., 1., 1.])
    """
    near = []
    for rows in (base.unit(np.asarray(one, np.float32)), base.unit(np.asarray(other, np.float32))):
        base.check_number("k", k, 1, len(rows) - 1, whole=True)
        similarities = rows @ rows.T
        np.fill_diagonal(similarities, -np.inf)
        near.append(np.argsort(-similarities, axis=1, kind="stable")[:, :k])
    return (near[0][:, :, None] == near[1][:, None, :]).any(axis=2).mean(axis=1)
