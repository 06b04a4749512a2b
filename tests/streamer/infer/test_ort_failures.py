"""What users see of failures, by what ONNX Runtime 1.23 to 1.31 said of them."""

from __future__ import annotations

import pytest

from streamer.infer.ort_failures import MOST, cause, next_step

CALL = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 std::conditional_t<THRW, void, "
    "onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, SUCCTYPE, "
    "const char*, const char*, int) [with ERRTYPE = cudaError; bool THRW = true; SUCCTYPE = cudaError; "
    "std::conditional_t<THRW, void, common::Status> = void] "
)
CONV = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv "
    "node. Name:'/head/Conv' Status Message: "
)


def failed(number: int, words: str, expression: str) -> str:
    return (
        f"CUDA failure {number}: {words} ; GPU=0 ; hostname=somewhere ; "
        f"file=/onnxruntime_src/onnxruntime/core/providers/cuda/a_file.cc ; line=47 ; "
        f"expr={expression}; \n"
    )


OLD_DRIVER = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc:63 static "
    "onnxruntime::CUDAExecutionProviderInfo onnxruntime::CUDAExecutionProviderInfo::"
    "FromProviderOptions(const onnxruntime::ProviderOptions&) [ONNXRuntimeError] : 1 : FAIL : "
    'provider_options_utils.h:187 Parse Failed to parse provider option "device_id": '
    + failed(
        35,
        "CUDA driver version is insufficient for CUDA runtime version",
        "cudaGetDeviceCount(&num_devices)",
    )
)
WITHOUT_CUDNN = (
    "cuDNN is unavailable or disabled for CUDA Execution Provider: dlopen failed for libcudnn.so: "
    "libcudnn.so: cannot open shared object file"
)
NO_CUDNN = (
    "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Non-zero status code returned while running Conv node. "
    "Name:'/head/Conv' Status Message: /onnxruntime_src/onnxruntime/core/providers/cuda/cuda_kernel.h:272 "
    "static cudnnContext* onnxruntime::cuda::CudaKernel::RequireCudnnHandle(cudnnHandle_t) "
    "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : " + WITHOUT_CUDNN
)
ON_CPU = (
    "This session contains graph nodes that are assigned to the default CPU EP, but fallback to CPU EP "
    "has been explicitly disabled by the user."
)
ARENA = (
    "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* "
    "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*, bool, "
    "onnxruntime::WaitNotificationFn) Failed to allocate memory for requested buffer of size 134217728\n"
)


@pytest.mark.parametrize(
    ("said", "why", "step"),
    [
        (
            CONV + CALL + CALL + failed(2, "out of memory", "cudaMalloc((void**)&p, size)"),
            "CUDA failure 2: out of memory",
            "free memory of the device, run fewer streams on it, or use another --backend",
        ),
        (
            CONV + ARENA,
            "Failed to allocate memory for requested buffer of size 134217728",
            "free memory of the device, run fewer streams",
        ),
        (
            CALL + "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=somewhere",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
            "free memory of the device",
        ),
        (
            OLD_DRIVER,
            "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version",
            "-m pip install 'onnxruntime-gpu[cuda,cudnn]<1.24', or use another --backend",
        ),
        (
            CALL + failed(100, "no CUDA-capable device is detected", "cudaSetDevice(0)"),
            "CUDA failure 100: no CUDA-capable device is detected",
            "see that nvidia-smi lists a device and CUDA_VISIBLE_DEVICES names one",
        ),
        (
            CALL + failed(803, "system has unsupported display driver", "cudaSetDevice(0)"),
            "CUDA failure 803: system has unsupported display driver",
            "restart after the driver's update",
        ),
        (
            CALL + failed(209, "no kernel image is available for execution", "cudaGetLastError()"),
            "CUDA failure 209: no kernel image is available for execution",
            "this onnxruntime-gpu is not made for this device",
        ),
        (
            NO_CUDNN,
            WITHOUT_CUDNN,
            "-m pip install 'onnxruntime-gpu[cuda,cudnn]', or use another --backend",
        ),
        (
            "libcuda.so.1: cannot open shared object file: No such file or directory",
            "libcuda.so.1: cannot open shared object file: No such file or directory",
            "install the driver of the device, or use another --backend",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : " + ON_CPU,
            ON_CPU,
            "it does not run on the GPU alone: use another --backend",
        ),
        (
            CONV + CALL + failed(700, "an illegal memory access was encountered", "f()"),
            "CUDA failure 700: an illegal memory access was encountered",
            "see that nvidia-smi lists the device, then start again, or use another --backend",
        ),
    ],
)
def test_the_cause_is_told_with_what_to_do_about_it(said: str, why: str, step: str) -> None:
    assert cause(RuntimeError(said)) == why
    assert step in next_step(why)


def test_what_is_not_known_is_told_from_where_it_begins() -> None:
    assert cause(RuntimeError(CONV + "the shapes differ")) == "the shapes differ"
    assert cause(ValueError("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : none")) == "none"
    assert len(cause(RuntimeError("word " * 500))) == MOST
    assert cause(KeyError()) == "KeyError"
