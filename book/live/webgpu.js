// Runs a network's ONNX file on the graphics processor by WebGPU. The file holds a list of nodes, each an operation on named arrays; those
// that a U-Net needs are the entries of OPERATIONS. They become a list of dispatches of the programs in kernels.js, which is made once for
// each number of pictures and run at every call. What is not known here is an error, and network.js then takes WebAssembly.

const LiveWebGPU = (() => {
  "use strict";

  // ---------------------------------------------------------------- the file: the few fields of ONNX's protobuf that book/_ext/protobuf.py writes

  /** The fields of a message: {number of the field: all its values, numbers or bytes}. */
  function message(bytes) {
    const found = {};
    let at = 0;
    const take = (count) => {
      if (at + count > bytes.length) throw new Error("the network's file is cut");
      return bytes.subarray(at, (at += count));
    };
    const varint = () => { // seven bits a byte, the lowest first
      let value = 0, unit = 1, byte;
      do {
        [byte] = take(1);
        value += (byte & 127) * unit;
        unit *= 128;
      } while (byte > 127);
      return value;
    };
    while (at < bytes.length) {
      const key = varint(), kind = key & 7;
      if (![0, 2, 5].includes(kind)) throw new Error(`a field of kind ${kind} in the network's file`);
      (found[key >> 3] ??= []).push(kind === 0 ? varint() : take(kind === 2 ? varint() : 4));
    }
    return found;
  }

  const text = (bytes) => new TextDecoder().decode(bytes);

  function readNode(bytes) {
    const { 1: inputs = [], 2: outputs, 4: [operation], 5: attributes = [] } = message(bytes), how = {};
    for (const { 1: [name], 2: float, 3: whole, 4: word, 8: several } of attributes.map(message)) {
      how[text(name)] = several ?? whole?.[0] ?? (word ? text(word[0]) : new Float32Array(float[0].slice().buffer)[0]);
    }
    return { operation: text(operation), inputs: inputs.map(text), outputs: outputs.map(text), how };
  }

  let halves = null; // float16 -> float32, for all that there are

  function readTensor(bytes) {
    const { 1: shape = [], 2: [kind], 8: [name], 9: [content] } = message(bytes), { buffer } = content.slice();
    if (kind === 1) return { name: text(name), shape, data: new Float32Array(buffer) };
    if (kind === 7) return { name: text(name), shape, data: Array.from(new BigInt64Array(buffer), Number), whole: true };
    if (kind !== 10) throw new Error(`numbers of type ${kind} in the network's file`);
    halves ??= Float32Array.from({ length: 65536 }, (_, bits) => {
      const exponent = (bits >> 10) & 31, rest = (bits & 1023) / 1024, sign = bits >> 15 ? -1 : 1;
      if (exponent === 31) return rest ? NaN : sign * Infinity;
      return sign * (exponent ? (1 + rest) * 2 ** (exponent - 15) : rest * 2 ** -14);
    });
    return { name: text(name), shape, data: new Float32Array(new Uint16Array(buffer)).map((bits) => halves[bits]) };
  }

  /** {nodes, tensors} of an ONNX file; nodes are in the order in which they are to be run. */
  function read(bytes) {
    const { 1: nodes = [], 5: tensors = [] } = message(message(bytes)[7]?.[0] ?? new Uint8Array());
    if (!nodes.length) throw new Error("the network's file holds no network");
    return { nodes: nodes.map(readNode), tensors: tensors.map(readTensor) };
  }

  // ---------------------------------------------------------------- arrays: a place on the processor, and how its numbers are laid out

  const product = (numbers) => numbers.reduce((a, b) => a * b, 1);
  const dense = (shape) => shape.map((_, axis) => product(shape.slice(axis + 1)));
  const array = (place, shape, strides = dense(shape), at = 0) => ({ place, shape, strides, at });
  const isDense = ({ shape, strides, at }) => at === 0 && dense(shape).every((stride, axis) => stride === strides[axis] || shape[axis] === 1);

  function needs(fine, operation) {
    if (!fine) throw new Error(`a form of ${operation} that has no kernel here`);
  }

  /** The shape of the result of an operation on two arrays, number by number: an axis of length 1 is repeated. */
  function common(a, b) {
    const rank = Math.max(a.length, b.length), [p, q] = [a, b].map((shape) => [...Array(rank - shape.length).fill(1), ...shape]);
    needs(rank <= 4 && p.every((n, axis) => n === q[axis] || n === 1 || q[axis] === 1), "broadcasting");
    return p.map((n, axis) => Math.max(n, q[axis]));
  }

  /** The strides of an array, where it is seen in another shape, of four axes; 0 where it is repeated. */
  const stridesIn = ({ shape, strides }) => {
    const before = Array(4 - shape.length).fill(0);
    return [...before, ...strides.map((stride, axis) => (shape[axis] === 1 ? 0 : stride))];
  };
  const four = (shape) => [...Array(4 - shape.length).fill(1), ...shape];

  // ---------------------------------------------------------------- the operations
  // Each takes the plan in the making, its inputs and the node's settings, and gives its outputs. The first four move nothing:
  // a reshaped, transposed or split array is the same numbers, looked at in another way.

  const OPERATIONS = {
    Identity: (plan, [x]) => [x],

    Reshape(plan, [x, { data: asked }]) {
      needs(isDense(x), "Reshape");
      const shape = asked.map((n, axis) => (n === 0 ? x.shape[axis] : n)), size = product(x.shape);
      const known = product(shape.filter((n) => n > 0));
      return [array(x.place, shape.map((n) => (n < 0 ? size / known : n)))];
    },

    Transpose: (plan, [x], { perm }) => [array(x.place, perm.map((axis) => x.shape[axis]), perm.map((axis) => x.strides[axis]), x.at)],

    Split(plan, [x, { data: sizes }], { axis }) {
      let at = x.at;
      return sizes.map((size) => {
        const part = array(x.place, x.shape.map((n, k) => (k === axis ? size : n)), x.strides, at);
        at += size * x.strides[axis];
        return part;
      });
    },

    Concat(plan, parts, { axis }) {
      const whole = plan.make(parts[0].shape.map((n, k) => (k === axis ? parts.reduce((sum, { shape }) => sum + shape[axis], 0) : n)));
      let at = 0;
      for (const part of parts) {
        plan.each("copy", [part], array(whole.place, part.shape, whole.strides, at));
        at += part.shape[axis] * whole.strides[axis];
      }
      return [whole];
    },

    /** Every pixel s times in a row, and every row s times: an array with two strides of 0, copied. */
    Resize(plan, [x, , { data: scales }]) {
      const [B, c, h, w] = x.shape, s = scales[3], out = plan.make([B, c, h * s, w * s]);
      needs(isDense(x) && scales[0] === 1 && scales[1] === 1 && scales[2] === s && Number.isInteger(s), "Resize");
      const repeated = array(x.place, [B * c * h, s, w, s], [w, 0, 1, 0]);
      plan.each("copy", [repeated], array(out.place, repeated.shape));
      return [out];
    },

    Sigmoid: (plan, [x]) => [plan.each("Sigmoid", [x])],

    Conv(plan, [x, weight, bias], { pads: [above, left, below, right], strides: [stride] }) {
      const [B, c, h, w] = x.shape, [outC, , kernel] = weight.shape;
      const size = (n, padding) => Math.floor((n + padding - kernel) / stride) + 1;
      const out = plan.make([B, outC, size(h, above + below), size(w, left + right)]), [, , outH, outW] = out.shape;
      needs(isDense(x), "Conv");
      plan.step("conv", [x, weight, bias, out], [B, c, h, w, outC, outH, outW, kernel, stride, above, left], [(B * outH * outW) / 64, outC / 8]);
      return [out];
    },

    InstanceNormalization(plan, [x, scale, shift], { epsilon }) {
      const [B, groups, count] = x.shape, out = plan.make(x.shape), [bits] = new Uint32Array(Float32Array.of(epsilon).buffer);
      needs(isDense(x), "InstanceNormalization");
      plan.step("norm", [x, scale, shift, out], [groups, count, bits], [B * groups]);
      return [out];
    },

    Softmax(plan, [x], { axis }) {
      const out = plan.make(x.shape), count = x.shape.at(-1);
      needs(isDense(x) && axis === x.shape.length - 1, "Softmax");
      plan.step("softmax", [x, out], [count], [product(x.shape) / count]);
      return [out];
    },

    MatMul: (plan, [a, b]) => [plan.matmul("MatMul", a, b)],

    Gemm(plan, [x, weight, bias], { transB }) {
      needs(transB === 1, "Gemm");
      const row = ({ place, shape, strides }) => array(place, [1, ...shape], [0, ...strides]);
      const [turned] = OPERATIONS.Transpose(plan, [row(weight)], { perm: [0, 2, 1] });
      const { place, shape } = plan.matmul("Gemm", row(x), turned, [bias]);
      return [array(place, shape.slice(1))];
    },

    Gather(plan, [table, rows]) {
      const out = plan.make([rows.shape[0], ...table.shape.slice(1)]), width = product(table.shape.slice(1));
      plan.step("gather", [table, rows, out], [rows.shape[0], width], [(rows.shape[0] * width) / 256]);
      return [out];
    },
  };
  for (const name of ["Add", "Sub", "Mul", "Div"]) OPERATIONS[name] = (plan, [a, b]) => [plan.each(name, [a, b])];

  // The angles of the time embedding reach 1,000 radians, and WGSL promises of a sine no more than three digits, between -pi and pi. So what
  // follows from t alone up to its sines, a few numbers for each picture, is computed here, in float32 as elsewhere.
  const HERE = {
    Cast: ([t]) => t,
    Reshape: ([{ data }]) => ({ shape: [data.length, 1], data }),
    Mul: ([{ data: t }, { data: by }]) => ({ shape: [t.length, by.length], data: Float32Array.from([...t].flatMap((one) => Array.from(by, (v) => one * v))) }),
    Sin: ([{ shape, data }]) => ({ shape, data: data.map(Math.sin) }),
    Cos: ([{ shape, data }]) => ({ shape, data: data.map(Math.cos) }),
  };

  // ---------------------------------------------------------------- a plan: the dispatches of one call, and the buffers they use

  class Plan {
    constructor(device, pipelines, pool) {
      Object.assign(this, { device, pipelines, pool, steps: [] });
    }

    /** A new array. A place knows how many uses of it are to come; without any, its buffer serves others. */
    make(shape) {
      const bytes = 2 ** Math.ceil(Math.log2(Math.max(256, 4 * product(shape)))), free = (this.pool[bytes] ??= []);
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
      return array({ buffer: free.pop() ?? this.device.createBuffer({ size: bytes, usage }), uses: 0 }, shape);
    }

    release({ place }) {
      place.uses -= 1;
      if (place.uses === 0) this.pool[place.buffer.size].push(place.buffer);
    }

    step(kernel, arrays, sizes, [x, y = 1, z = 1]) {
      this.steps.push({ pipeline: this.pipelines[kernel], arrays, sizes, grid: [x, y, z].map(Math.ceil) });
    }

    each(kernel, inputs, out = null) {
      const [a, b = a] = inputs;
      out ??= this.make(common(a.shape, b.shape));
      const strides = [a, b, out].flatMap(stridesIn);
      this.step(kernel, [...inputs, out], [...four(out.shape), ...strides, a.at, b.at, out.at, 0], [product(out.shape) / 256]);
      return out;
    }

    matmul(kernel, a, b, bias = []) {
      needs(a.shape.length === 3 && b.shape.length === 3 && a.shape[0] === b.shape[0], "MatMul");
      const [B, rows, inner] = a.shape, columns = b.shape[2], out = this.make([B, rows, columns]);
      this.step(kernel, [a, b, ...bias, out], [B, rows, columns, inner, ...a.strides, a.at, ...b.strides, b.at], [columns / 8, rows / 8, B]);
      return out;
    }

    /** All sizes into one buffer, from which each step reads its own. */
    finish() {
      const apart = 256, all = new Uint32Array((this.steps.length * apart) / 4); // bytes, as WebGPU asks for
      this.steps.forEach(({ sizes }, k) => all.set(sizes, (k * apart) / 4));
      const buffer = this.device.createBuffer({ size: all.byteLength, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
      this.device.queue.writeBuffer(buffer, 0, all);
      for (const [k, step] of this.steps.entries()) {
        const resources = [{ buffer, offset: k * apart, size: apart }, ...step.arrays.map(({ place }) => ({ buffer: place.buffer }))];
        const entries = resources.map((resource, binding) => ({ binding, resource }));
        step.group = this.device.createBindGroup({ layout: step.pipeline.getBindGroupLayout(0), entries });
      }
    }
  }

  // ---------------------------------------------------------------- a network on the processor

  /** Weights (o, c, i, j) of a convolution in the order (i, j, c, o), with 0 after the last o up to a multiple of eight. */
  function inEights(data, [channels, c, kernel]) {
    const padded = 8 * Math.ceil(channels / 8), turned = new Float32Array(kernel * kernel * c * padded), inner = c * kernel * kernel;
    for (let o = 0; o < channels; o++)
      for (let k = 0; k < c; k++)
        for (let i = 0; i < kernel * kernel; i++) turned[(i * c + k) * padded + o] = data[o * inner + k * kernel * kernel + i];
    return turned;
  }

  class Network {
    constructor({ nodes, tensors }, device, pipelines, { channels, side }) {
      Object.assign(this, { nodes, device, pipelines, shape: [channels, side, side], plans: new Map(), pool: {}, constants: new Map() });
      const to32 = new Map(nodes.filter(({ operation }) => operation === "Cast").map(({ inputs, outputs }) => [inputs[0], outputs[0]]));
      const filters = new Set(nodes.filter(({ operation }) => operation === "Conv").map(({ inputs }) => inputs[1]));
      for (const { name: stored, shape, data, whole } of tensors) {
        const name = to32.get(stored) ?? stored; // float16 is float32 already
        if (whole) {
          this.constants.set(name, { data });
          continue;
        }
        const buffer = this.upload(filters.has(name) ? inEights(data, shape) : data), kept = data.length < 1024 ? data : null;
        this.constants.set(name, { ...array({ buffer, uses: Infinity }, shape), data: kept });
      }
    }

    upload(data) {
      const buffer = this.device.createBuffer({ size: data.byteLength, usage: GPUBufferUsage.STORAGE, mappedAtCreation: true });
      new Float32Array(buffer.getMappedRange()).set(data);
      buffer.unmap();
      return buffer;
    }

    /** What is computed here for a call: {name: {shape, data}}, with the names of the nodes that are done by that. */
    known(x, ts, labels) {
      const B = ts.length, values = { x: { shape: [B, ...this.shape], data: x } }, times = { t: { shape: [B], data: Float32Array.from(ts) } };
      const done = new Set();
      for (const node of this.nodes) {
        const inputs = node.inputs.map((name) => times[name] ?? this.constants.get(name));
        if (!(node.operation in HERE) || !inputs.every(Boolean) || !node.inputs.some((name) => name in times)) continue;
        times[node.outputs[0]] = HERE[node.operation](inputs);
        done.add(node);
      }
      return { values: { ...values, ...times, label: { shape: [B], data: Float32Array.from(labels) } }, done };
    }

    plan({ values, done }) {
      const plan = new Plan(this.device, this.pipelines, this.pool), arrays = new Map(this.constants), uses = { eps: 1 };
      const left = this.nodes.filter((node) => !done.has(node) && !this.constants.has(node.outputs[0]));
      for (const name of left.flatMap(({ inputs }) => inputs)) uses[name] = (uses[name] ?? 0) + 1;
      const keep = (name, made) => {
        made.place.uses += uses[name] ?? 0; // of all ways to look at a place together
        arrays.set(name, made);
      };
      plan.given = Object.keys(values).filter((name) => uses[name]);
      for (const name of plan.given) keep(name, plan.make(values[name].shape));
      plan.into = Object.fromEntries(plan.given.map((name) => [name, arrays.get(name).place.buffer]));
      for (const { operation, inputs, outputs, how } of left) {
        const taken = inputs.map((name) => arrays.get(name));
        needs(operation in OPERATIONS, operation);
        OPERATIONS[operation](plan, taken, how).forEach((made, k) => keep(outputs[k], made));
        taken.forEach((one) => one?.place && plan.release(one));
      }
      plan.eps = arrays.get("eps");
      plan.release(plan.eps); // the next plan of this network may use it, since one call follows another
      plan.finish();
      plan.back = this.device.createBuffer({ size: 4 * product(plan.eps.shape), usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
      return plan;
    }

    submit({ steps, into, given, eps, back }, { values }) {
      const { queue } = this.device, encoder = this.device.createCommandEncoder();
      for (const name of given) queue.writeBuffer(into[name], 0, values[name].data);
      const pass = encoder.beginComputePass();
      for (const { pipeline, group, grid } of steps) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...grid);
      }
      pass.end();
      encoder.copyBufferToBuffer(eps.place.buffer, 0, back, 0, back.size);
      queue.submit([encoder.finish()]);
    }

    /** The predicted noises, one after another, of pictures that lie in x one after another. */
    async eps(x, ts, labels) {
      const { plans } = this, B = ts.length, known = this.known(x, ts, labels);
      const first = () => {
        const plan = this.plan(known);
        this.submit(plan, known);
        return plan;
      };
      if (plans.has(B)) this.submit(plans.get(B), known);
      else plans.set(B, await watched(this.device, first)); // later calls differ in numbers alone
      const { back } = plans.get(B);
      await back.mapAsync(GPUMapMode.READ);
      const found = new Float32Array(back.getMappedRange().slice(0));
      back.unmap();
      return found;
    }
  }

  // ---------------------------------------------------------------- the processor

  /** What `make()` gives, unless the processor finds a mistake in it or has no room for it. */
  async function watched(device, make) {
    for (const kind of ["validation", "out-of-memory"]) device.pushErrorScope(kind);
    let made, errors;
    try {
      made = make();
    } finally {
      errors = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
    }
    for (const error of errors) if (error) throw new Error(error.message);
    return made;
  }

  let started = null; // a promise of {device, pipelines, software}, which all networks share

  async function start() {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) throw new Error(navigator.gpu ? "WebGPU finds no graphics processor" : "this browser has no WebGPU");
    const device = await adapter.requestDevice(), pipelines = {};
    device.lost.then(() => (started = null)); // a call that waits for it fails, and network.js goes on with WebAssembly
    const compile = async ([name, code]) => {
      const compute = { module: device.createShaderModule({ code }) };
      pipelines[name] = await device.createComputePipelineAsync({ layout: "auto", compute });
    };
    await Promise.all(Object.entries(LiveKernels).map(compile));
    return { device, pipelines, software: Boolean(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter) };
  }

  /** The pictures that networks are compared on: numbers without a pattern, of a variance of about 1. See book/_tools/live_checks.py. */
  const example = (count) => Float32Array.from({ length: count }, (_, i) => 1.4 * Math.sin(i * i));
  const TOLERANCE = 1e-3;

  /**
   * A network that runs here, as an async function (x, ts, labels) -> eps.
   * `check` holds what torch says to the example: {ts, labels, step, eps}, where eps are every step-th of its numbers. A processor that
   * answers otherwise is not used; neither is one that is a program, which is slower than WebAssembly, unless `software` asks for it.
   */
  async function open(bytes, { channels, side, check, software = false }) {
    started ??= start();
    const { device, pipelines, software: emulated } = await started.catch((error) => ((started = null), Promise.reject(error)));
    if (emulated && !software) throw new Error("WebGPU is emulated here, which is slower");
    if (!check) throw new Error("there is nothing to compare WebGPU's numbers with");
    const file = read(bytes), strange = file.nodes.find(({ operation }) => !(operation in OPERATIONS || operation in HERE));
    if (strange) throw new Error(`WebGPU has no kernel for ${strange.operation} here`);
    const network = await watched(device, () => new Network(file, device, pipelines, { channels, side }));
    const { ts, labels, step } = check, found = await network.eps(example(ts.length * channels * side * side), ts, labels);
    const off = Math.max(...check.eps.map((eps, k) => Math.abs(eps - found[(k * step) % found.length])));
    if (!(off <= TOLERANCE)) throw new Error(`WebGPU's numbers are off by ${off.toPrecision(2)}`);
    return (...asked) => network.eps(...asked);
  }

  return { open };
})();
