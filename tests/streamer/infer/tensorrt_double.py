"""A TensorRT that computes by ONNX Runtime; each use of it is held against the real API."""

from __future__ import annotations

import json
from importlib.machinery import ModuleSpec
from threading import Event
from time import sleep
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from tests.streamer.infer.checked import Checked, construct, unwrapped
from tests.streamer.infer.host_stream import HostStream

PLAN, TIMINGS = b"PLAN\n", b"TIMINGS\n"


class World:
    """What happens in a double, and what a test wants to go wrong in it."""

    def __init__(self) -> None:
        self.builds: list[dict[str, Any]] = []
        self.parse_errors: list[str] = []
        self.build_error = ""
        self.run_error = ""
        self.null_pointer = ""
        """What is logged where no builder and no runtime can be made."""
        self.tensorrt_device = "This computer"
        self.rejects_timings = False
        self.is_building = Event()
        self.waits_for_the_end: Event | None = None
        """Until which a build goes on."""
        self.waits_to_be_given_up = False
        """Whether a build goes on until nobody waits for it."""


class DoubleApi(ModuleType):
    """The module: what is not doubled, such as enumerations and the logger, is the real one's."""

    def __init__(self, real: ModuleType, world: World) -> None:
        super().__init__("tensorrt")
        self.__spec__ = ModuleSpec("tensorrt", None)
        self._doubled = {"Builder": Builder, "OnnxParser": Parser, "Runtime": Runtime}
        self._real = real
        self._world = world

    def __getattr__(self, name: str) -> Any:
        if name not in self._doubled:
            return getattr(self._real, name)

        def made(*given: Any, **named: Any) -> Any:
            double = construct(self._real, self._doubled[name], given, named)
            like = unwrapped(double)
            like.api, like.world = self._real, self._world
            if name in ("Builder", "Runtime") and self._world.null_pointer:
                like.complain(self._world.null_pointer)
                raise TypeError("pybind11::init(): factory function returned nullptr")
            return double

        return made


class Like:
    """What the doubles share: the logger they were given, the real module and the test's wishes."""

    stands_for: str
    api: Any
    world: World
    logger: Any

    def complain(self, text: str) -> None:
        self.logger.log(self.api.ILogger.Severity.ERROR, text)

    def child(self, kind: type[Like], *given: Any) -> Any:
        made = kind(*given)
        made.api, made.world, made.logger = self.api, self.world, self.logger
        return made


class Builder(Like):
    stands_for = "Builder"

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def create_network(self, flags: int = 0) -> Any:
        assert flags == 1 << int(self.api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return self.child(Network)

    def create_builder_config(self) -> Any:
        return self.child(Config)

    def build_serialized_network(self, network: Checked, config: Checked) -> bytes | None:
        asked, settings = unwrapped(network), unwrapped(config)
        shapes = {tensor.name: list(tensor.shape) for tensor in asked.inputs}
        assert all(side > 0 for shape in shapes.values() for side in shape)
        self.world.builds.append({"shapes": shapes, **vars(settings)})
        settings.progress_monitor.phase_start("Building", None, 2)
        self.world.is_building.set()
        assert not self.world.waits_for_the_end or self.world.waits_for_the_end.wait(20)
        goes_on = settings.progress_monitor.step_complete("Building", 0)
        while goes_on and self.world.waits_to_be_given_up:
            sleep(0.001)
            goes_on = settings.progress_monitor.step_complete("Building", 0)
        if not goes_on:
            self.complain("the build was cancelled")
            return None
        settings.progress_monitor.phase_finish("Building")
        if self.world.build_error:
            self.complain(self.world.build_error)
            return None
        settings.timings = TIMINGS + str(len(self.world.builds)).encode()
        head = json.dumps({"device": self.world.tensorrt_device, "shapes": shapes}).encode()
        blob: bytes = asked.blob
        return PLAN + head + b"\n" + blob


class Tensor:
    stands_for = "ITensor"

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape = name, shape


class Network(Like):
    stands_for = "INetworkDefinition"
    blob = b""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]


