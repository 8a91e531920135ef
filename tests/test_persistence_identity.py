"""Fingerprints: the same where results are, and nowhere else."""

import os
import subprocess
import sys
import textwrap
from functools import cache, partial, wraps
from pathlib import Path

import numpy as np
import pytest
from persistence_samples import Odd, Thumb
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.pipeline import make_union
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from cbirkit.persistence import code_identity, fingerprint, load_estimator, save_estimator

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def data():
    return np.random.RandomState(0).normal(size=(40, 12)).astype(np.float32)


def test_fingerprint_changes_with_what_matters_only(data):
    scaler = StandardScaler().fit(data)
    same = fingerprint(scaler)
    assert fingerprint(clone(scaler).fit(data)) == same
    assert fingerprint(clone(scaler)) != same
    assert fingerprint(StandardScaler(with_mean=False).fit(data)) != same
    assert fingerprint(PCA(2)) != fingerprint(TruncatedSVD(2))
    other = StandardScaler().fit(data)
    other.mean_ = other.mean_.copy()
    other.mean_[0] = np.nextafter(other.mean_[0], np.inf)
    assert fingerprint(other) != same
    assert fingerprint(KMeans(3, verbose=1)) == fingerprint(KMeans(3))
    assert (
        fingerprint(Thumb(batch_size=1))
        == fingerprint(Thumb(batch_size=9))
        != fingerprint(Thumb(size=5))
    )


def test_fingerprint_does_not_depend_on_the_order_of_dicts():
    one, two = Thumb(size={"a": 1, "b": 2}), Thumb(size={"b": 2, "a": 1})
    two.__dict__ = dict(reversed(two.__dict__.items()))
    assert fingerprint(one) == fingerprint(two)


def test_fingerprint_is_the_same_in_every_process():
    program = textwrap.dedent("""
        import numpy as np
        from sklearn.decomposition import PCA
        from sklearn.base import BaseEstimator
        from cbirkit.persistence import fingerprint
        class Mine(BaseEstimator):
            def __init__(self, names): self.names = names
            def transform(self, x): return [i for i in x if i in {"a", "b", "c", "d"}]
        e = Mine({"u", "v", "w", "x"}); e.pca_ = PCA(2).fit(np.eye(4)[:, :3] * [3, 2, 1])
        print(fingerprint(e))
    """)
    seen = set()
    for seed in ("0", "77"):  # under which these sets have other orders
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
        )
        seen.add(run.stdout)
    assert len(seen) == 1 and len(seen.pop()) == 65


def edited(body, extra="scale = 2"):
    """Fingerprint of a class as a notebook cell defines it."""
    cell = f"{extra}\ndef helper(x):\n    return x * scale\nclass Mine(TransformerMixin, BaseEstimator):\n"
    cell += f"    def fit(self, x, y=None):\n        return self\n    def transform(self, x):\n        return {body}\n"
    names = {
        "__name__": "__main__",
        "BaseEstimator": BaseEstimator,
        "TransformerMixin": TransformerMixin,
        "np": np,
    }
    exec(compile(cell, "<cell>", "exec"), names)  # noqa: S102
    return fingerprint(names["Mine"]())


def test_editing_a_class_in_a_notebook_changes_its_fingerprint():
    same = edited("helper(x)")
    assert edited("helper(x)") == same
    assert edited("helper(x) + 1") != same
    assert edited("helper(x)", "scale = 3") != same  # a constant that a helper of it uses
    assert edited("np.sqrt(x)") != same


def test_lambda_can_be_identified_though_not_saved():
    def shift(by):
        return FunctionTransformer(lambda x: x + by)

    assert fingerprint(shift(1)) == fingerprint(shift(1)) != fingerprint(shift(2))


def test_what_cannot_be_identified_is_an_error():
    with pytest.raises(ValueError, match=r"Thumb\.size holds a .*Odd"):
        fingerprint(Thumb(size=Odd(1)))
    with pytest.raises(ValueError, match=r"Mine\.code holds a .*Path, .* identified"):
        edited("scale.value", "import pathlib; scale = pathlib.Path()")


def test_getstate_is_the_hook_for_compiled_state(tmp_path):
    loaded = load_estimator(save_estimator(Hooked(3).fit(None), tmp_path / "e"), trusted=[Hooked])
    assert loaded.transform([1, 2]) == [3, 6]
    assert (
        fingerprint(loaded) == fingerprint(Hooked(3).fit(None)) != fingerprint(Hooked(4).fit(None))
    )


class Hooked(BaseEstimator):
    def __init__(self, factor=2):
        self.factor = factor

    def fit(self, x, y=None):
        self.network_ = Odd(self.factor)  # stands for a torch module
        return self

    def transform(self, x):
        return [item * self.network_.value for item in x]

    def __getstate__(self):
        return {**self.__dict__, "network_": {"weight": np.array(self.network_.value)}}

    def __setstate__(self, state):
        self.__dict__.update(state, network_=Odd(int(state["network_"]["weight"])))


def twice(function):
    return lambda x: function(function(x))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        [lambda x: x - 1, lambda x: x + 1],  # of the same source line
        [lambda x: [i + 1 for i in x], lambda x: [i + 2 for i in x]],
        [lambda x, by=1: x, lambda x, by=2: x],
        [lambda x, *, by=1: x, lambda x, *, by=2: x],
        [partial(np.clip, a_min=0), partial(np.clip, a_min=1)],
        [partial(pow, 2), partial(pow, 3)],
        [twice(lambda x: x + 1), twice(lambda x: x + 2)],
        [cache(lambda x: x + 1), cache(lambda x: x + 2)],
        [wraps(len)(lambda x: x + 1), wraps(len)(lambda x: x + 2)],
        [lambda x: np.sqrt(x), lambda x: np.log(x)],
        [lambda x: x in {1, 2}, lambda x: x in {1, 3}],
    ],
)
def test_functions_are_told_apart_by_what_they_do(one, two):
    names = [fingerprint(FunctionTransformer(function)) for function in (one, two, one)]
    assert names[0] == names[2] != names[1]
    assert code_identity(one) == code_identity(one) != code_identity(two)


def test_functions_of_one_name_are_not_taken_for_one_another():
    one, two = (FunctionTransformer(lambda x, by=by: x + by) for by in (1, 2))
    names = [
        fingerprint(make_union(one, two, last)) for last in (one, two, FunctionTransformer(len))
    ]
    assert len(set(names)) == 3


def edited_class(**members):
    base = type(
        "Base", (BaseEstimator,), {"__module__": "__main__", "step": lambda self: 1} | members
    )
    return type("Mine", (base,), {"__module__": "__main__", "transform": lambda self, x: x})()


def test_all_that_a_class_inherits_and_holds_counts():
    changes = [
        {},
        {"step": lambda self: 2},
        {"step": property(lambda self: 1)},
        {"step": staticmethod(lambda: 1)},
        {"size": 3},
        {"size": 4},
        {"__call__": lambda self: 1},
        {"_version": 1},
    ]
    names = [fingerprint(edited_class(**change)) for change in changes]
    assert len(set(names)) == len(names)
    assert names == [fingerprint(edited_class(**change)) for change in changes]


def test_objects_that_code_uses_count_by_their_type_where_they_may_change():
    network = Odd(1)
    function = eval("lambda x: network", {"network": network, "__name__": "__main__"})
    before = code_identity(function)
    network.value = 2
    assert code_identity(function) == before != code_identity(None)
    with pytest.raises(ValueError, match="holds a .*Odd, .* identified"):
        fingerprint(FunctionTransformer(function))
