"""What a data set is called in words, by its fingerprint where that is known: a file name can mislead."""

from __future__ import annotations

# `Dataset.fingerprint` of copies that are easily taken for something else; one for each normalisation in use.
_JPEG = "CIFAR-10 (JPEG-75 copy)"
_KNOWN = {
    "13e678bb620a2e74ca0a31b7f381da2b223fb452a99edef555214867408e9c92": _JPEG,  # its own mean and std
    "9177ddb1a84d0f8c4e1c9c9b5ff4fae1944fc60b3f11dfb5973e8964ee3c511c": _JPEG,  # the published ones
}
_NAMES = {"digits": "scikit-learn's 8×8 digits", "cifar10": "CIFAR-10"}


def data_name(dataset: object, fingerprint: object = None) -> str:
    """A data set in words, with the start of its fingerprint where its name alone would not tell.

    Args:
        dataset: the parameter: a registered name or a path; None where it is not on record.
        fingerprint: `Dataset.fingerprint`, from a run's manifest; None where it is not on record.
    """
    digest = fingerprint if isinstance(fingerprint, str) else ""
    if digest in _KNOWN:
        return _KNOWN[digest]
    if not isinstance(dataset, str):
        return "not on record"
    if dataset in _NAMES:
        return _NAMES[dataset]
    return f"{dataset} (fingerprint {digest[:12]})" if digest else dataset