class Config(Like):
    stands_for = "IBuilderConfig"

    def __init__(self) -> None:
        self.builder_optimization_level = -1
        self.workspace_bytes = 0
        self.given_timings = b""
        self.timings = b""
        self.progress_monitor: Any = None
        self.cleared: list[Any] = []

    def clear_flag(self, flag: Any) -> None:
        self.cleared.append(flag)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert pool == self.api.MemoryPoolType.WORKSPACE
        self.workspace_bytes = pool_size

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        assert serialized_timing_cache[: len(TIMINGS)] in (b"", TIMINGS), "TensorRT would abort"
        return self.child(Timings, serialized_timing_cache)

    def set_timing_cache(self, cache: Checked, ignore_mismatch: bool) -> bool:  # noqa: FBT001
        assert not ignore_mismatch
        if self.world.rejects_timings and unwrapped(cache).blob:
            return False
        self.given_timings = unwrapped(cache).blob
        return True

    def get_timing_cache(self) -> Any:
        return self.child(Timings, self.timings)


class Timings(Like):
    stands_for = "ITimingCache"

    def __init__(self, blob: bytes) -> None:
        self.blob = blob

    def serialize(self) -> bytes:
        return self.blob


class Parser(Like):
    stands_for = "OnnxParser"

    def __init__(self, network: Checked, logger: Any) -> None:
        self.network, self.logger = unwrapped(network), logger

    @property
    def num_errors(self) -> int:
        return len(self.world.parse_errors)

    def get_error(self, index: int) -> Any:
        return self.child(ParserError, self.world.parse_errors[index])

    def parse(self, model: bytes, path: str | None = None) -> bool:
        self.network.blob = model
        for value in onnx.load_from_string(model).graph.input:
            sides = value.type.tensor_type.shape.dim
            shape = tuple(side.dim_value if side.HasField("dim_value") else -1 for side in sides)
            self.network.inputs.append(Tensor(value.name, shape))
        return not self.world.parse_errors


class ParserError(Like):
    stands_for = "ParserError"

    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text

    def node(self) -> int:
        return 7


class Runtime(Like):
    stands_for = "Runtime"

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        assert serialized_engine.startswith(PLAN), "TensorRT may crash over what is no plan"
        head, _, blob = serialized_engine[len(PLAN) :].partition(b"\n")
        built = json.loads(head)
        if built["device"] != self.world.tensorrt_device:
            self.complain("The engine plan file is generated on an incompatible device")
            return None
        return self.child(CudaEngine, blob, built["shapes"])


class CudaEngine(Like):
    stands_for = "ICudaEngine"

    def __init__(self, blob: bytes, shapes: dict[str, list[int]]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.types: dict[str, str] = {value.name: value.type for value in self._values()}
        zeros = {name: np.zeros(self.shapes[name], self.numpy_type(name)) for name in shapes}
        names = [value.name for value in self.session.get_outputs()]
        for name, array in zip(names, self.session.run(names, zeros), strict=True):
            self.shapes[name] = array.shape

    def numpy_type(self, name: str) -> np.dtype[Any]:
        written: str = self.types[name].removeprefix("tensor(").removesuffix(")")
        return np.dtype("float32" if written == "float" else written)

    def get_tensor_shape(self, name: str) -> Any:
        return self.api.Dims(self.shapes[name])

    def get_tensor_dtype(self, name: str) -> Any:
        names = {"float16": "HALF", "float32": "FLOAT", "uint8": "UINT8"}
        return self.api.DataType.__members__[names[self.numpy_type(name).name]]

    def create_execution_context(self) -> Any:
        return self.child(Context, self)

    def _values(self) -> list[Any]:
        return [*self.session.get_inputs(), *self.session.get_outputs()]


class Context(Like):
    stands_for = "IExecutionContext"

    def __init__(self, engine: CudaEngine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return name in self.engine.shapes

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self.world.run_error:
            self.complain(self.world.run_error)
            return False
        assert set(self.addresses) == set(self.engine.shapes)
        stream = HostStream.by_handle[stream_handle]
        stream.queue(lambda: self._execute(stream))
        return True

    def _execute(self, stream: HostStream) -> None:
        def array(name: str) -> Any:
            dtype, shape = self.engine.numpy_type(name), self.engine.shapes[name]
            size = int(np.prod(shape)) * dtype.itemsize
            return stream.memory(self.addresses[name], size).view(dtype).reshape(shape)

        session = self.engine.session
        inputs = {value.name: array(value.name) for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs()]
        for name, result in zip(names, session.run(names, inputs), strict=True):
            np.copyto(array(name), result)
