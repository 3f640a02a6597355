"""ONNX Runtime and OpenVINO as contenders: the layer as an ONNX model of one operator."""

import numpy as np

from bench.cases.contender import NAMES, Contender, Missing, module

_ONNX = {  # layer -> operator, positions of its gates among ours, its options
    "LSTM": ("LSTM", (0, 3, 1, 2), {}),
    "GRU": ("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    "RNN": ("RNN", (0,), {}),
}


def _onnx_model(problem, with_state):
    """Return the layer as a serialised ONNX model, with or without its state as in- and output."""
    onnx = module("onnx")
    if problem.kind not in _ONNX:
        raise Missing(f"ONNX has no {problem.kind}")
    if problem.dtype != np.float32:
        raise Missing("its kernels are float32")
    operator, order, options = _ONNX[problem.kind]
    options = {**options, "hidden_size": problem.shape.hidden}
    if problem.options:
        options["activations"] = [problem.options["nonlinearity"].capitalize()]
    helper, real = onnx.helper, onnx.TensorProto.FLOAT

    def in_order(name):
        gates = np.split(problem.layer.params[name], len(order))
        return np.concatenate([gates[i] for i in order])[None]

    w, r, b_ih, b_hh = map(in_order, NAMES)
    weights = {"W": w, "R": r, "B": np.concatenate([b_ih, b_hh], axis=1)}
    states = ["h", "c"][: 1 + (operator == "LSTM")]
    batch, hidden = problem.shape.batch, problem.shape.hidden
    x_shape = [1 if with_state else problem.shape.time, batch, problem.shape.input]
    inputs = [helper.make_tensor_value_info("x", real, x_shape)]
    outputs = [helper.make_tensor_value_info("y", real, [x_shape[0], 1, batch, hidden])]
    names_in, names_out = ["x", "W", "R", "B"], ["y"]
    if problem.lengths is not None:
        weights["lengths"] = problem.lengths.astype(np.int32)
        names_in.append("lengths")
    if with_state:
        names_in += [""] + [f"{s}_0" for s in states]
        names_out += [f"{s}_n" for s in states]
        for names, infos in ((names_in[5:], inputs), (names_out[1:], outputs)):
            infos += [helper.make_tensor_value_info(n, real, [1, batch, hidden]) for n in names]
    node = helper.make_node(operator, names_in, names_out, **options)
    graph = helper.make_graph(
        [node],
        "layer",
        inputs,
        outputs,
        [onnx.numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return model.SerializeToString(), states


def of_onnxruntime(problem):
    """ONNX Runtime, one operator, weights prepacked when the session is made."""
    runtime = module("onnxruntime")
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = problem.threads, 1

    def session(with_state):
        model, states = _onnx_model(problem, with_state)
        return runtime.InferenceSession(model, settings, ["CPUExecutionProvider"]), states

    inputs = {"x": problem.floats()}
    if problem.mode.offer == "step":
        one, states = session(True)
        now = {f"{s}_0": np.zeros((1, *problem.shape[1::2]), np.float32) for s in states}
        steps = problem.steps()

        def step():
            y, *new = one.run(None, {"x": next(steps)[None], **now})
            now.update(zip(now, new, strict=True))
            return y[0, 0]

        return Contender(step=step)
    whole, _ = session(False)
    return Contender(lambda: whole.run(None, inputs)[0][:, 0])


def of_openvino(problem):
    """OpenVINO on the CPU, the ONNX model, compiled for latency."""
    openvino = module("openvino")
    settings = {
        "INFERENCE_NUM_THREADS": problem.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    if problem.mode.offer == "step":
        raise Missing("its state would have to be copied at every step")
    model, _ = _onnx_model(problem, with_state=False)
    core = openvino.Core()
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    x = openvino.Tensor(problem.floats(), shared_memory=True)

    def forward():
        request.infer({0: x}, share_inputs=True, share_outputs=True)
        return request.get_output_tensor(0).data[:, 0]

    return Contender(forward)
