"""Pictures that a network makes: a small conditional GAN, and measures of how good, how varied and how new its samples are.

The measures take feature vectors, one row a picture: pixels where pictures are small and aligned, else embeddings.
"""

import copy
import hashlib
import math

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.utils import check_random_state

from cbirkit._atomic import expanded, replacing, write_bytes
from cbirkit._optional import require
from cbirkit.encoders.base import check_count, check_number
from cbirkit.learning import TrainingDiverged
from cbirkit.learning.loop import readable

_SAVE_EVERY, _KEPT = 500, 0.995  # steps; of the old average that stays at each step


def hinge(real, fake):
    """Hinge losses of a GAN: ``mean(max(0, 1 - real)) + mean(max(0, 1 + fake))`` and ``-mean(fake)``.

    Parameters
    ----------
    real, fake : tensor (n,)
        What the discriminator says of real and of generated pictures.

    Returns
    -------
    (tensor (), tensor ())
        Loss of the discriminator, and of the generator.

    References
    ----------
    Lim and Ye, "Geometric GAN", 2017, arXiv 1705.02894.

    Examples
    --------
    >>> import torch
    >>> [loss.item() for loss in hinge(torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0]))]
    [0.75, 1.5]
    """
    return (1 - real).relu().mean() + (1 + fake).relu().mean(), -fake.mean()


