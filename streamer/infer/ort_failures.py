"""What went wrong in ONNX Runtime on a GPU: the cause out of its long messages, and the next step."""

from __future__ import annotations

import re

from streamer.infer.engine import pip_install

WHEEL = "onnxruntime-gpu[cuda,cudnn]"
"""Without the two extras pip installs none of the libraries that it needs."""

OF_CUDA_12 = f"{WHEEL}<1.24"
"""1.23 is made for CUDA 12.2, 1.31 for 13.0."""

MOST = 160
"""Characters of a message in which no cause is known."""

_CAUSES = tuple(
    re.compile(pattern)
    for pattern in (
        # "CUDA failure 2: out of memory ; GPU=0 ; hostname=…", behind the signature of a template.
        r"\b[A-Z_]+ failure \d+: [^;]*",
        r"Failed to allocate memory for requested buffer of size \d+",
        r"Available memory of \d+ is smaller than requested bytes of \d+",
        r"cuDNN is unavailable[^;]*",
    )
)

_AROUND = re.compile(r"^.*Status Message: |^\[ONNXRuntimeError\] : \d+ : \w+ : ")
"""What stands before what a node or a session says."""

_ANOTHER = "or use another --backend"

_STEPS = (
    (
        ("out of memory", "Failed to allocate", "smaller than requested", "ALLOC_FAILED"),
        f"free memory of the device, run fewer streams on it, {_ANOTHER}",
    ),
    (
        (" failure 35:",),
        (
            "this onnxruntime-gpu is made for a CUDA newer than the driver: update the driver, for one "
            f"of CUDA 12 run: {pip_install(OF_CUDA_12)}, {_ANOTHER}"
        ),
    ),
    (
        (" failure 100:",),
        f"see that nvidia-smi lists a device and CUDA_VISIBLE_DEVICES names one, {_ANOTHER}",
    ),
    ((" failure 803:",), f"restart after the driver's update, its parts differ, {_ANOTHER}"),
    (
        (" failure 209:",),
        f"this onnxruntime-gpu is not made for this device: install a newer one, {_ANOTHER}",
    ),
    (("libcuda.so",), f"install the driver of the device, {_ANOTHER}"),
    (
        ("cannot open shared object file", "cuDNN is unavailable"),
        f"run: {pip_install(WHEEL)}, {_ANOTHER}",
    ),
    (
        ("assigned to the default CPU EP",),
        "it does not run on the GPU alone: use another --backend",
    ),
)
"""By words of the cause."""

_LOST = f"see that nvidia-smi lists the device, then start again, {_ANOTHER}"


def cause(error: Exception) -> str:
    """Why, without the paths and names of its source that ONNX Runtime wraps it in."""
    said = " ".join(str(error).split())
    for pattern in _CAUSES:
        found = pattern.search(said)
        if found is not None:
            return found[0].strip()
    return _AROUND.sub("", said)[:MOST] or type(error).__name__


def next_step(why: str) -> str:
    """What the user is to do about a cause."""
    return next((step for words, step in _STEPS if any(word in why for word in words)), _LOST)