class GAN:
    """A conditional generative adversarial network for small grey pictures, trained with the hinge loss and spectral normalisation.

    Every step shows the discriminator a batch of real and one of generated pictures, then the generator learns from a discriminator
    that stands still. Classes are drawn equally often, however rare they are. Samples come from a running average of the generator's weights.

    Parameters
    ----------
    n_classes : int
    n_latent : int
        Dimensions of the noise.
    learning_rate : float
        Of Adam, for both networks; its first moment is off (0, 0.9).
    batch_size : int
        Pictures of each kind.
    random_state : int
        The batches of a step follow from it and the number of the step, so that a run that is gone on with equals one that was not stopped.

    Attributes
    ----------
    step_ : int
        Steps done.
    losses_ : list of (float, float)
        Of discriminator and generator, at each step.
    generator_, discriminator_, average_ : torch.nn.Module

    References
    ----------
    Goodfellow et al., "Generative adversarial nets", NeurIPS 2014, arXiv 1406.2661. Averaged weights: Yazıcı et al., "The unusual
    effectiveness of averaging in GAN training", ICLR 2019, arXiv 1806.04498.

    Examples
    --------
    >>> rows, classes = np.random.RandomState(0).rand(20, 16).astype(np.float32), np.arange(20) % 2
    >>> gan = GAN(2, batch_size=8).train(rows, classes, until=3)
    >>> gan.step_, gan.sample([0, 1, 1]).shape
    (3, (3, 16))
    """

    def __init__(self, n_classes, *, n_latent=16, learning_rate=2e-3, batch_size=64, random_state=0):  # fmt: skip
        self.n_classes, self.n_latent, self.learning_rate = n_classes, n_latent, learning_rate
        self.batch_size, self.random_state = batch_size, random_state

    def train(self, pixels, classes, until, *, checkpoint=None):
        """Train until so many steps are done, all calls together: a call that is made again does nothing.

        Parameters
        ----------
        pixels : array (n, n_pixels), in [0, 1]
        classes : array (n,), whole numbers from 0 to n_classes - 1
            A class that has no picture is not learned.
        until : int
            Number of the last step.
        checkpoint : path-like, optional
            The run is kept there every 500 steps and at the end, and gone on with from there.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Pixels out of range, classes that do not fit, or a checkpoint that is damaged or of another run.
        TrainingDiverged
            A loss is infinite or not a number.
        """
        torch = require("torch")
        check_count("until", until)
        pixels, classes = self._checked(pixels, classes)
        if not hasattr(self, "step_"):
            self._begin(pixels.shape[1])
        settings = {
            name: value for name, value in vars(self).items() if name[-1] != "_" and name[0] != "_"
        }
        identity = f"{settings} {hashlib.sha256(pixels.tobytes() + classes.tobytes()).hexdigest()}"
        if checkpoint is not None and expanded(checkpoint).is_file():
            self._resume(checkpoint, identity)
        rows = torch.from_numpy(pixels)
        members = {int(c): np.flatnonzero(classes == c).tolist() for c in np.unique(classes)}
        self.generator_.train()
        while self.step_ < until:
            self._step(rows, members)
            if checkpoint is not None and (self.step_ % _SAVE_EVERY == 0 or self.step_ == until):
                self._save(checkpoint, identity)
        return self

    def sample(self, classes, *, noise=None, random_state=0):
        """Make pictures.

        Parameters
        ----------
        classes : sequence (n,) of whole numbers
        noise : array (n, n_latent), optional
            Default: drawn from the normal distribution.
        random_state : int or RandomState

        Returns
        -------
        ndarray (n, n_pixels), float32, in [0, 1]

        Raises
        ------
        ValueError
            The network is not trained, or a class that it does not know.
        """
        if not hasattr(self, "average_"):
            raise ValueError("there is nothing to sample from; call train(...) or load(...) first")
        torch, classes = require("torch"), np.asarray(classes, dtype=np.int64)
        if len(classes) and not 0 <= classes.min() <= classes.max() < self.n_classes:
            raise ValueError(f"classes must lie between 0 and {self.n_classes - 1}")
        if noise is None:
            noise = check_random_state(random_state).normal(size=(len(classes), self.n_latent))
        with torch.no_grad():
            given = torch.from_numpy(np.asarray(noise, np.float32)), torch.from_numpy(classes)
            return self.average_(*given).numpy()

    def save(self, path):
        """Write the averaged generator as float16 to a ``.safetensors`` file."""
        from safetensors.torch import save

        write_bytes(expanded(path), save(copy.deepcopy(self.average_).half().state_dict()))

    def load(self, path):
        """Take an averaged generator from a file that `save` wrote; returns self, to sample from."""
        from cbirkit.nets.backbone import load_into, read_weights
        from cbirkit.nets.conv5 import Generator

        state = read_weights(path)
        n_pixels, n_hidden = state["layers.6.weight"].shape
        self.average_ = Generator(self.n_classes, n_pixels, self.n_latent, n_hidden).eval()
        load_into(self.average_, state, "this generator")
        return self

    def _checked(self, pixels, classes):
        pixels, classes = np.ascontiguousarray(pixels, np.float32), np.asarray(classes)
        if pixels.ndim != 2 or not pixels.size:
            raise ValueError(
                f"pixels must be pictures as rows (n, n_pixels), got shape {pixels.shape}"
            )
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise ValueError("pixels must lie between 0 and 1; divide by 255, say")
        if classes.shape != (len(pixels),) or not np.isin(classes, range(self.n_classes)).all():
            raise ValueError(
                f"classes must be one whole number a picture, from 0 to {self.n_classes - 1}"
            )
        return pixels, classes.astype(np.int64)

    def _begin(self, n_pixels):
        from cbirkit.nets.conv5 import Discriminator, Generator

        torch = require("torch")
        check_number("learning_rate", self.learning_rate, 0, open_low=True)
        check_count("batch_size", self.batch_size, 2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self.generator_ = Generator(self.n_classes, n_pixels, self.n_latent)
            self.discriminator_ = Discriminator(self.n_classes, n_pixels)
        self.average_ = copy.deepcopy(self.generator_).eval()
        how = {"lr": self.learning_rate, "betas": (0.0, 0.9), "fused": True}
        both = (self.generator_, self.discriminator_)
        self._adam = [torch.optim.Adam(one.parameters(), **how) for one in both]
        self.step_, self.losses_ = 0, []

    def _step(self, rows, members):
        torch, n = require("torch"), self.batch_size
        random = torch.Generator().manual_seed(1_000_003 * self.random_state + self.step_)
        known = torch.tensor([*members])
        classes = known[torch.randint(len(known), (n,), generator=random)]  # equally often
        drawn = zip(classes.tolist(), torch.rand(n, generator=random).tolist(), strict=True)
        real = rows[[members[c][int(at * len(members[c]))] for c, at in drawn]]
        noise = torch.randn(n, self.n_latent, generator=random)
        fake = self.generator_(noise, classes)  # (n, n_pixels)
        scores = self.discriminator_(torch.cat([real, fake.detach()]), classes.repeat(2))
        loss, _ = hinge(*scores.chunk(2))
        self._learn(1, loss)
        self.discriminator_.requires_grad_(False)
        _, generator_loss = hinge(scores, self.discriminator_(fake, classes))
        self._learn(0, generator_loss)
        self.discriminator_.requires_grad_(True)
        self.losses_.append((loss.item(), generator_loss.item()))
        if not np.isfinite(self.losses_[-1]).all():
            raise TrainingDiverged(
                f"the losses are {self.losses_[-1]} at step {self.step_}; lower learning_rate"
            )
        self.step_ += 1
        kept = min(_KEPT, self.step_ / (self.step_ + 9))  # less in the first steps
        for old, new in zip(
            self.average_.state_dict().values(), self.generator_.state_dict().values(), strict=True
        ):
            old.lerp_(new, 1 - kept) if old.is_floating_point() else old.copy_(new)

    def _learn(self, which, loss):
        self._adam[which].zero_grad()
        loss.backward()
        self._adam[which].step()

    def _parts(self):
        names = ("generator", "discriminator", "average")
        return {name: getattr(self, f"{name}_") for name in names}

    def _save(self, path, identity):
        saved = {name: part.state_dict() for name, part in self._parts().items()}
        saved |= {"adam": [one.state_dict() for one in self._adam], "losses": self.losses_}
        with replacing(expanded(path)) as file:
            require("torch").save(saved | {"step": self.step_, "identity": identity}, file)

    def _resume(self, path, identity):
        with readable(path):  # nothing in the file can run code
            saved = require("torch").load(expanded(path), weights_only=True)
            found = saved["identity"]
        if found != identity:
            raise ValueError(
                f"{str(path)!r} keeps a run with other settings or pictures; give another checkpoint="
            )
        with readable(path):
            for name, part in self._parts().items():
                part.load_state_dict(saved[name])
            for one, state in zip(self._adam, saved["adam"], strict=True):
                one.load_state_dict(state)
            self.step_, self.losses_ = saved["step"], saved["losses"]


def radii(features, k=3):
    """Distance of each row to its k-th nearest other row; to the farthest other one where there are fewer than k.

    Parameters
    ----------
    features : array (n, d)
    k : int

    Returns
    -------
    ndarray (n,)

    Raises
    ------
    ValueError
        Fewer than two rows.

    Examples
    --------
    >>> radii(np.array([[0.0], [1.0], [3.0]]), k=1).tolist()
    [1.0, 1.0, 2.0]
    """
    check_count("k", k)
    if len(features) < 2:
        raise ValueError(f"radii need at least two rows, got {len(features)}")
    distances = cdist(features, features)
    np.fill_diagonal(distances, -1)  # so that it comes first, whatever copies there are
    return np.sort(distances, axis=1)[:, min(k, len(features) - 1)]


def precision(real, samples, k=3):
    """Fraction of the samples that lie in the ball of at least one real picture; its radius is that of `radii`, edge included.

    ``precision(samples, real)``, the other way round, is the **recall** of the samples: the fraction of the real pictures that lie
    where there are samples.

    Parameters
    ----------
    real : array (n, d)
    samples : array (m, d)
    k : int

    Returns
    -------
    float
        NaN without samples.

    References
    ----------
    Kynkäänniemi, Karras, Laine, Lehtinen and Aila, "Improved precision and recall metric for assessing generative models", NeurIPS 2019,
    arXiv 1904.06991. There, features of VGG-16 and 50,000 pictures.

    Examples
    --------
    >>> real, samples = np.array([[0.0], [1.0], [5.0]]), np.array([[0.5], [0.6], [0.7], [20.0]])
    >>> # the ball around 20 reaches to 1 and 5: an outlier covers much
    >>> precision(real, samples, k=1), round(precision(samples, real, k=1), 2)
    (0.75, 0.67)
    """
    if not len(samples):
        return math.nan
    return float((cdist(samples, real) <= radii(real, k)).any(axis=1).mean())


def copying(train, held_out, samples):
    """How often a sample is nearer to the training pictures than a held-out one: 0.5 for a fair generator, 1 for a copier.

    ``P(d(sample) < d(held out)) + P(equal) / 2`` over all pairs, with d the distance to the nearest training picture: the area under
    the ROC curve, or U / (n m) of the test of Mann and Whitney. Below 0.5, samples are farther from the training pictures than real ones.

    Parameters
    ----------
    train : array (n_train, d)
    held_out : array (n, d)
        Real pictures that were drawn like the training pictures, and not used in training.
    samples : array (m, d)

    Returns
    -------
    float
        NaN where one of the three is empty.

    References
    ----------
    Meehan, Chaudhuri and Dasgupta, "A non-parametric test to detect data-copying in generative models", AISTATS 2020, arXiv 2004.05675.
    There, the statistic is computed in cells of the space and averaged, so that copies in one part of it are not hidden by another.

    Examples
    --------
    >>> train, held_out = np.array([[0.0], [10.0]]), np.array([[1.0], [8.0]])
    >>> copying(train, held_out, train), copying(train, held_out, held_out), copying(train, held_out, [[5.0]])
    (1.0, 0.5, 0.0)
    """
    if not (len(train) and len(held_out) and len(samples)):
        return math.nan
    of_samples, of_real = (cdist(rows, train).min(axis=1) for rows in (samples, held_out))
    nearer = of_samples[:, None] - of_real  # (m, n)
    return float((nearer < 0).mean() + (nearer == 0).mean() / 2)
